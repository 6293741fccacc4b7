"""Turning and mirroring pictures as a display matrix asks for."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Matrix: TypeAlias = NDArray[np.int32]

_FLIPS = {(True, False): 1, (False, True): 0, (True, True): -1}  # OpenCV's codes, by columns and rows


@dataclass(frozen=True, slots=True)
class Orientation:
    """From the stored picture to the one shown: rows and columns are swapped, then each may be reversed.

    Angles are rounded to quarter turns.
    """

    transposed: bool
    reversed_columns: bool
    reversed_rows: bool

    @classmethod
    def of(cls, frame: av.VideoFrame, matrix: Matrix | None) -> Self:
        """What the stream's :func:`display_matrix` asks for, unless the frame itself has another rotation."""
        # The sign is FFmpeg's: how far the picture is to be turned counter-clockwise.
        turned = frame.rotation
        quarters = _quarters(turned) if abs(turned) <= 360 else 0  # for a degenerate matrix, PyAV gives anything
        if matrix is None or _quarters(_rotation(matrix)) != quarters:
            return cls(quarters in (1, 3), quarters in (2, 3), quarters in (1, 2))
        # libavutil/display.h: x' = a·x + c·y, y' = b·x + d·y, of rows (a, b, u) and (c, d, v).
        (a, b), (c, d) = matrix
        if abs(a) >= abs(b):
            return cls(False, bool(a < 0), bool(d < 0))
        return cls(True, bool(c < 0), bool(b < 0))

    def __call__(self, picture: NDArray[Any]) -> NDArray[Any]:
        """(H, W, …) upright and contiguous; itself if nothing has to be done."""
        # OpenCV takes a third of the time that NumPy needs to copy a view.
        if self.transposed:
            picture = cv2.transpose(picture)
        if self.reversed_columns or self.reversed_rows:
            picture = cv2.flip(picture, _FLIPS[self.reversed_columns, self.reversed_rows])
        return np.ascontiguousarray(picture)

    @property
    def says(self) -> str | None:
        """What is done, in words; ``None`` if nothing is. Mirroring is left to right, before the turn."""
        return _WORDS[self.transposed, self.reversed_columns, self.reversed_rows]


_WORDS = {
    (False, False, False): None,
    (False, True, False): "mirrored",
    (False, True, True): "turned by 180°",
    (False, False, True): "mirrored and turned by 180°",
    (True, False, False): "mirrored and turned by 90° counter-clockwise",
    (True, True, False): "turned by 90° clockwise",
    (True, True, True): "mirrored and turned by 90° clockwise",
    (True, False, True): "turned by 90° counter-clockwise",
}
EXIF = {number: Orientation(*flags) for number, flags in enumerate(_WORDS, 1)}
"""By EXIF's numbers, which have the same order (CIPA DC-008, 4.6.4)."""


def display_matrix(stream: av.VideoStream) -> Matrix | None:
    """The (2, 2) part that turns, of an open file; ``None`` if neither MOV nor MP4 can hold such a stream.

    PyAV has one way to a matrix, ``Frame.side_data``, which frees memory twice (docs/upstream.md), and ``rotation``
    does not tell a mirrored picture from a turned one. But whatever the container, the stream's header can be copied
    into a MOV without frames, and the matrix read from that: ISO/IEC 14496-12, section 8.3.2.
    """
    for kind in ("mov", "mp4"):
        header = io.BytesIO()
        with suppress(ValueError, av.FFmpegError):
            with av.open(header, "w", format=kind, options={"movflags": "empty_moov"}) as out:
                out.add_stream_from_template(stream, opaque=True)  # there may be no encoder
                out.start_encoding()
            data = header.getvalue()
            place = data.index(b"tkhd") + 4
            place += 52 if data[place] else 40  # its times have 64 bits in version 1
            return np.frombuffer(data, ">i4", 9, place).astype(np.int32).reshape(3, 3)[:2, :2]
    return None


def _rotation(matrix: Matrix) -> float:
    """Degrees counter-clockwise, as ``av_display_rotation_get`` counts them; 0 for a degenerate matrix."""
    (a, b), (c, d) = matrix.astype(np.float64)
    across, down = np.hypot(a, c), np.hypot(b, d)
    return -float(np.degrees(np.arctan2(b / down, a / across))) if across and down else 0.0


def _quarters(degrees: float) -> int:
    """Quarter turns, 0 to 3."""
    return round(degrees / 90) % 4
