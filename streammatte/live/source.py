"""Cameras, streams, and files or patterns played in real time: pictures as they come, without delay."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

import av
import cv2
import torch

from streammatte.color.ycbcr import RgbReader, Samples, color_of
from streammatte.errors import DecodeFailed, InputError, NoVideoStream, SourceNotFound
from streammatte.frame import Frame, StreamInfo
from streammatte.live.cameras import (
    USUAL_RATE,
    Camera,
    find_again,
    find_camera,
    format_of_cameras,
    ways_to_open,
)
from streammatte.media.addresses import without_secrets
from streammatte.media.containers import TAG_ERRORS, open_container
from streammatte.media.read.choosing import picture_of
from streammatte.media.read.orientation import Matrix, Orientation, display_matrix

CLOCK = Fraction(1, 90000)
"""Of every live frame's pts, whatever the device counts in; it begins at 0 with the first frame."""

_ANSWER_WITHIN = 10.0  # seconds for a server's first pictures
_SILENCE = 3.0  # seconds without a byte after which a stream is taken for broken
_OFF_THE_CLOCK = 5.0  # seconds that pts and real time may be apart before pts are taken for broken
_LARGEST = 8192
_LIKELY_RATES = Fraction(1, 60), 240  # a second; transport streams may state their clock instead
# Containers whose demuxers mark what is damaged. Of open groups of pictures, which they often have, a strict H.264
# decoder takes none that it comes upon midway.
_MARKED = ("mpegts", "hls")
_DOUBTFUL = 2  # packets after one that is marked damaged: FFmpeg's parsers put the mark on the one before or two before

# As little as tells what the pictures are.
_ADDRESS_OPTIONS = {
    "analyzeduration": "1000000",
    "rtsp_flags": "prefer_tcp",
    "overrun_nonfatal": "1",
    "tcp_nodelay": "1",
    "multiple_requests": "1",  # else nothing is read of clips that are sought in, from many web servers
}

_REAL_TIME = ("rtsp", "rtsps", "rtp", "udp", "srt", "tcp", "rtmp", "rtmps")

Kind = Literal["device", "address", "file", "pattern"]


class StreamLost(DecodeFailed):
    """It gave pictures, and has gone: unplugged, out of reach, or silent."""


@dataclass(slots=True, eq=False)
class Picture:
    """A picture as decoded; its colours are computed when somebody wants them.

    Attributes:
        index: Counts every picture the source gave.
        pts: In :data:`CLOCK`.
        at: ``time.monotonic()`` when it was there.
    """

    index: int
    pts: int
    at: float
    _decoded: av.VideoFrame
    _reader: _Reader = field(repr=False)

    def frame(self) -> Frame:
        """(3, H, W) uint8 or uint16, at the source's size. By one thread at a time."""
        return Frame(torch.from_numpy(self._reader(self._decoded)).permute(2, 0, 1), self.pts, self.index)


