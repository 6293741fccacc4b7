"""The alpha that footage brings along: in a plane of its own or, of a matte clip, as its luma."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from streammatte.color.ycbcr import Samples, color_of, plane_view, working_bits, ycbcr_planes

# WebM keeps VP8's and VP9's alpha as a second picture beside the first. FFmpeg's own decoders leave it out.
_DECODERS_OF_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

_GREY = 0.03  # of the whole range: how far the channels of a matte may be apart on average, for lossy codecs


def decoder_for(stream: av.VideoStream) -> av.VideoCodecContext:
    """The stream's decoder, or the one that gives its alpha, too, if it has any that the first leaves out."""
    own = stream.codec_context
    name = _DECODERS_OF_ALPHA.get(own.codec.canonical_name) if stream.metadata.get("alpha_mode") == "1" else None
    if name is None:
        return own
    decoder = av.CodecContext.create(name, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.color_primaries, decoder.color_trc = own.color_primaries, own.color_trc  # of these the packets say nothing
    return decoder


def has_alpha(frame: av.VideoFrame) -> bool:
    """Whether the frame has a plane or channel of alpha. A palette's is not looked for."""
    return any(component.is_alpha for component in frame.format.components)


def is_grey(rgb: Samples) -> bool:
    """Whether (H, W, 3) integers are the picture of a matte: without colours."""
    spread = rgb.max(axis=2) - rgb.min(axis=2)
    return bool(spread.mean() <= _GREY * np.iinfo(rgb.dtype).max)


class AlphaReader:
    """Turns decoded frames of one stream into alphas, (H, W) float32 in [0, 1], from every bit that is stored.

    An alpha plane spans its whole range in every codec. Without one, luma is taken, over the range that is tagged:
    black and white of studio swing are 0 and 1. Samples of grey alone span their whole range, whatever the tag: FFmpeg
    converts to them so, and leaves the tag of what they were converted from.
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
        if pixels.is_rgb or pixels.has_palette:
            frame = self._unpacker.reformat(frame, format=_at("gbrp", bits), threads=1)
            return _shares(plane_view(frame.planes[0], bits), 0, 2**bits - 1)  # green, and so all three
        if len(pixels.components) == 1:
            frame = self._unpacker.reformat(frame, format=_at("gray", bits), threads=1)
            return _shares(plane_view(frame.planes[0], bits), 0, 2**bits - 1)
        luma = ycbcr_planes(frame, bits, self._unpacker, full_range=color.full_range)[0]
        unit = 2 ** (bits - 8)
        return _shares(luma, 0, 2**bits - 1) if color.full_range else _shares(luma, 16 * unit, 235 * unit)


def _at(pixels: str, bits: int) -> str:
    """The format of that kind with samples of so many bits."""
    return pixels if bits == 8 else f"{pixels}{bits}le"


def _shares(samples: Samples, black: int, white: int) -> NDArray[np.float32]:
    """From ``black`` to ``white`` as 0 to 1; what lies beyond them, as lossy codecs leave it, is cut off."""
    shares = (samples.astype(np.float32) - np.float32(black)) / np.float32(white - black)
    return np.clip(shares, 0, 1, out=shares)
