"""One run of the command: from what was asked for to what was written."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from streammatte.errors import InputError, OutputError
from streammatte.frame import Frame, Plate, Sink, Stage, StreamInfo

if TYPE_CHECKING:
    from torch import Tensor

    from streammatte.matting import BiRefNetMatter
    from streammatte.report.observer import Findings, Observer

T = TypeVar("T")

STAGES = {
    "ClipColors": "colors",
    "TemporalSmoother": "smooth",
    "DetailRefiner": "detail",
    "ForegroundEstimator": "decontaminate",
    "Despill": "despill",
}
"""What people call each stage: as the option is called that turns it on."""

AHEAD = 2  # plates between two stages: each holds a frame, an alpha and maybe colours in float


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for; see ``streammatte --help`` for what each means."""

    input: str
    outputs: tuple[str, ...] = ()
    matte: str | None = None
    background: str | None = None
    alpha: Literal["straight", "premultiplied"] = "straight"
    bits: int | None = None
    frame_rate: Fraction | None = None
    model: str = "auto"
    weights: str | None = None
    device: str | None = None
    precision: str = "auto"
    size: tuple[int, int] | None = None
    batch: int = 1
    colors: Literal["auto", "on", "off"] = "auto"
    smooth: Literal["off", "low", "medium", "high"] = "medium"
    lookahead: int | None = None
    detail: Literal["auto", "on", "off"] = "auto"
    decontaminate: bool = True
    despill: str | None = None
    offline: bool = False
    overwrite: bool = False
    strict: bool = False
    report: str | None = None
    limits: tuple[tuple[str, float], ...] = ()


@dataclass(slots=True)
class Summary:
    """What was done.

    Attributes:
        outputs: Path and description of each file, in the order asked for.
        frames: Plates written.
        seconds: Wall time of the run, the model's loading apart.
        stages: What the plates passed between the network and the files, by name.
        decode_fps, network_fps, stages_fps, encode_fps: What each would reach by itself, on this machine under this
            load, of stages by name; zero where there was nothing to do.
        lost: What of the source could not be decoded, in words; ``None`` if nothing was lost.
        findings: What the plates tell of themselves; ``None`` unless a report or a limit asked for it.
        crossed: A line for each limit that a score is above, or that nothing could be held to.
    """

    input: str
    model: str
    device: str
    precision: str
    size: tuple[int, int]
    alpha: str
    stages: list[str] = field(default_factory=list)
    outputs: list[dict[str, str]] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0
    decode_fps: float = 0.0
    network_fps: float = 0.0
    stages_fps: dict[str, float] = field(default_factory=dict)
    encode_fps: float = 0.0
    lost: str | None = None
    findings: Findings | None = None
    crossed: list[str] = field(default_factory=list)

    def rates(self) -> str:
        """Frames a second, of the run and of each part alone."""
        parts = [f"decode {self.decode_fps:.0f}", f"network {self.network_fps:.1f}"]
        parts += [f"{STAGES.get(name, name)} {rate:.1f}" for name, rate in self.stages_fps.items()]
        parts.append(f"encode {self.encode_fps:.0f}")
        return f"{self.frames / (self.seconds or 1):.1f} fps (alone: {', '.join(parts)})"

    def as_json(self) -> str:
        said = asdict(self)
        if self.findings is None:
            del said["findings"], said["crossed"]
        return json.dumps(said, indent=2)


class Display(Protocol):
    """What a run tells whoever is watching."""

    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def started(self, info: StreamInfo, matter: BiRefNetMatter) -> None: ...
    def written(self, frames: int) -> None: ...