class LiveSource:
    """Pictures at the pace they happen; what is not real time by itself is played so, by its own pts, once.

    It can be opened again after it was lost, and goes on counting: ``index`` and ``pts`` only grow, and every frame has
    the first one's size, scaled to cover it and cropped about its middle if need be.

    Args:
        spec: ``lavfi:PATTERN``, a file, an address with a scheme, or a camera's number, name or device; ``None`` is the
            first camera.
        size: (H, W). A camera is asked for it, and whatever comes is brought to it.
        rate: A camera is asked for it; of what gives more, frames are left out.

    Attributes:
        info: Of the frames. ``frame_rate`` is what the source states, at most ``rate``.
        kind: What ``spec`` names.
        name: It, in words.
        paced: It is no real time by itself, and begins when it is first asked for a picture.
        notes: What differs from what was asked for, a line each.
        damaged: Packets and pictures that were not whole so far.
        broken: What came last was not, and what comes is built upon it: nothing is given before a whole keyframe.

    Raises:
        SourceNotFound: There is nothing, or nobody answers in time.
        NoVideoStream: It has no pictures.
        DecodeFailed: Not one of its pictures can be decoded.
        InputError: The size is none.
    """

    def __init__(self, spec: str | None, *, size: tuple[int, int] | None = None, rate: Fraction | None = None) -> None:
        if size is not None and not all(16 <= length <= _LARGEST for length in size):
            raise InputError(
                f"no camera gives {size[1]}×{size[0]} pixels", hint=f"each side from 16 to {_LARGEST}, as in 1280x720"
            )
        self.kind = kind_of(spec)
        self.notes: list[str] = []
        self.damaged = 0
        self.broken = False
        self._size, self._rate = size, rate
        self._stopping = threading.Event()
        self._camera: Camera | None = None
        if self.kind == "device":
            self._camera = find_camera(spec)
        self.name = self._camera.name if self._camera is not None else without_secrets(str(spec))
        self._spec = path_of(str(spec))
        self._count = 0
        self._last_pts = -1
        self._origin: float | None = None  # on the monotonic clock, of pts 0
        self._container: av.container.InputContainer | None = None
        self.info = self._open()
        self._tell_what_differs()

    def pictures(self) -> Iterator[Picture]:
        """Until a file ends, or :meth:`stop` is called.

        Raises:
            StreamLost: It has gone; :meth:`reopen` may find it again.
        """
        assert self._container is not None
        reader = _Reader(self.info, self._stream.codec_context.name, self._matrix)
        begin, first_pts = time.monotonic(), self._first.pts
        given = float(self._given[2])
        every = 0.0 if self._rate is None or given <= self._rate else 1 / float(self._rate)
        due = 0.0
        for decoded in self._decoded_frames():
            now = time.monotonic()
            seconds = now - begin
            if decoded.pts is not None and first_pts is not None and decoded.time_base is not None:
                stated = float((decoded.pts - first_pts) * decoded.time_base)
                if self.paced or abs(stated - seconds) < _OFF_THE_CLOCK:
                    seconds = stated
            if self.paced and self._stopping.wait(max(0.0, begin + seconds - now)):
                return
            if self._stopping.is_set():
                return
            if every and seconds < due - 0.5 / given:
                continue
            due = max(due + every, seconds)
            at = time.monotonic()
            self._origin = begin if self._origin is None else self._origin
            pts = max(self._last_pts + 1, round((begin - self._origin + seconds) / CLOCK))
            self._last_pts = pts
            yield Picture(self._count, pts, at, decoded, reader)
            self._count += 1

    def reopen(self) -> None:
        """Begin anew with the same source.

        Raises:
            InputError: It is still gone.
        """
        self.close()
        if self._camera is not None:
            self._camera = find_again(self._camera)
        self._open()

    def stop(self) -> None:
        """Let :meth:`pictures` end soon; from any thread."""
        self._stopping.set()

    def close(self) -> None:
        """Give the device back. By the thread that reads, or after it: FFmpeg does not survive it otherwise."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _open(self) -> StreamInfo:
        try:
            self._container = self._opened()
            stream = picture_of(self._container)
            if stream is None:
                raise NoVideoStream(f"{self.name} has no video", hint="give a camera, or a stream with pictures")
            if self.kind == "file" and self._container.format.name.endswith(("_pipe", "image2")):
                raise NoVideoStream(f"{self.name} is a still picture", hint="give a clip, or a camera")
            self._stream = stream
            # Frame threads would each hold a picture back.
            stream.codec_context.thread_type = "SLICE"
            strict = not self._container.format.name.startswith(_MARKED)
            if strict and not stream.codec_context.codec.intra_only:
                # A decoder that papers over what is missing gives pieces of other pictures. What is a picture by itself
                # misses no more than it says, and many a webcam's JPEG is not quite one.
                stream.codec_context.options = {"err_detect": "crccheck+explode"}
            self.paced = self.kind in ("file", "pattern") or (
                # A clip on a web server is no more real time than one on a disk.
                self._spec.startswith("http") and bool(self._container.duration)
            )
            self._frames = self._decode()
            damaged = self.damaged
            first = next(self._frames, None)
            self.damaged = damaged  # who joins a stream midway begins with half a picture, which is no damage
        except (av.FFmpegError, OSError, ValueError) as exc:
            self.close()
            raise self._not_there(exc) from exc
        except BaseException:
            self.close()
            raise
        if first is None:
            self.close()
            raise DecodeFailed(
                f"{self.name} gives no picture that can be decoded", hint="it may be cut, damaged or in use"
            )
        self._first = first
        stated = (stream.average_rate, stream.guessed_rate)
        rate = next((each for each in stated if each and _LIKELY_RATES[0] <= each <= _LIKELY_RATES[1]), USUAL_RATE)
        self._matrix = display_matrix(stream)
        upright = Orientation.of(first, self._matrix)
        given = (first.width, first.height) if upright.transposed else (first.height, first.width)
        self._given = *given, rate
        height, width = self._size or given
        slower = rate if self._rate is None else min(rate, self._rate)
        return StreamInfo(width, height, CLOCK, slower, None, color_of(first))

    def _opened(self) -> av.container.InputContainer:
        if self.kind == "pattern":
            return av.open(self._spec.removeprefix("lavfi:"), format="lavfi")
        if self.kind == "file":
            return open_container(self._spec)
        if self._camera is None:
            options = dict(_ADDRESS_OPTIONS)
            if self._spec.partition("://")[0].lower() in _REAL_TIME:
                options["fflags"] = "nobuffer"  # a clip would not be found again behind the packets this throws away
            return av.open(
                self._spec, container_options=options, timeout=(_ANSWER_WITHIN, _SILENCE), metadata_errors=TAG_ERRORS
            )
        ways = ways_to_open(self._size, self._rate)
        for place, options in enumerate(ways):
            try:
                return av.open(
                    self._camera.device,
                    format=format_of_cameras(),
                    container_options=options,
                    timeout=(_ANSWER_WITHIN, _SILENCE),
                    metadata_errors=TAG_ERRORS,
                )
            except (av.FFmpegError, OSError) as exc:
                # Another way helps only where it is the way that it refuses.
                if place == len(ways) - 1 or exc.errno in (errno.EACCES, errno.EBUSY, errno.ENOENT, errno.ENODEV):
                    raise
        raise AssertionError("there is always one way")

    def _decoded_frames(self) -> Iterator[av.VideoFrame]:
        yield self._first
        try:
            yield from self._frames
        except (av.FFmpegError, OSError) as exc:
            raise StreamLost(f"{self.name} is gone: {_reason(exc)}", hint="it is tried again") from exc
        if not self.paced and not self._stopping.is_set():
            raise StreamLost(f"{self.name} has ended", hint="it is tried again")

    def _decode(self) -> Iterator[av.VideoFrame]:
        """What is whole, and rests on nothing that is not; counts what is damaged."""
        assert self._container is not None
        context = self._stream.codec_context
        mapped = self.kind == "device" and context.name == "rawvideo"
        self.broken = False
        doubtful = 0
        begins = True  # nothing yet, but for a keyframe, of what is shown after it
        begun_at: int | None = None  # its pts
        for packet in self._container.demux(self._stream):
            if packet.is_corrupt:
                self._break()
                begins, begun_at, doubtful = True, None, _DOUBTFUL
                continue
            doubtful -= 1
            if doubtful >= 0 or (self.broken and not packet.is_keyframe):
                continue
            if begins and packet.is_keyframe:
                begun_at = packet.pts
            elif begins and begun_at is not None and packet.pts is not None:
                if packet.pts < begun_at:
                    continue  # of an open group of pictures, and built upon what came before it
                begins = False
            # A device's own memory, which goes with it: a picture that is still looked at would take the process along.
            whole = _copied(packet) if mapped and packet.size else packet
            try:
                decoded = context.decode(whole)
            except av.FFmpegError:
                decoded = None
            if decoded is None or any(frame.is_corrupt for frame in decoded):
                self._break()
                begins, begun_at = True, None
                continue
            self.broken = False
            yield from decoded

    def _break(self) -> None:
        """Count a damage, and forget what the next pictures would be told from."""
        self.damaged += 1
        context = self._stream.codec_context
        if not context.codec.intra_only:
            self.broken = True
            context.flush_buffers()

    def _tell_what_differs(self) -> None:
        height, width, rate = self._given
        size_differs = self._size is not None and self._size != (height, width)
        rate_differs = self._rate is not None and rate < self._rate * Fraction(98, 100)
        if not (size_differs or rate_differs):
            return
        brought = ""
        if size_differs:
            wide, high = kept_of(width, height, self.info.width, self.info.height)
            brought = f", brought to {self.info.width}×{self.info.height}"
            off = 1 - (wide * high) / (width * height)
            if off >= 0.005:
                sides = "left and right" if high == height else "above and below"
                brought += f": {100 * off:.0f} % of it is cut off {sides}; --size {width}x{height} keeps all"
        self.notes.append(f"{self.name} gives {width}×{height} at {float(rate):.4g} a second{brought}")

    def _not_there(self, exc: Exception) -> InputError:
        code = getattr(exc, "errno", None)
        if self.kind == "pattern":
            return SourceNotFound(
                f"{self._spec} is no pattern that FFmpeg makes", hint="as in lavfi:testsrc2=size=640x360"
            )
        if self.kind == "file":
            return DecodeFailed(f"{self._spec} cannot be read: {_reason(exc)}", hint="give footage that FFmpeg reads")
        if self.kind == "device":
            hints = {
                errno.EACCES: "you may not read it: join the group `video`, or allow the terminal to use the camera",
                errno.EBUSY: "another program uses it: close that",
            }
            hint = hints.get(code or 0, "--list-cameras lists what is here")
            return SourceNotFound(f"the camera {self.name} cannot be opened: {_reason(exc)}", hint=hint)
        if isinstance(exc, av.error.ProtocolNotFoundError):
            scheme = self._spec.partition("://")[0]
            return SourceNotFound(
                f"{self.name}: this FFmpeg does not know {scheme}://",
                hint="send it as rtsp://, rtmp://, http:// or udp://",
            )
        return SourceNotFound(
            f"{self.name} gives no pictures: {_reason(exc)}", hint="is it sending, and reachable from here?"
        )


class _Reader:
    """Decoded frames as RGB of one size, (H, W, 3), upright."""

    def __init__(self, info: StreamInfo, codec: str, matrix: Matrix | None) -> None:
        self._width, self._height, self._codec, self._matrix = info.width, info.height, codec, matrix
        self._to_rgb: RgbReader | None = None
        self._read_size = (0, 0)

    def __call__(self, decoded: av.VideoFrame) -> Samples:
        size = decoded.width, decoded.height
        if self._to_rgb is None or size != self._read_size:
            self._to_rgb, self._read_size = RgbReader(*size, codec=self._codec), size
        upright = Orientation.of(decoded, self._matrix)  # a telephone may be turned meanwhile
        return covering(upright(self._to_rgb(decoded)), self._width, self._height)


def covering(rgb: Samples, width: int, height: int) -> Samples:
    """Scaled to cover that size, and cropped about its middle; itself if it has it."""
    rows, columns = rgb.shape[:2]
    if (columns, rows) == (width, height):
        return rgb
    keep_x, keep_y = kept_of(columns, rows, width, height)
    scale = max(width / columns, height / rows)
    x, y = (columns - keep_x) // 2, (rows - keep_y) // 2
    kept = rgb[y : y + keep_y, x : x + keep_x]
    return cv2.resize(kept, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def kept_of(columns: int, rows: int, width: int, height: int) -> tuple[int, int]:
    """(W, H) of the part of a picture of ``columns × rows`` that covers ``width × height``."""
    scale = max(width / columns, height / rows)
    return min(columns, round(width / scale)), min(rows, round(height / scale))


def kind_of(spec: str | None) -> Kind:
    """What ``--camera`` names.

    Raises:
        SourceNotFound: It looks like a file, and there is none.
    """
    if spec is None:
        return "device"
    if not spec:
        raise SourceNotFound("no camera is named: the name is empty", hint="is a variable of the shell's not set?")
    if spec.startswith("lavfi:"):
        return "pattern"
    path = Path(path_of(spec))
    if "://" in spec and not spec.lower().startswith("file:"):
        return "address"
    if path.is_file():
        return "file"
    if path.is_dir():
        raise SourceNotFound(f"{spec} is a folder", hint="name a file in it, or a camera: --list-cameras lists them")
    if not spec.startswith("/dev/") and ("://" in spec or path.suffix or "/" in spec):
        raise SourceNotFound(f"there is no file {spec}", hint="--list-cameras lists the cameras that are here")
    return "device"


def path_of(spec: str) -> str:
    """Of ``file:///folder/clip.mp4``, the path; of anything else, itself."""
    return url2pathname(urlsplit(spec).path) if spec.lower().startswith("file://") else spec


def _copied(packet: av.Packet[Any]) -> av.Packet[Any]:
    copy: av.Packet[Any] = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    return copy


def _reason(exc: Exception) -> str:
    """FFmpeg's words, without what it appends of its log."""
    if isinstance(exc, av.error.ExitError):
        return "nothing came in time"
    return getattr(exc, "strerror", None) or str(exc)
