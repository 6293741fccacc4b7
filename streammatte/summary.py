"""The result of a run, and the clocks behind its timings."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from streammatte.errors import refusing
from streammatte.frame import Cutout, Footage, Frame, Model, Stage, Writer
from streammatte.media.addresses import PIPE, without_secrets

if TYPE_CHECKING:
    from torch import Tensor

    from streammatte.media.read.guide import GuideMatte
    from streammatte.media.read.video import Video
    from streammatte.media.write.delivery import Target
    from streammatte.media.write.output import TextFile
    from streammatte.options import Options
    from streammatte.quality.observer import Findings, Observer
    from streammatte.subject.following import Course

T = TypeVar("T")

STAGES = {
    "ClipColors": "colors",
    "TransparencyRefiner": "transparency",
    "TemporalSmoother": "smooth",
    "DetailRefiner": "detail",
    "ForegroundEstimator": "decontaminate",
    "Despill": "despill",
    "GuideMattes": "guides",
    "Lift": "lift",
    "EdgeShaper": "choke, feather",
    "MatteLimits": "core, garbage",
    "Holdout": "holdout",
}
"""Each stage's name for users: its option's."""


@dataclass(slots=True)
class Summary:
    """The result of a run.

    Attributes:
        input: As it was given, without passwords.
        outputs: Path, description and alpha of each file, in the order given. ``alpha`` is ``straight``,
            ``premultiplied``, or ``None`` where the file has none.
        frames: Frames in each output.
        mattes_read, mattes_computed: Answers from the cache and from the networks.
        seconds: Wall time, without loading the model.
        stages: The stages' class names, in order.
        timings: Frames per second that each part would reach alone.
        lost: What could not be decoded; ``None`` if nothing was lost.
        assumed: How untagged colours were interpreted; ``None`` if they are tagged.
        input_transfer: The transfer function undone for the network; ``None`` if none was.
        keyframes, keyframe_seconds: Indices of the frames that SDMatte matted, and the time spent on them.
        mattes: Path, kind and damage of each guide matte.
        subjects: For each named subject its frames with prompts, the stretches (first and last frame) where it is lost,
            and the frames that most want a correction.
        notes: Further lines on the input.
        doubt: Why the mattes look implausible and what to try, in a line; ``None`` if they look plausible.
        findings: The scores; ``None`` unless a report or a limit asked for them.
        crossed: A line for each limit that was exceeded or could not be checked.
    """

    input: str
    model: str
    device: str
    precision: str
    size: tuple[int, int]
    outputs: list[dict[str, str | None]] = field(default_factory=list)
    frames: int = 0
    mattes_read: int = 0
    mattes_computed: int = 0
    seconds: float = 0.0
    stages: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    lost: str | None = None
    assumed: str | None = None
    input_transfer: str | None = None
    keyframes: list[int] = field(default_factory=list)
    keyframe_seconds: float = 0.0
    mattes: list[dict[str, str | None]] = field(default_factory=list)
    subjects: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    doubt: str | None = None
    findings: Findings | None = None
    crossed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.input != PIPE:
            self.input = without_secrets(self.input)

    @property
    def alpha(self) -> str | None:
        """The alpha of the outputs that have any; ``mixed`` if they differ."""
        kinds = {kind for output in self.outputs if (kind := output["alpha"]) is not None}
        return "mixed" if len(kinds) > 1 else next(iter(kinds), None)

    @property
    def rate(self) -> float:
        """Frames per second of the whole run."""
        return self.frames / (self.seconds or 1)

    def as_json(self) -> str:
        said = asdict(self) | {"alpha": self.alpha}
        if self.findings is None:
            del said["findings"], said["crossed"]
        return json.dumps(said, indent=2)


def tell_of_input(
    summary: Summary, options: Options, source: Footage, guides: Mapping[str, Sequence[GuideMatte]]
) -> None:
    """Note how the input was read."""
    from streammatte.color.codes import assumed_matrix
    from streammatte.color.screen import transfer_for

    info = source.info
    summary.assumed = assumed_matrix(info.color, info.width, info.height)
    summary.input_transfer = transfer_for(options.reading.input_transfer, info.color)
    summary.lost = source.lost
    given = [(name, guide) for name, several in guides.items() for guide in several]
    summary.mattes = [{"path": without_secrets(guide.path), "as": name, "lost": guide.lost} for name, guide in given]
    summary.notes += source.notes
    if source.has_alpha and options.reading.input_alpha == "ignore":
        summary.notes.append("the input's own alpha was ignored; --input-alpha core or garbage uses it")


def tell_of_outputs(summary: Summary, options: Options, targets: Sequence[Target], writers: Sequence[Writer]) -> None:
    """Note what was written."""
    from streammatte.media.remote import place_of
    from streammatte.media.write.composing import alpha_of

    for target, writer in zip(targets, writers, strict=True):
        path = place_of(target.path)
        composite = target.background is not None
        alpha = alpha_of(path.suffix, options.writing.alpha, target.content, composite=composite)
        summary.outputs.append({"path": str(path), "description": writer.description, "alpha": alpha})


def tell_of_subjects(summary: Summary, courses: Iterable[Course]) -> None:
    """Note where the tracker was sure of whom."""
    for course in courses:
        lost = [[stretch.start, stretch.stop - 1] for stretch in course.lost]
        known: dict[str, list[Any]] = {"prompts": course.prompted, "lost": lost, "doubtful": course.doubtful}
        summary.subjects[course.subject] = known


def report_of(
    summary: Summary, options: Options, observer: Observer, findings: Findings, courses: Sequence[Course] = ()
) -> str:
    """The run's report, as HTML."""
    from streammatte.options.field import options_of
    from streammatte.options.values import written
    from streammatte.quality.report import report_page

    height, width = summary.size
    fields = options_of(type(options))
    outputs = ", ".join(f"{output['path']} ({output['description']})" for output in summary.outputs)
    return report_page(
        summary.input,
        observer,
        findings,
        run={
            "model": summary.model,
            "network input": f"{width}×{height}",
            "precision": summary.precision,
            "device": summary.device,
            "stages": ", ".join(STAGES.get(name, name) for name in summary.stages) or "none",
            "frames": str(summary.frames),
            "lost": summary.lost or "nothing",
            "speed": f"{summary.rate:.1f} frames/s",
            "outputs": outputs or "none",
        },
        options={fields[name].shown: written(value) for name, value in options.changed().items()},
        limits=dict(options.reporting.limits),
        warnings=[*summary.crossed, *([summary.doubt] if summary.doubt else [])],
        courses=courses,
    )