def run(options: Options, display: Display) -> Summary:
    """Matte ``options.input`` into every output asked for, in one pass.

    Decoding, the network, every stage and encoding each have a thread. No output gets its name before all of them are
    complete.
    """
    from streammatte.matting import cores_left_to, load_matter
    from streammatte.media import open_sink, open_source
    from streammatte.media.output import open_text
    from streammatte.page import ENDINGS
    from streammatte.pipeline import matte, prefetch
    from streammatte.report import lengths_of_all
    from streammatte.stages import SURE_OF_ITSELF, stages_for

    targets: list[tuple[str, Literal["plate", "matte"]]] = [(path, "plate") for path in options.outputs]
    if options.matte is not None:
        targets.append((options.matte, "matte"))
    _check_targets(options, [path for path, _ in targets])
    _check_lookahead(options)
    colors_shown = bool(options.outputs) or options.matte is None  # of a matte alone, nobody sees the colours
    _check_limits(options, colors=colors_shown)
    limits = dict(options.limits)
    screen = None if options.despill is None else _screen(options.despill)

    with (
        open_source(options.input, frame_rate=options.frame_rate, strict=options.strict) as source,
        ExitStack() as writing,
    ):
        if options.frame_rate is not None and source.info.frame_rate != options.frame_rate:
            raise InputError(f"--fps is for image sequences: {options.input} states its own rate", hint="leave it out")
        # Entered first, the page is left last: there is none of outputs that could not be put in their place.
        page = None
        if options.report is not None:
            page = writing.enter_context(open_text(options.report, ENDINGS, overwrite=options.overwrite))
        # The sinks come before the model: a name that cannot be written is known at once, not after a download.
        sinks: list[Sink] = []
        for path, content in targets:
            sink: Sink = open_sink(
                path,
                source.info,
                alpha=options.alpha,
                background=options.background if content == "plate" else None,
                content=content,
                audio=options.input,
                overwrite=options.overwrite,
                bits=options.bits,
                first_number=source.first_number,
            )
            sinks.append(sink)
            writing.enter_context(sink)
        matter = load_matter(
            options.model,
            weights=options.weights,
            device=options.device,
            precision=options.precision,
            size=options.size,
            offline=options.offline,
            on_progress=display.fetching,
            on_notice=display.notice,
        )
        summary = Summary(
            input=options.input,
            model=matter.name,
            device=str(matter.device),
            precision=matter.precision,
            size=matter.size,
            alpha=options.alpha,
        )
        display.started(source.info, matter)
        decode, network, encode = Clock(), Clock(), Clock()
        wanted = stages_for(
            matter.size,
            options.colors,
            options.smooth,
            options.lookahead,
            detail=options.detail,
            decontaminate=options.decontaminate and colors_shown,
            screen=screen if colors_shown else None,
            device=matter.device,
        )
        stages = [Timed(stage) for stage in wanted]
        summary.stages = [each.name for each in stages]
        observer = _observer(options, source.info, wanted, colors=colors_shown)

        def timed_matter(frames: Sequence[Frame]) -> list[Tensor]:
            with network:
                return [alpha.cpu() for alpha in matter(frames)]

        # A small network takes no longer than what runs beside it; a large one waits for nobody.
        if matter.device.type == "cpu" and max(matter.size) < SURE_OF_ITSELF:
            writing.enter_context(cores_left_to(len(stages)))
        start = time.perf_counter()
        plates = matte(prefetch(decode.over(source)), timed_matter, stages, batch=options.batch, ahead=AHEAD)
        with closing(prefetch(plates)) as ready:
            for plate in ready:
                with encode:
                    for sink in sinks:
                        sink.write(plate)
                if observer is not None:
                    observer.write(plate)
                summary.frames += 1
                display.written(summary.frames)
        with encode:
            for sink in sinks:
                sink.finish()
        summary.seconds = time.perf_counter() - start
        summary.decode_fps, summary.network_fps, summary.encode_fps = (
            clock.rate(summary.frames) for clock in (decode, network, encode)
        )
        summary.stages_fps = {each.name: each.clock.rate(summary.frames) for each in stages}
        summary.outputs = [{"path": str(sink.path), "description": sink.description} for sink in sinks]
        summary.lost = source.lost
        if observer is not None:
            summary.findings = observer.findings(lengths_of_all(options.input, source, sinks))
            summary.crossed = summary.findings.crossed(limits)
        if page is not None and observer is not None:
            page.write(_page(options, summary, observer))
            summary.outputs.append({"path": str(page.path), "description": "report"})
        with _uninterrupted():  # all of them are complete; what is left is renaming
            writing.close()
    return summary


