"""Footage, as scripts open it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from os import PathLike
from types import TracebackType
from typing import Self, TypeVar

from torch import Tensor

from streammatte.color.screen import transfer_for, view_of
from streammatte.errors import InputError, refusing
from streammatte.frame import Cutout, Footage, Frame, StreamInfo
from streammatte.media.addresses import without_secrets
from streammatte.media.lengths import Lengths
from streammatte.media.read.file_source import FileSource
from streammatte.media.read.opening import open_video
from streammatte.options import Reading

T = TypeVar("T")


@refusing()
def opened(reading: Reading) -> Video:
    """Footage as the options ask for it. Raises what :func:`~streammatte.media.open_video` raises."""
    source = open_video(
        reading.input,
        frame_rate=reading.frame_rate,
        strict=reading.strict,
        first=reading.mark_in,
        last=reading.mark_out,
        handles=reading.handles,
        interlaced=reading.interlaced,
        layer=reading.layer,
        hwaccel=reading.hwaccel == "cuda",
    )
    transfer = transfer_for(reading.input_transfer, source.info.color)
    return Video(reading.input, source, view_of(transfer, source.info.profile))


class Video:
    """Footage that has been opened, as the command reads it. A context manager; iterating gives its frames.

    It alone sets ``Frame.view``, so that a screen's view of log and HDR footage is the same for command and library.

    Attributes:
        path: As it was given.
    """

    def __init__(self, path: str | PathLike[str], source: Footage, view: Callable[[Tensor], Tensor] | None) -> None:
        self.path = str(path)
        self._source = source
        self._view = view
        self._closed = False
        self._reading = threading.Lock()  # nothing may be closed while another thread decodes

    @property
    def info(self) -> StreamInfo:
        """Size, rate, colour and what else is known before the first frame."""
        return self._source.info

    @property
    def lost(self) -> str | None:
        """What could not be decoded, in one line; known after the last frame."""
        return self._source.lost

    @property
    def notes(self) -> list[str]:
        """What a user should know about how it is read, a line each; complete after the last frame."""
        return self._source.notes

    @property
    def has_alpha(self) -> bool:
        """Whether it has an alpha of its own."""
        return self._source.has_alpha

    @property
    def first_number(self) -> int:
        """The number that numbered pictures made from it start with."""
        return self._source.first_number

    @property
    def begins(self) -> Fraction:
        """When the first frame of the whole is shown, in seconds."""
        return self._source.begins

    @property
    def lengths(self) -> Lengths:
        """How long its streams are, as far as the container states it."""
        return self._source.lengths if isinstance(self._source, FileSource) else Lengths(None, None)

    def stop(self) -> None:
        """Stop waiting for a pipe, since nobody wants more; from any thread."""
        if isinstance(self._source, FileSource):
            self._source.stop()

    def __len__(self) -> int:
        """How many frames the file says it has. Raises ``TypeError`` if it does not say."""
        return len(self._source)

    def __iter__(self) -> Iterator[Frame]:
        """The frames, in order; every pass begins at the first, except of standard input."""
        for frame in self._guarded(self._source):
            yield replace(frame, view=self._view)

    @property
    def indices(self) -> range:
        """The indices of its frames, in the whole clip."""
        return self._source.indices

    def frame_at(self, mark: str, option: str = "mark") -> int:
        """The index of the frame that a number, a time or timecode names. Raises ``InputError`` if there is none."""
        return self._source.frame_at(mark, option)

    def between(self, start: int, stop: int) -> Iterator[Frame]:
        """The frames with these indices, ``stop`` excluded, read apart from any other pass."""
        for frame in self._guarded(self._source.between(start, stop)):
            yield replace(frame, view=self._view)

    def cutouts(self) -> Iterator[Cutout]:
        """The frames, each with the alpha that the file has for it.

        Raises:
            InputError: It holds neither alpha nor a matte.
        """
        for cutout in self._guarded(self._source.cutouts()):
            yield replace(cutout, frame=replace(cutout.frame, view=self._view))

    def _guarded(self, items: Iterable[T]) -> Iterator[T]:
        """The items, none of them read while the file is being closed."""
        iterator = iter(items)
        while True:
            with self._reading:
                if self._closed:
                    raise InputError(f"{without_secrets(self.path)} is closed", hint="read it inside the `with` block")
                item = next(iterator, None)
            if item is None:
                return
            yield item

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        with self._reading:
            self._closed = True
            self._source.__exit__(kind, exc, trace)

    def __repr__(self) -> str:
        info = self.info
        return f"Video({without_secrets(self.path)!r}, {info.width}×{info.height}, {float(info.frame_rate):g} fps)"
