"""Speed of reading and writing without a network: ``python -m benchmarks.media``. See README.md.

A generated clip is decoded, gets a fixed alpha, and is written, at 720p and 1080p, with 8 and 10 bits. Each part is
timed alone (decoding, samples to RGB, cut-outs to planes, encoding), then all together: in a loop, and decoding ahead
like the command.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av
import torch

from benchmarks.footage import write_clip
from benchmarks.report import ROOT, Report, machine
from streammatte.color.ycbcr import RgbReader
from streammatte.frame import Cutout
from streammatte.media import open_video, open_writer
from streammatte.media.write.painting import CutoutPainter
from streammatte.pipeline import prefetch

REPEATS = 3

OUTPUTS = {
    "ProRes": ("plate.mov",),
    "VP9": ("plate.webm",),
    "PNG": ("plate.####.png",),
    "ProRes and its matte": ("plate.mov", "matte.mov"),
    "ProRes, VP9, matte": ("plate.mov", "plate.webm", "matte.mov"),
}


def main() -> int:
    """Run everything; returns 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="benchmarks.media", description=__doc__)
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "media.json", help="the report")
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--small", action="store_true", help="tiny sizes, to test the benchmark itself")
    parser.add_argument("--only", choices=tuple(OUTPUTS), help="one kind of output; choose another --json")
    given = parser.parse_args()
    given.json.unlink(missing_ok=True)
    report = Report(given.json)
    report.facts(**machine(), command=["python", *sys.orig_argv[1:]], small=given.small)
    sizes = {"tiny": (128, 96)} if given.small else {"720p": (1280, 720), "1080p": (1920, 1080)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, size in sizes.items():
            for bits, pixels in ((8, "yuv420p"), (10, "yuv420p10le")):
                clip = write_clip(folder / f"{kind}-{bits}.mp4", size, given.frames, pixels=pixels)
                with report.entry("reading", f"{kind}, {bits} bit") as entry:
                    entry.update(reading(clip, given.frames))
                for what, outputs in OUTPUTS.items():
                    if given.only in (None, what):
                        with report.entry("writing", f"{kind}, {bits} bit, {what}") as entry:
                            entry.update(writing(clip, folder, outputs, given.frames))
    for failure in report.failures:
        print(f"benchmarks: failed: {failure}", file=sys.stderr)
    return 1 if report.failures else 0


def reading(clip: Path, frames: int) -> dict[str, float]:
    """Frames per second of FFmpeg's decoder, of the conversion, and of a source that does both."""
    start = time.perf_counter()
    with av.open(str(clip)) as file:
        file.streams.video[0].thread_type = "AUTO"
        for _ in file.decode(video=0):
            pass
    decoded = time.perf_counter() - start
    with Stopwatch(RgbReader, "read") as conversion, open_video(clip) as source:
        start = time.perf_counter()
        for _ in source:
            pass
        read = time.perf_counter() - start
    return rates(frames, decode=decoded, to_rgb=conversion.seconds, source=read)


def writing(clip: Path, folder: Path, outputs: tuple[str, ...], frames: int) -> dict[str, float]:
    """Frames per second of the parts, of a loop, and of the command's way, on the same cut-outs."""

    def run(write_all: Callable[[Iterable[Cutout], list[Callable[[Cutout], None]]], None], *, thread: bool) -> float:
        start = time.perf_counter()
        with open_video(clip) as source, ExitStack() as stack:
            writers = [
                stack.enter_context(
                    open_writer(
                        folder / name,
                        source.info,
                        content="matte" if name.startswith("matte") else "plate",
                        overwrite=True,
                    )
                )
                for name in outputs
            ]
            write_all(plates_of(prefetch(source) if thread else source), [writer.write for writer in writers])
            for writer in writers:
                writer.finish()
            return time.perf_counter() - start

    def in_turn(cutouts: Iterable[Cutout], writes: list[Callable[[Cutout], None]]) -> None:
        for cutout in cutouts:
            for write in writes:
                write(cutout)

    with Stopwatch(RgbReader, "read") as reader, Stopwatch(CutoutPainter) as painter:
        loop = run(in_turn, thread=False)
    ahead = min(run(in_turn, thread=True) for _ in range(REPEATS))  # machines are rarely quiet
    seconds = {"to_planes": painter.seconds} if painter.seconds else {}
    encode = loop - painter.seconds - reader.seconds
    return rates(frames, **seconds, decode_and_encode=encode, loop=loop, read_ahead=ahead)


def plates_of(frames: Iterable[Any]) -> Iterator[Cutout]:
    """Each frame with its own colours and the same soft disc as alpha."""
    alpha: torch.Tensor | None = None
    for frame in frames:
        if alpha is None:
            height, width = frame.rgb.shape[-2:]
            y, x = torch.meshgrid(torch.arange(height) - height / 2, torch.arange(width) - width / 2, indexing="ij")
            alpha = ((height / 3 - torch.hypot(x, y)) / 8 + 0.5).clamp(0, 1)
        yield Cutout(frame, alpha)


class Stopwatch:
    """Sums the time of all calls of a class's method."""

    def __init__(self, kind: type[Any], method: str = "__call__") -> None:
        self.seconds = 0.0
        self._kind, self._method = kind, method

    def __enter__(self) -> Stopwatch:
        self._call = call = getattr(self._kind, self._method)

        def timed(instance: object, *arguments: object) -> Any:
            start = time.perf_counter()
            try:
                return call(instance, *arguments)
            finally:
                self.seconds += time.perf_counter() - start

        setattr(self._kind, self._method, timed)
        return self

    def __exit__(self, *exc: object) -> None:
        setattr(self._kind, self._method, self._call)


def rates(frames: int, **seconds: float) -> dict[str, float]:
    """Frames per second."""
    return {name: round(frames / value, 1) for name, value in seconds.items()}


if __name__ == "__main__":
    sys.exit(main())
