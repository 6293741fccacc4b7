"""How far a matte is from the truth, by the measures the field has agreed on, so that figures can be compared.

Of one frame: ``mad``, ``mse``, ``grad`` and ``conn`` (Rhemann et al., A Perceptually Motivated Online Benchmark for
Image Matting, CVPR 2009, section 4), with the constants and the scale that the evaluation code of Deep Image Matting
(Xu et al., CVPR 2017) and of Robust Video Matting (Lin et al., WACV 2022) made customary; and ``iou``, which tells
whether the right thing was taken at all. Zero is best for the four, one for ``iou``.

Every measure takes the matte, the truth and, if wanted, a mask of where to count, such as a trimap's unknown band:
arrays or CPU tensors of one (H, W); alphas in [0, 1], the mask as booleans. Gradients and connected regions are those
of the whole frame; only what is counted of them is masked. ``ValueError`` for anything else, an empty mask included.
"""

from __future__ import annotations

import itertools
import math

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

SIGMA = 1.4  # pixels: of the Gaussian whose derivatives are Grad's
LEVELS = [k / 10 for k in range(11)]  # at which Conn looks for the largest region
THETA = 0.15  # what an alpha may lie above its level of connection without counting as disconnected


def mad(alpha: ArrayLike, truth: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Mean absolute difference × 1000: 0 to 1000. (SAD, the sum / 1000, is this × the pixels counted / 10⁶.)"""
    ours, theirs, counted = _frame(alpha, truth, mask)
    return float(1000 * np.abs(ours - theirs)[counted].mean())


def mse(alpha: ArrayLike, truth: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Mean squared difference × 1000: 0 to 1000."""
    ours, theirs, counted = _frame(alpha, truth, mask)
    return float(1000 * np.square(ours - theirs)[counted].mean())


def grad(alpha: ArrayLike, truth: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Sum of squared differences of the gradients' magnitudes / 1000.

    Both mattes are first stretched to [0, 1], as the customary code does; it tells crisp from soft and from noisy, and
    not whether a matte is too faint as a whole.
    """
    ours, theirs, counted = _frame(alpha, truth, mask)
    difference = _steepness(_stretched(ours)) - _steepness(_stretched(theirs))
    return float(np.square(difference)[counted].sum() / 1000)


def conn(alpha: ArrayLike, truth: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Sum of the differences in how far each pixel is disconnected from the subject / 1000.

    The subject at a level is the largest 4-connected region in which both mattes reach it. A pixel belongs to it up to
    some level; how far an alpha lies above that, if by ``THETA`` or more, is how far it floats on its own.
    """
    ours, theirs, counted = _frame(alpha, truth, mask)
    reached = np.ones_like(theirs)  # the highest level up to which a pixel belongs to the subject
    held = np.ones(theirs.shape, bool)
    for below, level in itertools.pairwise(LEVELS):
        subject = _largest((ours >= level) & (theirs >= level))
        reached[held & ~subject] = below
        held &= subject
    afloat = [np.where(above >= THETA, above, 0) for above in (ours - reached, theirs - reached)]
    return float(np.abs(afloat[0] - afloat[1])[counted].sum() / 1000)


def iou(alpha: ArrayLike, truth: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Intersection over union of both cut at one half: 0 to 1, and 1 where neither has anything."""
    ours, theirs, counted = _frame(alpha, truth, mask)
    mine, yours = (ours > 0.5) & counted, (theirs > 0.5) & counted
    joint = np.count_nonzero(mine | yours)
    return float(np.count_nonzero(mine & yours) / joint) if joint else 1.0


def _frame(
    alpha: ArrayLike, truth: ArrayLike, mask: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Both alphas in double precision and where to count, all (H, W), checked."""
    ours, theirs = np.asarray(alpha, np.float64), np.asarray(truth, np.float64)
    counted = np.ones(theirs.shape, bool) if mask is None else np.asarray(mask)
    if theirs.ndim != 2 or ours.shape != theirs.shape or counted.shape != theirs.shape:
        raise ValueError(f"matte {ours.shape}, truth {theirs.shape} and mask {counted.shape} must be of one (H, W)")
    if counted.dtype != np.bool_:
        raise ValueError(f"the mask holds {counted.dtype}, not booleans: which of a trimap's values should count?")
    if not counted.any():
        raise ValueError("the mask leaves nothing to count")
    for name, values in (("matte", ours), ("truth", theirs)):
        if not (values.min() >= 0 and values.max() <= 1):  # written so that NaN fails too
            raise ValueError(f"the {name} leaves [0, 1]: {values.min():.3g} to {values.max():.3g}")
    return ours, theirs, counted


def _stretched(alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """From its least and greatest value to 0 and 1; a flat one becomes 0."""
    low, high = alpha.min(), alpha.max()
    return (alpha - low) / (high - low) if high > low else np.zeros_like(alpha)


def _steepness(alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """Magnitude of the gradient by first derivatives of a Gaussian, each kernel of unit energy (sum of squares)."""
    # As wide as the Gaussian stays above 0.01, which is the customary code's cut: 9 taps for 1.4.
    half = math.ceil(SIGMA * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * SIGMA * 0.01)))
    x = np.arange(-half, half + 1, dtype=np.float64)
    bell = np.exp(-(x**2) / (2 * SIGMA**2))
    slope = -x * bell  # constant factors go with the norms
    bell, slope = bell / np.linalg.norm(bell), slope / np.linalg.norm(slope)
    across = cv2.sepFilter2D(alpha, cv2.CV_64F, slope, bell, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(alpha, cv2.CV_64F, bell, slope, borderType=cv2.BORDER_REPLICATE)
    return np.hypot(across, down)


def _largest(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest 4-connected part of a region; nothing of an empty one."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=4)
    if count == 1:
        return np.zeros_like(region)
    mine: NDArray[np.bool_] = labels == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])
    return mine
