"""Decide where a small network is unsure, by the picture's colours.

The network is right about most of a subject and vague about the rest: a dark jacket, an ear, a pole behind. Where it
is sure, it shows the colours of subject and background. A graph cut learns them, and lets the picture's edges decide
(GrabCut: Rother, Kolmogorov and Blake 2004).

The cut works on a coarse grid, since it says which side a region is on, not where its edge runs. Its verdict is added
to the matte in log odds: edges stay where the network drew them, and as soft, and what it is sure of stays as it is.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streammatte.frame import Cutout
from streammatte.stages.frame_by_frame import FrameByFrame

Matte = NDArray[np.float32]

GRID = 112  # pixels, the longest side at which the cut is made
VERDICT = 3.8  # evidence of the cut, in log odds, where the network is undecided
DECIDED = 5.0  # log odds of the network from which the cut counts for nothing; so it overrules 0.12 to 0.88
SURE = 0.02  # from 0 or 1: such pixels keep their side of the cut
LEAST = 20  # sure pixels needed on either side
SPECK = 0.1  # of the largest piece's area: smaller pieces go, unless the network is certain of them
HOLE = 0.15  # of the subject's area: smaller holes in it are filled, unless the network is certain of them
CERTAIN = 0.05  # from 0 or 1, in the mean over a hole or a piece
AGREEMENT = 0.2  # overlap of cut and matte, below which the cut has failed
FAINT = 0.02  # a matte this near to 0 or 1 becomes exactly 0 or 1: haze shows in a composite, and costs time
LEAST_ODDS = 1e-3  # from 0 or 1, where log odds end


class ClipColors(FrameByFrame):
    """The stage. It keeps the matte's size."""

    ordered = False

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
        odds = torch.logit(alpha, LEAST_ODDS)
        better = odds.addcmul_(added, (1 - odds.abs() / DECIDED).clamp_(min=0)).sigmoid_()
        better = better.sub_(FAINT).div_(1 - 2 * FAINT).clamp_(0, 1)
        return replace(cutout, alpha=better.to(cutout.alpha.dtype))


def settled(rgb: NDArray[np.uint8], matte: Matte) -> Matte | None:
    """What a picture's colours say of its matte.

    Args:
        rgb: (h, w, 3).
        matte: (h, w) in [0, 1].

    Returns:
        (h, w), to be added to the matte's log odds. ``None`` if there is hardly any certain subject or background, or
        the cut has failed.
    """
    cut = _cut(rgb, matte)
    if cut is None or _apart(cut, matte):
        return None
    return VERDICT * (2 * _tidy(cut, matte) - 1)


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
