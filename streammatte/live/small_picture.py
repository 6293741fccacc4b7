"""A frame at about 120 rows, where light and edge colours are computed at the same cost for any frame size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

ROWS = 120
_ROW = 1024  # OpenCV takes no picture of more than 32767 rows or columns

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Small:
    """A frame and its alpha, shrunk.

    Attributes:
        rgb: (h, w, 3) float32 in [0, 255].
        alpha: (h, w) float32 in [0, 1].
    """

    rgb: Floats
    alpha: Floats


def shrunk(picture: NDArray[Any]) -> Floats:
    """Scaled down to :data:`ROWS` rows by area means, float32 in its own range; unchanged if it has no more."""
    height, width = picture.shape[:2]
    share = min(1.0, ROWS / height)
    while picture.shape[0] >= 4 * ROWS and not (picture.shape[0] % 2 or picture.shape[1] % 2):
        half = picture.shape[1] // 2, picture.shape[0] // 2  # halving is several times faster
        picture = cv2.resize(picture, half, interpolation=cv2.INTER_AREA)
    size = max(1, round(width * share)), max(1, round(height * share))
    return cast(Floats, cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32, copy=False))


def spread(picture: Floats, sigma: float) -> Floats:
    """Blurred by a Gaussian of that sigma, in its own pixels."""
    return cast(Floats, cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))


def times(picture: Floats, weight: Floats) -> Floats:
    """(h, w, 3) times (h, w)."""
    return cast(Floats, picture * weight[..., None])


def at_size(picture: Floats, like: NDArray[Any]) -> Floats:
    """Scaled up to another picture's size."""
    return cast(Floats, cv2.resize(picture, (like.shape[1], like.shape[0]), interpolation=cv2.INTER_LINEAR))


def at_places(picture: Floats, like: NDArray[Any], places: NDArray[np.intp]) -> Floats:
    """(len(places), 3): :func:`at_size` at these indices of the flattened pixels only, to 1/32 of a pixel."""
    height, width = like.shape[:2]
    count = len(places)
    padded = np.zeros((2, -(-max(count, 1) // _ROW) * _ROW), np.float32)
    y, x = np.divmod(places, width)
    padded[0][:count] = (x + 0.5) * (picture.shape[1] / width) - 0.5
    padded[1][:count] = (y + 0.5) * (picture.shape[0] / height) - 0.5
    across, down = (axis.reshape(-1, _ROW) for axis in padded)
    found = cv2.remap(picture, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cast(Floats, found.reshape(-1, 3)[:count])
