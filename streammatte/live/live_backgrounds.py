"""Backgrounds of a live run, in 8 bits: colours, pictures, clips and blur."""

from __future__ import annotations

import threading
from dataclasses import replace
from fractions import Fraction
from typing import Protocol, cast

import cv2
import numpy as np
import torch

from streammatte.errors import StreammatteError
from streammatte.frame import Cutout, Frame, StreamInfo
from streammatte.live.subject_edge import Floats, Picture, spread, times
from streammatte.media.background import Clip, blur_radius, open_background, parse_color
from streammatte.media.write.composing import Background, pixels_of

TRANSPARENT = "transparent"
_CLOCK = Fraction(1, 1_000_000)
_LET_GO_WITHIN = 0.5  # seconds; a thread that its server blocks for longer is left behind
_LONGEST_STEP = 0.1  # seconds that a clip advances at once: one that decodes too slowly plays more slowly


class Behind(Protocol):
    """One background of a live run.

    Attributes:
        alone: It needs no frame, and contains nothing of the room.
        light: It lights the subject: it is a place, neither a colour nor the room itself.
    """

    alone: bool
    light: bool

    def picture(self, at: float, rgb: Picture, alpha: Floats) -> Picture:
        """(H, W, 3), read-only.

        Args:
            at: Seconds, on any steady clock.
            rgb: (H, W, 3), the frame.
            alpha: (H, W) in [0, 1].
        """
        ...

    def close(self) -> None: ...


def open_behind(spec: str, info: StreamInfo) -> Behind:
    """The background that ``--bg`` names, at the size of ``info``.

    Raises:
        InputError: It is not a background, or cannot be read.
    """
    text = spec.strip()
    if text == "blur" or text.startswith("blur:"):
        return _Blurred(blur_radius(text, info))
    if text == TRANSPARENT:
        return _Still(np.zeros((info.height, info.width, 3), np.uint8), light=False)
    info = replace(info, time_base=_CLOCK)
    background = open_background(text, info)
    if isinstance(background, Clip):
        return _Moving(background, info)
    try:
        return _Still(_shown(background, info, 0), light=text != "checker" and parse_color(text) is None)
    finally:
        background.close()


def _shown(background: Background, info: StreamInfo, ticks: int) -> Picture:
    """A background that needs no frame, at a time in :data:`_CLOCK`."""
    nothing = torch.empty(0)
    rgb = pixels_of(background.frame(Cutout(Frame(nothing, ticks, 0), nothing)))
    return cast(Picture, cv2.multiply(rgb, (255.0,) * 4, dtype=cv2.CV_8U))  # type: ignore[call-overload]


class _Still:
    alone = True

    def __init__(self, picture: Picture, *, light: bool) -> None:
        self.light = light
        self._picture = picture

    def picture(self, at: float, rgb: Picture, alpha: Floats) -> Picture:
        return self._picture

    def close(self) -> None: ...


class _Moving:
    """A looped clip, decoded in its own thread, so that no frame waits for its background."""

    alone = light = True

    def __init__(self, clip: Clip, info: StreamInfo) -> None:
        self._clip = clip
        self._info = info
        self._picture = _shown(clip, info, 0)
        self._begin: float | None = None
        self._wanted = self._now = 0.0
        self._failure: StreammatteError | None = None
        self._stopping = False
        self._asked = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="streammatte-background", daemon=True)
        self._thread.start()

    def picture(self, at: float, rgb: Picture, alpha: Floats) -> Picture:
        if self._failure is not None:
            raise self._failure
        self._begin = at if self._begin is None else self._begin
        with self._asked:
            self._wanted = max(self._wanted, at - self._begin)
            self._asked.notify()
        return self._picture

    def close(self) -> None:
        with self._asked:
            self._stopping = True
            self._asked.notify()
        self._thread.join(_LET_GO_WITHIN)

    def _read(self) -> None:
        try:
            self._play()
        finally:
            self._clip.close()

    def _play(self) -> None:
        while True:
            with self._asked:
                self._asked.wait_for(lambda: self._stopping or self._wanted > self._now)
                if self._stopping:
                    return
                self._now = min(self._wanted, self._now + _LONGEST_STEP)
            try:
                self._picture = _shown(self._clip, self._info, int(self._now / _CLOCK))
            except StreammatteError as exc:
                self._failure = exc
                return


class _Blurred:
    """The room out of focus, without the subject: as for files, but in 8 bits and on a coarser grid."""

    alone = light = False

    def __init__(self, radius: float) -> None:
        self._radius = radius

    def picture(self, at: float, rgb: Picture, alpha: Floats) -> Picture:
        height, width = rgb.shape[:2]
        step = max(1, int(self._radius / 2.5))
        size = max(1, -(-width // step)), max(1, -(-height // step))
        room = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        # The darkest neighbour: an edge that the matte misses by a little belongs to the subject, and would glow.
        clear = cv2.erode(cv2.resize(1 - alpha, size, interpolation=cv2.INTER_AREA), np.ones((3, 3), np.uint8))
        weight = cast(Floats, np.square(clear) + np.float32(1e-4))
        sigma = self._radius / step
        blurred = spread(times(room, weight), sigma) / spread(weight, sigma)[..., None]
        steps = cv2.convertScaleAbs(blurred)
        return cast(Picture, cv2.resize(steps, (width, height), interpolation=cv2.INTER_LINEAR))

    def close(self) -> None:
        """Holds nothing open."""
