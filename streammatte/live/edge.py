"""The subject's edge, in a millisecond: its width, and its colours without those of the room."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.live.small import Floats, Picture, Small, at_places, spread, times

STEP = np.float32(1 / 510)
"""Alpha below is none and alpha above 1 less it is whole: half a step of the 8 bits that are shown."""

_NONE, _WHOLE = 0.08, 0.92  # see firm; by eye, on what birefnet-nano makes of real and rendered footage at 192²

_WIDE, _NARROW = 1 / 20, 1 / 80  # of the height: the deviations that colours are spread by


def firm(alpha: Floats) -> Floats:
    """What is nearly none is none, and what is nearly whole is whole; between them all levels stay.

    Small networks leave a haze of a few hundredths over the room, and the subject as see-through. Over another picture
    both show, and the haze is the room.
    """
    return cast(Floats, np.clip((alpha - np.float32(_NONE)) * np.float32(1 / (_WHOLE - _NONE)), 0, 1))


def feathered(alpha: Floats, width: float) -> Floats:
    """Softened to about ``width`` pixels, inwards only: where alpha is low nothing more of the room is let in."""
    if width <= 0:
        return alpha
    return cast(Floats, cv2.min(alpha, cv2.GaussianBlur(alpha, (0, 0), width / 2, borderType=cv2.BORDER_REPLICATE)))


def own_colors(rgb: Picture, alpha: Floats, small: Small, places: NDArray[np.intp]) -> Picture:
    """What the subject's colours are where the picture mixes them with the room's: (len(places), 1, 3).

    Blur fusion (Forte 2021, "Approximate Fast Foreground Colour Estimation", ICIP) on a small picture, a wide pass and
    a narrow one: both colours are spread by how much of each a pixel shows, and corrected until they come nearer to it.

    Args:
        rgb: (H, W, 3).
        alpha: (H, W), that the picture was mixed with.
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
    """The subject's and the room's colours about each pixel, (h, w, 3) each."""
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
    """The subject's colours, nearer to what explains the mixture."""
    return cast(Floats, np.clip(subject + alpha * (mixed - alpha * subject - (1 - alpha) * room), 0, 255))
