"""Where a subject is transparent: as the user says it, or as a matte tells it.

A matte tells it in two ways. A network that is in doubt over an area, not along an edge, may be looking at glass or
smoke. One that takes a place for solid in this frame and for nothing in the next, while the picture there, followed
along its motion, stays the same, cannot be right in both. Hair, fur, blur and soft focus are narrow beside that.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.errors import InputError
from streammatte.motion import Link, Motion, Plane

Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of the frame; the last two lie beyond it."""

DOUBT = (0.1, 0.9)  # alpha between these is in doubt
THICK = 0.05  # of the longer side: what is in doubt over less of it, in its narrow direction, is an edge
TURNED = 0.6  # of alpha: between two frames, that much is another answer
TURNED_THICK = 0.03
AGREES = 0.6  # of trust: the picture is the same there
FADES = 0.92  # of what was seen a frame ago
HELD = 0.35  # what evidence counts from: it holds for a dozen frames
TOLD = 2.2  # times that a place must have been told to be a region at all
SOLID_EDGE = 0.015  # of the longer side: a keyframe's doubt over less of it is an edge
REACH = 0.05  # of the longer side: so far beyond a region a keyframe may tell more of it
LARGE = 0.003  # of the frame: smaller is none
MARGIN = 0.012  # of the longer side, around what was found


def checked_box(box: Box, width: int, height: int) -> Box:
    """The box, cut to a frame of that size.

    Raises:
        InputError: It has no area, or lies outside of the frame.
    """
    x0, y0, x1, y1 = box
    said = ",".join(map(str, box))
    if x1 <= x0 or y1 <= y0:
        raise InputError(f"--transparent {said} has no area", hint="give it as left,top,right,bottom in pixels")
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise InputError(
            f"--transparent {said} is not within the frame, which is {width}×{height}",
            hint=f"give it as left,top,right,bottom in pixels of the frame: from 0,0 to {width},{height}",
        )
    return box


class BoxRegion:
    """A box that goes along with what it was drawn around, through the shot that begins with the first frame.

    It keeps its size, and moves as the middle of all that is neither nothing nor behind: a wall that moves otherwise
    has no say. A box that stood still would lose a glass that is raised, or have to be so large that it holds all
    else, too; what changes its size or is drawn in several shots needs masks.
    """

    def __init__(self, box: Box) -> None:
        self.box = box
        self.shift: NDArray[np.float64] = np.zeros(2)
        self.begun = False

    def mask(self, height: int, width: int) -> Mask:
        """(H, W): the box where it is now, as far as it is in the frame.

        A side that lay on the frame's border stays there: what is in the box goes on beyond it, and may come in.
        """
        self.begun = True
        x0, y0, x1, y1 = self.box
        dx, dy = np.rint(self.shift).astype(int)
        left, right = 0 if x0 == 0 else max(0, x0 + dx), width if x1 == width else max(0, x1 + dx)
        top, bottom = 0 if y0 == 0 else max(0, y0 + dy), height if y1 == height else max(0, y1 + dy)
        result = np.zeros((height, width), np.bool_)
        result[top:bottom, left:right] = True
        return result

    def follow(self, forward: Plane, region: Mask, alpha: Plane, scale: tuple[float, float]) -> None:
        """Go on to the next frame.

        Args:
            forward: (h, w, 2), flow to it.
            region: (h, w), the box in this frame.
            alpha: (h, w), of this frame, as far as it is known.
            scale: Pixels of the frame in one of these, along x and y.
        """
        mine = region & (alpha > DOUBT[0])
        where = mine if mine.any() else region
        if where.any():
            self.shift = self.shift + np.median(forward[where].astype(np.float64), axis=0) * scale


