"""Lift a matte from the network's size to the frame's, with the picture's detail at the edge.

Within a few pixels of the matte, alpha is taken to be linear in colour (Levin et al. 2006). Area means keep such a
relation, so it is learnt at the matte's size and applied at the picture's: the fast guided filter (He and Sun 2015,
arXiv 1505.00996). Here it is applied to fine detail alone, which the matte's size cannot hold, and only as far as the
relation explains the matte, and the edge has more detail than the solid parts beside it, with their grain and texture.
At the end the result is made consistent with the matte (back-projection, Irani and Peleg 1991).
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from streammatte.frame import Cutout
from streammatte.models.device import turn_on
from streammatte.stages.frame_by_frame import FrameByFrame
from streammatte.stages.tiles import Window, scaled, shrunk, tiles_with, window_sums

SOLID = 0.01  # from 0 or 1; if a pixel of the matte and all its neighbours are within, nothing is changed there
RADIUS = 2  # pixels of the matte, of the window in which the relation holds
SMOOTHNESS = 1e-3  # variance of colour that counts as noise: the guided filter's ε
FAINT = 1e-4  # variance of alpha below which there is no relation to learn
EXCESS = 1.5  # detail at an edge counts beyond this multiple of that in the solid parts beside it
FILLED = 5  # halvings, by which those extend into the edge
ROUNDS = 3  # of back-projection
TILE = 256  # pixels of the frame
SMALL_TILE = 128  # pixels of the matte


class DetailRefiner(FrameByFrame):
    """The stage that lifts: alpha at the frame's size, with the picture's own edge.

    Args:
        device: Where to compute, and where the result stays; by default the frame's device.
    """

    ordered = False

    def __init__(self, device: torch.device | str | None = None) -> None:
        self._device = None if device is None else torch.device(device)

    def better(self, cutout: Cutout) -> Cutout:
        device = self._device or cutout.frame.rgb.device
        if cutout.alpha.shape == cutout.frame.size:
            return cutout if cutout.alpha.device == device else replace(cutout, alpha=cutout.alpha.to(device))
        with turn_on(device):
            shown = cutout.frame.shown_on(device)
            return replace(cutout, alpha=refine_alpha(shown, cutout.alpha.to(device)))


class Lift(FrameByFrame):
    """The stage that lifts without detail: alpha at the frame's size, scaled bilinearly.

    Args:
        device: As for :class:`DetailRefiner`; by default the alpha's.
    """

    ordered = False

    def __init__(self, device: torch.device | str | None = None) -> None:
        self._device = None if device is None else torch.device(device)

    def better(self, cutout: Cutout) -> Cutout:
        return lifted(replace(cutout, alpha=cutout.alpha.to(self._device or cutout.alpha.device)))


def lifted(cutout: Cutout) -> Cutout:
    """The cut-out with its alpha scaled bilinearly to the frame's size; itself if it has that already."""
    if cutout.alpha.shape == cutout.frame.size:
        return cutout
    return replace(cutout, alpha=scaled(cutout.alpha, cutout.frame.size).clamp(0, 1))


def refine_alpha(rgb: Tensor, matte: Tensor) -> Tensor:
    """A small matte at the picture's size, with the picture's own edge.

    Args:
        rgb: (3, H, W) float in [0, 1], gamma-encoded.
        matte: (h, w) float in [0, 1], on the same device.

    Returns:
        (H, W) in [0, 1]; plain bilinear where the matte is solid, and for a picture no larger than the matte.

    Raises:
        ValueError: Shapes do not fit.
    """
    if rgb.ndim != 3 or len(rgb) != 3 or matte.ndim != 2 or not (rgb.numel() and matte.numel()):
        raise ValueError(f"rgb {tuple(rgb.shape)} and matte {tuple(matte.shape)} must be (3, H, W) and (h, w)")
    height, width = rgb.shape[1:]
    small = min(matte.shape[0], height), min(matte.shape[1], width)
    matte = scaled(matte, small)[None, None]
    alpha = scaled(matte[0, 0], (height, width)).clamp(0, 1)
    if small == (height, width):
        return alpha
    least, most = -F.max_pool2d(-matte, 3, 1, 1), F.max_pool2d(matte, 3, 1, 1)
    subject, behind = least > 1 - SOLID, most < SOLID
    unsure = ~(subject | behind)[0, 0]
    edge = unsure[_cells(height, small[0], alpha)][:, _cells(width, small[1], alpha)]
    # A GPU computes the whole frame sooner than it tells which tiles have an edge.
    whole: Window = (..., slice(0, height), slice(0, width))
    tiles = [tile.own for tile in tiles_with(edge, TILE)] if edge.is_cpu else [whole]
    if not tiles:
        return alpha
    image = shrunk(rgb, small)
    slope = _slope_in_tiles(image, matte, unsure) if edge.is_cpu else _slope(image, matte, unsure)
    trusted = slope * _gain(rgb, image, matte, subject, behind)
    relation = torch.cat([_mean(trusted, 1), image], 1)
    refined = alpha.clone()

    def add(part: Tensor, own: Window) -> None:
        refined[own] = torch.where(edge[own], refined[own] + part, refined[own]).clamp_(0, 1)

    for own in tiles:
        part = _stretched(relation, alpha.shape, own)
        add((part[:3] * (rgb[own] - part[3:])).sum(0), own)
    for _ in range(ROUNDS):
        missing = matte - shrunk(refined[None], small)
        for own in tiles:
            add(_stretched(missing, alpha.shape, own)[0], own)
    return refined


