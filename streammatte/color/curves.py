"""Transfer curves, each with its inverse: plain formulas on arrays of floats.

Light is that of the scene, 1 being diffuse white, or in cd/m² where the name says nits. Signals are R'G'B' in [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
"""float32 or float64; results have the same type."""

DIFFUSE_WHITE = 203  # cd/m²; HDR reference white in PQ, and in HLG on a display of 1000 (ITU-R BT.2408-7, 2.1)

# BT.709 with the constants of 12-bit BT.2020, with which its two parts meet exactly; H.273 gives them for both.
_A, _B = 1.09929682680944, 0.018053968510807
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
_HA, _HB, _HC = 0.17883277, 0.28466892, 0.55991073


def bt709_from_light(light: Values) -> Values:
    """The camera curve of ITU-R BT.709, continued above 1."""
    return np.where(light < _B, 4.5 * light, _A * np.power(np.maximum(light, 0), 0.45) - (_A - 1))


def light_from_bt709(signal: Values) -> Values:
    """Its inverse, which is "rec709" in compositing programs; not a display's gamma of 2.4."""
    toe = signal / 4.5
    return np.where(signal < 4.5 * _B, toe, np.power(np.maximum(signal + (_A - 1), 0) / _A, 1 / 0.45))


def srgb_from_light(light: Values) -> Values:
    """IEC 61966-2-1, 4.4, continued above 1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(np.maximum(light, 0), 1 / 2.4) - 0.055)


def light_from_srgb(signal: Values) -> Values:
    """Its inverse."""
    return np.where(signal <= 0.04045, signal / 12.92, np.power(np.maximum(signal + 0.055, 0) / 1.055, 2.4))


def pq_from_nits(nits: Values) -> Values:
    """SMPTE ST 2084:2014, 5.3; 100 cd/m² are 0.508. Clipped at 10000 cd/m²."""
    power = np.power(np.minimum(nits / 10000, 1), _M1)
    return np.power((_C1 + _C2 * power) / (1 + _C3 * power), _M2)


def nits_from_pq(signal: Values) -> Values:
    """Its inverse (5.2): 0 … 10000 cd/m² on the display."""
    power = np.power(np.maximum(signal, 0), 1 / _M2)
    return 10000 * np.power(np.maximum(power - _C1, 0) / (_C2 - _C3 * power), 1 / _M1)


def hlg_from_scene(scene: Values) -> Values:
    """ARIB STD-B67 in BT.2100-2's scale: 1 is the most light the camera takes."""
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), _HA * np.log(np.maximum(12 * scene - _HB, 1e-6)) + _HC)


def scene_from_hlg(signal: Values) -> Values:
    """Its inverse."""
    low = np.square(np.maximum(signal, 0)) / 3
    return np.where(signal <= 0.5, low, (np.exp((signal - _HC) / _HA) + _HB) / 12)


def light_from_logc3(signal: Values) -> Values:
    """ARRI LogC3 at EI 800; 18 % grey is 0.391. ARRI, "ALEXA Log C Curve – Usage in VFX" (2017)."""
    a, b, c, d, e, f, cut = 5.555556, 0.052272, 0.247190, 0.385537, 5.367655, 0.092809, 0.010591
    return np.where(signal > e * cut + f, (10 ** ((signal - d) / c) - b) / a, (signal - f) / e)


def light_from_slog3(signal: Values) -> Values:
    """Sony S-Log3; 18 % grey is 420/1023. Sony, "Technical Summary for S-Gamut3.Cine/S-Log3 and S-Gamut3/S-Log3"."""
    level, knee = signal * 1023, 171.2102946929
    return np.where(
        level >= knee, 10 ** ((level - 420) / 261.5) * (0.18 + 0.01) - 0.01, (level - 95) * 0.01125 / (knee - 95)
    )
