"""NVDEC and NVENC, the video decoder and encoder of NVIDIA's GPUs, through FFmpeg.

Pixels decoded there are those of the CPU's decoders, whose standards leave no choice. But NVDEC conceals damage inside
a frame without a word, and NVENC needs more bits than x264 for the same picture: neither is used unless asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache

import av
from av.codec.hwaccel import HWAccel

ENCODER = "h264_nvenc"


def nvdec() -> HWAccel:
    """Decode what NVDEC can decode there, and all else on the CPU; frames come back to the CPU's memory."""
    return HWAccel("cuda", allow_software_fallback=True)


@cache
def has_nvdec() -> bool:
    """Whether this FFmpeg, driver and GPU decode."""
    try:
        nvdec().create(av.Codec("h264", "r"))
    except (av.FFmpegError, NotImplementedError, ValueError):
        return False
    return True


@cache
def has_nvenc() -> bool:
    """Whether this FFmpeg, driver and GPU encode H.264; data-centre GPUs such as the H100 do not."""
    try:
        encoder = av.CodecContext.create(ENCODER, "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width = encoder.height = 256
        encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
        encoder.open()
    except (av.FFmpegError, ValueError):  # an unknown codec is one of the latter
        return False
    return True


def missing() -> Iterator[str]:
    """What ``--hwaccel cuda`` asks for in vain, a line each."""
    if not has_nvdec():
        yield "no NVDEC on this machine: decoding on the CPU"
    if not has_nvenc():
        yield "no NVENC on this machine: .mp4 is encoded on the CPU"