@refusing()
def texts_of(options: Options, subjects: Sequence[str], writing: ExitStack) -> dict[str, TextFile]:
    """The report of each subject, by ``report`` and its name, and a delivery's note."""
    from streammatte.media.remote import address_of
    from streammatte.media.write.delivery import delivery_folder, name_of, named
    from streammatte.media.write.output import open_text
    from streammatte.quality.page import ENDINGS

    texts = {}
    if options.reporting.report is not None:
        for subject in subjects:
            page = named(options.reporting.report, subject)
            texts[f"report {subject}"] = open_text(page, ENDINGS, overwrite=options.writing.overwrite)
    if options.writing.deliver is not None:
        folder = writing.enter_context(delivery_folder(options.writing.deliver))
        path = address_of(folder / f"{name_of(options.reading.input)}.txt")
        texts["note"] = open_text(path, (".txt",), overwrite=options.writing.overwrite)
    for text in texts.values():
        writing.enter_context(text)
    return texts


def write_note(
    note: TextFile,
    summary: Summary,
    options: Options,
    source: Video,
    targets: Sequence[Target],
    writers: Sequence[Writer],
) -> None:
    """Write a delivery's note."""
    from streammatte.media.write.delivery import note_of

    note.write(note_of(options, source.info, targets, writers, summary.frames))
    description = "what each file holds, and which programs show it"
    summary.outputs.append({"path": str(note.path), "description": description, "alpha": None})


@dataclass(slots=True)
class Clock:
    """Sums the time spent inside it, by any thread.

    Attributes:
        wall, thread, process: Seconds: elapsed; of the calling thread on a core; of all threads on all cores, which is
            this part's share only if nothing runs beside it.
        settle: Called before the end is read: awaits a device that computes asynchronously.
        beside: Threads that do this part at the same time; each second of one of them is that much less of ``wall``.
    """

    wall: float = 0.0
    thread: float = 0.0
    process: float = 0.0
    settle: Callable[[], None] | None = None
    beside: int = 1
    _since: dict[int, tuple[float, float, float]] = field(default_factory=dict, repr=False)
    _adding: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __enter__(self) -> None:
        self._since[threading.get_ident()] = _now()

    def __exit__(self, *exc: object) -> None:
        if self.settle is not None:
            self.settle()
        since = self._since.pop(threading.get_ident())
        wall, thread, process = (now - then for now, then in zip(_now(), since, strict=True))
        with self._adding:
            self.wall += wall / self.beside
            self.thread += thread
            self.process += process

    def over(self, items: Iterable[T]) -> Generator[T]:
        """``items``, with the time to get each of them summed."""
        iterator = iter(items)
        while True:
            with self:
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def rate(self, count: int) -> float:
        return count / self.wall if self.wall else 0.0


def timings_of(clocks: Sequence[Mapping[str, Clock]], frames: int) -> dict[str, float]:
    """Frames per second of each part alone, for all chains together."""
    walls = {name: sum(each[name].wall for each in clocks) for name in clocks[0]}
    return {name: frames / wall if wall else 0.0 for name, wall in walls.items()}


def _now() -> tuple[float, float, float]:
    return time.perf_counter(), time.thread_time(), time.process_time()


class TimedModel:
    """A model, timed; its answers are on the frames' device, so that the transfer counts."""

    def __init__(self, model: Model, size: tuple[int, int] | None) -> None:
        self.clock, self.size = Clock(), size
        self._model = model

    def __call__(self, frames: Sequence[Frame]) -> list[Tensor]:
        with self.clock:
            alphas = self._model(frames)
            return [alpha.to(frame.rgb.device) for alpha, frame in zip(alphas, frames, strict=True)]


class Timed:
    """A stage, timed."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.clock = stage, Clock()
        self.behind, self.ahead, self.ordered = stage.behind, stage.ahead, getattr(stage, "ordered", True)

    @property
    def name(self) -> str:
        return type(self.stage).__name__

    def push(self, cutout: Cutout) -> Iterable[Cutout]:
        with self.clock:
            return list(self.stage.push(cutout))

    def flush(self) -> Iterable[Cutout]:
        with self.clock:
            return list(self.stage.flush())

    def close(self) -> None:
        close = getattr(self.stage, "close", None)
        if close is not None:
            close()
