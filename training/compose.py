"""Composes subjects over backgrounds into pictures with exact alpha.

Every picture depends only on ``[seed, index]``, so it can be made in any order and process. Pictures are squashed to a
square like the network's input: a 16:9 frame loses 44 % of its width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.train.camera import expose, noise
from streammatte.train.picture import (
    Picture,
    as_picture,
    blur,
    clip,
    gray,
    resize,
)
from training.backgrounds import background, drawn, fractal, texture
from training.cutouts import Element, furry_figure

ASPECTS = (16 / 9, 4 / 3, 1.0, 9 / 16, 2.35)
ASPECT_ODDS = (0.5, 0.2, 0.12, 0.12, 0.06)


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """A picture before ``expose``.

    Attributes:
        foreground: (S, S, 3) float32 in [0, 1], premultiplied.
        alpha: (S, S) float32 in [0, 1].
        background: (S, S, 3) float32 in [0, 1].
    """

    foreground: Picture
    alpha: Picture
    background: Picture

    def over(self) -> Picture:
        """The composite, (S, S, 3) in [0, 1]: Porter and Duff 1984, "over"."""
        return as_picture(self.foreground + (1 - self.alpha[..., None]) * self.background)


def _recolor(rng: np.random.Generator, rgb: Picture) -> Picture:
    """Other clothes, light and white balance: renders are few and pale, so each must do for many."""
    height, width = rgb.shape[:2]
    side = max(height, width)
    if rng.random() < 0.16:  # printed or woven cloth, on all or the lower part
        cloth = resize(texture(rng, 128), width, height)
        start = rng.uniform(-0.1, 0.6)
        ramp = np.linspace(0, 1, height, dtype=np.float32)
        below = (np.clip((ramp - start) * 12, 0, 1) * np.float32(rng.uniform(0.5, 1)))[:, None, None]
        dyed = cloth * (0.25 + 1.1 * gray(rgb))
        rgb = rgb + below * (dyed - rgb)
    if rng.random() < 0.25:
        gains = noise(rng, side, int(rng.integers(1, 4)), 3 if rng.random() < 0.3 else 1)[:height, :width]
        rgb = rgb * np.exp(gains * np.float32(rng.uniform(0, 0.25)))
    if rng.random() < 0.25:  # renders without textures are too clean
        grain = fractal(rng, side, max(2, side // 5), 3, 0.9)[:height, :width]
        rgb = rgb * (1 + grain * np.float32(rng.uniform(0, 0.08)))
    rgb = as_picture(np.clip(rgb, 1e-3, 1))
    mean = float(np.mean(gray(rgb)))
    target = float(rng.beta(1.6, 2.4)) * 0.8 + 0.04
    rgb = rgb ** np.float32(np.clip(np.log(target) / np.log(mean), 0.55, 2.8))
    rgb = as_picture(rgb * np.exp(rng.normal(0, 0.08, 3)).astype(np.float32))
    luma = gray(rgb)
    return clip(luma + (rgb - luma) * np.float32(rng.choice([1, rng.uniform(0.3, 1.7)])))


def _toward(rgb: Picture, weight: Picture, goal: Picture, amount: float) -> Picture:
    """Move mean and spread of the colours toward those of ``goal`` (Reinhard et al. 2001, in RGB)."""
    total = float(weight.sum()) + 1e-6
    mean = (rgb * weight[..., None]).sum((0, 1)) / total
    spread = np.sqrt((((rgb - mean) ** 2) * weight[..., None]).sum((0, 1)) / total) + 0.02
    scale = 1 + amount * (np.clip((goal.std((0, 1)) + 0.02) / spread, 0.4, 1.6) - 1)
    return clip((rgb - mean) * scale + mean + amount * (goal.mean((0, 1)) - mean))


def place(
    rng: np.random.Generator, cutout: Element, size: int, aspect: float, *, height: float, center: float
) -> Picture:
    """Put a cut-out into a frame.

    Args:
        rng: Decides flip, rotation, colours and exact position.
        cutout: The subject. Where its own picture cut it off, the frame's edge does, too.
        size: Side in pixels of the squashed frame.
        aspect: Width over height of the frame before it is squashed.
        height: Height of the subject relative to the frame; above 1 it is cut off.
        center: Horizontal position, 0 left to 1 right, unless an edge cuts it off.

    Returns:
        (size, size, 4) float32 in [0, 1], premultiplied.
    """
    rgba = as_picture(cutout.rgba.astype(np.float32) / np.float32(255))
    left, right = cutout.left, cutout.right
    if rng.random() < 0.5:
        rgba, left, right = rgba[:, ::-1], right, left
    # All lengths are relative to the frame's height, before squashing.
    unit = height / rgba.shape[0]
    if (left and right) and rng.random() < 0.6:
        unit = max(unit, min(aspect * rng.uniform(1, 1.1) / rgba.shape[1], 2.2 / rgba.shape[0]))
    tall, wide = unit * rgba.shape[0], unit * rgba.shape[1]
    if cutout.bottom:
        top = rng.uniform(0, 0.15) if tall < 1.3 else rng.uniform(-0.25 * (tall - 1), 0.1)
        y = max(1 + rng.uniform(0, 0.04) - tall, top) if tall > 0.8 else 1.01 - tall
    else:
        y = rng.uniform(-0.3 * max(0.0, tall - 1), 0.2) if tall > 0.95 else rng.uniform(0.0, 1.02 - tall)
    if left and right:
        x = (aspect - wide) / 2 + rng.normal(0, 0.02)
    elif left or right:
        x = rng.uniform(-0.03, 0.0) if left else aspect - wide + rng.uniform(0, 0.03)
    else:
        x = aspect * center - wide / 2

    # Shrink by area first, as an affine warp alone would alias.
    shrink = min(1.0, unit * size)
    if shrink < 0.85:
        small = (max(2, round(rgba.shape[1] * shrink)), max(2, round(rgba.shape[0] * shrink)))
        rgba = resize(np.ascontiguousarray(rgba), *small, cv2.INTER_AREA)
        unit = tall / rgba.shape[0]
    rgb, alpha = _recolor(rng, np.ascontiguousarray(rgba[..., :3])), rgba[..., 3:]
    if rng.random() < 0.02:  # veils, smoke: partly transparent
        field = fractal(rng, max(rgba.shape[:2]), 3, 3)[: rgba.shape[0], : rgba.shape[1]]
        alpha = alpha * np.clip(0.6 + 0.3 * field, 0.1, 1)
    layer = as_picture(np.dstack([rgb * alpha, alpha]))

    # From frame heights to pixels of the square.
    angle = np.radians(rng.normal(0, 4) if rng.random() < 0.9 else rng.uniform(-30, 30))
    cos, sin = np.cos(angle) * unit, np.sin(angle) * unit
    half_w, half_h = rgba.shape[1] / 2, rgba.shape[0] / 2
    pivot_y = rgba.shape[0] if cutout.bottom else half_h
    to_frame = np.array(
        [
            [cos, -sin, x + half_w * unit - cos * half_w + sin * pivot_y],
            [sin, cos, y + pivot_y * unit - sin * half_w - cos * pivot_y],
        ]
    )
    to_frame[0] *= size / aspect
    to_frame[1] *= size
    placed = cv2.warpAffine(layer, to_frame, (size, size), flags=cv2.INTER_LINEAR)
    return clip(placed)


def _motion_blur(layer: Picture, length: float, angle: float) -> Picture:
    """Blur a premultiplied layer along a straight line of ``length`` pixels."""
    side = int(length) | 1
    kernel = np.zeros((side, side), np.float32)
    dx, dy = np.cos(angle) * side / 2, np.sin(angle) * side / 2
    middle = side / 2
    ends = (int(middle - dx), int(middle - dy)), (int(middle + dx), int(middle + dy))
    cv2.line(kernel, *ends, 1.0, 1)
    return as_picture(cv2.filter2D(layer, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE))


class Composer:
    """Makes the training pictures.

    Args:
        cutouts: Rendered subjects; at least one.
        views: From ``panorama_views``; may be empty.
        seed: With a picture's index, decides the picture.
        figures: Share of subjects drawn rather than rendered.
        drawn: Share of backgrounds drawn rather than taken from ``views``.
    """

    def __init__(
        self,
        cutouts: Sequence[Element],
        views: NDArray[np.uint8],
        seed: int,
        *,
        figures: float = 0.12,
        drawn: float = 0.35,
    ) -> None:
        self.cutouts = cutouts
        self.views = views
        self.seed = seed
        self.figures = figures
        self.drawn = drawn

    def __call__(self, index: int, size: int) -> tuple[NDArray[np.uint8], Picture]:
        """Picture number ``index``: (S, S, 3) uint8 RGB, and its alpha, (S, S) float32 in [0, 1]."""
        rng = np.random.default_rng([self.seed, index])
        layers = self.layers(rng, size)
        return expose(rng, layers.over(), layers.alpha)

    def layers(self, rng: np.random.Generator, size: int) -> Layers:
        """Subjects and background, before ``expose``."""
        aspect = float(rng.choice(ASPECTS, p=ASPECT_ODDS))
        behind = background(rng, self.views, size, aspect, self.drawn)
        empty = rng.random() < 0.02
        least = 0.35  # height of a subject
        if rng.random() < 0.2 and not empty:  # people in the background, out of focus, are not subjects
            for _ in range(int(rng.integers(1, 4))):
                layer = self._subject(rng, size, aspect, rng.uniform(0.2, 0.8), rng.uniform(0, 1))
                behind = behind * (1 - layer[..., 3:]) + layer[..., :3]
            behind = blur(behind, size * rng.uniform(0.01, 0.03))
        elif rng.random() < 0.12 and not empty:  # a busy place with many small things, more or less in focus
            for _ in range(int(rng.integers(3, 12))):
                layer = self._subject(rng, size, aspect, rng.uniform(0.08, 0.4), rng.uniform(0, 1))
                behind = behind * (1 - layer[..., 3:]) + layer[..., :3]
            behind = blur(behind, size * rng.uniform(0.001, 0.008))
            least = 0.65
        elif rng.random() < 0.45:
            behind = blur(behind, size * float(np.exp(rng.uniform(np.log(0.002), np.log(0.03)))))
        front = np.zeros((size, size, 4), np.float32)
        if not empty:
            for layer in self._subjects(rng, size, aspect, behind, least):
                front = front * (1 - layer[..., 3:]) + layer
        if rng.random() < 0.25:  # the subject's shadow
            reach = size * rng.uniform(0.01, 0.06)
            shift = np.array([[1, 0, rng.normal(0, reach * 1.5)], [0, 1, rng.uniform(0, reach * 2)]])
            shadow = blur(as_picture(cv2.warpAffine(front[..., 3], shift, (size, size))), reach)
            behind = as_picture(behind * (1 - np.float32(rng.uniform(0.2, 0.7)) * shadow[..., None]))
        return Layers(front[..., :3], front[..., 3], behind)

    def _subject(self, rng: np.random.Generator, size: int, aspect: float, height: float, center: float) -> Picture:
        if rng.random() < self.figures:
            cutout = furry_figure(rng)
        else:
            cutout = self.cutouts[int(rng.integers(len(self.cutouts)))]
        return place(rng, cutout, size, aspect, height=height, center=center)

    def _subjects(
        self, rng: np.random.Generator, size: int, aspect: float, behind: Picture, least: float
    ) -> list[Picture]:
        count = int(rng.choice([1, 2, 3], p=[0.76, 0.18, 0.06]))
        centers = rng.permutation((np.arange(count) + rng.uniform(0.2, 0.8, count)) / count)
        kin = np.float32(rng.uniform(0.2, 0.6)) if rng.random() < 0.06 else np.float32(0)
        layers = []
        for center in centers:
            # Most subjects fill the frame, a few are small or close-ups.
            height = rng.triangular(least, 1.0 if count == 1 else 0.9, 1.7 if count == 1 else 1.1)
            if count == 1 and rng.random() < 0.2:
                height = rng.uniform(1.4, 2.8)  # fills the frame, cut off on several sides
            layer = self._subject(rng, size, aspect, height, float(center))
            while layer[..., 3].mean() > 0.85:  # hardly any background is left
                height *= 0.7
                layer = self._subject(rng, size, aspect, height, float(center))
            alpha = layer[..., 3]
            if kin:  # similar to the background, as clothes can be
                straight = as_picture(layer[..., :3] / np.maximum(alpha, np.float32(1e-3))[..., None])
                layer[..., :3] = _toward(straight, alpha, behind, float(kin)) * alpha[..., None]
            elif rng.random() < 0.02:  # an impossible material: only the outline tells
                layer[..., :3] = (0.4 + 0.6 * gray(layer[..., :3])) * drawn(rng, size) * alpha[..., None]
            if rng.random() < 0.12:
                layer = _motion_blur(layer, rng.uniform(0.01, 0.06) * size, rng.uniform(0, np.pi))
            elif rng.random() < 0.3:
                layer = blur(layer, rng.uniform(0.3, 1.6) * size / 256)
            layers.append(clip(layer))
        return layers
