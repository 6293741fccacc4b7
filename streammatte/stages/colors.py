"""Decide where a small network is unsure, by the picture's colours.

The network is right about most of a subject and vague about the rest: a dark jacket, an ear, a pole behind. Where it
is sure, it shows the colours of subject and background. The ratio of the two colour histograms is added to the
network's evidence; then a graph cut lets the picture's edges decide (GrabCut: Rother, Kolmogorov and Blake 2004).

Both work on a coarse grid, since they say which side a region is on, not where its edge runs. Their verdict is added
to the matte in log odds, so edges stay where the network drew them, and as soft.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streammatte.frame import Cutout
from streammatte.stages.frame_by_frame import FrameByFrame

Matte = NDArray[np.float32]

GRID = 112  # pixels, the longest side at which colours are counted and the cut is made
BINS = 16  # of a histogram, for each of L, a and b
ROUNDS = 2  # of counting colours with the matte of the round before
MOST = 3.0  # evidence of a colour, in log odds, at most
VERDICT = 3.5  # evidence of the cut, in log odds
SURE = 0.02  # from 0 or 1: such pixels keep their side of the cut
LEAST = 20  # sure pixels needed on either side
SPECK = 0.1  # of the largest piece's area: smaller pieces go, unless the network is certain of them
HOLE = 0.15  # of the subject's area: smaller holes in it are filled, unless the network is certain of them
CERTAIN = 0.05  # from 0 or 1, in the mean over a hole or a piece
AGREEMENT = 0.2  # overlap of cut and matte, below which the cut has failed
NEAR = 1e-3  # a matte this near to 0 or 1 says no more than that, and becomes exactly 0 or 1


class ClipColors(FrameByFrame):
    """The stage. It keeps the matte's size."""

    def better(self, cutout: Cutout) -> Cutout:
        alpha = cutout.alpha.float()
        height, width = alpha.shape
        scale = min(1.0, GRID / max(height, width))
        grid = max(1, round(width * scale)), max(1, round(height * scale))
        seen = cutout.frame.seen((height, width)).permute(1, 2, 0).cpu().numpy()
        rgb = np.asarray(cv2.convertScaleAbs(cv2.resize(seen, grid, interpolation=cv2.INTER_AREA), alpha=255), np.uint8)
        matte = cv2.resize(alpha.cpu().numpy(), grid, interpolation=cv2.INTER_AREA)
        evidence = settled(rgb, matte.clip(0, 1))
        if evidence is None:
            return cutout
        added = torch.from_numpy(cv2.resize(evidence, (width, height))).to(alpha.device)
        better = torch.logit(alpha, NEAR).add_(added).sigmoid_()
        better = better.sub_(NEAR).div_(1 - 2 * NEAR).clamp_(0, 1)
        return replace(cutout, alpha=better.to(cutout.alpha.dtype))


def settled(rgb: NDArray[np.uint8], matte: Matte) -> Matte | None:
    """What a picture's colours say of its matte.

    Args:
        rgb: (h, w, 3).
        matte: (h, w) in [0, 1].

    Returns:
        (h, w), to be added to the matte's log odds: the cut and what colours support of it, or the colours alone if
        the cut failed. ``None`` if there is hardly any certain subject or background.
    """
    joint, colors = _with_colors(rgb, matte)
    cut = _cut(rgb, joint)
    if cut is None:
        return None
    if _apart(cut, joint):
        return colors
    side = 2 * _tidy(cut, matte) - 1
    return np.asarray(side * (VERDICT + np.maximum(colors * side, 0)), np.float32)


def _with_colors(rgb: NDArray[np.uint8], matte: Matte) -> tuple[Matte, Matte]:
    """The matte with the colours' evidence, and that evidence in log odds."""
    lab = (cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB) // (256 // BINS)).astype(np.int64)
    cell = ((lab[..., 0] * BINS + lab[..., 1]) * BINS + lab[..., 2]).ravel()
    odds, joint, colors = _odds(matte), matte, np.zeros_like(matte)
    for _ in range(ROUNDS):
        # Squared: a pixel at 0.9 says far more than one at 0.6.
        weight = ((2 * joint - 1) * np.abs(2 * joint - 1)).ravel()
        subject, background = (_blurred(np.bincount(cell, side.clip(0, 1), BINS**3)) for side in (weight, -weight))
        ratio = np.log(_share(subject) / _share(background)).clip(-MOST, MOST).astype(np.float32)
        colors = np.asarray(cv2.GaussianBlur(ratio[cell].reshape(matte.shape), (0, 0), 1.5), np.float32)
        joint = np.asarray(1 / (1 + np.exp(-odds - colors)), np.float32)
    return joint, colors


def _cut(rgb: NDArray[np.uint8], matte: Matte) -> Matte | None:
    """(h, w) of 0 and 1: the graph cut; ``None`` if one side has hardly any sure pixels."""
    labels = np.where(matte > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[matte > 1 - SURE], labels[matte < SURE] = cv2.GC_FGD, cv2.GC_BGD
    few = np.ascontiguousarray(labels[::2, ::2])  # enough for the mixtures to start from
    if min((few == cv2.GC_FGD).sum(), (few == cv2.GC_BGD).sum()) < LEAST:
        return None
    cv2.setRNGSeed(0)  # k-means draws its first centres
    mixtures = np.zeros((1, 65)), np.zeros((1, 65))
    start = np.ascontiguousarray(rgb[::2, ::2])
    cv2.grabCut(start, few, None, *mixtures, 0, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    cv2.grabCut(rgb, labels, None, *mixtures, 1, cv2.GC_EVAL)  # type: ignore[call-overload]
    return np.asarray(labels & 1, np.float32)


def _odds(matte: Matte) -> Matte:
    """Logarithm of the odds, within ±7."""
    return np.asarray(np.log(matte.clip(NEAR, 1) / (1 - matte).clip(NEAR, 1)), np.float32)


def _share(count: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts as shares of their sum, none of them 0."""
    return np.asarray(count / (count.sum() + 1e-6) + 1e-4)


def _apart(cut: Matte, matte: Matte) -> bool:
    """Whether a cut has left the matte that it was made from."""
    ours, theirs = cut > 0.5, matte > 0.5
    return bool((ours & theirs).sum() < AGREEMENT * (ours | theirs).sum())


def _tidy(cut: Matte, matte: Matte) -> Matte:
    """The cut without small holes and stray pieces that only colours support: an eye, a distant lamp."""
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
    """(BINS³,) counts, blurred along each axis, which wraps around."""
    cube = count.reshape(BINS, BINS, BINS).astype(np.float64)
    for axis in range(3):
        cube = (2 * cube + np.roll(cube, 1, axis) + np.roll(cube, -1, axis)) / 4
    return cube.ravel()
