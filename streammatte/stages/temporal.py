"""Steady a matte over time without lagging behind the picture.

A network that sees single frames moves an edge about from frame to frame, and now and then loses a hand or a whole
frame. So each pixel at an edge, or where frames differ, is followed along the picture's motion through the frames
around (`pixel_tracks`). Their alphas are weighted by how well the pictures match from step to step, and their middle is
taken. Where no neighbour matches, the alpha stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streammatte.frame import Cutout
from streammatte.motion import Link, Motion, Plane, View, filled, stretched
from streammatte.stages.motion_links import Linker
from streammatte.stages.pixel_tracks import AGREED, Matte, Step, differing, followed
from streammatte.stages.tiles import scaled

Strength = Literal["low", "medium", "high"]

REACH = {"low": 4, "medium": 8, "high": 16}
"""Frames compared in either direction; ahead, no more than ``AHEAD`` unless asked for."""

AHEAD = 6
FADING = 0.7  # of a weight, for each frame that a neighbour lies further away: flow drifts
LARGEST = 384  # pixels of a matte's longer side; of a larger one, the change is computed at that size
ASTRAY = 0.6  # of alpha: values further from the middle belong to another state of the matte
DIVIDED = 0.3  # share of votes: a smaller minority is outvoted
AROUND = 25  # pixels of the neighbourhood that decides where votes are divided
CROWD = 0.2  # of that neighbourhood: fewer divided pixels are a trembling edge, which the mean steadies
MENDED = 0.01  # of a matte: steadying an edge changes less, filling a noticeable hole more


@dataclass(slots=True, eq=False)
class _Seen:
    """A frame of the window, with its cut-out until that has left.

    Attributes:
        matte: What is worked on.
        view: The picture with that matte, at the motion's size.
        onward, back: To the next frame and to the one before.
    """

    matte: Matte
    view: View
    cutout: Cutout | None
    onward: Step | None = None
    back: Step | None = None


class TemporalSmoother:
    """The stage. Holds back ``ahead`` cut-outs. Nothing passes across a cut.

    Args:
        strength: Over up to 4, 8 or 16 frames in either direction.
        lookahead: How many of them may lie ahead. By default 4, 6 or 6.

    Raises:
        ValueError: ``lookahead`` is out of range.

    Attributes:
        mended: By frame index, the share of the matte that was turned over: pops, holes and lost frames, not edges.
            Only shares of ``MENDED`` or more.
    """

    def __init__(self, strength: Strength = "medium", lookahead: int | None = None) -> None:
        reach = REACH[strength]
        self.behind, self.ahead = reach, min(reach, AHEAD) if lookahead is None else lookahead
        if not 0 <= self.ahead <= reach:
            raise ValueError(f"lookahead={lookahead}: {strength!r} allows 0 to {reach}")
        self.mended: dict[int, float] = {}
        self._window: list[_Seen] = []
        self._waiting = 0
        self._motion = Motion()
        self._linker = Linker()

    def push(self, cutout: Cutout) -> Iterator[Cutout]:
        """The cut-out ``ahead`` frames earlier, steadied; all that wait if this one begins a shot."""
        link = self._linker.of(cutout)
        alpha = _worked_on(cutout.alpha)
        seen = _Seen(Matte.of(alpha), link.here.with_alpha(_resized(alpha, link.here.size)), cutout)
        if self._window and link.one_shot and self._window[-1].matte.alpha.shape == alpha.shape:
            self._join(self._window[-1], seen, link)
        else:
            yield from self.flush()
        self._window.append(seen)
        self._waiting += 1
        if self._waiting > self.ahead:
            yield self._leaving()

    def flush(self) -> Iterator[Cutout]:
        """The cut-outs that still wait."""
        while self._waiting:
            yield self._leaving()
        self._window.clear()

    def _join(self, last: _Seen, seen: _Seen, link: Link) -> None:
        """Estimate how the subject moves between two frames."""
        motion = self._motion
        forward, backward = motion.mended(last.view, seen.view, *link.flows)
        seen.back = _step(backward, motion.trust(seen.view, last.view, backward), last.matte)
        if self.ahead:
            last.onward = _step(forward, motion.trust(last.view, seen.view, forward), seen.matte)

    def _leaving(self) -> Cutout:
        place = len(self._window) - self._waiting
        cutout = self._window[place].cutout
        assert cutout is not None
        before = self._window[place].matte.alpha
        after = self._steadied(place)
        self._window[place].cutout = None
        self._waiting -= 1
        del self._window[: max(0, place + 1 - self.behind)]
        if after is before:
            return cutout
        if (share := _turned(before, after)) >= MENDED:
            self.mended[cutout.frame.index] = share
        height, width = cutout.alpha.shape
        change = scaled(torch.from_numpy(after - before), (height, width)).to(cutout.alpha)
        return replace(cutout, alpha=(cutout.alpha + change).clamp(0, 1))

    def _steadied(self, place: int) -> Plane:
        """The steadied alpha of one frame of the window, (h, w); itself if nothing changes."""
        matte = self._window[place].matte
        back = [seen.back for seen in self._window[max(1, place + 1 - self.behind) : place + 1][::-1]]
        onward = [seen.onward for seen in self._window[place:-1]]
        ways = [[step for step in way if step is not None] for way in (back, onward)]
        where, alpha = differing(matte, ways), matte.alpha
        if not where.any():
            return alpha
        values, counts = followed(matte, where, ways, FADING)
        joined = middle(values, counts * heard(alpha, values, counts, where))
        change, known = np.zeros_like(alpha), np.ones_like(alpha)
        change[where] = np.where(np.ptp(values, axis=0) > AGREED, joined - values[0], 0)
        known[where] = np.square(counts[1:].sum(0))
        # Where hardly any neighbour matches, a pixel changes like those beside it: a lost frame comes back whole.
        change = filled(change[..., None], known)[..., 0]
        return np.asarray((alpha + change).clip(0, 1), np.float32)


def _step(flow: Plane, trust: Plane, matte: Matte) -> Step:
    """A step at the matte's size.

    Trusts multiply along a chain. Whole, they would leave too little of a neighbour eight frames away.
    """
    size = matte.alpha.shape
    return Step.of(stretched(flow, size), np.sqrt(stretched(trust, size)), matte)


def _worked_on(alpha: torch.Tensor) -> Plane:
    """A matte, of at most ``LARGEST`` pixels a side."""
    plane = alpha.float().cpu()
    height, width = plane.shape
    share = min(1.0, LARGEST / max(height, width))
    return np.ascontiguousarray(scaled(plane, (max(1, round(share * height)), max(1, round(share * width)))).numpy())


def _resized(alpha: Plane, size: tuple[int, int]) -> Plane:
    if alpha.shape == size:
        return alpha
    way = cv2.INTER_AREA if size[0] * size[1] < alpha.size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(alpha, size[::-1], interpolation=way), np.float32)


def heard(alpha: Plane, values: Plane, weights: Plane, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which frames count where they are divided: those that agree with this one or the others, by the neighbourhood.

    On its own, each pixel would turn in another frame: a hand that the network loses would dissolve into specks.

    Args:
        alpha: (H, W), this frame's.
        values: (N, P), P pixels of N frames, this one included.
        weights: (N, P).
        where: (H, W), the place of the P pixels.

    Returns:
        (N, P).
    """
    agree = np.abs(values - alpha[where]) <= ASTRAY
    share = (weights * agree).sum(0) / weights.sum(0)
    torn = (share > DIVIDED) & (share < 1 - DIVIDED)
    if np.count_nonzero(torn) <= CROWD * AROUND**2:
        return np.ones_like(torn, shape=values.shape)
    planes = np.zeros((*alpha.shape, 2), np.float32)
    planes[where] = np.stack([share * torn, torn], axis=1)
    votes, voters = (plane[where] for plane in cv2.split(cv2.blur(planes, (AROUND, AROUND))))
    return np.asarray(~(torn & (voters > CROWD)) | (agree == (votes >= voters / 2)))


