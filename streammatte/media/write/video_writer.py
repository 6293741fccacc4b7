"""Cut-outs as a video file: ProRes 4444, VP9, H.264, FFV1 or PNG, the sound kept."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import av
import numpy as np
from av.codec.context import Flags

from streammatte.color.codes import BT709, FULL, RGB_MATRIX, STUDIO, is_light, matrix_for, spans_whole_range
from streammatte.color.profiles import in_srgb
from streammatte.errors import WriteFailed
from streammatte.frame import UNSPECIFIED, Cutout, Frame, StreamInfo
from streammatte.media.containers import open_container
from streammatte.media.lengths import Lengths, lengths_in
from streammatte.media.write.audio import AudioTrack, Span, open_sounds
from streammatte.media.write.composing import Contents, IntegerPictures
from streammatte.media.write.encoding import Encoding
from streammatte.media.write.output import write_failed
from streammatte.media.write.painting import CutoutPainter
from streammatte.media.write.partial_output import Part
from streammatte.media.write.subtitles import SubtitleTrack, open_subtitles

# A first pts later than this is an arbitrary clock (a broadcast, a camera's uptime), not a delay that was meant.
_LONGEST_DELAY = 60

_BUFFER = 1 << 20  # bytes
_INTRA = ("prores_ks", "png")  # FFV1 has slices to share, and frame threads besides
_IN_MILLISECONDS = ("webm", "matroska")
_MILLISECOND = Fraction(1, 1000)  # the one time base of WebM and Matroska


class VideoWriter:
    """Encodes cut-outs to one file. Each frame keeps its pts: exactly in MOV and MP4, to the millisecond in WebM and
    Matroska, where a frame that would fall on the millisecond of the one before it gets the next. The pixel aspect is
    kept in MOV and MP4; elsewhere the description says that it is not.

    A clip whose first pts is negative, or later than a minute, is moved so that it begins at 0, its sound with it:
    MOV would cut frames before 0 out of the presentation. So is a part of a longer clip. MOV and MP4 get a timecode
    track.

    Args:
        path: Where the file will be.
        info: The stream the cut-outs are of.
        encoding: How they are encoded.
        contents: What is stored. The background is closed in the end.
        audio: A media file. All of its audio streams are kept.
        subtitles: A media file. Its subtitles are kept where the container takes them.
        overwrite: Replace an existing file. Otherwise a file that appears there meanwhile is an error.

    Attributes:
        description: One line on the contents; complete once the writer has been finished.
        part: The hidden folder in which the file grows.
        temporary: The file in it.
    """

    def __init__(
        self,
        path: Path,
        info: StreamInfo,
        encoding: Encoding,
        contents: Contents,
        *,
        audio: str | None = None,
        subtitles: str | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = path
        self.part = Part(path)
        self.temporary = self.part.folder / f"video.{encoding.container}"
        self._info = info
        self._encoding = encoding
        self._overwrite = overwrite
        self._contents = contents
        size = contents.size(info.width, info.height)
        self._size = _encodable_size(encoding, size)
        self.description = _described(encoding, info, size, self._size)
        self._pictures = _pictures(encoding, info, self._size, contents)
        self._times = _Times(info, _MILLISECOND if encoding.container in _IN_MILLISECONDS else info.time_base)
        self._tracks = _Tracks(audio, subtitles)
        self._container: av.container.OutputContainer | None = None
        self._has_packets = True  # or does not need any

    def __enter__(self) -> Self:
        try:
            self.part.begin()
            out = self._container = self._open()
            out.metadata["comment"] = self._contents.says  # the only place that all of the containers have
            self._stream = self._add_video(out)
            self.description += self._tracks.open(out, self._info.span)
            out.start_encoding()
            self._has_packets = "hybrid" not in self._encoding.container_options.get("movflags", "")
        except (av.FFmpegError, OSError) as exc:
            self._discard()
            raise write_failed(self.path, exc) from exc
        except BaseException:
            self._discard()
            raise
        return self

    def write(self, cutout: Cutout) -> None:
        """Append a cut-out.

        Raises:
            WriteFailed: The disk or the encoder refused.
        """
        self._out  # noqa: B018 - raises outside of the with statement
        frame = self._pictures.paint(cutout)
        frame.pts = self._times.pts(cutout.frame)
        frame.duration = self._times.duration(cutout.frame)
        frame.time_base = self._times.clock
        context = self._stream.codec_context
        frame.color_range, frame.colorspace = self._pictures.range, context.colorspace
        frame.color_primaries, frame.color_trc = context.color_primaries, context.color_trc  # ProRes stores them
        try:
            self._mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as exc:
            raise write_failed(self.path, exc) from exc

    def finish(self) -> None:
        """Complete the file, still under its temporary name. Once, after the last cut-out; leaving does it otherwise.

        Raises:
            WriteFailed: The disk or the encoder refused, or there were no cut-outs.
        """
        out = self._out
        if self._times.shift is None:
            raise WriteFailed(f"{self.path} would have no frames", hint="no frames were written")
        try:
            self._mux(self._stream.encode(None))
            self._tracks.finish(self._times.moved)
            out.close()
        except (av.FFmpegError, OSError) as exc:
            raise write_failed(self.path, exc) from exc
        self._container = None
        self.description += self._tracks.lost() + self._contents.told

    def lengths(self) -> Lengths:
        """The lengths of the streams, read from the finished file."""
        with open_container(str(self.temporary if self.temporary.exists() else self.path)) as container:
            return lengths_in(container)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                if self._container is not None:
                    self.finish()
                self.part.publish(self.temporary, overwrite=self._overwrite)
        finally:
            self._discard()

    @property
    def _out(self) -> av.container.OutputContainer:
        if self._container is None:
            raise RuntimeError("a writer takes cut-outs inside its with statement, and none once it is finished")
        return self._container

    def _open(self) -> av.container.OutputContainer:
        # Timestamps are ours to move, and a second of ProRes is enough to hold back for missing sound.
        options = {"avoid_negative_ts": "disabled", "max_interleave_delta": "1000000"}
        return av.open(
            f"file:{self.temporary}",  # without the prefix, FFmpeg takes what is before a colon for a protocol
            "w",
            format=self._encoding.container,
            container_options=options | self._encoding.container_options,
            buffer_size=_BUFFER,
        )

    def _add_video(self, out: av.container.OutputContainer) -> av.VideoStream:
        encoding, info = self._encoding, self._info
        stream = out.add_stream(encoding.codec, rate=info.frame_rate, options=dict(encoding.options))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = self._size
        stream.pix_fmt = encoding.pixels
        context = stream.codec_context
        stream.time_base = context.time_base = self._times.clock
        context.sample_aspect_ratio = info.pixel_aspect
        context.thread_type = "FRAME" if encoding.codec in _INTRA else "AUTO"
        context.color_range, context.colorspace = self._pictures.range, self._pictures.matrix
        context.color_primaries = info.color.primaries
        context.color_trc = BT709 if is_light(info.color) else info.color.transfer
        if encoding.quantiser is not None:
            context.global_quality = encoding.quantiser  # in prores_ks that is the quantiser, without FFmpeg's lambda
        context.flags |= Flags.frame_duration  # without it, FFmpeg has the last frame last as long as all do on average
        if info.timecode is not None and encoding.container not in _IN_MILLISECONDS:
            stream.metadata["timecode"] = info.timecode
        return stream

    def _mux(self, packets: Iterable[av.Packet[av.VideoStream]]) -> None:
        """Mux packets, and the sound up to each one's time, whenever the encoder's threads return it."""
        for packet in packets:
            stamp = packet.pts if packet.dts is None else packet.dts
            self._tracks.advance((stamp or 0) * packet.time_base, self._times.moved)
            self._out.mux(packet)
            self._has_packets = True

    def _discard(self) -> None:
        """Close everything, and remove the temporary file, unless it was published and has another name."""
        self._tracks.close()
        self._contents.close()
        if self._container is not None:
            if not self._has_packets:
                self._spare_the_muxer(self._container)
            # A half-written file is thrown away, so an error from its end tells nothing new.
            with contextlib.suppress(av.FFmpegError, OSError):
                self._container.close()
            self._container = None
        self.part.leave()

    def _spare_the_muxer(self, out: av.container.OutputContainer) -> None:
        """Give it a packet that goes nowhere: FFmpeg 8.1 crashes when it ends a hybrid MOV without any."""
        packet: av.Packet[Any] = av.Packet(bytes(16))
        packet.pts = packet.dts = 0
        packet.time_base = self._times.clock
        packet.is_keyframe = True
        with contextlib.suppress(av.FFmpegError, OSError):
            packet.stream = self._stream
            out.mux(packet)


class _Times:
    """The frames' times on the file's clock.

    Attributes:
        clock: The file's time base.
        shift: Units of the source's time base by which frames are moved; ``None`` before the first.
    """

    def __init__(self, info: StreamInfo, clock: Fraction) -> None:
        self.clock = clock
        self.shift: int | None = None
        self._info = info
        self._last = -1

    @property
    def moved(self) -> Fraction:
        """Seconds to add to times of the source."""
        return -(self.shift or 0) * self._info.time_base

    def pts(self, frame: Frame) -> int:
        """Strictly later than the one before."""
        if self.shift is None:
            late = frame.pts < 0 or frame.pts * self._info.time_base > _LONGEST_DELAY
            self.shift = frame.pts if late or self._info.span is not None else 0
        self._last = max(round((frame.pts - self.shift) * self._info.time_base / self.clock), self._last + 1)
        return self._last

    def duration(self, frame: Frame) -> int:
        seconds = frame.duration * self._info.time_base or 1 / self._info.frame_rate
        return max(1, round(seconds / self.clock))


class _Tracks:
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


class _Pictures(NamedTuple):
    """How cut-outs become the encoder's frames, and the range and matrix of their colours."""

    paint: Callable[[Cutout], av.VideoFrame]
    range: int
    matrix: int


