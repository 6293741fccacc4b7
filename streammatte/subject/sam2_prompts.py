"""Prompts as SAM 2 takes them: points with labels, and square masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.motion import Plane
from streammatte.subject.contracts import Prompt

PLACES = 4  # points taken from each colour of a mask that leaves areas as they are


def points_of(prompts: Sequence[Prompt], frame_size: tuple[int, int], size: int) -> list[tuple[float, float, int]]:
    """Points and boxes at the network's size, the box around all boxes first, as the network was trained."""
    across, down = size / frame_size[1], size / frame_size[0]
    boxes = np.array([prompt.at for prompt in prompts if prompt.kind == "box"])
    points = []
    if len(boxes):
        (left, top), (right, bottom) = boxes[:, :2].min(0), boxes[:, 2:].max(0)
        points = [(float(left) * across, float(top) * down, 2), (float(right) * across, float(bottom) * down, 3)]
    clicks = (prompt for prompt in prompts if prompt.kind != "box")
    return [*points, *((p.at[0] * across, p.at[1] * down, int(p.kind == "point")) for p in clicks)]


def points_in(mask: Plane) -> list[tuple[float, float, int]]:
    """Points deep in the white and the black areas of a mask that leaves others as they are."""
    points = []
    for label, area in ((1, mask > 0.5), (0, mask <= 0.5)):  # NaN is neither
        depth = cv2.distanceTransform(np.pad(area.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        for _ in range(PLACES):
            y, x = np.unravel_index(int(depth.argmax()), depth.shape)
            if depth[y, x] < 1:
                break
            points.append((float(x) + 0.5, float(y) + 0.5, label))
            cv2.circle(depth, (int(x), int(y)), max(1, int(depth[y, x])), 0.0, -1)
    return points


def resized(mask: NDArray[Any], size: int) -> Plane:
    """(size, size); a pixel is NaN where most of it was."""
    known = np.isfinite(mask)
    area = cv2.INTER_AREA if max(mask.shape) > size else cv2.INTER_LINEAR
    weight, values = (
        cv2.resize(np.asarray(each, np.float32), (size, size), interpolation=area)
        for each in (known, np.where(known, mask, 0))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(weight < 0.5, np.nan, values / weight), np.float32)
