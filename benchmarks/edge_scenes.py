"""Composites with exact alpha and foreground and realistic edges, for ``benchmarks.edges``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from training.backgrounds import drawn, fractal

Picture = NDArray[np.float32]

CUTOUTS = Path(__file__).parent.parent / "samples" / "cutouts"
PHOTOS = ("coffee", "chelsea", "rocket", "astronaut")  # from scikit-image
KINDS = ("hair", "tufts", "discs", "polygons", "soft", "cutout")


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One composite.

    Attributes:
        kind: What the subject is.
        rgb: (H, W, 3), without grain.
        alpha: (H, W), exact.
        fore: (H, W, 3), the subject's exact colours.
    """

    kind: str
    rgb: Picture
    alpha: Picture
    fore: Picture


def scene(kind: str, seed: int, height: int, width: int) -> Scene:
    """A subject of that kind in front of a photograph.

    ``hair``: a disc with curved strands of one to four pixels; ``tufts``: the same, thinner and half transparent;
    ``discs`` and ``polygons``: crisp, antialiased; ``soft``: out of focus, the edge 20 to 60 pixels wide;
    ``cutout``: a rendered figure of 320 pixels, stretched to the frame's height.
    """
    rng = np.random.default_rng([KINDS.index(kind), seed])
    back = photo(rng, height, width)
    if kind == "cutout":
        fore, alpha = stretched_cutout(rng, height, width)
    else:
        alpha = drawn_alpha(rng, kind, height, width)
        if kind in ("hair", "tufts") or rng.random() < 0.5:
            base, swing = rng.uniform(0.05, 0.7, 3), np.float32(rng.uniform(0.15, 0.4))
            fore = base * np.exp(swing * fractal(rng, max(height, width), 12, 7, 0.75)[:height, :width])
        else:
            fore = photo(rng, height, width)
    fore = np.asarray(fore.clip(0, 1), np.float32)
    return Scene(kind, composed(fore, alpha, back), alpha, fore)


def grained(rgb: Picture, grain: float, seed: int = 0) -> Picture:
    """With sensor noise of that standard deviation."""
    noise = np.random.default_rng(seed).standard_normal(rgb.shape, np.float32)
    return (rgb + np.float32(grain) * noise).clip(0, 1)


def composed(fore: Picture, alpha: Picture, back: Picture) -> Picture:
    """``fore`` over ``back``."""
    return np.asarray(back + (fore - back) * alpha[..., None], np.float32)


def photo(rng: np.random.Generator, height: int, width: int) -> Picture:
    """A photograph at 1:1 or 2:1, mirrored until it fills the frame."""
    picture = getattr(data, PHOTOS[int(rng.integers(len(PHOTOS)))])()[..., :3]
    if rng.random() < 0.5:
        picture = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    picture = np.roll(picture, rng.integers(0, 500, 2), (0, 1))
    missing = [(0, max(0, size - have)) for size, have in zip((height, width), picture.shape[:2], strict=True)]
    return np.pad(picture, [*missing, (0, 0)], mode="symmetric")[:height, :width].astype(np.float32) / 255


def stretched_cutout(rng: np.random.Generator, height: int, width: int) -> tuple[Picture, Picture]:
    """Colours and alpha of a rendered figure, centred, at the frame's height."""
    fore, alpha = cutout(rng)
    left = (width - height) // 2
    fore, alpha = (cv2.resize(plane, (height, height), interpolation=cv2.INTER_CUBIC) for plane in (fore, alpha))
    beside = (left, width - height - left)
    alpha = np.pad(alpha.clip(0, 1), [(0, 0), beside])
    return np.pad(fore.clip(0, 1), [(0, 0), beside, (0, 0)], mode="edge"), alpha


def cutout(rng: np.random.Generator) -> tuple[Picture, Picture]:
    """Colours (320, 320, 3) and alpha (320, 320) of a rendered figure."""
    paths = sorted(CUTOUTS.glob("*.webp"))
    bgra = cv2.imread(str(paths[int(rng.integers(len(paths)))]), cv2.IMREAD_UNCHANGED).astype(np.float32) / 255
    return np.ascontiguousarray(bgra[..., 2::-1]), np.ascontiguousarray(bgra[..., 3])


def drawn_alpha(rng: np.random.Generator, kind: str, height: int, width: int) -> Picture:
    """Drawn at twice the size and averaged, so that coverage is exact to a few hundredths."""
    h, w = 2 * height, 2 * width
    canvas = np.zeros((h, w), np.uint8)
    if kind in ("hair", "tufts"):
        center, radius = np.array([w / 2, h * 0.6]), h * 0.27
        cv2.circle(canvas, (w // 2, int(h * 0.6)), int(radius), 255, -1, cv2.LINE_AA)
        for _ in range(60 + int(0.55 * radius) * (2 if kind == "tufts" else 1)):
            angle, length = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.1, 0.7)
            bent = angle + rng.normal(0, 1.2) * np.linspace(0, 1, 24)
            steps = np.stack([np.cos(bent), np.sin(bent)], 1) * length / 24
            root = center + 0.93 * radius * np.array([np.cos(angle), np.sin(angle)])
            points = np.rint((root + steps.cumsum(0)) * 8).astype(np.int32)
            value, thick = (255, int(rng.integers(3, 8))) if kind == "hair" else (int(rng.integers(90, 200)), 2)
            cv2.polylines(canvas, [points], False, value, thick, cv2.LINE_AA, 3)
    elif kind == "discs":
        for _ in range(6):
            place = int(rng.integers(w)), int(rng.integers(h))
            cv2.circle(canvas, place, int(rng.uniform(0.04, 0.25) * h), 255, -1, cv2.LINE_AA)
    elif kind == "polygons":
        for _ in range(5):
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
            reach = rng.uniform(0.1, 0.4) * h * rng.uniform(0.5, 1, (len(angles), 1))
            corners = rng.uniform((0, 0), (w, h)) + reach * np.stack([np.cos(angles), np.sin(angles)], 1)
            cv2.fillPoly(canvas, [corners.astype(np.int32)], 255, cv2.LINE_AA)
    else:
        cv2.ellipse(canvas, (w // 2, int(h * 0.7)), (int(w * 0.3), int(h * 0.5)), 10, 0, 360, 255, -1, cv2.LINE_AA)
        canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(16, 48))
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def place(rng: np.random.Generator, side: int) -> Picture:
    """A drawn room, street or thicket, or a photograph, (side, side, 3)."""
    return drawn(rng, side) if rng.random() < 0.5 else photo(rng, side, side)
