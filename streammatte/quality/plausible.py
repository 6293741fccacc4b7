"""Notices mattes that cannot be right: empty, full, torn, or cut off along a straight line.

Everything is measured on a small picture and matte, in less than a millisecond a frame.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from streammatte.frame import Cutout
from streammatte.media.write.composing import opacity
from streammatte.motion import Plane

SIZE = 96
"""Longer side, in pixels, of the small picture."""

SOLID = 0.5  # alpha from which a pixel belongs to the subject
EMPTY, FULL = 0.001, 0.97  # of the frame: with less, the matte is empty; with more, full
MANY = 0.5  # of the frames: more must be implausible for a warning

REACH = 4  # pixels an edge may move between frames: it crosses the frame in a second
STILL = 0.06  # of the value range: a pixel that changes less counts as unchanged
CUT = 0.15  # mean change of the picture that means a cut
TORN = 0.05  # of the subject: share that may appear or vanish without a change in the picture

LONG = 0.3  # of the frame's height or width, shortest line that counts
STEEP = 0.5  # change of alpha over three pixels, all along the line
STRAIGHT = 0.2  # pixels, standard deviation of the edge's position; a straight arm or hem has 0.35
SEEN = 0.05  # of the value range: an equally straight step in the picture explains the line
MARGIN = 3  # pixels from the frame's border or a black bar, where subjects may end
BLACK = 0.05  # brightest value of a black bar


class Doubts:
    """Takes cut-outs in order; :meth:`line` then says what is implausible about their mattes.

    Args:
        guided: The user's mattes or box shape the alpha, and may cut it along straight lines.
        smoothed: ``--smooth high`` is already on, so do not suggest it.
    """

    def __init__(self, *, guided: bool = False, smoothed: bool = False) -> None:
        self._guided, self._smoothed = guided, smoothed
        self._before: tuple[Plane, Plane] | None = None
        self._frames: list[int] = []
        self._areas: list[float] = []
        self._torn: list[float | None] = []
        self._lines: list[Line | None] = []

    def write(self, cutout: Cutout) -> None:
        """Take the next cut-out."""
        picture, alpha = shrunken(cutout)
        self._frames.append(cutout.frame.index)
        self._areas.append(float((alpha >= SOLID).mean()))
        jumps = None if self._before is None else torn(picture, alpha, self._before)
        self._torn.append(None if jumps is None else jumps / alpha.size)
        self._lines.append(None if self._guided else longest_line(picture, alpha))
        self._before = picture, alpha

    def extend(self, later: Doubts, frames: range) -> None:
        """Add what was seen of these later frames."""
        for frame, area, share, line in zip(later._frames, later._areas, later._torn, later._lines, strict=True):
            if frame in frames:
                self._frames.append(frame)
                self._areas.append(area)
                self._torn.append(share)
                self._lines.append(line)

    def plain(self) -> dict[str, Any]:
        """What was seen, as JSON can hold it."""
        lines = [None if line is None else asdict(line) for line in self._lines]
        return {"frames": self._frames, "areas": self._areas, "torn": self._torn, "lines": lines}

    @classmethod
    def of_plain(cls, seen: dict[str, Any]) -> Self:
        """The inverse of :meth:`plain`, to be given to :meth:`extend`."""
        doubts = cls()
        doubts._frames, doubts._areas, doubts._torn = list(seen["frames"]), list(seen["areas"]), list(seen["torn"])
        doubts._lines = [None if line is None else Line(**line) for line in seen["lines"]]
        return doubts

    def line(self) -> str | None:
        """The most serious doubt and what to try; ``None`` if there is none."""
        return self._of_areas() or self._of_tears() or self._of_lines()

    def _of_areas(self) -> str | None:
        empty = [frame for frame, area in zip(self._frames, self._areas, strict=True) if area < EMPTY]
        full = [frame for frame, area in zip(self._frames, self._areas, strict=True) if area > FULL]
        if len(empty) > MANY * len(self._frames):
            if self._guided:
                return f"the matte is empty{self._where(empty)}: check the mattes and prompts you gave"
            return f"no subject found{self._where(empty)}: try another --model, or mark it with --core-matte"
        if len(full) > MANY * len(self._frames):
            advice = "try another --model, or mark the background with --garbage-matte"
            if self._guided:
                advice = "check the mattes and prompts you gave"
            return f"the matte covers nearly the whole frame{self._where(full)}: {advice}"
        return None

    def _of_tears(self) -> str | None:
        known = [place for place, value in enumerate(self._torn) if value is not None]
        jumped = [self._torn[place] or 0.0 for place in known]
        subject = sum(max(self._areas[place - 1 : place + 1]) for place in known)
        if sum(jumped) <= TORN * subject:
            return None
        worst = self._frames[known[int(np.argmax(jumped))]]
        advice = "another --model" if self._smoothed else "--smooth high or another --model"
        return f"the matte jumps from frame to frame, most at frame {worst}: try {advice}"

    def _of_lines(self) -> str | None:
        cut = [(line, frame) for line, frame in zip(self._lines, self._frames, strict=True) if line is not None]
        if len(cut) <= MANY * sum(area >= EMPTY for area in self._areas):
            return None
        line, frame = max(cut, key=lambda each: each[0].length)
        side = "of the width from the left" if line.upright else "of the height from the top"
        return (
            f"the subject is cut off along a straight line {line.place:.0%} {side} in frame {frame}: "
            "try another --model or --size, or mark the missing part with --core-matte"
        )

    def _where(self, frames: list[int]) -> str:
        if len(frames) == len(self._frames):
            return ""
        return f" in {len(frames)} of {len(self._frames)} frames, first in frame {frames[0]}"


def shrunken(cutout: Cutout) -> tuple[Plane, Plane]:
    """(h, w, 3) picture and (h, w) alpha in [0, 1], at most ``SIZE`` pixels long.

    Only some pixels of a large frame are read: averaging all of them would cost more than everything else.
    """
    height, width = cutout.alpha.shape
    step = max(1, max(height, width) // (2 * SIZE))
    scale = min(1.0, SIZE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    rgb = _pixels(cutout.frame.rgb[:, ::step, ::step])
    alpha = opacity(replace(cutout, alpha=cutout.alpha[::step, ::step]))
    picture, matte = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (rgb, alpha))
    return np.asarray(picture, np.float32), np.asarray(matte, np.float32)


def torn(picture: Plane, alpha: Plane, before: tuple[Plane, Plane]) -> float | None:
    """Pixels of the subject that appear or vanish although neither its edge nor the picture explains it.

    Args:
        picture, alpha: From :func:`shrunken`.
        before: The same for the frame before.

    Returns:
        ``None`` at a cut.
    """
    earlier, matte = before
    if earlier.shape != picture.shape:
        return None
    change = _most(cv2.blur(cv2.absdiff(picture, earlier), (3, 3)))
    if float(change.mean()) > CUT:
        return None
    kernel = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)
    came = (alpha >= SOLID) & (cv2.dilate(matte, kernel) < SOLID)
    went = (matte >= SOLID) & (cv2.dilate(alpha, kernel) < SOLID)
    return float(((came | went) & (change < STILL)).sum())


@dataclass(frozen=True, slots=True)
class Line:
    """A straight edge of the matte: its column or row and its length, as shares of the frame's width and height."""

    upright: bool
    place: float
    length: float


