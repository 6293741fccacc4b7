"""Frames of a media file, in the order they are shown."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from fractions import Fraction
from heapq import heappop, heappush
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
import torch

from streammatte.errors import DecodeFailed, InputError, NoVideoStream, SourceNotFound
from streammatte.frame import Frame, Plate, StreamInfo
from streammatte.media.alpha import AlphaReader, decoder_for, has_alpha, is_grey
from streammatte.media.color import RgbReader, color_of, fitted
from streammatte.media.lengths import Lengths, lengths_in

# Demuxers whose header states how long the file is meant to be, so that one that was cut can be told.
_STATE_THEIR_LENGTH = ("mov", "matroska", "flv")
# Demuxers that know every packet before the first is read.
_INDEX_THEIR_PACKETS = ("mov", "avi")
# Codecs whose packets are one picture each. Others have packets that show nothing: VP8's references, MPEG-4's N-VOPs.
_ONE_PICTURE_A_PACKET = ("h264", "hevc", "vp9", "av1", "mpeg2video", "prores", "dnxhd", "mjpeg", "ffv1")
_MOST_FAILURES_IN_A_ROW = 16
_BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class FileSource:
    """The frames of a file's best video stream (as FFmpeg ranks them), attached pictures left out. Read once.

    A rotation in the display matrix, as phones write it, is applied to the pixels; ``info`` is of the
    picture as shown. Iterating gives frames, without the alpha that the file may hold, and ``plates()`` frames with it;
    one of the two, once. Memory does not grow with the clip.

    Args:
        url: Path of anything FFmpeg opens, or an address with a scheme.
        strict: Raise ``DecodeFailed`` at the first damage instead of going on and telling it in ``lost``.

    Attributes:
        info: What is known before the first frame. ``frame_count`` is what the container states, or else its duration
            times its rate; the truth is what comes.
        lost: One line on what could not be decoded, known once the frames have run out; ``None`` if nothing is missing.
        first_number: The number an image sequence made of this clip begins with.
        has_alpha: The file has an alpha of its own; without one, only a matte has ``plates()``.

    Raises:
        SourceNotFound: There is no such file, or it may not be read.
        NoVideoStream: It holds no pictures.
        DecodeFailed: It is not a media file, or not one frame of it can be decoded.
    """

    first_number = 1

    def __init__(self, url: str, *, strict: bool = False) -> None:
        self.lost: str | None = None
        self._url = url
        self._strict = strict
        self._container = open_container(url)
        try:
            stream = self._container.streams.best("video")
            if not isinstance(stream, av.VideoStream) or stream.disposition & av.stream.Disposition.attached_pic:
                raise NoVideoStream(
                    f"{url} has no video stream", hint="it holds sound or data only; give a file with pictures"
                )
            if stream.codec_context is None:
                raise DecodeFailed(
                    f"{url} has video of a kind that FFmpeg does not know",
                    hint="its header may be damaged; fetch it again",
                )
            self._stream = stream
            self._size = size_of(url)
            self._decoder = decoder_for(stream)
            self._decoder.thread_type = "AUTO"
            self._bad_packets = 0
            self._bad_frames = 0
            self._indexed = indexed_packets(self._container, stream)
            self._read = 0
            self._due = self._last_due = 0
            self._shown = self._last_shown = 0
            self._interlaced = False
            self._first_key: int | None = None
            self._has_checksums = False
            self._stamps_are_of_decoding = False
            self._stamps: list[int] = []
            self._end = Fraction(0)
            self._decoded = self._decode()
            first = next(self._decoded, None)
            if first is None:
                raise DecodeFailed(
                    f"{url} has no frame that can be decoded", hint="the file is cut or damaged; fetch it again"
                )
            self._first: av.VideoFrame | None = first
            self.has_alpha = has_alpha(first)
            self._info = self._describe(first)
        except BaseException:
            self._container.close()
            raise

    @property
    def info(self) -> StreamInfo:
        return self._info

    @property
    def lengths(self) -> Lengths:
        return lengths_in(self._container)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        for frame, _ in self._pictures():
            yield frame

    def plates(self) -> Iterator[Plate]:
        """The frames, each with its alpha: the file's own or, if it has none and no colours either, its luma.

        Raises:
            InputError: It holds neither alpha nor a matte.
            DecodeFailed: As iterating.
        """
        to_alpha = AlphaReader()
        for frame, decoded in self._pictures():
            if frame.index == 0 and not self.has_alpha and not is_grey(frame.rgb.permute(1, 2, 0).numpy()):
                raise InputError(
                    f"{self._url} holds no alpha, and is no matte: it has colours",
                    hint="give a plate (.mov, .webm, RGBA pictures) or a matte in grey",
                )
            alpha = np.ascontiguousarray(np.rot90(to_alpha(decoded), _quarter_turns(decoded)))
            yield Plate(frame, torch.from_numpy(fitted(alpha, self._info.width, self._info.height)))

    def _pictures(self) -> Iterator[tuple[Frame, av.VideoFrame]]:
        """Every frame, and what it was decoded as."""
        decoded, self._first = self._first, None
        if decoded is None:
            raise DecodeFailed(f"{self._url} has been read already", hint="open it again to read it again")
        to_rgb = RgbReader(decoded.width, decoded.height, codec=self._stream.codec_context.name)
        previous: int | None = None
        index = 0
        while decoded is not None:
            pts = _presentation_time(decoded, previous, self._info)
            rgb = np.ascontiguousarray(np.rot90(to_rgb(decoded), _quarter_turns(decoded)))
            yield Frame(torch.from_numpy(rgb).permute(2, 0, 1), pts, index), decoded
            previous = pts
            index += 1
            decoded = next(self._decoded, None)
        self._refuse_a_change()
        self.lost = self._account(index)
        if self.lost and self._strict:
            raise DecodeFailed(f"{self._url}: {self.lost}", hint="without --strict what can be decoded is delivered")

    def _describe(self, first: av.VideoFrame) -> StreamInfo:
        stream = self._stream
        width, height = first.width, first.height
        if _quarter_turns(first) % 2:
            width, height = height, width
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        time_base = stream.time_base or 1 / rate
        count = stream.frames or None
        if count is None and self._container.duration:
            begin, end = self._stated_span()
            count = max(1, round((end - begin) * rate))
        aspect = stream.sample_aspect_ratio or Fraction(1)
        if _quarter_turns(first) % 2:
            aspect = 1 / aspect
        return StreamInfo(width, height, time_base, rate, count, color_of(first), aspect)

    def _stated_span(self) -> tuple[Fraction, Fraction]:
        """When the container says that it begins and ends, in seconds."""
        begin = Fraction(max(0, self._container.start_time or 0), av.time_base)
        length = Fraction(self._container.duration or 0, av.time_base)
        # Matroska's duration counts from 0, whenever the first frame is due.
        from_zero = self._container.format.name.startswith("matroska")
        return begin, length if from_zero else begin + length

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Every frame that can be decoded; counts what cannot."""
        for packet in self._whole_packets():
            try:
                frames = self._decoder.decode(packet)
            except av.FFmpegError as exc:
                self._bad_packets += 1
                self._refuse("a packet that cannot be decoded", exc)
                if self._stamps:
                    heappop(self._stamps)
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self._bad_frames += 1
                    self._refuse("a damaged frame")
                self._interlaced |= frame.interlaced_frame
                if self._first_key is not None and (frame.pts is None or frame.pts >= self._first_key):
                    self._shown += 1
                    self._last_shown = max(frame.pts or 0, self._last_shown)
                if self._stamps:
                    frame.pts = heappop(self._stamps)
                yield frame
        if self._shown and self._last_shown < self._last_due and not self._strict and "://" not in self._url:
            for frame in self._decode_again(self._last_shown):
                self._shown += 1
                yield frame

    def _decode_again(self, after: int) -> Iterator[av.VideoFrame]:
        """The last frames, by one thread: where several work, an error at the end throws away what the others hold."""
        with open_container(self._url) as container:
            stream = container.streams[self._stream.index]
            assert isinstance(stream, av.VideoStream)
            decoder = decoder_for(stream)
            decoder.thread_type = "NONE"
            try:
                container.seek(after, stream=stream)
                for packet in container.demux(stream):
                    if packet.is_corrupt:
                        continue
                    try:
                        frames = decoder.decode(packet)
                    except av.FFmpegError:
                        continue  # counted already
                    yield from (frame for frame in frames if frame.pts is not None and frame.pts > after)
            except av.FFmpegError:
                return  # it cannot seek, or is cut here: counted already, too

    def _expect(self, packet: av.Packet[av.stream.Stream]) -> None:
        """Count the frames that are due: none before the first key frame, none that an edit list discards."""
        self._read += 1
        stamp = packet.dts if packet.pts is None else packet.pts
        if self._first_key is None and packet.is_keyframe:
            self._first_key = stamp
        if self._first_key is not None and stamp is not None and stamp >= self._first_key and not packet.is_discard:
            self._due += 1
            self._last_due = max(self._last_due, stamp)
        if self._read == 1:
            self._stamps_are_of_decoding = packet.pts is None or self._container.format.name == "avi"
        # When packets are decoded is when frames are shown, though not the same ones: sorted, the frames take them.
        if self._stamps_are_of_decoding and stamp is not None:
            heappush(self._stamps, stamp)

    def _whole_packets(self) -> Iterator[av.Packet[av.stream.Stream] | None]:
        """The packets without a last one that was cut off: its error would throw away what the decoder still holds."""
        damaged: av.Packet[av.stream.Stream] | None = None
        for packet in self._packets():
            if packet is not None and packet.size:
                self._expect(packet)
                if damaged is not None:
                    yield damaged
            damaged = None
            if packet is not None and packet.is_corrupt:
                self._bad_packets += 1
                self._refuse("a damaged packet")
                damaged = packet
            elif packet is not None and packet.size and self._breaks_its_checksum(packet):
                self._bad_packets += 1
                self._refuse("a packet whose checksum does not match")
                yield packet
            else:
                yield packet

    def _breaks_its_checksum(self, packet: av.Packet[av.stream.Stream]) -> bool:
        """Whether a file of FFV1 that has checksums has a wrong one here: the decoder hides that with older pixels."""
        if self._stream.codec_context.codec.canonical_name != "ffv1":
            return False
        matches = ffv1_checksums_match(bytes(packet))
        self._has_checksums |= matches
        return self._has_checksums and not matches

    def _packets(self) -> Iterator[av.Packet[av.stream.Stream] | None]:
        """The stream's packets; last an empty one or ``None``, either of which flushes the decoder.

        All streams are read, though one is kept: where the last of them ends tells whether the file was cut.
        """
        failures = 0
        while True:
            try:
                for packet in self._container.demux():
                    failures = 0
                    if packet.pts is not None:
                        self._end = max(self._end, (packet.pts + (packet.duration or 0)) * packet.time_base)
                    if packet.stream is self._stream:
                        yield packet
                return
            except av.FFmpegError as exc:
                self._bad_packets += 1
                self._refuse("a stretch that cannot be read", exc)
                failures += 1
                if failures > _MOST_FAILURES_IN_A_ROW:
                    yield None
                    return

    def _refuse_a_change(self) -> None:
        """What ends because it was cut, or replaced, while it was read has not ended."""
        size = size_of(self._url)
        damaged = self._bad_packets or self._bad_frames or self._indexed > self._read
        cut = size is not None and self._size is not None and size < self._size
        if cut or (damaged and size != self._size):
            now = "is gone" if size is None else f"had {self._size} bytes, and has {size}"
            raise SourceNotFound(
                f"{self._url} changed while it was read: it {now}", hint="bring it back, or its drive, and run again"
            )

    def _refuse(self, what: str, exc: av.FFmpegError | None = None) -> None:
        if self._strict:
            self._refuse_a_change()
            raise DecodeFailed(
                f"{self._url} has {what}", hint="without --strict what can be decoded is delivered"
            ) from exc

    def _account(self, delivered: int) -> str | None:
        reasons = []
        damage = max(self._bad_packets, self._bad_frames)  # a bad packet mostly shows up as a bad frame, too
        if damage:
            reasons.append("1 damaged packet" if damage == 1 else f"{damage} damaged packets")
        unread = self._indexed - self._read
        if unread > 0:
            reasons.append(f"{unread} packets cut off" if unread > 1 else "1 packet cut off")
        if self._stream.codec_context.codec.canonical_name in _ONE_PICTURE_A_PACKET:
            due = self._due // 2 if self._interlaced else self._due  # a packet may be one of two fields
            skipped = due - self._shown - damage
            if skipped > 0:
                reasons.append(f"{skipped} frames that the decoder skipped" if skipped > 1 else "1 skipped frame")
        _, end = self._stated_span()
        slack = max(Fraction(1, 5), 3 / self._info.frame_rate)
        if self._container.format.name.startswith(_STATE_THEIR_LENGTH) and self._end < end - slack:
            reasons.append(f"the file ends at {float(self._end):.2f} s of {float(end):.2f} s")
        if not reasons:
            return None
        count = self._stream.frames
        of = f" of {count}" if count >= delivered else ""
        return f"{', '.join(reasons)}; {delivered}{of} frames were decodable"


