"""The background's light on the subject: light wrap at the edge, and a match of brightness and warmth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from streammatte.live.small_picture import Floats, Picture, Small, spread, times

WRAP_REACH = 1 / 60  # of the height: the sigma of the Gaussian by which light spreads
_WRAP_STRENGTH = 0.6

_EXPOSURE_SHARE, _MOST_EXPOSURE = 0.3, 0.25  # share of the difference, and the limit in logarithms
_WARMTH_SHARE, _MOST_WARMTH = 0.3, 0.12
_LEAST_ROOM = 0.02  # of the picture: less of it says too little about the room's light
_DEAD_BAND = 0.02  # smaller differences are ignored, so that grain and gestures do not change the light
_SETTLED = 0.002
_SECONDS = 1.5  # time constant of adaptation


def wrap(small: Small, behind: Floats) -> Floats:
    """The background's light, spread past the subject's edge.

    Args:
        small: The frame.
        behind: (h, w, 3) in [0, 255], the background.

    Returns:
        (h, w, 3) float32, from 0 to 255 × the wrap's strength.
    """
    sigma = small.alpha.shape[0] * WRAP_REACH
    return cast(Floats, spread(times(behind, 1 - small.alpha), sigma) * np.float32(_WRAP_STRENGTH))


@dataclass(frozen=True, slots=True)
class _Light:
    """The light of one place relative to another: logarithms of brightness and of red over blue."""

    exposure: float = 0.0
    warmth: float = 0.0

    def distance(self, other: _Light) -> float:
        return max(abs(self.exposure - other.exposure), abs(self.warmth - other.warmth))

    def toward(self, other: _Light, share: float) -> _Light:
        return _Light(
            self.exposure + share * (other.exposure - self.exposure), self.warmth + share * (other.warmth - self.warmth)
        )


class LightMatch:
    """Moves the light on the subject part of the way from the room's to the background's.

    Both are estimated from mean colours, the room's from what is visible around the subject: the subject's own colours
    say nothing about the light. The change runs from blue to orange, as daylight and lamps do, and never to green. It
    is a power for each of red, green and blue, which leaves black and white alone.

    It follows slowly and ignores small differences, so it is constant on a still clip.
    """

    def __init__(self) -> None:
        self._goal: _Light | None = None
        self._light = _Light()
        self._at = 0.0
        self._curves = _curves(self._light)

    def reset(self) -> None:
        """Adopt the next measured light at once: the background has changed."""
        self._goal = None

    def __call__(self, at: float, small: Small, behind: Floats) -> Picture:
        """A lookup table, (1, 256, 3), for each value of red, green and blue.

        Args:
            at: Seconds.
            small: The frame.
            behind: (h, w, 3) in [0, 255].
        """
        measured = _measured(small, behind)
        if measured is not None and self._goal is None:
            self._goal = self._light = measured
            self._curves = _curves(measured)
        elif measured is not None and self._goal is not None and measured.distance(self._goal) > _DEAD_BAND:
            self._goal = measured
        passed, self._at = max(0.0, at - self._at), at
        if self._goal is not None and self._light != self._goal:
            self._light = self._light.toward(self._goal, 1 - math.exp(-passed / _SECONDS))
            if self._light.distance(self._goal) < _SETTLED:
                self._light = self._goal
            self._curves = _curves(self._light)
        return self._curves


def _measured(small: Small, behind: Floats) -> _Light | None:
    share = np.square(1 - small.alpha)
    seen = float(share.mean())
    if seen < _LEAST_ROOM:
        return None
    room = times(small.rgb, cast(Floats, share)).mean((0, 1)) / seen
    place = behind.mean((0, 1))
    ratio = [math.log((float(there) + 8) / (float(here) + 8)) for there, here in zip(place, room, strict=True)]
    exposure = _EXPOSURE_SHARE * (0.299 * ratio[0] + 0.587 * ratio[1] + 0.114 * ratio[2])
    warmth = _WARMTH_SHARE * (ratio[0] - ratio[2])
    return _Light(min(max(exposure, -_MOST_EXPOSURE), _MOST_EXPOSURE), min(max(warmth, -_MOST_WARMTH), _MOST_WARMTH))


def _curves(light: _Light) -> Picture:
    values = np.arange(256) / 255
    tints = light.warmth / 2, 0.0, -light.warmth / 2
    curves = [values ** math.exp(-(light.exposure + tint)) for tint in tints]
    return np.rint(255 * np.stack(curves, axis=-1)).astype(np.uint8)[None]


def toned(rgb: Picture, curves: Picture) -> Picture:
    """(H, W, 3), passed through a match's lookup table."""
    return cast(Picture, cv2.LUT(rgb, curves))
