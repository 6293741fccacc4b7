"""Cut-outs as pictures, one a frame."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import cv2

from streammatte.errors import UnsupportedOutput, WriteFailed
from streammatte.frame import Cutout
from streammatte.media.read.numbered import NumberedName
from streammatte.media.write.composing import Contents
from streammatte.media.write.output import publish, write_failed
from streammatte.media.write.partial_output import Part


class PictureEncoder(Protocol):
    """Encodes a cut-out as one picture; the same cut-out gives the same bytes."""

    @property
    def says(self) -> str:
        """The format, for people."""
        ...

    def __call__(self, cutout: Cutout) -> bytes: ...


class PictureSequenceWriter:
    """Writes numbered pictures such as ``name.####.png``, one for each frame, or a single ``name.png``.

    A frame's number is ``first_number`` plus its index. The pictures are written to a hidden folder, and moved once the
    last of them is complete. A sequence that is replaced loses its old pictures with other numbers, so that two shots
    are never mixed.

    Args:
        path: The name, with a place for the number or without.
        encoder: Encodes a cut-out as a picture.
        contents: What it holds. The background is closed in the end.
        first_number: Number of the frame with index 0.
        overwrite: Replace existing pictures. Otherwise one that appears meanwhile is an error.

    Attributes:
        description: One line on the contents.
        part: The hidden folder in which the pictures wait.
    """

    def __init__(
        self,
        path: Path,
        encoder: PictureEncoder,
        contents: Contents,
        *,
        first_number: int = 1,
        overwrite: bool = False,
    ) -> None:
        self.path = path
        self._numbered = NumberedName.parse(path)
        self.part = Part(path)
        self._temporary = self.part.folder / "pictures"
        self._encoder, self._contents = encoder, contents
        self._first_number = first_number
        self._overwrite = overwrite
        self._finished = False
        self._written: list[str] = []
        self.description = encoder.says

    def __enter__(self) -> Self:
        try:
            self.part.begin()
            self._temporary.mkdir()
        except BaseException as exc:
            self._discard()
            if isinstance(exc, OSError):
                raise write_failed(self.path, exc) from exc
            raise
        return self

    def write(self, cutout: Cutout) -> None:
        """Append a cut-out.

        Raises:
            WriteFailed: The disk refused.
            UnsupportedOutput: A second frame for a name without a number.
        """
        if self._finished:
            raise RuntimeError("a writer takes no cut-outs once it is finished")
        name = self._name(cutout.frame.index)
        try:
            (self._temporary / name).write_bytes(self._encoder(cutout))
        except (cv2.error, OSError, ValueError) as exc:  # as OpenCV and Pillow refuse
            raise write_failed(self.path, exc) from exc
        self._written.append(name)

    def finish(self) -> None:
        """Take no more cut-outs. Leaving does it otherwise.

        Raises:
            WriteFailed: There were no cut-outs.
        """
        if not self._written:
            raise WriteFailed(f"{self.path} would have no frames", hint="no frames were written")
        self._finished = True
        self.description += self._contents.told

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                if not self._finished:
                    self.finish()
                self._publish()
        finally:
            self._discard()

    def _discard(self) -> None:
        self._contents.close()
        self.part.leave()

    def _publish(self) -> None:
        written = set(self._written)
        published: list[Path] = []
        try:
            for name in self._written:
                picture = self.path.with_name(name)
                publish(self._temporary / name, picture, overwrite=self._overwrite)
                published.append(picture)
            if self._overwrite and self._numbered is not None:
                for left in map(self._numbered.name, self._numbered.numbers()):
                    if left not in written:
                        self.path.with_name(left).unlink()
        except BaseException as exc:
            if not self._overwrite:  # all or none; replaced pictures cannot be restored
                for picture in published:
                    picture.unlink(missing_ok=True)
            if isinstance(exc, OSError):
                raise write_failed(self.path, exc) from exc
            raise

    def _name(self, index: int) -> str:
        if self._numbered is not None:
            return self._numbered.name(self._first_number + index)
        if self._written:
            raise UnsupportedOutput(
                f"{self.path} is a single image, but there are more frames",
                hint=f"number them: {self.path.with_suffix('')}.####{self.path.suffix}",
            )
        return self.path.name
