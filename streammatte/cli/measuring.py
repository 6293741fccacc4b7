"""Measure a run on this machine: each step with nothing beside it, all of them together, and no matting at all."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from streammatte.chain import Chain, Display, Joined, overlapped
from streammatte.frame import Cutout, StreamInfo
from streammatte.media.addresses import without_secrets
from streammatte.options import Options
from streammatte.refusals import check, check_source
from streammatte.run import model_of, run
from streammatte.summary import Clock, Summary

if TYPE_CHECKING:
    from torch import device as Device

    from streammatte.media.read.video import Video

T = TypeVar("T")

LINKS = {"decode": "reading", "network": "network", "encode": "writing", "check": "writing", "whole": "all"}
"""The thread that each step runs in; all others are stages. Those that several threads share finish the cut-outs."""
WARM_UP = 2  # frames: memory is allocated and kernels are chosen
HELD = 1 << 30  # bytes of cut-outs in memory between two steps
PIXEL = 40  # bytes of a cut-out's: colours in bytes and as the foreground's floats, Y'CbCr, alpha and copies


@dataclass(frozen=True, slots=True)
class Step:
    """What one step takes for a frame, in milliseconds; ``core`` is time on all cores together.

    Attributes:
        alone, alone_core: With nothing beside it.
        run, run_core: Beside the other steps; ``run_core`` without what codecs and torch do in threads of their own.
    """

    name: str
    link: str
    alone: float
    alone_core: float
    run: float
    run_core: float


@dataclass(frozen=True, slots=True)
class Setup:
    """What was measured on what; ``clip`` has the footage's name and size."""

    clip: str
    output: str
    model: str
    size: tuple[int, int]
    precision: str
    device: str
    cores: int
    torch: str

    def lines(self) -> list[str]:
        height, width = self.size
        return [
            f"{self.model} {width}×{height} {self.precision} on {self.device}",
            f"{self.cores} cores, torch {self.torch}",
            f"{self.clip}, to {self.output}",
        ]


@dataclass(frozen=True, slots=True)
class Bench:
    """The figures of a machine and these options; times are milliseconds a frame.

    Attributes:
        steps, whole: Each step; and the run, with its steps in turn (``alone``) and overlapped (``run``).
        media: Reading and writing the same clip, overlapped, without network and stages.
        load: Seconds to load the model.
        memory, device_memory: Peaks of the run in MiB; ``None`` if unknown.
    """

    setup: Setup
    frames: int
    steps: tuple[Step, ...]
    whole: Step
    media: float
    load: float
    memory: float | None
    device_memory: float | None

    @property
    def links(self) -> dict[str, float]:
        """What each thread computes for a frame in the run."""
        names = dict.fromkeys(step.link for step in self.steps)
        return {name: sum(step.run for step in self.steps if step.link == name) for name in names}

    @property
    def slowest(self) -> str:
        return max(self.links, key=lambda name: self.links[name])

    @property
    def ratios(self) -> dict[str, float]:
        """The whole's speed as a share of what others reach: the network, the slowest link, reading and writing."""
        network = next(step.alone for step in self.steps if step.name == "network")
        others = {"network": network, "slowest_link": self.links[self.slowest], "media": self.media}
        return {name: milliseconds / self.whole.run for name, milliseconds in others.items()}

    HEAD = ("step", "alone: ms", "core-ms", "in the run: ms", "core-ms")

    def rows(self) -> list[tuple[str, float | None, float | None, float | None, float | None]]:
        """A table for people, below ``HEAD``."""
        whole, *rows = ((each.name, each.alone, each.alone_core, each.run, each.run_core) for each in self._all())
        sums = [sum(column) for column in list(zip(*rows, strict=True))[1:]]
        alone, core, _, run_core = (max(0.0, all_ - part) for all_, part in zip(whole[1:], sums, strict=True))
        return [*rows, ("the rest", alone, core, None, run_core), whole]

    def findings(self) -> list[str]:
        """What limits the whole, in lines."""
        ratios, run, cores = self.ratios, self.whole.run, self.setup.cores
        memory = "unknown" if self.memory is None else f"{self.memory:.0f} MiB"
        if self.device_memory is not None:
            memory += f", {self.device_memory:.0f} MiB on the device"
        return [
            f"whole: {1000 / run:.1f} fps, {ratios['network']:.2f} of the network alone; "
            f"{self.whole.run_core / run / cores:.0%} of {cores} cores busy",
            f"slowest link: {self.slowest}, {self.links[self.slowest]:.1f} ms; the whole reaches "
            f"{ratios['slowest_link']:.2f} of its speed",
            f"without matting: {1000 / self.media:.1f} fps; the whole reaches {ratios['media']:.2f} of it",
            f"peak memory: {memory}; loading the model took {self.load:.1f} s; {self.frames} frames",
        ]

    def as_json(self) -> str:
        said = {"fps": 1000 / self.whole.run, "links": self.links, "slowest": self.slowest, "ratios": self.ratios}
        return json.dumps(asdict(self) | said, indent=2)

    def as_html(self) -> str:
        from streammatte.quality.page import bars, element, page, section, table

        pairs = {step.name: (step.alone, step.run) for step in self._all()}
        return page(
            f"streammatte bench: {1000 / self.whole.run:.1f} frames a second",
            *(element("p", line) for line in (*self.setup.lines(), *self.findings())),
            section("Milliseconds a frame", bars(("alone", "in the run"), pairs)),
            section("Figures", table(self.HEAD, self.rows())),
        )

    def _all(self) -> tuple[Step, ...]:
        return self.whole, *self.steps


