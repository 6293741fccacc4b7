"""NVDEC and NVENC, the video decoder and encoder of NVIDIA's GPUs, through FFmpeg.

Pixels decoded there are those of the CPU's decoders, whose standards leave no choice. But NVDEC hides damage inside a
frame, and NVENC needs more bits than x264 for the same picture: neither is used unless asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import cache

import av
from av.codec.hwaccel import HWAccel

ENCODER = "h264_nvenc"
_LAYOUTS = ("nv12", "p010le")  # of 4:2:0 in 8 and 10 bits; those of other streams do not state their bits


def nvdec() -> HWAccel:
    """Decode what NVDEC can decode there, and all else on the CPU; frames come back to the CPU's memory."""
    return HWAccel("cuda", allow_software_fallback=True, options={"primary_ctx": "1"})  # torch's context


@cache
def has_nvdec() -> bool:
    """Whether this FFmpeg and driver find a GPU."""
    try:
        nvdec().create(av.Codec("h264", "r"))
    except (av.FFmpegError, NotImplementedError, ValueError):
        return False
    return True


def is_from_nvdec(frame: av.VideoFrame) -> bool:
    """Whether a frame looks as NVDEC's do, with as many bits as its format says."""
    return frame.format.name in _LAYOUTS


def encodes(size: tuple[int, int], options: Mapping[str, str]) -> bool:
    """Whether NVENC is here and takes frames of that (width, height).

    Data-centre GPUs such as the H100 have none, others a largest size and a number of encoders at a time.
    """
    try:
        encoder = av.CodecContext.create(ENCODER, "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height = size
        encoder.pix_fmt, encoder.time_base, encoder.options = "yuv420p", Fraction(1, 25), dict(options)
        encoder.open()
    except (av.FFmpegError, ValueError):  # an unknown codec is one of the latter
        return False
    return True
