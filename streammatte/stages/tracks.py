"""Follow pixels of a matte along the motion from frame to frame, only those at which frames may differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.motion import Plane

Mask = NDArray[np.bool_]

AGREED = 1 / 512
"""A spread of alphas below this counts as none."""

MIDDLE = 1.5  # of a cell
CELL = 4  # pixels a side of a matte's cell, for whose pixels it is decided together whether frames differ
ROW = 1024  # positions a row, since OpenCV's tables have at most 32767 rows


@dataclass(frozen=True, slots=True, eq=False)
class Matte:
    """A frame's matte.

    Attributes:
        alpha: (h, w) in [0, 1].
        span: (cells down, cells across, 2), the least and the largest alpha in and beside each cell.
    """

    alpha: Plane
    span: Plane

    @classmethod
    def of(cls, alpha: Plane) -> Matte:
        """From (h, w)."""
        height, width = alpha.shape
        whole = cv2.copyMakeBorder(alpha, 0, -height % CELL, 0, -width % CELL, cv2.BORDER_REPLICATE)
        beside = np.ones((5, 5), np.uint8)
        middle = slice(CELL // 2, None, CELL)
        spread = [each(each(whole, beside), beside)[middle, middle] for each in (cv2.erode, cv2.dilate)]
        return Matte(alpha, np.dstack(spread))


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """From one frame to a neighbour, whose matte is ``matte``.

    Attributes:
        flow: (h, w, 2) in the matte's pixels.
        trust: (h, w) in [0, 1].
    """

    flow: Plane
    trust: Plane
    matte: Matte


def differing(span: Plane, ways: Sequence[Sequence[Step]]) -> Mask:
    """(h, w): where frames may differ along these ways."""
    least, most = cv2.split(span)
    rows, columns = np.indices(span.shape[:2], np.float32)
    start = CELL * np.dstack([columns, rows]) + np.float32(MIDDLE)
    for way in ways:
        at = start
        for step in way:
            at = cv2.add(at, _taken(step.flow, at, cv2.INTER_NEAREST))
            cells = (at - np.float32(MIDDLE)) / np.float32(CELL)
            low, high = cv2.split(_taken(step.matte.span, cells, cv2.INTER_NEAREST))
            least, most = cv2.min(least, low), cv2.max(most, high)
    return np.asarray(np.kron(np.subtract(most, least) > AGREED, np.ones((CELL, CELL), np.bool_)))


def places(where: Mask) -> Plane:
    """(P, 2): the positions of a mask's pixels, (x, y)."""
    return np.asarray(np.argwhere(where)[:, ::-1], np.float32)


def sampled(plane: Plane, at: Plane, order: int = cv2.INTER_LINEAR) -> Plane:
    """(P, …): values of a plane at positions (P, 2), or the border's beyond it."""
    table = cv2.copyMakeBorder(at[:, None], 0, -len(at) % ROW, 0, 0, cv2.BORDER_REPLICATE).reshape(-1, ROW, 2)
    return np.asarray(_taken(plane, table, order).reshape(-1, *plane.shape[2:])[: len(at)], np.float32)


def _taken(values: Plane, at: Plane, order: int) -> NDArray[Any]:
    return np.asarray(cv2.remap(values, at, None, order, borderMode=cv2.BORDER_REPLICATE))  # type: ignore[call-overload]
