"""A cut-out as pictures to judge it by: over other backgrounds, and its edge at full size."""

from __future__ import annotations

import cv2
import numpy as np

from streammatte.frame import Cutout
from streammatte.media.write.composing import opacity, pixels_of
from streammatte.motion import Plane
from streammatte.quality.moments import Pictures, thumbnail
from streammatte.quality.page import PICTURE_WIDTH, grey, heat, small, to_bytes

SQUARE = 8  # pixels of a checkerboard
CROP = PICTURE_WIDTH, PICTURE_WIDTH * 9 // 16
AROUND = 8.0  # pixels of deviation: what of an edge belongs together


def looks(cutout: Cutout) -> Pictures:
    """Frame · matte · over a checkerboard · over black · over white."""
    alpha = opacity(cutout)
    shown = {"frame": thumbnail(cutout.frame), "matte": grey(small(alpha))}
    light = small(_colors(cutout) * alpha[..., None])  # first multiplied, then made small: the edge stays right
    return shown | _over(light, small(alpha))


def edge(cutout: Cutout, where: Plane) -> Pictures:
    """The part of a frame's edge that stands out most, in the frame and over other backgrounds.

    Args:
        cut-out: The frame.
        where: (h, w) from 0, at any size: how much each pixel stands out.
    """
    alpha, strength = opacity(cutout), np.maximum(cv2.GaussianBlur(where, (0, 0), AROUND), 0)
    place = np.unravel_index(int(strength.argmax()), strength.shape)
    corner = []
    for middle, small_length, length, room in zip(place, strength.shape, alpha.shape, reversed(CROP), strict=True):
        center = round((float(middle) + 0.5) * length / small_length)
        corner.append(max(0, min(center - room // 2, length - room)))
    part = tuple(slice(start, start + room) for start, room in zip(corner, reversed(CROP), strict=True))
    crop = alpha[part]
    colors = cutout.frame.as_float()[:, *part]
    shown = {
        "where the background's colours are": heat(small(strength / max(float(strength.max()), 1e-6))),
        "the worst of it, in the frame": to_bytes(pixels_of(colors)),
    }
    return shown | _over(_colors(cutout)[part] * crop[..., None], crop)


def _over(light: Plane, alpha: Plane) -> Pictures:
    """Premultiplied (h, w, 3) over each background."""
    odd = (np.indices(alpha.shape) // SQUARE).sum(0) % 2
    grounds = {"over a checkerboard": np.where(odd, 0.6, 0.4), "over black": np.zeros(()), "over white": np.ones(())}
    return {name: to_bytes(light + ((1 - alpha) * ground)[..., None]) for name, ground in grounds.items()}


def _colors(cutout: Cutout) -> Plane:
    """(H, W, 3) in [0, 1], straight, as written."""
    return np.asarray(
        pixels_of(cutout.frame.as_float() if cutout.foreground is None else cutout.foreground), np.float32
    )
