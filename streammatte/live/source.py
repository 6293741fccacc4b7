"""Pictures of a camera, stream, file or pattern in real time, without delay; damaged ones are never given."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import cv2
import torch

from streammatte.color.ycbcr import RgbReader, Samples, color_of
from streammatte.errors import DecodeFailed, InputError, NoVideoStream
from streammatte.frame import Frame, StreamInfo
from streammatte.live.cameras import USUAL_RATE, Place, reason_of
from streammatte.media.background import covered, covering
from streammatte.media.read.choosing import picture_of
from streammatte.media.read.orientation import Orientation, display_matrix

CLOCK = Fraction(1, 90000)
"""The time base of every live frame's pts, whatever the device counts in; the first frame has pts 0."""

_OFF_THE_CLOCK = 5.0  # seconds that pts may be off real time before they count as broken
_LARGEST = 8192
_LIKELY_RATES = Fraction(1, 60), 240  # a second; transport streams may state their clock instead
# Containers whose demuxers mark damaged packets. They often have open groups of pictures, of which a strict H.264
# decoder that joins midway takes none.
_MARKED = ("mpegts", "hls")
_DOUBTFUL = 2  # packets after a marked one: FFmpeg's parsers put the mark up to two packets early


class StreamLost(DecodeFailed):
    """It was unplugged, went out of reach, or fell silent."""


@dataclass(slots=True, eq=False)
class Picture:
    """A picture as decoded. Its colours are computed on demand.

    Attributes:
        index: Counts every picture of the source.
        pts: In :data:`CLOCK`.
        at: ``time.monotonic()`` at its arrival.
    """

    index: int
    pts: int
    at: float
    _decoded: av.VideoFrame
    _reader: _Reader = field(repr=False)

    def frame(self) -> Frame:
        """(3, H, W) uint8 or uint16, of the source's size. Call it from one thread at a time."""
        return Frame(torch.from_numpy(self._reader(self._decoded)).permute(2, 0, 1), self.pts, self.index)


class LiveSource:
    """Pictures in real time. Files and patterns are played once, by their own pts.

    It can be reopened after it was lost. Then ``index`` and ``pts`` go on growing, and frames keep the first one's
    size, scaled and cropped about the middle if necessary.

    Args:
        spec: ``lavfi:PATTERN``, a file, an address with a scheme, or a camera's number, name or device; by default the
            first camera.
        size: (H, W) to ask a camera for; other pictures are scaled and cropped to it.
        rate: To ask a camera for; frames beyond it are left out.

    Attributes:
        info: ``frame_rate`` is what the source states, at most ``rate``.
        name: Its name in messages.
        notes: How it differs from what was asked for.
        damaged: Packets and pictures that arrived damaged.
        broken: The last one did, and nothing is given before a whole keyframe.

    Raises:
        SourceNotFound: It does not exist, or does not answer in time.
        NoVideoStream: It has no pictures.
        DecodeFailed: None of its pictures can be decoded.
        InputError: The size is out of range.
    """

    def __init__(self, spec: str | None, *, size: tuple[int, int] | None = None, rate: Fraction | None = None) -> None:
        if size is not None and not all(16 <= length <= _LARGEST for length in size):
            raise InputError(
                f"--size {size[1]}x{size[0]} is out of range",
                hint=f"each side is 16 to {_LARGEST}, as in 1280x720",
                usage=True,
            )
        self._place = Place.of(spec)
        self._size, self._rate = size, rate
        self._stopping = threading.Event()
        self._count, self._last_pts = 0, -1
        self._origin: float | None = None  # of pts 0, on the monotonic clock
        self._damaged = 0  # of earlier openings
        self._now = _Opened(self._place, size, rate)
        self.name = self._place.name
        height, width = size or self._now.size
        rate = self._now.rate if rate is None else min(self._now.rate, rate)
        self.info = StreamInfo(width, height, CLOCK, rate, None, color_of(self._now.first))
        self.notes = _differences(self.name, self._now, size, self._rate)

    @property
    def paced(self) -> bool:
        """It is played in real time from when the first picture is taken; other sources run by themselves."""
        return self._now.paced

    @property
    def damaged(self) -> int:
        return self._damaged + self._now.whole.damaged

    @property
    def broken(self) -> bool:
        return self._now.whole.broken

    def pictures(self) -> Iterator[Picture]:
        """Until a file ends, or :meth:`stop` is called.

        Raises:
            StreamLost: It was lost; :meth:`reopen` may find it again.
        """
        now_open = self._now
        reader = _Reader(self.info, now_open)
        begin, given = time.monotonic(), float(now_open.rate)
        every = 0.0 if self._rate is None or given <= self._rate else 1 / float(self._rate)
        due = 0.0
        for decoded in self._decoded_frames():
            now = time.monotonic()
            seconds = now_open.seconds_of(decoded, now - begin)
            if self.paced and self._stopping.wait(max(0.0, begin + seconds - now)):
                return
            if self._stopping.is_set():
                return
            if every and seconds < due - 0.5 / given:
                continue
            due = max(due + every, seconds)
            at = time.monotonic()
            self._origin = begin if self._origin is None else self._origin
            self._last_pts = max(self._last_pts + 1, round((begin - self._origin + seconds) / CLOCK))
            yield Picture(self._count, self._last_pts, at, decoded, reader)
            self._count += 1

    def reopen(self) -> None:
        """Open the same source again.

        Raises:
            InputError: It has not come back.
        """
        self.close()
        self._place = self._place.found_again()
        opened = _Opened(self._place, self._size, self._rate)
        self._damaged += self._now.whole.damaged
        self._now = opened

    def stop(self) -> None:
        """Make :meth:`pictures` end soon; from any thread."""
        self._stopping.set()

    def close(self) -> None:
        """Release the device: from the thread that reads, or after it. FFmpeg does not survive it otherwise."""
        self._now.container.close()

    def _decoded_frames(self) -> Iterator[av.VideoFrame]:
        try:
            yield self._now.first
            yield from self._now.frames
        except (av.FFmpegError, OSError) as exc:
            raise StreamLost(f"lost {self.name}: {reason_of(exc)}") from exc
        if not self.paced and not self._stopping.is_set():
            raise StreamLost(f"{self.name} has ended")


