"""Recover the subject's own colours, so that hair and soft edges carry no background.

A pixel of the edge shows I = α·F + (1 − α)·B. Both colours are solved coarse to fine (Germer et al. 2020, "Fast
Multi-Level Foreground Estimation", arXiv 2006.14970): each level starts from the coarser one, and alternately spreads F
and B to their neighbours and corrects them to explain the pixel. Three things differ from the paper. Levels are area
means, which keep the equation and reduce noise. Colours are spread by the share that a pixel shows of each (Forte 2021,
"Approximate Fast Foreground Colour Estimation", ICIP), not by the alpha's gradient: box filters and point operations,
fast on every device. And levels of more than ``LARGE`` pixels only correct the pixels of the edge.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streammatte.frame import Cutout
from streammatte.stages.frame_by_frame import FrameByFrame
from streammatte.stages.tiles import window_sums

LEVELS = 7  # the coarsest is a 64th of the frame's size
ROUNDS = 2  # of spreading and correcting, at each level
LARGE = 640  # pixels of the longer side, beyond which levels do not spread
RESERVE = 1 / 8  # see corrected
EDGE_RESERVE = 1 / 24  # of levels that do not spread
SOLID = 1 / 256  # from 0 or 1: no picture of 8 bits shows the other side there
LEAST = 1e-4  # weight of a pixel that shows nothing of a colour: enough to pass on its neighbours'


class ForegroundEstimator(FrameByFrame):
    """The stage: fills ``Cutout.foreground``.

    Args:
        device: Where to compute; by default on the frame's device, where the result goes in any case.
    """

    def __init__(self, device: torch.device | str | None = None) -> None:
        self._device = device

    def better(self, cutout: Cutout) -> Cutout:
        rgb, device = cutout.frame.rgb, self._device or cutout.frame.rgb.device
        foreground = _estimated(rgb.to(device), cutout.alpha.to(device), LEVELS)
        return replace(cutout, foreground=foreground.to(rgb.device))


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
    return _estimated(rgb, alpha, levels)


@torch.no_grad()
def _estimated(rgb: Tensor, alpha: Tensor, levels: int) -> Tensor:
    """The same, also for integers of the full range, which stay integers as long as possible."""
    picture = rgb.permute(1, 2, 0)  # frames have their channels last
    largest = max(1.0, float(rgb.max())) if rgb.is_floating_point() else 1.0  # the equation is linear in the colours
    if largest > 1:
        picture = picture / largest
    pyramid = [(picture, alpha.float())]
    while len(pyramid) < levels:
        pyramid.append((_halved(pyramid[-1][0]), _halved(pyramid[-1][1][..., None])[..., 0]))
    image, matte = as_floats(pyramid[-1][0]), pyramid[-1][1][..., None]
    half = (image.shape[0] + 1) // 2, (image.shape[1] + 1) // 2, 3
    colors = [_mean(image, share).expand(half) for share in (matte, 1 - matte)]
    for picture, matte in reversed(pyramid):
        edge = (matte > SOLID) & (matte < 1 - SOLID)
        refine = _spread if max(matte.shape) <= LARGE else _corrected
        colors = refine(picture, matte, edge, colors, kept=1 if matte is pyramid[0][1] else 2)
    foreground = colors[0] * largest if largest > 1 else colors[0]
    return _pasted(foreground, as_floats(rgb.permute(1, 2, 0)), alpha > 1 - SOLID).permute(2, 0, 1)


def _spread(picture: Tensor, matte: Tensor, edge: Tensor, colors: list[Tensor], *, kept: int) -> list[Tensor]:
    """One level: the coarser level's colours, spread and corrected; shares are squared, so that the purest pixels lead.

    Args:
        picture: (h, w, 3), floats or integers.
        matte: (h, w).
        edge: (h, w): where the matte is neither 0 nor 1; without any, the coarser level's colours are kept.
        colors: F and B, (⌈h/2⌉, ⌈w/2⌉, 3) each.
        kept: How many of the two to return: the finest level's B is not needed.
    """
    height, width = matte.shape
    before = [doubled(side)[:height, :width] for side in colors]
    if not edge.any():
        return before[:kept]
    image, now = as_floats(picture).permute(2, 0, 1), torch.stack([side.permute(2, 0, 1) for side in before])
    shares = torch.stack([matte, 1 - matte])[:, None]
    squares = shares.square()
    weights, steadiness = squares + LEAST, squares.sum(0) + RESERVE
    total = window_sums(weights, 1)
    for _ in range(ROUNDS):
        now = window_sums(corrected(image, shares, steadiness, now).mul_(weights), 1).div_(total)
    return [side.permute(1, 2, 0).contiguous() for side in corrected(image, shares, steadiness, now)[:kept]]


def _corrected(picture: Tensor, matte: Tensor, edge: Tensor, colors: list[Tensor], *, kept: int) -> list[Tensor]:
    """The same without spreading, which a large picture's pixels gain little from. Only those of the edge are computed.

    Each starts from the coarser pixels around it that show most of a side.
    """
    height, width = matte.shape
    refined = [doubled(side)[:height, :width] for side in colors[:kept]]
    if kept == 2:  # what is solid or clear leads the finer level
        whole, solid = as_floats(picture), matte > 0.5
        refined = [_pasted(side, whole, where) for side, where in zip(refined, (solid, ~solid), strict=True)]
    rows, columns = edge.nonzero(as_tuple=True)
    share = matte[rows, columns]
    shares = torch.stack([share, 1 - share])[:, None]  # colours before pixels, from here on: rows of three are slow
    coarse = _halved(matte[..., None])[..., 0]
    before = torch.stack(
        [_led(side, part, rows, columns) for side, part in zip(colors, (coarse, 1 - coarse), strict=True)]
    )
    image = as_floats(picture[rows, columns].T.contiguous())
    found = corrected(image, shares, shares.square().sum(0) + EDGE_RESERVE, before)
    for side, color in zip(refined, found, strict=False):
        side[rows, columns] = color.T
    return refined


def _led(color: Tensor, share: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(3, P): a side's colour at P pixels of a picture of twice the size, led by the pixels that show most of it."""
    weight = share.square() + LEAST
    if color.is_cpu:  # a third of the time
        product = torch.from_numpy(cv2.multiply(color.contiguous().numpy(), cv2.merge([weight.numpy()] * 3)))
    else:
        product = color * weight[..., None]
    return sampled(product, rows, columns).T / sampled(weight[..., None], rows, columns).T


