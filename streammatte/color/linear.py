"""To linear light, in which EXR is kept, and back to what video and other pictures hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streammatte.color.curves import (
    DIFFUSE_WHITE,
    bt709_from_light,
    hlg_from_scene,
    light_from_bt709,
    light_from_srgb,
    nits_from_pq,
    pq_from_nits,
    scene_from_hlg,
    srgb_from_light,
)
from streammatte.frame import UNSPECIFIED, ColorSpec

LINEAR, SRGB, BT709 = 8, 13, 1
"""TransferCharacteristics of ITU-T H.273."""

Light = NDArray[Any]
"""Of float32."""
_Curve = Callable[[Light], Light]

# 1.0 is diffuse white in both, so that SDR and HDR material fit together; in HLG that is at 75 % of the signal.
_HLG_WHITE = float(scene_from_hlg(np.array(0.75)))


def is_light(color: ColorSpec) -> bool:
    """Whether pictures are RGB in linear light, as EXR holds it, which nothing but EXR takes as it is.

    Y'CbCr that is tagged linear is left in its own encoding, as all other video is.
    """
    return color.transfer == LINEAR and color.matrix == 0


def transfer_of(color: ColorSpec) -> int:
    """The curve that ``color`` names, or what the field takes where it names none: of RGB sRGB's, else BT.709's."""
    if color.transfer in _CURVES:
        return color.transfer
    return SRGB if color.matrix == 0 and color.transfer == UNSPECIFIED else BT709


def to_linear(signal: Light, transfer: int) -> Light:
    """Float R'G'B' as light: what a camera saw, by the inverse of the curve that it is tagged with (H.273, table 3).

    For BT.709 that is the inverse of the camera's curve, as compositing programs' "rec709" has it, not a display's 2.4.
    """
    return signal if transfer == LINEAR else _CURVES[transfer][0](signal).astype(np.float32, copy=False)


def from_linear(light: Light, transfer: int) -> Light:
    """The inverse of :func:`to_linear`; light below 0 is cut off, light above 1 goes on along the curve."""
    if transfer == LINEAR:
        return light
    return _CURVES[transfer][1](np.maximum(light, np.float32(0))).astype(np.float32, copy=False)


def _pq(light: Light) -> Light:
    return pq_from_nits(light * DIFFUSE_WHITE)


def _pq_light(signal: Light) -> Light:
    return nits_from_pq(signal) / DIFFUSE_WHITE


def _hlg(light: Light) -> Light:
    return hlg_from_scene(light * _HLG_WHITE)


def _hlg_light(signal: Light) -> Light:
    return scene_from_hlg(signal) / _HLG_WHITE


def _gamma(exponent: float) -> tuple[_Curve, _Curve]:
    def to_light(signal: Light) -> Light:
        return np.power(np.maximum(signal, 0), exponent)

    def from_light(light: Light) -> Light:
        return np.power(light, 1 / exponent)

    return to_light, from_light


_CURVES: dict[int, tuple[_Curve, _Curve]] = {
    BT709: (light_from_bt709, bt709_from_light),
    4: _gamma(2.2),
    5: _gamma(2.8),
    6: (light_from_bt709, bt709_from_light),
    LINEAR: _gamma(1.0),
    11: (light_from_bt709, bt709_from_light),
    SRGB: (light_from_srgb, srgb_from_light),
    14: (light_from_bt709, bt709_from_light),
    15: (light_from_bt709, bt709_from_light),
    16: (_pq_light, _pq),
    18: (_hlg_light, _hlg),
}
