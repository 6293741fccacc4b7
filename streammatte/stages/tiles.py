"""Tiles with an edge, a small part of most frames; and sums, means and scaling of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from types import EllipsisType
from typing import NamedTuple

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

Window = tuple[EllipsisType, slice, slice]


class Tile(NamedTuple):
    """Indices into (…, H, W).

    Attributes:
        own: The tile's own pixels; these do not overlap.
        seen: These with a margin, within the frame.
        inner: The own pixels within ``seen``.
    """

    own: Window
    seen: Window
    inner: Window


def tiles_with(mask: Tensor, side: int, margin: int = 0) -> Iterator[Tile]:
    """The tiles in which a mask is set anywhere.

    Args:
        mask: (H, W), set where it is not 0.
        side: Of a tile, in pixels; smaller at the right and the bottom.
        margin: Of ``seen``, in pixels.
    """
    height, width = mask.shape
    for row, column in occupied(mask, side).nonzero().tolist():
        (own_y, seen_y, inner_y), (own_x, seen_x, inner_x) = (
            _spans(index * side, side, margin, length) for index, length in ((row, height), (column, width))
        )
        yield Tile((..., own_y, own_x), (..., seen_y, seen_x), (..., inner_y, inner_x))


def occupied(mask: Tensor, side: int) -> Tensor:
    """(⌈H/side⌉, ⌈W/side⌉) booleans: the tiles in which a mask, (H, W) booleans or bytes, is set anywhere."""
    height, width = mask.shape
    mask = F.pad(mask.view(torch.uint8), (0, -width % side, 0, -height % side))
    return mask.view(-1, side, mask.shape[1]).amax(1).view(len(mask) // side, -1, side).amax(2) > 0


def _spans(start: int, side: int, margin: int, length: int) -> tuple[slice, slice, slice]:
    """Own, seen and inner pixels along one axis of ``length``."""
    stop = min(start + side, length)
    first, last = max(start - margin, 0), min(stop + margin, length)
    return slice(start, stop), slice(first, last), slice(start - first, stop - first)


def shrunk(planes: Tensor, size: tuple[int, ...]) -> Tensor:
    """(C, H, W) floats to (1, C, *size), by area means."""
    # Frames have their channels last; planes take half the time.
    return F.interpolate(planes[None].contiguous(), size, mode="area")


def scaled(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, W) floats to (h, w), bilinearly, with antialiasing; itself at that size."""
    if plane.shape == size:
        return plane
    if plane.is_cpu and size[0] >= plane.shape[0] and size[1] >= plane.shape[1]:  # a seventh of the time
        return torch.from_numpy(cv2.resize(plane.contiguous().numpy(), size[::-1], interpolation=cv2.INTER_LINEAR))
    return F.interpolate(plane[None, None], size, mode="bilinear", align_corners=False, antialias=True)[0, 0]


def window_sums(x: Tensor, radius: int) -> Tensor:
    """(B, C, H, W): sums over each pixel's square window; the border is replicated."""
    if not x.is_cpu:
        return sums_of_slices(x, radius)
    sums, side = torch.empty(x.shape, dtype=x.dtype), 2 * radius + 1
    for plane, place in zip(x.flatten(0, 1), sums.flatten(0, 1), strict=True):  # OpenCV takes two thirds of the time
        cv2.boxFilter(plane.numpy(), -1, (side, side), place.numpy(), normalize=False, borderType=cv2.BORDER_REPLICATE)
    return sums


def sums_of_slices(x: Tensor, radius: int) -> Tensor:
    """The same on any device, in a fifth of the time that pooling takes."""
    height, width = x.shape[-2:]
    x = F.pad(x, (radius,) * 4, mode="replicate")
    rows = x[..., :height, :] + x[..., 1 : height + 1, :]
    for step in range(2, 2 * radius + 1):
        rows.add_(x[..., step : height + step, :])
    sums = rows[..., :width] + rows[..., 1 : width + 1]
    for step in range(2, 2 * radius + 1):
        sums.add_(rows[..., step : width + step])
    return sums