def _pasted(planes: Tensor, own: Tensor, where: Tensor) -> Tensor:
    """``own`` where it is set, else ``planes``, which may be overwritten; (H, W, 3) and (H, W)."""
    if not planes.is_cpu:
        return torch.where(where[..., None], own, planes)
    width = where.shape[1]  # OpenCV takes a tenth of the time
    if planes.stride() != (3 * width, 3, 1):  # as it wants them, even where a side is one pixel
        planes = planes.clone(memory_format=torch.contiguous_format)
    cv2.copyTo(own.contiguous().numpy(), where.view(torch.uint8).numpy(), planes.numpy())
    return planes


def sampled(planes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(P, C): (h, w, C) at P pixels of a picture of twice the size, bilinearly."""
    if planes.is_cpu and len(rows):
        short = -len(rows) % 1024  # OpenCV's maps are pictures, of limited height
        x, y = (np.pad((each.float() - 0.5).div_(2).numpy(), (0, short)).reshape(-1, 1024) for each in (columns, rows))
        found = cv2.remap(planes.numpy(), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return torch.from_numpy(found.reshape(-1, planes.shape[2])[: len(rows)])
    height, width = planes.shape[:2]
    grid = torch.stack([(columns + 0.5) / width, (rows + 0.5) / height], 1) - 1
    planes = planes.permute(2, 0, 1)[None]
    return F.grid_sample(planes, grid[None, None], padding_mode="border", align_corners=False)[0, :, 0].T


def corrected(image: Tensor, shares: Tensor, steadiness: Tensor, colors: Tensor) -> Tensor:
    """The colours nearest to the given ones of which the picture is nearly the mixture.

    The share α / (α² + (1 − α)² + R) of the picture's noise enters F; with R = 1/8 it is at most 1, so that the
    foreground flickers no more than the footage.

    Args:
        image: The picture's colours, of any shape.
        shares: α and 1 − α, stacked, that broadcast to it.
        steadiness: α² + (1 − α)² + R, that broadcasts to it.
        colors: F₀ and B₀, stacked.
    """
    missing = torch.addcmul(image, shares[0], colors[0], value=-1).addcmul_(shares[1], colors[1], value=-1)
    return torch.addcmul(colors, shares, missing.div_(steadiness)).clamp_(0, 1)


def _mean(image: Tensor, share: Tensor) -> Tensor:
    """(3,): the mean colour of the pixels that show most of a side."""
    weight = share.pow(4) + LEAST
    return (image * weight).sum((0, 1)) / weight.sum((0, 1))


def _halved(x: Tensor) -> Tensor:
    """(⌈H/2⌉, ⌈W/2⌉, C): means of 2×2 pixels, in x's type; an odd last row or column counts twice."""
    height, width = x.shape[:2]
    if x.is_cpu:
        even = (
            cv2.copyMakeBorder(x.numpy(), 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            if height % 2 or width % 2
            else x.contiguous().numpy()
        )
        half = cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        return torch.from_numpy(half).reshape((height + 1) // 2, (width + 1) // 2, -1)
    planes = as_floats(x).permute(2, 0, 1)[None]
    planes = F.pad(planes, (0, width % 2, 0, height % 2), mode="replicate")
    return F.avg_pool2d(planes, 2)[0].permute(1, 2, 0)


def doubled(x: Tensor) -> Tensor:
    """(2h, 2w, C): (h, w, C) at twice its size, bilinearly."""
    if x.is_cpu:  # OpenCV takes a tenth of the time
        pixels = cv2.resize(x.contiguous().numpy(), None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(pixels).reshape(2 * x.shape[0], 2 * x.shape[1], -1)
    return F.interpolate(x.permute(2, 0, 1)[None], scale_factor=2, mode="bilinear")[0].permute(1, 2, 0).contiguous()


def as_floats(x: Tensor) -> Tensor:
    """Integers of the full range as float32 in [0, 1]; floats as float32."""
    return x.float() if x.is_floating_point() else x.float().div_(2 ** (8 * x.element_size()) - 1)
