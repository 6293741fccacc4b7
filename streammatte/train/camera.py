"""Augmentation that imitates a camera: light, lens, sensor, codec, letterbox."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.train.picture import Picture, as_picture, blur, clip, gray, resize


def noise(rng: np.random.Generator, size: int, cells: int, channels: int = 1) -> Picture:
    """Smooth noise, (size, size, channels), with ``cells`` blobs across; mean 0, standard deviation near 1."""
    grid = rng.standard_normal((cells + 2, cells + 2, channels), dtype=np.float32)
    return resize(grid, size, size, cv2.INTER_CUBIC).reshape(size, size, channels)


def expose(rng: np.random.Generator, picture: Picture, alpha: Picture) -> tuple[NDArray[np.uint8], Picture]:
    """A composite as a camera would record it.

    Args:
        rng: The only source of randomness.
        picture: (S, S, 3) float32 in [0, 1].
        alpha: (S, S) float32 in [0, 1]; only changes under the bars of a letterbox.

    Returns:
        (S, S, 3) uint8 RGB and (S, S) float32 in [0, 1].
    """
    size = picture.shape[0]
    picture = _grade(rng, picture)
    if rng.random() < 0.15:
        picture = picture * np.exp(noise(rng, size, 1) * np.float32(rng.uniform(0, 0.35)))
    if rng.random() < 0.15:  # shot or stored at low resolution
        small = max(72, int(size * rng.uniform(0.5, 0.95)))
        narrow = max(72, int(small * rng.uniform(0.8, 1.2)))
        picture = resize(picture, narrow, small, cv2.INTER_AREA)
        picture = resize(picture, size, size, cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR)
    elif rng.random() < 0.15:
        picture = blur(picture, rng.uniform(0.3, 1.0))
    if rng.random() < 0.3:
        soft = blur(picture, rng.uniform(0.7, 2))
        picture = picture + np.float32(rng.uniform(0.2, 1.2)) * (picture - soft)
    if rng.random() < 0.12:
        bar = int(size * rng.uniform(0.03, 0.14))
        across = rng.random() < 0.75
        picture, alpha = picture.copy(), alpha.copy()
        for edge in (slice(0, bar), slice(size - bar, size)):
            where = edge if across else (slice(None), edge)
            picture[where], alpha[where] = 0, 0
    if rng.random() < 0.45:
        cells = size if rng.random() < 0.7 else size // 2
        grain = noise(rng, size, cells - 2, 3 if rng.random() < 0.5 else 1)
        picture = picture + grain * np.float32(rng.exponential(0.012))
    encoded = np.round(clip(picture) * 255).astype(np.uint8)
    if rng.random() < 0.4:
        _, jpeg = cv2.imencode(".jpg", encoded, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])
        encoded = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)
    return encoded, alpha


def _grade(rng: np.random.Generator, picture: Picture) -> Picture:
    """A colour grade.

    The ranges reproduce the mean (0.39), standard deviation (0.20) and end points of luma, and the mean chroma (0.2),
    of a dozen photographs and clips.
    """
    if rng.random() < 0.6:  # cameras and colourists use nearly the whole range
        low, high = np.percentile(gray(picture[::4, ::4]), (1, 99))
        black, white = rng.uniform(0, 0.1), rng.uniform(0.75, 1.05)
        picture = black + (picture - low) * np.float32((white - black) / max(float(high - low), 0.1))
    picture = as_picture(clip(picture) ** np.float32(np.exp(rng.normal(0.1, 0.22))))
    luma = gray(picture)
    picture = luma + (picture - luma) * np.float32(rng.choice([0.0, rng.uniform(0.6, 1.9)], p=[0.05, 0.95]))
    contrast, pivot = rng.uniform(0.85, 1.2), rng.uniform(0.25, 0.6)
    lift = rng.uniform(0, 0.04)
    picture = (picture - pivot) * np.float32(contrast) + np.float32(pivot * rng.uniform(0.7, 1.1) + lift)
    balance = np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)
    return clip(picture * balance)
