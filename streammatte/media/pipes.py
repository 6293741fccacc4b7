"""Standard input and output as FFmpeg's files, such that Ctrl-C and a polite kill end a run that waits for a pipe.

FFmpeg's own ``pipe:`` goes on waiting, whatever signal comes.
"""

from __future__ import annotations

import os
import select
import sys
from typing import Any

import av

from streammatte.errors import DecodeFailed
from streammatte.media.containers import RAW_HINT, TAG_ERRORS

_GLANCE = 0.2  # seconds between two looks at whether anybody still wants to read
_BUFFER = 1 << 20  # bytes: what goes through Python, goes through in few pieces


class _Pipe:
    """What went wrong is kept until ``check``: PyAV swallows an interruption that comes while it calls back."""

    def __init__(self) -> None:
        self._stopped = False
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """Wait no more; from any thread."""
        self._stopped = True

    def check(self) -> None:
        """Raise what has ended the last call: ``OSError``, ``KeyboardInterrupt``."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _failed(self, failure: BaseException) -> None:
        self._failure = failure
        self._stopped = True


class PipeReader(_Pipe):
    """Standard input. Once it is stopped or interrupted, it is as if the pipe had ended."""

    def read(self, size: int) -> bytes:
        """At most so many bytes, as soon as there are any; none at the end."""
        try:
            while not self._stopped:
                # Windows has no such look at a pipe; there, a read is waited for.
                if sys.platform == "win32" or select.select([0], [], [], _GLANCE)[0]:
                    return os.read(0, size)
        except BaseException as exc:
            self._failed(exc)
        return b""


class NutPipe(_Pipe):
    """Standard output. Once it is stopped or interrupted, it takes everything and writes nothing."""

    def write(self, data: Any) -> int:
        """Write all of it, waiting for the reader."""
        left = memoryview(data)
        try:
            while left and not self._stopped:
                left = left[os.write(1, left) :]
        except BaseException as exc:
            self._failed(exc)
        return len(data)


def open_pipe(pipe: PipeReader) -> av.container.InputContainer:
    """Standard input, as far as FFmpeg can tell by its beginning what comes.

    Raises:
        DecodeFailed: It cannot, or nothing comes.
    """
    try:
        container = av.open(pipe, "r", buffer_size=_BUFFER, metadata_errors=TAG_ERRORS)
        pipe.check()
        return container
    except (av.FFmpegError, OSError) as exc:
        pipe.check()
        raise DecodeFailed("standard input is empty, or cannot be decoded", hint=RAW_HINT) from exc


def open_nut(pipe: NutPipe) -> av.container.OutputContainer:
    """NUT on standard output. Without its index, which would grow with the clip: nobody seeks in a pipe."""
    options = {"flush_packets": "1", "write_index": "0"}
    return av.open(pipe, "w", format="nut", container_options=options, buffer_size=_BUFFER)
