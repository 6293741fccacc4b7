"""OpenCV's filters, typed for float32 pictures; its own stubs return arrays of any number type."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
"""(H, W) or (H, W, C), nominally in [0, 1]; RGB if it has three channels, premultiplied alpha last if four."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def gray(rgb: Picture) -> Picture:
    """Luma of (H, W, 3), with Rec. 601's weights, as (H, W, 1)."""
    return as_picture((rgb @ LUMA)[..., None])


def as_picture(values: NDArray[Any]) -> Picture:
    """As float32, without a copy if it already is."""
    return np.asarray(values, np.float32)


def clip(values: NDArray[Any]) -> Picture:
    """Clipped to [0, 1], as float32."""
    return as_picture(np.clip(values, 0, 1))


def blur(picture: Picture, sigma: float) -> Picture:
    """Gaussian, ``sigma`` in pixels."""
    return as_picture(cv2.GaussianBlur(picture, (0, 0), sigma))


def resize(picture: Picture, width: int, height: int, interpolation: int = cv2.INTER_LINEAR) -> Picture:
    """To ``width`` × ``height`` pixels."""
    return as_picture(cv2.resize(picture, (width, height), interpolation=interpolation))
