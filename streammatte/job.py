"""One run of the command: from what was asked for to what was written."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from streammatte.errors import InputError, OutputError
from streammatte.frame import Frame, Plate, Sink, Stage, StreamInfo

if TYPE_CHECKING:
    from torch import Tensor

    from streammatte.matting import BiRefNetMatter

T = TypeVar("T")

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

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=2)


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
    from streammatte.matting import load_matter
    from streammatte.media import open_sink, open_source
    from streammatte.pipeline import matte, prefetch
    from streammatte.stages import stages_for

    targets: list[tuple[str, Literal["plate", "matte"]]] = [(path, "plate") for path in options.outputs]
    if options.matte is not None:
        targets.append((options.matte, "matte"))
    _check_targets(options, [path for path, _ in targets])
    screen = None if options.despill is None else _screen(options.despill)

    with (
        open_source(options.input, frame_rate=options.frame_rate, strict=options.strict) as source,
        ExitStack() as writing,
    ):
        if options.frame_rate is not None and source.info.frame_rate != options.frame_rate:
            raise InputError(f"--fps is for image sequences: {options.input} states its own rate", hint="leave it out")
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
            decontaminate=options.decontaminate,
            screen=screen,
            device=matter.device,
        )
        stages = [Timed(stage) for stage in wanted]
        summary.stages = [each.name for each in stages]

        def timed_matter(frames: Sequence[Frame]) -> list[Tensor]:
            with network:
                return [alpha.cpu() for alpha in matter(frames)]

        start = time.perf_counter()
        plates = matte(prefetch(decode.over(source)), timed_matter, stages, batch=options.batch, ahead=AHEAD)
        with closing(prefetch(plates)) as ready:
            for plate in ready:
                with encode:
                    for sink in sinks:
                        sink.write(plate)
                summary.frames += 1
                display.written(summary.frames)
        with encode:
            for sink in sinks:
                sink.finish()
            with _uninterrupted():  # all of them are complete; what is left is renaming
                writing.close()
        summary.seconds = time.perf_counter() - start
        summary.decode_fps, summary.network_fps, summary.encode_fps = (
            clock.rate(summary.frames) for clock in (decode, network, encode)
        )
        summary.stages_fps = {each.name: each.clock.rate(summary.frames) for each in stages}
        summary.outputs = [{"path": str(sink.path), "description": sink.description} for sink in sinks]
        summary.lost = source.lost
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
    from streammatte.media.output import same_files

    if not targets:
        raise OutputError("there is nothing to write", hint="name a file with -o, or with --matte")
    for place, target in enumerate(targets):
        if same_files(target, options.input):
            raise OutputError(f"{target} is the input itself", hint="choose another name for the output")
        if options.background is not None and same_files(target, options.background):
            raise OutputError(f"{target} is the background itself", hint="choose another name for the output")
        if any(same_files(target, other) for other in targets[:place]):
            raise OutputError(f"{target} is named twice", hint="every output needs a name of its own")


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
