"""Standing pictures upright: the turn and the mirroring that a display matrix asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import av
import cv2
import numpy as np
from numpy.typing import NDArray

_FLIPS = {(True, False): 1, (False, True): 0, (True, True): -1}  # OpenCV's codes, by columns and rows


@dataclass(frozen=True, slots=True)
class Orientation:
    """How a stored picture becomes the one that is shown: rows and columns are swapped, and then each may be reversed.

    Angles between quarter turns are taken for the nearest of them.
    """

    transposed: bool
    reversed_columns: bool
    reversed_rows: bool

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Self:
        matrix = _display_matrix(frame)
        if matrix is None:
            # The sign is FFmpeg's: how far the picture is to be turned counter-clockwise.
            quarters = round(frame.rotation / 90) % 4
            return cls(quarters in (1, 3), quarters in (2, 3), quarters in (1, 2))
        # libavutil/display.h: x' = a·x + c·y, y' = b·x + d·y, of rows (a, b, u) and (c, d, v).
        (a, b), (c, d) = matrix
        if abs(a) >= abs(b):
            return cls(False, bool(a < 0), bool(d < 0))
        return cls(True, bool(c < 0), bool(b < 0))

    def __call__(self, picture: NDArray[Any]) -> NDArray[Any]:
        """(H, W, …) upright, contiguous; itself if there is nothing to do."""
        # OpenCV does it in a third of the time that NumPy takes to copy a view.
        if self.transposed:
            picture = cv2.transpose(picture)
        if self.reversed_columns or self.reversed_rows:
            picture = cv2.flip(picture, _FLIPS[self.reversed_columns, self.reversed_rows])
        return np.ascontiguousarray(picture)

    @property
    def says(self) -> str | None:
        """What is done, for people; ``None`` if nothing is."""
        mirrored = self.transposed ^ self.reversed_columns ^ self.reversed_rows
        # Mirroring is told as left for right, before the turn.
        if self.transposed:
            degrees = 90 if self.reversed_rows != mirrored else 270
        else:
            degrees = 180 if self.reversed_rows else 0
        said = ["mirrored"] if mirrored else []
        if degrees:
            said.append(
                {90: "turned by 90° counter-clockwise", 180: "turned by 180°", 270: "turned by 90° clockwise"}[degrees]
            )
        return " and ".join(said) or None


def _display_matrix(frame: av.VideoFrame) -> NDArray[np.int32] | None:
    """The part of it that turns, (2, 2); ``None`` if it has none or PyAV cannot look."""
    try:
        kinds: Any = frame.side_data  # its stub knows some of them only
        data = kinds["DISPLAYMATRIX"]
    except (KeyError, ValueError):  # of some kinds of side data, EXIF among them, PyAV has no name, and stops there
        return None
    return np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2]
