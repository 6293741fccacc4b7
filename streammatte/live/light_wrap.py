"""The background's light on the subject: light wrap at the edge, and a match of brightness and warmth."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from streammatte.live.subject_edge import Floats, Picture, Small, spread, times

WRAP_REACH = 1 / 60  # of the height: the sigma of the Gaussian by which light spreads
_WRAP_STRENGTH = 0.6

Light = NDArray[np.floating[Any]]
"""The light of one place relative to another: logarithms of brightness and of red over blue."""

_SHARES, _MOST = np.array([0.3, 0.3]), np.array([0.25, 0.12])  # share of the difference, and limit in logarithms
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


class LightMatch:
    """Moves the light on the subject part of the way from the room's to the background's.

    Both are estimated from mean colours, the room's from what is visible around the subject: the subject's own colours
    say nothing about the light. The change runs from blue to orange, as daylight and lamps do, and never to green. It
    is a power for each of red, green and blue, which leaves black and white alone.

    It follows slowly and ignores small differences, so it is constant on a still clip.
    """

    def __init__(self) -> None:
        self._goal: Light | None = None
        self._light: Light = np.zeros(2)
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
        elif measured is not None and self._goal is not None and np.abs(measured - self._goal).max() > _DEAD_BAND:
            self._goal = measured
        passed, self._at = max(0.0, at - self._at), at
        if self._goal is not None and (self._light != self._goal).any():
            self._light = self._light + (1 - math.exp(-passed / _SECONDS)) * (self._goal - self._light)
            if np.abs(self._light - self._goal).max() < _SETTLED:
                self._light = self._goal
            self._curves = _curves(self._light)
        return self._curves


def _measured(small: Small, behind: Floats) -> Light | None:
    share = np.square(1 - small.alpha)
    seen = float(share.mean())
    if seen < _LEAST_ROOM:
        return None
    room = times(small.rgb, cast(Floats, share)).mean((0, 1)) / seen
    place = behind.mean((0, 1))
    red, green, blue = np.log((place.astype(float) + 8) / (room.astype(float) + 8))
    change = _SHARES * (0.299 * red + 0.587 * green + 0.114 * blue, red - blue)
    return cast(Light, change.clip(-_MOST, _MOST))


def _curves(light: Light) -> Picture:
    exposure, warmth = light
    powers = np.exp(-(exposure + warmth * np.array([0.5, 0, -0.5])))
    return cast(Picture, np.rint(255 * (np.arange(256)[:, None] / 255) ** powers).astype(np.uint8)[None])