class _Opened:
    """One opening of a source, up to its first picture.

    Attributes:
        first, frames: Its pictures.
        size: (H, W), upright.
        rate: As stated.
    """

    def __init__(self, place: Place, size: tuple[int, int] | None, rate: Fraction | None) -> None:
        container: av.container.InputContainer | None = None
        try:
            container = place.open(size, rate)
            self.whole = WholePictures(container, place.name, mapped=place.kind == "device")
            if place.kind == "file" and container.format.name.endswith(("_pipe", "image2")):
                raise NoVideoStream(f"{place.name} is a still image", hint="use a clip or a camera")
            # A clip on a web server is not real time either.
            on_the_web = place.spec.lower().startswith("http") and bool(container.duration)
            self.paced = place.kind in ("file", "pattern") or on_the_web
            self.frames = iter(self.whole)
            first = next(self.frames, None)
            self.whole.damaged = 0  # a stream that is joined midway begins with half a picture
            if first is None:
                raise DecodeFailed(
                    f"cannot decode any picture of {place.name}", hint="it may be truncated, damaged or in use"
                )
        except BaseException as exc:
            if container is not None:
                container.close()
            if isinstance(exc, av.FFmpegError | OSError | ValueError):
                raise place.failure(exc) from exc
            raise
        self.container, self.first = container, first
        stream = self.whole.stream
        stated = (stream.average_rate, stream.guessed_rate)
        self.rate = next((each for each in stated if each and _LIKELY_RATES[0] <= each <= _LIKELY_RATES[1]), USUAL_RATE)
        self.matrix = display_matrix(stream)
        turned = Orientation.of(first, self.matrix).transposed
        self.size = (first.width, first.height) if turned else (first.height, first.width)

    def seconds_of(self, decoded: av.VideoFrame, seconds: float) -> float:
        """Seconds since the first picture: by its pts, or ``seconds`` if these are broken."""
        if decoded.pts is None or self.first.pts is None or decoded.time_base is None:
            return seconds
        stated = float((decoded.pts - self.first.pts) * decoded.time_base)
        return stated if self.paced or abs(stated - seconds) < _OFF_THE_CLOCK else seconds