def longest_line(picture: Plane, alpha: Plane) -> Line | None:
    """The longest straight edge along a row or column, of at least ``LONG``, that the picture does not explain.

    Edges at the frame's border and at black bars do not count, as subjects may end there.
    """
    bars = _bars(picture)
    found = []
    for upright in (True, False):
        see, matte = (picture, alpha) if upright else (picture.transpose(1, 0, 2), alpha.T)
        first, last = bars[upright]
        found += [Line(upright, place, length) for place, length in _lines(see, matte, first, last)]
    return max(found, key=lambda line: line.length, default=None)


def _lines(picture: Plane, alpha: Plane, first: int, last: int) -> list[tuple[float, float]]:
    """Vertical lines between two columns: position as a share of the width, length as a share of the height."""
    height, width = alpha.shape
    steps = alpha[:, 3:] - alpha[:, :-3]  # column n spans the pixels n to n + 3
    found = []
    for sign in (1, -1):
        steep = sign * steps > STEEP
        for column in np.flatnonzero(steep.sum(axis=0) >= LONG * height):
            if not first + MARGIN <= column + 2 <= last - MARGIN:
                continue
            start, end = _longest_run(steep[:, column])
            if end - start < LONG * height:
                continue
            filled = alpha[start:end, column : column + 4].sum(axis=1)  # position of the edge in these four pixels
            if float(filled.std()) > STRAIGHT:
                continue
            sides = picture[start:end, column : column + 4].mean(axis=0)
            if float(np.abs(sides[3] - sides[0]).max()) < SEEN:
                place = column + (4 - float(filled.mean()) if sign > 0 else float(filled.mean()))
                found.append((place / width, (end - start) / height))
    return found


def _longest_run(values: NDArray[np.bool_]) -> tuple[int, int]:
    """Start and end (exclusive) of the longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], values.astype(np.int8), [0]))))
    starts, ends = edges[::2], edges[1::2]
    longest = int((ends - starts).argmax())
    return int(starts[longest]), int(ends[longest])


def _bars(picture: Plane) -> dict[bool, tuple[int, int]]:
    """The range of columns (``True``) and of rows (``False``) inside black bars."""
    lit = _most(picture) > BLACK
    bars = {}
    for upright in (True, False):
        places = np.flatnonzero(lit.any(axis=0 if upright else 1))
        bars[upright] = (int(places[0]), int(places[-1]) + 1) if places.size else (0, 0)
    return bars


def _most(picture: NDArray[Any]) -> Plane:
    """(h, w), maximum of the three channels."""
    red, green, blue = cv2.split(picture)
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.float32)


def _pixels(rgb: Tensor) -> Plane:
    """(h, w, 3) float32 in [0, 1]."""
    values = np.ascontiguousarray(rgb.cpu().permute(1, 2, 0).numpy())
    if values.dtype.kind == "u":
        return np.asarray(values, np.float32) / np.float32(np.iinfo(values.dtype).max)
    return np.nan_to_num(np.asarray(values, np.float32)).clip(0, 1)
