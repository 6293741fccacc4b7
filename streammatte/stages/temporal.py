"""Steady a matte over time without lagging behind the picture.

A network that sees single frames moves an edge about from frame to frame, and now and then loses a hand or a whole
frame. So the neighbours' alphas are moved to this frame along the picture's motion (`motion`), each is weighted by how
well its picture, moved likewise, matches this one, and their middle is taken. Where no neighbour matches, the alpha
stays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streammatte.frame import Cutout
from streammatte.motion import Link, Motion, Part, Plane, View, filled
from streammatte.stages.motion_links import Linker
from streammatte.stages.tiles import scaled

T = TypeVar("T", bound=np.generic)

Strength = Literal["low", "medium", "high"]

REACH = {"low": 2, "medium": 4, "high": 8}
"""Frames compared in either direction."""

AGREED = 1 / 512  # a spread of alphas below this is left as it is
MARGIN = 16  # pixels around all that differs, from where filling in and votes may still reach it
ASTRAY = 0.6  # of alpha: values further from the middle belong to another state of the matte
DIVIDED = 0.3  # share of votes: a smaller minority is outvoted
BATCH = 8192  # pixels
AROUND = 25  # pixels of the neighbourhood that decides where votes are divided
CROWD = 0.2  # of that neighbourhood: fewer divided pixels are a trembling edge, which the mean steadies
MENDED = 0.01  # of a matte: steadying an edge changes less, filling a noticeable hole more


@dataclass(slots=True, eq=False)
class _Seen:
    """A frame of the window, with its cut-out until that has left."""

    view: View
    cutout: Cutout | None
    forward: Plane | None = None  # to the next frame
    backward: Plane | None = None  # to the one before


class TemporalSmoother:
    """The stage. Holds back ``ahead`` cut-outs. Nothing passes across a cut.

    Args:
        strength: Over 5, 9 or 17 frames.
        lookahead: How many of them may lie ahead; the rest lie behind. By default half of them.
        hands: Frames that are steadied at a time, in threads; so many more cut-outs are held back if it is above 1.

    Raises:
        ValueError: ``lookahead`` is out of range.

    Attributes:
        mended: By frame index, the share of the matte that was turned over: pops, holes and lost frames, not edges.
            Only shares of ``MENDED`` or more.
    """

    def __init__(self, strength: Strength = "medium", lookahead: int | None = None, hands: int = 1) -> None:
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
        self.hands = hands
        self._pool: ThreadPoolExecutor | None = None
        self._making: deque[Future[tuple[Cutout, float]]] = deque()

    def push(self, cutout: Cutout) -> Iterator[Cutout]:
        """The cut-out ``ahead`` frames earlier, steadied; all that wait if this one begins a shot."""
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
            yield from self._leaving()

    def flush(self) -> Iterator[Cutout]:
        """The cut-outs that still wait."""
        while self._waiting:
            yield from self._leaving()
        while self._making:
            yield self._finished(*self._making.popleft().result())
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._window.clear()

    def close(self) -> None:
        """End its threads, whatever they have begun."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        self._making.clear()

    def _join(self, last: _Seen, seen: _Seen, link: Link) -> None:
        """Estimate how the subject moves between two frames."""
        last.forward, seen.backward = self._motion.mended(last.view, seen.view, *link.flows)

    def _leaving(self) -> Iterator[Cutout]:
        """Begin with the next cut-out; those that are ready, in order."""
        place = len(self._window) - self._waiting
        cutout = self._window[place].cutout
        assert cutout is not None
        self._window[place].cutout = None
        self._waiting -= 1
        first = max(0, place - self.behind)
        window = self._window[first:]
        del self._window[: max(0, place + 1 - self.behind)]
        if self.hands == 1:
            yield self._finished(*self._better(cutout, window, place - first))
            return
        self._pool = self._pool or ThreadPoolExecutor(self.hands, "streammatte-stages", torch.set_num_threads, (1,))
        self._making.append(self._pool.submit(self._better, cutout, window, place - first))
        if len(self._making) > self.hands:
            yield self._finished(*self._making.popleft().result())

    def _finished(self, cutout: Cutout, share: float) -> Cutout:
        if share >= MENDED:
            self.mended[cutout.frame.index] = share
        return cutout

    def _better(self, cutout: Cutout, window: Sequence[_Seen], place: int) -> tuple[Cutout, float]:
        """The cut-out at a place of the window, steadied, and the share of it that was turned over; in any thread."""
        before, after = window[place].view.alpha, self._steadied(window, place)
        height, width = cutout.alpha.shape
        change = scaled(torch.from_numpy(after - before), (height, width)).to(cutout.alpha)
        return replace(cutout, alpha=(cutout.alpha + change).clamp(0, 1)), _turned(before, after)

    def _steadied(self, window: Sequence[_Seen], place: int) -> Plane:
        """The steadied alpha of one frame of the window, (H, W)."""
        whole, motion = window[place].view, self._motion
        part = _differing([each.view.alpha for each in window])
        if part is None:
            return whole.alpha
        here = whole.part(part)
        alphas, weights = [here.alpha], [np.ones_like(here.alpha)]
        for onward in (False, True):
            flow: Plane | None = None
            for other in range(place + 1, len(window)) if onward else range(place - 1, -1, -1):
                link = window[other - 1].forward if onward else window[other + 1].backward
                assert link is not None
                flow = link[part] if flow is None else flow + motion.moved(link, flow, part=part)
                there = window[other].view
                alphas.append(motion.moved(there.alpha, flow, sharp=True, part=part).clip(0, 1))
                weights.append(motion.trust(here, there, flow, part))
        values, counts = np.stack(alphas), np.stack(weights)
        open_ = np.ptp(values, axis=0) > AGREED
        change = np.zeros_like(here.alpha)
        if open_.any():
            said, weight = _at(values, open_), _at(counts, open_)
            weight *= heard(here.alpha, said, weight, open_)
            for some in _batches(said.shape[1]):
                said[0, some] = middle(said[:, some], weight[:, some]) - said[0, some]
            np.place(change, open_, said[0])
        # Where hardly any neighbour matches, a pixel changes like those beside it: a lost frame comes back whole.
        change = filled(change[..., None], np.square(counts[1:].sum(0)))[..., 0]
        steadied = whole.alpha.copy()
        steadied[part] = (here.alpha + change).clip(0, 1)
        return steadied


