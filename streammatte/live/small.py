"""A frame at about 120 rows: light, and the colours about an edge, are smooth, and cost the same there at any size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

ROWS = 120

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
    """Float32 in its own range, by area means; as it is if it has no more rows."""
    height, width = picture.shape[:2]
    share = min(1.0, ROWS / height)
    size = max(1, round(width * share)), max(1, round(height * share))
    return cast(Floats, cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32, copy=False))


def spread(picture: Floats, sigma: float) -> Floats:
    """Under a Gaussian of that deviation, in pixels of what is given."""
    return cast(Floats, cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))


def times(picture: Floats, weight: Floats) -> Floats:
    """(h, w, 3) by (h, w)."""
    return cast(Floats, picture * weight[..., None])


def at_size(picture: Floats, like: NDArray[Any]) -> Floats:
    """Stretched to the rows and columns of another."""
    return cast(Floats, cv2.resize(picture, (like.shape[1], like.shape[0]), interpolation=cv2.INTER_LINEAR))
