"""Cut-outs as pictures, one a frame."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import cv2
import torch

from streammatte.errors import UnsupportedOutput, WriteFailed
from streammatte.frame import Cutout, Frame
from streammatte.media.read.numbered import NumberedName
from streammatte.media.write.composing import Background, told_of
from streammatte.media.write.output import publish, write_failed
from streammatte.media.write.part import Part


class PictureEncoder(Protocol):
    """Encodes a cut-out as one picture. The same cut-out gives the same bytes."""

    @property
    def says(self) -> str:
        """What is written, for people."""
        ...

    def __call__(self, cutout: Cutout) -> bytes: ...


class PictureSequenceWriter:
    """Writes ``name.####.png`` or alike, one picture a frame, or a single ``name.png``.

    A frame's number is ``first_number`` plus its index. The pictures are written into a hidden folder beside their
    place, and moved when the last of them is whole. Where a sequence is replaced, its old pictures beyond the numbers
    of the new one are removed, so that no two shots are mixed.

    Args:
        path: The name, with a place for the number or without.
        encoder: Encodes a cut-out as a picture.
        background: What the encoder composes with, to be closed in the end.
        first_number: Number of the frame with index 0.
        first_index: Of the first frame that comes.
        overwrite: Replace what has the name; otherwise a picture that appears there meanwhile is an error.

    Attributes:
        description: One line on what is written.
        part, resumable, whole: As of :class:`~streammatte.media.write.video_writer.VideoWriter`.
    """

    def __init__(
        self,
        path: Path,
        encoder: PictureEncoder,
        *,
        background: Background | None,
        first_number: int = 1,
        first_index: int = 0,
        overwrite: bool = False,
    ) -> None:
        self.path = path
        self._numbered = NumberedName.parse(path)
        self.part = Part(path)
        self.resumable = self._numbered is not None
        self.whole = 0
        self._temporary = self.part.folder / "pictures"
        self._encoder = encoder
        self._background = background
        self._first_number = first_number
        self._first_index = first_index
        self._overwrite = overwrite
        self._finished = False
        self._written: list[str] = []
        self.description = encoder.says

    def __enter__(self) -> Self:
        try:
            self.part.begin()
            self._temporary.mkdir(exist_ok=True)
            while self.whole < self.part.before and self._is_whole(self.whole):
                self.whole += 1
            self.part.go_on_after(self.whole)
        except OSError as exc:
            self.part.leave()
            raise write_failed(self.path, exc) from exc
        return self

    def write(self, cutout: Cutout) -> None:
        """Append a cut-out.

        Raises:
            WriteFailed: The disk refused.
            UnsupportedOutput: A second frame for a name without a number.
        """
        if self._finished:
            raise RuntimeError("a sink takes no plates once it is finished")
        name = self._name(cutout.frame.index)
        try:
            data = self._encoder(cutout)
            (self._temporary / name).write_bytes(data)
            self.part.note(data)
        except (cv2.error, OSError) as exc:
            raise write_failed(self.path, exc) from exc
        self._written.append(name)

    def skip(self, frame: Frame) -> None:
        """Take a frame's picture from what is whole already."""
        if not self._written and self._background is not None:  # a clip counts from the first cut-out
            self._background.frame(Cutout(frame, torch.zeros(frame.rgb.shape[1:])))
        self._written.append(self._name(frame.index))

    def finish(self) -> None:
        """Take no more cut-outs; the pictures are whole already. Leaving does it if it was not done.

        Raises:
            WriteFailed: There were no cut-outs.
        """
        if not self._written:
            raise WriteFailed(f"{self.path} would have no frames", hint="nothing was handed to it")
        self._finished = True
        self.description += told_of(self._background)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        whole = max(self.whole, len(self._written))
        try:
            if kind is None:
                if not self._finished:
                    self.finish()
                self._publish()
                whole = 0
        finally:
            if self._background is not None:
                self._background.close()
            self.part.leave(whole)

    def _publish(self) -> None:
        written = set(self._written)
        published: list[Path] = []
        try:
            for name in self._written:
                picture = self.path.with_name(name)
                if (self._temporary / name).exists():  # else an interrupted run has moved it
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

    def _name(self, index: int) -> str:
        if self._numbered is not None:
            return self._numbered.name(self._first_number + index)
        if self._written:
            raise UnsupportedOutput(
                f"{self.path} holds one frame, and there are more",
                hint=f"number them: {self.path.with_suffix('')}.####{self.path.suffix}",
            )
        return self.path.name

    def _is_whole(self, place: int) -> bool:
        """Whether an interrupted run has left a picture, here or, if it was moving them, in its place."""
        name = self._name(self._first_index + place)
        for path in (self._temporary / name, self.path.with_name(name)):
            with contextlib.suppress(OSError):
                if self.part.matches(place, path.read_bytes()):
                    return True
        return False
