"""The network's own thread: from the newest frame to its cut-out, while the one before is composed and sent."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from streammatte.errors import ModelError
from streammatte.frame import Cutout
from streammatte.live.capture import Capture
from streammatte.live.contracts import Captured, LiveMatter

if TYPE_CHECKING:
    from streammatte.live.source import Picture

_FAILURES = 5  # in a row, after which it is no accident
_STOP_WITHIN = 3.0  # seconds; a large network on a CPU takes longer for a frame, and is left behind


class Mattes:
    """Cut-outs of the newest frames, one ahead of whoever takes them.

    A frame is taken from the camera when there is room for its cut-out and not before, so that what comes too fast is
    dropped at the camera: at most one frame waits there, and one cut-out here. A cut-out that is not its frame's, or no
    numbers from 0 to 1, is a failure, and so is whatever the matter raises, or a picture whose colours cannot be
    computed; of such a frame nothing comes.

    Args:
        capture: Where frames come from.
        load: Makes the matter ready, in the thread: it may take long, and something is shown meanwhile.

    Attributes:
        matter: Once it is ready.
        failed: Frames without a matte.
        trouble: What the last failure was, in a line.
    """

    def __init__(self, capture: Capture, load: Callable[[], LiveMatter]) -> None:
        self.matter: LiveMatter | None = None
        self.failed = 0
        self.trouble: str | None = None
        self._in_row = 0
        self._capture, self._load = capture, load
        self._ready: tuple[Captured, Cutout] | None = None
        self._changed = threading.Condition()
        self._stopping = False
        self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="streammatte-network", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Nothing comes any more.

        Raises:
            BaseException: Whatever ended the thread.
        """
        with self._changed:
            if self._ended and self._ready is None and self._error is not None:
                raise self._error
            return self._ended and self._ready is None

    def take(self, timeout: float) -> tuple[Captured, Cutout] | None:
        """The next frame with its cut-out; ``None`` if there is none within ``timeout`` seconds.

        Raises:
            BaseException: Whatever ended the thread.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready is not None or self._ended, timeout)
            ready, self._ready = self._ready, None
            self._changed.notify_all()
            if ready is None and self._error is not None:
                raise self._error
            return ready

    def close(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(_STOP_WITHIN)

    def _run(self) -> None:
        try:
            self.matter = matter = self._load()
            begin = time.monotonic()
            while self._has_room():
                waited = time.monotonic() - begin
                picture = self._capture.take(0.2)
                if picture is not None:
                    self._hand_on(picture, matter, waited)
                elif self._capture.state == "ended":
                    return
                begin = time.monotonic()
        except BaseException as exc:  # carried over, whatever it is: it is the session's to handle
            self._error = exc
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _has_room(self) -> bool:
        """Once there is, and as long as nobody wants an end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready is None or self._stopping)
            return not self._stopping

    def _hand_on(self, picture: Picture, matter: LiveMatter, waited: float) -> None:
        begin = time.monotonic()
        try:
            frame = picture.frame()
            captured = Captured(frame, picture.at, waited + time.monotonic() - begin)
            cutout = matter(captured)
            _check(captured, cutout)
        except Exception as exc:  # whatever it is, the frame is not shown
            self.failed += 1
            self._in_row += 1
            self.trouble = f"{type(exc).__name__}: {exc}".splitlines()[0]
            if self._in_row == _FAILURES:
                raise
            return
        self._in_row = 0
        with self._changed:
            self._ready = captured, cutout
            self._changed.notify_all()


def _check(captured: Captured, cutout: Cutout) -> None:
    index = captured.frame.index
    if cutout.frame is not captured.frame:
        raise ModelError(f"frame {index} was given the matte of frame {cutout.frame.index}")
    if cutout.alpha.shape != captured.frame.rgb.shape[-2:]:
        raise ModelError(f"the matte of frame {index} has another size than it")
    least, most = (float(bound) for bound in cutout.alpha.aminmax())
    if not (math.isfinite(least) and math.isfinite(most)):
        raise ModelError(f"the matte of frame {index} is no numbers", hint="try again with --precision fp32")
    if least < 0 or most > 1:
        raise ModelError(f"the matte of frame {index} goes from {least:.3g} to {most:.3g}, and not from 0 to 1")
