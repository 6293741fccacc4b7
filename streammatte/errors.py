"""Every error that callers are meant to handle.

::

    StreammatteError(message, *, hint=None)
    ├ InputError    ├ SourceNotFound  ├ DecodeFailed  └ NoVideoStream
    ├ ModelError    ├ WeightsMissing  └ WeightsMismatch
    ├ DeviceError   ├ DeviceMissing   └ OutOfMemory
    └ OutputError   ├ UnsupportedOutput └ WriteFailed

Foreign exceptions (from FFmpeg, the operating system, torch, the hub) are translated once, where they enter, always
``from exc``. The command prints the message and the hint; ``--debug`` shows the traceback. It exits with 2 after wrong
usage, and with 1 after any other error.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class StreammatteError(Exception):
    """Base of every error that callers are meant to handle.

    Args:
        message: One line, lower case, that names the file or value at fault.
        hint: One line on what to do instead.
        usage: What was asked for is at fault: it is impossible, excludes something else, or does not fit the input.
    """

    def __init__(self, message: str, *, hint: str | None = None, usage: bool = False) -> None:
        super().__init__(message)
        self.hint, self.usage = hint, usage


class InputError(StreammatteError):
    """The input, or a value that was passed, cannot be used."""


class SourceNotFound(InputError):  # noqa: N818 - leaves say what happened; only branches end in "Error"
    """Nothing can be read at that path or address."""


class DecodeFailed(InputError):  # noqa: N818
    """The input cannot be decoded."""


class NoVideoStream(InputError):  # noqa: N818
    """The media file has no video stream."""


class ModelError(StreammatteError):
    """A model cannot be used, or broke its contract."""


class WeightsMissing(ModelError):  # noqa: N818
    """The checkpoint is not on this machine and cannot be downloaded."""


class WeightsMismatch(ModelError):  # noqa: N818
    """The file is not a checkpoint of this network."""


class DeviceError(StreammatteError):
    """The machine lacks something."""


class DeviceMissing(DeviceError):  # noqa: N818
    """This machine has no such device."""


class OutOfMemory(DeviceError):  # noqa: N818
    """The device does not have enough memory."""


class OutputError(StreammatteError):
    """The output cannot be written."""


class UnsupportedOutput(OutputError):  # noqa: N818
    """No writer supports that file name, or not with these options."""


class WriteFailed(OutputError):  # noqa: N818
    """The output could not be opened, or writing it failed."""


@contextmanager
def refusing() -> Iterator[None]:
    """Mark errors raised within, or in the function that this decorates, as wrong usage.

    What happened to a file, a machine or a device is not: the leaves but ``UnsupportedOutput``, and what the system
    refused.
    """
    try:
        yield
    except StreammatteError as exc:
        refused = type(exc) in (InputError, ModelError, OutputError, UnsupportedOutput)
        exc.usage |= refused and not isinstance(exc.__cause__, OSError)
        raise
