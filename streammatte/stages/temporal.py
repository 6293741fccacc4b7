"""Hold a matte steady over time without ever lagging behind the picture.

A network that looks at each frame by itself puts an edge elsewhere in every one of them, drops a hand now and then, or
a whole frame. Its neighbours know better: their alphas are moved to this frame along the picture's motion (`motion`),
each counts as far as its picture, moved likewise, is this frame's, and the middle of what they say is taken. What no
neighbour can speak for keeps the alpha that it has.
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
from streammatte.motion import Link, Motion, Plane, View, filled
from streammatte.stages.linking import Linker
from streammatte.stages.tiles import scaled

Strength = Literal["low", "medium", "high"]

REACH = {"low": 2, "medium": 4, "high": 8}
"""Frames that are asked in either direction."""

AGREED = 1 / 512  # a spread of alphas below this is left as it is
ASTRAY = 0.6  # of alpha: what is further from the middle belongs to another state of the matte, not to this one
DIVIDED = 0.3  # share of votes: less on one side is outvoted without a question
AROUND = 25  # pixels of the neighbourhood that decides where they are divided
CROWD = 0.2  # of that neighbourhood: fewer divided pixels are an edge that trembles, which the mean steadies
MENDED = 0.01  # of a matte: what steadying an edge stays below, and a hole worth a word does not


@dataclass(slots=True, eq=False)
class _Seen:
    """A frame of the window; it has its cut-out until that has left."""

    view: View
    cutout: Cutout | None
    forward: Plane | None = None  # to the next frame
    backward: Plane | None = None  # to the one before
    trust: Plane | None = None  # in the one before


class TemporalSmoother:
    """The stage. Holds back ``ahead`` cut-outs, and remembers as many frames as ``strength`` asks for.

    A cut ends what it knows: no cut-out hears of one beyond it.

    Args:
        strength: How many frames are asked: 5, 9 or 17 with this one.
        lookahead: How many of them may lie ahead; the rest lies behind. 0 never waits. By default half of them.

    Raises:
        ValueError: ``lookahead`` is below 0, or more than are asked.

    Attributes:
        behind, ahead: How many cut-outs on either side of one are asked.
        mended: By frame, how much of its matte was turned over, as a share of the larger of its subjects before and
            after: pops, holes and lost frames, not edges. Only frames of which ``MENDED`` or more was.
    """

    def __init__(self, strength: Strength = "medium", lookahead: int | None = None) -> None:
        reach = REACH[strength]
        self.ahead = reach if lookahead is None else lookahead
        if not 0 <= self.ahead <= 2 * reach:
            raise ValueError(f"lookahead={lookahead}: {strength!r} allows 0 to {2 * reach}")
        self.behind = 2 * reach - self.ahead
        self.mended: dict[int, float] = {}
        self._window: list[_Seen] = []
        self._waiting = 0
        self._motion = Motion()
        self._linker = Linker()

    def push(self, cutout: Cutout) -> Iterator[Cutout]:
        """The cut-out of ``ahead`` frames before, steadied; all that were waiting if this one begins a shot."""
        link = self._linker.of(cutout)
        alpha = scaled(cutout.alpha.float().cpu(), link.here.size).numpy()
        seen = _Seen(link.here.with_alpha(alpha), cutout)
        if self._window and link.one_shot:
            self._join(self._window[-1], seen, link)
        else:
            yield from self.flush()
        self._window.append(seen)
        self._waiting += 1
        if self._waiting > self.ahead:
            yield self._leaving()

    def flush(self) -> Iterator[Cutout]:
        """The cut-outs that are still waiting."""
        while self._waiting:
            yield self._leaving()
        self._window.clear()

    def _join(self, last: _Seen, seen: _Seen, link: Link) -> None:
        """Tell how the subject moves between two frames: flow is filled in from the subject first."""
        last.forward, seen.backward = self._motion.mended(last.view, seen.view, *link.flows)
        seen.trust = self._motion.trust(seen.view, last.view, seen.backward)

    def _leaving(self) -> Cutout:
        place = len(self._window) - self._waiting
        cutout = self._window[place].cutout
        assert cutout is not None
        before = self._window[place].view.alpha
        after = self._steadied(place)
        if (share := _turned(before, after)) >= MENDED:
            self.mended[cutout.frame.index] = share
        height, width = cutout.alpha.shape
        change = scaled(torch.from_numpy(after - before), (height, width)).to(cutout.alpha)
        self._window[place].cutout = None
        self._waiting -= 1
        del self._window[: max(0, place + 1 - self.behind)]
        return replace(cutout, alpha=(cutout.alpha + change).clamp(0, 1))

    def _steadied(self, place: int) -> Plane:
        """The alpha of one frame of the window, (H, W): the middle of what those around it say."""
        here, motion = self._window[place].view, self._motion
        alphas, weights = [here.alpha], [np.ones_like(here.alpha)]
        for onward in (False, True):
            flow: Plane | None = None
            last = len(self._window) if onward else max(-1, place - self.behind - 1)
            for other in range(place + 1, last) if onward else range(place - 1, last, -1):
                link = self._window[other - 1].forward if onward else self._window[other + 1].backward
                assert link is not None
                flow = link if flow is None else flow + motion.moved(link, flow)
                there = self._window[other].view
                known = self._window[place].trust if other == place - 1 else None
                alphas.append(motion.moved(there.alpha, flow, sharp=True).clip(0, 1))
                weights.append(motion.trust(here, there, flow) if known is None else known)
        values, counts = np.stack(alphas), np.stack(weights)
        open_ = np.ptp(values, axis=0) > AGREED
        change = np.zeros_like(here.alpha)
        if open_.any():
            said, weight = values[:, open_], counts[:, open_]
            change[open_] = middle(said, weight * heard(here.alpha, said, weight, open_)) - here.alpha[open_]
        # Where hardly a neighbour can speak, a pixel changes as those beside it do: a lost frame comes back whole.
        change = filled(change[..., None], np.square(counts[1:].sum(0)))[..., 0]
        return np.asarray((here.alpha + change).clip(0, 1), np.float32)


def heard(alpha: Plane, values: Plane, weights: Plane, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Who is heard where the frames are divided: those who agree with this one, or the others, as most of those around.

    Left to decide by itself, each pixel would turn in another frame: a hand that the network loses would go as a spray.

    Args:
        alpha: (H, W), this frame's.
        values: (N, P), for each of P pixels what N frames say, this one included.
        weights: (N, P).
        where: (H, W), which pixels these are.

    Returns:
        (N, P).
    """
    agree = np.abs(values - alpha[where]) <= ASTRAY
    share = (weights * agree).sum(0) / weights.sum(0)
    torn = (share > DIVIDED) & (share < 1 - DIVIDED)
    planes = np.zeros((*alpha.shape, 2), np.float32)
    planes[where] = np.stack([share * torn, torn], axis=1)
    votes, voters = (plane[where] for plane in cv2.split(cv2.blur(planes, (AROUND, AROUND))))
    return np.asarray(~(torn & (voters > CROWD)) | (agree == (votes >= voters / 2)))


