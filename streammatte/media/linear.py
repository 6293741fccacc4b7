"""To linear light, in which EXR is kept, and back to what video and other pictures hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streammatte.frame import UNSPECIFIED, ColorSpec

LINEAR, SRGB, BT709 = 8, 13, 1
"""TransferCharacteristics of ITU-T H.273."""

Light = NDArray[Any]
"""Of float32."""
_Curve = Callable[[Light], Light]

# BT.709 with the constants that make its two parts meet in every bit (BT.2020's of 12 bits), as H.273 states both.
_A, _B = 1.09929682680944, 0.018053968510807

# SMPTE ST 2084. 1.0 is the reference white of BT.2408, 203 cd/m², so that SDR and HDR material fit together.
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
_WHITE = 203 / 10000

# BT.2100's HLG; scaled so that the same white, at 75 % of the signal, is 1.0.
_HA, _HB, _HC = 0.17883277, 0.28466892, 0.55991073
_HLG_WHITE = float(np.exp((0.75 - _HC) / _HA) + _HB) / 12


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


def _bt709(light: Light) -> Light:
    return np.where(light < _B, 4.5 * light, _A * np.power(light, 0.45) - (_A - 1))


def _bt709_light(signal: Light) -> Light:
    toe = signal / 4.5
    return np.where(signal < 4.5 * _B, toe, np.power(np.maximum(signal + (_A - 1), 0) / _A, 1 / 0.45))


def _srgb(light: Light) -> Light:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)


def _srgb_light(signal: Light) -> Light:
    return np.where(signal <= 0.04045, signal / 12.92, np.power(np.maximum(signal + 0.055, 0) / 1.055, 2.4))


def _pq(light: Light) -> Light:
    power = np.power(np.minimum(light * _WHITE, 1), _M1)
    return np.power((_C1 + _C2 * power) / (1 + _C3 * power), _M2)


def _pq_light(signal: Light) -> Light:
    power = np.power(np.maximum(signal, 0), 1 / _M2)
    return np.power(np.maximum(power - _C1, 0) / (_C2 - _C3 * power), 1 / _M1) / _WHITE


def _hlg(light: Light) -> Light:
    scene = light * _HLG_WHITE
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), _HA * np.log(np.maximum(12 * scene - _HB, 1e-6)) + _HC)


def _hlg_light(signal: Light) -> Light:
    low = np.square(np.maximum(signal, 0)) / 3
    return np.where(signal <= 0.5, low, (np.exp((signal - _HC) / _HA) + _HB) / 12) / _HLG_WHITE


def _gamma(exponent: float) -> tuple[_Curve, _Curve]:
    def to_light(signal: Light) -> Light:
        return np.power(np.maximum(signal, 0), exponent)

    def from_light(light: Light) -> Light:
        return np.power(light, 1 / exponent)

    return to_light, from_light


_CURVES: dict[int, tuple[_Curve, _Curve]] = {
    BT709: (_bt709_light, _bt709),
    4: _gamma(2.2),
    5: _gamma(2.8),
    6: (_bt709_light, _bt709),
    LINEAR: _gamma(1.0),
    11: (_bt709_light, _bt709),
    SRGB: (_srgb_light, _srgb),
    14: (_bt709_light, _bt709),
    15: (_bt709_light, _bt709),
    16: (_pq_light, _pq),
    18: (_hlg_light, _hlg),
}
