"""Settle what a small network is unsure of by the colours of this very clip.

The network is right about most of a subject and vague about the rest: a dark jacket, an ear, a pole behind. What it
is sure of says which colours this clip's subject has, and which lie behind it. So the ratio of the two colour
histograms is added to the network's own evidence, and what the frame before came to, where the picture has not changed;
then a graph cut lets the picture's edges decide (GrabCut: Rother, Kolmogorov and Blake 2004).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from streammatte.frame import Cutout
from streammatte.stages.tiles import shrunk

Matte = NDArray[np.float32]

BINS = 16  # of a histogram, for each of L, a and b
ROUNDS = 2  # of counting colours with the matte that the counts before gave
TRUST = 1.0  # weight of the colours' evidence against the network's
MOST = 3.0  # no colour says more than this, in log odds: a histogram is only a histogram
MEMORY = 0.8  # of the counts is kept from frame to frame
INERTIA = 2.0  # what the frame before says, in log odds, where the picture stands still
MOVED = 30.0  # of 255: a change of colour that leaves a third of that
SAME_SHOT = 0.75  # overlap of two frames' colours: 0.9 and more within a shot, up to 0.65 across a cut
SURE = 0.02  # from 0 or 1: such pixels keep their side of the cut
LEAST = 40  # sure pixels on either side, below which there is nothing to learn from
RENEWED = 25  # frames after which the mixtures start anew: a component without a pixel left never gets one again
SPECK = 0.1  # of the largest piece's area: smaller pieces are dropped, unless the network is certain of them
HOLE = 0.15  # of the subject's area: smaller holes in it are filled, unless the network is certain of them
CERTAIN = 0.05  # from 0 or 1, in the mean over a hole or a piece
AGREEMENT = 0.2  # overlap of cut and matte below which the cut is taken to have run away


class ClipColors:
    """The stage. Causal: a cut-out leaves as soon as it has come. At a cut it forgets, as colours change sides there.

    Args:
        size: (H, W) in pixels at which it works, which is the network's input size: beyond that the matte holds
            nothing new.
    """

    def __init__(self, size: tuple[int, int] = (192, 192)) -> None:
        self.size = size
        self._counts: list[NDArray[np.float64]] | None = None
        self._mixtures: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None  # GrabCut's, of either side
        self._age = 0  # of these, in frames
        self._seen: NDArray[np.float64] | None = None  # shares of the last frame's colours
        self._last: tuple[NDArray[np.float32], Matte] | None = None  # the last frame, and what was made of its matte

    def push(self, cutout: Cutout) -> Iterator[Cutout]:
        """The cut-out, its alpha settled; the very cut-out if there is too little to learn from."""
        rgb = shrunk(cutout.frame.as_float(), self.size)[0].permute(1, 2, 0).cpu().numpy()
        matte = shrunk(cutout.alpha[None].float(), self.size)[0, 0].cpu().numpy()
        settled = self.settle(np.rint(rgb.clip(0, 1) * 255).astype(np.uint8), matte)
        if settled is None:
            yield cutout
            return
        alpha = torch.from_numpy(settled).to(cutout.alpha)[None, None]
        whole = F.interpolate(alpha, cutout.alpha.shape, mode="bilinear", align_corners=False, antialias=True)[0, 0]
        yield replace(cutout, alpha=whole.clamp(0, 1))

    def flush(self) -> Iterator[Cutout]:
        """Nothing: no cut-out is held back."""
        return iter(())

    def state(self) -> dict[str, NDArray[Any]]:
        """All that is remembered before the next cut-out, as copies."""
        known: dict[str, NDArray[Any]] = {"age": np.array(self._age)}
        for name, arrays in (("counts", self._counts), ("mixtures", self._mixtures), ("last", self._last)):
            known |= {f"{name}.{place}": np.array(array) for place, array in enumerate(arrays or ())}
        if self._seen is not None:
            known["seen"] = np.array(self._seen)
        return known

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Remember what another one did."""

        def pair(name: str) -> tuple[Any, Any] | None:
            return (np.array(state[f"{name}.0"]), np.array(state[f"{name}.1"])) if f"{name}.0" in state else None

        counts = pair("counts")
        self._counts = None if counts is None else list(counts)
        self._mixtures, self._last = pair("mixtures"), pair("last")
        self._seen, self._age = state.get("seen"), int(state["age"])

    def settle(self, rgb: NDArray[np.uint8], matte: Matte) -> Matte | None:
        """The matte of one picture, settled.

        Args:
            rgb: (H, W, 3).
            matte: (H, W) in [0, 1].

        Returns:
            (H, W) in [0, 1]; without the cut if it has run away, or if hardly anything is sure to be subject, or to be
            background. ``None`` if that is so from the first frame on: nothing is known yet.
        """
        evidence = self._with_last(rgb, self._with_colors(rgb, matte))
        cut = self._cut(rgb, evidence)
        if cut is None and self._last is None:
            return None
        settled = evidence if cut is None or _apart(cut, evidence) else _guided(rgb, _tidy(cut, matte))
        self._last = rgb.astype(np.float32), settled
        return settled

    def _with_last(self, rgb: NDArray[np.uint8], matte: Matte) -> Matte:
        """The matte, drawn toward the one of the frame before where the picture is what it was there."""
        if self._last is None:
            return matte
        change = cv2.blur(np.abs(rgb.astype(np.float32) - self._last[0]).max(axis=2), (3, 3))
        pull = INERTIA * np.exp(-np.square(change / MOVED)) * (2 * self._last[1] - 1)
        return np.asarray(1 / (1 + np.exp(-_odds(matte) - pull)), np.float32)

    def _with_colors(self, rgb: NDArray[np.uint8], matte: Matte) -> Matte:
        """The matte and the colours' evidence together."""
        lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.int64) * BINS // 256
        cell = (lab[..., 0] * BINS + lab[..., 1]) * BINS + lab[..., 2]
        self._forget_at_a_cut(_blurred(np.bincount(cell.ravel(), minlength=BINS**3)) / cell.size)
        odds = _odds(matte)
        kept, joint = self._counts, matte
        for _ in range(ROUNDS):
            counts: list[NDArray[np.float64]] = []
            for side, weight in enumerate((2 * joint - 1, 1 - 2 * joint)):
                # Squared: a pixel that is 0.9 sure tells far more than one that is 0.6 sure.
                weights = np.square(weight.clip(0, 1)).ravel()
                count = _blurred(np.bincount(cell.ravel(), weights, BINS**3))
                counts.append(count if kept is None else MEMORY * kept[side] + (1 - MEMORY) * count)
            subject, behind = (count[cell] / (count.sum() + 1e-6) + 1e-4 for count in counts)
            ratio = np.log(subject / behind).clip(-MOST, MOST).astype(np.float32)
            total = odds + TRUST * cv2.GaussianBlur(ratio, (0, 0), 1.5)
            joint = np.asarray(1 / (1 + np.exp(-total)), np.float32)
        if (joint > 1 - SURE).sum() >= LEAST:  # else a subject that is overlooked would be counted as background
            self._counts = counts
        return joint

    def _forget_at_a_cut(self, seen: NDArray[np.float64]) -> None:
        """``seen``: (BINS³,), the share of this frame that each colour has."""
        if self._seen is not None and np.minimum(seen, self._seen).sum() < SAME_SHOT:
            self._counts = self._mixtures = self._last = None
        self._seen = seen

    def _cut(self, rgb: NDArray[np.uint8], matte: Matte) -> Matte | None:
        """(H, W) of 0 and 1: the graph cut between what is sure on either side; ``None`` if one side has hardly any."""
        labels = np.where(matte > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        labels[matte > 1 - SURE], labels[matte < SURE] = cv2.GC_FGD, cv2.GC_BGD
        if min((labels == cv2.GC_FGD).sum(), (labels == cv2.GC_BGD).sum()) < LEAST:
            return None
        self._age += 1
        if self._mixtures is None or self._age > RENEWED:
            self._mixtures, self._age = (np.zeros((1, 65)), np.zeros((1, 65))), 1
            cv2.setRNGSeed(0)  # the mixtures start from k-means, and the same clip must give the same mattes
            rounds, mode = 2, cv2.GC_INIT_WITH_MASK
        else:  # those of the frame before hold nearly as they are, at half the cost
            rounds, mode = 1, cv2.GC_EVAL
        cv2.grabCut(rgb, labels, None, *self._mixtures, rounds, mode)  # type: ignore[call-overload]
        return np.asarray(labels & 1, np.float32)


def _odds(matte: Matte) -> Matte:
    """Logarithm of the odds, within ±7."""
    return np.asarray(np.log(matte.clip(1e-3, 1) / (1 - matte).clip(1e-3, 1)), np.float32)


def _apart(cut: Matte, matte: Matte) -> bool:
    """Whether a cut has run away from the matte that it was made of."""
    ours, theirs = cut > 0.5, matte > 0.5
    return bool((ours & theirs).sum() < AGREEMENT * (ours | theirs).sum())


def _tidy(cut: Matte, matte: Matte) -> Matte:
    """The cut without small holes and stray pieces that only colours speak for: an eye, a lamp far off."""
    subject = cut.astype(np.uint8)
    height, width = subject.shape
    area = int(subject.sum())
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(1 - subject, connectivity=4)
    for label, (x, y, w, h, size) in enumerate(boxes):
        enclosed = x > 0 and y > 0 and x + w < width and y + h < height
        if enclosed and size < HOLE * area and matte[labels == label].mean() > CERTAIN:
            subject[labels == label] = 1
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(subject, connectivity=8)
    largest = boxes[1:, cv2.CC_STAT_AREA].max(initial=0)
    for label in range(1, len(boxes)):
        if boxes[label, cv2.CC_STAT_AREA] < SPECK * largest and matte[labels == label].mean() < 1 - CERTAIN:
            subject[labels == label] = 0
    return np.asarray(subject, np.float32)


def _blurred(count: NDArray[Any]) -> NDArray[np.float64]:
    """(BINS³,) counts, each shared with the cells beside it; the far ends of an axis count as neighbours."""
    cube = count.reshape(BINS, BINS, BINS).astype(np.float64)
    for axis in range(3):
        cube = (2 * cube + np.roll(cube, 1, axis) + np.roll(cube, -1, axis)) / 4
    return cube.ravel()


def _guided(rgb: NDArray[np.uint8], matte: Matte, radius: int = 2, smoothness: float = 1e-3) -> Matte:
    """Guided filter (He, Sun and Tang 2010, eq. 5 to 8) by luma: a hard edge becomes as soft as the picture's."""

    def mean(x: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(cv2.blur(x, (2 * radius + 1, 2 * radius + 1)), np.float32)

    guide = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.float32) / np.float32(255)
    middle, average = mean(guide), mean(matte)
    slope = (mean(guide * matte) - middle * average) / (mean(guide * guide) - middle * middle + np.float32(smoothness))
    return np.asarray((mean(slope) * guide + mean(average - slope * middle)).clip(0, 1), np.float32)
