"""Follow pixels of a matte along the motion from frame to frame, only those at which frames may differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.motion import Plane

Mask = NDArray[np.bool_]

AGREED = 1 / 512
"""A spread of alphas below this counts as none."""

CELL = 4  # pixels a side of a matte's cell, for whose pixels it is decided together whether frames differ
MIDDLE = CELL // 2  # the pixel that stands for a cell
ROW = 256  # positions a row, since OpenCV's tables have at most 32767 rows


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
        middle = slice(MIDDLE, None, CELL)
        spread = [each(each(whole, beside), beside)[middle, middle] for each in (cv2.erode, cv2.dilate)]
        return Matte(alpha, np.dstack(spread))


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """From one frame to a neighbour, whose matte is ``matte``.

    Attributes:
        field: (h, w, 3): flow (x, y) in the matte's pixels, and trust in [0, 1].
        cells: The same flow in cells, one for each cell.
    """

    field: Plane
    cells: Plane
    matte: Matte

    @classmethod
    def of(cls, flow: Plane, trust: Plane, matte: Matte) -> Step:
        """From (h, w, 2) and (h, w)."""
        height, width = trust.shape
        rows, columns = (np.minimum(np.arange(MIDDLE, end + CELL - 1, CELL), end - 1) for end in (height, width))
        cells = flow[rows[: -(-height // CELL), None], columns[: -(-width // CELL)]] / np.float32(CELL)
        return Step(np.asarray(cv2.merge([*cv2.split(flow), trust]), np.float32), cells, matte)


def differing(matte: Matte, ways: Sequence[Sequence[Step]]) -> Mask:
    """(h, w): where a frame's matte and those along these ways may differ."""
    least, most = cv2.split(matte.span)
    start = _places(*least.shape)
    for way in ways:
        at = start
        for step in way:
            at = np.asarray(cv2.add(at, _taken(step.cells, at, cv2.INTER_NEAREST)), np.float32)
            low, high = cv2.split(_taken(step.matte.span, at, cv2.INTER_NEAREST))
            least, most = cv2.min(least, low), cv2.max(most, high)
    large = np.kron(np.subtract(most, least) > AGREED, np.ones((CELL, CELL), np.bool_))
    height, width = matte.alpha.shape
    return np.asarray(large[:height, :width])


def followed(matte: Matte, where: Mask, ways: Sequence[Sequence[Step]], fading: float) -> tuple[Plane, Plane]:
    """Alphas and weights of some pixels in a frame and in the frames along these ways, the own first.

    Args:
        matte: The frame's.
        where: (h, w), P pixels of it.
        ways: N - 1 steps in all.
        fading: What a weight is multiplied by at each step, besides the step's trust.

    Returns:
        Two of (N, P).
    """
    found = np.flatnonzero(where)
    rows, columns = np.divmod(np.pad(found, (0, -len(found) % ROW)), where.shape[1])
    start = np.dstack([columns, rows]).astype(np.float32).reshape(-1, ROW, 2)
    values, weights = [matte.alpha[rows, columns]], [np.ones(len(rows), np.float32)]
    for way in ways:
        at, weight = start, np.ones(start.shape[:2], np.float32)
        for step in way:
            *flow, trust = cv2.split(_taken(step.field, at))
            at = np.asarray(cv2.add(at, cv2.merge(flow)), np.float32)
            weight = np.asarray(cv2.multiply(weight, trust, scale=fading), np.float32)
            values.append(_taken(step.matte.alpha, at, cv2.INTER_CUBIC).ravel())
            weights.append(weight.ravel())
    count = len(found)
    return np.stack(values)[:, :count].clip(0, 1), np.stack(weights)[:, :count]


def _places(height: int, width: int) -> Plane:
    rows, columns = np.indices((height, width), np.float32)
    return np.dstack([columns, rows])


def _taken(values: Plane, at: Plane, order: int = cv2.INTER_LINEAR) -> Plane:
    found = cv2.remap(values, at, None, order, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(found, np.float32)
