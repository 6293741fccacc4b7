"""Subtitles that go along where the container takes them as they are."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av

from streammatte.media.containers import open_container
from streammatte.media.lane import Lane, carry_tags, only

_TAKEN = {"mov": "mov_text", "mp4": "mov_text", "webm": "webvtt"}
_SPOKEN = {"mov_text": "timed text", "subrip": "SubRip", "ass": "ASS", "webvtt": "WebVTT"}


class SubtitleTrack:
    """One subtitle stream, copied alongside the video. What is shown across a cut is shown for the part that is left.

    Args:
        url: The media file.
        index: Of the stream in it.
        length: Seconds from the first frame to where the picture is cut; ``None``: as far as there are any.
    """

    def __init__(self, url: str, index: int, out: av.container.OutputContainer, length: Fraction | None) -> None:
        self._source = open_container(url)
        self._stream = self._source.streams[index]
        only(self._source, self._stream)
        self._target = out.add_stream_from_template(self._stream)
        carry_tags(self._stream, self._target, out.format.name)
        self._length = length
        self._shift = Fraction(0)
        self._lane = Lane(self._packets(), out)

    def advance(self, until: Fraction, shift: Fraction) -> None:
        """As of :class:`~streammatte.media.audio.AudioTrack`."""
        self._shift = shift
        self._lane.advance(until)

    def finish(self, shift: Fraction) -> None:
        """As of :class:`~streammatte.media.audio.AudioTrack`."""
        self._shift = shift
        self._lane.finish()

    def close(self) -> None:
        self._source.close()

    def _packets(self) -> Iterator[av.Packet[av.stream.Stream]]:
        try:
            for packet in self._source.demux(self._stream):
                if packet.pts is None or not packet.size:
                    continue
                begin = packet.pts + round(self._shift / packet.time_base)
                end = begin + (packet.duration or 0)
                if self._length is not None:
                    end = min(end, round(self._length / packet.time_base))
                begin = max(0, begin)
                if end <= begin:
                    continue
                packet.pts = packet.dts = begin
                packet.duration = end - begin
                packet.stream = self._target
                yield packet
        except av.FFmpegError:
            return  # it is cut off here, which reading the picture tells


def open_subtitles(
    url: str, out: av.container.OutputContainer, length: Fraction | None = None
) -> tuple[list[SubtitleTrack], str | None]:
    """Add the subtitle streams of ``url`` that ``out`` takes; and say what was done with them, if there are any."""
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


def goes_along(url: str, container: str) -> bool:
    """Whether some subtitles of a file are copied into that kind of file."""
    return _TAKEN.get(container) in _names(url).values()


def _names(url: str) -> dict[int, str]:
    with open_container(url) as container:
        return {stream.index: _codec(stream) for stream in container.streams.subtitles}


def _codec(stream: av.stream.Stream) -> str:
    return "unknown" if stream.codec_context is None else stream.codec_context.codec.canonical_name
