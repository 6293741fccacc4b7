"""Core-milliseconds of each conversion, and of the picture's colours, on one frame.

    python -m benchmarks.stages CLIP [--repeats N] [--json FILE]
    python -m benchmarks.stages CLIP --chain FRAMES

The second line gives all default stages frames in memory and mattes that cost nothing, and prints how many frames a
second they reach on all cores, as in the command: the bound for a network on a GPU, while stages compute on the CPU.

Everything else runs on one thread. Figures are medians of CPU time, which other processes still inflate by what they
take of the caches: compare two versions in turns on the same machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import av
import cv2
import torch

import streammatte
from streammatte.chain import AHEAD
from streammatte.color.ycbcr import RgbReader
from streammatte.frame import Cutout, Frame, StreamInfo
from streammatte.media.write.composing import Contents, IntegerPictures
from streammatte.media.write.encoding import encoding_for
from streammatte.media.write.painting import CutoutPainter
from streammatte.models.device import cores_for, opencv_cores, workers
from streammatte.pipeline import matte
from streammatte.stages import ClipColors, stages_for

NETWORK = (320, 320)  # the bundled network's input

Call = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", metavar="CLIP")
    parser.add_argument("--repeats", type=int, default=15, metavar="N", help="of each (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures")
    parser.add_argument(
        "--chain", type=int, metavar="FRAMES", help="the stages together, with mattes that cost nothing"
    )
    given = parser.parse_args()
    if given.chain:
        chain(given.clip, given.chain)
        return
    torch.set_num_threads(1)
    cv2.setNumThreads(1)

    with streammatte.open_video(given.clip) as source:
        info, frame = source.info, next(iter(source))
    alpha = disc(*frame.size)
    own = Cutout(frame, alpha)
    calls = {"to RGB": to_rgb(given.clip), "to the network": seen(frame), "picture's colours": colors(frame)}
    for name, cutout in (("own colours", own), ("edge colours", replace(own, foreground=at_edges(frame, alpha)))):
        for suffix in (".mov", ".webm"):
            calls[f"to {suffix}, {name}"] = to_planes(suffix, cutout, info)
        for bits in (8, 16):
            calls[f"to PNG {bits} bit, {name}"] = to_pixels(bits, cutout, info)
    figures = {name: milliseconds(call, given.repeats) for name, call in calls.items()}
    for name, figure in figures.items():
        print(f"{name:30} {figure:7.1f}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


def chain(clip: str, count: int) -> None:
    """The best of three rounds."""
    model = streammatte.load_model("birefnet-nano", device="cpu")
    with streammatte.open_video(clip) as source:
        frames = list(islice(source, count))
    known = {frame.index: alpha for frame, alpha in zip(frames, model(frames), strict=True)}

    def free(batch: Sequence[Frame]) -> list[torch.Tensor]:
        for frame in batch:
            frame.seen(NETWORK)  # the network would have asked for it
        return [known[frame.index] for frame in batch]

    best = (0.0, 0.0)
    with opencv_cores(cores_for()):
        for _ in range(3):
            fresh = [replace(frame) for frame in frames]
            stages = stages_for(NETWORK, hands=max(1, workers() - 1))
            start, before = time.perf_counter(), time.process_time()
            done = sum(1 for _ in matte(fresh, free, stages, ahead=AHEAD, floats=False))
            best = max(best, (done / (time.perf_counter() - start), 1000 * (time.process_time() - before) / done))
    print(f"{best[0]:.1f} frames a second, {best[1]:.0f} core-ms a frame")


def disc(height: int, width: int) -> torch.Tensor:
    """(H, W): a soft disc in the middle."""
    y, x = torch.meshgrid(torch.arange(height) - height / 2, torch.arange(width) - width / 2, indexing="ij")
    return ((height / 3 - torch.hypot(x, y)) / 16 + 0.5).clamp(0, 1)


def at_edges(frame: Frame, alpha: torch.Tensor) -> torch.Tensor:
    """The frame's colours, other ones where the alpha is neither 0 nor 1, channels last as stages return them."""
    colors = frame.as_float().permute(1, 2, 0).contiguous()
    colors[(alpha > 0) & (alpha < 1)] *= 0.8
    return colors.permute(2, 0, 1)


def to_rgb(clip: str) -> Call:
    with av.open(clip) as file:
        decoded = next(file.decode(video=0))
        codec = file.streams.video[0].codec_context.name
    reader = RgbReader(decoded.width, decoded.height, codec=codec)
    return lambda: reader.read(decoded)


def seen(frame: Frame) -> Call:
    return lambda: replace(frame).seen(NETWORK)  # a new frame has not been seen yet


def colors(frame: Frame) -> Call:
    """On a vague matte, as a small network's."""
    small = torch.from_numpy(cv2.GaussianBlur(disc(*NETWORK).numpy(), (0, 0), 12))
    frame.seen(NETWORK)  # the network has asked for it before
    return lambda: list(ClipColors().push(Cutout(frame, small)))


def to_planes(suffix: str, cutout: Cutout, info: StreamInfo) -> Call:
    contents = Contents()
    painter = CutoutPainter(
        encoding_for(Path(f"out{suffix}"), info, contents), info, (info.width, info.height), contents
    )
    return lambda: painter(cutout)


def to_pixels(bits: int, cutout: Cutout, info: StreamInfo) -> Call:
    pictures = IntegerPictures(info, Contents(), bits=bits)
    return lambda: pictures(cutout)


def milliseconds(call: Call, repeats: int) -> float:
    call()
    taken = []
    for _ in range(repeats):
        begin = time.process_time()
        call()
        taken.append(1000 * (time.process_time() - begin))
    return round(statistics.median(taken), 2)


if __name__ == "__main__":
    main()
