"""Photographs with masks: people in their surroundings, and cut-out things."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.train.camera import expose
from streammatte.train.picture import Picture
from training.cutouts import Element, crop_to_subject

RGBA = NDArray[np.uint8]

# Folders of Debian's tuxpaint-stamps-default with drawings, or with things that are not subjects.
DRAWN = (
    "symbols", "cartoon", "seasonal", "roadsigns", "flags", "space/planets", "space/moon", "clothes", "naturalforces",
    "body_parts",
)  # fmt: skip


def held_out(path: Path) -> bool:
    """Whether a photograph is kept for the published figures: one in ten, by a hash of its name."""
    return zlib.crc32(path.stem.encode()) % 10 == 0


def for_choosing(path: Path) -> bool:
    """Whether a photograph is kept for choosing among checkpoints: one in twenty."""
    return zlib.crc32(path.stem.encode()) % 20 == 1


def read(path: Path) -> RGBA:
    """A photograph with its mask, (H, W, 4) uint8."""
    rgb, mask = cv2.imread(str(path)), cv2.imread(str(path.with_suffix(".png")), cv2.IMREAD_GRAYSCALE)
    if rgb is None or mask is None:
        raise SystemExit(f"cannot read {path} or its mask")
    return np.dstack([rgb[..., ::-1], mask]).astype(np.uint8)


def people(folder: Path) -> tuple[list[RGBA], list[RGBA], list[RGBA]]:
    """Those to train on, those to choose checkpoints by, and those for the published figures."""
    paths = sorted(folder.glob("*.jpg"))
    chosen = [path for path in paths if for_choosing(path)]
    figures = [path for path in paths if held_out(path)]
    rest = [path for path in paths if not held_out(path) and not for_choosing(path)]
    return [read(p) for p in rest], [read(p) for p in chosen], [read(p) for p in figures]


def cut_out(rgba: RGBA) -> Element | None:
    """The person alone. The hand-drawn mask is hard and slightly too wide, so it is eroded and softened."""
    mask = cv2.GaussianBlur(cv2.erode(rgba[..., 3], np.ones((3, 3), np.uint8)), (0, 0), 0.8)
    small = np.dstack([rgba[..., :3], mask])
    return crop_to_subject(shrunk(small, 560))


def stamps(folder: Path, longest: int = 512) -> Iterator[Element]:
    """Photographed animals, plants, food, tools, instruments and vehicles with alpha."""
    for path in sorted(folder.rglob("*.png")):
        bgra = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if any(part in str(path) for part in DRAWN) or bgra is None or bgra.ndim != 3 or bgra.shape[2] != 4:
            continue
        if min(bgra.shape[:2]) < 60 or bgra.dtype != np.uint8:
            continue
        cutout = crop_to_subject(shrunk(np.ascontiguousarray(bgra[..., [2, 1, 0, 3]]), longest))
        if cutout is not None:
            yield cutout


def shrunk(rgba: RGBA, longest: int) -> RGBA:
    """Shrunk to at most ``longest`` pixels a side, averaging premultiplied colours."""
    scale = longest / max(rgba.shape[:2])
    if scale >= 1:
        return rgba
    values = rgba.astype(np.float32)
    values[..., :3] *= values[..., 3:] / 255
    values = cv2.resize(values, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    values[..., :3] *= 255 / np.maximum(values[..., 3:], 1e-3)
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def dark_cloth(rng: np.random.Generator, rgba: RGBA) -> RGBA:
    """The same photograph with dark clothes, and half of the time less light on all else: a webcam in the evening.

    Everything of the person below the chin is darkened and bleached. The head is about a seventh of a figure's height.
    """
    rows = np.flatnonzero((rgba[..., 3] > 128).any(1))
    if not len(rows):
        return rgba
    height = rgba.shape[0]
    chin = rows[0] + (rows[-1] - rows[0]) * rng.uniform(0.13, 0.17)
    below = np.clip((np.arange(height, dtype=np.float32) - chin) / (0.015 * height), 0, 1)[:, None, None]
    cloth = below * cv2.GaussianBlur(rgba[..., 3].astype(np.float32) / 255, (0, 0), 0.7)[..., None]
    rgb = rgba[..., :3].astype(np.float32)
    if rng.random() < 0.5:  # the light
        rgb = rgb * (1 - (1 - cloth) * np.float32(rng.uniform(0.2, 0.75)))
    gray = rgb.mean(2, keepdims=True)
    dyed = (gray + (rgb - gray) * np.float32(rng.uniform(0.1, 0.8))) * np.float32(rng.uniform(0.1, 0.5))
    dyed = dyed + rng.uniform(0, 16, 3).astype(np.float32)
    rgb = rgb + cloth * (dyed - rgb)
    return np.dstack([np.rint(np.clip(rgb, 0, 255)).astype(np.uint8), rgba[..., 3]])


class AsTheyAre:
    """Photographs of people in their surroundings: whole, head and shoulders, or any part, in common aspect ratios.

    Args:
        pictures: (H, W, 4) uint8 each.
        seed: With a picture's index, decides the picture.
    """

    def __init__(self, pictures: Sequence[RGBA], seed: int) -> None:
        self.pictures = pictures
        self.seed = seed

    def __call__(self, index: int, size: int) -> tuple[NDArray[np.uint8], Picture]:
        rng = np.random.default_rng([self.seed, index])
        rgba = self.pictures[int(rng.integers(len(self.pictures)))]
        H, W = rgba.shape[:2]
        ys, xs = np.nonzero(rgba[..., 3] > 128)
        if not len(ys):
            ys, xs = np.array([H // 2]), np.array([W // 2])
        if rng.random() < 0.12:
            rgba = dark_cloth(rng, rgba)
        kind = rng.random()
        if kind < 0.26:  # the whole picture, or nearly
            h, w = H * rng.uniform(0.8, 1.03), W * rng.uniform(0.8, 1.03)
            y, x = H / 2 + rng.normal(0, 0.04) * H, W / 2 + rng.normal(0, 0.05) * W
        elif kind < 0.68:  # head and shoulders: as at a webcam, or down to the hips
            aspect = float(rng.choice([16 / 9, 4 / 3, 1.0, 0.75, 0.5625], p=[0.6, 0.15, 0.1, 0.1, 0.05]))
            near = kind < 0.34
            w = W * np.exp(rng.uniform(np.log(0.3), np.log(0.6)) if near else rng.uniform(np.log(0.55), np.log(1.02)))
            h = w / aspect
            y, x = ys.min() + h * rng.uniform(0.3, 0.5), np.median(xs) + rng.normal(0, 0.12) * w
        else:  # any part
            aspect = float(rng.choice([16 / 9, 4 / 3, 1.0, 0.75, 0.5625], p=[0.3, 0.2, 0.2, 0.15, 0.15]))
            h = min(H, W / aspect) * np.exp(rng.uniform(np.log(0.4), 0.02))
            w = h * aspect
            y, x = rng.choice(ys) + rng.normal(0, 0.12) * h, rng.choice(xs) + rng.normal(0, 0.2) * w
        # The frame stays inside the picture where it can; outside, the picture is mirrored.
        y, x = np.clip(y, h / 2, max(h / 2, H - h / 2)), np.clip(x, w / 2, max(w / 2, W - w / 2))
        angle = np.radians(rng.normal(0, 4) if rng.random() < 0.5 else 0)
        flip = -1 if rng.random() < 0.5 else 1
        # From output pixels to the picture's, both relative to their centres.
        cos, sin = np.cos(angle), np.sin(angle)
        zoom = max(1.0, min(h, w) / size / 1.5)  # shrink by area first, as a warp alone would alias
        source = rgba if zoom == 1 else cv2.resize(rgba, None, fx=1 / zoom, fy=1 / zoom, interpolation=cv2.INTER_AREA)
        a = np.array([[flip * cos * w, -sin * h], [flip * sin * w, cos * h]]) / size / zoom
        offset = np.array([x, y]) / zoom - a @ np.array([size / 2, size / 2])
        # At twice the size, then averaged, so that hard masks are antialiased.
        fine = np.hstack([a / 2, (offset - a @ np.array([0.25, 0.25]))[:, None]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        crop = cv2.warpAffine(source, fine, (2 * size, 2 * size), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
        rgb, alpha = np.ascontiguousarray(crop[..., :3]), crop[..., 3].astype(np.float32) / 255
        if rng.random() < 0.45:
            return rgb, alpha
        return expose(rng, rgb.astype(np.float32) / 255, alpha)
