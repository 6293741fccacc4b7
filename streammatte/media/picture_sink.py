"""Plates as pictures, one a frame."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import cv2

from streammatte.errors import UnsupportedOutput, WriteFailed
from streammatte.frame import Plate
from streammatte.media.composing import Background
from streammatte.media.output import publish, temporary_beside, write_failed
from streammatte.media.sequence import NumberedName


class PictureWriter(Protocol):
    """Encodes a plate as one picture. The same plate gives the same bytes."""

    @property
    def says(self) -> str:
        """What is written, for people."""
        ...

    def __call__(self, plate: Plate) -> bytes: ...


class PictureSink:
    """Writes ``name.####.png`` or alike, one picture a frame, or a single ``name.png``.

    A frame's number is ``first_number`` plus its index. The pictures are written into a hidden folder beside their
    place, and moved when the last of them is whole. Where a sequence is replaced, its old pictures beyond the numbers
    of the new one are removed, so that no two shots are mixed.

    Args:
        path: The name, with a place for the number or without.
        writer: Encodes a plate as a picture.
        background: What the writer composes with, to be closed in the end.
        first_number: Number of the frame with index 0.
        overwrite: Replace what has the name; otherwise a picture that appears there meanwhile is an error.

    Attributes:
        description: One line on what is written.
    """

    def __init__(
        self,
        path: Path,
        writer: PictureWriter,
        *,
        background: Background | None,
        first_number: int = 1,
        overwrite: bool = False,
    ) -> None:
        self.path = path
        self._numbered = NumberedName.parse(path)
        self._temporary = temporary_beside(path)
        self._writer = writer
        self._background = background
        self._first_number = first_number
        self._overwrite = overwrite
        self._finished = False
        self._written: list[str] = []
        self.description = writer.says

    def __enter__(self) -> Self:
        try:
            self._temporary.mkdir()
        except OSError as exc:
            raise write_failed(self.path, exc) from exc
        return self

    def write(self, plate: Plate) -> None:
        """Append a plate.

        Raises:
            WriteFailed: The disk refused.
            UnsupportedOutput: A second frame for a name without a number.
        """
        if self._finished:
            raise RuntimeError("a sink takes no plates once it is finished")
        if self._numbered is not None:
            name = self._numbered.name(self._first_number + plate.frame.index)
        elif not self._written:
            name = self.path.name
        else:
            raise UnsupportedOutput(
                f"{self.path} holds one frame, and there are more",
                hint=f"number them: {self.path.with_suffix('')}.####{self.path.suffix}",
            )
        try:
            (self._temporary / name).write_bytes(self._writer(plate))
        except (cv2.error, OSError) as exc:
            raise write_failed(self.path, exc) from exc
        self._written.append(name)

    def finish(self) -> None:
        """Take no more plates; the pictures are whole already. Leaving does it if it was not done.

        Raises:
            WriteFailed: There were no plates.
        """
        if not self._written:
            raise WriteFailed(f"{self.path} would have no frames", hint="nothing was handed to it")
        self._finished = True
        if self._background is not None and self._background.lost:
            self.description += f" (the background is damaged: {self._background.lost})"

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                if not self._finished:
                    self.finish()
                self._publish()
        finally:
            if self._background is not None:
                self._background.close()
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _publish(self) -> None:
        written = set(self._written)
        published: list[Path] = []
        try:
            for name in self._written:
                picture = self.path.with_name(name)
                publish(self._temporary / name, picture, overwrite=self._overwrite)
                published.append(picture)
            if self._overwrite and self._numbered is not None:
                for left in map(self._numbered.path, self._numbered.numbers()):
                    if left.name not in written:
                        left.unlink()
        except BaseException as exc:
            if not self._overwrite:  # all or none; what has been replaced cannot be brought back
                for picture in published:
                    picture.unlink(missing_ok=True)
            if isinstance(exc, OSError):
                raise write_failed(self.path, exc) from exc
            raise
