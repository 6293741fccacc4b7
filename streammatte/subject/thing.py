"""Something in the foreground that is followed: its shape when it was last seen alone, and how it moves."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from streammatte.motion import Plane

STEADY = 0.7  # of its area: with less, its motion is not measured
HIDDEN = 0.35  # of its area: with less, a thing is being hidden


@dataclass(slots=True)
class Thing:
    """A subject, or another foreground object.

    Attributes:
        shape: (h, w), as it was last seen alone, moved along since; ``None`` while it has not been named.
        area: Of the whole, in pixels.
        speed: Pixels a frame, (x, y).
        unseen: Frames since it was hidden.
        touched: Other things are so near that they may hide it.
        seen: Share of the area.
    """

    shape: Plane | None = None
    area: float = 0.0
    speed: tuple[float, float] = (0.0, 0.0)
    unseen: int = 0
    touched: bool = False
    seen: float = 1.0

    def begin(self, mask: Plane) -> None:
        self.shape, self.area, self.speed = mask, float(mask.sum()), (0.0, 0.0)
        self.unseen, self.touched, self.seen = 0, False, 1.0

    def follow(self, mask: Plane, flow: Plane, touched: bool, fits: Plane) -> None:
        """Note the thing's mask in the next frame.

        Args:
            flow: To the frame before.
            touched: As the attribute.
            fits: (h, w): above 0 where the shape should cover, below where it should not.
        """
        assert self.shape is not None
        area = float(mask.sum())
        self.seen = min(1.0, area / max(1.0, self.area))
        core = mask > 0.7
        moved = np.array(self.speed)
        if self.seen > STEADY and core.sum() > 40:
            moved = -np.median(flow[core], axis=0)
            share = 0.5 if self.speed == (0.0, 0.0) else 0.2
            x, y = ((1 - share) * old + share * float(new) for old, new in zip(self.speed, moved, strict=True))
            self.speed = x, y
        self.unseen = 0 if area > HIDDEN * self.area else self.unseen + 1
        self.touched = touched
        if not touched and self.seen > STEADY:
            self.shape, self.area = mask, area
            return
        self.shape = _shifted(self.shape, float(moved[0]), float(moved[1]))
        if self.seen < 0.98 and not self.unseen:
            x, y = _fitting(self.shape, fits)
            self.shape = _shifted(self.shape, x, y)
            self.speed = self.speed[0] + 0.1 * x, self.speed[1] + 0.1 * y
        if self.seen > STEADY:  # limbs go on moving
            self.shape += np.float32(0.3 if self.seen > 0.9 else 0.1) * (mask - self.shape) * self.held()

    def held(self) -> Plane:
        """(h, w): where the thing may be, going by its shape."""
        assert self.shape is not None
        return np.asarray(np.minimum(1, 1.25 * cv2.GaussianBlur(self.shape, (0, 0), 3)), np.float32)


def _shifted(plane: Plane, x: float, y: float) -> Plane:
    shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return np.asarray(cv2.warpAffine(plane, shift, plane.shape[::-1]), np.float32)


def _fitting(shape: Plane, fits: Plane) -> tuple[float, float]:
    """By how many pixels, (x, y), at most 8, a shape should move to cover what it should."""
    half = [max(1, round(side / 2)) for side in shape.shape[::-1]]
    small = cv2.resize(shape, half, interpolation=cv2.INTER_AREA)
    wide = cv2.copyMakeBorder(
        cv2.resize(fits, small.shape[::-1], interpolation=cv2.INTER_AREA), 4, 4, 4, 4, cv2.BORDER_CONSTANT
    )
    scores = cv2.matchTemplate(wide, small, cv2.TM_CCORR) / max(1.0, float(small.sum()))
    off = np.arange(-4, 5, dtype=np.float32)
    scores = scores - 2e-3 * (off[:, None] ** 2 + off[None] ** 2)
    y, x = np.unravel_index(int(scores.argmax()), scores.shape)
    return float(off[x]), float(off[y])  # half of it: the rest follows in the next frames
