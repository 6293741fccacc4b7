"""Each output's own thread and short queue, so that a slow encoder or a stalled receiver holds up nothing else."""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from streammatte.errors import WriteFailed
from streammatte.live.contracts import Output, Shown
from streammatte.live.stream_out import ReaderLeft
from streammatte.media.write.part import Part

_HELD = 2  # pictures that wait for a stream or a virtual camera: late ones are worthless there
_HELD_FOR_FILE = 30
_PATIENCE = 0.9  # seconds for an output to take what is left at the end, and for all of them together
_PATIENCE_FOR_FILES = 30.0


class OutputThread:
    """An output with a thread and a queue of its own. A full queue drops its oldest picture.

    Args:
        output: Entered in the caller's thread, so that it fails there; left in its own.
        path: The file that it writes, if it does; files get more time.

    Attributes:
        dropped: Pictures that were dropped.
    """

    def __init__(self, output: Output, *, path: Path | None = None) -> None:
        self.dropped = 0
        self.path = path
        self._output = output
        self._waiting: deque[Shown] = deque(maxlen=_HELD if path is None else _HELD_FOR_FILE)
        self._came = threading.Condition()
        self._until: float | None = None  # set once the end has begun
        self._completed = False
        self._error: BaseException | None = None  # that the output is left with
        self._failure: BaseException | None = None
        self._told = False
        self._thread = threading.Thread(target=self._run, name="streammatte-output", daemon=True)

    @property
    def note(self) -> str | None:
        return self._output.note

    def __enter__(self) -> Self:
        self._output.__enter__()
        self._thread.start()
        return self

    def show(self, shown: Shown) -> None:
        """Queue a picture.

        Raises:
            OutputError: The output refused an earlier one.
            ReaderLeft: Nobody reads them any more.
        """
        self._tell()
        with self._came:
            self.dropped += len(self._waiting) == self._waiting.maxlen
            self._waiting.append(shown)
            self._came.notify()

    def finish(self, error: BaseException | None = None) -> None:
        """Take no more pictures; its time to end begins. With an error, the output is left with that."""
        with self._came:
            if self._until is None:
                self._error = error
                self._until = time.monotonic() + (_PATIENCE if self.path is None else _PATIENCE_FOR_FILES)
            self._came.notify()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(exc)
        assert self._until is not None
        self._thread.join(max(0.0, self._until - time.monotonic()))
        if self._thread.is_alive() and kind is None:
            raise WriteFailed(
                f"{self._output.description} took no pictures at the end", hint="check that the receiver is not stuck"
            )
        if kind is None and not self._told and not isinstance(self._failure, ReaderLeft):
            self._tell()

    def kept(self) -> str:
        """What there is of its file, in one line; empty if there is none."""
        if self.path is None:
            return ""
        if self._completed:
            return f"{self.path} is complete"
        part = Part(self.path).folder
        return f"{part} holds what was recorded of {self.path}" if part.exists() else ""

    def _tell(self) -> None:
        if self._failure is not None:
            self._told = True
            raise self._failure

    def _run(self) -> None:
        try:
            try:
                while (shown := self._next()) is not None:
                    self._output.show(shown)
            except BaseException as exc:
                self._output.__exit__(type(exc), exc, exc.__traceback__)
                raise
            error = self._error
            self._output.__exit__(None if error is None else type(error), error, None)
            self._completed = True
        except BaseException as exc:  # raised again where the next picture is shown, or at the end
            self._failure = exc

    def _next(self) -> Shown | None:
        """The next picture, waited for; ``None`` at the end."""
        with self._came:
            self._came.wait_for(lambda: self._waiting or self._until is not None)
            return self._waiting.popleft() if self._waiting else None
