"""A window on the user's screen, with keys, in its own process (``window_process.py``)."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from tempfile import TemporaryFile
from typing import cast

import cv2
import numpy as np

from streammatte.errors import UnsupportedOutput, WriteFailed
from streammatte.frame import Frame, StreamInfo
from streammatte.live import window_process
from streammatte.live.contracts import Controls, Shown
from streammatte.live.subject_edge import Picture
from streammatte.media.write.composing import at_depth, pixels_of

NAME = "streammatte"

_PATIENCE = 30  # seconds for a display to answer
_LET_GO_WITHIN = 0.9  # seconds
_FONT, _DARK, _LIT, _TEXT = cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 255, 255), (190, 190, 190)


class Window:
    """Shows pictures, and turns keys into controls. An output of a run.

    ``r`` shows the raw frame, in the window only: no other output ever contains it, nor the line of keys. Pictures with
    alpha are shown over a checkerboard.

    Args:
        info: The pictures' size.
        controls: Set by keys.
        backgrounds: How many the key cycles through; with a single one there is no key for it.
    """

    note = None

    def __init__(self, info: StreamInfo, controls: Controls, backgrounds: int = 1) -> None:
        self._controls = controls
        self._raw: Frame | None = None
        self._before = False  # whether the raw frame is shown
        self._legend = True
        self._keys = "mfrhq" if backgrounds < 2 else "bmfrhq"
        self._screen = _Screen(info.width, info.height, self._press, self._closed)

    def open(self) -> None:
        """Open it.

        Raises:
            UnsupportedOutput: There is no display, or OpenCV was built without windows.
        """
        self._screen.open()

    def before(self, frame: Frame) -> None:
        """The raw frame of the next picture."""
        self._raw = frame

    def show(self, shown: Shown) -> None:
        """Draw a picture, unless the one before it is still being drawn.

        Raises:
            WriteFailed: The window vanished without being closed.
        """
        if self._screen.gone and not self._controls.quit:
            raise WriteFailed("the window vanished", hint="check that its display is still there")
        if self._screen.gone or not self._screen.ready.is_set():
            return
        raw = self._raw if self._before else None
        picture = _over_checker(shown.rgb) if raw is None else self._unmatted(raw)
        picture = np.ascontiguousarray(picture[..., ::-1])
        if self._legend:
            self._draw_keys(picture)
        self._screen.draw(picture)

    def finish(self, error: BaseException | None = None) -> None:
        """Take no more pictures; its time to close begins."""
        self._screen.finish()

    def close(self) -> None:
        self._screen.close()

    def _closed(self) -> None:
        self._controls.quit = True

    def _press(self, key: str) -> None:
        controls = self._controls
        match key:
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

    def _unmatted(self, frame: Frame) -> Picture:
        rgb = cast(Picture, at_depth(pixels_of(frame.rgb), 8))
        return cast(Picture, cv2.flip(rgb, 1)) if self._controls.mirror else rgb

    def _draw_keys(self, picture: Picture) -> None:
        """A line of the keys, bright where switched on."""
        says = {
            "b": ("b background", False),
            "m": ("m mirror", self._controls.mirror),
            "f": ("f freeze", self._controls.frozen),
            "r": ("r raw, only here", self._before),
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


class _Screen:
    """The window's process, and the threads that write to it and read from it.

    Args:
        width, height: Of the window at first.
        pressed: Called with each key, in lower case.
        closed: Called when the user closes the window.

    Attributes:
        ready: It can take a picture, or is gone.
    """

    def __init__(self, width: int, height: int, pressed: Callable[[str], None], closed: Callable[[], None]) -> None:
        self.ready, self.gone = threading.Event(), False
        self._size, self._pressed, self._closed = (width, height), pressed, closed
        self._drawing: queue.SimpleQueue[Picture | None] = queue.SimpleQueue()
        self._until: float | None = None

    def open(self) -> None:
        self._errors = TemporaryFile()  # noqa: SIM115 - closed in close()
        width, height = self._size
        self._process = subprocess.Popen(
            [sys.executable, "-P", window_process.__file__, NAME, str(width), str(height)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,  # a terminal's signals are meant for the run, which closes the window
        )
        self.pid = self._process.pid
        self._threads = [
            threading.Thread(target=self._listen, name="streammatte-window", daemon=True),
            threading.Thread(target=self._paint, name="streammatte-painter", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        if not self.ready.wait(_PATIENCE) or self.gone:
            self.finish()
            self._end()
            raise self._refused()

    def draw(self, picture: Picture) -> None:
        """(H, W, 3), BGR."""
        self.ready.clear()
        self._drawing.put(picture)

    def finish(self) -> None:
        if self._until is None:
            self._until = time.monotonic() + _LET_GO_WITHIN
            self._drawing.put(None)

    def close(self) -> None:
        self.finish()
        self._end()
        self._errors.close()

    def _end(self) -> None:
        assert self._process.stdout is not None and self._until is not None
        try:
            self._process.wait(max(0.0, self._until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join()
        self._process.stdout.close()

    def _refused(self) -> UnsupportedOutput:
        with self._errors as errors:
            errors.seek(0)
            said = [line.strip() for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
        if any("not implemented" in line for line in said):
            return UnsupportedOutput(
                "this OpenCV was built without windows",
                hint="pip uninstall opencv-python-headless, then pip install opencv-python",
            )
        reason = next((line for line in said if "display" in line), said[-1] if said else "no answer")
        return UnsupportedOutput(
            f"cannot open a window: {reason}", hint="run it in a desktop session, or use another --to"
        )

    def _paint(self) -> None:
        """Writes pictures, since a process that hangs would block whoever writes to it."""
        assert self._process.stdin is not None
        with suppress(OSError), self._process.stdin as pipe:
            while (picture := self._drawing.get()) is not None:
                pipe.write(window_process.HEAD.pack(*picture.shape[:2]))
                rest = memoryview(picture.data).cast("B")
                while rest:
                    rest = rest[pipe.write(rest) :]

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            match line.split():
                case [b"open"] | [b"drawn"]:
                    self.ready.set()
                case [b"key", number]:
                    self._pressed(chr(int(number)).lower())
                case [b"closed"]:
                    self._closed()
        self.gone = True
        self.ready.set()


def _over_checker(picture: Picture) -> Picture:
    if picture.shape[2] == 3:
        return picture
    height, width = picture.shape[:2]
    side = max(2, height // 40)
    squares = (np.arange(height)[:, None] // side + np.arange(width) // side) % 2
    share = picture[..., 3:] / np.float32(255)
    return cast(Picture, (picture[..., :3] * share + (1 - share) * (102 + 51 * squares[..., None])).astype(np.uint8))
