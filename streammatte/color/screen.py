"""What a picture looks like on a screen, for networks that have seen nothing else: photographs as sRGB files hold them.

Log, linear and HDR material is flat, dark or both as stored. It is turned into light, of which 1 is a white sheet of
paper in the scene (diffuse white), and encoded as sRGB; highlights above that white are clipped. Each channel goes
through one curve by itself: primaries stay the source's, so wide ones look a little pale, and HLG's system gamma is
applied to channels, not to luminance.

A curve is of code values as RGB holds them, 0 … 1 of the range that the footage is tagged with.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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

# H.273's TransferCharacteristics that tell what is not made for a screen as it is. Camera logs have none.
_TAGGED = {8: "linear", 16: "pq", 18: "hlg"}

HLG_PEAK = 1000
HLG_GAMMA = 1.2  # ITU-R BT.2100-2, table 5, at that peak

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def transfer_for(named: str | None, color: ColorSpec) -> str | None:
    """Which curve footage has to be converted from to be seen, as named or else as its tags say; mostly ``None``.

    ``srgb`` and ``rec709`` are none: screens show both as they are, and networks have been shown both.
    """
    name = named or _TAGGED.get(color.transfer)
    return name if name in CURVES else None


def displayed(rgb: Tensor, transfer: str) -> Tensor:
    """Colours as a screen would show them, in sRGB and of the same type.

    Args:
        rgb: (3, H, W) uint8, uint16 or float32. Of 8 bits of linear light, the shadows are coarse.
        transfer: What they are encoded in: ``linear``, ``logc3``, ``slog3``, ``pq`` or ``hlg``.
    """
    stored = rgb.permute(1, 2, 0).cpu().numpy()
    if rgb.is_floating_point():  # for a network, 16 bits are as good
        codes = np.rint(np.clip(stored, 0, 1) * np.float32(65535)).astype(np.uint16)
        shown = np.take(_table(transfer, 16), codes) / np.float32(65535)
    else:
        shown = np.take(_table(transfer, 8 * stored.itemsize), stored)
    return torch.from_numpy(shown).permute(2, 0, 1).to(rgb.device)


def view_of(transfer: str | None, profile: bytes | None) -> Callable[[Tensor], Tensor] | None:
    """``Frame.view`` of footage: from its colours to what a screen shows; ``None`` if they are that already.

    Args:
        transfer: As of :func:`displayed`; named by the user or the file's tags, it goes before a profile.
        profile: The ICC profile that frames are of.
    """
    if transfer is not None:
        return partial(displayed, transfer=transfer)
    if profile is None:
        return None
    from streammatte.color.profiles import is_srgb, rgb_in_srgb

    return None if is_srgb(profile) else partial(rgb_in_srgb, profile=profile)


@cache
def _table(transfer: str, bits: int) -> NDArray[np.integer]:
    """What each code value becomes."""
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
