"""How far a subject's matte may reach, and where it is certain, by coarse masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from streammatte.motion import Plane
from streammatte.subject.contracts import Tracked
from streammatte.subject.region import Box

HAIR = 0.08
"""Width of the margin in which the network is believed, beside the mask, as a share of the side of a square with the
subject's area; within as much again it fades."""

LEAST = 1.5  # pixels of a mask that it has at least: masks are no more exact
CORE = 0.035  # of that side: how deep within its mask a subject is certain
SURE = (0.6, 0.9)  # confidence from which a lost part is filled, and from which it is filled entirely
SHARED = 1.0  # pixels of a mask in which two subjects share their border


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """What a subject's alpha is at most and at least; both (h, w) in [0, 1], ``least`` never above ``most``."""

    most: Plane
    least: Plane


def limits_of(tracked: Mapping[str, Tracked], names: Sequence[str], box: Box, canvas: tuple[int, int]) -> list[Limits]:
    """The limits of subjects in a part of a canvas.

    Args:
        tracked: Every subject of a frame by name, with masks of one size.
        names: Whose limits are wanted.
        box: The part, in pixels of the canvas.
        canvas: (h, w) of the whole.
    """
    masks = {name: each.mask for name, each in tracked.items()}
    depths = {name: _depth(mask) for name, mask in masks.items()}
    shares = _shares(masks, box, canvas) if len(masks) > 1 else {}
    return [_limits(tracked[name], depths[name], shares.get(name), box, canvas) for name in names]


def _limits(tracked: Tracked, depth: Plane, share: Plane | None, box: Box, canvas: tuple[int, int]) -> Limits:
    side = float(np.sqrt(np.count_nonzero(tracked.mask > 0.5)))
    margin, core = max(LEAST, HAIR * side), max(LEAST, CORE * side)
    deep = part_of(depth, box, canvas)
    most = np.clip(2 + deep / np.float32(margin), 0, 1)
    low, high = SURE
    sure = min(1.0, max(0.0, (tracked.confidence - low) / (high - low)))
    least = np.clip(deep / np.float32(core) - 1, 0, 1) * np.float32(sure)
    if share is not None:
        most, least = most * share, least * share
    return Limits(np.asarray(most, np.float32), np.asarray(least, np.float32))


def _shares(masks: Mapping[str, Plane], box: Box, canvas: tuple[int, int]) -> dict[str, Plane]:
    """How much of each pixel is whose: 1 in all, so that no pixel belongs to two subjects.

    Where masks overlap, the higher one wins; the softmax of the distances to what each has for itself decides between.
    """
    stack = np.stack(list(masks.values()))
    others = [np.delete(stack, place, 0).max(0) for place in range(len(stack))]
    own = [np.minimum(mask, (mask - other + 1) / 2) for mask, other in zip(stack, others, strict=True)]
    depths = np.stack([part_of(_depth(mask), box, canvas) for mask in own]) / np.float32(SHARED)
    odds = np.exp(depths - depths.max(0))
    return dict(zip(masks, odds / odds.sum(0), strict=True))


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


def resampled(plane: Plane, across: tuple[float, float], down: tuple[float, float], size: tuple[int, int]) -> Plane:
    """(h, w) of a plane, bilinearly; its border goes on beyond it.

    Args:
        across, down: Its pixels for one of the result, and where the result begins, in pixels of the result.
    """
    # Centres lie half a pixel in.
    rows = [[scale, (start + 0.5) * scale - 0.5] for scale, start in (across, down)]
    matrix = np.array([[rows[0][0], 0, rows[0][1]], [0, *rows[1]]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(plane, matrix, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32
    )
