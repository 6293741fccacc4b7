"""Pictures out as they come: a stream, or a file that grows."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from streammatte.frame import StreamInfo

_CLOCK = Fraction(1, 90000)


class LiveSink:
    """H.264, without delay, in MPEG-TS over UDP."""

    def __init__(self, target: str, info: StreamInfo) -> None:
        self._target, self._info = target, info
        self._begin: float | None = None

    def open(self) -> None:
        self._container = av.open(self._target, "w", format="mpegts" if "://" in self._target else None)
        self._stream = self._container.add_stream(
            "libx264", rate=self._info.frame_rate, options={"preset": "ultrafast", "tune": "zerolatency"}
        )
        self._stream.width, self._stream.height = self._info.width, self._info.height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = self._stream.time_base = _CLOCK

    def write(self, rgb: NDArray[np.uint8], at: float) -> None:
        self._begin = at if self._begin is None else self._begin
        frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
        frame.pts, frame.time_base = round((at - self._begin) / _CLOCK), _CLOCK
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()
