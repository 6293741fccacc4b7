"""Where a subject is transparent, marked by the user or found from the mattes.

Mattes show it in two ways. A network in doubt over an area, not along an edge, may see glass or smoke. And one that
takes a place for solid in one frame and clear in the next, while the picture there, followed along its motion, stays
the same, is wrong in one of them. Hair, fur, blur and soft focus are narrower.
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
"""x0, y0, x1, y1 in pixels of the frame, the last two exclusive."""

DOUBT = (0.1, 0.9)  # alpha between these is in doubt
THICK = 0.05  # of the longer side: narrower doubt is an edge
TURNED = 0.6  # of alpha: a change between two frames that contradicts
TURNED_THICK = 0.03
AGREES = 0.6  # of trust: the picture is the same
FADES = 0.92  # of the evidence a frame ago
HELD = 0.35  # least evidence that counts: it holds for a dozen frames
TOLD = 2.2  # evidence that a region needs somewhere
SOLID_EDGE = 0.015  # of the longer side: narrower doubt of a keyframe is an edge
REACH = 0.05  # of the longer side: how far a keyframe may widen a region
LARGE = 0.003  # of the frame: the smallest region
MARGIN = 0.012  # of the longer side, around a region


def checked_box(box: Box, width: int, height: int) -> Box:
    """The box.

    Raises:
        InputError: It has no area, or is not within a frame of that size.
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
    """A box that follows its content through the shot that begins with the first frame.

    It keeps its size, and moves by the median motion of the subject in it: a fixed box would lose a glass that is
    raised, or have to hold much else. Content that changes its size, or is in several shots, needs masks.
    """

    def __init__(self, box: Box) -> None:
        self.box = box
        self.shift: NDArray[np.float64] = np.zeros(2)
        self.begun = False

    def mask(self, height: int, width: int) -> Mask:
        """(H, W): the box at its place now, within the frame.

        A side on the frame's border stays there: the content continues beyond it, and may come in.
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
            alpha: (h, w), the best known for this frame.
            scale: Pixels of the frame per pixel of these, along x and y.
        """
        mine = region & (alpha > DOUBT[0])
        where = mine if mine.any() else region
        if where.any():
            self.shift = self.shift + np.median(forward[where].astype(np.float64), axis=0) * scale


class Finder:
    """Finds regions from mattes, at the motion's size.

    Evidence fades slowly. So that it does not depend on the distant past, or on where a run began, gathering restarts
    at every multiple of ``every``, and what is gathered counts from the next multiple on.
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
            link: Used only where there is evidence.
        """
        before, self._before = self._before, alpha
        if self._block is not None and index // self._every != self._block:
            self._now, self._next = self._next, None
        self._block = index // self._every
        side = max(alpha.shape)
        told = _doubtful(alpha, THICK * side).astype(np.float32)
        if before is None or before.shape != alpha.shape or not link.one_shot:
            told *= 3  # a shot's first frame must decide alone
            self._now = self._next = _kept(told)
        else:
            turned = bool(_opened(np.abs(alpha - before) > TURNED, TURNED_THICK * side).any())
            self._now, self._next = self._gone_on(told, turned, before, alpha, link)
        return None if self._now is None else _grown(self._now, side)

    def _gone_on(
        self, told: Plane, turned: bool, before: Plane, alpha: Plane, link: Link
    ) -> tuple[Plane | None, Plane | None]:
        """Both evidences, moved along, faded, and increased by doubt and contradictions."""
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
        """Widen a region, (h, w), by what a keyframe's alpha, (h, w), shows as transparent beside it.

        It stays so to the end of the block, since no keyframe may influence all that come after.
        """
        side = max(answer.shape)
        near = cv2.dilate(region.astype(np.uint8), _disc(2 * REACH * side)) > 0
        more = _doubtful(answer, SOLID_EDGE * side) & np.asarray(near)
        if self._now is not None:
            self._now = np.where(more, np.maximum(self._now, np.float32(TOLD + 1)), self._now)
        return np.asarray(region | more)


def resized(mask: Mask, size: tuple[int, ...]) -> Mask:
    """(h, w), set where at least half of a pixel is."""
    if mask.shape == size:
        return mask
    way = cv2.INTER_AREA if size[0] < mask.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(mask.astype(np.float32), (size[1], size[0]), interpolation=way) >= 0.5)


def _kept(evidence: Plane) -> Plane | None:
    """The evidence, bounded; ``None`` if none counts any more."""
    return evidence.clip(0, 4) if (evidence > HELD).any() else None


def _grown(evidence: Plane, side: int) -> Mask | None:
    """The large pieces with enough evidence somewhere, with a margin."""
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
    """The parts of a mask at least ``width`` pixels wide."""
    if not mask.any():
        return mask
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _disc(width)) > 0)


def _disc(width: float) -> NDArray[Any]:
    side = max(1, round(width)) | 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
