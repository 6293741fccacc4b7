"""The sound that goes along with plates: packets copied where the container takes the codec, else re-encoded."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Self

import av

from streammatte.media.file_source import open_container

# What each container takes and what opens its files plays; everything else is re-encoded to the first listed here.
_TAKEN = {
    "mov": ("aac", "alac", "mp3", "ac3", "eac3"),
    "mp4": ("aac", "alac", "mp3", "ac3", "eac3", "opus", "flac"),
    "webm": ("opus", "vorbis"),
}
_ENCODER = {"mov": "aac", "mp4": "aac", "webm": "libopus"}
_ENCODER_RATES = {"aac": (32000, 44100, 48000, 88200, 96000), "libopus": (48000,)}


class AudioTrack:
    """The first audio stream of a file, advanced alongside the video so that memory stays constant.

    Use :meth:`open`. ``says`` is one phrase on what is done with it.
    """

    def __init__(self, source: av.container.InputContainer, stream: av.AudioStream, out: av.container.OutputContainer):
        name = out.format.name
        codec = stream.codec_context.name
        self._source = source
        self._stream = stream
        self._out = out
        self._copy = codec in _TAKEN[name] or (name == "mov" and codec.startswith("pcm_"))
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
            self._out.mux(packet)

    def finish(self, shift: Fraction) -> None:
        """Mux the rest."""
        self._shift = shift
        if self._waiting is not None:
            self._out.mux(self._waiting)
            self._waiting = None
        for packet in self._packets:
            self._out.mux(packet)

    def close(self) -> None:
        self._source.close()

    def _outgoing(self) -> Iterator[av.Packet[av.AudioStream]]:
        return self._copied() if self._copy else self._encoded()

    def _incoming(self) -> Iterator[av.Packet[av.AudioStream]]:
        """Packets up to where the file ends or is cut; what is lost is for the video's source to tell."""
        try:
            yield from self._source.demux(self._stream)
        except av.FFmpegError:
            return

    def _copied(self) -> Iterator[av.Packet[av.AudioStream]]:
        for packet in self._incoming():
            if packet.dts is None or packet.is_corrupt:
                continue
            if self._shift and packet.time_base:
                ticks = round(self._shift / packet.time_base)
                packet.dts += ticks
                packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.stream = self._target
            yield packet

    def _encoded(self) -> Iterator[av.Packet[av.AudioStream]]:
        context = self._target.codec_context
        resampler = av.AudioResampler(
            format=context.format, layout=context.layout, rate=context.rate, frame_size=context.frame_size or None
        )
        for packet in self._incoming():
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                continue  # a damaged packet leaves a gap, and the times of what follows stay right
            for frame in decoded:
                if self._shift and frame.time_base and frame.pts is not None:
                    frame.pts += round(self._shift / frame.time_base)
                for resampled in resampler.resample(frame):
                    yield from self._target.encode(resampled)
        for resampled in resampler.resample(None):
            yield from self._target.encode(resampled)
        yield from self._target.encode(None)


def _starts(packet: av.Packet[av.AudioStream]) -> Fraction:
    stamp = packet.dts if packet.dts is not None else packet.pts or 0
    return stamp * packet.time_base


def _spoken(codec: str) -> str:
    """A codec's name as people write it."""
    if codec.startswith("pcm_"):
        return "PCM"
    return {"opus": "Opus", "libopus": "Opus", "vorbis": "Vorbis", "eac3": "E-AC-3"}.get(codec, codec.upper())
