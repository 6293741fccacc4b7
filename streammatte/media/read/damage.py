"""Which frames of a stream were due, which came, and which were damaged."""

from __future__ import annotations

import zlib
from fractions import Fraction

import av

from streammatte.errors import DecodeFailed, SourceNotFound
from streammatte.media.addresses import PIPE, without_secrets
from streammatte.media.containers import indexed_packets, size_of
from streammatte.media.remote import is_remote

# Demuxers whose header states how long the file should be, so that a cut one shows.
_STATE_THEIR_LENGTH = ("mov", "matroska", "flv")
# Codecs with one picture a packet. Others have packets that show nothing: VP8's references, MPEG-4's N-VOPs.
ONE_PICTURE_A_PACKET = ("h264", "hevc", "vp9", "av1", "mpeg2video", "prores", "dnxhd", "mjpeg", "ffv1")
# Seconds from one packet to the next; a later time is damaged, and FFmpeg's MOV muxer aborts the process over it.
LONGEST_GAP = 6 * 3600
_BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Ledger:
    """Keeps account of a stream while it is read; ``span`` are the first and last pts wanted, if not all."""

    def __init__(
        self,
        url: str,
        container: av.container.InputContainer,
        stream: av.VideoStream,
        *,
        strict: bool,
        span: tuple[int, int] | None = None,
    ) -> None:
        self._url = url
        self._strict = strict
        self._stream = stream
        self._whole = span is None
        self._size = size_of(url)
        self._codec = stream.codec_context.codec.canonical_name
        self._bad_packets = 0
        self._bad_frames = 0
        self._unread = 0 if span else indexed_packets(container, stream)
        self._count = _Count(span)
        self._has_checksums = False
        self._end = Fraction(0)

    def refuse_a_change(self) -> None:
        """Raise ``SourceNotFound`` if the file was cut or replaced: it has changed, not ended."""
        size = size_of(self._url)
        damaged = self._bad_packets or self._bad_frames or self._unread > 0
        cut = size is not None and self._size is not None and size < self._size
        if cut or (damaged and size != self._size):
            now = "is gone" if size is None else f"had {self._size} bytes, now {size}"
            raise SourceNotFound(
                f"{without_secrets(self._url)} changed while being read: it {now}",
                hint="restore it, or reconnect its drive, and run again",
            )

    def expect(self, packet: av.Packet[av.stream.Stream]) -> None:
        """Count frames that are due: not before the first key frame, nor those an edit list discards."""
        self._unread -= 1
        self._count.expect(packet)

    def reaches(self, packet: av.Packet[av.stream.Stream]) -> None:
        """Note how far the file reaches, from a packet of any stream."""
        if packet.pts is not None:
            self._end = max(self._end, (packet.pts + (packet.duration or 0)) * packet.time_base)

    def came(self, frame: av.VideoFrame) -> None:
        """Count a decoded frame."""
        if frame.is_corrupt:
            self._bad_frames += 1
            self._refuse("a damaged frame")
        self._count.came(frame)

    def damaged(self, what: str, exc: av.FFmpegError | None = None) -> None:
        """Count a damaged packet or stretch, or raise ``DecodeFailed`` if strict."""
        self._bad_packets += 1
        self._refuse(what, exc)

    def breaks_its_checksum(self, packet: av.Packet[av.stream.Stream]) -> bool:
        """Whether FFV1 with checksums has a wrong one here, which the decoder would hide with older pixels."""
        if self._codec != "ffv1":
            return False
        matches = ffv1_checksums_match(bytes(packet))
        self._has_checksums |= matches
        return self._has_checksums and not matches

    def end_is_missing_after(self) -> int | None:
        """pts of the last frame that came, if more were due."""
        read_once = ("://" in self._url and not is_remote(self._url)) or self._url == PIPE
        return None if self._strict or read_once else self._count.end_is_missing_after()

    def caught_up(self) -> None:
        """Count a frame that could be decoded after all."""
        self._count.shown += 1

    def account(self, delivered: int, rate: Fraction, end: Fraction) -> str | None:
        """One line on what is missing, if anything is. ``end``: the stated end, in seconds."""
        reasons = []
        damage = max(self._bad_packets, self._bad_frames)  # a bad packet mostly shows as a bad frame, too
        if damage:
            reasons.append("1 damaged packet" if damage == 1 else f"{damage} damaged packets")
        if self._unread > 0:
            reasons.append(f"{self._unread} packets cut off" if self._unread > 1 else "1 packet cut off")
        if self._codec in ONE_PICTURE_A_PACKET:
            skipped = self._count.missing() - damage
            if skipped > 0:
                reasons.append(f"{skipped} skipped frames" if skipped > 1 else "1 skipped frame")
        slack = max(Fraction(1, 5), 3 / rate)
        states = self._stream.container.format.name.startswith(_STATE_THEIR_LENGTH)
        if states and self._whole and self._end < end - slack:
            reasons.append(f"the file ends at {float(self._end):.2f} s of {float(end):.2f} s")
        if not reasons:
            return None
        count = self._stream.frames
        of = f" of {count}" if count >= delivered and self._whole else ""
        return f"{', '.join(reasons)}; {delivered}{of} frames were decodable"

    def _refuse(self, what: str, exc: av.FFmpegError | None = None) -> None:
        if self._strict:
            self.refuse_a_change()
            raise DecodeFailed(
                f"{without_secrets(self._url)} has {what}", hint="leave out --strict to get what can be decoded"
            ) from exc


