"""Cut-outs on a GPU as the planes that an encoder takes, computed there, so that nothing larger crosses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from streammatte.color.planes import own_planes, padded, planes_of, rounded, subsampled
from streammatte.frame import Cutout, StoredSamples
from streammatte.media.write.composing import Contents


@dataclass(frozen=True, slots=True)
class Layout:
    """What an encoder takes: (H, W) of luma and chroma, and the code values."""

    luma: tuple[int, int]
    chroma: tuple[int, int]
    bits: int
    matrix: int
    full_range: bool

    def stepped(self, planes: list[Tensor]) -> list[Tensor]:
        """Rounded, in the encoder's type."""
        kind = torch.uint8 if self.bits == 8 else torch.uint16
        return [rounded(plane, 2**self.bits - 1, kind) for plane in planes]


def packed_matte(cutout: Cutout, layout: Layout) -> list[Tensor]:
    """Luma alone: alpha over the studio swing."""
    unit = 2 ** (layout.bits - 8)
    return layout.stepped([padded(_opacity(cutout), layout.luma) * (219 * unit) + 16 * unit])


def packed_alpha(cutout: Cutout, layout: Layout) -> list[Tensor]:
    """The alpha plane alone, over its whole range."""
    return layout.stepped([padded(_opacity(cutout), layout.luma) * (2**layout.bits - 1)])


def packed_colors(
    cutout: Cutout, contents: Contents, layout: Layout, stored: StoredSamples | None, behind: Tensor | None
) -> list[Tensor]:
    """Y', Cb and Cr, as :class:`~streammatte.media.write.painting.CutoutPainter` makes them, within two steps.

    Args:
        cutout: Its frame on the device is a copy with ``planes`` if there is ``stored``.
        contents: Neither a matte nor a pair.
        stored: Describes the source's samples, if they stay where the colours are the frame's.
        behind: The background, on the device.
    """
    frame = cutout.frame.on(cutout.alpha.device)
    cutout = replace(cutout, frame=frame)
    rgb = cutout.as_float().clamp(0, 1)
    if behind is not None:
        rgb = (rgb - behind) * _opacity(cutout) + behind
    elif contents.part == "plate" and contents.alpha == "premultiplied":
        rgb = rgb * _opacity(cutout)
    bits, full_range = layout.bits, layout.full_range
    planes = planes_of(padded(rgb, layout.luma), layout.chroma, layout.matrix, bits, full_range=full_range)
    if stored is not None:
        luma, *chroma = own_planes(frame.planes, stored, layout.chroma, bits, full_range=full_range)
        own = padded(own_colors(cutout).float(), layout.luma)
        shared = subsampled(own, layout.chroma) > 1 - 1e-3  # a sample is the source's if all pixels behind it are
        source = [padded(luma, layout.luma), *chroma]
        planes = [torch.where(*each) for each in zip((own > 0, shared, shared), source, planes, strict=True)]
    return layout.stepped(planes)


def own_colors(cutout: Cutout) -> Tensor:
    """(H, W) bool: where the cut-out's integer colours are exactly those of its frame."""
    if cutout.foreground is None:
        return torch.ones_like(cutout.alpha, dtype=torch.bool)
    own, colors = cutout.frame.rgb.int(), cutout.foreground
    if colors.is_floating_point():
        colors = rounded(colors * 65535.0, 65535, torch.int)
    if cutout.frame.rgb.dtype == torch.uint8 and cutout.foreground.dtype != torch.uint8:
        own = own * 257  # white stays white
    return (own == colors.int()).all(dim=0)


def _opacity(cutout: Cutout) -> Tensor:
    return cutout.alpha.float().clamp(0, 1)
