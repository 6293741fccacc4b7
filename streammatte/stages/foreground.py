"""Recover the subject's own colours, so that hair and soft edges carry no background.

A pixel of the edge shows I = α·F + (1 − α)·B. Both colours are solved coarse to fine (Germer et al. 2020, "Fast
Multi-Level Foreground Estimation", arXiv 2006.14970): each level starts from the coarser one, and alternately spreads F
and B to their neighbours and corrects them to explain the pixel. Two things differ from the paper. Levels are area
means, which keep the equation and reduce noise. And colours are spread by the share that a pixel shows of each (Forte
2021, "Approximate Fast Foreground Colour Estimation", ICIP), not by the alpha's gradient: box filters and point
operations, fast on every device.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from streammatte.frame import Cutout
from streammatte.stages.frame_by_frame import FrameByFrame
from streammatte.stages.tiles import Window, tiles_with, window_sums

LEVELS = 7  # the coarsest is a 64th of the frame's size
ROUNDS = 2  # of spreading and correcting, at each level
RESERVE = 1 / 8  # see corrected
SOLID = 1 / 2046  # from 0 or 1, half a 10-bit step: networks never reach 0 or 1, stored alpha does
LEAST = 1e-4  # weight of a pixel that shows nothing of a colour: enough to pass on its neighbours'
TILE = 128  # pixels; without an edge, a tile keeps the coarser level's colours
REACH = ROUNDS + 1  # pixels that a tile needs to see around itself


class ForegroundEstimator(FrameByFrame):
    """The stage: fills ``Cutout.foreground``.

    Args:
        device: Where to compute; by default on the frame's device, where the result goes in any case.
    """

    def __init__(self, device: torch.device | str | None = None) -> None:
        self._device = device

    def better(self, cutout: Cutout) -> Cutout:
        rgb, device = cutout.frame.as_float(), self._device or cutout.frame.rgb.device
        foreground = estimate_foreground(rgb.to(device), cutout.alpha.to(device))
        return replace(cutout, foreground=foreground.to(rgb.device))


@torch.no_grad()
def estimate_foreground(rgb: Tensor, alpha: Tensor, *, levels: int = LEVELS) -> Tensor:
    """The subject's colours, extended beyond its edge.

    Args:
        rgb: (3, H, W) float, encoded as decoded, in [0, 1]; highlights of linear light may exceed 1.
        alpha: (H, W) float in [0, 1], on the same device.
        levels: Pyramid depth; more reaches further into soft hair.

    Returns:
        (3, H, W) from 0 to 1, or to the maximum of ``rgb``; bit for bit ``rgb`` where alpha is 1 or is stored as 1; far
        from the subject, its mean colour.

    Raises:
        ValueError: Shapes or types do not fit, or ``levels`` is below 1.
    """
    if rgb.ndim != 3 or len(rgb) != 3 or rgb.shape[1:] != alpha.shape or not rgb.numel():
        raise ValueError(f"rgb {tuple(rgb.shape)} and alpha {tuple(alpha.shape)} must be (3, H, W) and (H, W)")
    if not (rgb.is_floating_point() and alpha.is_floating_point()):
        raise ValueError(f"rgb is {rgb.dtype} and alpha {alpha.dtype}: floats in [0, 1] are needed")
    if levels < 1:
        raise ValueError(f"{levels} levels: at least one is needed")
    largest = max(1.0, float(rgb.max()))  # the equation is linear in the colours
    pyramid = [torch.cat([rgb if largest == 1 else rgb / largest, alpha[None]])[None]]
    while len(pyramid) < levels:
        pyramid.append(_halved(pyramid[-1]))
    image, matte = pyramid[-1][:, :3], pyramid[-1][:, 3:]
    means = torch.cat([_mean(image, share) for share in (matte, 1 - matte)], 1)
    colors = means.expand(-1, -1, (image.shape[2] + 1) // 2, (image.shape[3] + 1) // 2)
    for picture in reversed(pyramid):
        colors = _refined(picture, colors, kept=3 if picture is pyramid[0] else 6)
    foreground, solid = colors[0], alpha > 1 - SOLID
    if largest > 1:
        foreground = foreground * largest
    for found, own in zip(foreground, rgb, strict=True):  # one by one: a mask for all three takes three times as long
        torch.where(solid, own, found, out=found)
    return foreground


def _refined(picture: Tensor, colors: Tensor, *, kept: int) -> Tensor:
    """One level: the coarser level's colours, refined where there is an edge.

    Args:
        picture: (1, 4, h, w): red, green, blue and alpha.
        colors: (1, 6, ⌈h/2⌉, ⌈w/2⌉): F and B.
        kept: How many of the six to return: the finest level's B is not needed.
    """
    height, width = picture.shape[2:]
    refined = doubled(colors[:, :kept], (..., slice(0, height), slice(0, width)))
    matte = picture[0, 3]
    for tile in tiles_with((matte > SOLID) & (matte < 1 - SOLID), TILE, REACH):
        part = picture[tile.seen]
        sides = doubled(colors, tile.seen)[0].contiguous()
        sides = sides.view(2, 3, *sides.shape[1:])
        solved = _solved(part[0, :3], torch.stack([part[:, 3], 1 - part[:, 3]]), sides)
        refined[tile.own] = solved.flatten(0, 1)[None, :kept][tile.inner]
    return refined


def _solved(image: Tensor, shares: Tensor, colors: Tensor) -> Tensor:
    """F and B of a tile after one level's rounds; shares are squared, so that the purest pixels lead.

    Args:
        image: (3, h, w).
        shares: (2, 1, h, w): α and 1 − α.
        colors: (2, 3, h, w): the coarser level's F and B.
    """
    squares = shares.square()
    weights, steadiness = squares + LEAST, squares.sum(0) + RESERVE
    total = window_sums(weights, 1)
    for _ in range(ROUNDS):
        colors = window_sums(corrected(image, shares, steadiness, colors).mul_(weights), 1).div_(total)
    return corrected(image, shares, steadiness, colors)


def corrected(image: Tensor, shares: Tensor, steadiness: Tensor, colors: Tensor) -> Tensor:
    """The colours nearest to the given ones of which the picture is nearly the mixture.

    The share α / (α² + (1 − α)² + R) of the picture's noise enters F; with R = 1/8 it is at most 1, so that the
    foreground flickers no more than the footage.

    Args:
        image: (3, h, w).
        shares: (2, 1, h, w): α and 1 − α.
        steadiness: (1, h, w): α² + (1 − α)² + R.
        colors: (2, 3, h, w): F₀ and B₀.
    """
    missing = torch.addcmul(image, shares[0], colors[0], value=-1).addcmul_(shares[1], colors[1], value=-1)
    return torch.addcmul(colors, shares, missing.div_(steadiness)).clamp_(0, 1)


def _mean(image: Tensor, share: Tensor) -> Tensor:
    """(1, 3, 1, 1): the mean colour of the pixels that show most of a side."""
    weight = share.pow(4) + LEAST
    return (image * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True)


def _halved(x: Tensor) -> Tensor:
    """Means of 2×2 pixels; an odd last row or column counts twice."""
    height, width = x.shape[-2:]
    if height % 2 or width % 2:
        x = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
    rows = x[..., ::2, :] + x[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]).div_(4)


def doubled(x: Tensor, window: Window) -> Tensor:
    """What a window shows of ``x`` at twice its size."""
    rows, columns = window[1:]
    top, left = max(rows.start // 2 - 1, 0), max(columns.start // 2 - 1, 0)
    near = x[..., top : rows.stop // 2 + 2, left : columns.stop // 2 + 2]
    if near.is_cpu and near.dtype == torch.float32:  # OpenCV takes a tenth of the time
        pixels = cv2.resize(near[0].permute(1, 2, 0).numpy(), None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
        doubled = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    else:
        near = near.contiguous(memory_format=torch.channels_last)  # the layout of decoded frames and of writers
        doubled = F.interpolate(near, scale_factor=2, mode="bilinear")
    return doubled[..., rows.start - 2 * top : rows.stop - 2 * top, columns.start - 2 * left : columns.stop - 2 * left]