class WholePictures:
    """Decodes a container's pictures.

    Args:
        container: As opened.
        name: For messages.
        mapped: Raw pictures lie in a device's own memory.

    Attributes:
        damaged: Packets and pictures that were not whole, so far.
        broken: The last one was not, and none is given before a whole keyframe.

    Raises:
        NoVideoStream: It has no video.
    """

    def __init__(self, container: av.container.InputContainer, name: str, *, mapped: bool) -> None:
        stream = picture_of(container)
        if stream is None:
            raise NoVideoStream(f"{name} has no video", hint="use a camera, or a stream with pictures")
        self.stream = stream
        self.damaged = 0
        self.broken = False
        self._container, self._context = container, stream.codec_context
        self._copies = mapped and self._context.name == "rawvideo"
        self._context.thread_type = "SLICE"  # frame threads would each hold a picture back
        if not container.format.name.startswith(_MARKED) and not self._context.codec.intra_only:
            # A decoder that conceals damage fills in pieces of other pictures. Intra-only pictures cannot, and many
            # webcams' JPEGs are not quite valid.
            self._context.options = {"err_detect": "crccheck+explode"}

    def __iter__(self) -> Iterator[av.VideoFrame]:
        doubtful = 0
        begins = True  # no packet that is shown after the first keyframe has come yet
        begun_at: int | None = None  # its pts
        for packet in self._container.demux(self.stream):
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
                    continue  # it belongs to an open group of pictures, and depends on earlier ones
                begins = False
            decoded = self._decoded(packet)
            if decoded is None:
                self._break()
                begins, begun_at = True, None
                continue
            self.broken = False
            yield from decoded

    def _decoded(self, packet: av.Packet[Any]) -> list[av.VideoFrame] | None:
        """A packet's pictures; ``None`` if one of them is damaged."""
        if self._copies and packet.size:
            # The memory vanishes with the device: a picture still in use would crash the process.
            copy: av.Packet[Any] = av.Packet(bytes(packet))
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            packet = copy
        try:
            decoded = self._context.decode(packet)
        except av.FFmpegError:
            return None
        return None if any(frame.is_corrupt for frame in decoded) else decoded

    def _break(self) -> None:
        """Count the damage, and drop what the next pictures would depend on."""
        self.damaged += 1
        if not self._context.codec.intra_only:
            self.broken = True
            self._context.flush_buffers()


class _Reader:
    """Decoded frames as RGB of one size, (H, W, 3), upright."""

    def __init__(self, info: StreamInfo, opened: _Opened) -> None:
        self._width, self._height, self._matrix = info.width, info.height, opened.matrix
        self._codec = opened.whole.stream.codec_context.name
        self._to_rgb: RgbReader | None = None
        self._read_size = (0, 0)

    def __call__(self, decoded: av.VideoFrame) -> Samples:
        size = decoded.width, decoded.height
        if self._to_rgb is None or size != self._read_size:
            self._to_rgb, self._read_size = RgbReader(*size, codec=self._codec), size
        upright = Orientation.of(decoded, self._matrix)  # a phone may be turned during the run
        return covering(upright(self._to_rgb(decoded)), self._width, self._height, enlarged_by=cv2.INTER_LINEAR)


def _differences(name: str, given: _Opened, size: tuple[int, int] | None, rate: Fraction | None) -> list[str]:
    """How the source differs from what was asked for, in at most one line."""
    height, width = given.size
    size_differs = size is not None and size != given.size
    if not size_differs and (rate is None or given.rate >= rate * Fraction(98, 100)):
        return []
    scaled = ""
    if size is not None and size_differs:
        wide, high = covered(width, height, size[1], size[0])
        scaled = f", scaled to {size[1]}×{size[0]}"
        if (off := 1 - (wide * high) / (width * height)) >= 0.005:
            sides = "left and right" if high == height else "top and bottom"
            scaled += f"; {100 * off:.0f} % is cropped {sides} (--size {width}x{height} keeps all)"
    return [f"{name} gives {width}×{height} at {float(given.rate):.4g} fps{scaled}"]
