"""Live mattes with each setting against file mode on the same frames: accuracy, steadiness, speed.

    python -m benchmarks.live_matting [--clips NAME ...] [--json FILE]
    python -m benchmarks.live_matting --look CLIP ... -o OUT.png

The clips are the samples with ground truth and those that `training.clips` makes; the model is the bundled one. `leak`
is what is shown of the room: the sum of alpha where ground truth is 0, in thousandths of the picture. Times are of the
model alone, in one thread; measure them on a quiet machine.
`--look` lays frames over green: each row a frame, first the picture, then file mode, then each setting.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import streammatte
from benchmarks.report import machine
from benchmarks.temporal import CUTOUTS, SUBJECTS
from streammatte.frame import Frame
from streammatte.live.adaptive_model import AdaptiveModel
from streammatte.live.pace_keeper import ladder
from streammatte.models.table import NANO_SIZE
from streammatte.quality import metrics
from streammatte.stages import stages_for
from training.clips import NAMES, make_clip
from training.cutouts import read_cutouts

SAMPLES = Path(__file__).parents[1] / "samples"
OWN = NANO_SIZE
GREEN = np.array([0, 177, 64], np.float32)
WARM_UP = 5  # frames that are not timed
Mattes = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", nargs="+", choices=("talking", "walk", *NAMES), default=("talking", "walk", *NAMES))
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--look", nargs="+", metavar="CLIP", help="make a contact sheet of these instead")
    parser.add_argument("-o", "--output", metavar="PNG")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = streammatte.load_model("birefnet-nano", device="cpu")
    if given.look:
        rows = [row for clip in given.look for row in look(read(Path(clip)), model)]
        cv2.imwrite(given.output, np.vstack(rows)[..., ::-1])
        return
    facts = machine()
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name in given.clips:
        frames, truth = clip_of(name)
        figures[name] = {
            method: {measure: round(value, 3) for measure, value in (scores(alphas, truth) | cost).items()}
            for method, alphas, cost in methods(frames, model)
        }
        for method, row in figures[name].items():
            print(
                f"{name:12} {method:26}", "  ".join(f"{measure} {value}" for measure, value in row.items()), flush=True
            )
        if given.json:
            given.json.write_text(json.dumps({"facts": facts, "clips": figures}, indent=1) + "\n")


def methods(
    frames: list[Frame], model: streammatte.models.BiRefNetModel
) -> Iterable[tuple[str, Mattes, dict[str, float]]]:
    """What each makes of the frames: its name, (N, H, W), and what it cost."""
    model.size = OWN
    stages = stages_for(OWN, decontaminate=False)
    yield "file mode", np.stack([cutout.alpha.numpy() for cutout in streammatte.matte(frames, model, stages)]), {}
    for setting in ladder(OWN):
        model.size = OWN
        live = AdaptiveModel(model, (setting.size, setting.every))
        alphas, times, busy = [], [], []
        for frame in frames:
            begin, before = time.perf_counter(), time.process_time()
            alphas.append(live([frame])[0].numpy())
            times.append(1000 * (time.perf_counter() - begin))
            busy.append(1000 * (time.process_time() - before))
        timed = times[WARM_UP:]
        cost = {
            "ms": float(np.mean(timed)),
            "ms of the processor": float(np.mean(busy[WARM_UP:])),
            "ms, 95 %": float(np.percentile(timed, 95)),
            "runs": live.runs / len(frames),
        }
        yield str(setting), np.stack(alphas), cost


def scores(alphas: Mattes, truth: Mattes) -> dict[str, float]:
    pairs = list(zip(alphas, truth, strict=True))
    return {
        "MAD": float(np.mean([metrics.mad(*pair) for pair in pairs])),
        "dtSSD": metrics.dtssd(alphas, truth),
        "MESSDdt": metrics.messddt(alphas, truth),
        "IoU": float(np.mean([metrics.iou(*pair) for pair in pairs])),
        "leak": float(1000 * np.mean(np.where(truth == 0, alphas, 0))),
    }


def clip_of(name: str) -> tuple[list[Frame], Mattes]:
    if name in NAMES:
        clip = make_clip(name, cutouts=read_cutouts([CUTOUTS / f"{number:06}.webp" for number in SUBJECTS]))
        return [Frame(torch.from_numpy(rgb).permute(2, 0, 1), at, at) for at, rgb in enumerate(clip.rgb)], clip.alpha
    truth = np.stack([frame.as_float()[1].numpy() for frame in read(SAMPLES / f"{name}.alpha.mkv")])
    return read(SAMPLES / f"{name}.mp4"), truth


def read(path: Path) -> list[Frame]:
    with streammatte.open_video(path) as source:
        return list(source)


def look(frames: list[Frame], model: streammatte.models.BiRefNetModel, count: int = 6) -> Iterable[NDArray[np.uint8]]:
    """Rows of a contact sheet: frames one after the other, as what one does wrong goes on to the next."""
    middle = len(frames) // 2
    shown = [alphas for _, alphas, _ in methods(frames, model)]
    for at in range(middle, min(len(frames), middle + count)):
        rgb = frames[at].rgb.permute(1, 2, 0).numpy()
        tiles = [rgb] + [alphas[at][..., None] * rgb + (1 - alphas[at][..., None]) * GREEN for alphas in shown]
        yield np.hstack([cv2.resize(np.rint(tile).astype(np.uint8), (320, 180)) for tile in tiles])


if __name__ == "__main__":
    main()
