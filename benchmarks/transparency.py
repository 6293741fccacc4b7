"""How well a transparent matte known at keyframes is carried to all frames, on clips with known alpha.

    python -m benchmarks.transparency [--json FILE] [-o OUT.png] [--clips NAME ...] [--seeds N ...] [--no-network]
    python -m benchmarks.transparency --cost

The clips are a bottle, a veil and smoke (`training.see_through`), and the sample `glass.mp4`. Each starts from two
mattes: its ground truth with transparent parts alternately solid and empty (`solid_or_nothing`), and the bundled
network's, with the picture's colours as in the command. Keyframes take the ground truth, so only their choice, the
carrying and the joining are measured. The region is given as a mask (the true one, three pixels wider), as a box in
the first frame, and not at all. The stage is compared with keyframes every 12 frames only, with holding the last
keyframe, and with blending two keyframes without motion, within the same mask.

MAD is measured where the subject is transparent, dtSSD over the whole frame, both relative to the first matte's.
`changed outside` counts pixels outside the mask that are not bit-identical to the first matte; `changed solid` is the
share of pixels inside that changed although both the first matte and the ground truth are 1.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import streammatte
from streammatte.frame import Cutout, Frame, Model
from streammatte.quality import metrics
from streammatte.stages import ClipColors
from streammatte.stages.transparent import keyframes
from streammatte.stages.transparent.refiner import TransparencyRefiner
from streammatte.stages.transparent.regions import Box
from training.cutouts import read_cutouts
from training.flicker import solid_or_nothing
from training.see_through import SEE_THROUGH, SeeThroughClip, make_see_through

SAMPLES = Path(__file__).parents[1] / "samples"
SUBJECTS = (149, 155, 233, 240, 335, 343, 569, 609, 905, 994)  # those of benchmarks.temporal
EVERY = 12
Mattes = NDArray[np.float32]


@dataclass
class Masks:
    """A guide with one mask per frame."""

    planes: NDArray[np.bool_]

    def at(self, frame: Frame) -> torch.Tensor:
        return torch.from_numpy(self.planes[frame.index].astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", nargs="+", choices=(*SEE_THROUGH, "glass"), default=(*SEE_THROUGH, "glass"))
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 3))
    parser.add_argument("--no-network", action="store_true", help="only the noise model")
    parser.add_argument("--cost", action="store_true", help="only measure the stage's time per frame at 1920 × 1080")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("-o", "--output", metavar="PNG", help="a sheet per clip: picture, mattes, truth, composites")
    given = parser.parse_args()
    if given.cost:
        return cost()
    model = None if given.no_network else streammatte.load_model("birefnet-nano", offline=True, device="cpu")
    figures: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for name in given.clips:
        for seed in (0,) if name == "glass" else given.seeds:
            clip = read_glass() if name == "glass" else drawn(name, seed)
            kinds = {"failure model": solid_or_nothing(clip.alpha, clip.region, seed=seed)}
            if model is not None:
                kinds["network"] = network(clip, model)
            for kind, raw in kinds.items():
                rows, ours = measured(clip, raw)
                figures.setdefault(kind, {})[name if name == "glass" else f"{name} {seed}"] = rows
                print(f"\n{kind}, {name} {seed}")
                for method, row in rows.items():
                    print(f"  {method:18}", "  ".join(f"{key} {value:g}" for key, value in row.items()), flush=True)
                if given.output:
                    path = f"{given.output.removesuffix('.png')}.{name}.{seed}.{kind[0]}.png"
                    picture = sheet(clip, raw, ours)
                    cv2.imwrite(path, picture[..., ::-1])
    means = {kind: summary(clips) for kind, clips in figures.items()}
    for kind, rows in means.items():
        print(f"\n{kind}: mean over the clips")
        for method, row in rows.items():
            print(f"  {method:18}", "  ".join(f"{key} {value:g}" for key, value in row.items()))
    if given.json:
        about = {"size": [384, 216], "frames": 36, "every": EVERY, "seeds": list(given.seeds)}
        given.json.write_text(json.dumps(about | {"mean": means, "figures": figures}, indent=1) + "\n")


def drawn(name: str, seed: int) -> SeeThroughClip:
    return make_see_through(
        name, seed=seed, cutouts=read_cutouts([SAMPLES / "cutouts" / f"{number:06}.webp" for number in SUBJECTS])
    )


def read_glass() -> SeeThroughClip:
    """The sample; it is transparent where its true alpha is between 0 and 1 away from edges."""
    with streammatte.open_video(str(SAMPLES / "glass.mp4")) as source:
        rgb = np.stack([frame.rgb.permute(1, 2, 0).numpy() for frame in source])
    with streammatte.open_video(str(SAMPLES / "glass.alpha.mkv")) as source:
        alpha = np.stack([frame.as_float()[0].numpy() for frame in source])
    between = ((alpha > 0.02) & (alpha < 0.98)).astype(np.uint8)
    thick = [cv2.morphologyEx(each, cv2.MORPH_OPEN, np.ones((7, 7), np.uint8)) for each in between]
    near = [cv2.dilate(each, np.ones((9, 9), np.uint8)) for each in thick]
    return SeeThroughClip(rgb, alpha, np.zeros_like(rgb, np.float32), (), (np.stack(near) & between) > 0)


def network(clip: SeeThroughClip, model: Model) -> Mattes:
    frames = [Frame(torch.from_numpy(rgb).permute(2, 0, 1), index, index) for index, rgb in enumerate(clip.rgb)]
    return np.stack([cutout.alpha.numpy() for cutout in streammatte.matte(frames, model, [ClipColors()])])


def refined(clip: SeeThroughClip, raw: Mattes, region: Masks | Box | None) -> tuple[Mattes, list[int]]:
    """The stage's mattes, and which frames were keyframes."""
    refiner = TransparencyRefiner(
        lambda frame, _: torch.from_numpy(clip.alpha[frame.index]), every=EVERY, region=region
    )
    frames = [Frame(torch.from_numpy(rgb).permute(2, 0, 1), index, index) for index, rgb in enumerate(clip.rgb)]
    cutouts = streammatte.matte(frames, lambda batch: [torch.from_numpy(raw[each.index]) for each in batch], [refiner])
    return np.stack([cutout.alpha.numpy() for cutout in cutouts]), refiner.keyframes


