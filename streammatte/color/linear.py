"""Between linear light, which EXR holds, and the encodings of video and other pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from streammatte.color.codes import BT709, HLG, LINEAR, PQ, SRGB
from streammatte.color.curves import (
    DIFFUSE_WHITE,
    Values,
    bt709_from_light,
    hlg_from_scene,
    light_from_bt709,
    light_from_srgb,
    nits_from_pq,
    pq_from_nits,
    scene_from_hlg,
    srgb_from_light,
)

_Curve = Callable[[Values], Values]

# 1.0 is diffuse white in PQ and HLG, too, so that SDR and HDR material fit together; HLG has it at 75 % of the signal.
_HLG_WHITE = float(scene_from_hlg(np.array(0.75)))


def to_linear(signal: Values, transfer: int) -> Values:
    """R'G'B' as the light a camera saw: the inverse of the curve it is tagged with (H.273, table 3).

    For BT.709 that is the camera's curve, as "rec709" means in compositing, not a display's gamma of 2.4.

    Args:
        signal: float32.
        transfer: TransferCharacteristics, as :func:`~streammatte.color.codes.transfer_of` gives it.
    """
    return signal if transfer == LINEAR else _CURVES[transfer][0](signal).astype(np.float32, copy=False)


def from_linear(light: Values, transfer: int) -> Values:
    """The inverse of :func:`to_linear`; negative light becomes 0, light above 1 continues along the curve."""
    if transfer == LINEAR:
        return light
    return _CURVES[transfer][1](np.maximum(light, np.float32(0))).astype(np.float32, copy=False)


def _gamma(exponent: float) -> tuple[_Curve, _Curve]:
    return (
        lambda signal: np.power(np.maximum(signal, 0), exponent),
        lambda light: np.power(light, 1 / exponent),
    )


_CURVES: dict[int, tuple[_Curve, _Curve]] = {
    **dict.fromkeys((BT709, 6, 11, 14, 15), (light_from_bt709, bt709_from_light)),
    4: _gamma(2.2),
    5: _gamma(2.8),
    SRGB: (light_from_srgb, srgb_from_light),
    PQ: (
        lambda signal: nits_from_pq(signal) / DIFFUSE_WHITE,
        lambda light: pq_from_nits(light * DIFFUSE_WHITE),
    ),
    HLG: (
        lambda signal: scene_from_hlg(signal) / _HLG_WHITE,
        lambda light: hlg_from_scene(light * _HLG_WHITE),
    ),
}
