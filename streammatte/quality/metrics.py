"""Matting metrics against ground truth, with the field's definitions and factors.

Per frame: ``mad``, ``mse``, ``grad`` and ``conn`` (Rhemann et al., A Perceptually Motivated Online Benchmark for Image
Matting, CVPR 2009, section 4), with the constants and scales of the evaluation code of Deep Image Matting (Xu et al.,
CVPR 2017) and Robust Video Matting (Lin et al., WACV 2022); ``foreground_mse`` for colours; and ``iou``, which shows
whether the right subject was found. Over time: ``dtssd`` and ``messddt`` (Erofeev et al., Perceptually Motivated
Benchmark for Video Matting, BMVC 2015), which are 0 for a steady error. 0 is best, except for ``iou``, where 1 is.

Per-frame metrics take a matte, the ground truth and optionally a boolean mask of the pixels to count, such as a
trimap's unknown band: arrays or CPU tensors of one shape (H, W), alphas in [0, 1]. Gradients and connected regions are
computed on the whole frame and masked afterwards. Metrics over time take two iterables of frames, or the frames one by
one (``DtSSD``, ``MESSDdt``). All raise ``ValueError`` for anything else, including an empty mask.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

SIGMA = 1.4  # pixels, of the Gaussian whose derivatives Grad uses
LEVELS = [k / 10 for k in range(11)]  # thresholds of Conn
THETA = 0.15  # how far alpha may exceed its level of connection and still count as connected
SMALLEST = 16  # pixels a side: DIS needs a few at its coarsest scale


def mad(alpha: ArrayLike, truth: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Mean absolute difference × 1000: 0 to 1000. SAD, the sum ÷ 1000, is this × counted pixels ÷ 10⁶."""
    ours, theirs, counted = _frame(alpha, truth, mask)
    return float(1000 * np.abs(ours - theirs)[counted].mean())


