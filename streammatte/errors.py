"""What can go wrong, and whose fault it is.

::

    StreammatteError(message, *, hint=None)
    ├ InputError    ├ SourceNotFound  ├ DecodeFailed  └ NoVideoStream
    ├ ModelError    ├ WeightsMissing  └ WeightsMismatch
    ├ DeviceError   ├ DeviceMissing   └ OutOfMemory
    └ OutputError   ├ UnsupportedOutput └ WriteFailed

Each foreign exception (FFmpeg, the operating system, torch, the hub) is translated once, where it enters, always
``from exc``. The command prints the message and the hint and exits with 1; a traceback is shown with ``--debug`` only.
"""


class StreammatteError(Exception):
    """Base of every error a caller is meant to handle.

    Args:
        message: One line, lower case, naming the file or value at fault.
        hint: One line that says what to try instead.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class InputError(StreammatteError):
    """Something about what is to be read."""


class SourceNotFound(InputError):  # noqa: N818 - the tree's names say what happened, not "Error" at every leaf
    """There is nothing readable at that path or address."""


class DecodeFailed(InputError):  # noqa: N818
    """It is there, and cannot be decoded."""


class NoVideoStream(InputError):  # noqa: N818
    """It is a media file without pictures."""


class ModelError(StreammatteError):
    """Something about a checkpoint or a model's name."""


class WeightsMissing(ModelError):  # noqa: N818
    """The checkpoint is not here and cannot be fetched."""


class WeightsMismatch(ModelError):  # noqa: N818
    """The file is not a checkpoint, or not one of this network."""


class DeviceError(StreammatteError):
    """Something about the machine."""


class DeviceMissing(DeviceError):  # noqa: N818
    """The device asked for is not on this machine."""


class OutOfMemory(DeviceError):  # noqa: N818
    """The device's memory does not hold what was asked for."""


class OutputError(StreammatteError):
    """Something about what is to be written."""


class UnsupportedOutput(OutputError):  # noqa: N818
    """No writer writes that name, or not with these options."""


class WriteFailed(OutputError):  # noqa: N818
    """The writer could not be opened, or failed while writing."""
