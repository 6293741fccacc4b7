"""What a run says of itself: what it wrote, and how long each part of it took."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, TypeVar

from streammatte.frame import Cutout, Stage

if TYPE_CHECKING:
    from streammatte.quality.observer import Findings

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
"""What people call each stage: as the option is called that turns it on."""


@dataclass(slots=True)
class Summary:
    """What was done.

    Attributes:
        outputs: Path and description of each file, in the order asked for.
        frames: Frames of each output.
        resumed: How many of them an interrupted run had written.
        seconds: Wall time of the run, the model's loading apart.
        stages: What the cut-outs passed between the network and the files, by name.
        decode_fps, network_fps, stages_fps, encode_fps: What each would reach by itself, on this machine under this
            load, of stages by name; zero where there was nothing to do.
        lost: What of the source could not be decoded, in words; ``None`` if nothing was lost.
        assumed: What the source does not say of its colours and is taken for, in words; ``None`` if it says it.
        input_transfer: What the source's colours were taken to be encoded in, for the network's eyes; ``None``: for a
            screen, as they are.
        keyframes, keyframe_seconds: Frames that SDMatte has matted, by index, and how long it took for all of them.
        mattes: Path of each one given, what it was taken as, and what of it could not be decoded.
        notes: What else a user should know of how the source was read, a line each.
        doubt: What cannot be right about the mattes and what to try, in a line; ``None`` if they look plausible.
        findings: What the cut-outs tell of themselves; ``None`` unless a report or a limit asked for it.
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
    resumed: int = 0
    seconds: float = 0.0
    decode_fps: float = 0.0
    network_fps: float = 0.0
    stages_fps: dict[str, float] = field(default_factory=dict)
    encode_fps: float = 0.0
    lost: str | None = None
    assumed: str | None = None
    input_transfer: str | None = None
    keyframes: list[int] = field(default_factory=list)
    keyframe_seconds: float = 0.0
    mattes: list[dict[str, str | None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    doubt: str | None = None
    findings: Findings | None = None
    crossed: list[str] = field(default_factory=list)

    def rates(self) -> str:
        """Frames a second, of the run and of each part alone."""
        parts = [f"decode {self.decode_fps:.0f}", f"network {self.network_fps:.1f}"]
        parts += [f"{STAGES.get(name, name)} {rate:.1f}" for name, rate in self.stages_fps.items()]
        parts.append(f"encode {self.encode_fps:.0f}")
        return f"{(self.frames - self.resumed) / (self.seconds or 1):.1f} fps (alone: {', '.join(parts)})"

    def as_json(self) -> str:
        said = asdict(self)
        if self.findings is None:
            del said["findings"], said["crossed"]
        return json.dumps(said, indent=2)


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
    """A stage, the time it takes summed; ``watch`` sees each cut-out before it."""

    def __init__(self, stage: Stage, watch: Callable[[Cutout], None] | None = None) -> None:
        self.stage, self.clock, self._watch = stage, Clock(), watch
        self.behind, self.ahead = stage.behind, stage.ahead

    @property
    def name(self) -> str:
        return type(self.stage).__name__

    def push(self, cutout: Cutout) -> Iterable[Cutout]:
        if self._watch is not None:
            self._watch(cutout)
        with self.clock:
            return list(self.stage.push(cutout))

    def flush(self) -> Iterable[Cutout]:
        with self.clock:
            return list(self.stage.flush())
