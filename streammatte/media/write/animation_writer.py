"""Cut-outs as an animation: GIF or WebP."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from streammatte.errors import WriteFailed
from streammatte.frame import Cutout, Frame, StreamInfo
from streammatte.media.write.animation_formats import Animation
from streammatte.media.write.composing import Contents
from streammatte.media.write.output import write_failed
from streammatte.media.write.partial_output import Part
from streammatte.media.write.picture_writer import PictureEncoder

_LARGEST_FILE = 0xFFFFFFFE  # bytes: WebP's header counts them in 32 bits


class AnimationWriter:
    """Writes all frames to one file, their durations in the format's ticks; times are rounded, not durations, so that
    nothing drifts. A frame too brief for browsers is left out and the next shown in its place; the description counts
    them. A single frame becomes a plain picture.

    Args:
        path: Where the file will be.
        info: The stream the cut-outs are of.
        encoder: Encodes a cut-out as a picture.
        contents: What it holds. The background is closed in the end.
        animation: Joins the pictures.
        overwrite: Replace an existing file. Otherwise one that appears meanwhile is an error.
        silent: The footage has no sound to leave out.

    Attributes:
        description: One line on the contents; complete once the writer has been finished.
        part: The hidden folder in which the file grows.
    """

    def __init__(
        self,
        path: Path,
        info: StreamInfo,
        encoder: PictureEncoder,
        animation: Animation,
        contents: Contents,
        *,
        overwrite: bool = False,
        silent: bool = True,
    ) -> None:
        self.path = path
        self.description = encoder.says + ("" if silent else ", sound left out")
        self.part = Part(path)
        self._encoder, self._contents = encoder, contents
        self._animation = animation
        self._overwrite = overwrite
        self._file: BinaryIO | None = None
        self._finished = False
        self._ticks = _Ticks(info, animation.tick)
        self._held: tuple[Cutout, int] | None = None  # the last one, and its first tick
        self._left_out = 0

    def __enter__(self) -> Self:
        try:
            self.part.begin()
            self._file = (self.part.folder / "animation").open("wb")
        except BaseException as exc:
            self._discard()
            if isinstance(exc, OSError):
                raise write_failed(self.path, exc) from exc
            raise
        return self

    def write(self, cutout: Cutout) -> None:
        """Append a cut-out.

        Raises:
            WriteFailed: The disk or the encoder refused.
        """
        if self._file is None or self._finished:
            raise RuntimeError("a writer takes cut-outs inside its with statement, and none once it is finished")
        begin = self._ticks.begin(cutout.frame)
        if self._held is not None and begin - self._held[1] < self._animation.shortest:
            self._left_out += 1
            begin = self._held[1]
        elif self._held is not None:
            self._put(begin)
        self._held = cutout, begin

    def finish(self) -> None:
        """Complete the file, still under its temporary name. Once, after the last cut-out; leaving does it otherwise.

        Raises:
            WriteFailed: The disk refused, or there were no cut-outs.
        """
        if self._held is None or self._file is None:
            raise WriteFailed(f"{self.path} would have no frames", hint="no frames were written")
        try:
            if not self._file.tell():
                self._file.write(self._still(self._held[0]))
            else:
                self._put(max(self._ticks.end, self._held[1] + self._animation.shortest))
                self._file.write(self._animation.tail())
                size = self._file.tell()
                if size > _LARGEST_FILE:
                    raise WriteFailed(
                        f"cannot write {self.path}: it would have more than 4 GB",
                        hint="write .webm, or make the clip smaller or shorter first",
                    )
                self._file.seek(0)
                self._file.write(self._animation.head(size))
                self.description = f"animated {self.description}"
            self._file.close()
        except OSError as exc:
            raise write_failed(self.path, exc) from exc
        self._finished = True
        if self._left_out:
            frames = "1 frame" if self._left_out == 1 else f"{self._left_out} frames"
            shortest = float(self._animation.shortest * self._animation.tick)
            self.description += f" ({frames} left out: browsers show none for less than {shortest:g} s)"
        self.description += self._contents.told

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                if not self._finished:
                    self.finish()
                self.part.publish(self.part.folder / "animation", overwrite=self._overwrite)
        finally:
            self._discard()

    def _put(self, until: int) -> None:
        """Write the frame that is held, repeated if it lasts longer than the format can say."""
        assert self._held is not None and self._file is not None
        cutout, begin = self._held
        still = self._still(cutout)
        try:
            if not self._file.tell():
                self._file.write(self._animation.head(0))
            while begin < until:
                ticks = min(until - begin, self._animation.longest)
                self._file.write(self._animation.frame(still, ticks))
                begin += ticks
        except OSError as exc:
            raise write_failed(self.path, exc) from exc

    def _still(self, cutout: Cutout) -> bytes:
        try:
            return self._encoder(cutout)
        except (OSError, ValueError) as exc:  # either is how Pillow refuses
            raise write_failed(self.path, exc) from exc

    def _discard(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # what is still buffered may find no room, either
                self._file.close()
        self._contents.close()
        self.part.leave()


class _Ticks:
    """Frames' times in units of ``tick`` seconds, from the first frame on.

    Attributes:
        end: When the last frame ends.
    """

    def __init__(self, info: StreamInfo, tick: Fraction) -> None:
        self.end = 0
        self._usual = round(1 / (info.frame_rate * info.time_base))
        self._unit = info.time_base / tick
        self._first: int | None = None

    def begin(self, frame: Frame) -> int:
        """When a frame begins."""
        self._first = frame.pts if self._first is None else self._first
        begin = frame.pts - self._first
        self.end = round((begin + (frame.duration or self._usual)) * self._unit)
        return round(begin * self._unit)
