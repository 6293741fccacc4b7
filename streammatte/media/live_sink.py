"""Pictures out as they come: a stream, standard output, or a file that grows."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streammatte.errors import OutputError, UnsupportedOutput, WriteFailed
from streammatte.frame import UNSPECIFIED, Frame, Plate, StreamInfo
from streammatte.media.color import RGB_MATRIX, STUDIO, matrix_for
from streammatte.media.encoding import Encoding, encoding_for
from streammatte.media.output import check_target
from streammatte.media.video_sink import VideoSink

STDOUT = "-"
CLOCK = Fraction(1, 90000)

_FORMATS = {"udp": "mpegts", "tcp": "mpegts", "srt": "mpegts", "rtsp": "rtsp", "rtmp": "flv", "rtmps": "flv"}
_DATAGRAM = 1316  # bytes: seven packets of a transport stream, which is what fits

# As quick as the encoders go, since they share the machine with the network. A killed run leaves a file that plays.
_LIVE: dict[str, dict[str, str]] = {
    # B-frames bring an edit list, which in a file without an end hides all of the first fragment from players.
    "libx264": {"crf": "20", "preset": "superfast", "tune": "zerolatency", "threads": "1", "g": "30"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "30"},
}
_UNBROKEN = {
    "mp4": {"movflags": "+hybrid_fragmented+frag_keyframe", "frag_duration": "500000", "flush_packets": "1"},
    "webm": {"cluster_time_limit": "1000", "flush_packets": "1"},
}


class ReaderLeft(Exception):  # noqa: N818 - it is how a pipe ends, and no error
    """Nobody reads standard output any more."""


def scheme_of(target: str) -> str | None:
    """``rtmp`` of ``rtmp://host/app``; ``None`` for what is no address."""
    scheme, found, _ = target.partition("://")
    return scheme.lower() if found else None


def check_address(target: str) -> None:
    """Refuse an address that nothing here can send to.

    Raises:
        UnsupportedOutput: Its protocol is not known.
    """
    scheme = scheme_of(target)
    if scheme not in _FORMATS:
        raise UnsupportedOutput(f"{target}: nothing sends by {scheme}", hint=f"known: {', '.join(_FORMATS)}")


