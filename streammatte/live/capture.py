"""The newest frame of a camera: capture waits for nobody, and who is late misses frames."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Literal

from streammatte.errors import InputError

if TYPE_CHECKING:
    from streammatte.live.source import LiveSource, Picture

State = Literal["live", "lost", "ended"]

_SILENT_AFTER = 2.0  # seconds without a picture; a device that hangs raises nothing
_SILENT_AT_MOST = 10.0  # seconds, of a camera whose pictures come far apart, whatever rate it states
_STOP_WITHIN = 0.9  # seconds; a thread that its device holds longer is left behind, and gives it back when it can
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 5.0  # seconds between attempts to find it again
_RATE_OVER = 3.0  # seconds


class Capture:
    """Reads a source in a thread of its own and keeps its newest frame; finds the source again when it was lost.

    What is dropped is dropped as it was decoded: its colours are never computed. The source belongs to the thread from
    here on, and is closed by it. A file begins when somebody takes the first frame.

    Attributes:
        count: Pictures that came.
        dropped: Pictures that were replaced before anybody took them.
        reconnections: How often the source was lost and found again.
        gone: Why it is lost, in a line; ``None`` while it is not.
    """

    def __init__(self, source: LiveSource) -> None:
        self.count = 0
        self.dropped = 0
        self.reconnections = 0
        self.gone: str | None = None
        self._source = source
        self._newest: Picture | None = None
        self._came = threading.Condition()
        self._times: deque[float] = deque()
        self._first = self._last = time.monotonic()
        self._gap = 0.0  # seconds between the last two pictures of one opening
        self._stopping = threading.Event()
        self._wanted = threading.Event()
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
        usual = max(1 / float(self._source.info.frame_rate), min(self._gap, _SILENT_AT_MOST / 3))
        silent = not self._source.paced and time.monotonic() - self._last > max(_SILENT_AFTER, 3 * usual)
        return "lost" if self.gone is not None or silent else "live"

    @property
    def damaged(self) -> int:
        return self._source.damaged

    @property
    def broken(self) -> bool:
        """What comes rests on what was damaged, and is kept back until the next keyframe."""
        return self._source.broken and self.gone is None

    @property
    def rate(self) -> float:
        """Pictures a second that the source gave of late."""
        with self._came:
            now = time.monotonic()
            while self._times and self._times[0] < now - _RATE_OVER:
                self._times.popleft()
            if len(self._times) < 2:
                return 0.0
            return len(self._times) / max(now - self._times[0], 1e-3)

    @property
    def whole_rate(self) -> float:
        """Pictures a second, from the first to the last."""
        return (self.count - 1) / max(self._last - self._first, 1e-3) if self.count > 1 else 0.0

    def take(self, timeout: float) -> Picture | None:
        """The newest picture, once; ``None`` if none came in ``timeout`` seconds, or it has ended.

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
        """Stop reading. Returns within a second, even if the device does not."""
        self._stopping.set()
        self._wanted.set()
        self._source.stop()
        self._thread.join(_STOP_WITHIN)

    def _run(self) -> None:
        try:
            self._read_on()
        except BaseException as exc:  # carried over, whatever it is: it is the session's to handle
            self._error = exc
        finally:
            self._source.close()
            with self._came:
                self._ended = True
                self._came.notify_all()

    def _read_on(self) -> None:
        from streammatte.live.source import StreamLost

        if self._source.paced:
            self._wanted.wait()
            self._last = time.monotonic()
        while not self._stopping.is_set():
            try:
                for picture in self._source.pictures():
                    self._keep(picture)
                return
            except StreamLost as exc:
                self.gone = str(exc)
                if not self._found_again():
                    return

    def _keep(self, picture: Picture) -> None:
        with self._came:
            self._gap = picture.at - self._last if self.count and self.gone is None else 0.0
            if self.gone is not None:
                self.gone = None
                self.reconnections += 1
            self._first = self._first if self.count else picture.at
            self.count += 1
            self.dropped += self._newest is not None
            self._newest = picture
            self._last = picture.at
            self._times.append(picture.at)
            if self._times[0] < picture.at - _RATE_OVER:
                self._times.popleft()
            self._came.notify_all()

    def _found_again(self) -> bool:
        """Whether it was, before the stop: tried after half a second, and then less and less often."""
        wait = _FIRST_WAIT
        while not self._stopping.wait(wait):
            try:
                self._source.reopen()
            except InputError:
                wait = min(2 * wait, _LONGEST_WAIT)
                continue
            return True
        return False