def middle(values: Plane, weights: Plane) -> Plane:
    """Weighted interquartile mean of the values that agree with the median.

    Nearly as robust as the median, and steadier. Where a matte changes its state for good, as when a network loses a
    hand, the mean of both states would be a ghost for as long as the window sees both. So only values within ``ASTRAY``
    of the median count, and the matte changes at once.

    Args:
        values: (N, P), P pixels of N frames.
        weights: (N, P), one of each pixel's above 0.

    Returns:
        (P,).
    """
    order = np.argsort(values, axis=0)
    values, weights = np.take_along_axis(values, order, 0), np.take_along_axis(weights, order, 0)
    edges = np.cumsum(weights, axis=0)
    edges /= edges[-1]
    median = np.take_along_axis(values, (edges < 0.5).sum(axis=0)[None], 0)
    within = edges.clip(0.25, 0.75)
    share = np.diff(within, axis=0, prepend=np.float32(0.25)) * (np.abs(values - median) <= ASTRAY)
    return np.asarray((share * values).sum(0) / share.sum(0), np.float32)


def _turned(before: Plane, after: Plane) -> float:
    """The share of a subject that came or went, in [0, 1]; a subject counts as a hundredth of the picture or more."""
    subjects = [float(np.count_nonzero(alpha > 0.5)) for alpha in (before, after)]
    return float(np.count_nonzero(np.abs(after - before) > 0.5)) / max(*subjects, before.size / 100)
