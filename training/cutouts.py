"""Subjects: rendered cut-outs from a folder, and drawn furry figures.

A cut-out is straight RGBA, with meaningful colours wherever alpha is above zero.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.errors import DecodeFailed, SourceNotFound
from streammatte.train.camera import noise
from streammatte.train.picture import Picture, as_picture, blur
from training.backgrounds import color, fractal

HELD_OUT_SHARE = 12
"""One in so many cut-outs, by a hash of its name, is never trained on."""


@dataclass(frozen=True, slots=True, eq=False)
class Element:
    """A subject cropped to its bounding box.

    Attributes:
        rgba: (h, w, 4) uint8, straight.
        left, right, bottom: Whether its picture cut it off there, so that the frame's edge must do so, too.
    """

    rgba: NDArray[np.uint8]
    left: bool = False
    right: bool = False
    bottom: bool = False


def crop_to_subject(rgba: NDArray[np.uint8], least_area: float = 0.01) -> Element | None:
    """Crop straight RGBA to its subject; ``None`` if that covers less than ``least_area`` of the picture."""
    solid = rgba[..., 3] > 12
    if solid.mean() < least_area:
        return None
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    height, width = solid.shape
    return Element(
        np.ascontiguousarray(rgba[top:bottom, left:right]),
        left=bool(left <= 1),
        right=bool(right >= width - 1),
        bottom=bool(bottom >= height - 1),
    )


SUFFIXES = (".png", ".webp")
"""Suffixes of cut-outs."""


def read_cutout(path: Path) -> Element | None:
    """A cut-out from a PNG or WebP with alpha; ``None`` if it is almost empty.

    Raises:
        DecodeFailed: It is not a picture with alpha.
    """
    bgra = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if bgra is None or bgra.ndim != 3 or bgra.shape[2] != 4 or bgra.dtype != np.uint8:
        raise DecodeFailed(f"not a picture with 8-bit alpha: {path}", hint="expected straight RGBA, as PNG or WebP")
    return crop_to_subject(np.ascontiguousarray(bgra[..., [2, 1, 0, 3]]))


def is_held_out(path: Path) -> bool:
    """Whether a file is kept for evaluation; it depends only on the stem, not on format or other files."""
    return zlib.crc32(f"{path.stem}.png".encode()) % HELD_OUT_SHARE == 0


def list_files(folders: Iterable[Path], *suffixes: str) -> list[Path]:
    """All files with these suffixes, by folder and name.

    Raises:
        SourceNotFound: A folder does not exist, or all are empty.
    """
    found: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise SourceNotFound(f"no such folder: {folder}")
        found += sorted(path for path in folder.iterdir() if path.suffix in suffixes)
    if not found:
        raise SourceNotFound(f"no {' or '.join(suffixes)} files in {', '.join(str(folder) for folder in folders)}")
    return found


def read_cutouts(paths: Sequence[Path]) -> list[Element]:
    """All cut-outs that are not almost empty."""
    return [cutout for path in paths if (cutout := read_cutout(path)) is not None]


def furry_figure(rng: np.random.Generator, size: int = 224) -> Element:
    """Draw an animal-like figure of rounded, shaded parts, with or without fur; it may be cut off at the bottom.

    The renders hold no animals; this teaches that subjects need not be people.
    """
    body: Picture = np.zeros((size, size), np.float32)
    parts: Picture = np.zeros((size, size), np.float32)
    unit = size * rng.uniform(0.16, 0.24)
    x, y = size * 0.5, size * rng.uniform(0.55, 0.85)

    def ellipse(cx: float, cy: float, rx: float, ry: float, angle: float, part: float) -> None:
        for canvas, value in ((body, 1.0), (parts, part)):
            box = (int(cx), int(cy)), (max(2, int(rx)), max(2, int(ry)))
            cv2.ellipse(canvas, *box, angle, 0, 360, value, -1, cv2.LINE_AA)

    ellipse(x, y, unit * rng.uniform(0.8, 1.5), unit * rng.uniform(0.9, 1.8), rng.normal(0, 20), 0.0)
    for _ in range(int(rng.integers(0, 5))):  # limbs and tail
        angle = rng.uniform(0, 180)
        reach = unit * rng.uniform(0.7, 1.3)
        cx, cy = x + reach * np.cos(np.radians(angle)), y + reach * np.sin(np.radians(angle))
        ellipse(cx, cy, unit * rng.uniform(0.5, 1.2), unit * rng.uniform(0.15, 0.4), angle, rng.choice([0.0, 1.0]))
    hx, hy = x + rng.normal(0, 0.4) * unit, y - unit * rng.uniform(1.2, 1.9)
    head = unit * rng.uniform(0.6, 1.0)
    for side in (-1, 1):  # ears
        ear = head * rng.uniform(0.3, 0.9)
        ellipse(
            hx + side * head * rng.uniform(0.5, 0.8), hy - head * rng.uniform(0.6, 1), ear * 0.5, ear, side * 20, 1.0
        )
    ellipse(hx, hy, head * rng.uniform(0.8, 1.2), head, rng.normal(0, 10), 0.0)
    if rng.random() < 0.7:  # face
        ellipse(hx, hy + head * 0.4, head * rng.uniform(0.3, 0.6), head * rng.uniform(0.25, 0.5), 0, 1.0)
    alpha = body
    if rng.random() < 0.75:
        # Fur: a fine displacement frays the outline into tufts.
        reach = size * rng.uniform(0.004, 0.018)
        core = cv2.erode(body, np.ones((5, 5), np.uint8), iterations=max(1, int(reach * 0.8)))
        grid_y, grid_x = np.mgrid[:size, :size].astype(np.float32)
        cells = int(rng.integers(size // 8, size // 3))
        shift = noise(rng, size, cells, 2) * np.float32(reach)
        at_x, at_y = grid_x + shift[..., 0], grid_y + shift[..., 1]
        body, parts = (as_picture(cv2.remap(plane, at_x, at_y, cv2.INTER_LINEAR)) for plane in (body, parts))
        body = as_picture(np.maximum(body, core))
        alpha = blur(body, rng.uniform(0.5, 1.5))

    # Shading: the distance to the outline serves as height, whose slope gives the surface normal.
    height = cv2.distanceTransform((body > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    height = blur(as_picture(np.sqrt(height)), size / 60) * np.float32(4)
    slope_y, slope_x = np.gradient(height)
    angle = rng.uniform(0, 2 * np.pi)
    shade = np.clip(0.75 + 0.35 * (np.cos(angle) * slope_x + np.sin(angle) * slope_y), 0.2, 1.4)[..., None]
    pelt = fractal(rng, size, int(rng.integers(4, 40)), 4, rng.uniform(0.5, 1.0)) * np.float32(rng.uniform(0, 0.2))
    main, patch = color(rng), color(rng)
    spots = np.clip(fractal(rng, size, int(rng.integers(2, 8)), 2) - rng.uniform(0.5, 4), 0, 1)
    coat = main + (patch - main) * np.clip(parts[..., None] + spots, 0, 1)
    coat = coat * shade * np.exp(pelt)
    for side in (-1, 1):  # eyes
        at = (int(hx + side * head * 0.4), int(hy - head * 0.1))
        cv2.circle(coat, at, max(2, int(head * 0.13)), (0.03, 0.03, 0.03), -1, cv2.LINE_AA)
    rgba = np.dstack([np.clip(coat, 0, 1), np.clip(alpha, 0, 1)])
    cutout = crop_to_subject(np.round(rgba * 255).astype(np.uint8))
    assert cutout is not None, "the body alone covers more than the least area"
    return cutout
