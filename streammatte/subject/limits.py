"""How far a subject's matte may reach, and where it is certain, by coarse masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from streammatte.motion import Plane
from streammatte.subject.contracts import Tracked
from streammatte.subject.region import Box

HAIR = 0.05
"""Width of the margin in which the network is believed, beside the mask, as a share of the side of a square with the
subject's area; within as much again it fades."""

LEAST = 1.5  # its least width, in pixels of a mask: masks are no more exact
CORE = 0.035  # of that side: how deep within its mask a subject is certain
SURE = (0.6, 0.9)  # confidence from which a lost part is filled, and from which it is filled entirely
NEAR = 1.0  # pixels beside a mask that are never a stranger's
SHARED = 1.0  # pixels of a mask in which two subjects share their border


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """What a subject's alpha is at most and at least; both (h, w) in [0, 1], ``least`` never above ``most``."""

    most: Plane
    least: Plane


def limits_of(tracked: Mapping[str, Tracked], name: str, alpha: Plane, box: Box, canvas: tuple[int, int]) -> Limits:
    """The limits of a subject in a part of a canvas.

    Args:
        tracked: Every subject of a frame by name, with masks of one size.
        name: Whose limits are wanted.
        alpha: (h, w), the network's, of the part.
        box: The part, in pixels of the canvas.
        canvas: (h, w) of the whole.
    """
    mask, confidence = tracked[name].mask, tracked[name].confidence
    side = float(np.sqrt(np.count_nonzero(mask > 0.5)))
    margin, core = max(LEAST, HAIR * side), max(LEAST, CORE * side)
    deep = part_of(_depth(mask), box, canvas)
    most = np.clip(2 + deep / np.float32(margin), 0, 1)
    low, high = SURE
    sure = min(1.0, max(0.0, (confidence - low) / (high - low)))
    least = np.clip(deep / np.float32(core) - 1, 0, 1) * np.float32(sure)
    share = _share({each: tracked[each].mask for each in tracked}, name, box, canvas) if len(tracked) > 1 else None
    if share is not None:
        most, least, alpha = most * share, least * share, alpha * share
    stranger = _stranger(alpha, deep, margin, box, canvas, mask.shape)
    if stranger is not None:
        most = most / (1 + np.exp(((stranger - deep) / np.float32(SHARED)).clip(-30, 30)))
    return Limits(np.asarray(most, np.float32), np.asarray(least, np.float32))


def _stranger(
    alpha: Plane, deep: Plane, margin: float, box: Box, canvas: tuple[int, int], size: tuple[int, ...]
) -> Plane | None:
    """(h, w): pixels of a mask to the border of somebody nobody named, positive inside; ``None`` if there is nobody.

    What is solid beyond the margin is not the subject's, and nor is what reaches from there into the margin.
    """
    height, width = (
        max(1, round(side * own / whole))
        for side, own, whole in zip((box.y1 - box.y0, box.x1 - box.x0), size, canvas, strict=True)
    )
    small, depth = (cv2.resize(each, (width, height), interpolation=cv2.INTER_AREA) for each in (alpha, deep))
    outside = (small > 0.5) & (depth < -NEAR)
    seeds = outside & (depth < -2 * margin)
    inner = np.zeros_like(outside)
    inner[0], inner[-1] = box.y0 > 0, box.y1 < canvas[0]
    inner[:, 0] |= box.x0 > 0
    inner[:, -1] |= box.x1 < canvas[1]
    found = (seeds | (outside & inner)).astype(np.uint8)
    if not found.any():
        return None
    for _ in range(round(2 * margin) + 2):
        found = cv2.dilate(found, np.ones((3, 3), np.uint8)) & outside.astype(np.uint8)
    return resampled(
        _depth(found.astype(np.float32)), (width / alpha.shape[1], 0), (height / alpha.shape[0], 0), alpha.shape
    )


def _share(masks: Mapping[str, Plane], name: str, box: Box, canvas: tuple[int, int]) -> Plane:
    """How much of each pixel is a subject's: 1 for all together, so that no pixel belongs to two.

    Where masks overlap, the higher one wins; the softmax of the distances to what each has for itself decides between.
    """
    stack = np.stack(list(masks.values()))
    others = [np.delete(stack, place, 0).max(0) for place in range(len(stack))]
    own = [np.minimum(mask, (mask - other + 1) / 2) for mask, other in zip(stack, others, strict=True)]
    depths = np.stack([part_of(_depth(mask), box, canvas) for mask in own]) / np.float32(SHARED)
    odds = np.exp(depths - depths.max(0))
    return np.asarray(odds[list(masks).index(name)] / odds.sum(0), np.float32)


def _depth(mask: Plane) -> Plane:
    """(h, w): pixels to the mask's border, positive inside; far away everywhere if it is empty."""
    inside = (mask > 0.5).astype(np.uint8)
    if not inside.any():
        return np.full(mask.shape, -float(sum(mask.shape)), np.float32)
    if inside.all():
        return np.full(mask.shape, float(sum(mask.shape)), np.float32)
    within = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    beyond = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    depth = np.where(inside, within - 0.5, 0.5 - beyond)
    return np.asarray(np.where(np.abs(depth) <= 0.5, mask - 0.5, depth), np.float32)  # a soft edge says more


def part_of(plane: Plane, box: Box, canvas: tuple[int, int]) -> Plane:
    """The part of a small plane that lies under a box of a canvas, at the canvas's size, bilinearly."""
    down, across = plane.shape[0] / canvas[0], plane.shape[1] / canvas[1]
    return resampled(plane, (across, box.x0), (down, box.y0), (box.y1 - box.y0, box.x1 - box.x0))


def resampled(plane: Plane, across: tuple[float, float], down: tuple[float, float], size: tuple[int, ...]) -> Plane:
    """(h, w) of a plane, bilinearly; its border goes on beyond it.

    Args:
        across, down: Its pixels for one of the result, and where the result begins, in pixels of the result.
    """
    # Centres lie half a pixel in.
    rows = [[scale, (start + 0.5) * scale - 0.5] for scale, start in (across, down)]
    matrix = np.array([[rows[0][0], 0, rows[0][1]], [0, *rows[1]]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(plane, matrix, (size[1], size[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32
    )
