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
from streammatte.media.write.composing import Background, Content, IntegerPictures, size_of, told_of

_PIXELS = {"grey": ("gray", "gray16le"), "RGB": ("rgb24", "rgb48le"), "RGBA": ("rgba", "rgba64le")}


class PipeWriter:
    """Writes NUT with raw frames to standard output: of what FFmpeg can put into a pipe, the one form that has each
    frame's pts, alpha, and a header by which ffmpeg, ffplay and mpv know it.

    A clip whose first pts is negative, or which is a part of its footage, is moved so that it begins at 0. Nothing is
    held back, so that what has been read before an error stays read.

    Args:
        info: The stream the cut-outs are of.
        pictures: What a cut-out's picture is.
        content, bits: As the pictures have them.
        background: What they are composed over, to be closed in the end.
        silent: The footage has no sound that would be left out.

    Attributes:
        description: One line on what is written.

    Raises:
        OutputError: Standard output is a terminal.
    """

    path = Path(PIPE)

    def __init__(
        self,
        info: StreamInfo,
        pictures: IntegerPictures,
        *,
        content: Content,
        bits: int,
        background: Background | None = None,
        silent: bool = True,
    ) -> None:
        if sys.stdout is not None and sys.stdout.isatty():
            raise OutputError("-o - would fill the terminal", hint="pipe it: streammatte clip.mp4 -o - | ffplay -")
        self._info = info
        self._pictures = pictures
        self._size = size_of(content, info.width, info.height)
        self._pixels = _PIXELS[pictures.kind][bits == 16]
        self._background = background
        self._pipe = NutPipe()
        self._container: av.container.OutputContainer | None = None
        self._shift: int | None = None
        self._last = -1
        self._finished = False
        self.description = f"NUT, raw {self._pixels}, {pictures.what}{'' if silent else ', sound left out'}"

    def __enter__(self) -> Self:
        return self

    def write(self, cutout: Cutout) -> None:
        """Hand a cut-out over, waiting until the reader takes it.

        Raises:
            WriteFailed: Nobody reads any more.
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
            if self._container is None:  # not before: a run that fails while it gets ready leaves the reader alone
                self._container = self._open()
            self._container.mux(self._stream.encode(frame))
            self._pipe.check()
        except (av.FFmpegError, OSError) as exc:
            raise _failed(exc) from exc

    def finish(self) -> None:
        """Write the rest, and end the stream. Once, after the last cut-out; leaving does it otherwise.

        Raises:
            WriteFailed: Nobody reads any more, or there were no cut-outs.
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
        self.description += told_of(self._background)

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
        self._pipe.stop()  # what is half written gets no end that would make it look whole
        if container is not None:
            with contextlib.suppress(av.FFmpegError, OSError):
                container.close()
        if self._background is not None:
            self._background.close()


def _failed(exc: Exception) -> WriteFailed:
    if isinstance(exc, BrokenPipeError):
        return WriteFailed("cannot write to standard output: its reader has closed it")
    reason = getattr(exc, "strerror", None) or str(exc)
    return WriteFailed(f"cannot write to standard output: {reason}", hint="check what reads it")
