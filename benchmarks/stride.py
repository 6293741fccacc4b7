"""What ``--stride`` costs: carried mattes against the network's own.

    python -m benchmarks.stride CLIP ... [--frames N] [--every N ...]

For each clip: frames that the network saw; MAD × 1000 of all mattes against those of a run with the network on every
frame, in the mean and of the worst frame; and the change from frame to frame (root mean square × 100) of both.
"""

from __future__ import annotations

import argparse
from itertools import islice, pairwise
from pathlib import Path

import torch

import streammatte
from streammatte.frame import Frame
from streammatte.stages.motion_links import Linker
from streammatte.stride import Stride


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--frames", type=int, default=50, help="most frames of each clip (%(default)s)")
    parser.add_argument("--every", type=int, nargs="+", default=[4, 8], help="strides (%(default)s)")
    given = parser.parse_args()
    model = streammatte.load_model("birefnet-nano", offline=True)
    print(f"{'clip':22} stride  network on  MAD  worst   change: own  carried")
    for path in given.clips:
        with streammatte.open_video(path) as video:
            frames = list(islice(video, given.frames))
        own = [model([frame])[0] for frame in frames]
        for every in given.every:
            carried, computed = strided(frames, own, every, model.size)
            off = [1000 * float((one - other).abs().mean()) for one, other in zip(carried, own, strict=True)]
            print(
                f"{path.stem:22} {every:6} {computed:4} of {len(own):3} {sum(off) / len(off):5.1f} {max(off):6.1f}"
                f"         {change(own):5.2f}    {change(carried):5.2f}",
                flush=True,
            )


def strided(
    frames: list[Frame], own: list[torch.Tensor], every: int, size: tuple[int, int]
) -> tuple[list[torch.Tensor], int]:
    """The mattes of a strided run, and how often the network ran."""
    answers = {frame.index: alpha for frame, alpha in zip(frames, own, strict=True)}
    linker, stride = Linker(size), Stride(every)
    linked = ((frame, linker(frame)) for frame in frames)
    return [alpha for _, _, alpha in stride(linked, lambda frame: answers[frame.index])], stride.computed


def change(mattes: list[torch.Tensor]) -> float:
    steps = [100 * float((later - earlier).square().mean().sqrt()) for earlier, later in pairwise(mattes)]
    return sum(steps) / max(1, len(steps))


if __name__ == "__main__":
    main()