class _Count:
    """Frames that were due and that came, from the first key frame on, within the first and last pts wanted.

    Attributes:
        shown: How many came.
    """

    def __init__(self, span: tuple[int, int] | None) -> None:
        self.shown = 0
        self._span = span
        self._due = self._last_due = self._last_shown = 0
        self._interlaced = False
        self._first_key: int | None = None

    def expect(self, packet: av.Packet[av.stream.Stream]) -> None:
        """Count what a packet shows."""
        stamp = packet.dts if packet.pts is None else packet.pts
        if self._first_key is None and packet.is_keyframe:
            self._first_key = stamp
        if stamp is not None and not packet.is_discard and self._wants(stamp):
            self._due += 1
            self._last_due = max(self._last_due, stamp)

    def came(self, frame: av.VideoFrame) -> None:
        """Count a decoded frame."""
        self._interlaced |= frame.interlaced_frame
        if self._first_key is not None and (frame.pts is None or self._wants(frame.pts)):
            self.shown += 1
            self._last_shown = max(frame.pts or 0, self._last_shown)

    def missing(self) -> int:
        """How many did not come; a packet may be one of two fields."""
        return (self._due // 2 if self._interlaced else self._due) - self.shown

    def end_is_missing_after(self) -> int | None:
        """pts of the last frame that came, if more were due."""
        return self._last_shown if self.shown and self._last_shown < self._last_due else None

    def _wants(self, stamp: int) -> bool:
        begun = self._first_key is not None and stamp >= self._first_key
        return begun and (self._span is None or self._span[0] <= stamp <= self._span[1])


def ffv1_checksums_match(data: bytes) -> bool:
    """Whether an FFV1 frame consists of slices with right checksums (RFC 9043, section 4.9).

    A slice ends with its size in 3 bytes, 1 byte of status, and 4 bytes that make the CRC-32 of the whole slice 0. It
    is zlib's CRC with bits in the opposite order and without its inversions.
    """
    end = len(data)
    while end >= 8:
        begin = end - 8 - int.from_bytes(data[end - 8 : end - 5], "big")
        if begin < 0 or zlib.crc32(data[begin:end].translate(_BITS_REVERSED), 0xFFFFFFFF) != 0xFFFFFFFF:
            return False
        end = begin
    return end == 0
