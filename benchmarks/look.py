"""A contact sheet to look at: frames, their mattes, and the subjects over colours that show what is wrong.

    python benchmarks/look.py samples/talking.mp4 more.mp4 -o sheet.png [--frames 3] [--model NAME | --weights FILE]

One row for each frame looked at: the picture, the matte, the subject over a checkerboard, and over mid grey-blue, where
a halo of the old background shows. The README's picture is made with it. Where the truth lies beside a clip, as
NAME.alpha.mkv, as it does for the samples, the matte's distance from it over the whole clip is printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

import streammatte
from streammatte.frame import Frame, Matter

WIDTH = 320
GAP = 4
TINT = np.array([0.35, 0.42, 0.5], np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--frames", type=int, default=3, help="of each clip, evenly spread (default: %(default)s)")
    parser.add_argument("--model", default="birefnet-nano")
    parser.add_argument("--weights")
    parser.add_argument("--precision", default="auto")
    given = parser.parse_args()

    matter = streammatte.load_matter(given.model, weights=given.weights, precision=given.precision, offline=True)
    rows = []
    for clip in given.clips:
        frames = spread(clip, given.frames)
        rows += [row(frame, matter([frame])[0].cpu().numpy()) for frame in frames]
    sheet = np.concatenate([np.pad(r, ((0, GAP), (0, 0), (0, 0)), constant_values=255) for r in rows])
    cv2.imwrite(given.output, sheet[..., ::-1])
    for clip in given.clips:
        truth = Path(clip).with_suffix(".alpha.mkv")
        if truth.exists():
            difference, overlap = scores(clip, truth, matter)
            print(f"{clip}: mean absolute difference × 1000: {difference:.1f}; overlap at one half: {overlap:.3f}")
    print(f"{given.output}: {len(rows)} frames of {', '.join(Path(clip).name for clip in given.clips)}")


def scores(clip: str, truth: Path, matter: Matter) -> tuple[float, float]:
    """Mean absolute difference × 1000, and mean intersection over union of both cut at one half, over all frames."""
    with streammatte.open_source(clip) as source, av.open(str(truth)) as mattes:
        plates = streammatte.matte(source, matter)
        pairs = zip(plates, mattes.decode(video=0), strict=True)
        figures = []
        for plate, matte in pairs:
            ours, theirs = plate.alpha.cpu().numpy(), matte.to_ndarray(format="gray") / 255
            shared, joint = (ours > 0.5) & (theirs > 0.5), (ours > 0.5) | (theirs > 0.5)
            figures.append((1000 * np.abs(ours - theirs).mean(), shared.sum() / max(1, joint.sum())))
    difference, overlap = np.mean(figures, axis=0)
    return float(difference), float(overlap)


def spread(clip: str, count: int) -> list[Frame]:
    """``count`` frames from the middle of each ``count``-th of the clip."""
    with streammatte.open_source(clip) as source:
        total = source.info.frame_count or 1
        wanted = {int((i + 0.5) * total / count) for i in range(count)}
        return [frame for frame in source if frame.index in wanted]


def row(frame: Frame, alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Four pictures side by side, (h, 4·WIDTH + gaps, 3) uint8."""
    rgb = frame.as_float().permute(1, 2, 0).numpy()
    height = round(WIDTH * rgb.shape[0] / rgb.shape[1])
    rgb = cv2.resize(rgb, (WIDTH, height), interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(alpha, (WIDTH, height), interpolation=cv2.INTER_AREA)[..., None]
    y, x = np.mgrid[:height, :WIDTH]
    checker = np.where((x // 10 + y // 10) % 2, 0.8, 0.6).astype(np.float32)[..., None]
    pictures = [rgb, np.repeat(alpha, 3, axis=2), rgb * alpha + checker * (1 - alpha), rgb * alpha + TINT * (1 - alpha)]
    padded = [np.pad(picture, ((0, 0), (0, GAP), (0, 0)), constant_values=1.0) for picture in pictures]
    return np.rint(np.concatenate(padded, axis=1) * 255).astype(np.uint8)


if __name__ == "__main__":
    main()
