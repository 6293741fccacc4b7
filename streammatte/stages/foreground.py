"""Recover the subject's own colours, so that hair and soft edges carry no background.

A pixel of the edge shows I = α·F + (1 − α)·B. Both colours are solved coarse to fine (Germer et al. 2020, "Fast
Multi-Level Foreground Estimation", arXiv 2006.14970): each level starts from the coarser one, and alternately spreads F
and B to their neighbours and corrects them to explain the pixel. Three things differ from the paper. Levels are area
means, which keep the equation and reduce noise. Colours are spread by the share that a pixel shows of each (Forte 2021,
"Approximate Fast Foreground Colour Estimation", ICIP), not by the alpha's gradient: box filters and point operations,
fast on every device. And levels of more than ``LARGE`` pixels compute only the tiles that hold an edge, and spread luma
alone, in which neighbours of that size differ most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streammatte.frame import Cutout
from streammatte.models.device import turn_on
from streammatte.stages.frame_by_frame import FrameByFrame
from streammatte.stages.tiles import occupied, window_sums

LEVELS = 7  # the coarsest is a 64th of the frame's size
ROUNDS = 2  # of spreading and correcting, at each level
LARGE = 640  # pixels of the longer side, beyond which levels spread luma alone
RESERVE = 1 / 8  # see corrected
EDGE_RESERVE = 1 / 32  # of levels that spread luma alone
LEAST = 1e-4  # weight of a pixel that shows nothing of a colour: enough to pass on its neighbours'
TILE = 16  # pixels
SEEN = TILE + 2 * ROUNDS  # pixels of a tile and of what its result depends on
STEEP = 0.5  # change of alpha within ``ROUNDS`` pixels, from which an edge gains from its neighbours
BATCH = 192  # tiles at a time, so that intermediate results stay in the processor's cache
STRIP = 16384  # pixels
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, as OpenCV weights them


class ForegroundEstimator(FrameByFrame):
    """The stage: fills ``Cutout.foreground``.

    Args:
        device: Where to compute, and where the result stays; by default the frame's device.
    """

    ordered = False

    def __init__(self, device: torch.device | str | None = None) -> None:
        self._device = None if device is None else torch.device(device)

    def better(self, cutout: Cutout) -> Cutout:
        device = self._device or cutout.frame.rgb.device
        with turn_on(device):
            rgb = cutout.frame.on(device).rgb
            return replace(cutout, foreground=_estimated(rgb, cutout.alpha.to(device), LEVELS))


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
def _estimated(rgb: Tensor, alpha: Tensor, levels: int, largest: float | None = None) -> Tensor:
    """The same, also for integers of the full range; the result has rgb's type.

    Args:
        largest: Of rgb's values, at least 1; found out by default.
    """
    if not rgb.is_cpu and not rgb.is_floating_point():
        # A GPU computes floats as fast, and lacks many operations for integers of 16 bits.
        return as_type(_estimated(as_floats(rgb), alpha, levels, 1.0), rgb.dtype)
    own, alpha = rgb.permute(1, 2, 0), alpha.float()  # frames have their channels last
    if largest is None:  # the equation is linear in the colours
        largest = max(1.0, float(rgb.max())) if rgb.is_floating_point() else 1.0
    height, width = alpha.shape
    large = sum(max(height, width) > LARGE << level for level in range(levels))
    unit = TILE << large - 1 if large else 1  # of levels that are computed in tiles, each has whole ones
    pyramid = [(_extended(own / largest if largest > 1 else own, unit), _extended(alpha[..., None], unit)[..., 0])]
    while len(pyramid) < levels:
        pyramid.append((_halved(pyramid[-1][0]), _halved(pyramid[-1][1][..., None])[..., 0]))
    image, matte = as_floats(pyramid[-1][0]), pyramid[-1][1][..., None]
    half = (image.shape[0] + 1) // 2, (image.shape[1] + 1) // 2, 3
    colors = [_mean(image, share).expand(half) for share in (matte, 1 - matte)]
    for level, (picture, matte) in reversed([*enumerate(pyramid)]):
        if level < large:
            colors = [as_type(side, rgb.dtype) for side in colors]
        colors = [doubled(side)[: len(matte), : matte.shape[1]] for side in colors]
        edge = _between(_in_bytes(matte), 1, 254)  # no picture of 8 bits shows the other side elsewhere
        if not edge.is_cpu or edge.any():  # a GPU would have to be waited for
            refine = _spread_in_strips if level >= large else partial(_refined, kept=2 if level else 1)
            colors = refine(picture, matte, edge, colors)
    foreground = colors[0] * largest if largest > 1 else as_type(colors[0], rgb.dtype)
    return _pasted(foreground[:height, :width], own, _between(_in_bytes(alpha), 255, 255)).permute(2, 0, 1)


def _spread_in_strips(picture: Tensor, matte: Tensor, edge: Tensor, colors: list[Tensor]) -> list[Tensor]:
    """:func:`_spread` of a few rows at a time, whose intermediate results stay in the processor's cache."""
    height, width = matte.shape
    step = max(1, STRIP // width) if picture.is_cpu else height
    parts = []
    for top in range(0, height, step):
        first, last = max(0, top - ROUNDS), min(height, top + step + ROUNDS)
        sides = _spread(picture[first:last], matte[first:last], edge, [side[first:last] for side in colors])
        parts.append([side[top - first :][:step] for side in sides])
    return parts[0] if len(parts) == 1 else [torch.cat(side) for side in zip(*parts, strict=True)]


def _spread(picture: Tensor, matte: Tensor, edge: Tensor, colors: list[Tensor]) -> list[Tensor]:
    """One level: F and B spread and corrected; shares are squared, so that the purest pixels lead.

    Args:
        picture: (h, w, 3), floats or integers.
        matte: (h, w).
        edge: (h, w), set where the matte is neither 0 nor 1.
        colors: F and B of the coarser level at this level's size, (h, w, 3) each.
    """
    image, *sides = (_planes(as_floats(each)) for each in (picture, *colors))
    now = torch.stack(sides)
    shares = torch.stack([matte, 1 - matte])[:, None]
    squares = shares.square()
    weights, steadiness = squares + LEAST, squares.sum(0) + RESERVE
    total = window_sums(weights, 1)
    for _ in range(ROUNDS):
        now = window_sums(corrected(image, shares, steadiness, now).mul_(weights), 1).div_(total)
    return [_pixels(side) for side in corrected(image, shares, steadiness, now)]


def _planes(pixels: Tensor) -> Tensor:
    """(3, h, w) of (h, w, 3) floats."""
    if not pixels.is_cpu:
        return pixels.permute(2, 0, 1).contiguous()
    planes = torch.empty(3, *pixels.shape[:2])
    cv2.split(pixels.numpy(), list(planes.numpy()))  # in under half the time
    return planes


def _pixels(planes: Tensor) -> Tensor:
    """The other way."""
    if not planes.is_cpu:
        return planes.permute(1, 2, 0).contiguous()
    return torch.from_numpy(cv2.merge(list(planes.numpy()))).view(*planes.shape[1:], 3)


def _refined(picture: Tensor, matte: Tensor, edge: Tensor, colors: list[Tensor], kept: int = 2) -> list[Tensor]:
    """The same for a large picture of whole tiles; all colours are of one type, and the first ``kept`` are corrected.

    Only tiles with a steep edge gain from their neighbours. In the others, and on the frame's border, which lacks some,
    pixels are corrected alone.
    """
    some = occupied(edge, TILE)
    steep = occupied(_between(_steepness(matte), round(255 * STEEP), 255), TILE)
    steep[[0, -1]], steep[:, [0, -1]] = False, False
    if not picture.is_cpu:
        return refined_whole(picture, matte, colors, kept, some, steep)
    for wanted, side in ((steep, SEEN), (some & ~steep, TILE)):
        rows, columns = wanted.nonzero(as_tuple=True)
        made = []  # placed in the end, since tiles look at each other
        for first in range(0, len(rows), BATCH):
            tiles = rows[first : first + BATCH], columns[first : first + BATCH]
            image, alpha, *before = (_taken(each, side, tiles) for each in (picture, matte, *colors))
            if side == SEEN:
                lumas = [_luma(each) for each in (image, *before)]
                steps = _spread_luma(largest_of(picture.dtype), alpha, *lumas)
                image, alpha, *before = (_inner(each) for each in (image, alpha, *before))
            own, *before = (each.float() for each in (image, *before))
            if side == SEEN:
                for color, step in zip(before, steps, strict=True):
                    color.add_(_thrice(step)).clamp_(0, largest_of(picture.dtype))
            for color, found in zip(colors[:kept], _explaining(own, alpha, before), strict=False):
                made.append((_stored(found, color.dtype), color, tiles))
        for found, color, tiles in made:
            _place(found, color, tiles)
    return colors


def refined_whole(
    picture: Tensor, matte: Tensor, colors: list[Tensor], kept: int, some: Tensor, steep: Tensor
) -> list[Tensor]:
    """The same of the whole picture at once: a GPU computes that sooner than it tells which tiles are needed.

    Args:
        some, steep: (h / TILE, w / TILE) booleans: tiles with an edge, and with a steep one.
    """
    white = largest_of(picture.dtype)
    own, *before = (each.float() for each in (picture, *colors))
    alpha, lumas = matte, [_luma(each[None])[0].float() for each in (picture, *colors)]
    shares, inverse = torch.stack([alpha, 1 - alpha]), _inverse(alpha)
    weights, now = shares.square().add_(LEAST), torch.stack(lumas[1:])
    total = window_sums(weights[None], 1)[0]
    for _ in range(ROUNDS):
        missing = (lumas[0] - torch.lerp(now[1], now[0], alpha)).mul_(inverse)
        now = window_sums(now.addcmul(shares, missing).clamp_(0, white).mul_(weights)[None], 1)[0].div_(total)
    wide, steps = _pixelwise(steep)[..., None], now - torch.stack(lumas[1:])
    before = [(each + step[..., None] * wide).clamp_(0, white) for each, step in zip(before, steps, strict=True)]
    better = list(_explaining(own[None], alpha[None], [each[None] for each in before]))[:kept]
    wide = _pixelwise(some | steep)[..., None]
    better = [torch.where(wide, _stored(each[0], old.dtype), old) for each, old in zip(better, colors, strict=False)]
    return better + colors[kept:]


def _pixelwise(tiles: Tensor) -> Tensor:
    """(H, W) of (H / TILE, W / TILE)."""
    return tiles.repeat_interleave(TILE, 0).repeat_interleave(TILE, 1)


def _explaining(own: Tensor, alpha: Tensor, before: list[Tensor]) -> Iterator[Tensor]:
    """F, then B, as :func:`corrected` has them, in tiles: (N, TILE, TILE, 3) floats, alpha (N, TILE, TILE)."""
    fore, back = before
    missing = torch.sub(fore, back).mul_(_thrice(alpha)).add_(back)
    missing = torch.sub(own, missing, out=missing).mul_(_thrice(_inverse(alpha)))
    yield torch.addcmul(fore, _thrice(alpha), missing)
    yield torch.addcmul(back, _thrice(1 - alpha), missing)


def _thrice(tiles: Tensor) -> Tensor:
    """(N, TILE, TILE, 3) of (N, TILE, TILE): numbers that are broadcast to colours take a CPU ten times as long."""
    if not tiles.is_cpu:
        return tiles[..., None]
    return torch.from_numpy(cv2.merge([tiles.reshape(-1, TILE).numpy()] * 3)).view(*tiles.shape, 3)


def _stored(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Floats in the units of a type, limited to its range in place, and rounded."""
    x = x.clamp_(0, largest_of(dtype))
    return x if dtype.is_floating_point else x.add_(0.5).to(dtype)


def _inverse(alpha: Tensor) -> Tensor:
    """1 / steadiness (see :func:`corrected`) of levels that spread luma alone."""
    return (alpha * (alpha - 1)).mul_(2).add_(1 + EDGE_RESERVE).reciprocal_()  # α² + (1 − α)² = 1 + 2α(α − 1)


def _spread_luma(largest: int, alpha: Tensor, image: Tensor, fore: Tensor, back: Tensor) -> Tensor:
    """What spreading changes of both lumas in tiles with a margin, (N, SEEN, SEEN) each.

    Tiles lie one after the other; what runs from one into the next stays within the margin.

    Returns:
        (2, N, TILE, TILE), for the tiles alone.
    """
    alpha, image = alpha.flatten(), image.flatten().float()
    before = torch.stack([fore, back]).flatten(1).float()
    shares = torch.stack([alpha, 1 - alpha])
    inverse, weights = _inverse(alpha), shares.square().add_(LEAST)
    now, total = before.clone(), _box(weights.clone()).reciprocal_()
    for _ in range(ROUNDS):
        missing = torch.lerp(now[1], now[0], alpha)
        missing = torch.sub(image, missing, out=missing).mul_(inverse)
        now = _box(now.addcmul_(shares, missing).clamp_(0, largest).mul_(weights)).mul_(total)
    return _inner(now.sub_(before).view(2 * len(now[0]) // SEEN**2, SEEN, SEEN)).view(2, -1, TILE, TILE)


def _box(x: Tensor) -> Tensor:
    """(C, N · SEEN²), in place: sums over each pixel's 3×3 window; the first and last row stay as they are."""
    across, inner = torch.add(x[:, :-2], x[:, 1:-1]).add_(x[:, 2:]), x[:, SEEN + 1 : -SEEN - 1]
    torch.add(across[:, : -2 * SEEN], across[:, SEEN:-SEEN], out=inner).add_(across[:, 2 * SEEN :])
    return x


def _steepness(matte: Tensor) -> Tensor:
    """(h, w) bytes: the largest difference of alpha, in 255ths, in each pixel's window of 5×5."""
    codes = _in_bytes(matte)
    if codes.is_cpu:
        return torch.from_numpy(cv2.morphologyEx(codes.numpy(), cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)))
    most, least = (F.max_pool2d(sign * codes[None].float(), 5, 1, 2)[0] for sign in (1, -1))
    return (most + least).to(torch.uint8)


def _in_bytes(matte: Tensor) -> Tensor:
    """(h, w) uint8, as pictures of 8 bits store it."""
    if matte.is_cpu:
        return torch.from_numpy(cv2.convertScaleAbs(matte.contiguous().numpy(), alpha=255))
    return (255 * matte).round_().to(torch.uint8)


def _taken(x: Tensor, side: int, tiles: tuple[Tensor, Tensor]) -> Tensor:
    """(N, side, side, …): N tiles of (h, w, …), by their rows and columns, with a margin that lies within it."""
    margin, (rows, columns) = (side - TILE) // 2, tiles
    if margin:
        x, rows, columns = x[TILE - margin :, TILE - margin :], rows - 1, columns - 1
    counts = [(length - side) // TILE + 1 for length in x.shape[:2]]
    steps = [step * TILE for step in x.stride()[:2]]
    windows = x.as_strided((*counts, side, side, *x.shape[2:]), (*steps, *x.stride()))
    if x.is_cpu:  # NumPy copies whole rows
        return torch.from_numpy(windows.numpy()[rows.numpy(), columns.numpy()])
    return windows[rows, columns]


def _inner(tiles: Tensor) -> Tensor:
    """(N, TILE, TILE, …) of (N, SEEN, SEEN, …)."""
    return tiles[:, ROUNDS:-ROUNDS, ROUNDS:-ROUNDS].contiguous()


def _place(pixels: Tensor, picture: Tensor, tiles: tuple[Tensor, Tensor]) -> None:
    """Put N tiles, (N, TILE, TILE, 3), into a picture of whole tiles, by their rows and columns."""
    windows = picture.view(len(picture) // TILE, TILE, -1, TILE, 3)
    if picture.is_cpu:
        windows.numpy()[tiles[0].numpy(), :, tiles[1].numpy()] = pixels.numpy()
    else:
        windows[tiles[0], :, tiles[1]] = pixels


def _luma(tiles: Tensor) -> Tensor:
    """(N, SEEN, SEEN) of (N, SEEN, SEEN, 3)."""
    if tiles.is_cpu:  # a tile is one row, since OpenCV is slow with short ones
        grey = cv2.cvtColor(tiles.flatten(1, 2).numpy(), cv2.COLOR_RGB2GRAY)
        return torch.from_numpy(grey).view(tiles.shape[:3])
    return tiles.float() @ torch.tensor(LUMA, device=tiles.device)


def _between(codes: Tensor, least: int, most: int) -> Tensor:
    """(h, w) bytes, set where the given ones are from ``least`` to ``most``."""
    if codes.is_cpu:  # OpenCV takes a fourth of the time
        return torch.from_numpy(cv2.inRange(codes.numpy(), least, most))
    return ((codes >= least) & (codes <= most)).to(torch.uint8)


def _extended(x: Tensor, unit: int) -> Tensor:
    """(H, W, C) with the last row and column repeated up to a multiple of ``unit``."""
    down, right = (-side % unit for side in x.shape[:2])
    if x.is_cpu and (down or right):  # in half the time
        wide = cv2.copyMakeBorder(x.contiguous().numpy(), 0, down, 0, right, cv2.BORDER_REPLICATE)
        return torch.from_numpy(wide).view(x.shape[0] + down, x.shape[1] + right, -1)
    for axis in (0, 1):
        last = x.narrow(axis, x.shape[axis] - 1, 1)
        x = torch.cat([x, *[last] * (-x.shape[axis] % unit)], axis) if x.shape[axis] % unit else x
    return x


def _pasted(planes: Tensor, own: Tensor, where: Tensor) -> Tensor:
    """``own`` where it is set, else ``planes``, which may be overwritten; (H, W, 3) and (H, W)."""
    if not planes.is_cpu:
        return torch.where(where[..., None] > 0, own, planes)
    if planes.stride() != (3 * where.shape[1], 3, 1):  # as OpenCV wants them, even where a side is one pixel
        planes = planes.clone(memory_format=torch.contiguous_format)
    cv2.copyTo(own.contiguous().numpy(), where.numpy(), planes.numpy())  # a tenth of the time
    return planes


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
    missing = torch.lerp(colors[1], colors[0], shares[0])
    missing = torch.sub(image, missing, out=missing).div_(steadiness)
    return torch.addcmul(colors, shares, missing).clamp_(0, 1)


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
    return as_type(F.avg_pool2d(planes, 2)[0].permute(1, 2, 0), x.dtype)


def doubled(x: Tensor) -> Tensor:
    """(2h, 2w, C): (h, w, C) at twice its size, bilinearly, in its type."""
    if x.is_cpu:  # OpenCV takes a tenth of the time
        pixels = cv2.resize(x.contiguous().numpy(), None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(pixels).reshape(2 * x.shape[0], 2 * x.shape[1], -1)
    twice = F.interpolate(as_floats(x).permute(2, 0, 1)[None], scale_factor=2, mode="bilinear")[0]
    return as_type(twice.permute(1, 2, 0).contiguous(), x.dtype)


def as_floats(x: Tensor) -> Tensor:
    """Integers of the full range as float32 in [0, 1]; floats as float32."""
    return x.float() if x.is_floating_point() else x.float().div_(largest_of(x.dtype))


def as_type(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Floats in [0, 1] as integers of the full range, rounded; itself if it has that type."""
    return x if x.dtype == dtype else _stored(x * largest_of(dtype), dtype)


def largest_of(dtype: torch.dtype) -> int:
    """The value of white."""
    return 1 if dtype.is_floating_point else 2 ** (8 * dtype.itemsize) - 1
