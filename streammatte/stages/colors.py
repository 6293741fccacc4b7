"""Decide where a small network is unsure, by the picture's colours.

The network is right about most of a subject and vague about the rest: a dark jacket, an ear, a pole behind. Where it
is sure, it shows the colours of subject and background. The ratio of the two colour histograms is added to the
network's evidence; then a graph cut lets the picture's edges decide (GrabCut: Rother, Kolmogorov and Blake 2004).
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

BINS = 16  # of a histogram, for each of L, a and b
ROUNDS = 2  # of counting colours with the matte of the round before
TRUST = 1.0  # weight of the colours' evidence against the network's
MOST = 3.0  # evidence of a colour, in log odds, at most
SURE = 0.02  # from 0 or 1: such pixels keep their side of the cut
LEAST = 40  # sure pixels needed on either side
SPECK = 0.1  # of the largest piece's area: smaller pieces go, unless the network is certain of them
HOLE = 0.15  # of the subject's area: smaller holes in it are filled, unless the network is certain of them
CERTAIN = 0.05  # from 0 or 1, in the mean over a hole or a piece
AGREEMENT = 0.2  # overlap of cut and matte, below which the cut has failed


class ClipColors(FrameByFrame):
    """The stage. It works at the matte's size."""

    def better(self, cutout: Cutout) -> Cutout:
        height, width = cutout.alpha.shape
        seen = cutout.frame.seen((height, width)).clamp(0, 1).mul(255).round_().byte()
        rgb = np.ascontiguousarray(seen.permute(1, 2, 0).cpu().numpy())
        alpha = settled(rgb, cutout.alpha.float().cpu().numpy())
        return cutout if alpha is None else replace(cutout, alpha=torch.from_numpy(alpha).to(cutout.alpha))


def settled(rgb: NDArray[np.uint8], matte: Matte) -> Matte | None:
    """A picture's matte, decided by its colours.

    Args:
        rgb: (H, W, 3).
        matte: (H, W) in [0, 1].

    Returns:
        (H, W) in [0, 1]; without the cut if it failed. ``None`` if there is hardly any certain subject or background.
    """
    evidence = _with_colors(rgb, matte)
    cut = _cut(rgb, evidence)
    if cut is None:
        return None
    return evidence if _apart(cut, evidence) else _guided(rgb, _tidy(cut, matte))


def _with_colors(rgb: NDArray[np.uint8], matte: Matte) -> Matte:
    """The matte with the colours' evidence."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.int64) * BINS // 256
    cell = (lab[..., 0] * BINS + lab[..., 1]) * BINS + lab[..., 2]
    odds, joint = _odds(matte), matte
    for _ in range(ROUNDS):
        shares = []
        for weight in (2 * joint - 1, 1 - 2 * joint):
            # Squared: a pixel at 0.9 says far more than one at 0.6.
            count = _blurred(np.bincount(cell.ravel(), np.square(weight.clip(0, 1)).ravel(), BINS**3))
            shares.append(count[cell] / (count.sum() + 1e-6) + 1e-4)
        ratio = np.log(shares[0] / shares[1]).clip(-MOST, MOST).astype(np.float32)
        total = odds + TRUST * cv2.GaussianBlur(ratio, (0, 0), 1.5)
        joint = np.asarray(1 / (1 + np.exp(-total)), np.float32)
    return joint


def _cut(rgb: NDArray[np.uint8], matte: Matte) -> Matte | None:
    """(H, W) of 0 and 1: the graph cut; ``None`` if one side has hardly any sure pixels."""
    labels = np.where(matte > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[matte > 1 - SURE], labels[matte < SURE] = cv2.GC_FGD, cv2.GC_BGD
    if min((labels == cv2.GC_FGD).sum(), (labels == cv2.GC_BGD).sum()) < LEAST:
        return None
    cv2.setRNGSeed(0)  # the mixtures start from k-means
    mixtures = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(rgb, labels, None, *mixtures, 2, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    return np.asarray(labels & 1, np.float32)


def _odds(matte: Matte) -> Matte:
    """Logarithm of the odds, within ±7."""
    return np.asarray(np.log(matte.clip(1e-3, 1) / (1 - matte).clip(1e-3, 1)), np.float32)


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


def _guided(rgb: NDArray[np.uint8], matte: Matte, radius: int = 2, smoothness: float = 1e-3) -> Matte:
    """Guided filter (He, Sun and Tang 2010, eq. 5 to 8) by luma: a hard edge becomes as soft as the picture's."""

    def mean(x: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(cv2.blur(x, (2 * radius + 1, 2 * radius + 1)), np.float32)

    guide = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.float32) / np.float32(255)
    middle, average = mean(guide), mean(matte)
    slope = (mean(guide * matte) - middle * average) / (mean(guide * guide) - middle * middle + np.float32(smoothness))
    return np.asarray((mean(slope) * guide + mean(average - slope * middle)).clip(0, 1), np.float32)