def ffv1_checksums_match(data: bytes) -> bool:
    """Whether a frame of FFV1 consists of slices with right checksums (RFC 9043, section 4.9).

    A slice ends with its size in 3 bytes, a status of 1, and 4 that make the CRC-32 over the whole slice 0. It is the
    CRC of zlib with bits in the other order, and without its inversions.
    """
    end = len(data)
    while end >= 8:
        begin = end - 8 - int.from_bytes(data[end - 8 : end - 5], "big")
        if begin < 0 or zlib.crc32(data[begin:end].translate(_BITS_REVERSED), 0xFFFFFFFF) != 0xFFFFFFFF:
            return False
        end = begin
    return end == 0


def indexed_packets(container: av.container.InputContainer, stream: av.stream.Stream) -> int:
    """How many packets the container's index says that the stream has; 0 if it has no index or an open one."""
    if not container.format.name.startswith(_INDEX_THEIR_PACKETS):
        return 0
    return sum(entry.size > 0 for entry in stream.index_entries)


def open_container(url: str) -> av.container.InputContainer:
    """``av.open`` for reading, its errors translated.

    What has no ``://`` or is there under that name is a file, whatever colons it has: ``take:3.mov`` is not read by a
    protocol ``take``.

    Raises:
        SourceNotFound: There is no such file or address, or it may not be read.
        DecodeFailed: It is empty, or not a media file.
    """
    if not url:
        raise SourceNotFound("no file is named: the name is empty", hint="is a variable of the shell's not set?")
    local = "://" not in url or os.path.exists(url)  # noqa: PTH110 - Path.exists raises on names that are too long
    try:
        if local and Path(url).is_dir():
            raise SourceNotFound(
                f"{url} is a folder", hint="give a file, or an image sequence such as folder/plate.####.png"
            )
        if local and Path(url).stat().st_size == 0:
            raise DecodeFailed(f"{url} is empty", hint="the recording or the download did not finish")
        # A file's own name is never a pattern here: numbered pictures are told before.
        return av.open(f"file:{url}" if local else url, options={"pattern_type": "none"})
    except (FileNotFoundError, NotADirectoryError) as exc:
        hint = "check the path; names are case-sensitive"
        if "#" in Path(url).name:
            hint = "numbered pictures can be PNG, JPEG, TIFF, BMP or WebP"
        raise SourceNotFound(f"there is no file {url}", hint=hint) from exc
    except PermissionError as exc:
        raise SourceNotFound(f"{url} cannot be read: permission denied", hint="check the file's permissions") from exc
    except av.InvalidDataError as exc:
        hint = _why_unreadable(Path(url)) if local else "is there a media file or stream at that address?"
        raise DecodeFailed(f"{url} cannot be decoded", hint=hint) from exc
    except (av.FFmpegError, OSError, ValueError) as exc:
        hint = "check the path" if local else "check the address, and that its server can be reached from here"
        if isinstance(exc, av.error.ProtocolNotFoundError):
            hint = "addresses begin with http://, https://, rtsp:// or another protocol that FFmpeg has"
        raise SourceNotFound(f"{url} cannot be opened: {getattr(exc, 'strerror', None) or exc}", hint=hint) from exc


