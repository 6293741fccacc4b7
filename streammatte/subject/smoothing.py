"""Labels made smooth: across the picture, and along its edges."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.motion import Plane


def spread(values: Plane, reach: float) -> Plane:
    """(h, w, labels), or (h, w): blurred widely, at a quarter of the size."""
    height, width = values.shape[:2]
    size = max(1, width // 4), max(1, height // 4)
    wide = []
    for plane in cv2.split(values):  # OpenCV scales no more than four at once
        small = cv2.GaussianBlur(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), (0, 0), reach / 4)
        wide.append(cv2.resize(small, (width, height)))
    return np.dstack(wide).astype(np.float32).reshape(values.shape)


def along_edges(labels: Plane, luma: NDArray[np.uint8], radius: int = 3, slack: float = 4e-4) -> Plane:
    """(h, w, labels): labels whose borders follow the picture's (guided filter: He, Sun and Tang 2010)."""
    guide = (luma.astype(np.float32) / np.float32(255))[..., None]

    def mean(values: NDArray[np.floating]) -> Plane:
        return np.asarray(cv2.blur(values, (2 * radius + 1, 2 * radius + 1)), np.float32).reshape(values.shape)

    middle = mean(guide)
    varying = mean(guide * guide) - middle * middle
    average = mean(labels)
    slope = (mean(labels * guide) - average * middle) / (varying + np.float32(slack))
    return np.asarray((mean(slope) * guide + mean(average - slope * middle)).clip(0, 1), np.float32)
