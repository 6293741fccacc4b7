"""The source's subtitles, copied if the container supports their format."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

from streammatte.media.containers import only, open_container
from streammatte.media.write.muxing import Lane, carry_tags

_TAKEN = {"mov": "mov_text", "mp4": "mov_text", "webm": "webvtt"}
# FFmpeg ends a timed text whose track seems to lag behind another, comparing ticks of different clocks; and it aborts
# if the next text begins before such an end. Fine ticks without gaps prevent both.
_TICK = Fraction(1, 1_000_000)
_NOTHING = b"\0\0"
_LONGEST_PAUSE = 1000 * 1_000_000  # ticks; MOV stores a duration in 32 bits
_SPOKEN = {"mov_text": "timed text", "subrip": "SubRip", "ass": "ASS", "webvtt": "WebVTT"}


class SubtitleTrack:
    """One subtitle stream, copied alongside the video; a subtitle across a cut is shortened.

    Args:
        url: The media file.
        index: The stream's index.
        length: Seconds from the first frame to the cut; ``None`` for all of them.
    """

    def __init__(self, url: str, index: int, out: av.container.OutputContainer, length: Fraction | None) -> None:
        self._source = open_container(url)
        self._stream = self._source.streams[index]
        only(self._source, self._stream)
        self._target = out.add_stream_from_template(self._stream)
        self._target.time_base = _TICK
        self._is_timed_text = out.format.name != "webm"
        carry_tags(self._stream, self._target, out.format.name)
        self._length = length
        self._shift = Fraction(0)
        self._lane = Lane(self._packets(), out)

    def advance(self, until: Fraction, shift: Fraction) -> None:
        """As in :class:`~streammatte.media.write.audio.AudioTrack`."""
        self._shift = shift
        self._lane.advance(until)

    def finish(self, shift: Fraction) -> None:
        """As in :class:`~streammatte.media.write.audio.AudioTrack`."""
        self._shift = shift
        self._lane.finish()

    def close(self) -> None:
        self._source.close()

    def _packets(self) -> Iterator[av.Packet[Any]]:
        """The subtitles in order; in MOV and MP4 pauses have packets of their own."""
        done = 0
        try:
            for packet in self._source.demux(self._stream):
                if packet.pts is None or not packet.size:
                    continue
                begin = round((packet.pts * packet.time_base + self._shift) / _TICK)
                end = begin + round((packet.duration or 0) * packet.time_base / _TICK)
                if self._length is not None:
                    end = min(end, round(self._length / _TICK))
                begin = max(done, begin)
                if end <= begin:
                    continue
                while self._is_timed_text and done < begin:
                    until = min(begin, done + _LONGEST_PAUSE)
                    yield self._packet(_NOTHING, done, until)
                    done = until
                yield self._packet(bytes(packet), begin, end)
                done = end
        except av.FFmpegError:
            return  # the file is cut off here, which reading the picture reports

    def _packet(self, data: bytes, begin: int, end: int) -> av.Packet[Any]:
        packet: av.Packet[Any] = av.Packet(data)
        packet.time_base = _TICK
        packet.pts = packet.dts = begin
        packet.duration = end - begin
        packet.stream = self._target
        return packet


def open_subtitles(
    url: str, out: av.container.OutputContainer, length: Fraction | None = None
) -> tuple[list[SubtitleTrack], str | None]:
    """Add the subtitle streams of ``url`` that ``out`` supports; returns them, and a phrase on what was done."""
    names = _names(url)
    takes = _TAKEN.get(out.format.name)
    tracks = [SubtitleTrack(url, index, out, length) for index, name in names.items() if name == takes]
    left = [name for name in names.values() if name != takes]
    said = []
    if tracks:
        said.append("subtitles copied" if len(tracks) == 1 else f"{len(tracks)} subtitle streams copied")
    if left:
        kinds = " and ".join(sorted({_SPOKEN.get(name, name) for name in left}))
        said.append(f"{kinds} subtitles left out" if len(left) == 1 else f"{len(left)} {kinds} subtitles left out")
    return tracks, ", ".join(said) or None


def _names(url: str) -> dict[int, str]:
    with open_container(url) as container:
        return {stream.index: _codec(stream) for stream in container.streams.subtitles}


def _codec(stream: av.stream.Stream) -> str:
    return "unknown" if stream.codec_context is None else stream.codec_context.codec.canonical_name
