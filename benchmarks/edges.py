"""Colours and detail at the edge: quality, stability, speed.

    python -m benchmarks.edges [--photos DIR] [--json FILE] [--sheets DIR]

- **foreground**: rendered cut-outs with exact colours over drawn places and photographs; with --photos, which holds
  lemur.png and lemur_alpha.png, also a photographed animal, whose colours from closed-form estimation (Levin et al.
  2006) are composed over other places and serve as ground truth. Mean squared error × 1000 where 0 < alpha < 1, for the
  frame's own colours, pymatting's estimate_foreground_ml and ours; the same weighted by alpha², as a composite shows
  it; and milliseconds on one core.
- **flicker**: grain over a still and a moving clip; RMS change from frame to frame in that band beyond the ground
  truth's, relative to the frame's own colours.
- **detail**: frames of 3840×2160 (see edge_scenes.py), their exact alpha averaged to 512×512 and lifted again; MAD and
  Grad relative to a bilinear stretch, where that is neither 0 nor 1, by kind of edge, and with coarse grain.
- **detail over time**: dtSSD of the stretched and the refined matte of moving clips of 1280×720, matted at 256×256.
- **time**: at 1920×1080 and 3840×2160, milliseconds of CPU time with one thread, and wall time with two.

Needs scikit-image and pymatting. All seeds are fixed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pymatting import estimate_foreground_cf, estimate_foreground_ml
from torch import Tensor

from benchmarks.edge_scenes import KINDS, Picture, composed, cutout, grained, place, scene
from streammatte.quality import metrics
from streammatte.stages import estimate_foreground
from streammatte.stages.detail import refine_alpha
from training.clips import make_clip

RESULTS = Path(__file__).parent / "results" / "edges.json"
UHD, HD = (2160, 3840), (1080, 1920)
MATTE = (512, 512)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, metavar="DIR", help="folder with lemur.png and lemur_alpha.png")
    parser.add_argument("--cutouts", type=int, default=24, help="number of cut-outs (%(default)s)")
    parser.add_argument("--scenes", type=int, default=2, help="4K scenes per kind of edge (%(default)s)")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--sheets", type=Path, metavar="DIR", help="write pictures for inspection")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if given.sheets:
        given.sheets.mkdir(parents=True, exist_ok=True)

    lemur = None if given.photos is None else read_lemur(given.photos)
    report: dict[str, object] = {"machine": platform.processor() or platform.machine(), "torch": torch.__version__}
    report["foreground"] = foreground(given.cutouts, lemur)
    report["flicker"] = flicker(given.cutouts // 4)
    report["detail"] = detail(given.scenes, given.sheets)
    report["detail over time"] = {name: moving_detail(name) for name in ("articulated", "hair", "still")}
    report["time_ms"] = timing()
    if given.sheets and lemur is not None:
        show_lemur(*lemur, given.sheets / "lemur.png")
    print(json.dumps(report, indent=1))
    given.json.write_text(json.dumps(report, indent=1) + "\n")


def ours(rgb: Picture, alpha: Picture) -> Picture:
    return estimate_foreground(planes(rgb), torch.from_numpy(alpha)).permute(1, 2, 0).numpy()


def planes(rgb: Picture) -> Tensor:
    """(3, H, W), with the memory layout of a decoded frame."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)


METHODS: dict[str, Callable[[Picture, Picture], Picture]] = {
    "the frame's own": lambda rgb, alpha: rgb,
    "pymatting": estimate_foreground_ml,
    "ours": ours,
}


