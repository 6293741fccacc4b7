"""Mattes of log, linear and HDR pictures: python -m benchmarks.transfer CLIP [--frames N] [options]

Encodes frames of a clip as 16-bit PNG with each transfer curve, runs the command on each with and without
``--input-transfer``, and prints JSON: the MAD × 1000 of the matte from that of the original frames.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

import streammatte
from streammatte.cli.main import main as command
from streammatte.color.screen import CURVES

CODES = np.arange(65536) / 65535


def main(clip: str, *options: str, frames: int = 5) -> dict[str, object]:
    """Figures for one clip."""
    with streammatte.open_video(clip) as source:
        shown = [np.ascontiguousarray(frame.as_float().permute(1, 2, 0)) for frame in islice(source, frames)]
    with tempfile.TemporaryDirectory() as name:
        truth = mattes(Path(name) / "srgb", shown, *options)
        found: dict[str, object] = {}
        for curve in CURVES:
            encoded = [encode(picture, curve) for picture in shown]
            folder = Path(name) / curve
            aware = mattes(folder, encoded, "--input-transfer", curve, *options)
            found[curve] = {
                "with": round(float(np.abs(aware - truth).mean()) * 1000, 2),
                "without": round(float(np.abs(mattes(folder, encoded, *options) - truth).mean()) * 1000, 2),
            }
    return {"clip": Path(clip).name, "frames": len(shown), "mean difference of the matte × 1000": found}


def encode(shown: np.ndarray, curve: str) -> np.ndarray:
    """sRGB in [0, 1] → code values in [0, 1], by inverting the curve's table."""
    light = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    return np.interp(light, CURVES[curve](CODES), CODES)


def mattes(folder: Path, pictures: list[np.ndarray], *options: str) -> np.ndarray:
    """(N, H, W) float mattes from the command, of pictures in [0, 1]."""
    folder.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures, 1):
        cv2.imwrite(str(folder / f"in.{number:04d}.png"), np.rint(picture[..., ::-1] * 65535).astype(np.uint16))
    asked = (str(folder / "in.####.png"), "--matte", str(folder / "out.####.png"), "--overwrite", "--quiet")
    if command([*asked, "--model", "birefnet-nano", "--device", "cpu", *options]):
        raise SystemExit(1)
    return np.stack(
        [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) / 65535.0 for path in sorted(folder.glob("out.*.png"))]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("clip")
    parser.add_argument("--frames", type=int, default=5)
    known, others = parser.parse_known_args(sys.argv[1:])
    print(json.dumps(main(known.clip, *others, frames=known.frames), indent=2))