def _differing(alphas: Sequence[Plane]) -> Part | None:
    """The smallest part of the frame beyond which mattes of (H, W) agree, with a margin; ``None`` if they all do."""
    differ = np.max(alphas, axis=0) - np.min(alphas, axis=0) > AGREED
    x, y, width, height = cv2.boundingRect(differ.view(np.uint8))
    if not width:
        return None
    bottom, right = (min(a + MARGIN, b) for a, b in zip((y + height, x + width), differ.shape, strict=True))
    return slice(max(0, y - MARGIN), bottom), slice(max(0, x - MARGIN), right)


def _at(values: NDArray[T], where: NDArray[np.bool_]) -> NDArray[T]:
    """(…, P), the P pixels of (…, *shape) where a mask is set.

    A mask as index takes four times as long, and lays the result out so that all that follows takes ten times as long.
    """
    values = values.reshape(*values.shape[: values.ndim - where.ndim], -1)
    return values.take(np.flatnonzero(where), axis=-1)


def _batches(count: int) -> Iterator[slice]:
    """That many pixels, in parts that stay in the processor's cache."""
    return (slice(start, start + BATCH) for start in range(0, count, BATCH))


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
    agree: NDArray[np.bool_] = np.abs(values - _at(alpha, where)) <= ASTRAY
    divided: NDArray[np.bool_] = ~np.logical_and.reduce(agree, axis=0)  # few pixels
    if not divided.any():
        return agree
    own, weight = _at(agree, divided), _at(weights, divided)
    share = (weight * own).sum(0) / weight.sum(0)
    torn = (share > DIVIDED) & (share < 1 - DIVIDED)
    places = np.flatnonzero(where)[divided]
    votes, voters = np.zeros((2, *alpha.shape), np.float32)
    for plane, said in ((votes, share * torn), (voters, torn)):
        plane.reshape(-1)[places] = said
        cv2.blur(plane, (AROUND, AROUND), plane)
    votes, voters = votes.take(places), voters.take(places)
    counts = np.ones_like(agree)
    counts[:, divided] = ~(torn & (voters > CROWD)) | (own == (votes >= voters / 2))
    return counts


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
    values, weights = _sorted(values, weights)
    edges = weights.copy()
    for before, edge in pairwise(edges):  # np.cumsum takes twenty times as long along this axis
        edge += before
    edges /= edges[-1]
    median = np.take_along_axis(values, (edges < 0.5).sum(axis=0)[None], 0)
    share = np.diff(edges.clip(0.25, 0.75), axis=0, prepend=np.float32(0.25)) * (np.abs(values - median) <= ASTRAY)
    return np.asarray((share * values).sum(0) / share.sum(0), np.float32)


def _sorted(values: Plane, weights: Plane) -> tuple[Plane, Plane]:
    """Both by ascending values, from 0, along the first axis.

    The bits of such floats order as the floats do. So a value and its weight are sorted as one integer, in a third of
    the time of ``argsort``.
    """
    pairs = values.view(np.int32).astype(np.int64)
    pairs <<= 32
    pairs |= weights.view(np.int32)
    pairs.sort(axis=0)
    lower = pairs.astype(np.int32)
    pairs >>= 32
    return pairs.astype(np.int32).view(np.float32), lower.view(np.float32)


def _turned(before: Plane, after: Plane) -> float:
    """The share of a subject that came or went, in [0, 1]; a subject counts as a hundredth of the picture or more."""
    subjects = [float(np.count_nonzero(alpha > 0.5)) for alpha in (before, after)]
    return float(np.count_nonzero(np.abs(after - before) > 0.5)) / max(*subjects, before.size / 100)
