"""The region of the picture that the network sees: the subject with a margin.

A subject that fills the input is seen more sharply at the same cost, and nothing far from it can be mistaken for it.
The region stays in place while the subject is well within it, since each region gives a slightly different answer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.motion import Plane

SEEN = 0.3  # alpha that counts as subject
SPECK = 0.002  # of the picture's area: smaller pieces are ignored
MARGIN = 0.15  # of the subject's height and width, on each side
TIGHT = 0.03  # of these: with a smaller margin, a new region is chosen
WHOLE = 0.75  # of the picture's area: a larger region is not worth it
LOOSE = 1.6  # times the area that is needed: beyond it, a new region is chosen
LOST = 0.5  # of the subject's area, which cannot shrink to less between two frames
NEWCOMER = 0.005  # of the picture's area: smaller ones are ignored


class Box(NamedTuple):
    """Pixels from (x0, y0) up to, not including, (x1, y1)."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def area(self) -> int:
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def grown(self, share: float, width: int, height: int) -> Box:
        """Extended on each side by a share of its own, within the picture."""
        x, y = round(share * (self.x1 - self.x0)), round(share * (self.y1 - self.y0))
        return self.grown_by(Box(x, y, x, y), width, height)

    def grown_by(self, sides: Box, width: int, height: int) -> Box:
        """Extended by a number of pixels on each side, within the picture."""
        return Box(
            max(0, self.x0 - sides.x0),
            max(0, self.y0 - sides.y0),
            min(width, self.x1 + sides.x1),
            min(height, self.y1 + sides.y1),
        )

    def holds(self, other: Box) -> bool:
        return self.x0 <= other.x0 and self.y0 <= other.y0 and self.x1 >= other.x1 and self.y1 >= other.y1

    def of(self, planes: NDArray[Any]) -> NDArray[Any]:
        """That region of (H, W) or (H, W, C)."""
        return planes[self.y0 : self.y1, self.x0 : self.x1]

    def alone(self, plane: Plane) -> Plane:
        """(H, W), 0 outside of the box."""
        alone = np.zeros_like(plane)
        self.of(alone)[:] = self.of(plane)
        return alone


NOT_BEYOND = Box(0, 0, 0, 0)


def subject_box(alpha: Plane, speck: float = SPECK) -> Box | None:
    """The box around a matte, without specks, by their share of the picture; ``None`` if it is empty."""
    return _box_of(alpha > SEEN, speck)


def choose(subject: Box | None, now: Box | None, width: int, height: int) -> Box | None:
    """The region for a subject; ``None`` is the whole picture.

    Args:
        subject: The box where the subject is expected.
        now: The present region.
        width, height: Of the picture.
    """
    if subject is None:
        return None
    wanted = subject.grown(MARGIN, width, height)
    if now is not None and now.holds(subject.grown(TIGHT, width, height)) and now.area <= LOOSE * wanted.area:
        return now
    return wanted if wanted.area <= WHOLE * width * height else None


def touches(alpha: Plane, region: Box) -> bool:
    """Whether a matte, (H, W) of the whole picture, reaches an inner edge of the region it was made from."""
    height, width = alpha.shape
    own = region.of(alpha) > SEEN
    sides = [own[0] & (region.y0 > 0), own[-1] & (region.y1 < height), own[:, 0] & (region.x0 > 0)]
    sides.append(own[:, -1] & (region.x1 < width))
    return any(np.count_nonzero(side) > 2 for side in sides)


def lost(alpha: Plane, expected: Plane) -> bool:
    """Whether most of the expected subject is missing."""
    return bool(np.count_nonzero(alpha > SEEN) < LOST * np.count_nonzero(expected > SEEN))


def newcomer(alpha: Plane, region: Box) -> Box | None:
    """The box around what a matte of the whole picture has outside of a region; ``None`` if it is too small."""
    outside = alpha > 0.5
    region.of(outside)[:] = False
    return _box_of(outside, NEWCOMER)


def beyond(subject: Box | None, found: Box | None) -> Box:
    """By how many pixels ``found`` extends beyond the subject on each side, for ``grown_by``."""
    if subject is None or found is None:
        return NOT_BEYOND
    return Box(
        max(0, subject.x0 - found.x0),
        max(0, subject.y0 - found.y0),
        max(0, found.x1 - subject.x1),
        max(0, found.y1 - subject.y1),
    )


def _box_of(mask: NDArray[np.bool_], least: float) -> Box | None:
    """The box around all pieces of a mask with at least that share of the picture's area."""
    _, _, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = [(x, y, x + w, y + h) for x, y, w, h, size in boxes[1:].tolist() if size >= least * mask.size]
    if not large:
        return None
    left, top, right, bottom = zip(*large, strict=True)
    return Box(min(left), min(top), max(right), max(bottom))
