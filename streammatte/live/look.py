"""From a plate to the picture that is shown: over a background, as if it had been shot there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streammatte.frame import Plate, StreamInfo
from streammatte.live.contracts import Captured, Shown
from streammatte.media.background import open_background
from streammatte.media.composing import at_depth, colors


class Look:
    """Lays plates over a background."""

    def __init__(self, info: StreamInfo, background: str) -> None:
        self._background = open_background(background, info)

    def __call__(self, captured: Captured, plate: Plate) -> Shown:
        return Shown(at_depth(colors(plate, "straight", self._background), 8), captured.frame.index, captured.at)

    def empty(self, info: StreamInfo) -> NDArray[np.uint8]:
        """What is shown before there is a plate: nothing of the room."""
        return np.full((info.height, info.width, 3), 32, np.uint8)