def middle(values: Plane, weights: Plane) -> Plane:
    """Weighted interquartile mean of those who agree with the median.

    As deaf to outliers as the median nearly, and steadier. Where a matte turns from one state to another and stays
    there, as when a network loses a hand, the mean of both would be a ghost for as long as the window sees both: so
    only what is within ``ASTRAY`` of the median counts, and the matte turns at once.

    Args:
        values: (N, P), for each of P pixels what N frames say.
        weights: (N, P), at least one of each pixel's above 0.

    Returns:
        (P,).
    """
    order = np.argsort(values, axis=0)
    values, weights = np.take_along_axis(values, order, 0), np.take_along_axis(weights, order, 0)
    edges = np.cumsum(weights, axis=0)
    edges = edges / edges[-1]
    median = np.take_along_axis(values, (edges < 0.5).sum(axis=0)[None], 0)
    share = np.diff(edges.clip(0.25, 0.75), axis=0, prepend=np.float32(0.25)) * (np.abs(values - median) <= ASTRAY)
    return np.asarray((share * values).sum(0) / share.sum(0), np.float32)


def _turned(before: Plane, after: Plane) -> float:
    """How much of a subject came or went, in [0, 1]; less than a hundredth of the picture is none."""
    subjects = [float(np.count_nonzero(alpha > 0.5)) for alpha in (before, after)]
    return float(np.count_nonzero(np.abs(after - before) > 0.5)) / max(*subjects, before.size / 100)