class Clock:
    """Sums the time spent inside it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *exc: object) -> None:
        self.seconds += time.perf_counter() - self._since

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """``items``, the time spent on getting each of them summed."""
        iterator = iter(items)
        while True:
            with self:
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def rate(self, count: int) -> float:
        return count / self.seconds if self.seconds else 0.0


class Timed:
    """A stage, the time it takes summed."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.clock = stage, Clock()

    @property
    def name(self) -> str:
        return type(self.stage).__name__

    def push(self, plate: Plate) -> Iterable[Plate]:
        with self.clock:
            return list(self.stage.push(plate))

    def flush(self) -> Iterable[Plate]:
        with self.clock:
            return list(self.stage.flush())


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A signal comes too late: the outputs are complete, and what is left takes milliseconds."""
    if threading.current_thread() is not threading.main_thread():  # no signal reaches another one
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_targets(options: Options, targets: Sequence[str]) -> None:
    """Refuse a run whose outputs would overwrite what it reads, or each other."""
    from streammatte.media.output import check_apart

    if options.report is not None:
        targets = [*targets, options.report]
    if not targets:
        raise OutputError("there is nothing to write", hint="name a file with -o, or with --matte")
    read = [(options.input, "the input itself")]
    if options.background is not None:
        read.append((options.background, "the background itself"))
    check_apart(targets, read)


def _check_lookahead(options: Options) -> None:
    """Refuse to look further ahead than frames are asked."""
    from streammatte.stages.temporal import REACH

    if options.lookahead is None:
        return
    if options.smooth == "off":
        raise InputError("--lookahead is for smoothing, and --smooth is off", hint="leave one of the two out")
    if options.lookahead > (most := 2 * REACH[options.smooth]):
        raise InputError(
            f"--lookahead {options.lookahead} is too far: --smooth {options.smooth} asks {most} frames around each",
            hint=f"up to {most}" + ("" if options.smooth == "high" else ", or --smooth high"),
        )


def _check_limits(options: Options, *, colors: bool) -> None:
    """Refuse limits that nothing will be held to."""
    names = [name for name, _ in options.limits]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"the limit of {name} is given twice", hint="leave one of the two out")
    if "mended" in names and options.smooth == "off":
        raise InputError("what smoothing mends has a limit, and --smooth is off", hint="leave one of the two out")
    if "contamination" in names and not colors:
        raise InputError(
            "the colours of the edge have a limit, and a matte alone has none",
            hint="leave contamination out, or write a plate with -o",
        )


def _observer(options: Options, info: StreamInfo, stages: Iterable[Stage], *, colors: bool) -> Observer | None:
    """What looks at the plates, if anybody wants to know."""
    from streammatte.stages import TemporalSmoother

    if options.report is None and not options.limits:
        return None
    from streammatte.report.observer import Observer

    mended = next((stage.mended for stage in stages if isinstance(stage, TemporalSmoother)), None)
    return Observer(info.time_base, mended, colors=colors)


def _page(options: Options, summary: Summary, observer: Observer) -> str:
    from streammatte.report.sheet import report_page

    assert summary.findings is not None
    height, width = summary.size
    about = {
        "outputs": ", ".join(f"{output['path']} ({output['description']})" for output in summary.outputs) or "none",
        "frames written": str(summary.frames),
        "lost": summary.lost or "nothing",
        "model": f"{summary.model}, {width}×{height}, {summary.precision} on {summary.device}",
        "stages": ", ".join(STAGES.get(name, name) for name in summary.stages) or "none",
        "speed": summary.rates(),
    }
    usual = Options(options.input)
    for name in (each.name for each in fields(options)):
        value = getattr(options, name)
        if value != getattr(usual, name) and name not in ("outputs", "report"):
            about[f"option {name}"] = _said(value)
    return report_page(options.input, about, observer, summary.findings, summary.crossed)


def _said(value: object) -> str:
    """An option's value as it would be given."""
    match value:
        case True | False:
            return "on" if value else "off"
        case (int(height), int(width)):
            return f"{width}x{height}"
        case tuple():
            return ", ".join(f"{name}={limit:g}" for name, limit in value)
        case _:
            return str(value)


def _screen(text: str) -> tuple[float, float, float]:
    """The colour of a screen, (R, G, B) in [0, 1].

    Raises:
        InputError: It is no colour, or none that a screen could have.
    """
    from streammatte.media.background import parse_color
    from streammatte.stages import Despill

    hint = "green, blue, or the screen's own colour, as #00b140"
    rgb = parse_color(text)
    if rgb is None:
        raise InputError(f"{text!r} is no colour", hint=hint)
    red, green, blue = (value / 255 for value in rgb)
    try:
        Despill((red, green, blue))
    except ValueError as exc:
        raise InputError(f"{text!r} is no screen's colour: none of red, green and blue leads", hint=hint) from exc
    return red, green, blue
