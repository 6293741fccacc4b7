"""The cost of a live picture after its cut-out: python -m benchmarks.live_look [--frames N] [-o FILE]

The first frames of the sample `talking` with their ground truth, at three sizes, on one thread, with each option alone
and with the defaults. Milliseconds per frame: median and 95th percentile, and the median of the thread's CPU time,
which other programs disturb less.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks.report import ROOT, machine
from streammatte import open_video
from streammatte.frame import ColorSpec, Cutout, Frame, StreamInfo
from streammatte.live.contracts import Controls
from streammatte.live.over_background import Look
from streammatte.media.write.composing import opacity, pixels_of

SIZES = ((640, 360), (1280, 720), (1920, 1080))
OFF: dict[str, Any] = {"light_wrap": False, "match": False}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "colour": ("green", OFF),
    "blur": ("blur", OFF),
    "picture": ("picture", OFF),
    "picture, light wrap": ("picture", OFF | {"light_wrap": True}),
    "picture, match": ("picture", OFF | {"match": True}),
    "picture, feather 3": ("picture", OFF | {"feather": 3.0}),
    "picture, mirror": ("picture", OFF | {"mirror": True}),
    "picture, wrap and match": ("picture", {}),
    "clip, wrap and match": ("clip", {}),
    "transparent": ("transparent", OFF),
}


def cutouts(size: tuple[int, int], count: int) -> list[Cutout]:
    """Of the sample and of its true alpha, softened as networks do."""
    made = []
    with open_video(ROOT / "samples/talking.mp4") as colors, open_video(ROOT / "samples/talking.alpha.mkv") as alphas:
        for frame, matte in zip(colors, alphas, strict=False):
            rgb = cv2.resize(pixels_of(frame.rgb), size, interpolation=cv2.INTER_AREA)
            alpha = pixels_of(matte.as_float())[..., 0]
            alpha = cv2.resize(cv2.resize(alpha, (192, 192), interpolation=cv2.INTER_AREA), size)
            picture = Frame(torch.from_numpy(rgb).permute(2, 0, 1), frame.index, frame.index)
            made.append(Cutout(picture, torch.from_numpy(np.ascontiguousarray(alpha))))
            if len(made) == count:
                break
    return made


def measured(background: str, options: dict[str, Any], given: list[Cutout]) -> dict[str, float]:
    """Milliseconds a frame."""
    height, width = given[0].alpha.shape
    info = StreamInfo(width, height, Fraction(1, 30), Fraction(30), None, ColorSpec())
    options = dict(options)
    controls = Controls(mirror=options.pop("mirror", False))
    look = Look(info, [background], controls, **options)
    took, busy = [], []
    try:
        for index, cutout in enumerate(given + given):
            begin, worked = time.perf_counter(), time.thread_time()
            look(cutout, index / 30)
            took.append(1000 * (time.perf_counter() - begin))
            busy.append(1000 * (time.thread_time() - worked))
    finally:
        look.close()
    took, busy = took[len(given) :], busy[len(given) :]
    return {
        "median": round(float(np.median(took)), 2),
        "p95": round(float(np.percentile(took, 95)), 2),
        "processor": round(float(np.median(busy)), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("-o", "--output")
    given = parser.parse_args()

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    results: dict[str, Any] = {"machine": machine(), "threads": 1, "milliseconds": {}}
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "place.png")
        place = next(iter(open_video(ROOT / "samples/walk.mp4")))
        cv2.imwrite(str(picture), pixels_of(place.rgb)[..., ::-1])
        backgrounds = {"picture": str(picture), "clip": str(ROOT / "samples/walk.mp4")}
        for size in SIZES:
            ready = cutouts(size, given.frames)
            mixed = np.mean([np.mean((opacity(cutout) > 0.08) & (opacity(cutout) < 0.92)) for cutout in ready])
            times: dict[str, Any] = {"share of pixels at the edge": round(float(mixed), 4)}
            for name, (background, options) in WAYS.items():
                times[name] = measured(backgrounds.get(background, background), options, ready)
                found = " ".join(f"{value:8.2f}" for value in times[name].values())
                print(f"{size[0]}×{size[1]}  {name:26s} {found}", flush=True)
            results["milliseconds"][f"{size[0]}x{size[1]}"] = times
    if given.output:
        Path(given.output).write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
