"""Y'CbCr to RGB and back on a GPU, in torch. On a CPU :mod:`~streammatte.color.ycbcr` does the same in less time.

Each value is rounded once, at the end, where OpenCV also rounds interpolated chroma: results differ by two steps at
most. Factors are Python numbers, so that they need no transfer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from streammatte.color.matrices import code_range, rgb_to_ycbcr, share_of, ycbcr_to_rgb

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streammatte.frame import StoredSamples


def rgb_of(planes: Sequence[Tensor], stored: StoredSamples) -> Tensor:
    """(3, H, W) RGB of planes on a device, as ``Frame.rgb`` has it; not turned."""
    luma, *chroma = planes
    full = [plane.float() for plane in (luma, *(_at_luma(plane, luma, stored) for plane in chroma))]
    peak = 255 if stored.bits == 8 else 65535
    rgb = affine(full, ycbcr_to_rgb(stored.matrix, stored.bits, full_range=stored.full_range, peak=peak))
    return rounded(rgb, peak, luma.dtype)


def planes_of(rgb: Tensor, chroma: tuple[int, int], matrix: int, bits: int, *, full_range: bool) -> list[Tensor]:
    """Y', Cb and Cr of RGB on a device, float32 code values that are not yet rounded.

    Args:
        rgb: (3, H, W) float32 in [0, 1].
        chroma: (H, W) of the wanted chroma planes, sited on even columns and between rows.
        matrix, bits, full_range: Of the Y'CbCr.
    """
    luma, *colors = affine(list(rgb), rgb_to_ycbcr(matrix, bits, full_range=full_range, peak=1))
    return [luma, *(subsampled(plane, chroma) for plane in colors)]


def own_planes(
    planes: Sequence[Tensor], stored: StoredSamples, chroma: tuple[int, int], bits: int, *, full_range: bool
) -> list[Tensor]:
    """The source's planes on a device at another depth, range and chroma grid, float32 code values; not turned."""
    luma, *colors = planes
    if stored.centred or colors[0].shape != chroma:
        colors = [subsampled(_at_luma(plane, luma, stored), chroma) for plane in colors]
    scaled = []
    for plane, is_chroma in ((luma, False), *((plane, True) for plane in colors)):
        zero, span = code_range(stored.bits, full_range=stored.full_range, chroma=is_chroma)
        new_zero, new_span = code_range(bits, full_range=full_range, chroma=is_chroma)
        gain = new_span / span
        scaled.append(plane.float() * gain + (new_zero - zero * gain))
    return scaled


def affine(channels: Sequence[Tensor], matrix: NDArray[Any]) -> Tensor:
    """Three planes through a (3, 4) matrix."""
    first, second, third = channels
    return torch.stack([first * a + second * b + third * c + d for a, b, c, d in matrix.tolist()])


def rounded(values: Tensor, peak: float, dtype: torch.dtype) -> Tensor:
    """Whole numbers from 0 to ``peak``, half-way cases to even, as OpenCV rounds."""
    return values.round().clamp_(0, peak).to(dtype)


def subsampled(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """A full-size float plane on the grid of 4:2:2 or 4:2:0, filtered as :func:`streammatte.color.ycbcr.subsampled`."""
    down, across = (share_of(luma, chroma) for luma, chroma in zip(plane.shape, size, strict=True))
    if down == 2:
        plane = _extended(plane, bottom=plane.shape[0] % 2)
        plane = (plane[::2] + plane[1::2]) / 2
    if across == 2:
        width = plane.shape[1]
        wide = _extended(plane, left=1, right=1)
        plane = wide[:, :width:2] / 4 + wide[:, 1 : width + 1 : 2] / 2 + wide[:, 2 : width + 2 : 2] / 4
    return plane


def padded(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """(…, H, W) float planes as large as that, by repeating the last row and column."""
    bottom, right = size[0] - planes.shape[-2], size[1] - planes.shape[-1]
    return _extended(planes, bottom=bottom, right=right)


def _extended(planes: Tensor, *, left: int = 0, right: int = 0, bottom: int = 0) -> Tensor:
    if not (left or right or bottom):
        return planes
    height, width = planes.shape[-2:]
    flat = F.pad(planes.reshape(1, -1, height, width), (left, right, 0, bottom), mode="replicate")
    return flat.view(*planes.shape[:-2], height + bottom, width + left + right)


def _at_luma(plane: Tensor, luma: Tensor, stored: StoredSamples) -> Tensor:
    """A chroma plane interpolated linearly to luma's grid, float32."""
    for axis in (0, 1):
        share = share_of(luma.shape[axis], plane.shape[axis])
        plane = _between(plane.float(), luma.shape[axis], share, axis, centred=stored.centred or axis == 0)
    return plane


def _between(plane: Tensor, count: int, share: int, axis: int, *, centred: bool) -> Tensor:
    """``count`` rows or columns from samples that ``share`` of them share: midway between these, or on their first."""
    if share == 1:
        return plane
    places = torch.arange(count, device=plane.device)
    at = (places + 0.5) / share - 0.5 if centred else places / share
    first = at.floor()
    part = (at - first).view(-1, 1) if axis == 0 else at - first
    last = plane.shape[axis] - 1
    before = plane.index_select(axis, first.long().clamp(0, last))
    return before.lerp(plane.index_select(axis, (first.long() + 1).clamp(0, last)), part)