def read_lemur(folder: Path) -> tuple[Picture, Picture]:
    """(H, W, 3) and (H, W)."""
    rgb = cv2.imread(str(folder / "lemur.png"))[..., ::-1].astype(np.float32) / 255
    alpha = cv2.imread(str(folder / "lemur_alpha.png"), cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255
    return np.ascontiguousarray(rgb), alpha


def foreground(count: int, lemur: tuple[Picture, Picture] | None) -> dict[str, object]:
    """Figures for each set of composites."""
    rng = np.random.default_rng(0)
    sets = {"cut-outs": [(*cutout(rng), place(rng, 320)) for _ in range(count)]}
    if lemur is not None:
        fore = estimate_foreground_cf(*(plane.astype(np.float64) for plane in lemur)).astype(np.float32)
        height, width = lemur[1].shape
        sets["lemur"] = [(fore, lemur[1], place(rng, width)[:height]) for _ in range(4)]
    estimate_foreground_ml(np.zeros((8, 8, 3)), np.zeros((8, 8)))  # compiles it before timing
    report: dict[str, object] = {}
    for name, composites in sets.items():
        rows = {method: [measured(METHODS[method], *composite) for composite in composites] for method in METHODS}
        report[name] = {
            "composites": len(composites),
            "mse": {method: mean(row[0] for row in each) for method, each in rows.items()},
            "mse weighted by alpha²": {method: mean(row[1] for row in each) for method, each in rows.items()},
            "worse than pymatting on": sum(a[0] > b[0] for a, b in zip(rows["ours"], rows["pymatting"], strict=True)),
            "ms": {method: mean(row[2] for row in rows[method]) for method in ("pymatting", "ours")},
        }
    return report


def measured(
    method: Callable[[Picture, Picture], Picture], fore: Picture, alpha: Picture, back: Picture
) -> tuple[float, float, float]:
    """Error in the band, weighted error, and milliseconds."""
    rgb = composed(fore, alpha, back)
    start = time.process_time()
    found = method(rgb, alpha)
    spent = time.process_time() - start
    error = 1000 * np.square(found - fore).mean(-1)
    band = (alpha > 0) & (alpha < 1)
    return float(error[band].mean()), float((error * alpha**2)[band].mean()), 1000 * spent


def flicker(count: int, frames: int = 6, grain: float = 4 / 255) -> dict[str, object]:
    """For both clips and each method, relative to the frame's own colours."""
    report: dict[str, object] = {}
    for clip, speed in (("still", 0), ("moving", 3)):
        rng = np.random.default_rng(1)
        sums: dict[str, list[float]] = {method: [] for method in METHODS}
        for _ in range(count):
            fore, alpha = cutout(rng)
            back = place(rng, 320)
            errors: dict[str, list[Picture]] = {method: [] for method in METHODS}
            bands = []
            for t in range(frames):
                shifted, matte = (np.roll(plane, speed * t, 1) for plane in (fore, alpha))
                clean = composed(shifted, matte, back)
                rgb = grained(clean, grain, t)
                # Where nothing moves, the error of the frame's own colours is steady, and only grain flickers.
                for method, each in METHODS.items():
                    truth = clean if method == "the frame's own" and not speed else shifted
                    errors[method].append(each(rgb, matte) - truth)
                bands.append((matte > 0) & (matte < 1))
            both = [a & b for a, b in itertools.pairwise(bands)]
            for method, each in errors.items():
                steps = [(b - a)[at] for (a, b), at in zip(itertools.pairwise(each), both, strict=True)]
                sums[method].append(float(np.sqrt(np.square(np.concatenate(steps)).mean())))
        own = mean(sums["the frame's own"])
        report[clip] = {method: round(mean(sums[method]) / own, 3) for method in ("pymatting", "ours")}
    return report


def detail(count: int, sheets: Path | None) -> dict[str, object]:
    """By kind of edge and in total, the refined matte's figures relative to the stretched one's."""
    report: dict[str, object] = {}
    totals: dict[str, list[list[float]]] = {"all": [], "all, with coarse grain": []}
    for kind in KINDS:
        rows = []
        for seed in range(count):
            shot = scene(kind, seed, *UHD)
            sheet = sheets / f"{kind}-{seed}.png" if sheets else None
            rows.append(lifted(grained(shot.rgb, 2 / 255), shot.alpha, sheet))
            totals["all, with coarse grain"].append(lifted(grained(shot.rgb, 8 / 255), shot.alpha))
        totals["all"] += rows
        report[kind] = summary(rows)
    return report | {name: summary(rows) for name, rows in totals.items()}


def lifted(rgb: Picture, alpha: Picture, sheet: Path | None = None) -> list[float]:
    """MAD and Grad in the band, for the bilinear stretch and the refined matte."""
    small = F.interpolate(torch.from_numpy(alpha)[None, None], MATTE, mode="area")
    soft = F.interpolate(small, alpha.shape, mode="bilinear")[0, 0]
    sharp = refine_alpha(planes(rgb), small[0, 0])
    band = ((soft > 0.01) & (soft < 0.99)).numpy()
    if sheet is not None:
        show_crop([rgb, *(np.repeat(each[..., None], 3, 2) for each in (alpha, soft, sharp))], band, sheet)
    return [measure(each, alpha, band) for each in (soft, sharp) for measure in (metrics.mad, metrics.grad)]


def moving_detail(name: str, frames: int = 8) -> dict[str, float]:
    clip, size = make_clip(name, 1280, 720, frames), (256, 256)
    soft, sharp = [], []
    for rgb, alpha in zip(clip.rgb, clip.alpha, strict=True):
        small = F.interpolate(torch.from_numpy(alpha)[None, None], size, mode="area")
        soft.append(F.interpolate(small, alpha.shape, mode="bilinear")[0, 0].clamp(0, 1))
        sharp.append(refine_alpha(planes(rgb).float() / 255, small[0, 0]))
    return {
        kind: round(metrics.dtssd([matte.numpy() for matte in mattes], clip.alpha), 3)
        for kind, mattes in (("bilinear", soft), ("refined", sharp))
    }


def summary(rows: list[list[float]]) -> dict[str, float]:
    soft_mad, soft_grad, mad, grad = (list(column) for column in zip(*rows, strict=True))
    return {
        "bilinear MAD": mean(soft_mad),
        "bilinear Grad": mean(soft_grad),
        "MAD over bilinear's": round(sum(mad) / sum(soft_mad), 3),
        "Grad over bilinear's": round(sum(grad) / sum(soft_grad), 3),
        "mean ratio of MAD": mean(a / b for a, b in zip(mad, soft_mad, strict=True)),
        "mean ratio of Grad": mean(a / b for a, b in zip(grad, soft_grad, strict=True)),
    }


def timing() -> dict[str, object]:
    """Median milliseconds of each stage by frame size, subject and threads."""
    report: dict[str, object] = {}
    for name, size in (("1920×1080", HD), ("3840×2160", UHD)):
        for kind in ("cutout", "hair"):
            shot = scene(kind, 0, *size)
            rgb, alpha = planes(grained(shot.rgb, 2 / 255)), torch.from_numpy(shot.alpha)
            small = F.interpolate(alpha[None, None], MATTE, mode="area")[0, 0]
            row = {"pymatting, threads: 1": timed(time.process_time, estimate_foreground_ml, shot.rgb, shot.alpha)}
            for threads, clock in ((1, time.process_time), (2, time.perf_counter)):
                torch.set_num_threads(threads)
                row[f"foreground, threads: {threads}"] = timed(clock, estimate_foreground, rgb, alpha)
                row[f"detail, threads: {threads}"] = timed(clock, refine_alpha, rgb, small)
            torch.set_num_threads(1)
            report[f"{name}, {kind}"] = row
    return report


def timed(clock: Callable[[], float], function: Callable[..., object], *arguments: object, repeats: int = 5) -> float:
    """Median milliseconds, after a warm-up."""
    spent = []
    for _ in range(repeats + 1):
        start = clock()
        function(*arguments)
        spent.append(1000 * (clock() - start))
    return round(statistics.median(spent[1:]), 1)


def mean(values: Iterable[float]) -> float:
    return round(float(np.mean(list(values))), 3)


def show_crop(pictures: list[Picture], band: NDArray[np.bool_], path: Path, side: int = 480) -> None:
    """A 1:1 crop with most of the edge: picture, ground truth, stretched, refined."""
    half = side // 2
    most = cv2.boxFilter(band.astype(np.float32), -1, (side, side))[half:-half, half:-half]
    y, x = np.unravel_index(most.argmax(), most.shape)
    save(path, np.hstack([picture[y : y + side, x : x + side] for picture in pictures]))


def show_lemur(rgb: Picture, alpha: Picture, path: Path) -> None:
    """The photograph over green, white and black: its own colours above, pymatting's, then ours."""
    rows = []
    for method in METHODS.values():
        fore = method(rgb, alpha)
        backs = ((0.0, 0.7, 0.25), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
        rows.append(np.hstack([composed(fore, alpha, np.broadcast_to(np.float32(back), rgb.shape)) for back in backs]))
    save(path, np.vstack(rows))


def save(path: Path, rgb: Picture) -> None:
    cv2.imwrite(str(path), np.rint(rgb[..., ::-1].clip(0, 1) * 255).astype(np.uint8))


if __name__ == "__main__":
    main()