def _pictures(encoding: Encoding, info: StreamInfo, size: tuple[int, int], contents: Contents) -> _Pictures:
    profile = None if contents.part == "matte" else info.profile
    pixels = av.VideoFormat(encoding.pixels)
    if not pixels.is_rgb and len(pixels.components) > 1:
        painter = CutoutPainter(encoding, info, size, contents)
        matrix = matrix_for(info.color, info.width, info.height)
        swing = FULL if painter.full_range else STUDIO
        return _Pictures(lambda cutout: painter(in_srgb(cutout, profile)), swing, matrix)
    samples = IntegerPictures(
        info,
        contents,
        bits=pixels.components[0].bits,
        curve=BT709,
        keeps_profile=False,
    )

    def paint(cutout: Cutout) -> av.VideoFrame:
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(samples(cutout)), pixels.name)

    return _Pictures(paint, FULL, RGB_MATRIX if pixels.is_rgb else UNSPECIFIED)


def _encodable_size(encoding: Encoding, size: tuple[int, int]) -> tuple[int, int]:
    """x264 takes even sizes only in 4:2:0; an odd edge is padded, because cropping would lose pixels."""
    if encoding.codec != "libx264":
        return size
    width, height = size
    return width + width % 2, height + height % 2


def _described(encoding: Encoding, info: StreamInfo, size: tuple[int, int], encoded: tuple[int, int]) -> str:
    """What is written, and what of the stream the file cannot hold."""
    said = [encoding.says]
    if encoded != size:
        said.append(f"padded from {size[0]}×{size[1]} to {encoded[0]}×{encoded[1]}")
    if encoding.container in _IN_MILLISECONDS:
        if info.pixel_aspect != 1:  # the container has DisplayWidth for it, but PyAV cannot set it
            said.append(f"pixel aspect {info.pixel_aspect.numerator}:{info.pixel_aspect.denominator} left out")
        if info.timecode is not None:
            said.append(f"timecode {info.timecode} left out")
    pixels = av.VideoFormat(encoding.pixels)
    is_ycbcr = not pixels.is_rgb and len(pixels.components) > 1
    if is_ycbcr and spans_whole_range(info.color) and not encoding.says_range:
        said.append("full range written as studio range")
    return ", ".join(said)
