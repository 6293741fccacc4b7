"""The newest frame of a camera: capture waits for nobody, and who is late misses frames."""

from __future__ import annotations

import threading
import time

from streammatte.frame import Source
from streammatte.live.contracts import Captured


class Capture:
    """Reads a source in a thread of its own and keeps its newest frame.

    Attributes:
        dropped: Frames that were replaced before anybody took them.
        ended: The source has run out.
    """

    def __init__(self, source: Source) -> None:
        self.dropped, self.ended = 0, False
        self._source = source
        self._newest: Captured | None = None
        self._came = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._read, name="streammatte-capture", daemon=True)
        self._thread.start()

    def take(self, timeout: float) -> Captured | None:
        """The newest frame, once; ``None`` if none came in ``timeout`` seconds."""
        with self._came:
            self._came.wait_for(lambda: self._newest is not None or self.ended, timeout)
            newest, self._newest = self._newest, None
            return newest

    def close(self) -> None:
        self._stopping = True
        self._thread.join()

    def _read(self) -> None:
        for frame in self._source:
            captured = Captured(frame, time.monotonic())
            with self._came:
                self.dropped += self._newest is not None
                self._newest = captured
                self._came.notify()
            if self._stopping:
                return
        with self._came:
            self.ended = True
            self._came.notify()