class Finder:
    """Tells regions from mattes. Works at the motion's size, in which lengths are shares of the longer side.

    Evidence fades slowly. So that what was seen long ago, or where a run began, has no say, it is gathered anew from
    every multiple of ``every`` on, and counts from the next one on.
    """

    def __init__(self, motion: Motion, every: int) -> None:
        self._motion, self._every = motion, every
        self._before: Plane | None = None
        self._block: int | None = None
        self._now: Plane | None = None  # (h, w), gathered since the block before this one
        self._next: Plane | None = None  # and since this one began

    def at(self, index: int, alpha: Plane, link: Link) -> Mask | None:
        """(h, w), where the next frame is transparent; ``None`` if nowhere.

        Args:
            index: The frame's.
            alpha: (h, w), the frame's.
            link: Asked only where something speaks for a region.
        """
        before, self._before = self._before, alpha
        if self._block is not None and index // self._every != self._block:
            self._now, self._next = self._next, None
        self._block = index // self._every
        side = max(alpha.shape)
        told = _doubtful(alpha, THICK * side).astype(np.float32)
        if before is None or before.shape != alpha.shape or not link.one_shot:
            told *= 3  # there is nothing before to be sure by, and the beginning of a shot is seen as well
            self._now = self._next = _kept(told)
        else:
            turned = bool(_opened(np.abs(alpha - before) > TURNED, TURNED_THICK * side).any())
            self._now, self._next = self._gone_on(told, turned, before, alpha, link)
        return None if self._now is None else _grown(self._now, side)

    def _gone_on(
        self, told: Plane, turned: bool, before: Plane, alpha: Plane, link: Link
    ) -> tuple[Plane | None, Plane | None]:
        """Both evidences, moved along, faded, and grown by what is told and by what turns where the picture stays."""
        if not turned and self._now is None and self._next is None:
            return _kept(told), _kept(told)  # flow is what costs most here
        assert link.before is not None
        here, last = link.here.with_alpha(alpha), link.before.with_alpha(before)
        _, flow = self._motion.mended(last, here, *link.flows)
        apart = np.abs(alpha - self._motion.moved(before, flow)) > TURNED
        trusted = apart & (self._motion.trust(here, last, flow) > AGREES)
        more = np.maximum(told, _opened(trusted, TURNED_THICK * max(alpha.shape)))

        def grown(old: Plane | None) -> Plane | None:
            if old is not None:
                return _kept(np.asarray(more + FADES * self._motion.moved(old, flow), np.float32))
            return _kept(np.asarray(more if turned else told, np.float32))

        return grown(self._now), grown(self._next)

    def learn(self, answer: Plane, region: Mask) -> Mask:
        """What a keyframe takes for transparent beside the region that it was asked for belongs to it from now on.

        Only to the end of its block: else what one keyframe says would have a say in all that come after.

        Args:
            answer: (h, w), the keyframe's alpha.
            region: (h, w).

        Returns:
            (h, w), the wider region.
        """
        side = max(answer.shape)
        near = cv2.dilate(region.astype(np.uint8), _disc(2 * REACH * side)) > 0
        more = _doubtful(answer, SOLID_EDGE * side) & np.asarray(near)
        if self._now is not None:
            self._now = np.where(more, np.maximum(self._now, np.float32(TOLD + 1)), self._now)
        return np.asarray(region | more)


def resized(mask: Mask, size: tuple[int, ...]) -> Mask:
    """(h, w), set where half of a pixel is."""
    if mask.shape == size:
        return mask
    way = cv2.INTER_AREA if size[0] < mask.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(mask.astype(np.float32), (size[1], size[0]), interpolation=way) >= 0.5)


def _kept(evidence: Plane) -> Plane | None:
    """What is left of it; ``None`` if nothing counts any more."""
    return evidence.clip(0, 4) if (evidence > HELD).any() else None


def _grown(evidence: Plane, side: int) -> Mask | None:
    """The pieces that are large, and certain somewhere, with a margin."""
    count, labels, boxes, _ = cv2.connectedComponentsWithStats((evidence > HELD).astype(np.uint8), connectivity=8)
    result = np.zeros(evidence.shape, np.uint8)
    for label in range(1, count):
        piece = labels == label
        if boxes[label, cv2.CC_STAT_AREA] >= LARGE * evidence.size and np.count_nonzero(evidence[piece] > TOLD):
            result[piece] = 1
    if not result.any():
        return None
    return np.asarray(cv2.dilate(result, _disc(2 * (MARGIN * side) + 1)) > 0)


def _doubtful(alpha: Plane, width: float) -> Mask:
    return _opened((alpha > DOUBT[0]) & (alpha < DOUBT[1]), width)


def _opened(mask: Mask, width: float) -> Mask:
    """What of a mask is as wide as ``width`` pixels everywhere."""
    if not mask.any():
        return mask
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _disc(width)) > 0)


def _disc(width: float) -> NDArray[Any]:
    side = max(1, round(width)) | 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