class Phases(Display, Protocol):
    """What a measurement reports while it lasts."""

    def phase(self, name: str) -> None: ...


def bench(options: Options, frames: int, display: Phases) -> Bench:
    """Measure ``options``, which write one file, over at most ``frames`` frames.

    Raises:
        StreammatteError: As in a run.
    """
    from torch import __version__

    info = _checked(options)
    wanted = _shortened(options, info, frames)
    loading = Clock()
    with loading:
        model = model_of(options, display)

    def measured(phase: str, joined: Joined, options: Options = wanted) -> tuple[Summary, Chain]:
        chains: list[Chain] = []

        def keeping(options: Options, source: Video, chain: Chain) -> Generator[Cutout]:
            chains.append(chain)
            return joined(options, source, chain)

        display.phase(phase)
        return run(options, display, model, keeping), chains[0]

    measured("warming up", overlapped, _shortened(options, info, min(WARM_UP, frames)))
    _forget_peak(model.device)
    summary, chain = measured("the run", overlapped)
    memory, device_memory = _peak(), _peak_on(model.device)
    turns = measured("each step alone", partial(_in_turn, model.device))[1]
    media = measured("without matting", _unmatted)[1]
    alone, beside = ({**each.clocks(), "whole": each.whole} for each in (turns, chain))
    links = {**LINKS, **dict.fromkeys((name for name, clock in beside.items() if clock.beside > 1), "finishing")}
    *steps, whole = (_step(name, links, alone[name], clock, summary.frames) for name, clock in beside.items())
    # What the run itself takes is of the whole process; what a step takes in it, of one thread.
    whole = replace(whole, run_core=1000 * chain.whole.process / summary.frames)
    setup = Setup(
        clip=f"{Path(without_secrets(options.reading.input)).name}, {info.width}×{info.height}",
        output=str(summary.outputs[0]["description"]),
        model=summary.model,
        size=summary.size,
        precision=summary.precision,
        device=_named(model.device),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        torch=__version__,
    )
    unmatted = 1000 * (media.whole.wall - media.check.wall) / summary.frames
    return Bench(setup, summary.frames, tuple(steps), whole, unmatted, loading.wall, memory, device_memory)


