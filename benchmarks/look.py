"""A contact sheet of frames, mattes, and subjects over colours that reveal faults.

    python -m benchmarks.look samples/talking.mp4 more.mp4 -o sheet.png [--frames 3] [--model NAME | --weights FILE]

One row per frame: the picture, the matte, and the subject over a checkerboard and over grey-blue, which shows halos of
the old background. The README's picture is made with it. If ground truth lies beside a clip as NAME.alpha.mkv, as it
does for the samples, the matte's error over the whole clip is printed.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
from numpy.typing import NDArray

import streammatte
from streammatte.frame import Frame
from streammatte.models.birefnet import BiRefNetModel
from streammatte.quality import metrics
from streammatte.stages import stages_for

WIDTH = 320
GAP = 4
TINT = np.array([0.35, 0.42, 0.5], np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--frames", type=int, default=3, help="frames per clip, evenly spread (default: %(default)s)")
    parser.add_argument("--model", default="birefnet-nano")
    parser.add_argument("--weights")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--colors", choices=("auto", "on", "off"), default="auto", help="as in the command")
    given = parser.parse_args()

    model = streammatte.load_model(given.model, weights=given.weights, precision=given.precision, offline=True)
    rows, figures = [], {}
    for clip in given.clips:
        shown, figures[clip] = matted(clip, given.frames, model, given.colors)
        rows += shown
    sheet = np.concatenate([np.pad(r, ((0, GAP), (0, 0), (0, 0)), constant_values=255) for r in rows])
    cv2.imwrite(given.output, sheet[..., ::-1])
    for clip, figure in figures.items():
        if figure is not None:
            print(f"{clip}: mean absolute difference × 1000: {figure[0]:.1f}; overlap at one half: {figure[1]:.3f}")
    print(f"{given.output}: {len(rows)} frames of {', '.join(Path(clip).name for clip in given.clips)}")


def matted(
    clip: str, count: int, model: BiRefNetModel, colors: Literal["auto", "on", "off"]
) -> tuple[list[NDArray[np.uint8]], tuple[float, float] | None]:
    """``count`` evenly spread rows of a clip that is matted from its beginning, as by the command.

    Also MAD × 1000 and mean IoU, if ground truth lies beside the clip.
    """
    truth = Path(clip).with_suffix(".alpha.mkv")
    rows, figures = [], []
    with streammatte.open_video(clip) as source, ExitStack() as reading:
        mattes = reading.enter_context(av.open(str(truth))).decode(video=0) if truth.exists() else None
        total = source.info.frame_count or 1
        wanted = {int((i + 0.5) * total / count) for i in range(count)}
        for cutout in streammatte.matte(source, model, stages_for(model.size, colors)):
            ours = cutout.alpha.cpu().numpy()
            if cutout.frame.index in wanted:
                rows.append(row(cutout.frame, ours))
            if mattes is not None:
                theirs = next(mattes).to_ndarray(format="gray").astype(np.float32) / 255
                figures.append((metrics.mad(ours, theirs), metrics.iou(ours, theirs)))
    difference, overlap = np.mean(figures, axis=0) if figures else (None, None)
    return rows, None if difference is None else (float(difference), float(overlap))


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
