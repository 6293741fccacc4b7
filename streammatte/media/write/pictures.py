"""Encoding one cut-out as one picture of integers: PNG and TIFF."""

from __future__ import annotations

import io
import zlib

import cv2
import numpy as np
import tifffile

from streammatte.color.codes import SRGB, is_light
from streammatte.color.profiles import in_srgb
from streammatte.color.ycbcr import Samples
from streammatte.frame import Cutout, StreamInfo
from streammatte.media.write.composing import (
    AlphaKind,
    Background,
    Content,
    at_depth,
    opacity,
    picture,
    says,
    stepped,
)

# zlib's quicker end: level 6 takes three times as long for a tenth less.
_COMPRESSION = 3
_AFTER_HEADER = 8 + 25  # a PNG's signature and its IHDR chunk


class IntegerPictures:
    """What a cut-out's picture of 8 or 16 bits is: (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA.

    Linear light is stored by sRGB's curve, as such pictures are read.

    Attributes:
        what: What they hold, for people.
        says: The same, and what of the stream they cannot hold.
        profile: ICC profile that belongs to them: the source's own, unless it is laid over something, or
            ``keeps_profile`` says that the file cannot hold one, which makes them sRGB.
    """

    def __init__(
        self,
        info: StreamInfo,
        *,
        bits: int,
        content: Content,
        alpha: AlphaKind,
        background: Background | None,
        keeps_profile: bool = True,
    ) -> None:
        self._bits = bits
        self._content = content
        self._alpha = alpha
        self._background = background
        self._curve = SRGB if is_light(info.color) else None
        self.has_alpha = content == "plate" and background is None
        keeps = keeps_profile and background is None and content != "matte"
        self.profile = info.profile if keeps else None
        self._converts_from = None if keeps else info.profile
        kind = "grey" if content == "matte" else "RGBA" if self.has_alpha else "RGB"
        self.what = f"{kind} {bits} bit, {says(content, alpha, composite=background is not None)}"
        self.says = self.what + ("" if info.timecode is None else f", timecode {info.timecode} left out")

    def __call__(self, cutout: Cutout) -> Samples:
        dtype: type[np.uint8] | type[np.uint16] = np.uint8 if self._bits == 8 else np.uint16
        peak = np.iinfo(dtype).max
        if self._content == "matte":
            return stepped(opacity(cutout), peak).astype(dtype)
        cutout = in_srgb(cutout, self._converts_from)
        rgb = at_depth(picture(cutout, self._content, self._alpha, self._background, curve=self._curve), self._bits)
        return np.dstack([rgb, stepped(opacity(cutout), peak).astype(dtype)]) if self.has_alpha else rgb


class PngWriter:
    """Encodes PNG. What the alpha is stands in a comment: the format itself has straight alpha only."""

    def __init__(self, pictures: IntegerPictures) -> None:
        self._pictures = pictures
        self.says = f"PNG, {pictures.says}"

    def __call__(self, cutout: Cutout) -> bytes:
        samples = self._pictures(cutout)
        if samples.ndim == 3:
            samples = samples[..., (2, 1, 0, 3)[: samples.shape[2]]]  # OpenCV's order
        _, data = cv2.imencode(".png", samples, [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION])
        encoded = data.tobytes()
        chunks = _chunk(b"tEXt", b"Comment\0" + self._pictures.what.encode("latin-1"))
        if self._pictures.profile is not None:
            chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(self._pictures.profile))
        return encoded[:_AFTER_HEADER] + chunks + encoded[_AFTER_HEADER:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    """As PNG has it (W3C PNG, 5.3)."""
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


class TiffWriter:
    """Encodes TIFF, deflated, with the tag that says whether its alpha is associated (premultiplied) or not."""

    def __init__(self, pictures: IntegerPictures, alpha: AlphaKind) -> None:
        self._pictures = pictures
        self._extra = "unassalpha" if alpha == "straight" else "assocalpha"
        self.says = f"TIFF, {pictures.says}"

    def __call__(self, cutout: Cutout) -> bytes:
        samples = self._pictures(cutout)
        data = io.BytesIO()
        tifffile.imwrite(
            data,
            samples,
            photometric="minisblack" if samples.ndim == 2 else "rgb",
            extrasamples=[self._extra] if self._pictures.has_alpha else None,
            compression="zlib",
            compressionargs={"level": _COMPRESSION},
            predictor=True,
            description=self._pictures.what,
            software="streammatte",
            metadata=None,
            iccprofile=self._pictures.profile,
        )
        return data.getvalue()