def write_clip(path: Path, size: tuple[int, int], frames: int) -> None:
    """An H.264 clip of (H, W) at 25 frames a second: a swaying figure with loose hair before a panning background."""
    import av
    import cv2
    import numpy as np

    height, width = size
    random = np.random.default_rng(0)
    background = random.integers(40, 180, (9, 33, 3), dtype=np.uint8)
    background = np.asarray(cv2.resize(background, (2 * width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    noise = random.integers(0, 9, (height, width, 3), dtype=np.uint8)
    angles = np.linspace(-np.pi, 0, 60)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "20"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = width, height, "yuv420p", Fraction(1, 25)
        for index in range(frames):
            rgb = background[:, index * width // 400 % width :][:, :width].copy()
            x, y, head = round(width * (0.5 + 0.15 * np.sin(index / 6))), round(0.36 * height), round(0.13 * height)
            for angle in angles:
                end = x + 1.5 * head * np.cos(angle + 0.03 * np.sin(index)), y + 1.5 * head * np.sin(angle)
                cv2.line(rgb, (x, y), (round(end[0]), round(end[1])), (60, 40, 30), 1, cv2.LINE_AA)
            cv2.ellipse(rgb, (x, height), (2 * head, 4 * head), 0, 180, 360, (40, 60, 120), -1, cv2.LINE_AA)
            cv2.ellipse(rgb, (x, y), (head, round(1.3 * head)), 0, 0, 360, (220, 170, 140), -1, cv2.LINE_AA)
            frame = av.VideoFrame.from_ndarray(rgb + np.roll(noise, 37 * index, (0, 1)), "rgb24")
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _checked(options: Options) -> StreamInfo:
    """The footage; refuses what a run would refuse before it loads the model."""
    from streammatte.media.read.video import opened
    from streammatte.media.write.delivery import targets_of, writer_of

    check(options)
    with opened(options.reading) as source:
        check_source(options, source)
        for target in targets_of(options):
            writer_of(target, source.info, source.first_number, options)
        return source.info


def _shortened(options: Options, info: StreamInfo, frames: int) -> Options:
    """The first frames alone."""
    if info.frame_count is not None and info.frame_count <= frames:
        return options
    end = float((frames - Fraction(1, 2)) / info.frame_rate)  # in the middle of the last one
    return replace(options, reading=replace(options.reading, mark_out=f"{end:.6f}s"))


def _in_turn(device: Device, options: Options, source: Video, chain: Chain) -> Generator[Cutout]:
    """One step at a time. Decoder and encoder, which have threads of their own, get all frames at once."""
    from streammatte.pipeline import matte
    from streammatte.stages import TemporalSmoother

    for timed in chain.stages:
        if isinstance(timed.stage, TemporalSmoother):
            timed.stage.hands = 1
    for clock in chain.clocks().values():
        clock.settle = partial(_settle, device)
    held = max(1, HELD // (PIXEL * source.info.width * source.info.height))
    frames = _gathered(chain.frames(source), held)
    batch, stride, fetch = chain.batch, chain.stride, chain.fetch
    cutouts = matte(frames, chain.model, chain.stages, batch=batch, stride=stride, floats=False, fetch=fetch)
    return _gathered(cutouts, held)


def _unmatted(options: Options, source: Video, chain: Chain) -> Generator[Cutout]:
    """Reading and writing, overlapped; the matte is a fixed disc."""
    import cv2
    import numpy as np
    import torch

    from streammatte.pipeline import prefetch

    width, height = source.info.width, source.info.height
    disc = np.zeros((height, width), np.float32)
    cv2.circle(disc, (width // 2, height // 2), min(width, height) // 4, (1.0,), -1)
    alpha = torch.from_numpy(cv2.blur(disc, (9, 9)))
    return prefetch((Cutout(frame, alpha) for frame in chain.decode.over(source)), stopped=source.stop)


def _gathered(items: Iterator[T], count: int) -> Generator[T]:
    """The same items, computed ``count`` at a time."""
    while several := list(islice(items, count)):
        while several:
            yield several.pop(0)


def _step(name: str, links: Mapping[str, str], alone: Clock, beside: Clock, frames: int) -> Step:
    times = (alone.wall, alone.process, beside.wall, beside.thread)
    return Step(name, links.get(name, "stages"), *(1000 * each / frames for each in times))


def _named(device: Device) -> str:
    import torch

    return f"{device}, {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)


def _settle(device: Device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _forget_peak(device: Device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak_on(device: Device) -> float | None:
    import torch

    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None


def _peak() -> float | None:
    """MiB of main memory. Linux counts what the parent held at the fork, too, but not in this file."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line[:6] == "VmHWM:")
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
