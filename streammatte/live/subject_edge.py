"""The subject's edge in a millisecond: its width, and its own colours without the room's.

Colours and light are estimated at about 120 rows, at the same cost for any frame size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

ROWS = 120
_ROW = 1024  # OpenCV takes no picture of more than 32767 rows or columns

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]

STEP = np.float32(1 / 510)
"""Alpha below it counts as 0, and above 1 minus it as 1: half a step of 8 bits."""

_NONE, _WHOLE = 0.08, 0.92  # chosen by eye on birefnet-nano's mattes of real and rendered footage

_WIDE, _NARROW = 1 / 20, 1 / 80  # of the height: the sigmas that colours are spread by


@dataclass(frozen=True, slots=True, eq=False)
class Small:
    """A frame and its alpha, shrunk.

    Attributes:
        rgb: (h, w, 3) float32 in [0, 255].
        alpha: (h, w) float32 in [0, 1].
    """

    rgb: Floats
    alpha: Floats


def shrunk(picture: NDArray[Any]) -> Floats:
    """Scaled down to :data:`ROWS` rows by area means, float32 in its own range; unchanged if it has no more."""
    height, width = picture.shape[:2]
    share = min(1.0, ROWS / height)
    while picture.shape[0] >= 4 * ROWS and not (picture.shape[0] % 2 or picture.shape[1] % 2):
        half = picture.shape[1] // 2, picture.shape[0] // 2  # halving is several times faster
        picture = cv2.resize(picture, half, interpolation=cv2.INTER_AREA)
    size = max(1, round(width * share)), max(1, round(height * share))
    return cast(Floats, cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32, copy=False))


def spread(picture: Floats, sigma: float) -> Floats:
    """Blurred by a Gaussian of that sigma, in its own pixels."""
    return cast(Floats, cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))


def times(picture: Floats, weight: Floats) -> Floats:
    """(h, w, 3) times (h, w)."""
    return cast(Floats, picture * weight[..., None])


def at_places(picture: Floats, like: NDArray[Any], places: NDArray[np.intp]) -> Floats:
    """(len(places), 3): scaled up to another picture's size, at flattened indices only, to 1/32 of a pixel."""
    height, width = like.shape[:2]
    count = len(places)
    padded = np.zeros((2, -(-max(count, 1) // _ROW) * _ROW), np.float32)
    y, x = np.divmod(places, width)
    padded[0][:count] = (x + 0.5) * (picture.shape[1] / width) - 0.5
    padded[1][:count] = (y + 0.5) * (picture.shape[0] / height) - 0.5
    across, down = (axis.reshape(-1, _ROW) for axis in padded)
    found = cv2.remap(picture, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cast(Floats, found.reshape(-1, 3)[:count])


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
    subject, room = (at_places(side, alpha, places) for side in _sides(small))
    mixed = cast(Floats, rgb.reshape(-1, 3)[places])
    found = _corrected(mixed, alpha.reshape(-1)[places][:, None], subject, room)
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