def mse(alpha: ArrayLike, truth: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Mean squared difference × 1000: 0 to 1000."""
    ours, theirs, counted = _frame(alpha, truth, mask)
    return float(1000 * np.square(ours - theirs)[counted].mean())


def grad(alpha: ArrayLike, truth: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Sum of squared differences of the gradient magnitudes ÷ 1000.

    Both mattes are first stretched to [0, 1], as the reference code does, so a matte that is too faint as a whole is
    not penalised; one too soft or too noisy is.
    """
    ours, theirs, counted = _frame(alpha, truth, mask)
    difference = _steepness(_stretched(ours)) - _steepness(_stretched(theirs))
    return float(np.square(difference)[counted].sum() / 1000)


def conn(alpha: ArrayLike, truth: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Sum of differences in how disconnected each pixel is from the subject ÷ 1000.

    The subject at a level is the largest 4-connected region where both mattes reach that level. A pixel is
    disconnected by how far its alpha exceeds the highest level it belongs to, if that is ``THETA`` or more.
    """
    ours, theirs, counted = _frame(alpha, truth, mask)
    reached = np.ones_like(theirs)  # the highest level at which a pixel belongs to the subject
    held = np.ones(theirs.shape, bool)
    for below, level in itertools.pairwise(LEVELS):
        subject = _largest((ours >= level) & (theirs >= level))
        reached[held & ~subject] = below
        held &= subject
    afloat = [np.where(above >= THETA, above, 0) for above in (ours - reached, theirs - reached)]
    return float(np.abs(afloat[0] - afloat[1])[counted].sum() / 1000)


def iou(alpha: ArrayLike, truth: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Intersection over union of both mattes thresholded at 0.5: 0 to 1, and 1 if both are empty."""
    ours, theirs, counted = _frame(alpha, truth, mask)
    mine, yours = (ours > 0.5) & counted, (theirs > 0.5) & counted
    joint = np.count_nonzero(mine | yours)
    return float(np.count_nonzero(mine & yours) / joint) if joint else 1.0


def foreground_mse(foreground: ArrayLike, true_foreground: ArrayLike, truth: ArrayLike) -> float:
    """Mean squared difference of the colours × 1000 where the true alpha is above 0: 0 to 1000.

    Every such pixel has the same weight, as in the evaluation code of Robust Video Matting.

    Args:
        foreground, true_foreground: (3, H, W) straight colours in [0, 1].
        truth: (H, W), not 0 everywhere.
    """
    shown = np.asarray(truth) > 0
    pairs = zip(np.asarray(foreground), np.asarray(true_foreground), strict=True)
    figures = [mse(ours, theirs, shown) for ours, theirs in pairs]
    if len(figures) != 3:
        raise ValueError(f"expected 3 colour channels, got {len(figures)}")
    return sum(figures) / 3


def dtssd(alphas: Iterable[ArrayLike], truths: Iterable[ArrayLike], *, count_first: bool = False) -> float:
    """RMS difference × 100 between the two mattes' changes from frame to frame: 0 to 200.

    The mean over consecutive pairs of frames. With ``count_first``, the first frame counts as 0 in the mean, as in the
    evaluation code of Robust Video Matting.
    """
    return _over_time(DtSSD(), alphas, truths, count_first=count_first)


def messddt(alphas: Iterable[ArrayLike], truths: Iterable[ArrayLike]) -> float:
    """Mean change × 1000 of a pixel's squared error from frame to frame along its motion: 0 to 1000.

    The mean over consecutive pairs of frames. Unlike in ``dtssd``, an error that travels with the subject counts as
    steady. No scale is customary; this is the scale of ``mse``, and unlike the paper's sum it does not grow with the
    frame.

    The motion is that of the true matte, by dense inverse search (Kroeger et al., ECCV 2016; OpenCV's "medium"). All
    mattes of a clip are therefore followed along the same paths, no footage is needed, and motion is most accurate at
    the edges, where errors are (0.02 pixels off on a disc that moves by 4). Elsewhere it follows the nearest edge, so
    a still speck beside a moving subject counts as unsteady. Paths that leave the frame stop at its border.
    """
    return _over_time(MESSDdt(), alphas, truths)


class DtSSD:
    """:func:`dtssd`, a frame at a time: called with a matte and its ground truth, it returns this frame's figure
    against the frame before, and ``None`` for the first."""

    def __init__(self) -> None:
        self._before: NDArray[np.float64] | None = None

    def __call__(self, alpha: ArrayLike, truth: ArrayLike) -> float | None:
        ours, theirs, _ = _frame(alpha, truth, None)
        before, self._before = self._before, ours - theirs
        if before is None:
            return None
        _check_same_size(before, self._before)
        return 100 * math.sqrt(np.square(self._before - before).mean())


class MESSDdt:
    """:func:`messddt`, a frame at a time: called with a matte and its ground truth, it returns this frame's figure
    against the frame before, and ``None`` for the first."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._before: tuple[NDArray[np.float64], NDArray[np.uint8]] | None = None

    def __call__(self, alpha: ArrayLike, truth: ArrayLike) -> float | None:
        ours, theirs, _ = _frame(alpha, truth, None)
        error, picture = ours - theirs, np.rint(theirs * 255).astype(np.uint8)
        before, self._before = self._before, (error, picture)
        if before is None:
            return None
        _check_same_size(before[0], error)
        followed = _followed(error, self._motion(before[1], picture))
        return float(1000 * np.abs(np.square(before[0]) - np.square(followed)).mean())

    def _motion(self, one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 2), displacement of each pixel from one to the other, x first."""
        height, width = one.shape
        below, beside = max(0, SMALLEST - height), max(0, SMALLEST - width)
        one, other = (
            np.asarray(cv2.copyMakeBorder(picture, 0, below, 0, beside, cv2.BORDER_REPLICATE), np.uint8)
            for picture in (one, other)
        )
        flow = self._flow.calc(one, other, None)  # type: ignore[call-overload]  # the stub wants an initial flow
        return np.asarray(flow[:height, :width], np.float32)


def _frame(
    alpha: ArrayLike, truth: ArrayLike, mask: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Both alphas in double precision and the mask, all (H, W), checked."""
    ours, theirs = np.asarray(alpha, np.float64), np.asarray(truth, np.float64)
    counted = np.ones(theirs.shape, bool) if mask is None else np.asarray(mask)
    if theirs.ndim != 2 or ours.shape != theirs.shape or counted.shape != theirs.shape:
        raise ValueError(
            f"matte {ours.shape}, ground truth {theirs.shape} and mask {counted.shape} must have one shape (H, W)"
        )
    if counted.dtype != np.bool_:
        raise ValueError(f"the mask must be boolean, not {counted.dtype}; of a trimap, choose the values to count")
    if not counted.any():
        raise ValueError("the mask is empty")
    for name, values in (("matte", ours), ("ground truth", theirs)):
        if not (values.min() >= 0 and values.max() <= 1):  # written so that NaN fails too
            raise ValueError(f"the {name} must lie in [0, 1], got {values.min():.3g} to {values.max():.3g}")
    return ours, theirs, counted


def _over_time(
    measure: Callable[[ArrayLike, ArrayLike], float | None],
    alphas: Iterable[ArrayLike],
    truths: Iterable[ArrayLike],
    *,
    count_first: bool = False,
) -> float:
    """The mean of a metric over pairs of frames, and over a 0 for the first frame if that counts."""
    total, pairs = 0.0, -1
    for alpha, truth in zip(alphas, truths, strict=True):
        total += measure(alpha, truth) or 0.0
        pairs += 1
    if pairs < 1:
        raise ValueError("metrics over time need at least two frames")
    return total / (pairs + count_first)


def _check_same_size(before: NDArray[np.float64], now: NDArray[np.float64]) -> None:
    if before.shape != now.shape:
        raise ValueError(f"all frames must have one size, got {before.shape} and {now.shape}")


def _followed(values: NDArray[np.float64], flow: NDArray[np.float32]) -> NDArray[np.float64]:
    """``values`` where each pixel moves to, interpolated linearly."""
    height, width = values.shape
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return np.asarray(cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _stretched(alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stretched to [0, 1]; a constant becomes 0."""
    low, high = alpha.min(), alpha.max()
    return (alpha - low) / (high - low) if high > low else np.zeros_like(alpha)


def _steepness(alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gradient magnitude by first derivatives of a Gaussian, each kernel normalised to unit sum of squares."""
    # As wide as the Gaussian exceeds 0.01, the reference code's cutoff: 9 taps for 1.4.
    half = math.ceil(SIGMA * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * SIGMA * 0.01)))
    x = np.arange(-half, half + 1, dtype=np.float64)
    bell = np.exp(-(x**2) / (2 * SIGMA**2))
    slope = -x * bell  # the norms absorb constant factors
    bell, slope = bell / np.linalg.norm(bell), slope / np.linalg.norm(slope)
    across = cv2.sepFilter2D(alpha, cv2.CV_64F, slope, bell, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(alpha, cv2.CV_64F, bell, slope, borderType=cv2.BORDER_REPLICATE)
    return np.hypot(across, down)


def _largest(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest 4-connected part of a region; empty if the region is."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=4)
    if count == 1:
        return np.zeros_like(region)
    mine: NDArray[np.bool_] = labels == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])
    return mine