class StreamSink:
    """Sends pictures to an address, or to standard output, each as soon as it is there. A context manager.

    To an address goes H.264 without delay: in MPEG-TS over UDP, TCP and SRT, in FLV over RTMP, and by RTSP, to a server
    that takes it (``ANNOUNCE``). To standard output goes NUT with raw RGB, or RGBA: of what FFmpeg can put into a pipe,
    the one form that has the time of each picture, alpha and a header by which ffplay, mpv and ffmpeg know it.

    An odd edge is continued by one pixel where H.264 takes none.

    Args:
        target: An address, or ``-``.
        info: The stream; only its size, rate and matrix are used.
        alpha: Pictures have four channels; standard output alone.

    Raises:
        UnsupportedOutput: Nothing sends there.
    """

    def __init__(self, target: str, info: StreamInfo, *, alpha: bool = False) -> None:
        self._target, self._info = target, info
        self._raw = target == STDOUT
        self._pixels = "rgba" if alpha else "rgb24"
        if not self._raw:
            check_address(target)
        self.description = f"{target}, NUT, raw {self._pixels}" if self._raw else f"{target}, H.264"
        self._begin: float | None = None
        self._last = -1
        self._container: av.container.OutputContainer | None = None

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            WriteFailed: Nobody is there who takes it.
        """
        try:
            self._open()
        except av.error.ProtocolNotFoundError as exc:
            raise UnsupportedOutput(
                f"{self._target}: FFmpeg here was built without {scheme_of(self._target)}",
                hint="udp://, tcp://, rtsp:// and rtmp:// are there",
            ) from exc
        except (av.FFmpegError, OSError) as exc:
            raise self._failed(exc) from exc
        return self

    def write(self, rgb: NDArray[np.uint8], at: float) -> None:
        """Send a picture.

        Args:
            rgb: (H, W, 3), or with ``alpha`` (H, W, 4).
            at: Seconds on any clock that goes on; the first is time 0 of the stream.

        Raises:
            WriteFailed: It is not taken any more.
            ReaderLeft: Nobody reads standard output any more.
        """
        self._begin = at if self._begin is None else self._begin
        frame = self._painted(rgb)
        self._last = frame.pts = max(self._last + 1, round((at - self._begin) / CLOCK))
        frame.time_base = CLOCK
        self._mux(frame)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        container, self._container = self._container, None
        if container is None:
            return
        try:
            if kind is None:
                container.mux(self._stream.encode(None))
                container.close()
                return
        except (av.FFmpegError, OSError) as failure:
            if self._raw and isinstance(failure, BrokenPipeError):
                return
            raise self._failed(failure) from failure
        finally:
            with contextlib.suppress(av.FFmpegError, OSError):
                container.close()

    def _open(self) -> None:
        info = self._info
        options = {"flush_packets": "1"}
        if self._raw:
            out = av.open("pipe:1", "w", format="nut", container_options=options)
            stream = out.add_stream("rawvideo", rate=info.frame_rate)
            self._size = info.width, info.height
            pixels = self._pixels
        else:
            target, scheme = self._target, scheme_of(self._target)
            if scheme == "udp" and "pkt_size=" not in target:
                target += f"{'&' if '?' in target else '?'}pkt_size={_DATAGRAM}"
            out = av.open(target, "w", format=_FORMATS[scheme or ""], container_options=options)
            encoder = {"preset": "superfast", "tune": "zerolatency", "crf": "23", "threads": "1"}
            stream = out.add_stream("libx264", rate=info.frame_rate, options=encoder)
            self._size = info.width + info.width % 2, info.height + info.height % 2
            pixels = "yuv420p"
        assert isinstance(stream, av.VideoStream)
        context = stream.codec_context
        stream.width, stream.height = self._size
        stream.pix_fmt = pixels
        stream.time_base = context.time_base = CLOCK
        if not self._raw:
            context.gop_size = max(1, round(info.frame_rate))  # who joins late waits a second
            context.colorspace = matrix_for(info.color, info.width, info.height)
            context.color_range = STUDIO
        self._container, self._stream = out, stream
        out.start_encoding()

    def _painted(self, rgb: NDArray[np.uint8]) -> av.VideoFrame:
        width, height = self._size
        if (height, width) != rgb.shape[:2]:
            below, beside = height - rgb.shape[0], width - rgb.shape[1]
            rgb = cast("NDArray[np.uint8]", cv2.copyMakeBorder(rgb, 0, below, 0, beside, cv2.BORDER_REPLICATE))
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), self._pixels)
        if self._raw:
            return frame
        matrix = self._stream.codec_context.colorspace
        return frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=STUDIO)

    def _mux(self, frame: av.VideoFrame) -> None:
        if self._container is None:
            raise RuntimeError("a sink takes pictures inside its with statement")
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as exc:
            if self._raw and isinstance(exc, BrokenPipeError):
                raise ReaderLeft from exc
            raise self._failed(exc) from exc

    def _failed(self, exc: Exception) -> OutputError:
        reason = getattr(exc, "strerror", None) or str(exc)
        if self._raw:
            return WriteFailed(f"standard output cannot be written: {reason}", hint="check what reads it")
        return WriteFailed(
            f"{self._target} takes nothing: {reason}", hint="start what receives it, and check host, port and path"
        )


class Recording:
    """A file of pictures as they come, at the times they came. A context manager.

    What :func:`~streammatte.media.open_sink` writes to that suffix, at the encoders' quickest. It grows in a hidden
    folder beside its place, ``.name.part``, where it can be played if the run is killed, and gets its name when the
    sink is left, however the run ended: a recording is whole wherever it stops.

    Args:
        path: ``.mov``, ``.webm``, ``.mkv`` or ``.mp4``.
        info: Of the pictures.
        alpha: They have four channels, colours straight.
        overwrite: Replace what is there.

    Raises:
        UnsupportedOutput: Nothing writes that suffix, or not with alpha.
        WriteFailed: It could not be put in its place.
    """

    def __init__(self, path: Path, info: StreamInfo, *, alpha: bool, overwrite: bool) -> None:
        # Pictures are RGB in 8 bits whatever the camera has, and are kept as Y'CbCr of its matrix.
        matrix = UNSPECIFIED if info.color.matrix == RGB_MATRIX else info.color.matrix
        info = replace(info, color=replace(info.color, matrix=matrix, bit_depth=8))
        encoding = recorded(path, info, alpha=alpha)
        check_target(path, overwrite=overwrite)
        self._alpha = alpha
        self._opaque = torch.ones(info.height, info.width)
        self._begin: float | None = None
        self._failed = False
        self._count = 0
        self._sink = VideoSink(
            path,
            replace(info, time_base=CLOCK, span=None, timecode=None),
            encoding,
            content="plate" if alpha else "foreground",
            alpha="straight",
            background=None,
            audio=None,
            overwrite=overwrite,
            composed=not alpha,
        )

    @property
    def description(self) -> str:
        return f"{self._sink.path}, {self._sink.description}"

    def __enter__(self) -> Self:
        self._sink.__enter__()
        return self

    def write(self, rgb: NDArray[np.uint8], at: float) -> None:
        """Append a picture.

        Args:
            rgb: (H, W, 3), or with ``alpha`` (H, W, 4).
            at: Seconds on any clock that goes on; the first is time 0 of the file.

        Raises:
            WriteFailed: The disk or the encoder refused.
        """
        self._begin = at if self._begin is None else self._begin
        colors = np.ascontiguousarray(rgb[..., :3])
        frame = Frame(torch.from_numpy(colors).permute(2, 0, 1), round((at - self._begin) / CLOCK), self._count)
        opacity = torch.from_numpy(rgb[..., 3].astype(np.float32) / 255) if self._alpha else self._opaque
        try:
            self._sink.write(Plate(frame, opacity))
        except BaseException:
            self._failed = True
            raise
        self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._failed or not self._count:
            stopped: Any = (kind, exc, trace) if kind is not None else (RuntimeError, None, None)
            self._sink.__exit__(*stopped)
        else:
            self._sink.__exit__(None, None, None)


def recorded(path: Path, info: StreamInfo, *, alpha: bool) -> Encoding:
    """How a recording of that name is encoded.

    Raises:
        UnsupportedOutput: Nothing writes that suffix as video, or not with alpha.
    """
    encoding = encoding_for(
        path,
        info,
        content="plate" if alpha else "foreground",
        alpha="straight",
        composite=not alpha,
        bits=8 if path.suffix.lower() == ".mkv" else None,
    )
    options = encoding.options | _LIVE.get(encoding.codec, {})
    muxer = _UNBROKEN.get(encoding.container, encoding.container_options)
    return replace(encoding, options=options, container_options=muxer)