def size_of(url: str) -> int | None:
    """Bytes of a file; ``None`` of an address, and of what is not there."""
    try:
        return Path(url).stat().st_size
    except (OSError, ValueError):
        return None


def _why_unreadable(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] in (b"ftyp", b"mdat", b"moov"):
        return "its index (the moov atom) is missing, so the recording or download stopped early; fetch it again"
    if head[:4] in (b"RIFF", b"\x1aE\xdf\xa3", b"FLV\x01", b"\x89PNG"):
        return "it is cut or damaged at its beginning; fetch it again"
    return "it is not a media file that FFmpeg knows, whatever its name says"


def _presentation_time(frame: av.VideoFrame, previous: int | None, info: StreamInfo) -> int:
    """The frame's own pts; where it has none, or one that would run backwards, the one that comes next."""
    for stamp in (frame.pts, frame.dts):
        if stamp is not None and (previous is None or stamp > previous):
            return stamp
    if previous is None:
        return 0
    step = frame.duration or round(1 / (info.frame_rate * info.time_base))
    return previous + max(1, step)


def _quarter_turns(frame: av.VideoFrame) -> int:
    """How often the picture is to be turned by 90° counter-clockwise to stand upright; other angles are left alone.

    ``frame.side_data`` would tell mirroring too, and fails on kinds of side data that PyAV has no name for (EXIF).
    """
    return round(frame.rotation / 90) % 4
