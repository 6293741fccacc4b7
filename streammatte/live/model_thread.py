"""The model's thread: mattes the newest frame while the previous one is shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from streammatte.frame import Cutout, Frame
from streammatte.live.contracts import LiveModel
from streammatte.live.privacy import check_own_alpha
from streammatte.pipeline import matte

if TYPE_CHECKING:
    from streammatte.live.reconnecting import Capture

_FAILURES = 5  # in a row, after which the model's error ends the run
_STOP_WITHIN = 3.0  # seconds; a large network on a CPU takes longer for a frame, and is left behind


class Matted(NamedTuple):
    """A cut-out, and ``time.monotonic()`` at the capture of its frame."""

    cutout: Cutout
    at: float


class ModelThread:
    """Cut-outs of the newest frames, at most one ahead of whoever takes them.

    A frame is taken from the camera only once there is room for its cut-out, so frames that come too fast are dropped
    at the camera. A frame that fails, for whatever reason, yields nothing, and the next one starts afresh.

    Args:
        load: Loads the model; called in the thread, since it may take long.

    Attributes:
        model: Set once it is loaded.
        failed: Frames without a matte.
        trouble: The last failure.
    """

    def __init__(self, capture: Capture, load: Callable[[], LiveModel]) -> None:
        self.model: LiveModel | None = None
        self.failed = 0
        self.trouble: str | None = None
        self._capture = capture
        self._ready: Matted | None = None
        self._changed = threading.Condition()
        self._stopping = self._ended = False
        self._error: BaseException | None = None
        self._failed_in_row = 0
        self._thread = threading.Thread(target=self._run, args=(load,), name="streammatte-model", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def ended(self) -> bool:
        """No more cut-outs come.

        Raises:
            BaseException: Whatever ended the thread.
        """
        with self._changed:
            if self._ended and self._ready is None and self._error is not None:
                raise self._error
            return self._ended and self._ready is None

    def take(self, timeout: float) -> Matted | None:
        """The next cut-out; ``None`` if there is none within ``timeout`` seconds, or no more come."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready is not None or self._ended, timeout)
            ready, self._ready = self._ready, None
            self._changed.notify_all()
            return ready

    def close(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(_STOP_WITHIN)

    def _run(self, load: Callable[[], LiveModel]) -> None:
        try:
            self.model = model = load()
            while True:
                try:
                    for cutout in matte(self._frames(), model, ()):
                        self._hand_on(cutout, model)
                    return
                except Exception as exc:  # the frame is not shown
                    self._count(exc)
        except BaseException as exc:  # raised again in the session
            self._error = exc
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _frames(self) -> Iterator[Frame]:
        while True:
            begin = time.monotonic()
            if not self._has_room():
                return
            waited = time.monotonic() - begin
            picture = self._capture.take(0.2)
            if picture is not None:
                begin = time.monotonic() - waited
                frame = picture.frame()
                self._working = frame, picture.at, begin
                yield frame
            elif self._capture.state == "ended":
                return

    def _has_room(self) -> bool:
        """Wait for it; ``False`` once the run is ending."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready is None or self._stopping)
            return not self._stopping

    def _hand_on(self, cutout: Cutout, model: LiveModel) -> None:
        frame, at, begin = self._working
        check_own_alpha(frame, cutout)
        model.took(time.monotonic() - begin)
        self._failed_in_row = 0
        with self._changed:
            self._ready = Matted(cutout, at)
            self._changed.notify_all()

    def _count(self, exc: Exception) -> None:
        self.failed += 1
        self._failed_in_row += 1
        self.trouble = f"{type(exc).__name__}: {exc}".splitlines()[0]
        if self._failed_in_row == _FAILURES:
            raise exc