def measured(clip: SeeThroughClip, raw: Mattes) -> tuple[dict[str, dict[str, float]], Mattes]:
    """Figures by method, and the stage's mattes."""
    mask = np.stack([cv2.dilate(each.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0 for each in clip.region])
    x, y, w, h = cv2.boundingRect(mask[0].astype(np.uint8))
    height, width = raw.shape[1:]
    box = max(0, x - 4), max(0, y - 4), min(width, x + w + 4), min(height, y + h + 4)
    ours, keys = refined(clip, raw, Masks(mask))
    rows = {"mask": figure(clip, raw, ours, keys, mask)}
    usual = keyframes.LOST, keyframes.NEW
    keyframes.LOST, keyframes.NEW = 0.0, 1.0
    try:
        rows["mask, every 12"] = figure(clip, raw, *refined(clip, raw, Masks(mask)), mask)
    finally:
        keyframes.LOST, keyframes.NEW = usual
    rows["box"] = figure(clip, raw, *refined(clip, raw, box))
    rows["found"] = figure(clip, raw, *refined(clip, raw, None))
    count = len(raw)
    keys = sorted({*range(0, count, EVERY), count - 1})
    held, blended = raw.copy(), raw.copy()
    for index in range(count):
        first = max(key for key in keys if key <= index)
        last = min(key for key in keys if key >= index)
        share = (index - first) / max(1, last - first)
        held[index][mask[index]] = clip.alpha[first][mask[index]]
        both = (1 - share) * clip.alpha[first] + share * clip.alpha[last]
        blended[index][mask[index]] = both[mask[index]]
    rows["hold"] = figure(clip, raw, held, keys, mask)
    rows["blend"] = figure(clip, raw, blended, keys, mask)
    return rows, ours


def figure(
    clip: SeeThroughClip, raw: Mattes, ours: Mattes, keys: list[int], mask: NDArray[np.bool_] | None = None
) -> dict[str, float]:
    inside = [np.abs(each - clip.alpha)[clip.region].mean() for each in (ours, raw)]
    changed = ours != raw
    solid = (raw == 1) & (clip.alpha == 1) & (True if mask is None else mask)
    row = {
        "MAD": round(float(inside[0] / inside[1]), 3),
        "dtSSD": round(metrics.dtssd(ours, clip.alpha) / metrics.dtssd(raw, clip.alpha), 3),
        "MAD of 1000": round(float(1000 * inside[0]), 1),
        "keyframes": round(len(keys) / len(raw), 3),
        "changed solid": round(float((changed & solid).sum() / max(1, solid.sum())), 4),
    }
    return row if mask is None else row | {"changed outside": int(np.count_nonzero(changed & ~mask))}


def summary(clips: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """For each method, the mean over the clips and the worst clip."""
    first: dict[str, dict[str, Any]] = next(iter(clips.values()))
    rows: dict[str, dict[str, float]] = {}
    for method in first:
        rows[method] = {}
        for key in ("MAD", "dtSSD", "keyframes"):
            values = [clip[method][key] for clip in clips.values()]
            rows[method] |= {key: round(float(np.mean(values)), 3), f"worst {key}": max(values)}
    return rows


def sheet(clip: SeeThroughClip, raw: Mattes, ours: Mattes) -> NDArray[np.uint8]:
    """Over time: picture, first matte, ours, ground truth, and the last two over a checkerboard."""
    height, width = raw.shape[1:]
    y, x = np.mgrid[:height, :width] // 16
    board = np.where(((x + y) % 2)[..., None] > 0, np.float32([0.2, 0.7, 0.3]), np.float32([0.75, 0.85, 0.75]))
    rows = []
    for index in range(2, len(raw), max(1, len(raw) // 6)):
        own = clip.foreground[index] if clip.foreground.any() else clip.rgb[index] / np.float32(255)
        mattes = [each[index][..., None].astype(np.float32) for each in (raw, ours, clip.alpha)]
        laid = [matte * own + (1 - matte) * board for matte in mattes[1:]]
        pictures = [clip.rgb[index] / 255, *(np.repeat(matte, 3, 2) for matte in mattes), *laid]
        rows.append(np.hstack(pictures))
    return np.rint(255 * np.vstack(rows).clip(0, 1)).astype(np.uint8)


def cost(frames: int = 26) -> None:
    """Print the mean time per frame without the keyframe's model; needs a quiet machine."""
    for name in SEE_THROUGH:
        small = make_see_through(name, 480, 270, frames)
        raw = solid_or_nothing(small.alpha, small.region)
        large = [
            Cutout(
                Frame(torch.from_numpy(cv2.resize(rgb, (1920, 1080))).permute(2, 0, 1), index, index),
                torch.from_numpy(cv2.resize(alpha, (1920, 1080))),
            )
            for index, (rgb, alpha) in enumerate(zip(small.rgb, raw, strict=True))
        ]
        truth = [torch.from_numpy(cv2.resize(alpha, (1920, 1080))) for alpha in small.alpha]
        masks = np.stack([cv2.resize(each.astype(np.uint8), (1920, 1080)) > 0 for each in small.region])
        for kind, region in (("mask", Masks(masks)), ("found", None)):
            refiner = TransparencyRefiner(lambda frame, _: truth[frame.index], every=EVERY, region=region)  # noqa: B023 (used at once)
            start = time.perf_counter()
            for cutout in large:
                list(refiner.push(cutout))
            list(refiner.flush())
            taken = 1000 * (time.perf_counter() - start) / frames
            print(
                f"{name}, {kind}: {taken:.0f} ms a frame on {os.cpu_count()} cores, {len(refiner.keyframes)} keyframes"
            )


if __name__ == "__main__":
    main()
