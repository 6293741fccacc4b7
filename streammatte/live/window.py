"""A window with keys, on the user's own screen."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import Self, cast

import cv2
import numpy as np

from streammatte.errors import UnsupportedOutput
from streammatte.frame import Frame, StreamInfo
from streammatte.live.contracts import Shown
from streammatte.live.controls import Controls
from streammatte.live.small import Picture
from streammatte.media.composing import at_depth, pixels_of

NAME = "streammatte"

_ESCAPE = 27
_PATIENCE = 30  # seconds for a display to answer
_OPENS = f"import cv2; cv2.namedWindow({NAME!r}); cv2.pollKey(); cv2.destroyAllWindows()"
_FONT, _DARK, _LIT, _TEXT = cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 255, 255), (190, 190, 190)


class Window:
    """Shows pictures, and turns keys into controls. All of it in one thread, on macOS the main one.

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
        self._before = False
        self._legend = True
        self._keys = ("m", "f", "r", "h", "q") if backgrounds < 2 else ("b", "m", "f", "r", "h", "q")

    def __enter__(self) -> Self:
        """Open it.

        Raises:
            UnsupportedOutput: There is no display, or OpenCV was built without windows.
        """
        _check_display()
        cv2.namedWindow(NAME, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        cv2.resizeWindow(NAME, self._info.width, self._info.height)
        return self

    def before(self, frame: Frame) -> None:
        """The raw frame of what is shown next."""
        self._raw = frame

    def show(self, shown: Shown) -> None:
        """Draw a picture, and take the keys that were pressed since."""
        raw = self._before and self._raw is not None
        picture = self._unmatted() if raw else _over_checker(shown.rgb)
        picture = np.ascontiguousarray(picture[..., ::-1])
        if self._legend:
            self._draw_keys(picture)
        cv2.imshow(NAME, picture)
        while (key := cv2.pollKey()) >= 0:
            self._press(key & 0xFF)
        if cv2.getWindowProperty(NAME, cv2.WND_PROP_VISIBLE) < 1:  # closed by its frame
            self._controls.quit = True

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        cv2.destroyAllWindows()
        cv2.pollKey()  # without it, some window systems leave it on the screen

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
            case "q" | "\x1b":
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


def _check_display() -> None:
    """Try a window in another process: Qt, which draws OpenCV's on Linux, ends a process that has no display."""
    try:
        tried = subprocess.run([sys.executable, "-c", _OPENS], capture_output=True, text=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired as exc:
        raise UnsupportedOutput("the display does not answer", hint="check DISPLAY, or leave --to window out") from exc
    if tried.returncode == 0:
        return
    said = [line for line in tried.stderr.splitlines() if line.strip()]
    if any("not implemented" in line for line in said):
        raise UnsupportedOutput(
            "OpenCV here was built without windows",
            hint="pip uninstall opencv-python-headless, then pip install opencv-python",
        )
    reason = next((line for line in said if "display" in line), said[-1] if said else f"exit code {tried.returncode}")
    raise UnsupportedOutput(
        f"no window can be opened: {reason.strip()}", hint="run it on a desktop, or choose another --to"
    )
