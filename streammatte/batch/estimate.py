"""What a batch would take: a few frames of some clips, and some pictures, are matted and thrown away."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np

from streammatte.batch.manifest import Manifest, folder_of
from streammatte.batch.options import BatchOptions
from streammatte.batch.planning import Notices, Step
from streammatte.batch.running import InProcess, Task, Worker, steps_of
from streammatte.errors import StreammatteError
from streammatte.media.read.numbered import NumberedName
from streammatte.media.read.video import opened
from streammatte.options import Options

FRAMES = 6  # of a clip; the first alone is measured, too, since it carries what comes once
CLIPS, PICTURES = 2, 4  # of each kind, from the smallest to the largest


class Measuring(Notices, Protocol):
    """What a measurement reports."""

    def working(self, what: str, done: int, total: int | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a batch would do.

    Attributes:
        unreadable: Inputs that could not be opened, with the reason.
        seconds: Of all that can be opened, without loading the model; ``None`` if nothing could be measured.
        bytes: Of their outputs.
        free: Bytes that are free where they would be written; ``None`` if that is at an address.
        measured: Inputs that were measured.
        uncounted: Clips that do not state how long they are; they are not in the estimate.
    """

    steps: list[Step]
    unreadable: dict[str, str]
    seconds: float | None
    bytes: int
    free: int | None
    measured: list[str]
    uncounted: list[str]


@dataclass(frozen=True, slots=True)
class _Input:
    """An input that could be opened; ``first`` is the number that stands for its first frame as a mark."""

    step: Step
    pixels: int
    frames: int | None
    first: int

    @property
    def kind(self) -> tuple[bool, str]:
        """Inputs of one kind cost alike: pictures or clips, and the format that is written."""
        return self.step.job.picture, Path(self.step.job.outputs[0]).suffix


@dataclass(slots=True)
class _Costs:
    """Measured costs of one kind of input, by its pixels."""

    pixels: list[int] = field(default_factory=list)
    once: list[float] = field(default_factory=list)
    each: list[float] = field(default_factory=list)
    bytes_once: list[float] = field(default_factory=list)
    bytes_each: list[float] = field(default_factory=list)

    def add(self, pixels: int, first: tuple[float, float], whole: tuple[float, float], frames: int) -> None:
        """Seconds and bytes of the first frame alone, and of so many."""
        more = max(1, frames - 1)
        self.pixels.append(pixels)
        self.once.append(first[0])
        self.each.append(max(0.0, whole[0] - first[0]) / more)
        self.bytes_once.append(first[1] / pixels)
        self.bytes_each.append(max(0.0, whole[1] - first[1]) / more / pixels)

    def of(self, pixels: int, frames: int) -> tuple[float, float]:
        """Seconds and bytes of an input of that size."""
        order = np.argsort(self.pixels)

        def at(values: list[float]) -> float:
            return float(np.interp(pixels, np.asarray(self.pixels)[order], np.asarray(values)[order]))

        seconds = at(self.once) + at(self.each) * (frames - 1)
        return seconds, pixels * (at(self.bytes_once) + at(self.bytes_each) * (frames - 1))


def forecast(asked: BatchOptions, given: Mapping[str, Any], display: Measuring) -> Forecast:
    """What :func:`~streammatte.batch.running.run_batch` would do with these options; nothing is left behind.

    Raises:
        StreammatteError: As ``run_batch`` does before any work.
    """
    folder = folder_of(asked.to)
    steps = steps_of(asked, given, Manifest(folder), display)
    inputs, unreadable = _opened([step for step in steps if step.to_do])
    kinds = {each.kind: [other for other in inputs if other.kind == each.kind] for each in inputs}
    samples = [sample for kind, alike in kinds.items() for sample in _spread(alike, PICTURES if kind[0] else CLIPS)]
    costs: dict[tuple[bool, str], _Costs] = {}
    worker = Worker()
    with TemporaryDirectory(prefix="streammatte-batch-") as scratch:
        for done, sample in enumerate(samples):
            display.working("measuring", done, len(samples))
            here = Path(scratch, str(done))
            try:
                if not costs:
                    _measure(worker, sample, here, 1)  # loads the model, and warms up
                several = PICTURES if sample.step.job.picture else 1
                frames = min(FRAMES, sample.frames or FRAMES)
                one = whole = _measure(worker, sample, here, 1, several)
                if frames > 1:
                    whole = _measure(worker, sample, here, frames)
                costs.setdefault(sample.kind, _Costs()).add(sample.pixels, one, whole, frames)
            except StreammatteError as exc:
                unreadable[sample.step.job.input] = str(exc)
    counted = [each for each in inputs if each.frames is not None and each.kind in costs]
    sums = [costs[each.kind].of(each.pixels, each.frames or 1) for each in counted]
    return Forecast(
        steps,
        unreadable,
        sum(seconds for seconds, _ in sums) if sums or not inputs else None,
        round(sum(size for _, size in sums)),
        shutil.disk_usage(_there(folder.absolute())).free if isinstance(folder, Path) else None,
        [each.step.job.input for each in samples],
        [each.step.job.input for each in inputs if each.frames is None],
    )


def _opened(steps: Sequence[Step]) -> tuple[list[_Input], dict[str, str]]:
    """What can be opened, and why the others cannot."""
    inputs, unreadable = [], {}
    for step in steps:
        try:
            with opened(step.job.options.reading) as source:
                info = source.info
                numbered = NumberedName.parse(step.job.input) is not None
                first = info.first_index + (source.first_number if numbered else 0)
                inputs.append(_Input(step, info.width * info.height, info.frame_count, first))
        except StreammatteError as exc:
            unreadable[step.job.input] = str(exc)
    return inputs, unreadable


def _spread(inputs: Sequence[_Input], count: int) -> list[_Input]:
    """So many of them, from the smallest to the largest pictures, of one size each."""
    sizes = sorted({each.pixels: each for each in inputs}.values(), key=lambda each: each.pixels)
    places = np.linspace(0, len(sizes) - 1, min(count, len(sizes))).round().astype(int)
    return [sizes[place] for place in places]


def _measure(worker: Worker, sample: _Input, folder: Path, frames: int, times: int = 1) -> tuple[float, float]:
    """Seconds and bytes of the first frames; of one among so many that overlap."""
    shutil.rmtree(folder, ignore_errors=True)
    tasks = [_task(sample, folder / str(number), frames) for number in range(times)]
    start = time.perf_counter()
    for _, result in InProcess(worker.stop, times).run(worker, tasks):
        if isinstance(result, Exception):
            raise result
    seconds = time.perf_counter() - start
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return seconds / times, size / times


def _task(sample: _Input, folder: Path, frames: int) -> Task:
    """The run of a sample's first frames into a folder, without what judges them."""
    folder.mkdir(parents=True)
    options = sample.step.job.options
    writing, changes = options.writing, dict[str, Any]()
    for name in ("matte", "foreground", "deliver"):
        if (path := getattr(writing, name)) is not None:
            changes[name] = str(folder / f"{name}-{Path(path).name}")
    changes["outputs"] = tuple(str(folder / Path(path).name) for path in writing.outputs)
    changes |= {"report": None, "limits": (), "keep_mattes": False, "handles": 0}
    if not sample.step.job.picture:
        before = options.reading.handles if options.reading.mark_in is not None else 0
        changes["mark_out"] = str(sample.first + before + frames - 1)
    return Task(0, Options.of(**{**options.flat(), **changes}), sample.step.job.picture, ())


def _there(path: Path) -> Path:
    """The folder, or the nearest one above that exists."""
    return next(each for each in (path, *path.parents) if each.exists())
