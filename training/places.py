"""Places: panoramas, Debian's wallpapers, streets without their people, rooms with pictures on the wall, land."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.backgrounds import VIEW_SIZE, panorama_views
from training.land import country, tabletop
from training.photographs import RGBA

Views = NDArray[np.uint8]


def wallpapers(folder: Path, rng: np.random.Generator, each: int = 5) -> Iterator[Views]:
    """Square views of every large enough picture below a folder."""
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")):
        bgr = cv2.imread(str(path))
        if bgr is None or min(bgr.shape[:2]) < 600:
            continue
        for _ in range(each):
            side = int(min(bgr.shape[:2]) * rng.uniform(0.3, 1))
            y, x = (int(rng.integers(0, n - side + 1)) for n in bgr.shape[:2])
            yield scaled(bgr[y : y + side, x : x + side, ::-1])


def emptied(picture: RGBA, rng: np.random.Generator) -> Views:
    """A photograph with the person painted over from the surroundings."""
    mask = cv2.dilate((picture[..., 3] > 0).astype(np.uint8), np.ones((13, 13), np.uint8))
    side = picture.shape[1]
    top = int(rng.integers(0, picture.shape[0] - side + 1)) if picture.shape[0] > side else 0
    rgb, hole = scaled(picture[top : top + side, :, :3]), scaled(mask[top : top + side] * 255) > 127
    return cv2.inpaint(rgb, hole.astype(np.uint8), 5, cv2.INPAINT_TELEA).astype(np.uint8)


def hung(wall: Views, pictures: Sequence[Views], rng: np.random.Generator) -> Views:
    """A place with one to four framed pictures on it, which are not subjects, whoever they show."""
    wall = wall.copy()
    for _ in range(int(rng.integers(1, 5))):
        picture = pictures[int(rng.integers(len(pictures)))]
        width = int(VIEW_SIZE * rng.uniform(0.1, 0.4))
        height = int(np.clip(width * np.exp(rng.normal(0, 0.3)), 16, VIEW_SIZE * 0.5))
        x, y = int(rng.integers(0, VIEW_SIZE - width)), int(rng.integers(0, int(VIEW_SIZE * 0.75) - height + 1))
        rim = int(rng.integers(0, 7))
        wall[y : y + height, x : x + width] = rng.integers(0, 256, 3) if rng.random() < 0.5 else rng.integers(0, 256)
        inner = (max(2, width - 2 * rim), max(2, height - 2 * rim))
        wall[y + rim : y + rim + inner[1], x + rim : x + rim + inner[0]] = cv2.resize(
            picture, inner, interpolation=cv2.INTER_AREA
        )
    return wall


def views(panoramas: Sequence[Path], wallpaper: Path, people: Sequence[RGBA], seed: int) -> tuple[Views, Views, Views]:
    """All places, then landscapes alone, then tables alone; each (N, VIEW_SIZE, VIEW_SIZE, 3) uint8."""
    rng = np.random.default_rng([seed, 7])
    seen = list(panorama_views(panoramas, 400, seed))
    photographed = list(wallpapers(wallpaper, rng))
    streets = [emptied(people[i], rng) for i in rng.permutation(len(people))[:300]]
    figures = [scaled(people[i][: people[i].shape[1], :, :3]) for i in rng.permutation(len(people))[:60]]
    walls = [*seen[:200], *streets[:60]]
    rooms = [hung(walls[int(rng.integers(len(walls)))], [*photographed, *figures, *figures], rng) for _ in range(220)]
    land = np.stack([country(rng, [*seen, *photographed]) for _ in range(800)])
    tables = np.stack([tabletop(rng) for _ in range(150)])
    return np.stack([*seen, *photographed, *streets, *rooms]), land, tables


def scaled(picture: NDArray[np.uint8]) -> Views:
    return cv2.resize(np.ascontiguousarray(picture), (VIEW_SIZE, VIEW_SIZE), interpolation=cv2.INTER_AREA).astype(
        np.uint8
    )
