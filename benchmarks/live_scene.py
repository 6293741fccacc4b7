"""A scene that reveals mixed-up frames: a person moves in a circle, and a strip shows the frame's number.

As a program, it is a camera that can be killed: python -m benchmarks.live_scene ADDRESS
"""

from __future__ import annotations

import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from numpy.typing import NDArray

import streammatte

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SIZE = (360, 640)
RATE = 30
LOOP = 300  # frames: five times round
_ROUND = 60
_RADIUS = 80  # pixels: 8.4 a frame along the circle
_BITS = 9
_BLOCK = (12, 16)  # rows and columns
STRIP = (_BLOCK[0], 2 * _BITS * _BLOCK[1])
ROOM = (255, 0, 255)


class Scene:
    """The pictures and their ground truth.

    Args:
        samples: Where ``talking`` and ``walk`` are, with their alphas.
    """

    def __init__(self, samples: Path) -> None:
        with (
            streammatte.open_video(samples / "talking.mp4") as clip,
            streammatte.open_video(samples / "talking.alpha.mkv") as truth,
            streammatte.open_video(samples / "walk.mp4") as street,
        ):
            frame, cutout = next(iter(clip)), next(iter(truth.cutouts()))
            # The part in which nobody walks: nothing there may be taken for a subject.
            street_alone = _rgb(next(iter(street)))[:, :260]
        self._room = cv2.resize(street_alone, (SIZE[1], SIZE[0]), interpolation=cv2.INTER_CUBIC)
        self._person, self._alpha = _rgb(frame), cutout.alpha.numpy()

    def picture(self, number: int) -> tuple[Picture, Mask]:
        """(H, W, 3) of a frame, and where its subject is, without the strip."""
        angle = 2 * np.pi * (number % _ROUND) / _ROUND
        move = np.array([[0.7, 0, 96 + _RADIUS * np.cos(angle)], [0, 0.7, 108 + 0.6 * _RADIUS * np.sin(angle)]])
        size = SIZE[1], SIZE[0]
        alpha = cv2.warpAffine(self._alpha, move, size)[..., None]
        person = cv2.warpAffine(self._person, move, size, borderMode=cv2.BORDER_REPLICATE)
        rgb = np.rint(alpha * person + (1 - alpha) * self._room).astype(np.uint8)
        draw_number(rgb, number)
        return rgb, cast(Mask, alpha[..., 0] > 0.5)

    def write(self, path: Path) -> list[Mask]:
        """Write the clip; return its frames' ground truth."""
        truths = []
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=RATE, options={"crf": "16", "preset": "veryfast"})
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
            for number in range(LOOP):
                rgb, truth = self.picture(number)
                truths.append(small(truth))
                out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
            out.mux(stream.encode(None))
        return truths


def draw_number(rgb: Picture, number: int) -> None:
    """As black and white blocks in the upper left, each bit beside its opposite."""
    for bit in range(_BITS):
        for place, value in enumerate((number >> bit & 1, ~number >> bit & 1)):
            left = (2 * bit + place) * _BLOCK[1]
            rgb[: _BLOCK[0], left : left + _BLOCK[1]] = 235 * value + 10


def read_number(rgb: Picture) -> int | None:
    """The number in a picture; ``None`` if there is none."""
    number = 0
    for bit in range(_BITS):
        levels = []
        for place in (0, 1):
            left = (2 * bit + place) * _BLOCK[1]
            levels.append(rgb[3 : _BLOCK[0] - 3, left + 4 : left + _BLOCK[1] - 4].mean())
        if abs(levels[0] - levels[1]) < 60:
            return None
        number |= int(levels[0] > levels[1]) << bit
    return number


def small(mask: Mask) -> Mask:
    """At a quarter, without the strip."""
    shrunk = mask[2::4, 2::4].copy()
    shrunk[: STRIP[0] // 4 + 1, : STRIP[1] // 4 + 1] = False
    return shrunk


def overlap(one: Mask, other: Mask) -> float:
    """Intersection over union."""
    return float((one & other).sum() / max(1, (one | other).sum()))


def _rgb(frame: Any) -> Picture:
    return cast(Picture, np.ascontiguousarray(frame.rgb.permute(1, 2, 0).numpy()))


def send(address: str) -> None:
    """A white box that moves through a room in one loud colour, until the process is killed."""
    with av.open(address, "w", format="mpegts", container_options={"flush_packets": "1"}) as out:
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": "10", "crf": "8"}
        stream = out.add_stream("libx264", rate=RATE, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv444p"
        begin, number = time.monotonic(), 0
        while True:
            rgb = np.full((180, 320, 3), ROOM, np.uint8)
            left = 2 * number % 240
            rgb[60:120, left : left + 60] = 230
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            out.mux(stream.encode(frame))
            number += 1
            time.sleep(max(0.0, begin + number / RATE - time.monotonic()))


if __name__ == "__main__":
    send(sys.argv[1])
