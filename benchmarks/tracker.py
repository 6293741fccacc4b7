"""SAM 2 over a long clip: memory and time, with a small network of random weights laid out as the released one.

    python -m benchmarks.tracker [--frames 2000] [--released tiny] [-o results/tracker.json]

Memory is the process's resident size, after the first hundred frames and at its highest after that. The clip is made
as it is read, with prompts in the middle and at the end, so that it is tracked in both directions.
``--released`` measures the time of a network of a released size, at 1024², instead.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import ROOT, Report, machine
from streammatte.motion import Plane
from streammatte.subject.contracts import Look, Prompt
from streammatte.subject.sam2 import Sam2Tracker, load_sam2_tracker

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
SIZE = 96, 128
SETTLED = 100  # frames after which memory must not grow


class Drifting:
    """A clip of a bright square that drifts over noise."""

    def __init__(self, frames: int) -> None:
        self.frame_size, self.indices = SIZE, range(frames)
        self._noise = np.random.default_rng(1).integers(0, 120, (*SIZE, 3)).astype(np.uint8)

    def between(self, start: int, stop: int) -> Iterator[Look]:
        for index in range(start, stop):
            picture = self._noise.copy()
            left = 20 + index // 40 % 60
            picture[30:70, left : left + 30] = 220
            yield Look(index, picture, unasked, unasked)


def unasked(*given: object) -> Plane:
    raise AssertionError("SAM 2 does not need the network's matte")


def resident() -> float:
    """Megabytes of the process, Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def followed(tracker: Sam2Tracker, frames: int) -> dict[str, object]:
    """Track a clip, in both directions, and watch memory."""
    box = lambda index: Prompt("", "box", index, (20 + index // 40 % 60, 30, 50 + index // 40 % 60, 70))  # noqa: E731
    prompts = [box(frames // 2), Prompt("", "point", frames - 1, (35 + (frames - 1) // 40 % 60, 50.0))]
    clip = Drifting(frames)
    steps, begun = [], time.process_time()
    reading = clip.between

    def between(start: int, stop: int) -> Iterator[Look]:
        for look in reading(start, stop):
            steps.append(resident())
            yield look

    clip.between = between  # type: ignore[method-assign]  # to look at memory at every frame that is read
    masks = sum(1 for _ in tracker(clip, prompts))
    seconds = time.process_time() - begun
    passes = steps[frames:]  # the first pass looks for cuts
    return {
        "frames": masks,
        "read": len(steps),
        "core-milliseconds a frame": round(1000 * seconds / frames, 1),
        "MB after 100 frames": round(max(passes[:SETTLED]), 1),
        "MB at most afterwards": round(max(passes[SETTLED:]), 1),
    }


def of_released(size: str) -> dict[str, object]:
    """The time of a frame of a released size, from random weights."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

    from streammatte.models.nets.sam2 import RELEASED, configuration

    known = dict(zip(("tiny", "small", "base-plus", "large"), RELEASED, strict=True))
    net = Sam2VideoModel(Sam2VideoConfig.from_dict(configuration(known[size]))).eval()
    tracker = Sam2Tracker(net, name=size, identity=size, device=torch.device("cpu"))
    frames = 4
    begun = time.process_time()
    masks = sum(1 for _ in tracker(Drifting(frames), [Prompt("", "box", 0, (20.0, 30.0, 50.0, 70.0))]))
    return {"size": size, "frames": masks, "core-seconds a frame": round((time.process_time() - begun) / frames, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--released", choices=["tiny", "small", "base-plus", "large"])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks/results/tracker.json")
    asked = parser.parse_args()
    if asked.released:
        figures = of_released(asked.released)
    else:
        from support.sam2_folder import make_folder

        with tempfile.TemporaryDirectory() as folder:
            tracker = load_sam2_tracker(make_folder(Path(folder)), device="cpu")
            figures = followed(tracker, asked.frames)
    report = Report(asked.output)
    report.facts(**machine())
    with report.entry("sam2", asked.released or f"{asked.frames} frames") as entry:
        entry |= figures


if __name__ == "__main__":
    main()
