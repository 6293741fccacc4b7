"""Landscapes of hills, banks, boulders and slabs, none of which is the subject.

A hill against the sky has an outline as clear as a subject's. Without such pictures, the network takes the hill along
with whoever stands on it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.train.picture import Picture, as_picture, blur, clip
from training.backgrounds import VIEW_SIZE, fractal

Views = NDArray[np.uint8]

GROUNDS = (
    (0.36, 0.44, 0.12), (0.25, 0.36, 0.14), (0.48, 0.50, 0.20), (0.42, 0.34, 0.22), (0.62, 0.55, 0.40),
    (0.30, 0.28, 0.26), (0.80, 0.82, 0.86), (0.34, 0.40, 0.30),
)  # fmt: skip
"""Grass, moss, dry grass, earth, sand, lava, snow, heath."""
ROCKS = ((0.45, 0.45, 0.47), (0.30, 0.31, 0.34), (0.55, 0.50, 0.44), (0.62, 0.60, 0.58), (0.36, 0.30, 0.26))


def country(rng: np.random.Generator, photographs: Sequence[Views], size: int = VIEW_SIZE) -> Views:
    """One landscape, (size, size, 3) uint8 RGB.

    Args:
        rng: The only source of randomness.
        photographs: Provide skies, distant views and textures.
        size: Side in pixels.
    """
    picture = _distance(rng, photographs, size)
    sun = rng.uniform(-1, 1)
    horizon = rng.uniform(0.3, 0.75)
    count = int(rng.integers(1, 5))
    for layer in range(count):
        base = horizon + (1 - horizon) * layer / count * rng.uniform(0.6, 1.1)
        _bank(rng, picture, _covering(rng, photographs, size), base, sun)
        for _ in range(int(rng.poisson(1.2))):
            _boulder(rng, picture, rng.uniform(base - 0.1, 1.05), sun)
        if rng.random() < 0.35:
            _pile(rng, picture, rng.uniform(base, 1.0), sun)
    if rng.random() < 0.4:
        picture = blur(picture, rng.uniform(0.4, 2.0))
    return np.round(clip(picture) * 255).astype(np.uint8)


WOODS = ((0.45, 0.25, 0.12), (0.62, 0.42, 0.24), (0.30, 0.18, 0.10), (0.75, 0.60, 0.42), (0.55, 0.20, 0.10))


def tabletop(rng: np.random.Generator, size: int = VIEW_SIZE) -> Views:
    """A table of boards, seen at a slant, that fills the picture, (size, size, 3) uint8 RGB."""
    color = np.array(WOODS[int(rng.integers(len(WOODS)))], np.float32) * rng.uniform(0.7, 1.3, 3).astype(np.float32)
    grain = fractal(rng, 2 * size, int(rng.integers(8, 40)), 5, 0.8)
    grain = cv2.GaussianBlur(grain, (0, 0), rng.uniform(8, 30), sigmaY=0.6)[..., None]
    grain /= grain.std() + np.float32(1e-3)
    board = color * np.exp(np.float32(rng.uniform(0.05, 0.35)) * grain)
    if rng.random() < 0.7:  # planks: each of its own tone, with gaps
        height = int(2 * size * rng.uniform(0.08, 0.4))
        for top in range(int(rng.uniform(0, height)) - height, 2 * size, height):
            board[max(top, 0) : max(top + height, 0)] *= np.float32(rng.uniform(0.75, 1.25))
            cv2.line(board, (0, top), (2 * size, top), (color * 0.25).tolist(), int(rng.integers(1, 4)))
    spots = fractal(rng, 2 * size, int(rng.integers(4, 20)), 3)
    board *= 1 - np.float32(rng.uniform(0, 0.5)) * np.clip(spots - 1, 0, 1)
    angle = rng.uniform(0, 360)
    turned = cv2.warpAffine(board, cv2.getRotationMatrix2D((size, size), angle, rng.uniform(0.7, 1.4)),
                            (2 * size, 2 * size), borderMode=cv2.BORDER_REFLECT)  # fmt: skip
    inset = size * rng.uniform(0, 0.6)
    corners = np.array(
        [[inset, 0.5 * size], [2 * size - inset, 0.5 * size], [2 * size, 1.8 * size], [0, 1.8 * size]], np.float32
    )
    goal = np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float32)
    seen = cv2.warpPerspective(turned, cv2.getPerspectiveTransform(corners, goal), (size, size), flags=cv2.INTER_AREA)
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    light = 1 + np.float32(rng.uniform(-0.6, 0.6)) * (x - 0.5) + np.float32(rng.uniform(-0.6, 0.6)) * (y - 0.5)
    return np.round(clip(as_picture(seen) * light[..., None]) * 255).astype(np.uint8)


def _distance(rng: np.random.Generator, photographs: Sequence[Views], size: int) -> Picture:
    if rng.random() < 0.6:
        far = cv2.resize(photographs[int(rng.integers(len(photographs)))], (size, size)).astype(np.float32) / 255
        return blur(as_picture(far), rng.uniform(0, 5) + 0.01)
    ramp = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    top = np.array([0.25, 0.45, 0.8], np.float32) * np.float32(rng.uniform(0.4, 1.3))
    low = np.array([0.8, 0.85, 0.9], np.float32) * np.float32(rng.uniform(0.6, 1.1))
    clouds = np.clip(fractal(rng, size, int(rng.integers(2, 6)), 5, 0.6) - rng.uniform(0, 2), 0, 1)
    return clip(as_picture(top + ramp * (low - top) + 0.4 * clouds))


def _covering(rng: np.random.Generator, photographs: Sequence[Views], size: int) -> Picture:
    """Ground cover, (size, size, 3): a piece of a photograph, or painted blades and crumbs."""
    color = np.array(GROUNDS[int(rng.integers(len(GROUNDS)))], np.float32) * rng.uniform(0.6, 1.4, 3).astype(np.float32)
    if rng.random() < 0.4:
        view = photographs[int(rng.integers(len(photographs)))]
        side = int(view.shape[0] * rng.uniform(0.25, 0.6))
        y, x = view.shape[0] - side, int(rng.integers(0, view.shape[1] - side + 1))
        piece = cv2.resize(view[y : y + side, x : x + side], (size, size)).astype(np.float32) / 255
        return as_picture(piece + np.float32(rng.uniform(0, 0.7)) * (color * piece.mean() * 2 - piece))
    field = fractal(rng, size, int(rng.integers(6, 40)), 4, 0.8)
    if rng.random() < 0.6:  # blades: stretched upwards
        field = cv2.GaussianBlur(field, (0, 0), 0.6, sigmaY=rng.uniform(2, 6))[..., None]
        field = field / (field.std() + np.float32(1e-3))
    patches = fractal(rng, size, int(rng.integers(2, 8)), 3)
    tint = np.array([0.3, 0.1, -0.2], np.float32) * np.float32(rng.uniform(-0.5, 1))
    return as_picture(color * np.exp(np.float32(rng.uniform(0.15, 0.5)) * field + patches * (0.15 + 0.3 * tint)))


def _bank(rng: np.random.Generator, picture: Picture, covering: Picture, base: float, sun: float) -> None:
    """Draw a hill across the picture, with a bumpy outline, lit from the sun's side; in place."""
    size = picture.shape[0]
    x = np.linspace(0, 1, size, dtype=np.float32)
    top = np.full(size, base, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        place, width = rng.uniform(-0.2, 1.2), rng.uniform(0.06, 0.5)
        swell = np.exp(-(((x - place) / width) ** 2) * (1 if rng.random() < 0.7 else 3))
        top -= np.float32(rng.uniform(0.02, 0.45)) * np.float32(min(1.0, width * 3)) * swell
    crumbs = fractal(rng, size, int(rng.integers(5, 30)), 5, 0.8)[size // 2, :, 0]
    top += crumbs * np.float32(rng.uniform(0.001, 0.015))
    depth = np.arange(size, dtype=np.float32)[:, None] / size - top[None]  # below the outline
    slope = np.gradient(cv2.GaussianBlur(top[None], (0, 0), size / 40)[0]) * size
    light = 1 + np.float32(0.5 * sun) * slope[None] * np.exp(-depth * 4) + rng.uniform(-0.2, 0.4) * np.exp(-depth * 12)
    relief = fractal(rng, size, int(rng.integers(3, 12)), 3)[..., 0]
    light = np.clip(light, 0.3, 1.8) * (1 + np.float32(rng.uniform(0, 0.25)) * relief)
    light = light * (1 - np.clip(depth, 0, 1) * np.float32(rng.uniform(0, 0.6)))
    inside = np.clip(depth * size / np.float32(rng.uniform(0.8, 3)) + 0.5, 0, 1)[..., None]
    picture += inside * (covering * light[..., None].astype(np.float32) - picture)
    if rng.random() < 0.4:  # a hollow under the bank
        center = (int(rng.uniform(0, 1) * size), int((base + rng.uniform(-0.15, 0.2)) * size))
        axes = (int(size * rng.uniform(0.03, 0.15)), int(size * rng.uniform(0.03, 0.15)))
        dark = np.zeros((size, size), np.float32)
        cv2.ellipse(dark, center, axes, float(rng.uniform(-40, 40)), 0, 360, 1.0, -1, cv2.LINE_AA)
        dark = blur(dark, size * rng.uniform(0.004, 0.02))[..., None] * inside
        picture *= 1 - dark * np.float32(rng.uniform(0.5, 0.9))


def _pile(rng: np.random.Generator, picture: Picture, bottom: float, sun: float) -> None:
    """Draw two to six stones of one rock that lean on each other, often before a dark hollow; in place.

    Smooth and grey, such a pile looks much like an animal that sits there.
    """
    size = picture.shape[0]
    x, spread = rng.uniform(0, 1), rng.uniform(0.05, 0.2)
    if rng.random() < 0.6:
        dark = np.zeros((size, size), np.float32)
        center = (int(x * size), int((bottom - spread * rng.uniform(0.3, 1.2)) * size))
        axes = (int(size * spread * rng.uniform(0.6, 1.6)), int(size * spread * rng.uniform(0.6, 1.6)))
        cv2.ellipse(dark, center, axes, float(rng.uniform(-40, 40)), 0, 360, 1.0, -1, cv2.LINE_AA)
        picture *= 1 - blur(dark, size * rng.uniform(0.004, 0.03))[..., None] * np.float32(rng.uniform(0.6, 0.95))
    rock = np.array(ROCKS[int(rng.integers(len(ROCKS)))], np.float32) * np.float32(rng.uniform(0.4, 1.5))
    for _ in range(int(rng.integers(2, 7))):
        at = bottom - abs(rng.normal(0, 0.4)) * spread
        _boulder(
            rng, picture, at, sun, x=x + rng.normal(0, 0.7) * spread, width=spread * rng.uniform(0.4, 1.3), rock=rock
        )


def _boulder(
    rng: np.random.Generator,
    picture: Picture,
    bottom: float,
    sun: float,
    *,
    x: float | None = None,
    width: float | None = None,
    rock: Picture | None = None,
) -> None:
    """Draw a round stone or a slab with its shadow; in place. Place, width (of the picture) and colour may be given."""
    size = picture.shape[0]
    width = size * (float(np.exp(rng.uniform(np.log(0.03), np.log(0.3)))) if width is None else width)
    height = width * rng.uniform(0.35, 1.2)
    center = np.array([(rng.uniform(-0.05, 1.05) if x is None else x) * size, bottom * size - height / 2])
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    power = rng.choice([1.0, 0.75, 0.45])  # round to boxy: a superellipse
    outline = np.stack([np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** power * width / 2,
                        np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** power * height / 2], 1)  # fmt: skip
    outline *= 1 + np.repeat(rng.normal(0, 0.06, 20), 2)[:, None]
    mask = np.zeros((size, size), np.float32)
    cv2.fillPoly(mask, [np.round((outline + center) * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    shadow = blur(np.roll(mask, int(height * 0.1), 0), max(1.0, width * 0.08))[..., None]
    picture *= 1 - shadow * np.float32(rng.uniform(0.2, 0.6))
    down, across = np.mgrid[:size, :size].astype(np.float32)
    u, v = (across - center[0]) / width * 2, (down - center[1]) / height * 2
    light = np.clip(0.75 + 0.35 * np.float32(sun) * u - 0.45 * v, 0.15, 1.5)
    if power < 0.6 and rng.random() < 0.7:  # a slab: a bright top and a dark front
        light = np.where(v < rng.uniform(-0.7, 0), 1.25, 0.65).astype(np.float32)
    grain = fractal(rng, size, max(4, int(6 * size / width)) if width > 20 else 30, 4, 0.8)[..., 0]
    if rock is None:
        rock = np.array(ROCKS[int(rng.integers(len(ROCKS)))], np.float32) * np.float32(rng.uniform(0.5, 1.4))
    color = rock * np.float32(rng.uniform(0.85, 1.15))
    stone = color * (light * (1 + np.float32(rng.uniform(0.03, 0.25)) * grain))[..., None]
    picture += mask[..., None] * (stone.astype(np.float32) - picture)
