"""Streams to an address or to standard output, each picture at once."""

from __future__ import annotations

import contextlib
import socket
from fractions import Fraction
from typing import Self
from urllib.parse import urlsplit

import av
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

from streammatte.color.codes import STUDIO, matrix_for
from streammatte.errors import OutputError, UnsupportedOutput, WriteFailed
from streammatte.frame import StreamInfo
from streammatte.live.contracts import Shown
from streammatte.live.virtual_camera import evened
from streammatte.media.addresses import PIPE, without_secrets

STDOUT = PIPE
CLOCK = Fraction(1, 90000)

_FORMATS = {"udp": "mpegts", "tcp": "mpegts", "srt": "mpegts", "rtsp": "rtsp", "rtmp": "flv", "rtmps": "flv"}
_PORTLESS = ("udp", "tcp", "srt")  # protocols without a port of their own
ANSWER_WITHIN = 5_000_000  # microseconds for a receiver
_TAKEN_WITHIN = 10_000_000  # microseconds before a receiver that takes nothing is given up
_DATAGRAM = 1316  # bytes: the seven packets of a transport stream that fit


class ReaderLeft(Exception):  # noqa: N818 - this is how a pipe ends, not an error
    """The reader of standard output is gone."""


def scheme_of(target: str) -> str | None:
    """``rtmp`` for ``rtmp://host/app``; ``None`` if it is not an address."""
    scheme, found, _ = target.partition("://")
    return scheme.lower() if found else None


def check_address(target: str) -> None:
    """Refuse an address that cannot be sent to.

    Raises:
        UnsupportedOutput: Its protocol is unknown, or it has no port.
        WriteFailed: There is no such host.
    """
    scheme, shown = scheme_of(target), without_secrets(target)
    if scheme not in _FORMATS:
        raise UnsupportedOutput(
            f"unsupported protocol: {scheme} (in {shown})", hint=f"choose from {', '.join(_FORMATS)}"
        )
    try:
        parts = urlsplit(target)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or (port is None and scheme in _PORTLESS):
        example = f"{scheme}://{host or '127.0.0.1'}:{port or 9000}"
        raise UnsupportedOutput(f"{shown} has no {'port' if host else 'host'}", hint=f"as in {example}")
    try:
        socket.getaddrinfo(host, port or 0)
    except OSError as exc:
        raise WriteFailed(f"{shown}: unknown host {host} ({exc.strerror})", hint="check its name") from exc


