"""Encoding one cut-out as one picture of integers: PNG, TIFF, JPEG, WebP and GIF."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streammatte.frame import Cutout
from streammatte.media.write.composing import IntegerPictures

if TYPE_CHECKING:
    from streammatte.media.write.encoding import Quality

# Level 6 takes three times as long for a tenth less.
_COMPRESSION = 3
_AFTER_HEADER = 8 + 25  # a PNG's signature and its IHDR chunk
_JPEG_QUALITY: dict[Quality, int] = {"draft": 75, "standard": 90, "best": 97}
_WEBP_QUALITY: dict[Quality, int] = {"draft": 60, "standard": 82, "best": 95}
_SAMPLED = 1 << 16  # pixels that a palette is made from; more change it little and take long
_CLEAR = 255  # the palette's entry that is transparent
_VISIBLE = 128  # alpha from which a pixel of a GIF is opaque

LARGEST = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383, ".gif": 65535}
"""Largest width and height in pixels: libjpeg's limit, and those of the formats."""


class PngWriter:
    """Encodes PNG. A comment says what the alpha is: the format itself has straight alpha only."""

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
    """A chunk of PNG (W3C PNG, 5.3)."""
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


class TiffWriter:
    """Encodes TIFF, deflated, with the tag that says whether its alpha is associated (premultiplied) or not."""

    def __init__(self, pictures: IntegerPictures) -> None:
        self._pictures = pictures
        self._extra = "unassalpha" if pictures.contents.alpha == "straight" else "assocalpha"
        self.says = f"TIFF, {pictures.says}"

    def __call__(self, cutout: Cutout) -> bytes:
        import tifffile

        samples = self._pictures(cutout)
        data = io.BytesIO()
        tifffile.imwrite(
            data,
            samples,
            photometric="minisblack" if samples.ndim == 2 else "rgb",
            extrasamples=[self._extra] if self._pictures.kind == "RGBA" else None,
            compression="zlib",
            compressionargs={"level": _COMPRESSION},
            predictor=True,
            description=self._pictures.what,
            software="streammatte",
            metadata=None,
            iccprofile=self._pictures.profile,
        )
        return data.getvalue()


class JpegWriter:
    """Encodes JPEG, grey or RGB; only a draft subsamples chroma. A comment states the contents."""

    def __init__(self, pictures: IntegerPictures, quality: Quality) -> None:
        self._pictures = pictures
        self._options: dict[str, Any] = {
            "quality": _JPEG_QUALITY[quality],
            "subsampling": "4:2:0" if quality == "draft" else "4:4:4",
            "comment": pictures.what,
        }
        self.says = f"JPEG, {pictures.what}"

    def __call__(self, cutout: Cutout) -> bytes:
        return _saved(Image.fromarray(self._pictures(cutout)), "JPEG", **self._options)


class WebpWriter:
    """Encodes WebP: colours are lossy; alpha, and a grey matte, are exact."""

    def __init__(self, pictures: IntegerPictures, quality: Quality) -> None:
        self._pictures = pictures
        grey = pictures.kind == "grey"
        self._options: dict[str, Any] = {"lossless": True} if grey else {"quality": _WEBP_QUALITY[quality]}
        self.says = f"WebP, {pictures.what}{', lossless' if grey else ''}"

    def __call__(self, cutout: Cutout) -> bytes:
        return _saved(Image.fromarray(self._pictures(cutout)), "WEBP", alpha_quality=100, method=4, **self._options)


class GifWriter:
    """Encodes GIF: grey exactly, colours in a palette for each picture, dithered. Alpha from one half on is opaque."""

    def __init__(self, pictures: IntegerPictures) -> None:
        self._pictures = pictures
        stored = "256 colours a frame, one-bit alpha" if pictures.kind == "RGBA" else pictures.what
        self.says = f"GIF, {stored.replace('RGB 8 bit', '256 colours a frame')}"

    def __call__(self, cutout: Cutout) -> bytes:
        samples = self._pictures(cutout)
        if samples.ndim == 2:
            return _saved(Image.fromarray(samples), "GIF", interlace=0)
        if samples.shape[2] == 3:
            return _saved(_in_colours(samples, samples.reshape(-1, 3), 256), "GIF", interlace=0)
        visible = samples[..., 3] >= _VISIBLE
        rgb = np.ascontiguousarray(samples[..., :3])
        picture = _in_colours(rgb, rgb[visible], _CLEAR)
        picture.paste(_CLEAR, mask=Image.fromarray(~visible))
        return _saved(picture, "GIF", interlace=0, transparency=_CLEAR)


def _in_colours(rgb: NDArray[Any], seen: NDArray[Any], count: int) -> Image.Image:
    """(H, W, 3) uint8 in at most ``count`` colours, chosen from ``seen``, (N, 3); by error diffusion."""
    if not len(seen):
        seen = np.zeros((1, 3), np.uint8)
    sample = np.ascontiguousarray(seen[:: -(-len(seen) // _SAMPLED)])
    # Dithered and blurred, as an eye does, it is 5 to 10 dB nearer than Pillow's median cut, in a sixth of the time.
    palette = Image.fromarray(sample[None]).quantize(count, method=Image.Quantize.FASTOCTREE)
    return Image.fromarray(rgb).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()
