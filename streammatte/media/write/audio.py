"""The sound of the source: packets are copied if the container supports the codec, else re-encoded."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from streammatte.media.containers import indexed_packets, only, open_container
from streammatte.media.read.damage import LONGEST_GAP
from streammatte.media.read.span import can_be_sought
from streammatte.media.write.muxing import Lane, carry_tags

Span = tuple[Fraction, Fraction | None] | None  # begin and end, in seconds; see StreamInfo.span

_MOV_PCM = (
    *("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be"),
    *("pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_alaw", "pcm_mulaw", "pcm_u8"),
)
# Codecs that each container, and the players of its files, support; others are re-encoded.
_TAKEN = {
    "mov": ("aac", "alac", "mp3", "ac3", "eac3", *_MOV_PCM),
    "mp4": ("aac", "alac", "mp3", "ac3", "eac3", "opus", "flac"),
    "webm": ("opus", "vorbis"),
    "matroska": (
        *("aac", "alac", "mp3", "mp2", "ac3", "eac3", "dts", "opus", "vorbis", "flac"),
        *("pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_s16be", "pcm_s24be", "pcm_f32le", "pcm_f64le", "pcm_u8"),
    ),
}
_ENCODER = {"mov": "aac", "mp4": "aac", "webm": "libopus", "matroska": "flac"}
_ENCODER_RATES = {
    "aac": (32000, 44100, 48000, 88200, 96000),
    "libopus": (48000,),
    "flac": (8000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 192000),
}
_ROUNDING = Fraction(1, 500)  # seconds; two times this close are one
# Seconds of sound that a decoder is given first, so that it has settled.
_RUN_UP = Fraction(1, 2)


class AudioTrack:
    """An audio stream of a file, advanced alongside the video so that memory stays constant.

    If the source's clock jumps back, as in concatenated transport streams, the sound continues from where it was. If
    the picture is moved or cut, sound before its first frame and after its last is removed: to the sample for PCM and
    re-encoded sound. Packets of other codecs are kept whole: in MOV and MP4 from the one that the first frame cuts
    through, whose beginning an edit list hides; in WebM from the next one.

    Args:
        url: The media file.
        index: The stream's index.
        span: Begin and end of the picture in seconds of the source, if it is a part of it.

    Attributes:
        says: A phrase for people: "AAC copied".
        lost: A phrase on the damage, known after :meth:`finish`; ``None`` if nothing is missing. Copied packets are
            not checked.
    """

    def __init__(self, url: str, index: int, out: av.container.OutputContainer, span: Span = None) -> None:
        self._incoming = _Incoming(url, index, span)
        stream, name = self._incoming.stream, out.format.name
        codec = stream.codec_context.codec.canonical_name
        copies = codec in _TAKEN[name]
        self._target: av.AudioStream
        if copies:
            self._target = out.add_stream_from_template(stream)
            self.says = f"{_spoken(codec)} copied"
        else:
            encoder = _ENCODER[name]
            rate = stream.rate if stream.rate in _ENCODER_RATES[encoder] else 48000
            layout = "stereo" if stream.codec_context.channels > 1 else "mono"
            target = out.add_stream(encoder, rate=rate, layout=layout)
            assert isinstance(target, av.AudioStream)
            target.bit_rate = 160_000 if layout == "stereo" else 96_000
            self._target = target
            self.says = f"{_spoken(codec)} re-encoded as {_spoken(encoder)}"
        carry_tags(stream, self._target, name)
        self.lost: str | None = None
        self._hides_what_is_early = name in ("mov", "mp4")  # by an edit list
        self._sample_size = _size_of_a_sample(codec) * stream.codec_context.channels
        self._clock = _SampleClock()
        self._lane = Lane(self._copied() if copies else self._encoded(), out)

    def advance(self, until: Fraction, shift: Fraction) -> None:
        """Mux the sound before ``until``, in seconds of the output; ``shift`` is added to the source's times."""
        self._incoming.shift = shift
        self._lane.advance(until)

    def finish(self, shift: Fraction) -> None:
        """Mux the rest."""
        self._incoming.shift = shift
        self._lane.finish()
        missing = self._incoming.missing(self._lane.refused)
        if missing:
            self.lost = "1 packet of sound" if missing == 1 else f"{missing} packets of sound"

    def close(self) -> None:
        self._incoming.container.close()

    def _copied(self) -> Iterator[av.Packet[av.AudioStream]]:
        last: int | None = None
        for whole in self._incoming.packets():
            packet = self._within(whole) if self._incoming.is_cut and whole.size else whole
            if packet is None or packet.dts is None:
                continue
            if last is not None and packet.dts <= last:  # times of an overlap shorter than a packet
                packet.dts = last + 1
                packet.pts = max(packet.dts, packet.pts or 0)
            last = packet.dts
            packet.stream = self._target
            yield packet

    def _within(self, packet: av.Packet[av.AudioStream]) -> av.Packet[av.AudioStream] | None:
        """The part of a packet within the picture's time."""
        if packet.pts is None:
            return None
        start, duration = packet.pts * packet.time_base, (packet.duration or 0) * packet.time_base
        if self._sample_size:
            data, size, rate = bytes(packet), self._sample_size, self._incoming.stream.rate
            place = self._clock.place(start, len(data) // size, rate)
            samples = self._kept(place, len(data) // size, rate)
            if not samples:
                return None
            piece: av.Packet[Any] = av.Packet(data[samples.start * size : samples.stop * size])
            piece.time_base = Fraction(1, rate)
            piece.pts = piece.dts = place + samples.start
            piece.duration = len(samples)
            return piece
        length = self._incoming.length
        if length is not None and start >= length:
            return None
        # A decoder needs the packet before to decode the next one fully.
        early = start + 2 * duration <= 0 if self._hides_what_is_early else start < 0
        return None if early else packet

    def _kept(self, start: int, count: int, rate: int) -> range:
        """Which of ``count`` samples, the first of them at ``start``, belong to the picture's time."""
        length = self._incoming.length
        end = count if length is None else round(length * rate) - start
        return range(max(0, -start), max(0, min(count, end)))

    def _encoded(self) -> Iterator[av.Packet[av.AudioStream]]:
        for frame in self._in_frames_of_the_encoder():
            yield from self._target.encode(frame)
        yield from self._target.encode(None)

    def _in_frames_of_the_encoder(self) -> Iterator[av.AudioFrame]:
        cut = self._resampler(frame_size=self._target.codec_context.frame_size or None)
        for frame in self._converted():
            yield from cut.resample(frame)
        yield from cut.resample(None)

    def _resampler(self, frame_size: int | None = None) -> av.AudioResampler:
        context = self._target.codec_context
        return av.AudioResampler(context.format, context.layout, context.rate, frame_size)

    def _converted(self) -> Iterator[av.AudioFrame]:
        """Decoded sound in the encoder's format, even if its own changes midway, as in broadcasts."""
        convert: av.AudioResampler | None = None
        before: tuple[str, str, int] | None = None
        for frame in self._decoded():
            kind = (frame.format.name, frame.layout.name, frame.sample_rate)
            if convert is not None and kind != before:
                yield from convert.resample(None)
            if convert is None or kind != before:
                convert, before = self._resampler(), kind
            yield from convert.resample(frame)
        if convert is not None:
            yield from convert.resample(None)

    def _decoded(self) -> Iterator[av.AudioFrame]:
        for packet in self._incoming.packets():
            if self._incoming.is_cut and packet.pts is not None and packet.pts * packet.time_base < -_RUN_UP:
                continue
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._incoming.damaged += 1  # leaves a gap; later times stay right
                continue
            for frame in frames:
                piece = self._piece(frame) if self._incoming.is_cut and frame.pts is not None else frame
                if piece is not None:
                    yield piece

    def _piece(self, frame: av.AudioFrame) -> av.AudioFrame | None:
        """The part of decoded sound within the picture's time, counted in samples."""
        rate = frame.sample_rate
        seconds = (frame.pts or 0) * (frame.time_base or Fraction(1, rate))
        start = self._clock.place(seconds, frame.samples, rate)
        samples = self._kept(start, frame.samples, rate)
        if not samples:
            return None
        if len(samples) < frame.samples:
            each = 1 if frame.format.is_planar else frame.layout.nb_channels
            data: Any = np.ascontiguousarray(frame.to_ndarray()[:, samples.start * each : samples.stop * each])
            frame = av.AudioFrame.from_ndarray(data, format=frame.format.name, layout=frame.layout.name)
            frame.sample_rate = rate
        frame.pts, frame.time_base = start + samples.start, Fraction(1, rate)
        return frame


class _Incoming:
    """The packets of an audio stream, at their times in the output.

    Attributes:
        shift: Seconds to add to the source's times.
        length: Seconds of the picture, if it ends before its source.
        damaged: How many packets could not be read or decoded.
    """

    def __init__(self, url: str, index: int, span: Span) -> None:
        self.container = open_container(url)
        stream = self.container.streams[index]
        assert isinstance(stream, av.AudioStream)
        only(self.container, stream)
        self.stream = stream
        self.shift = Fraction(0)
        self.length = None if span is None or span[1] is None else span[1] - span[0]
        self.damaged = 0
        self._is_part = span is not None
        self._indexed = 0 if self._is_part else indexed_packets(self.container, stream)
        self._read = 0
        if span is not None and stream.time_base:
            before = math.floor((span[0] - _RUN_UP) / stream.time_base)
            exact = stream.time_base <= Fraction(2, stream.rate)  # otherwise samples are counted from the first
            if exact and before > (stream.start_time or 0) and can_be_sought(url, index, before):
                self.container.seek(before, stream=stream)

    @property
    def is_cut(self) -> bool:
        """Whether the picture is moved or cut."""
        return self._is_part or self.shift != 0

    def missing(self, refused: int) -> int:
        """How many packets are not in the output, ``refused`` by the muxer included."""
        return max(self.damaged + refused, self._indexed - self._read)

    def packets(self) -> Iterator[av.Packet[av.AudioStream]]:
        """Packets up to the end of the file or the span; the last one is empty."""
        due: int | None = None
        jump = 0
        try:
            for packet in self.container.demux(self.stream):
                if not packet.size:
                    yield packet
                    continue
                self._read += 1
                if packet.is_corrupt:
                    self.damaged += 1
                    continue
                if packet.dts is None:
                    packet.dts = packet.pts if packet.pts is not None else due
                if packet.dts is not None:
                    shift = round(self.shift / packet.time_base)
                    if due is not None and (packet.dts + shift + jump - due) * packet.time_base > LONGEST_GAP:
                        self.damaged += 1
                        continue
                    if due is not None and packet.dts + shift + jump < due - max(1, packet.duration or 0):
                        jump = due - packet.dts - shift
                    packet.dts += shift + jump
                    packet.pts = packet.dts if packet.pts is None else packet.pts + shift + jump
                    due = packet.dts + max(1, packet.duration or 0)
                    if self.length is not None and packet.dts * packet.time_base > self.length + _RUN_UP:
                        return
                yield packet
        except av.FFmpegError:
            self.damaged += 1


class _SampleClock:
    """Counts samples, so that rounded times, such as Matroska's milliseconds, do not move them."""

    def __init__(self) -> None:
        self._due: int | None = None

    def place(self, seconds: Fraction, count: int, rate: int) -> int:
        """The number of the first of ``count`` samples with that time."""
        start = round(seconds * rate)
        if self._due is not None and abs(start - self._due) <= rate * _ROUNDING:
            start = self._due
        self._due = start + count
        return start


def open_sounds(url: str, out: av.container.OutputContainer, span: Span = None) -> list[AudioTrack]:
    """Add every audio stream of ``url`` that FFmpeg knows to ``out``, in their order."""
    with open_container(url) as container:
        known = [stream.index for stream in container.streams.audio if stream.codec_context is not None]
    return [AudioTrack(url, index, out, span) for index in known]


def _size_of_a_sample(codec: str) -> int:
    """Bytes of one sample of one channel; 0 for anything but PCM."""
    if not codec.startswith("pcm_"):
        return 0
    bits = re.search(r"\d+", codec)
    return int(bits[0]) // 8 if bits else 1  # A-law and µ-law


def _spoken(codec: str) -> str:
    """A codec's name as people write it."""
    if codec.startswith("pcm_"):
        return "PCM"
    return {"opus": "Opus", "libopus": "Opus", "vorbis": "Vorbis", "eac3": "E-AC-3"}.get(codec, codec.upper())
