"""Standard input and output as files for FFmpeg, so that Ctrl-C and SIGTERM end a run that waits for a pipe.

FFmpeg's own ``pipe:`` keeps waiting, whatever the signal.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from typing import Any

import av

from streammatte.errors import DecodeFailed
from streammatte.media.containers import RAW_HINT, TAG_ERRORS

_GLANCE = 0.2  # seconds between checks whether anybody still wants to read
_BUFFER = 1 << 20  # bytes; few calls into Python


class _Pipe:
    """Keeps what went wrong until ``check``, since PyAV swallows an interruption during its callback."""

    def __init__(self) -> None:
        self._stopped = False
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """Stop waiting; from any thread."""
        self._stopped = True

    def check(self) -> None:
        """Raise what ended the last call: ``OSError``, ``KeyboardInterrupt``."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _failed(self, failure: BaseException) -> None:
        self._failure = failure
        self._stopped = True


class PipeReader(_Pipe):
    """Standard input. Stopped or interrupted, it reads as if the pipe had ended."""

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, as soon as there are any; none at the end."""
        try:
            while not self._stopped:
                # Windows cannot wait for a pipe with a timeout; there, a read blocks.
                if sys.platform == "win32" or select.select([0], [], [], _GLANCE)[0]:
                    return os.read(0, size)
        except BaseException as exc:
            self._failed(exc)
        return b""


class NutPipe(_Pipe):
    """Standard output. Stopped or interrupted, it accepts everything and writes nothing.

    A signal just before a write would not end it, and PyAV may swallow what the signal's handler raises. So
    Python also reports signals through a pipe of their own (``signal.set_wakeup_fd``), which is waited for as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self._signals: tuple[int, int] | None = None
        if sys.platform != "win32" and threading.current_thread() is threading.main_thread():
            self._signals = os.pipe()
            for end in self._signals:
                os.set_blocking(end, False)
            self._before = signal.set_wakeup_fd(self._signals[1], warn_on_full_buffer=False)

    def write(self, data: Any) -> int:
        """Write all of ``data``, waiting for the reader."""
        left = memoryview(data)
        try:
            while left and not self._stopped:
                if self._signals is None:
                    left = left[os.write(1, left) :]
                    continue
                signalled, ready, _ = select.select([self._signals[0]], [1], [])
                if signalled:
                    raise KeyboardInterrupt
                if ready:  # for so many bytes at least
                    left = left[os.write(1, left[: select.PIPE_BUF]) :]
        except BaseException as exc:
            self._failed(exc)
        return len(data)

    def close(self) -> None:
        """Stop writing and listening for signals."""
        self.stop()
        if self._signals is not None:
            signal.set_wakeup_fd(self._before)
            for end in self._signals:
                os.close(end)
            self._signals = None


def open_pipe(pipe: PipeReader) -> av.container.InputContainer:
    """Open standard input."""
    try:
        container = av.open(pipe, "r", buffer_size=_BUFFER, metadata_errors=TAG_ERRORS)
        pipe.check()
        return container
    except (av.FFmpegError, OSError) as exc:
        pipe.check()
        raise DecodeFailed("standard input is empty or cannot be decoded", hint=RAW_HINT) from exc


def open_nut(pipe: NutPipe) -> av.container.OutputContainer:
    """NUT on standard output, without its index, which would grow with the clip and which no pipe needs."""
    options = {"flush_packets": "1", "write_index": "0"}
    return av.open(pipe, "w", format="nut", container_options=options, buffer_size=_BUFFER)
