"""The part of the picture that the network looks at: where the subject is, and some room about it.

A subject that fills its input is seen more sharply, at the same cost, and what lies far from it cannot be taken along.
The part stays where it is for as long as the subject stays well within it, since the network answers a little
differently for each part.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.motion import Plane

SEEN = 0.3  # of alpha: what counts as subject
SPECK = 0.002  # of the picture's area: smaller pieces count for nothing
ROOM = 0.15  # of the subject's height and width, left on each side of it
TIGHT = 0.03  # of these: less room than that, and the part is chosen anew
WHOLE = 0.75  # of the picture's area: a part larger than that is not worth one
LOOSE = 1.6  # times what is needed: a part larger than that is chosen anew
LOST = 0.5  # of the subject's area: less of it is left than it may shrink by
NEWCOMER = 0.005  # of the picture's area: what else a look at all of it must show


class Box(NamedTuple):
    """Pixels from (x0, y0) to before (x1, y1)."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def area(self) -> int:
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def grown(self, share: float, width: int, height: int) -> Box:
        """By a share of its own sides on each side, as far as the picture goes."""
        x, y = round(share * (self.x1 - self.x0)), round(share * (self.y1 - self.y0))
        return Box(max(0, self.x0 - x), max(0, self.y0 - y), min(width, self.x1 + x), min(height, self.y1 + y))

    def grown_by(self, sides: Box, width: int, height: int) -> Box:
        """By so many pixels to the left, upwards, to the right and downwards, as far as the picture goes."""
        return Box(
            max(0, self.x0 - sides.x0),
            max(0, self.y0 - sides.y0),
            min(width, self.x1 + sides.x1),
            min(height, self.y1 + sides.y1),
        )

    def holds(self, other: Box) -> bool:
        return self.x0 <= other.x0 and self.y0 <= other.y0 and self.x1 >= other.x1 and self.y1 >= other.y1

    def of(self, planes: NDArray[Any]) -> NDArray[Any]:
        """That part of (H, W) or (H, W, C)."""
        return planes[self.y0 : self.y1, self.x0 : self.x1]

    def alone(self, plane: Plane) -> Plane:
        """(H, W), which is 0 outside of it."""
        alone = np.zeros_like(plane)
        self.of(alone)[:] = self.of(plane)
        return alone


NOT_BEYOND = Box(0, 0, 0, 0)


def subject_box(alpha: Plane) -> Box | None:
    """What holds all of a matte but specks; ``None`` if there is nothing in it."""
    return _box_of(alpha > SEEN, SPECK)


def choose(subject: Box | None, now: Box | None, width: int, height: int) -> Box | None:
    """The part for a subject; ``None`` is all of the picture.

    Args:
        subject: What holds the subject as it is expected to be.
        now: The part as it is.
        width, height: Of the picture.
    """
    if subject is None:
        return None
    wanted = subject.grown(ROOM, width, height)
    if now is not None and now.holds(subject.grown(TIGHT, width, height)) and now.area <= LOOSE * wanted.area:
        return now
    return wanted if wanted.area <= WHOLE * width * height else None


def touches(alpha: Plane, part: Box) -> bool:
    """Whether a matte, (H, W) of the whole picture, goes on beyond a part of it that it was made of."""
    height, width = alpha.shape
    own = part.of(alpha) > SEEN
    sides = [own[0] & (part.y0 > 0), own[-1] & (part.y1 < height), own[:, 0] & (part.x0 > 0)]
    sides.append(own[:, -1] & (part.x1 < width))
    return any(np.count_nonzero(side) > 2 for side in sides)


def lost(alpha: Plane, expected: Plane) -> bool:
    """Whether most of a subject is not where it was expected."""
    return bool(np.count_nonzero(alpha > SEEN) < LOST * np.count_nonzero(expected > SEEN))


def newcomer(alpha: Plane, part: Box) -> Box | None:
    """What a matte of the whole picture, (H, W), shows outside of a part of it, if that is worth the word."""
    outside = alpha > 0.5
    part.of(outside)[:] = False
    return _box_of(outside, NEWCOMER)


def beyond(subject: Box | None, found: Box | None) -> Box:
    """How far something that was found goes on beyond the subject to each side, in pixels: goes into ``grown_by``."""
    if subject is None or found is None:
        return NOT_BEYOND
    return Box(
        max(0, subject.x0 - found.x0),
        max(0, subject.y0 - found.y0),
        max(0, found.x1 - subject.x1),
        max(0, found.y1 - subject.y1),
    )


def _joined(first: Box | None, second: Box) -> Box:
    """What holds both."""
    if first is None:
        return second
    return Box(min(first.x0, second.x0), min(first.y0, second.y0), max(first.x1, second.x1), max(first.y1, second.y1))


def _box_of(mask: NDArray[np.bool_], least: float) -> Box | None:
    """What holds all pieces of a mask that have a share of the picture's area, at least."""
    _, _, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    box: Box | None = None
    for x, y, w, h, size in boxes[1:].tolist():
        if size >= least * mask.size:
            box = _joined(box, Box(x, y, x + w, y + h))
    return box
