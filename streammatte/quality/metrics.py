"""How far a matte is from the truth, by the measures the field has agreed on, so that figures can be compared.

Of one frame: ``mad``, ``mse``, ``grad`` and ``conn`` (Rhemann et al., A Perceptually Motivated Online Benchmark for
Image Matting, CVPR 2009, section 4), with the constants and the scale that the evaluation code of Deep Image Matting
(Xu et al., CVPR 2017) and of Robust Video Matting (Lin et al., WACV 2022) made customary; ``foreground_mse``, of the
colours; and ``iou``, which tells whether the right thing was taken at all. Over time: ``dtssd`` and ``messddt``
(Erofeev et al., Perceptually Motivated Benchmark for Video Matting, BMVC 2015), which a steady error leaves at zero and
flicker does not. Zero is best for all but ``iou``, whose best is one.

Those of one frame take the matte, the truth and, if wanted, a mask of where to count, such as a trimap's unknown band:
arrays or CPU tensors of one (H, W); alphas in [0, 1], the mask as booleans. Gradients and connected regions are those
of the whole frame; only what is counted of them is masked. Those over time take two iterables of such frames, or the
frames one by one (``DtSSD``, ``MESSDdt``), and remember one. ``ValueError`` for anything else, an empty mask included.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

SIGMA = 1.4  # pixels: of the Gaussian whose derivatives are Grad's
LEVELS = [k / 10 for k in range(11)]  # at which Conn looks for the largest region
THETA = 0.15  # what an alpha may lie above its level of connection without counting as disconnected
SMALLEST = 16  # pixels: DIS needs a few at its coarsest scale


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


def foreground_mse(foreground: ArrayLike, true_foreground: ArrayLike, truth: ArrayLike) -> float:
    """Mean squared difference of the colours × 1000, over the pixels where the true alpha is above 0: 0 to 1000.

    Each such pixel counts alike, however faint it is, as in the evaluation code of Robust Video Matting.

    Args:
        foreground, true_foreground: (3, H, W) straight colours in [0, 1].
        truth: (H, W), not 0 everywhere.
    """
    shown = np.asarray(truth) > 0
    pairs = zip(np.asarray(foreground), np.asarray(true_foreground), strict=True)
    figures = [mse(ours, theirs, shown) for ours, theirs in pairs]
    if len(figures) != 3:
        raise ValueError(f"colours have 3 channels, and there are {len(figures)}")
    return sum(figures) / 3


def dtssd(alphas: Iterable[ArrayLike], truths: Iterable[ArrayLike], *, count_first: bool = False) -> float:
    """Root mean square, × 100, of the difference between the two mattes' changes from a frame to the next: 0 to 200.

    The mean over the clip's pairs of frames. Robust Video Matting's code gives the first frame, which nothing comes
    before, a 0 that counts in the mean: so does this with ``count_first``.
    """
    return _over_time(DtSSD(), alphas, truths, count_first=count_first)


def messddt(alphas: Iterable[ArrayLike], truths: Iterable[ArrayLike]) -> float:
    """Mean, × 1000, of how much a pixel's squared error changes from a frame to the next along its motion: 0 to 1000.

    The mean over the clip's pairs of frames. An error that travels with the subject counts as steady, which ``dtssd``
    takes for flicker. There is no customary scale; this one is that of ``mse``, whose change it is. Unlike the paper's
    sum it does not grow with the picture.

    The motion is that of the true matte, by dense inverse search (Kroeger et al., ECCV 2016; OpenCV's "medium"): all
    mattes of a clip are then followed along the same paths, whatever they look like, no footage is needed, and it is
    best at the matte's edges, where errors lie (0.02 pixels off on a disc that moves by 4). Away from them it goes on
    as the nearest edge does, so that a still crumb beside a moving subject counts as unsteady. A path that leaves the
    picture is held at its border.
    """
    return _over_time(MESSDdt(), alphas, truths)


class DtSSD:
    """:func:`dtssd`, a frame at a time. Called with a matte and its truth, it gives the figure of this frame against
    the one before it, and ``None`` for the first."""

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
    """:func:`messddt`, a frame at a time. Called with a matte and its truth, it gives the figure of this frame against
    the one before it, and ``None`` for the first."""

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
        """(H, W, 2): where each pixel of one goes to in the other, in pixels to the right and down."""
        height, width = one.shape
        below, beside = max(0, SMALLEST - height), max(0, SMALLEST - width)
        one, other = (
            np.asarray(cv2.copyMakeBorder(picture, 0, below, 0, beside, cv2.BORDER_REPLICATE), np.uint8)
            for picture in (one, other)
        )
        flow = self._flow.calc(one, other, None)  # type: ignore[call-overload]  # no flow to begin with is fine
        return np.asarray(flow[:height, :width], np.float32)


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


def _over_time(
    measure: Callable[[ArrayLike, ArrayLike], float | None],
    alphas: Iterable[ArrayLike],
    truths: Iterable[ArrayLike],
    *,
    count_first: bool = False,
) -> float:
    """The mean of what a measure of pairs gives; of it and a 0 for the first frame, if that counts."""
    total, pairs = 0.0, -1
    for alpha, truth in zip(alphas, truths, strict=True):
        total += measure(alpha, truth) or 0.0
        pairs += 1
    if pairs < 1:
        raise ValueError("a change over time takes two frames")
    return total / (pairs + count_first)


def _check_same_size(before: NDArray[np.float64], now: NDArray[np.float64]) -> None:
    if before.shape != now.shape:
        raise ValueError(f"a frame of {now.shape} follows one of {before.shape}")


def _followed(values: NDArray[np.float64], flow: NDArray[np.float32]) -> NDArray[np.float64]:
    """``values`` at the place to which each pixel goes, interpolated linearly."""
    height, width = values.shape
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return np.asarray(cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


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
