"""Cut-outs as RGB and grey, whose samples span the whole range of their bits: what the lossless encoders take."""

from __future__ import annotations

import av
import cv2
import numpy as np

from streammatte.color.codes import BT709, is_light
from streammatte.color.ycbcr import Samples
from streammatte.frame import Cutout, StreamInfo
from streammatte.media.write.composing import (
    AlphaKind,
    Background,
    Content,
    at_depth,
    opacity,
    picture,
    stepped,
)


class RgbPainter:
    """Turns cut-outs into frames of RGB, RGBA or grey, of 8 bits or more.

    Args:
        pixels: FFmpeg's name of the format.
        info: The stream the cut-outs are of.
    """

    def __init__(
        self, pixels: str, info: StreamInfo, *, content: Content, alpha: AlphaKind, background: Background | None
    ) -> None:
        pixel_format = av.VideoFormat(pixels)
        self._pixels = pixels
        self._bits = pixel_format.components[0].bits
        self._has_alpha = len(pixel_format.components) == 4
        self._content = content
        self._alpha = alpha
        self._background = background
        self._curve = BT709 if is_light(info.color) else None

    def __call__(self, cutout: Cutout) -> av.VideoFrame:
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(self._samples(cutout)), self._pixels)

    def _samples(self, cutout: Cutout) -> Samples:
        dtype: type[np.uint8] | type[np.uint16] = np.uint8 if self._bits == 8 else np.uint16
        opaque = 2**self._bits - 1
        if self._content == "matte":
            return stepped(opacity(cutout), opaque).astype(dtype)
        rgb = at_depth(picture(cutout, self._content, self._alpha, self._background, curve=self._curve), self._bits)
        return cv2.merge([*cv2.split(rgb), stepped(opacity(cutout), opaque).astype(dtype)]) if self._has_alpha else rgb
