"""How a picture looks on a screen. Networks were trained on sRGB photographs, and expect that.

Log, linear and HDR material is flat, dark or both as stored. It is turned into light, of which 1 is a white sheet of
paper in the scene (diffuse white), and encoded as sRGB; highlights above that white are clipped. Each channel goes
through one curve by itself: primaries stay the source's, so wide ones look a little pale, and HLG's system gamma is
applied to channels, not to luminance.

Curves take code values from 0 to 1, the range that the footage is tagged with.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streammatte.color.codes import HLG, LINEAR, PQ
from streammatte.color.curves import (
    DIFFUSE_WHITE,
    light_from_logc3,
    light_from_slog3,
    nits_from_pq,
    scene_from_hlg,
    srgb_from_light,
)

if TYPE_CHECKING:
    from streammatte.frame import ColorSpec

# Transfers that a screen cannot show unconverted; H.273 has no codes for camera logs.
_TAGGED = {LINEAR: "linear", PQ: "pq", HLG: "hlg"}

HLG_PEAK = 1000
HLG_GAMMA = 1.2  # ITU-R BT.2100-2, table 5, at that peak

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def transfer_for(named: str | None, color: ColorSpec) -> str | None:
    """The curve that footage must be converted from for viewing: the named one, or else the tagged one.

    ``None`` for ``srgb`` and ``rec709``: screens show both unconverted, and networks were trained on both.
    """
    name = named or _TAGGED.get(color.transfer)
    return name if name in CURVES else None


def displayed(rgb: Tensor, transfer: str) -> Tensor:
    """Colours as a screen would show them, in sRGB and of the same type.

    Args:
        rgb: (3, H, W) uint8, uint16 or float32. The shadows of 8-bit linear light are coarse.
        transfer: Their encoding: ``linear``, ``logc3``, ``slog3``, ``pq`` or ``hlg``.
    """
    stored = rgb.permute(1, 2, 0).cpu().numpy()
    if rgb.is_floating_point():  # for a network, 16 bits are as good
        codes = np.rint(np.clip(stored, 0, 1) * np.float32(65535)).astype(np.uint16)
        shown = np.take(_table(transfer, 16), codes) / np.float32(65535)
    else:
        shown = np.take(_table(transfer, 8 * stored.itemsize), stored)
    return torch.from_numpy(shown).permute(2, 0, 1).to(rgb.device)


def view_of(transfer: str | None, profile: bytes | None) -> Callable[[Tensor], Tensor] | None:
    """``Frame.view`` for footage: from its colours to what a screen shows; ``None`` if they are the same.

    Args:
        transfer: As for :func:`displayed`; it overrides a profile.
        profile: The frames' ICC profile.
    """
    if transfer is not None:
        return partial(displayed, transfer=transfer)
    if profile is None:
        return None
    from streammatte.color.profiles import is_srgb, rgb_in_srgb

    return None if is_srgb(profile) else partial(rgb_in_srgb, profile=profile)


@cache
def _table(transfer: str, bits: int) -> NDArray[np.integer]:
    """The displayed value of each code value."""
    peak = 2**bits - 1
    shown = _shown(np.arange(peak + 1) / peak, transfer)
    table: NDArray[np.integer] = np.rint(shown * peak).astype(np.uint8 if bits == 8 else np.uint16)
    return table


def _shown(code: NDArray[np.float64], transfer: str) -> NDArray[np.float64]:
    return srgb_from_light(np.clip(CURVES[transfer](code), 0, 1))


def nits_from_hlg(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """cd/m² of grey on a display of 1000; 0.75 is 203. ARIB STD-B67 (the inverse OETF), BT.2100-2 (the gamma)."""
    scene = scene_from_hlg(code)
    return HLG_PEAK * np.maximum(scene, 0) ** HLG_GAMMA


CURVES: dict[str, Curve] = {  # from a code value to light, 1 being diffuse white
    "linear": lambda code: code,
    "logc3": light_from_logc3,
    "slog3": light_from_slog3,
    "pq": lambda code: nits_from_pq(code) / DIFFUSE_WHITE,
    "hlg": lambda code: nits_from_hlg(code) / DIFFUSE_WHITE,
}
