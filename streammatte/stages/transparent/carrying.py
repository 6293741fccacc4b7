"""Carry a matte that is known in some frames to those between them.

The picture does not show how a transparent object moves: inside a bottle, the distorted background moves, and smoke has
no outline. So a matte is carried in three ways: along the picture's flow, with the region as one piece, and not at all.
The way that best predicted the next known matte is used for all frames between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.motion import Motion, Plane, View

Mask = NDArray[np.bool_]

Way = Literal["flow", "piece", "still"]
WAYS: tuple[Way, ...] = ("flow", "piece", "still")
DOUBTED = 0.05  # least weight of a side, even if the picture does not match
LEAST = 24  # pixels, below which a region's motion is not estimated
ROUNDS = 4  # of reweighting outliers
ASTRAY = 0.7  # pixels: outliers by that much count for half
BLURRED = 1.5  # pixels: mattes displaced by less match


class Step(NamedTuple):
    """A motion from one frame to another.

    Attributes:
        flow: (h, w, 2), as of :mod:`~streammatte.motion`.
        piece: (2, 3): from a point of one frame to the other if the region moves as one piece.
    """

    flow: Plane
    piece: NDArray[np.float64]

    def then(self, onward: Step, motion: Motion) -> Step:
        """This motion followed by another."""
        turn = onward.piece[:, :2] @ self.piece
        turn[:, 2] += onward.piece[:, 2]
        return Step(self.flow + motion.moved(onward.flow, self.flow), turn)

    def along(self, way: str) -> Plane:
        """(h, w, 2): this motion in one of the ``WAYS``."""
        if way == "flow":
            return self.flow
        if way == "still":
            return np.zeros_like(self.flow)
        height, width = self.flow.shape[:2]
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        (a, b, c), (d, e, f) = (row.astype(np.float32) for row in self.piece)
        return np.dstack([a * x + b * y + c - x, d * x + e * y + f - y])


def step(flow: Plane, region: Mask) -> Step:
    """A flow, and the similarity (shift, rotation, scale) that most of a region follows.

    Estimated along the region's border, where the object's outline is and not what is seen through it, by iteratively
    reweighted least squares.
    """
    still = np.array([[1.0, 0, 0], [0, 1, 0]])
    inner = cv2.erode(region.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(2, max(region.shape) // 60))
    rim = region & (inner == 0)
    y, x = np.nonzero(rim)
    if len(x) < LEAST:
        return Step(flow, still)
    every = slice(None, None, max(1, len(x) // 2000))
    y, x = y[every].astype(np.float64), x[every].astype(np.float64)
    u, v = flow[y.astype(int), x.astype(int)].T.astype(np.float64)
    middle = np.array([x.mean(), y.mean()])
    x, y = x - middle[0], y - middle[1]
    zero, one = np.zeros_like(x), np.ones_like(x)
    rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    moves = np.concatenate([u, v])
    weights = np.ones_like(x)
    for _ in range(ROUNDS):
        root = np.sqrt(np.tile(weights, 2))
        found = np.linalg.lstsq(rows * root[:, None], moves * root, rcond=None)[0]
        off = moves - rows @ found
        weights = 1 / (1 + (np.square(off[: len(x)]) + np.square(off[len(x) :])) / ASTRAY**2)
    a, b, dx, dy = found
    turn = np.array([[1 + a, -b], [b, 1 + a]])
    return Step(flow, np.column_stack([turn, middle + np.array([dx, dy]) - turn @ middle]))


def foretold(before: Plane, after: Plane, back: Step, region: Mask, motion: Motion) -> dict[Way, float]:
    """For each way, the mean difference between the carried matte and the actual one over a region, in [0, 1].

    Args:
        before, after: (h, w), the mattes.
        back: From the later frame to the earlier.
        region: (h, w) of the later, not empty.
    """
    blurred = cv2.GaussianBlur(after, (0, 0), BLURRED)
    off: dict[Way, float] = {}
    for way in WAYS:
        moved = cv2.GaussianBlur(motion.moved(before, back.along(way)), (0, 0), BLURRED)
        off[way] = float(np.abs(moved - blurred)[region].mean())
    return off


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of a frame.

    Attributes:
        y0, y1, x0, x1: In pixels of the frame.
        scale: Pixels of the reduced frame per pixel of the frame, along x and y.
    """

    y0: int
    y1: int
    x0: int
    x1: int
    scale: tuple[float, float]

    @classmethod
    def around(cls, region: Mask, reduced: tuple[int, ...]) -> Crop:
        """The box around a region, one pixel larger where the frame allows.

        Args:
            region: (H, W), not empty.
            reduced: (h, w).
        """
        height, width = region.shape
        x0, y0, w, h = cv2.boundingRect(region.astype(np.uint8))
        scale = reduced[1] / width, reduced[0] / height
        return cls(max(0, y0 - 1), min(height, y0 + h + 1), max(0, x0 - 1), min(width, x0 + w + 1), scale)

    @property
    def window(self) -> tuple[slice, slice]:
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def enlarged(self, plane: Plane) -> Plane:
        """A reduced plane, (h, w) or (h, w, 2), at this part's pixels."""
        sx, sy = self.scale
        place = np.array([[sx, 0, (self.x0 + 0.5) * sx - 0.5], [0, sy, (self.y0 + 0.5) * sy - 0.5]])
        flags, size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (self.x1 - self.x0, self.y1 - self.y0)
        return np.asarray(cv2.warpAffine(plane, place, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)

    def moved(self, alpha: Plane, flow: Plane) -> Plane:
        """A whole frame's (H, W) where a reduced flow leads from this part."""
        x, y = np.meshgrid(np.arange(self.x0, self.x1, dtype=np.float32), np.arange(self.y0, self.y1, dtype=np.float32))
        along = self.enlarged(flow)
        places = x + along[..., 0] / np.float32(self.scale[0]), y + along[..., 1] / np.float32(self.scale[1])
        return np.asarray(cv2.remap(alpha, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


@dataclass(frozen=True, slots=True)
class Side:
    """A frame with a known matte, seen from one without.

    Attributes:
        alpha: (H, W), the known matte.
        view: Its picture.
        way: From the other frame to it.
        near: Its weight by distance, in [0, 1].
    """

    alpha: Plane
    view: View
    way: Step
    near: float


def carried(here: View, sides: Sequence[Side], way: str, crop: Crop, motion: Motion) -> Plane:
    """(H, W) of the crop: the sides' mattes, weighted by how well each picture matches this one, and by nearness.

    Where neither matches, nearness alone decides, so that one blends into the other.
    """
    flows = [side.way.along(way) for side in sides]
    size = crop.y1 - crop.y0, crop.x1 - crop.x0
    total, weights = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for side, flow in zip(sides, flows, strict=True):
        said = crop.moved(side.alpha, flow)
        if len(sides) == 1:
            return said
        trust = motion.trust(here, side.view, flow)
        weight = crop.enlarged(np.asarray(side.near * (trust + np.float32(DOUBTED)), np.float32))
        total, weights = total + weight * said, weights + weight
    return np.asarray(total / weights, np.float32)
