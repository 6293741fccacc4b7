"""The sound that goes along with plates: packets copied where the container takes the codec, else re-encoded."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Self

import av

from streammatte.media.file_source import indexed_packets, open_container

_MOV_PCM = (
    *("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be"),
    *("pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_alaw", "pcm_mulaw", "pcm_u8"),
)
# What each container takes and what opens its files plays; everything else is re-encoded to the first listed here.
_TAKEN = {
    "mov": ("aac", "alac", "mp3", "ac3", "eac3", *_MOV_PCM),
    "mp4": ("aac", "alac", "mp3", "ac3", "eac3", "opus", "flac"),
    "webm": ("opus", "vorbis"),
}
_ENCODER = {"mov": "aac", "mp4": "aac", "webm": "libopus"}
_ENCODER_RATES = {"aac": (32000, 44100, 48000, 88200, 96000), "libopus": (48000,)}


class AudioTrack:
    """The first audio stream of a file, advanced alongside the video so that memory stays constant.

    Use :meth:`open`. Where the source's clock jumps back, as in transport streams put end to end, the sound goes on
    from where it was. Where times are shifted, what would begin before 0 is left out: the files would hide it, or not
    take it, and nothing else may move if sound and picture are to stay in step.

    Attributes:
        says: One phrase on what is done with it.
        lost: One phrase on what could not be read or decoded, known after :meth:`finish`; ``None`` if nothing is
            missing. Damage inside packets that are copied is not looked for.
    """

    def __init__(self, source: av.container.InputContainer, stream: av.AudioStream, out: av.container.OutputContainer):
        name = out.format.name
        codec = stream.codec_context.codec.canonical_name
        self._source = source
        self._stream = stream
        self._out = out
        self._copy = codec in _TAKEN[name]
        self._target: av.AudioStream
        if self._copy:
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
        if stream.language:
            self._target.metadata["language"] = stream.language
        self.lost: str | None = None
        self._indexed = indexed_packets(source, stream)
        self._read = 0
        self._damaged = 0
        self._packets = self._outgoing()
        self._waiting: av.Packet[av.AudioStream] | None = None
        self._shift = Fraction(0)

    @classmethod
    def open(cls, url: str, out: av.container.OutputContainer) -> Self | None:
        """Add the first audio stream of ``url`` to ``out``; ``None`` if it has none that FFmpeg knows."""
        source = open_container(url)
        try:
            for stream in source.streams.audio:
                if stream.codec_context is not None:
                    return cls(source, stream, out)
        except BaseException:
            source.close()
            raise
        source.close()
        return None

    def advance(self, until: Fraction, shift: Fraction) -> None:
        """Mux what sounds before ``until``, in seconds of the output; ``shift`` is added to the source's times."""
        self._shift = shift
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = packet
            if packet is None or _starts(packet) > until:
                return
            self._waiting = None
            self._mux(packet)

    def finish(self, shift: Fraction) -> None:
        """Mux the rest."""
        self._shift = shift
        if self._waiting is not None:
            self._mux(self._waiting)
            self._waiting = None
        for packet in self._packets:
            self._mux(packet)
        missing = max(self._damaged, self._indexed - self._read)
        if missing:
            self.lost = "1 packet of sound" if missing == 1 else f"{missing} packets of sound"

    def close(self) -> None:
        self._source.close()

    def _mux(self, packet: av.Packet[av.AudioStream]) -> None:
        try:
            self._out.mux(packet)
        except av.InvalidDataError:  # what the muxer takes a packet apart by, as AAC's of transport streams, is damaged
            self._damaged += 1

    def _outgoing(self) -> Iterator[av.Packet[av.AudioStream]]:
        return self._copied() if self._copy else self._encoded()

    def _incoming(self) -> Iterator[av.Packet[av.AudioStream]]:
        """Packets up to where the file ends or is cut, at their times in the output; last an empty one."""
        due: int | None = None
        jump = 0
        try:
            for packet in self._source.demux(self._stream):
                if not packet.size:
                    yield packet
                    continue
                self._read += 1
                if packet.is_corrupt:
                    self._damaged += 1
                    continue
                if packet.dts is None:
                    packet.dts = packet.pts if packet.pts is not None else due
                if packet.dts is not None:
                    shift = round(self._shift / packet.time_base)
                    if due is not None and packet.dts + shift + jump < due - max(1, packet.duration or 0):
                        jump = due - packet.dts - shift
                    packet.dts += shift + jump
                    packet.pts = packet.dts if packet.pts is None else packet.pts + shift + jump
                    due = packet.dts + max(1, packet.duration or 0)
                    if self._shift and packet.dts < 0:
                        continue
                yield packet
        except av.FFmpegError:
            self._damaged += 1

    def _copied(self) -> Iterator[av.Packet[av.AudioStream]]:
        last: int | None = None
        for packet in self._incoming():
            if packet.dts is None:
                continue
            if last is not None and packet.dts <= last:  # times of an overlap shorter than a packet
                packet.dts = last + 1
                packet.pts = max(packet.dts, packet.pts or 0)
            last = packet.dts
            packet.stream = self._target
            yield packet

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
        """Decoded sound in the encoder's format, also where its own changes midway, as broadcasts do."""
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
        for packet in self._incoming():
            try:
                yield from packet.decode()
            except av.FFmpegError:
                self._damaged += 1  # leaves a gap, and the times of what follows stay right


def _starts(packet: av.Packet[av.AudioStream]) -> Fraction:
    stamp = packet.dts if packet.dts is not None else packet.pts or 0
    return stamp * packet.time_base


def _spoken(codec: str) -> str:
    """A codec's name as people write it."""
    if codec.startswith("pcm_"):
        return "PCM"
    return {"opus": "Opus", "libopus": "Opus", "vorbis": "Vorbis", "eac3": "E-AC-3"}.get(codec, codec.upper())
