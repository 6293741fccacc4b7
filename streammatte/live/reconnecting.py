"""The camera's thread: it keeps the newest frame, and reconnects when the camera was lost."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Literal

from streammatte.errors import InputError
from streammatte.live.status import Rate

if TYPE_CHECKING:
    from streammatte.live.source import LiveSource, Picture

State = Literal["live", "lost", "ended"]

_SILENT_AFTER = 2.0  # seconds without a picture: a device that hangs raises nothing
_SILENT_AT_MOST = 10.0  # seconds, for a camera whose pictures come far apart, whatever rate it states
_STOP_WITHIN = 0.9  # seconds; a thread that its device blocks for longer is left behind
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 5.0  # seconds between attempts to reconnect


class Capture:
    """Reads a source in its own thread, keeps only the newest picture, and reconnects to a source that was lost.

    Pictures are dropped before their colours are computed. The source now belongs to the thread, which closes it. A
    file begins when the first frame is taken.

    Attributes:
        arrived: Pictures that came, and their rate.
        dropped: Pictures that were replaced before they were taken.
        gone: Why the source is lost; ``None`` while it is not.
    """

    def __init__(self, source: LiveSource) -> None:
        self.arrived = Rate()
        self.dropped = 0
        self.reconnections = 0
        self.gone: str | None = None
        self._source = source
        self._newest: Picture | None = None
        self._came = threading.Condition()
        self._stopping, self._wanted = threading.Event(), threading.Event()
        self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="streammatte-capture", daemon=True)
        self._thread.start()

    @property
    def state(self) -> State:
        if self._ended:
            return "ended"
        if self._source.paced and not self._wanted.is_set():
            return "live"
        usual = max(1 / float(self._source.info.frame_rate), min(self.arrived.gap, _SILENT_AT_MOST / 3))
        silent = not self._source.paced and time.monotonic() - self.arrived.last > max(_SILENT_AFTER, 3 * usual)
        return "lost" if self.gone is not None or silent else "live"

    @property
    def damaged(self) -> int:
        return self._source.damaged

    @property
    def broken(self) -> bool:
        """Pictures are held back until the next keyframe, because they depend on a damaged one."""
        return self._source.broken and self.gone is None

    def take(self, timeout: float) -> Picture | None:
        """The newest picture, once; ``None`` if none came within ``timeout`` seconds or the source has ended.

        Raises:
            BaseException: Whatever ended the thread.
        """
        self._wanted.set()
        with self._came:
            self._came.wait_for(lambda: self._newest is not None or self._ended, timeout)
            newest, self._newest = self._newest, None
            if newest is None and self._error is not None:
                raise self._error
            return newest

    def close(self) -> None:
        """Stop reading. Returns within a second even if the device blocks."""
        self._stopping.set()
        self._wanted.set()
        self._source.stop()
        self._thread.join(_STOP_WITHIN)

    def _run(self) -> None:
        try:
            self._read()
        except BaseException as exc:  # raised again in the session
            self._error = exc
        finally:
            self._source.close()
            with self._came:
                self._ended = True
                self._came.notify_all()

    def _read(self) -> None:
        from streammatte.live.source import StreamLost

        if self._source.paced:
            self._wanted.wait()
            self.arrived.last = time.monotonic()
        while not self._stopping.is_set():
            try:
                for picture in self._source.pictures():
                    self._keep(picture)
                return
            except StreamLost as exc:
                self.gone = str(exc)
                if not self._reconnected():
                    return

    def _keep(self, picture: Picture) -> None:
        with self._came:
            self.arrived.add(picture.at)
            if self.gone is not None:
                self.gone = None
                self.reconnections += 1
                self.arrived.gap = 0.0
            self.dropped += self._newest is not None
            self._newest = picture
            self._came.notify_all()

    def _reconnected(self) -> bool:
        """Try again after half a second, then less and less often; ``False`` if the run ended first."""
        wait = _FIRST_WAIT
        while not self._stopping.wait(wait):
            try:
                self._source.reopen()
            except InputError:
                wait = min(2 * wait, _LONGEST_WAIT)
                continue
            return True
        return False