class StreamWriter:
    """Sends pictures to an address or to standard output. An output of a run.

    Addresses get H.264 without delay: in MPEG-TS over UDP, TCP and SRT, in FLV over RTMP, and by RTSP to a server that
    accepts it (``ANNOUNCE``). Standard output gets NUT with raw RGB or RGBA: of FFmpeg's formats for pipes, the only
    one with each picture's time, alpha, and a header that ffplay, mpv and ffmpeg recognise.

    Odd sizes gain a row or column where H.264 needs it.

    Args:
        target: An address, or ``-``.
        info: The pictures' size, rate and matrix.
        alpha: Pictures have four channels; for standard output only.

    Raises:
        UnsupportedOutput: Nothing can be sent there.
    """

    note = None

    def __init__(self, target: str, info: StreamInfo, *, alpha: bool = False) -> None:
        self._target, self._info = target, info
        self._raw = target == STDOUT
        self._pixels = "rgba" if alpha else "rgb24"
        self._size = info.width, info.height
        if not self._raw:
            check_address(target)
            self._size = info.width + info.width % 2, info.height + info.height % 2
        self._shown = "standard output" if self._raw else without_secrets(target)
        self.description = f"{self._shown}, NUT, raw {self._pixels}" if self._raw else f"{self._shown}, H.264"
        self._begin: float | None = None
        self._last = -1
        self._container: av.container.OutputContainer | None = None

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            WriteFailed: There is no receiver.
            UnsupportedOutput: This FFmpeg does not have the protocol.
        """
        try:
            self._container = self._opened()
            self._container.start_encoding()
        except av.error.ProtocolNotFoundError as exc:
            raise UnsupportedOutput(
                f"{self._shown}: this FFmpeg was built without {scheme_of(self._target)}",
                hint="use udp://, tcp://, rtsp:// or rtmp://",
            ) from exc
        except (av.FFmpegError, OSError) as exc:
            raise self._failed(exc) from exc
        return self

    def show(self, shown: Shown) -> None:
        """Send a picture; the first one is at time 0 of the stream.

        Raises:
            WriteFailed: The receiver takes no more.
            ReaderLeft: The reader of standard output is gone.
        """
        assert self._container is not None, "it is entered first"
        self._begin = shown.at if self._begin is None else self._begin
        frame = self._painted(shown.rgb)
        self._last = frame.pts = max(self._last + 1, round((shown.at - self._begin) / CLOCK))
        frame.time_base = CLOCK
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as exc:
            if self._raw and isinstance(exc, BrokenPipeError):
                raise ReaderLeft from exc
            raise self._failed(exc) from exc

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
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

    def _opened(self) -> av.container.OutputContainer:
        target, options, kind = self._addressed()
        out = av.open(target, "w", format=kind, container_options=options)
        codec, encoder = "rawvideo", {}
        if not self._raw:
            codec, encoder = "libx264", {"preset": "superfast", "tune": "zerolatency", "crf": "23", "threads": "1"}
        stream = out.add_stream(codec, rate=self._info.frame_rate, options=encoder)
        assert isinstance(stream, av.VideoStream)
        context = stream.codec_context
        stream.width, stream.height = self._size
        stream.pix_fmt = self._pixels if self._raw else "yuv420p"
        stream.time_base = context.time_base = CLOCK
        if kind == "fifo":
            context.flags |= Flags.global_header
        if not self._raw:
            context.gop_size = max(1, round(self._info.frame_rate))  # a viewer who joins late waits for a second
            context.colorspace = matrix_for(self._info.color, self._info.width, self._info.height)
            context.color_range = STUDIO
        self._stream = stream
        return out

    def _addressed(self) -> tuple[str, dict[str, str], str]:
        """What FFmpeg opens, its options, and the format."""
        target, scheme = self._target, scheme_of(self._target)
        options = {"flush_packets": "1"}
        if self._raw:
            return "pipe:1", options, "nut"
        wanted = {"udp": f"pkt_size={_DATAGRAM}", "tcp": f"timeout={_TAKEN_WITHIN}"}.get(scheme or "", "")
        if wanted and wanted.partition("=")[0] + "=" not in target:
            target += f"{'&' if '?' in target else '?'}{wanted}"
        kind = _FORMATS[scheme or ""]
        if scheme == "rtsp":
            options["timeout"] = str(ANSWER_WITHIN)
        elif kind == "flv":
            # An RTMP connection opens in a call that has no time limit and blocks other threads, so FFmpeg's own does.
            return target, {"fifo_format": kind, "format_opts": f"rw_timeout={ANSWER_WITHIN}:flush_packets=1"}, "fifo"
        return target, options, kind

    def _painted(self, rgb: NDArray[np.uint8]) -> av.VideoFrame:
        if self._raw:
            return av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), self._pixels)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(evened(rgb)), self._pixels)
        matrix = self._stream.codec_context.colorspace
        return frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=STUDIO)

    def _failed(self, exc: Exception) -> OutputError:
        reason = getattr(exc, "strerror", None) or without_secrets(str(exc))
        if isinstance(exc, av.error.InvalidDataError):  # RTSP's word for a server that is silent
            reason = "no answer, or an invalid one"
        if self._raw:
            return WriteFailed(f"cannot write standard output: {reason}", hint="check the program that reads it")
        if self._last > 0:
            return WriteFailed(f"lost {self._shown}: {reason}", hint="check that the receiver is still running")
        return WriteFailed(
            f"cannot send to {self._shown}: {reason}", hint="start the receiver, and check host, port and path"
        )
