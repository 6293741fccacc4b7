"""From a file to decoded frames, whatever is damaged."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from fractions import Fraction
from heapq import heappop, heappush

import av

from streammatte.errors import DecodeFailed, NoVideoStream
from streammatte.media.addresses import PIPE, without_secrets
from streammatte.media.containers import RAW_HINT, open_container
from streammatte.media.nvidia import nvdec
from streammatte.media.pipes import PipeReader, open_pipe
from streammatte.media.read.alpha import decoder_for
from streammatte.media.read.choosing import is_attached, picture_of
from streammatte.media.read.damage import Ledger

_MOST_FAILURES_IN_A_ROW = 16


class Decoding:
    """An open file whose best video stream is being decoded (:func:`~streammatte.media.read.choosing.picture_of`).

    Args:
        wanted: First and last pts wanted, if not all; the others are decoded, too, but not missed.
        key: pts of a key frame to begin at.
        on_gpu: Decode on NVDEC what it can decode.

    Attributes:
        stated_size: Width and height, as the file states them.
        bytes_read: Size of the stream's packets so far.
        on_gpu: Whether NVDEC decodes what it can.
        frames: Every frame that can be decoded, in the order they are shown.
        ledger: What was due and what came.
    """

    def __init__(
        self,
        url: str,
        *,
        strict: bool,
        wanted: tuple[int, int] | None = None,
        key: int | None = None,
        on_gpu: bool = False,
    ) -> None:
        self.closed = False
        self._url = url
        self.on_gpu = on_gpu
        self._pipe = PipeReader() if url == PIPE else None
        hwaccel = nvdec() if on_gpu else None
        self.container = open_container(url, hwaccel) if self._pipe is None else open_pipe(self._pipe)
        try:
            self.stream = stream = _picture_in(self.container, url)
            self.stated_size = stream.codec_context.width, stream.codec_context.height
            if key is not None:
                self.container.seek(key, stream=stream)
            self._decoder = decoder_for(stream)
            self._decoder.thread_type = "NONE" if self._decoder.is_hwaccel else "AUTO"  # there, threads only wait
            self.ledger = Ledger(url, self.container, stream, strict=strict, span=wanted)
            self.bytes_read = 0
            self._times = _TimesOfDecoding()
            self.frames = self._frames()
        except BaseException:
            self.container.close()
            raise

    def stop(self) -> None:
        """Stop waiting for a pipe; from any thread."""
        if self._pipe is not None:
            self._pipe.stop()

    def _check_pipe(self) -> None:
        if self._pipe is not None:
            self._pipe.check()

    def close(self) -> None:
        """Release the file. Frames that were given stay valid."""
        self.closed = True
        self.container.close()

    def stated_span(self) -> tuple[Fraction, Fraction]:
        """When the file begins and ends, in seconds, as it states."""
        begin = Fraction(max(0, self.container.start_time or 0), av.time_base)
        length = Fraction(self.container.duration or 0, av.time_base)
        # Matroska's duration counts from 0, not from its first frame.
        from_zero = self.container.format.name.startswith("matroska")
        return begin, length if from_zero else begin + length

    def _frames(self) -> Generator[av.VideoFrame]:
        """Every frame that can be decoded; the ledger counts the others."""
        for packet in self._whole_packets():
            try:
                frames = self._decoder.decode(packet)
            except av.FFmpegError as exc:
                self.ledger.damaged("a packet that cannot be decoded", exc)
                self._times.next()
                continue
            for frame in frames:
                self.ledger.came(frame)
                if (pts := self._times.next()) is not None:
                    frame.pts = pts
                yield frame
        after = self.ledger.end_is_missing_after()
        if after is not None:
            for frame in self._decode_again(after):
                self.ledger.caught_up()
                yield frame

    def _decode_again(self, after: int) -> Iterator[av.VideoFrame]:
        """The last frames, by one thread: with several, an error at the end discards what the others hold."""
        with open_container(self._url) as container:
            stream = container.streams[self.stream.index]
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
                return  # it cannot seek, or is cut here: counted already

    def _whole_packets(self) -> Iterator[av.Packet[av.stream.Stream] | None]:
        """The packets except a last one that was cut off: its error would discard what the decoder still holds."""
        damaged: av.Packet[av.stream.Stream] | None = None
        for packet in self._packets():
            if packet is not None and packet.size:
                self.ledger.expect(packet)
                self._times.add(packet)
                self.bytes_read += packet.size
                if damaged is not None:
                    yield damaged
            damaged = None
            if packet is not None and packet.is_corrupt:
                self.ledger.damaged("a damaged packet")
                damaged = packet
            elif packet is not None and packet.size and self.ledger.breaks_its_checksum(packet):
                self.ledger.damaged("a packet whose checksum does not match")
                yield packet
            else:
                yield packet

    def _packets(self) -> Iterator[av.Packet[av.stream.Stream] | None]:
        """The stream's packets; last an empty one or ``None``, either of which flushes the decoder.

        Packets of all streams are read, since the end of the last one tells whether the file was cut.
        """
        failures = 0
        while True:
            try:
                for packet in self.container.demux():
                    failures = 0
                    self.ledger.reaches(packet)
                    if packet.stream is self.stream:
                        yield packet
                    if self.closed:  # FFmpeg would read from freed memory
                        raise DecodeFailed(
                            f"{without_secrets(self._url)} was closed while it was being read",
                            hint="read all frames before leaving the with block",
                        )
                self._check_pipe()
                return
            except av.FFmpegError as exc:
                self._check_pipe()
                self.ledger.damaged("a stretch that cannot be read", exc)
                failures += 1
                if failures > _MOST_FAILURES_IN_A_ROW:
                    yield None
                    return


class _TimesOfDecoding:
    """When frames are shown, if packets only say when they are decoded: at those times, sorted."""

    def __init__(self) -> None:
        self._matter: bool | None = None
        self._stamps: list[int] = []

    def add(self, packet: av.Packet[av.stream.Stream]) -> None:
        """Note a packet that is about to be decoded; the first one decides for all."""
        if self._matter is None:
            self._matter = packet.pts is None or packet.stream.container.format.name == "avi"
        stamp = packet.dts if packet.pts is None else packet.pts
        if self._matter and stamp is not None:
            heappush(self._stamps, stamp)

    def next(self) -> int | None:
        """The next frame's; ``None`` if it has its own."""
        return heappop(self._stamps) if self._stamps else None


def _picture_in(container: av.container.InputContainer, url: str) -> av.VideoStream:
    stream = picture_of(container)
    name = without_secrets(url)
    if stream is None:
        tiles = [each for each in container.streams.video if not is_attached(each)]
        if tiles:
            raise DecodeFailed(
                f"{name} is one picture in {len(tiles)} tiles, of which FFmpeg reads only one",
                hint="name it .heic or .avif, whichever it is, or convert it to PNG",
            )
        raise NoVideoStream(
            f"{name} has no video stream",
            hint=RAW_HINT if url == PIPE else "it holds only sound or data; give a file with pictures",
        )
    if stream.codec_context is None:
        raise DecodeFailed(f"FFmpeg does not know the codec of {name}", hint="the file may be damaged; fetch it again")
    return stream
