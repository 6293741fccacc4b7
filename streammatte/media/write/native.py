"""The source's own samples on an output's grid, where a cut-out's colours are its frame's own.

RGB in between would clip what lies beyond black and white, and round twice.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.color.ycbcr import Samples, subsampled, upsampled
from streammatte.frame import Cutout, StoredSamples
from streammatte.media.write.composing import quantised

_EIGHT_IN_SIXTEEN = np.uint16(257)  # white stays white


def own_colors(cutout: Cutout, foreground: Samples) -> NDArray[np.uint8]:
    """(H, W), 255 where the cut-out's colours are those of its frame to a 16-bit step, else 0.

    Args:
        cut-out: Its frame's RGB is integers.
        foreground: (H, W, 3) uint16, the cut-out's colours.
    """
    own = quantised(cutout.frame.rgb)
    if own.dtype == np.uint8:
        own = np.multiply(own, _EIGHT_IN_SIXTEEN, dtype=np.uint16)
    return cv2.inRange(foreground, own, own).astype(np.uint8, copy=False)


def own_chroma(own: Samples, shape: tuple[int, int]) -> tuple[Samples, Samples]:
    """The same for two chroma planes: a sample is the source's if all the pixels that it is a mean of are."""
    if own.shape != shape:
        own = cv2.inRange(subsampled(own, shape[1], shape[0]), 255, 255)
    return own, own


def own_planes(
    stored: StoredSamples, chroma: tuple[int, int], bits: int, *, full_range: bool
) -> tuple[Samples, Samples, Samples]:
    """Y', Cb and Cr as an encoder takes them, upright; what is right already is not copied.

    Depth and range are changed by exact scaling about black and the neutral, rounded once. Chroma that lies on the
    wanted grid stays; other chroma is interpolated to luma's, and from there, if it has to be, filtered down.

    Args:
        stored: The source's.
        chroma: (H, W) of the wanted chroma planes, its samples on even columns and between rows.
        bits, full_range: Of the wanted code values.
    """
    luma, *others = (
        _scaled(plane, stored, bits, full_range=full_range, chroma=place > 0)
        for place, plane in enumerate(stored.planes)
    )
    if stored.upright is None and not stored.centred and others[0].shape == chroma:
        return luma, others[0], others[1]
    height, width = luma.shape
    planes = [luma, *(upsampled(plane, width, height, centred=stored.centred) for plane in others)]
    if stored.upright is not None:
        planes = [np.ascontiguousarray(stored.upright(plane)) for plane in planes]
    return planes[0], subsampled(planes[1], chroma[1], chroma[0]), subsampled(planes[2], chroma[1], chroma[0])


def _scaled(plane: Samples, stored: StoredSamples, bits: int, *, full_range: bool, chroma: bool) -> Samples:
    """The plane's code values at another depth and range (ITU-T H.273, 8.3)."""
    if (stored.bits, stored.full_range) == (bits, full_range):
        return plane
    zero, span = _swing(stored.bits, full_range=stored.full_range, chroma=chroma)
    new_zero, new_span = _swing(bits, full_range=full_range, chroma=chroma)
    gain = new_span / span
    if gain in (4, 16, 64, 256) and not full_range:
        return np.left_shift(plane, bits - stored.bits, dtype=np.uint16)
    depth = cv2.CV_8U if bits == 8 else cv2.CV_16U
    scaled: Samples = cv2.addWeighted(plane, gain, plane, 0, new_zero - zero * gain, dtype=depth)
    if gain < 1 or full_range:
        np.minimum(scaled, 2**bits - 1, out=scaled)
    return scaled


def _swing(bits: int, *, full_range: bool, chroma: bool) -> tuple[float, float]:
    """The code value of black or of neutral, and how many there are from black to white or between the extremes."""
    unit = 2 ** (bits - 8)
    span = 2**bits - 1 if full_range else (224 if chroma else 219) * unit
    zero = 128 * unit if chroma else 0 if full_range else 16 * unit
    return zero, span
