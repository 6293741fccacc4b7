"""The subject's edge in a millisecond: its width, and its own colours without the room's."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.live.small_picture import Floats, Picture, Small, at_places, spread, times

STEP = np.float32(1 / 510)
"""Alpha below it counts as 0, and above 1 minus it as 1: half a step of 8 bits."""

_NONE, _WHOLE = 0.08, 0.92  # chosen by eye on birefnet-nano's mattes of real and rendered footage

_WIDE, _NARROW = 1 / 20, 1 / 80  # of the height: the sigmas that colours are spread by


def firm(alpha: Floats) -> Floats:
    """Alpha that is nearly 0 becomes 0, and nearly 1 becomes 1; the levels between are stretched.

    Small networks leave a few hundredths of alpha over the room, and the subject slightly transparent. Both would show
    over another picture.
    """
    return cast(Floats, np.clip((alpha - np.float32(_NONE)) * np.float32(1 / (_WHOLE - _NONE)), 0, 1))


def feathered(alpha: Floats, width: float) -> Floats:
    """Softened to about ``width`` pixels, inwards only, so that no more of the room is shown."""
    if width <= 0:
        return alpha
    return cast(Floats, cv2.min(alpha, cv2.GaussianBlur(alpha, (0, 0), width / 2, borderType=cv2.BORDER_REPLICATE)))


def own_colors(rgb: Picture, alpha: Floats, small: Small, places: NDArray[np.intp]) -> Picture:
    """The subject's own colours in mixed pixels: (len(places), 1, 3).

    Blur fusion (Forte 2021, "Approximate Fast Foreground Colour Estimation", ICIP) on a small picture, in a wide pass
    and a narrow one. ``stages/foreground.py`` is better, but too slow for live frames.

    Args:
        rgb: (H, W, 3).
        alpha: (H, W), with which the picture was mixed.
        small: Both, shrunk.
        places: Indices into the flattened alpha.
    """
    subject, room = _sides(small)
    subject, room = at_places(subject, alpha, places), at_places(room, alpha, places)
    own = alpha.reshape(-1)[places][:, None]
    mixed = rgb.reshape(-1, 3)[places]
    found = _corrected(cast(Floats, mixed), own, subject, room)
    return np.rint(found).astype(np.uint8)[:, None]


def _sides(small: Small) -> list[Floats]:
    """The subject's and the room's colours around each pixel, (h, w, 3) each."""
    shares = small.alpha, 1 - small.alpha
    weights = [cast(Floats, np.square(share) + np.float32(1e-4)) for share in shares]
    colors = [small.rgb, small.rgb]
    for reach in (_WIDE, _NARROW):
        sigma = small.alpha.shape[0] * reach
        spreads = [
            cast(Floats, spread(times(color, weight), sigma) / spread(weight, sigma)[..., None])
            for color, weight in zip(colors, weights, strict=True)
        ]
        colors = [_corrected(small.rgb, small.alpha[..., None], *spreads), spreads[1]]
    return spreads


def _corrected(mixed: Floats, alpha: Floats, subject: Floats, room: Floats) -> Floats:
    """The subject's colours, corrected towards those that explain the mixture."""
    return cast(Floats, np.clip(subject + alpha * (mixed - alpha * subject - (1 - alpha) * room), 0, 255))
