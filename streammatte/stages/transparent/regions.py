"""Where a subject can be seen through: as the user says it, or as a matte tells it.

A matte tells it in two ways. A network that is in doubt over an area, not along an edge, may be looking at glass or
smoke. One that takes a place for solid in this frame and for nothing in the next, while the picture there, followed
along its motion, stays the same, cannot be right in both. Hair, fur, blur and soft focus are narrow beside that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.errors import InputError
from streammatte.motion import Motion, Plane

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
SOLID_EDGE = 0.015  # of the longer side: what a keyframe sees through over less of it is an edge
REACH = 0.05  # of the longer side: so far beyond a region a keyframe may tell more of it
LARGE = 0.003  # of the frame: smaller is none
MARGIN = 0.012  # of the longer side, around what was found

Link = Callable[[], tuple[Plane, Plane] | None]
"""Flow to the frame before and trust in it; ``None`` across a cut, and at the beginning."""


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

    def mask(self, height: int, width: int) -> Mask:
        """(H, W): the box where it is now, as far as it is in the frame.

        A side that lay on the frame's border stays there: what is in the box goes on beyond it, and may come in.
        """
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
    """Tells regions from mattes. Works at a reduced size, in which lengths are shares of the longer side."""

    def __init__(self, motion: Motion) -> None:
        self._motion = motion
        self._evidence: Plane | None = None
        self._before: Plane | None = None

    def at(self, alpha: Plane, link: Link) -> Mask | None:
        """(h, w), where something can be seen through; ``None`` if nowhere.

        Args:
            alpha: (h, w), of the next frame.
            link: Called only where something speaks for a region: flow is what costs most here.
        """
        before, self._before = self._before, alpha
        side = max(alpha.shape)
        told = _doubtful(alpha, THICK * side).astype(np.float32)
        turned = None
        if before is not None and before.shape == alpha.shape:
            turned = _opened(np.abs(alpha - before) > TURNED, TURNED_THICK * side)
        old, self._evidence = self._evidence, None
        if old is not None or (turned is not None and turned.any()):
            linked = link()
            if linked is not None and before is not None:
                flow, trust = linked
                apart = np.abs(alpha - self._motion.moved(before, flow)) > TURNED
                told = np.maximum(told, _opened(apart & (trust > AGREES), TURNED_THICK * side))
                if old is not None:
                    told = np.asarray(told + FADES * self._motion.moved(old, flow), np.float32)
            elif before is not None:
                told *= 3  # there is nothing before this shot to be sure by, and its beginning is seen as well
        elif before is None:
            told *= 3
        if not (told > HELD).any():
            return None
        self._evidence = told.clip(0, 4)
        return _grown(told, side)

    def learn(self, answer: Plane, region: Mask) -> None:
        """What a keyframe sees through beside the region that it was asked for belongs to it from the next frame on.

        Args:
            answer: (h, w), the keyframe's alpha.
            region: (h, w).
        """
        if self._evidence is None:
            return
        side = max(answer.shape)
        near = cv2.dilate(region.astype(np.uint8), _disc(2 * REACH * side)) > 0
        more = _doubtful(answer, SOLID_EDGE * side) & np.asarray(near)
        self._evidence[more] = np.maximum(self._evidence[more], np.float32(TOLD + 1))

    def state(self) -> dict[str, NDArray[Any]]:
        known = {"evidence": self._evidence, "before": self._before}
        return {name: np.array(each) for name, each in known.items() if each is not None}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        self._evidence, self._before = state.get("evidence"), state.get("before")


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
