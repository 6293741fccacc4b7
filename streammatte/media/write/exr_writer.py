"""Encoding cut-outs as OpenEXR pictures, which are in linear light."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import numpy as np
import OpenEXR
from numpy.typing import NDArray

from streammatte.color.codes import CHROMATICITIES, LINEAR, SRGB, transfer_of
from streammatte.color.linear import to_linear
from streammatte.color.profiles import in_srgb
from streammatte.frame import Cutout, StreamInfo
from streammatte.media.read.exr_timecode import attribute_of, has_attribute
from streammatte.media.read.pictures import LARGEST_HALF
from streammatte.media.timecode import Timecode
from streammatte.media.write.composing import Contents, blended, encoded, opacity, pixels_of

COMPRESSIONS = {
    "zip": OpenEXR.ZIP_COMPRESSION,
    "piz": OpenEXR.PIZ_COMPRESSION,
    "dwaa": OpenEXR.DWAA_COMPRESSION,
    "dwab": OpenEXR.DWAB_COMPRESSION,
}


class ExrWriter:
    """Encodes a cut-out as one EXR picture: R, G, B and A, or R, G and B, or Y alone for a matte; scan lines.

    Colours of footage that is not linear are made so by its own curve. Premultiplied ones are multiplied by alpha in
    linear light. A composite is blended as it is for every other output, and made linear then.

    Args:
        info: The stream the cut-outs are of.
        bits: 16 (half) or 32 (float).
        compression: One of ``COMPRESSIONS``; all but dwaa and dwab are lossless, and these are so of alpha.
    """

    def __init__(
        self,
        info: StreamInfo,
        contents: Contents,
        *,
        bits: int,
        compression: str,
    ) -> None:
        self._contents = contents
        self._transfer = transfer_of(info.color)
        self._profile = info.profile
        self._type = np.float16 if bits == 16 else np.float32
        self.says = f"EXR {'half' if bits == 16 else 'float'}, {compression.upper()}, linear, {contents.says}"
        self._header: dict[str, Any] = {
            "type": OpenEXR.scanlineimage,
            "compression": COMPRESSIONS[compression],
            "pixelAspectRatio": float(info.pixel_aspect),
            "framesPerSecond": Fraction(info.frame_rate),
            "comments": contents.says,
        }
        start = None if info.timecode is None else Timecode.parse(info.timecode, info.frame_rate)
        if start is not None and not has_attribute(start):
            self.says += f", timecode {start} left out"  # EXR has none of more than 60 frames a second
            start = None
        self._timecode, self._first_index = start, info.first_index
        if contents.part != "matte" and info.color.primaries in CHROMATICITIES:
            self._header["chromaticities"] = CHROMATICITIES[info.color.primaries]

    def __call__(self, cutout: Cutout) -> bytes:
        if self._contents.part != "matte":
            cutout = in_srgb(cutout, self._profile)
        data = io.BytesIO()
        header = self._header
        if self._timecode is not None:
            header = header | {"timeCode": attribute_of(self._timecode + (cutout.frame.index - self._first_index))}
        with OpenEXR.File(header, self._channels(cutout)) as file:
            file.write(data)
        return data.getvalue()

    def _channels(self, cutout: Cutout) -> dict[str, NDArray[Any]]:
        alpha = opacity(cutout)
        if self._contents.part == "matte":
            return {"Y": alpha.astype(self._type)}
        light = self._light(cutout)
        if not self._contents.has_alpha:
            return {"RGB": self._stored(light)}
        if self._contents.alpha == "premultiplied":
            light = light * alpha[..., None]
        return {"RGBA": self._stored(np.dstack([light, alpha]))}

    def _light(self, cutout: Cutout) -> NDArray[np.float32]:
        """(H, W, 3): the straight colours, or the composite."""
        if self._contents.background is None:
            return to_linear(pixels_of(cutout.as_float()), self._transfer)
        curve = self._transfer
        if curve == LINEAR:
            cutout, curve = encoded(cutout, SRGB), SRGB
        return to_linear(blended(cutout, self._contents.alpha, self._contents.background), curve)

    def _stored(self, light: NDArray[np.float32]) -> NDArray[Any]:
        if self._type is np.float16:
            light = np.clip(light, -LARGEST_HALF, LARGEST_HALF)
        return np.ascontiguousarray(light, self._type)
