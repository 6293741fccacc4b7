"""Recover the subject's own colours, so that hair and soft edges do not carry the old background along.

A pixel of the edge shows I = α·F + (1 − α)·B. Coarse to fine, as Germer et al. 2020 ("Fast Multi-Level Foreground
Estimation", arXiv 2006.14970) solve for both colours: each level starts from the one below and, in turn, spreads F and
B to their neighbours and corrects them until they explain the pixel. Two things differ from the paper. Levels are area
means, which the equation survives and noise does not. And colours are spread by how much of each a pixel shows, as
Forte 2021 ("Approximate Fast Foreground Colour Estimation", ICIP) has it, not by the alpha's gradient; both are box
filters and point operations, which every device does quickly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from streammatte.frame import Plate
from streammatte.stages.tiles import tiles_with

LEVELS = 7  # the coarsest is a 64th of the frame's size
ROUNDS = 2  # of spreading and correcting, at each level
RESERVE = 1 / 8  # see _corrected
LEAST = 1e-4  # weight of a pixel that shows nothing of a colour: enough to carry its neighbours' on
TILE = 128  # pixels; what holds no edge at a level is left as the coarser one has it
REACH = ROUNDS + 1  # pixels that a tile needs to see around itself


class ForegroundEstimator:
    """The stage: fills ``Plate.foreground``. Each frame by itself, so that nothing lags and nothing has to be reset.

    Args:
        device: Where to compute; the plate's own by default. The foreground is given back where the frame lies.
    """

    def __init__(self, device: torch.device | str | None = None) -> None:
        self._device = device

    def push(self, plate: Plate) -> Iterator[Plate]:
        """The plate with its foreground."""
        rgb, device = plate.frame.as_float(), self._device or plate.frame.rgb.device
        foreground = estimate_foreground(rgb.to(device), plate.alpha.to(device))
        yield replace(plate, foreground=foreground.to(rgb.device))

    def flush(self) -> Iterator[Plate]:
        """Nothing: no plate is held back."""
        return iter(())


def estimate_foreground(rgb: Tensor, alpha: Tensor, *, levels: int = LEVELS) -> Tensor:
    """The subject's colours wherever it shows, carried on beyond its edge.

    Args:
        rgb: (3, H, W) float in [0, 1], gamma-encoded as decoded.
        alpha: (H, W) float in [0, 1], on the same device.
        levels: Of the pyramid, each half as large as the one before; more reach further into soft hair.

    Returns:
        (3, H, W) in [0, 1], equal to ``rgb`` wherever ``alpha == 1``. Far from the subject, its mean colour.

    Raises:
        ValueError: Shapes or types do not fit, or there is no level.
    """
    if rgb.ndim != 3 or len(rgb) != 3 or rgb.shape[1:] != alpha.shape or not rgb.numel():
        raise ValueError(f"rgb {tuple(rgb.shape)} and alpha {tuple(alpha.shape)} must be (3, H, W) and (H, W)")
    if not (rgb.is_floating_point() and alpha.is_floating_point()):
        raise ValueError(f"rgb is {rgb.dtype} and alpha {alpha.dtype}: floats in [0, 1] are needed")
    if levels < 1:
        raise ValueError(f"{levels} levels: at least one is needed")
    pyramid = [(rgb[None], alpha[None, None])]
    while len(pyramid) < levels:
        image, matte = pyramid[-1]
        pyramid.append((_halved(image), _halved(matte)))
    image, matte = pyramid[-1]
    fore, back = (_mean(image, share).expand_as(image) for share in (matte, 1 - matte))
    for image, matte in reversed(pyramid):
        fore, back = _refined(image, matte, _doubled(fore, image), _doubled(back, image))
    return torch.where(alpha == 1, rgb, fore[0])


def _refined(image: Tensor, matte: Tensor, fore: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
    """One level: both colours as the coarser level has them, refined where there is an edge.

    Args:
        image, fore, back: (1, 3, h, w).
        matte: (1, 1, h, w).
    """
    refined = fore.clone(), back.clone()
    for tile in tiles_with(((matte > 0) & (matte < 1))[0, 0], TILE, REACH):
        solved = _solved(*(whole[tile.seen] for whole in (image, matte, fore, back)))
        for whole, part in zip(refined, solved, strict=True):
            whole[tile.own] = part[tile.inner]
    return refined


def _solved(image: Tensor, matte: Tensor, fore: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
    """Both colours of a tile after the rounds of one level; squared shares, so that the purest pixels lead."""
    share = torch.cat([matte, 1 - matte], 1).square_().add_(LEAST)
    total = _spread(share)
    for _ in range(ROUNDS):
        fore, back = _corrected(image, matte, fore, back)
        mixed = _spread(torch.cat([fore * share[:, :1], back * share[:, 1:]], 1))
        fore, back = mixed[:, :3] / total[:, :1], mixed[:, 3:] / total[:, 1:]
    return _corrected(image, matte, fore, back)


def _corrected(image: Tensor, matte: Tensor, fore: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
    """The colours nearest to ``fore`` and ``back`` of which the picture is nearly the mixture.

    They minimise |I − αF − (1 − α)B|² + R·(|F − fore|² + |B − back|²). Of the picture's noise, α / (α² + (1 − α)² + R)
    gets into F: with R at an eighth that is at most 1, so that a foreground flickers no more than its footage.
    """
    rest = 1 - matte
    missing = (image - matte * fore - rest * back) / (matte.square() + rest.square() + RESERVE)
    return (fore + matte * missing).clamp_(0, 1), (back + rest * missing).clamp_(0, 1)


def _spread(colors: Tensor) -> Tensor:
    """Mean of each 3×3 neighbourhood; the frame's last pixels go on beyond it."""
    return F.avg_pool2d(F.pad(colors, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _mean(image: Tensor, share: Tensor) -> Tensor:
    """(1, 3, 1, 1): the mean colour of what shows most of a side."""
    weight = share.pow(4) + LEAST
    return (image * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True)


def _halved(x: Tensor) -> Tensor:
    """Means of 2×2 pixels; of fewer at an odd edge."""
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def _doubled(x: Tensor, like: Tensor) -> Tensor:
    """The inverse grid: as large as ``like``, of which ``x`` is the half; ``x`` itself if it is as large."""
    if x.shape == like.shape:
        return x
    return F.interpolate(x, scale_factor=2, mode="bilinear")[..., : like.shape[2], : like.shape[3]]
