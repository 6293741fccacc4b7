"""Steadiness of a matte and cleanness of its edge, scored without ground truth. 0 is best.

Even a true matte does not score 0, because optical flow is only accurate to a fraction of a pixel and a subject's
texture can look like leftover background. Use the scores to compare mattes of one clip, and for generous limits.
"""

from __future__ import annotations

import cv2
import numpy as np

from streammatte.motion import Motion, Plane, View, same_shot

SIZE = 320
"""Longer side, in pixels, at which flicker is measured."""

UNSURE = 0.25  # pixels of an edge's movement that are put down to error of the flow
SHORTEST = 0.05  # of the longer side: least length of an edge, so that specks do not count as a subject

SOLID = 0.02  # alpha this close to 0 or 1 does not belong to the edge
NEAR = 25  # pixels, side of the window in which the colours beside the edge are averaged
LEAST = 0.02  # of the window: pixels needed to know the colour of a side
APART = 0.15  # of √3: least difference between the colours of subject and background


class Flicker:
    """How far the matte's edge jumps between two frames where nothing moves in the picture.

    The unit is a thousandth of the longer side, averaged along the edge: 1 is two pixels at 1080p. A hole or a lost
    frame counts by its area divided by the edge's length. Σ trust · max(0, |Δα| − ¼ |∇α|) / Σ trust · |∇α|, where Δα
    is the change along the motion, and Σ |∇α|, the mean of both frames, is the edge's length. Trust is 0 where the
    frame before does not explain this one, as in uncovered areas.

    Call it with frames in order, at most ``SIZE`` pixels long. It returns the score of each against the one before,
    and ``None`` for the first frame of a shot.

    Attributes:
        cut: Whether the last frame begins a shot.
        change: (H, W) in [-1, 1], what counted as flicker in the last frame; ``None`` where there was no score.
        total: (H, W), the sum of |change| over all frames.
    """

    def __init__(self) -> None:
        self.cut = False
        self.change: Plane | None = None
        self.total: Plane | None = None
        self._motion = Motion()
        self._last: View | None = None

    def __call__(self, here: View) -> float | None:
        last, self._last = self._last, here
        self.change = None
        self.cut = last is not None and last.alpha.shape != here.alpha.shape
        if last is None or self.cut:
            return None
        _, backward = self._motion.between(last, here)
        trust = self._motion.trust(here, last, backward)
        self.cut = not same_shot(here, last, trust)
        if self.cut:
            return None
        moved = np.asarray(self._motion.moved(last.alpha, backward), np.float32)
        steep = _steepness(here.alpha), _steepness(moved)
        change, slack = here.alpha - moved, np.float32(UNSURE) * np.maximum(*steep)
        self.change = trust * np.sign(change) * np.maximum(np.abs(change) - slack, 0)
        strength = np.abs(self.change)
        self.total = strength if self.total is None else self.total + strength
        longer = max(here.alpha.shape)
        edge = max(float((trust * sum(steep)).sum()) / 2, SHORTEST * longer)
        return float(1000 * strength.sum() / edge / longer)


def contamination(rgb: Plane, foreground: Plane, alpha: Plane) -> tuple[float | None, Plane]:
    """How much of the old background is left in the colours of the soft edge.

    With S and B the mean colours of subject and background around a pixel, its colour F lies at
    p = (F − S)·(B − S) / |B − S|² on the line from S to B; an untouched frame's lies at 1 − α. The score is
    Σ α p / Σ α (1 − α): 0 is the subject's colours, 1 the frame's own; above 1, alpha is too high.

    Args:
        rgb: (H, W, 3) in [0, 1], the frame.
        foreground: (H, W, 3) in [0, 1], straight, as written.
        alpha: (H, W) in [0, 1].

    Returns:
        The score, ``None`` without a soft edge between different colours; and (H, W), α p of the pixels counted.
    """
    subject, known = _around(foreground, alpha >= 1 - SOLID)
    background, bared = _around(rgb, alpha <= SOLID)
    way = background - subject
    length = np.einsum("hwc,hwc->hw", way, way)
    edge = (alpha > SOLID) & (alpha < 1 - SOLID) & (known > LEAST) & (bared > LEAST) & (length > 3 * APART**2)
    where = np.zeros_like(alpha)
    if not edge.any():
        return None, where
    share = np.einsum("pc,pc->p", (foreground - subject)[edge], way[edge]) / length[edge]
    where[edge] = alpha[edge] * share.clip(-1, 1)
    return max(0.0, float(where.sum() / (alpha * (1 - alpha))[edge].sum())), where


def _around(colors: Plane, counted: np.ndarray) -> tuple[Plane, Plane]:
    """(H, W, 3) mean of the counted colours around each pixel, and (H, W) the share of pixels counted."""
    weight = counted.astype(np.float32)
    amount = cv2.blur(weight, (NEAR, NEAR))
    total = cv2.blur(colors * weight[..., None], (NEAR, NEAR))
    mean = total / np.maximum(amount, np.float32(1e-6))[..., None]
    return np.asarray(mean, np.float32), np.asarray(amount, np.float32)


def _steepness(alpha: Plane) -> Plane:
    """(H, W), change of alpha per pixel."""
    slopes = [cv2.Sobel(alpha, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1))]
    return np.asarray(np.hypot(*slopes), np.float32)
