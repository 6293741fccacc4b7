"""Score a checkpoint on the procedural test set: composed pictures that no training has seen.

    python -m benchmarks.procedural --cutouts DIR --panoramas DIR [--json FILE] [--weights FILE] [-o OUT.png]

Subjects are the held-out renders (one in twelve, `cutouts.is_held_out`), places the two held-out panoramas; the seed is
fixed. The same pictures are scored with and without the picture's colours.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch

import streammatte
from streammatte.frame import Frame
from streammatte.quality import metrics
from streammatte.stages import ClipColors
from training.held_out import held_out

MEASURES = {"mad": metrics.mad, "grad": metrics.grad, "conn": metrics.conn, "iou": metrics.iou}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cutouts", type=Path, action="append", required=True, metavar="DIR")
    parser.add_argument("--panoramas", type=Path, required=True, metavar="DIR")
    parser.add_argument("--count", type=int, default=200, help="number of pictures (%(default)s)")
    parser.add_argument("--side", type=int, default=256, help="side of the pictures in pixels (%(default)s)")
    parser.add_argument("--weights", help="a checkpoint file (default: the bundled one)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("-o", "--output", metavar="PNG", help="a sheet of the first pictures and their mattes")
    given = parser.parse_args()

    model = streammatte.load_model("birefnet-nano", weights=given.weights, offline=True)
    composer = held_out(given.cutouts, given.panoramas)
    figures: dict[str, list[list[float]]] = {"network": [], "with colours": []}
    shown = []
    for index in range(given.count):
        rgb, alpha = composer(index, given.side)
        frame = Frame(torch.from_numpy(rgb).permute(2, 0, 1), 0, 0)
        cutouts = [next(streammatte.matte([frame], model, stages)) for stages in ([], [ClipColors()])]
        mattes = [cutout.alpha.cpu().numpy() for cutout in cutouts]
        for rows, matte in zip(figures.values(), mattes, strict=True):
            rows.append([measure(matte, alpha) for measure in MEASURES.values()])
        if len(shown) < 48:
            gray = [np.repeat(np.rint(plane * 255).astype(np.uint8)[..., None], 3, 2) for plane in (alpha, *mattes)]
            shown.append(cv2.resize(np.vstack([rgb, *gray]), (96, 384), interpolation=cv2.INTER_AREA))

    report = {
        name: dict(zip(MEASURES, np.mean(rows, axis=0).round(3).tolist(), strict=True))
        for name, rows in figures.items()
    }
    for name, row in report.items():
        print(f"{name:13}", "  ".join(f"{measure} {value:8.3f}" for measure, value in row.items()))
    if given.json:
        about = {"pictures": given.count, "side": given.side, "subjects": len(composer.cutouts)}
        given.json.write_text(json.dumps(about | report, indent=1) + "\n")
    if given.output:
        rows = [np.hstack(shown[i : i + 16]) for i in range(0, len(shown) - 15, 16)]
        cv2.imwrite(given.output, np.vstack(rows)[..., ::-1])


if __name__ == "__main__":
    main()
