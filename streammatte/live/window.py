"""A window with keys, on the user's own screen."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self, cast

import cv2
import numpy as np

from streammatte.errors import UnsupportedOutput, WriteFailed
from streammatte.frame import Frame, StreamInfo
from streammatte.live import screen
from streammatte.live.contracts import Shown
from streammatte.live.controls import Controls
from streammatte.live.small import Picture
from streammatte.media.write.composing import at_depth, pixels_of

NAME = "streammatte"

_PATIENCE = 30  # seconds for a display to answer
_LET_GO_WITHIN = 0.9  # seconds
_FONT, _DARK, _LIT, _TEXT = cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 255, 255), (190, 190, 190)


class Window:
    """Shows pictures, and turns keys into controls. It lives in a process of its own; see ``live/screen.py``.

    ``r`` shows the raw frame, here alone: nothing of it is in what other outputs get, nor is the line of keys.
    A picture with alpha lies over a checkerboard.

    Args:
        info: Of the pictures.
        controls: Set by keys.
        backgrounds: How many the key goes round; with one there is no key for it.
    """

    def __init__(self, info: StreamInfo, controls: Controls, backgrounds: int = 1) -> None:
        self.description = "window"
        self._info, self._controls = info, controls
        self._raw: Frame | None = None
        self._ready, self._gone = threading.Event(), False
        self._listener = threading.Thread(target=self._listen, name="streammatte-window", daemon=True)
        self._drawing: queue.SimpleQueue[Picture | None] = queue.SimpleQueue()
        self._painter = threading.Thread(target=self._paint, name="streammatte-painter", daemon=True)
        self._until: float | None = None
        self._before = False
        self._legend = True
        self._keys = ("m", "f", "r", "h", "q") if backgrounds < 2 else ("b", "m", "f", "r", "h", "q")

    def __enter__(self) -> Self:
        """Open it.

        Raises:
            UnsupportedOutput: There is no display, or OpenCV was built without windows.
        """
        size = str(self._info.width), str(self._info.height)
        self._said = TemporaryFile()
        self._screen = subprocess.Popen(
            [sys.executable, "-P", screen.__file__, NAME, *size],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            bufsize=0,
            start_new_session=True,  # what is sent to all of a terminal's processes is for the run, which closes it
        )
        self._listener.start()
        self._painter.start()
        if not self._ready.wait(_PATIENCE) or self._gone:
            self._end()
            raise self._refused()
        return self

    def before(self, frame: Frame) -> None:
        """The raw frame of what is shown next."""
        self._raw = frame

    def show(self, shown: Shown) -> None:
        """Draw a picture, unless the one before it is still being drawn.

        Raises:
            WriteFailed: The window has gone without being closed.
        """
        if self._gone and not self._controls.quit:
            raise WriteFailed("the window is gone", hint="is its display still there?")
        if self._gone or not self._ready.is_set():
            return
        raw = self._before and self._raw is not None
        picture = self._unmatted() if raw else _over_checker(shown.rgb)
        picture = np.ascontiguousarray(picture[..., ::-1])
        if self._legend:
            self._draw_keys(picture)
        self._ready.clear()
        self._drawing.put(picture)

    def finish(self, error: BaseException | None = None) -> None:
        """Take no more pictures, whatever ends the run; the time it is given to close begins."""
        if self._until is None:
            self._until = time.monotonic() + _LET_GO_WITHIN
            self._drawing.put(None)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._said.close()

    def _end(self) -> None:
        assert self._screen.stdout is not None
        self.finish()
        assert self._until is not None
        try:
            self._screen.wait(max(0.0, self._until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._screen.kill()
            self._screen.wait()
        self._painter.join()
        self._listener.join()
        self._screen.stdout.close()

    def _refused(self) -> UnsupportedOutput:
        self._said.seek(0)
        said = [line.strip() for line in self._said.read().decode(errors="replace").splitlines() if line.strip()]
        self._said.close()
        if any("not implemented" in line for line in said):
            return UnsupportedOutput(
                "OpenCV here was built without windows",
                hint="pip uninstall opencv-python-headless, then pip install opencv-python",
            )
        reason = next((line for line in said if "display" in line), said[-1] if said else "nothing answers")
        return UnsupportedOutput(
            f"no window can be opened: {reason}", hint="run it on a desktop, or choose another --to"
        )

    def _paint(self) -> None:
        """Hands pictures over, since a process that does not go on would hold up whoever writes to it."""
        assert self._screen.stdin is not None
        with suppress(OSError), self._screen.stdin as pipe:
            while (picture := self._drawing.get()) is not None:
                pipe.write(screen.HEAD.pack(*picture.shape[:2]))
                rest = memoryview(picture.data).cast("B")
                while rest:
                    rest = rest[pipe.write(rest) :]

    def _listen(self) -> None:
        assert self._screen.stdout is not None
        for line in self._screen.stdout:
            match line.split():
                case [b"open"] | [b"drawn"]:
                    self._ready.set()
                case [b"key", number]:
                    self._press(int(number))
                case [b"closed"]:
                    self._controls.quit = True
        self._gone = True
        self._ready.set()

    def _press(self, key: int) -> None:
        controls = self._controls
        match chr(key).lower():
            case "b" if "b" in self._keys:
                controls.background += 1
            case "m":
                controls.mirror = not controls.mirror
            case "f":
                controls.frozen = not controls.frozen
            case "r":
                self._before = not self._before
            case "h":
                self._legend = not self._legend
            case "q":
                controls.quit = True

    def _unmatted(self) -> Picture:
        assert self._raw is not None
        rgb = cast(Picture, at_depth(pixels_of(self._raw.rgb), 8))
        return cast(Picture, cv2.flip(rgb, 1)) if self._controls.mirror else rgb

    def _draw_keys(self, picture: Picture) -> None:
        """A line of the keys; what is on is bright."""
        says = {
            "b": ("b background", False),
            "m": ("m mirror", self._controls.mirror),
            "f": ("f freeze", self._controls.frozen),
            "r": ("r raw, here alone", self._before),
            "h": ("h hide", False),
            "q": ("q quit", False),
        }
        height, width = picture.shape[:2]
        gap = "   "
        line = gap.join(says[key][0] for key in self._keys)
        (length, _), _ = cv2.getTextSize(line, _FONT, 1.0, 1)
        scale = min(height / 700, 0.94 * width / length)
        strip = max(1, round(36 * scale))
        picture[-strip:] = (picture[-strip:] * np.float32(_DARK)).astype(np.uint8)
        left, base = round(0.03 * width), height - round(10 * scale)
        for key in self._keys:
            text, on = says[key]
            cv2.putText(picture, text, (left, base), _FONT, scale, _LIT if on else _TEXT, 1, cv2.LINE_AA)
            (length, _), _ = cv2.getTextSize(text + gap, _FONT, scale, 1)
            left += length


def _over_checker(picture: Picture) -> Picture:
    if picture.shape[2] == 3:
        return picture
    height, width = picture.shape[:2]
    side = max(2, height // 40)
    squares = (np.arange(height)[:, None] // side + np.arange(width) // side) % 2
    share = picture[..., 3:] / np.float32(255)
    return cast(Picture, (picture[..., :3] * share + (1 - share) * (102 + 51 * squares[..., None])).astype(np.uint8))
