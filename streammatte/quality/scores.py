"""How steady a matte is, and how clean its edge, told without a truth. Zero is best.

A true matte does not score 0: motion is told to a fraction of a pixel only, and a subject's own texture looks like
remains of the background. What a score is worth is the distance between mattes of one clip, and limits with room.
"""

from __future__ import annotations

import cv2
import numpy as np

from streammatte.motion import Motion, Plane, View, same_shot

SIZE = 320
"""Pixels of the longer side at which flicker is measured."""

UNSURE = 0.25  # pixels by which flow may be off: so much of an edge's movement is no flicker
SHORTEST = 0.05  # of the longer side: an edge's length, at least, so that specks do not count for a subject

SOLID = 0.02  # from 0 or 1: beyond, a pixel is of the edge
NEAR = 25  # pixels: side of the square that is around a pixel
LEAST = 0.02  # of what is around, to know the colour of a side by
APART = 0.15  # of √3: colours of subject and background that are nearer than this tell nothing


class Flicker:
    """How far the matte's edge jumps from a frame to the next where nothing in the picture moves it.

    In thousandths of the picture's longer side, averaged along the edge: 1 is two pixels of 1080p. A hole or a lost
    frame counts by its area, divided by the edge's length. Σ trust · max(0, |Δα| − ¼ |∇α|) / Σ trust · |∇α|, with Δα
    the change along the picture's motion and |∇α| the alpha's steepness, whose sum is the length of the edge: the mean
    of both frames'. Where the frame before does not explain this one, as in what is bared or new, trust is 0.

    Called with one frame after the other at most ``SIZE`` pixels long, it gives the figure of this one against the one
    before; ``None`` for the first, and after a cut.

    Attributes:
        cut: The last frame begins a shot.
        before: (H, W), the alpha of the frame before it, ``None`` if there is none in its shot.
        change: (H, W) in [-1, 1], what counted as flicker in it.
        total: (H, W), the sum of |change| over all frames.
    """

    def __init__(self) -> None:
        self.cut = False
        self.before: Plane | None = None
        self.change: Plane | None = None
        self.total: Plane | None = None
        self._motion = Motion()
        self._last: View | None = None

    def __call__(self, here: View) -> float | None:
        last, self._last = self._last, here
        self.before = self.change = None
        self.cut = last is not None and last.alpha.shape != here.alpha.shape
        if last is None or self.cut:
            return None
        _, backward = self._motion.between(last, here)
        trust = self._motion.trust(here, last, backward)
        self.cut = not same_shot(here, last, trust)
        if self.cut:
            return None
        self.before = last.alpha
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
    """How much of the old background is in the colours of the soft edge.

    With S and B the colours of the solid subject and of the background around a pixel, its colour F lies at
    p = (F − S)·(B − S) / |B − S|² on the way from one to the other. The frame's own colours, of which nothing was taken
    out, lie at 1 − α there. The score is Σ α p / Σ α (1 − α), from 0: 0 is the subject's colours, 1 the frame's own;
    above 1 the matte takes more of the background along than it says.

    Args:
        rgb: (H, W, 3) in [0, 1], the frame.
        foreground: (H, W, 3) in [0, 1], straight, as written.
        alpha: (H, W) in [0, 1].

    Returns:
        The score, ``None`` where no edge lies between colours that differ; and (H, W), α p of the pixels that count.
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
    """(H, W, 3) mean colour of what counts around each pixel, and (H, W) how much that is, of 1."""
    weight = counted.astype(np.float32)
    amount = cv2.blur(weight, (NEAR, NEAR))
    total = cv2.blur(colors * weight[..., None], (NEAR, NEAR))
    return np.asarray(total / np.maximum(amount, np.float32(1e-6))[..., None], np.float32), np.asarray(
        amount, np.float32
    )


def _steepness(alpha: Plane) -> Plane:
    """(H, W): how much alpha changes per pixel."""
    slopes = [cv2.Sobel(alpha, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1))]
    return np.asarray(np.hypot(*slopes), np.float32)
