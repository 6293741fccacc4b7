"""The alpha of footage: its own plane or, for a matte clip, its luma."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from streammatte.color.ycbcr import Samples, color_of, is_colourless, plane_view, working_bits, ycbcr_planes

NOT_A_MATTE = "has neither alpha nor a greyscale picture"

# WebM keeps VP8's and VP9's alpha as a second picture beside the first, which FFmpeg's own decoders leave out.
_DECODERS_OF_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

_GREY = 0.03  # of the whole range: how far apart a matte's channels may be on average, for lossy codecs' sake


def decoder_for(stream: av.VideoStream) -> av.VideoCodecContext:
    """The stream's decoder, or another one if only that gives its alpha."""
    own = stream.codec_context
    name = _DECODERS_OF_ALPHA.get(own.codec.canonical_name) if stream.metadata.get("alpha_mode") == "1" else None
    if name is None:
        return own
    decoder = av.CodecContext.create(name, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.color_primaries, decoder.color_trc = own.color_primaries, own.color_trc  # packets do not state these
    return decoder


def has_alpha(frame: av.VideoFrame) -> bool:
    """Whether the frame has an alpha plane or channel. Palettes are not searched."""
    return any(component.is_alpha for component in frame.format.components)


def is_grey(rgb: Samples) -> bool:
    """Whether (H, W, 3) integers have no colours, as a matte has none."""
    spread = rgb.max(axis=2) - rgb.min(axis=2)
    return bool(spread.mean() <= _GREY * np.iinfo(rgb.dtype).max)


class AlphaReader:
    """Turns decoded frames of one stream into alphas, (H, W) float32 in [0, 1], from every bit stored.

    An alpha plane spans its whole range in every codec. Without one, luma is taken over the tagged range: studio
    swing's black and white are 0 and 1. Pure grey spans its whole range whatever its tag, since FFmpeg converts to it
    so and keeps the tag of what it was.
    """

    def __init__(self) -> None:
        self._unpacker = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.float32]:
        return self._plane(frame) if has_alpha(frame) else self._luma(frame)

    def _plane(self, frame: av.VideoFrame) -> NDArray[np.float32]:
        pixels = frame.format
        bits = next(component.bits for component in pixels.components if component.is_alpha)
        if not pixels.is_planar or pixels.is_big_endian or bits > 16:
            bits = working_bits(bits)
            frame = self._unpacker.reformat(frame, format=_at("gbrap", bits), threads=1)
        return _shares(plane_view(frame.planes[3], bits), 0, 2**bits - 1)

    def _luma(self, frame: av.VideoFrame) -> NDArray[np.float32]:
        pixels, color = frame.format, color_of(frame)
        bits = working_bits(color.bit_depth)
        if is_colourless(frame) or pixels.is_rgb or pixels.has_palette:
            kind = "gray" if is_colourless(frame) else "gbrp"  # whose first plane is green, like the other two
            frame = self._unpacker.reformat(frame, format=_at(kind, bits), threads=1)
            return _shares(plane_view(frame.planes[0], bits), 0, 2**bits - 1)
        luma = ycbcr_planes(frame, bits, self._unpacker, full_range=color.full_range)[0]
        unit = 2 ** (bits - 8)
        return _shares(luma, 0, 2**bits - 1) if color.full_range else _shares(luma, 16 * unit, 235 * unit)


def _at(pixels: str, bits: int) -> str:
    """That kind of format with so many bits."""
    return pixels if bits == 8 else f"{pixels}{bits}le"


def _shares(samples: Samples, black: int, white: int) -> NDArray[np.float32]:
    """``black`` to ``white`` as 0 to 1, clipped: lossy codecs go beyond both."""
    shares = (samples.astype(np.float32) - np.float32(black)) / np.float32(white - black)
    return np.clip(shares, 0, 1, out=shares)
