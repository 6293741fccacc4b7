"""Move a matte's edge, and soften it: choke and feather."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streammatte.frame import Cutout
from streammatte.stages.frame_by_frame import FrameByFrame
from streammatte.stages.mattes import within_limits

Plane = NDArray[np.float32]

SMOOTH = 1.0  # pixels, of distances before their slope gives the edge's direction
STEEP = 0.7  # slope of a distance to one edge; less is between two


class EdgeShaper(FrameByFrame):
    """The stage: chokes, then feathers.

    It comes after the foreground's colours, which extend beyond the edge; estimated from a spread or softened alpha,
    they would include a rim of the old background.

    Args:
        choke: See :func:`choke`.
        feather: See :func:`feather`.
    """

    ordered = False

    def __init__(self, choke: float = 0.0, feather: float = 0.0) -> None:
        self._choke, self._feather = choke, feather

    def better(self, cutout: Cutout) -> Cutout:
        alpha = cutout.alpha.float().cpu().numpy().copy()
        near = _around(alpha, abs(self._choke) + self._feather / 2 + 2)
        alpha[near] = feather(choke(np.ascontiguousarray(alpha[near]), self._choke), self._feather)
        return within_limits(replace(cutout, alpha=torch.from_numpy(alpha).to(cutout.alpha)))


def choke(alpha: Plane, pixels: float) -> Plane:
    """Move the edge inwards by ``pixels``, and keep its softness.

    Every pixel takes the value that far outwards, across the line where alpha is one half. That keeps the edge's
    profile; an erosion would lose soft hair. Thin parts are spared: a strand or disc whose half width is below
    ``2 * pixels`` is moved by half its half width. Spreading takes values from further inside, at most from the middle.

    Args:
        alpha: (H, W) in [0, 1].
        pixels: Above 0 chokes, below 0 spreads; fractions count.

    Returns:
        (H, W) in [0, 1]; ``alpha`` itself for 0, or if there is no such line.
    """
    solid = (alpha >= 0.5).view(np.uint8)
    if not pixels or not solid.any() or solid.all():
        return alpha
    inside = cv2.distanceTransform(solid, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outside = cv2.distanceTransform(1 - solid, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    depth = np.where(solid, inside - 0.5, 0.5 - outside).astype(np.float32)
    thickness = _thickness(depth, solid, 2 * abs(pixels) + 1)
    shift = np.minimum(pixels, thickness / 2) if pixels > 0 else -np.clip(thickness - depth, 0, -pixels)
    smooth = cv2.GaussianBlur(depth, (0, 0), SMOOTH, borderType=cv2.BORDER_REPLICATE)
    across = cv2.Scharr(smooth, cv2.CV_32F, 1, 0, scale=1 / 32, borderType=cv2.BORDER_REPLICATE)
    down = cv2.Scharr(smooth, cv2.CV_32F, 0, 1, scale=1 / 32, borderType=cv2.BORDER_REPLICATE)
    shift = shift / np.maximum(np.sqrt(across * across + down * down), np.float32(STEEP))
    y, x = np.indices(alpha.shape, np.float32)
    moved = cv2.remap(alpha, x - shift * across, y - shift * down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def feather(alpha: Plane, width: float) -> Plane:
    """Soften the edge: a hard one becomes a slope ``width`` pixels wide, half of it inside, half outside.

    A round raised-cosine window is run over the matte. That alone would pull in the line where alpha is one half
    wherever it is curved, and dissolve hair; so the values on that line are restored to one half.

    Args:
        alpha: (H, W) in [0, 1].
        width: 0 or more.

    Returns:
        (H, W) in [0, 1]; exactly 1 or 0 where alpha is so within half the width all around.
    """
    if width <= 0:
        return alpha
    reach = width / 2
    size = np.arange(-int(np.ceil(reach)), int(np.ceil(reach)) + 1)
    radius = np.hypot(*np.meshgrid(size, size)) / (reach + 0.5)  # a pixel extends by half of one
    window = np.where(radius < 1, 1 + np.cos(np.pi * radius), 0)
    soft: Plane = np.asarray(
        cv2.filter2D(alpha, -1, window / window.sum(), borderType=cv2.BORDER_REPLICATE), np.float32
    )
    middle = np.clip(_on_the_line(alpha, soft, reach), 0.01, 0.99)
    soft = np.where(soft < middle, soft / (2 * middle), 1 - (1 - soft) / (2 * (1 - middle)))
    for value in (0, 1):  # a sum over the window is only close to it
        away = cv2.distanceTransform((alpha == value).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        soft[away > reach + 0.5] = value
    return np.clip(soft, 0, 1)


def _on_the_line(alpha: Plane, soft: Plane, reach: float) -> Plane:
    """(H, W): ``soft`` where ``alpha`` crosses one half, averaged nearby; one half far from it."""
    count = np.full_like(alpha, 1e-6)
    total = 0.5 * count
    for a, s, t, c in ((alpha, soft, total, count), (alpha.T, soft.T, total.T, count.T)):
        rows, columns = np.nonzero((a[:, 1:] >= 0.5) != (a[:, :-1] >= 0.5))
        before, after = (rows, columns), (rows, columns + 1)
        share = (0.5 - a[before]) / (a[after] - a[before])
        value = s[before] + share * (s[after] - s[before])
        for place in (before, after):
            t[place] += value
            c[place] += 1
    sigma = max(1.0, reach / 2)
    sums, counts = (cv2.GaussianBlur(x, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) for x in (total, count))
    return np.asarray(sums / counts, np.float32)


def _around(alpha: Plane, margin: float) -> tuple[slice, slice]:
    """The rows and columns that hold the subject, with a margin."""
    spans = []
    for axis in (1, 0):
        held = np.flatnonzero(alpha.any(axis))
        first, last = (int(held[0]), int(held[-1])) if held.size else (0, -1)
        spans.append(slice(max(0, first - int(np.ceil(margin))), last + 1 + int(np.ceil(margin))))
    return spans[0], spans[1]


def _thickness(depth: Plane, solid: NDArray[np.uint8], reach: float) -> Plane:
    """(H, W): the local half width of the subject: the greatest depth within ``reach`` pixels, or of the nearest."""
    size = 2 * int(np.ceil(reach)) + 1
    deepest = cv2.dilate(np.maximum(depth, 0), np.ones((size, size), np.uint8))
    _, labels = cv2.distanceTransformWithLabels(1 - solid, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    of_label = np.zeros(int(labels.max()) + 1, np.float32)
    of_label[labels[solid > 0]] = deepest[solid > 0]
    return np.asarray(of_label[labels], np.float32)
