"""A seeded model of how networks that see single frames make a matte flicker."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.train.picture import Picture, as_picture, blur, clip

JITTER = 0.4  # pixels, standard deviation of an edge's position in each frame
BREATHING = 0.4  # pixels by which an edge slowly moves out and in
PERIOD = 22  # frames per breath
BOIL = 0.05  # standard deviation of alpha where it is 0.5
HOLES = 0.2  # chance of a hole in a frame
DROPOUT = 18  # one in so many frames is lost
DRIFT = 0.15  # share of a transparent body's misjudgement that is new in each frame
FLIPS = 0.08  # chance that most of such a body is lost for one to three frames


def flickering(alpha: Picture, *, seed: int = 0, strength: float = 1.0) -> Picture:
    """Add edge jitter and boil, single-frame holes, slow breathing and lost frames to a true alpha.

    Args:
        alpha: (N, H, W) in [0, 1], about 384 pixels wide, as lengths are in pixels.
        seed: Decides everything.
        strength: Strength of jitter, boil and breathing.

    Returns:
        (N, H, W) float32 in [0, 1].
    """
    rng = np.random.default_rng([seed, 1])
    count, height, width = alpha.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    start = rng.uniform(0, 2 * np.pi)
    lost = {int(rng.integers(first + 4, first + DROPOUT - 4)) for first in range(0, count - DROPOUT + 1, DROPOUT)}
    result = np.empty_like(alpha)
    for index, truth in enumerate(alpha):
        soft = blur(truth, 2)
        slope = np.stack([np.gradient(soft, axis=axis) for axis in (1, 0)])
        outward = slope / (np.hypot(*slope) + 0.01)
        breath = strength * BREATHING * np.sin(2 * np.pi * index / PERIOD + start + 3 * x / width)
        dx, dy = breath * outward + strength * JITTER * np.stack([_lumps(rng, height, width, 4) for _ in range(2)])
        matte = cv2.remap(
            truth, as_picture(x + dx), as_picture(y + dy), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        matte = matte + 4 * truth * (1 - truth) * strength * BOIL * _lumps(rng, height, width, 2)
        if rng.random() < HOLES and (inside := np.argwhere(truth > 0.9)).size:
            cy, cx = inside[rng.integers(len(inside))]
            radius = width * rng.uniform(0.015, 0.04)
            distance = np.hypot((x - cx) / rng.uniform(0.6, 1.6), y - cy)
            matte = matte * (1 - rng.uniform(0.5, 1) * np.clip((radius - distance) / 2 + 0.5, 0, 1))
        if index in lost:
            matte = matte * rng.uniform(0, 0.3)
        result[index] = clip(matte)
    return result


def _lumps(rng: np.random.Generator, height: int, width: int, size: float) -> Picture:
    """Smooth noise, (height, width), with blobs of about ``size`` pixels; mean 0, standard deviation 1."""
    lumps = blur(as_picture(rng.standard_normal((height, width))), size)
    return lumps * np.float32(2 * np.sqrt(np.pi) * size)


def solid_or_nothing(alpha: Picture, region: NDArray[np.bool_], *, seed: int = 0) -> Picture:
    """How networks misjudge transparency: blobs of it become solid, others vanish, and they change over time.

    Args:
        alpha: (N, H, W) in [0, 1].
        region: (N, H, W), where the subject is transparent; alpha stays the same elsewhere.
        seed: Decides everything.

    Returns:
        (N, H, W) float32 in [0, 1].
    """
    rng = np.random.default_rng([seed, 2])
    height, width = alpha.shape[1:]
    now, lean = (_lumps(rng, height, width, width / 20) for _ in range(2))
    flip, result = 0, alpha.copy()
    for index, truth in enumerate(alpha):
        now = as_picture(np.sqrt(1 - DRIFT) * now + np.sqrt(DRIFT) * _lumps(rng, height, width, width / 20))
        flip = flip - 1 if flip else (int(rng.integers(1, 4)) if rng.random() < FLIPS else 0)
        vote = 0.6 * lean + 0.6 * now + (-1.2 if flip else 0.5)
        said = clip(0.5 + 6 * as_picture(vote))
        near = clip(2 * blur(as_picture(region[index]), 1) - 0.2) * region[index]
        result[index] = clip(truth + near * (said - truth))
    return result
