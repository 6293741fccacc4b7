"""Footage for live runs: a room in one loud colour, and a subject whose place and level tell the frame's number."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray

from streammatte.frame import Frame
from streammatte.live.contracts import Shown

SIZE = (96, 64)
ROOM = (255, 0, 255)
SIDE = 16
COUNT = 20


def picture(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: frame ``number``, below :data:`COUNT`."""
    width, height = size
    rgb = np.full((height, width, 3), ROOM, np.uint8)
    left = 4 * number
    rgb[SIDE : 2 * SIDE, left : left + SIDE] = 40 + 10 * number
    return rgb


def of_room(rgb: NDArray[np.uint8]) -> int:
    """How many pixels of the room a picture has."""
    return int((np.abs(rgb[..., :3].astype(int) - ROOM).max(axis=-1) < 90).sum())


def number_in(rgb: NDArray[np.uint8], background: tuple[int, int, int]) -> tuple[float, float]:
    """The number that the subject's place tells, and its level, in a picture laid over ``background``."""
    subject = np.abs(rgb.astype(int) - background).max(axis=-1) > 30
    columns = np.flatnonzero(subject.any(axis=0))
    return float(columns[0] / 4), float((rgb[subject].mean() - 40) / 10)


def write_counted(path: Path, frames: int = COUNT, *, size: tuple[int, int] = SIZE, rate: Fraction | int = 40) -> Path:
    """:func:`picture` 0, 1, …, without loss."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "bgr0"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number % COUNT, size), "rgb24")
            frame.pts, frame.time_base = number, 1 / Fraction(rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@contextmanager
def sender(address: str) -> Iterator[None]:
    """Sends :func:`picture` s round and round by UDP, until it is left."""
    stop = threading.Event()

    def send() -> None:
        with av.open(address, "w", format="mpegts", container_options={"flush_packets": "1"}) as out:
            stream = out.add_stream(
                "libx264", rate=25, options={"preset": "ultrafast", "tune": "zerolatency", "g": "5", "crf": "5"}
            )
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv444p"
            number = 0
            while not stop.is_set():
                frame = av.VideoFrame.from_ndarray(picture(number % COUNT), "rgb24").reformat(format="yuv444p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                out.mux(stream.encode(frame))
                number += 1
                time.sleep(0.04)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Keyed:
    """A model that knows the room's colour; it keeps ``LiveModel``'s contract."""

    setting = "by colour"
    exhausted = False

    def __call__(self, frames: Sequence[Frame]) -> list[torch.Tensor]:
        room = torch.tensor(ROOM)[:, None, None]
        return [((frame.rgb.int() - room).abs().amax(0) > 120).float() for frame in frames]

    def took(self, seconds: float) -> None:
        """It has a single setting."""


class Kept:
    """Keeps what is shown, as ``Outputs`` would send it."""

    dropped = 0
    ended = False

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self.failures: list[Exception] = []
        self.notes: list[str] = []

    @property
    def fresh(self) -> list[Shown]:
        return [shown for shown in self.shown if not shown.held]

    def before(self, frame: Frame) -> None:
        """Only windows use it."""

    def show(self, shown: Shown) -> None:
        self.shown.append(Shown(shown.rgb.copy(), shown.index, shown.at, shown.held))