def _slope_in_tiles(image: Tensor, matte: Tensor, wanted: Tensor) -> Tensor:
    """:func:`_slope` of the tiles in which it is wanted, few of a large matte's."""
    slope = torch.zeros_like(image)
    for tile in tiles_with(wanted, SMALL_TILE, RADIUS):
        part = _slope(image[tile.seen], matte[tile.seen], wanted[tile.seen])
        slope[tile.own] = part[tile.inner]
    return slope


def _slope(image: Tensor, matte: Tensor, wanted: Tensor) -> Tensor:
    """The guided filter's linear coefficients of alpha in colour (He, Sun and Tang 2013, eq. 19).

    They are multiplied by the square of the share of alpha's variance that they explain.

    Args:
        image: (1, 3, h, w).
        matte: (1, 1, h, w).
        wanted: (h, w) booleans: where to compute.

    Returns:
        (1, 3, h, w); zero elsewhere.
    """
    products = [image * plane for plane in (image[:, :1], image[:, 1:2], image[:, 2:], matte)] + [matte * matte]
    means = _mean(torch.cat([image, matte, *products], 1))[0]  # 3 + 1 + 9 + 3 + 1 of them
    means = means[:, wanted] if image.is_cpu else means.flatten(1)  # (17, N); a GPU would have to be waited for
    colors, level, square = means[:3], means[3], means[16]
    covariance = means[4:13].view(3, 3, -1) - colors[:, None] * colors
    for channel in range(3):
        covariance[channel, channel] += SMOOTHNESS
    shared = means[13:16] - colors * level
    found = _solved(covariance, shared)
    explained = (found * shared).sum(0) / (square - level * level + FAINT)
    found *= explained.clamp(0, 1).square()
    if not image.is_cpu:
        return torch.where(wanted, found.view(image.shape), 0)
    slope = torch.zeros_like(image)
    slope[0, :, wanted] = found
    return slope


def _solved(matrices: Tensor, right: Tensor) -> Tensor:
    """(3, N): the solutions of N systems with symmetric matrices, (3, 3, N), and right sides, (3, N).

    By their LDLᵀ decomposition, since cofactors lose half the digits, and all of them beside bright highlights. The
    matrices are covariances plus ``SMOOTHNESS``: no pivot is smaller, but for what rounding takes away.
    """
    (a, b, c), (_, d, e), (_, _, f) = matrices
    a = a.clamp_min(SMOOTHNESS)
    p, q = b / a, c / a
    d, e = (d - p * b).clamp_min(SMOOTHNESS), e - q * b
    r = e / d
    f = (f - q * c - r * e).clamp_min(SMOOTHNESS)
    x, y, z = right
    y = y - p * x
    z = (z - q * x - r * y) / f
    y = y / d - r * z
    return torch.stack([x / a - p * y - q * z, y, z])


def _gain(rgb: Tensor, image: Tensor, matte: Tensor, subject: Tensor, behind: Tensor) -> Tensor:
    """The share of the detail at each pixel of the matte that is alpha's, not grain or texture (Wiener gain).

    Args:
        rgb: (3, H, W).
        image: (1, 3, h, w): its means.
        matte: (1, 1, h, w).
        subject, behind: (1, 1, h, w) booleans: where only one of them shows.

    Returns:
        (1, 1, h, w) in [0, 1].
    """
    size = image.shape[-2:]
    # One channel at a time saves memory.
    energy = sum((shrunk(channel.square()[None], size) for channel in rgb), -image.square().sum(1, keepdim=True))
    expected = matte * _filled(energy, subject) + (1 - matte) * _filled(energy, behind)
    energy = _mean(energy, 1)
    return ((energy - EXCESS * expected) / (energy + 1e-9)).clamp(0, 1)


def _filled(x: Tensor, known: Tensor) -> Tensor:
    """``x`` where it is known, elsewhere the mean of what is known nearby (pull-push, Gortler et al. 1996).

    Args:
        x: (1, 1, h, w).
        known: (1, 1, h, w) booleans.
    """
    levels = [torch.cat([x * known, known], 1)]
    for _ in range(FILLED):
        levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True, count_include_pad=False))
    total = levels[-1].sum((2, 3), keepdim=True)
    filled = total[:, :1] / (total[:, 1:] + 1e-9)
    for level in reversed(levels):
        filled = F.interpolate(filled, level.shape[2:], mode="bilinear")
        near = _mean(level, 1)
        filled = (near[:, :1] + 0.01 * filled) / (near[:, 1:] + 0.01)
    return filled


def _mean(x: Tensor, radius: int = RADIUS) -> Tensor:
    """Over each pixel's square window, (B, C, h, w)."""
    return window_sums(x, radius).div_((2 * radius + 1) ** 2)


def _stretched(x: Tensor, shape: torch.Size, window: Window) -> Tensor:
    """A window of ``x``, (1, C, h, w), stretched bilinearly to ``shape``: (C, rows, columns) of the window."""
    centers = [
        torch.arange(span.start, span.stop, device=x.device).add(0.5).mul(2 / length).sub(1)
        for span, length in zip(window[1:], shape, strict=True)
    ]
    rows, columns = torch.meshgrid(*centers, indexing="ij")
    return F.grid_sample(x, torch.stack([columns, rows], -1)[None], padding_mode="border", align_corners=False)[0]


def _cells(length: int, count: int, like: Tensor) -> Tensor:
    """(length,) indices: the matte's pixel, of ``count``, in which each pixel of the frame lies."""
    return (torch.arange(length, device=like.device) * 2 + 1) * count // (2 * length)
