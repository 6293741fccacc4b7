"""A growing video file: its container, its picture stream, its sound and its subtitles."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from streammatte.media.write.audio import AudioTrack, Span, open_sounds
from streammatte.media.write.encoding import Encoding
from streammatte.media.write.packets import PacketFile, Restamped, packets_in
from streammatte.media.write.subtitles import SubtitleTrack, open_subtitles
from streammatte.media.write.times import FileTimes

_BUFFER = 1 << 20  # bytes
IN_MILLISECONDS = ("webm", "matroska")
"""Containers whose one time base is the millisecond."""


class VideoFile:
    """A container and the streams in it. Errors of FFmpeg and of the system come out as they are.

    Args:
        path: Where it grows.
        encoding: How frames are encoded.
        times: The frames' times in it.
        tracks: Sound and subtitles.
        keeps_packets: Write packets for another file to :meth:`append` instead of a file for players.

    Attributes:
        stream: The pictures' stream, once it is open.
    """

    stream: av.VideoStream

    def __init__(
        self, path: Path, encoding: Encoding, times: FileTimes, tracks: Tracks, *, keeps_packets: bool
    ) -> None:
        self._path = path
        self._encoding = encoding
        self._times = times
        self._tracks = tracks
        self._keeps_packets = keeps_packets
        # The container, whose only use is to open the encoder.
        self._discarded = keeps_packets and encoding.container not in IN_MILLISECONDS
        self._kept: PacketFile | None = None
        self._container: av.container.OutputContainer | None = None
        self._has_packets = True  # or does not need any
        self._restamped = Restamped()

    def open(self, add: Callable[[av.container.OutputContainer], av.VideoStream], comment: str, span: Span) -> str:
        """Write the header; says what is done with sound and subtitles.

        Args:
            add: Adds the pictures' stream to a container.
            comment: What the contents are.
            span: The part of the sound, in seconds.
        """
        out = self._container = self._opened()
        out.metadata["comment"] = comment  # the only place that all of the containers have
        self.stream = add(out)
        said = self._tracks.open(out, span)
        out.start_encoding()
        if self._keeps_packets:
            self._kept = PacketFile(self._path if self._discarded else None)
        self._has_packets = "hybrid" not in self._encoding.container_options.get("movflags", "")
        return said

    @property
    def is_open(self) -> bool:
        return self._container is not None

    def _opened(self) -> av.container.OutputContainer:
        # Timestamps are ours to move, and a second of ProRes is enough to hold back for missing sound.
        options = {"avoid_negative_ts": "disabled", "max_interleave_delta": "1000000"}
        return av.open(
            io.BytesIO()
            if self._discarded
            else f"file:{self._path}",  # without the prefix, FFmpeg takes what is before a colon for a protocol
            "w",
            format=self._encoding.container,
            container_options=options | self._encoding.container_options,
            buffer_size=_BUFFER,
        )

    def encode(self, frame: av.VideoFrame | None) -> None:
        """Encode a frame, or what the encoder still holds."""
        self._mux(self.stream.encode(frame))

    def append(self, path: Path) -> bool:
        """Mux what another file has kept; says whether there was anything."""
        contained = self._encoding.container in IN_MILLISECONDS
        any_packet = False
        for packet in self._restamped(path, packets_in(path, self._times.clock, contained=contained)):
            packet.stream = self.stream
            self._mux([packet])
            any_packet = True
        return any_packet

    def _mux(self, packets: Iterable[av.Packet[av.VideoStream]]) -> None:
        """Mux packets, and the sound up to each one's time, whenever the encoder's threads return it."""
        assert self._container is not None
        for packet in packets:
            stamp = packet.pts if packet.dts is None else packet.dts
            self._tracks.advance((stamp or 0) * packet.time_base, self._times.moved)
            if self._kept is not None:
                self._kept.add(packet)
            if not self._discarded:
                self._container.mux(packet)
                self._has_packets = True

    def finish(self, path: Path) -> None:
        """Write what the encoder and the tracks still hold, and the container's end.

        Args:
            path: The final name, beside which the times of kept packets go.
        """
        assert self._container is not None
        self.encode(None)
        self._tracks.finish(self._times.moved)
        if self._kept is not None:
            self._kept.finish(path)
        with contextlib.suppress(av.FFmpegError) if self._discarded else contextlib.nullcontext():
            self._container.close()
        self._container = None

    def lost(self) -> str:
        """What of the sound could not be kept."""
        return self._tracks.lost()

    def discard(self) -> None:
        """Close everything, complete or not."""
        self._tracks.close()
        if self._kept is not None:
            self._kept.close()
        if self._container is not None:
            if not self._has_packets:
                self._spare_the_muxer(self._container)
            # A half-written file is thrown away, so an error from its end tells nothing new.
            with contextlib.suppress(av.FFmpegError, OSError):
                self._container.close()
            self._container = None

    def _spare_the_muxer(self, out: av.container.OutputContainer) -> None:
        """Give it a packet that goes nowhere: FFmpeg 8.1 crashes when it ends a hybrid MOV without any."""
        packet: av.Packet[Any] = av.Packet(bytes(16))
        packet.pts = packet.dts = 0
        packet.time_base = self._times.clock
        packet.is_keyframe = True
        with contextlib.suppress(av.FFmpegError, OSError):
            packet.stream = self.stream
            out.mux(packet)


class Tracks:
    """The sound and subtitle tracks of a file.

    Args:
        audio, subtitles: Media files.
    """

    def __init__(self, audio: str | None, subtitles: str | None) -> None:
        self._audio, self._subtitles = audio, subtitles
        self._sounds: list[AudioTrack] = []
        self._all: list[AudioTrack | SubtitleTrack] = []

    def open(self, out: av.container.OutputContainer, span: Span) -> str:
        """Add the streams; says what is done with them."""
        told = ""
        if self._audio is not None:
            self._sounds = open_sounds(self._audio, out, span)
            self._all += self._sounds
            for done, count in Counter(sound.says for sound in self._sounds).items():
                told += f", {done}" if count == 1 else f", {count} × {done}"
        if self._subtitles is not None:
            length = None if span is None or span[1] is None else span[1] - span[0]
            subtitles, kept = open_subtitles(self._subtitles, out, length)
            self._all += subtitles
            told += f", {kept}" if kept else ""
        return told

    def advance(self, seconds: Fraction, moved: Fraction) -> None:
        for track in self._all:
            track.advance(seconds, moved)

    def finish(self, moved: Fraction) -> None:
        for track in self._all:
            track.finish(moved)

    def lost(self) -> str:
        return "".join(f" ({sound.lost} lost)" for sound in self._sounds if sound.lost)

    def close(self) -> None:
        for track in self._all:
            track.close()
