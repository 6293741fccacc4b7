"""Cut-outs on standard output, for another program to read."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import av

from streammatte.errors import OutputError, WriteFailed
from streammatte.frame import Cutout, StreamInfo
from streammatte.media.addresses import PIPE
from streammatte.media.pipes import NutPipe, open_nut
from streammatte.media.write.composing import IntegerPictures

_PIXELS = {"grey": ("gray", "gray16le"), "RGB": ("rgb24", "rgb48le"), "RGBA": ("rgba", "rgba64le")}


class PipeWriter:
    """Writes NUT with raw frames to standard output: the one piped format that keeps each frame's pts and alpha, and
    that ffmpeg, ffplay and mpv recognise.

    A clip whose first pts is negative, and a part of a clip, are moved so that they begin at 0. Nothing is held back:
    the reader has every frame before an error.

    Args:
        info: The stream the cut-outs are of.
        pictures: Makes cut-outs into samples. Their background is closed in the end.
        silent: The footage has no sound to leave out.

    Attributes:
        description: One line on the contents.

    Raises:
        OutputError: Standard output is a terminal.
    """

    path = Path(PIPE)

    def __init__(
        self,
        info: StreamInfo,
        pictures: IntegerPictures,
        *,
        silent: bool = True,
    ) -> None:
        if sys.stdout is not None and sys.stdout.isatty():
            raise OutputError(
                "-o - would write binary data to the terminal", hint="pipe it: streammatte clip.mp4 -o - | ffplay -"
            )
        self._info = info
        self._pictures = pictures
        self._size = pictures.contents.size(info.width, info.height)
        self._pixels = _PIXELS[pictures.kind][pictures.bits == 16]
        self._pipe = NutPipe()
        self._container: av.container.OutputContainer | None = None
        self._shift: int | None = None
        self._last = -1
        self._finished = False
        self.description = f"NUT, raw {self._pixels}, {pictures.what}{'' if silent else ', sound left out'}"

    def __enter__(self) -> Self:
        return self

    def write(self, cutout: Cutout) -> None:
        """Append a cut-out, waiting until the reader takes it.

        Raises:
            WriteFailed: The reader has closed the pipe.
        """
        if self._finished:
            raise RuntimeError("a writer takes no cut-outs once it is finished")
        pts = cutout.frame.pts
        if self._shift is None:
            self._shift = pts if pts < 0 or self._info.span is not None else 0
        frame = av.VideoFrame.from_ndarray(self._pictures(cutout), self._pixels)
        self._last = frame.pts = max(pts - self._shift, self._last + 1)
        frame.time_base = self._info.time_base
        frame.duration = cutout.frame.duration
        try:
            if self._container is None:  # not before: a run that fails early writes nothing
                self._container = self._open()
            self._container.mux(self._stream.encode(frame))
            self._pipe.check()
        except (av.FFmpegError, OSError) as exc:
            raise _failed(exc) from exc

    def finish(self) -> None:
        """Write the rest, and end the stream. Once, after the last cut-out; leaving does it otherwise.

        Raises:
            WriteFailed: The reader has closed the pipe, or there were no cut-outs.
        """
        if self._container is None:
            raise WriteFailed("standard output would have no frames", hint="no frames were written")
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._pipe.check()
        except (av.FFmpegError, OSError) as exc:
            raise _failed(exc) from exc
        self._container, self._finished = None, True
        self.description += self._pictures.contents.told

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self._finished:
                self.finish()
        finally:
            self._close()

    def _open(self) -> av.container.OutputContainer:
        info = self._info
        out = open_nut(self._pipe)
        stream = self._stream = out.add_stream("rawvideo", rate=info.frame_rate)
        stream.width, stream.height = self._size
        stream.pix_fmt = self._pixels
        stream.time_base = stream.codec_context.time_base = info.time_base
        stream.codec_context.sample_aspect_ratio = info.pixel_aspect
        out.start_encoding()
        return out

    def _close(self) -> None:
        container, self._container = self._container, None
        self._pipe.stop()  # half a stream gets no trailer, which would make it look complete
        if container is not None:
            with contextlib.suppress(av.FFmpegError, OSError):
                container.close()
        self._pipe.close()
        self._pictures.contents.close()


def _failed(exc: Exception) -> WriteFailed:
    if isinstance(exc, BrokenPipeError):
        return WriteFailed("cannot write to standard output: its reader has closed it")
    reason = getattr(exc, "strerror", None) or str(exc)
    return WriteFailed(f"cannot write to standard output: {reason}", hint="check what reads it")
