"""Pictures out as they come: a stream, standard output, or a file that grows."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

import av
import cv2
import numpy as np
import torch
from av.codec.context import Flags
from numpy.typing import NDArray

from streammatte.color.ycbcr import RGB_MATRIX, STUDIO, matrix_for
from streammatte.errors import InputError, OutputError, UnsupportedOutput, WriteFailed
from streammatte.frame import UNSPECIFIED, Cutout, Frame, StreamInfo
from streammatte.live.recording import UNBROKEN, whole_until
from streammatte.media.addresses import PIPE, without_secrets
from streammatte.media.containers import open_container
from streammatte.media.write.encoding import Encoding, encoding_for
from streammatte.media.write.output import check_target, through_links
from streammatte.media.write.video_writer import VideoWriter

STDOUT = PIPE
CLOCK = Fraction(1, 90000)

_FORMATS = {"udp": "mpegts", "tcp": "mpegts", "srt": "mpegts", "rtsp": "rtsp", "rtmp": "flv", "rtmps": "flv"}
_ANSWER_WITHIN = 5_000_000  # microseconds, of who receives
_TAKEN_WITHIN = 10_000_000  # microseconds, before what takes nothing is left
_HEAD = 1 << 16  # bytes from a file's beginning that a muxer may write over when it ends it
_DATAGRAM = 1316  # bytes: seven packets of a transport stream, which is what fits
_SUFFIXES = (".mp4", ".webm", ".mov", ".mkv")
_PORTLESS = ("udp", "tcp", "srt")  # protocols without a port of their own

# As quick as the encoders go, since they share the machine with the network. A killed run leaves a file that plays.
_LIVE: dict[str, dict[str, str]] = {
    "libx264": {"crf": "20", "preset": "superfast", "tune": "zerolatency", "threads": "1", "g": "30"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "30"},
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
        UnsupportedOutput: Its protocol is not known, or it has no port.
        WriteFailed: There is no such host.
    """
    scheme = scheme_of(target)
    if scheme not in _FORMATS:
        raise UnsupportedOutput(
            f"{without_secrets(target)}: nothing sends by {scheme}", hint=f"known: {', '.join(_FORMATS)}"
        )
    try:
        parts = urlsplit(target)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or (port is None and scheme in _PORTLESS):
        raise UnsupportedOutput(
            f"{without_secrets(target)} names no {'port' if host else 'host'}",
            hint=f"as in {scheme}://{host or '127.0.0.1'}:{port or 9000}",
        )
    try:
        socket.getaddrinfo(host, port or 0)
    except OSError as exc:
        shown = without_secrets(target)
        raise WriteFailed(f"{shown}: there is no host {host} ({exc.strerror})", hint="check its name") from exc


class StreamWriter:
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
        self._shown = without_secrets(target)
        self._raw = target == STDOUT
        self._pixels = "rgba" if alpha else "rgb24"
        if not self._raw:
            check_address(target)
        self.description = f"{target}, NUT, raw {self._pixels}" if self._raw else f"{self._shown}, H.264"
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
                f"{self._shown}: FFmpeg here was built without {scheme_of(self._target)}",
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
            if scheme == "tcp" and "timeout=" not in target:
                target += f"{'&' if '?' in target else '?'}timeout={_TAKEN_WITHIN}"
            kind = _FORMATS[scheme or ""]
            if scheme == "rtsp":
                options["timeout"] = str(_ANSWER_WITHIN)
            elif kind == "flv":
                # RTMP is greeted at once, by a call that takes no limit and lets no other thread run: FFmpeg's own
                # thread does it.
                options = {"fifo_format": kind, "format_opts": f"rw_timeout={_ANSWER_WITHIN}:flush_packets=1"}
            out = av.open(target, "w", format="fifo" if kind == "flv" else kind, container_options=options)
            encoder = {"preset": "superfast", "tune": "zerolatency", "crf": "23", "threads": "1"}
            stream = out.add_stream("libx264", rate=info.frame_rate, options=encoder)
            self._size = info.width + info.width % 2, info.height + info.height % 2
            pixels = "yuv420p"
        assert isinstance(stream, av.VideoStream)
        context = stream.codec_context
        stream.width, stream.height = self._size
        stream.pix_fmt = pixels
        stream.time_base = context.time_base = CLOCK
        if out.format.name == "fifo":
            context.flags |= Flags.global_header
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
        reason = getattr(exc, "strerror", None) or without_secrets(str(exc))
        if isinstance(exc, av.error.InvalidDataError):  # as RTSP has it, which is told nothing in time
            reason = "no answer, or none that can be understood"
        if self._raw:
            return WriteFailed(f"standard output cannot be written: {reason}", hint="check what reads it")
        if self._last > 0:
            return WriteFailed(f"{self._shown} takes no more: {reason}", hint="is what receives it still there?")
        return WriteFailed(
            f"{self._shown} takes nothing: {reason}", hint="start what receives it, and check host, port and path"
        )


class Recording:
    """A file of pictures as they come, at the times they came. A context manager.

    What :func:`~streammatte.media.open_writer` writes to that suffix, at the encoders' quickest. It grows in a hidden
    folder beside its place, ``.name.part``, where it can be played if the run is killed, and gets its name when the
    writer is left: a recording is whole wherever it stops. What a killed run left there, and what came before the
    disk refused, is put aside as ``name.rescued.mp4``. Left with an exception that is not its own, it leaves nothing.

    Args:
        path: ``.mov``, ``.webm``, ``.mkv`` or ``.mp4``.
        info: Of the pictures.
        alpha: They have four channels, colours straight.
        overwrite: Replace what is there.

    Attributes:
        note: What was found of an earlier run, in a line; ``None`` if nothing was. Known once it is entered.

    Raises:
        UnsupportedOutput: Nothing writes that suffix, or not with alpha.
        WriteFailed: It could not be put in its place.
    """

    def __init__(self, path: Path, info: StreamInfo, *, alpha: bool, overwrite: bool) -> None:
        # Pictures are RGB in 8 bits whatever the camera has, and are kept as Y'CbCr of its matrix.
        matrix = UNSPECIFIED if info.color.matrix == RGB_MATRIX else info.color.matrix
        info = replace(info, color=replace(info.color, matrix=matrix, bit_depth=8))
        encoding = recorded(path, info, alpha=alpha)
        path = through_links(path)
        check_target(path, overwrite=overwrite)
        self.note: str | None = None
        self._alpha = alpha
        self._opaque = torch.ones(info.height, info.width)
        self._begin: float | None = None
        self._failed = False
        self._count = 0
        self._head, self._length = b"", 0
        self._rescued: Path | None = None
        self._writer = VideoWriter(
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
        self._growing = self._writer.temporary

    @property
    def description(self) -> str:
        return f"{self._writer.path}, {self._writer.description}"

    def __enter__(self) -> Self:
        self._writer.part.claim()
        if _has_pictures(self._growing) and (rescued := self._put_aside()) is not None:
            self.note = f"an earlier run that did not end left a recording: it is {rescued} now"
        self._writer.__enter__()
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
            self._writer.write(Cutout(frame, opacity))
        except WriteFailed as exc:
            self._failed = True
            raise self._cut_short(exc) from exc
        except BaseException:
            self._failed = True
            raise
        self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._failed or kind is not None or not self._count:
            self._discard()
            return
        self._head = _head_of(self._growing)  # before the muxer ends what may not be ended
        try:
            self._writer.finish()
        except WriteFailed as failure:
            told = self._cut_short(failure)
            self._discard()
            raise told from failure
        self._writer.__exit__(None, None, None)

    def _cut_short(self, exc: WriteFailed) -> WriteFailed:
        """The same error, and where what was written so far is to be found."""
        self._head = self._head or _head_of(self._growing)
        self._length = self._growing.stat().st_size if self._growing.exists() else 0
        if not _has_pictures(self._growing) or (rescued := self._put_aside()) is None:
            return exc
        self._rescued = rescued
        return WriteFailed(str(exc), hint=f"{exc.hint}; what was recorded before is {rescued}")

    def _discard(self) -> None:
        stopped: Any = (RuntimeError, None, None)
        self._writer.__exit__(*stopped)
        if self._rescued is not None:
            # Muxers go back and write over a file's beginning when they end it, though its end found no room.
            with contextlib.suppress(OSError), self._rescued.open("r+b") as file:
                file.write(self._head)
                file.flush()
                file.truncate(self._length)
                if (end := whole_until(self._rescued)) is not None:
                    file.truncate(end)

    def _put_aside(self) -> Path | None:
        path = self._writer.path
        for number in itertools.count(1):
            aside = path.with_name(f"{path.stem}.rescued{'' if number == 1 else f'-{number}'}{path.suffix}")
            if not os.path.lexists(aside):
                break
        try:
            aside.hardlink_to(self._growing)
        except OSError:  # FAT and some network folders have none
            try:
                self._growing.rename(aside)
            except OSError:  # on Windows, a file that is open
                return None
        return aside


def _has_pictures(path: Path) -> bool:
    try:
        with open_container(str(path)) as container:
            return any(packet.size for packet in container.demux(container.streams.video[0]))
    except (InputError, av.FFmpegError, OSError, IndexError):
        return False


def _head_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def recorded(path: Path, info: StreamInfo, *, alpha: bool) -> Encoding:
    """How a recording of that name is encoded.

    Raises:
        UnsupportedOutput: Nothing writes that suffix as video, or not with alpha.
    """
    what = "--to takes .mp4 (H.264), .webm (VP9), .mov (ProRes) and .mkv (FFV1), the last three with alpha"
    if path.suffix.lower() not in _SUFFIXES:
        raise UnsupportedOutput(f"{path} has no suffix that a live run writes", hint=what)
    if alpha and path.suffix.lower() == ".mp4":
        raise UnsupportedOutput(
            f"{path} cannot hold alpha: H.264 has none", hint="give another --bg, or write .webm, .mov or .mkv"
        )
    encoding = encoding_for(
        path,
        info,
        content="plate" if alpha else "foreground",
        alpha="straight",
        composite=not alpha,
        bits=8 if path.suffix.lower() == ".mkv" else None,
    )
    options = encoding.options | _LIVE.get(encoding.codec, {})
    muxer = UNBROKEN[encoding.container]
    return replace(encoding, options=options, container_options=muxer)
