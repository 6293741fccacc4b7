"""Plates as a video file: ProRes 4444, VP9, H.264, FFV1 or PNG, the sound kept."""

from __future__ import annotations

import contextlib
from collections import Counter
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.codec.context import Flags

from streammatte.errors import WriteFailed
from streammatte.frame import UNSPECIFIED, Plate, StreamInfo
from streammatte.media.audio import AudioTrack, open_sounds
from streammatte.media.color import FULL, RGB_MATRIX, STUDIO, matrix_for, spans_whole_range
from streammatte.media.composing import AlphaKind, Background, Content, says, size_of
from streammatte.media.containers import open_container
from streammatte.media.encoding import Encoding, PlatePainter
from streammatte.media.lengths import Lengths, lengths_in
from streammatte.media.linear import BT709, is_light
from streammatte.media.output import publish, temporary_beside, write_failed
from streammatte.media.rgb_painter import RgbPainter
from streammatte.media.subtitles import SubtitleTrack, open_subtitles

# A first pts later than this is an arbitrary clock (a broadcast, a camera's uptime), not a delay that was meant.
_LONGEST_DELAY = 60

_INTRA = ("prores_ks", "png")  # FFV1 has slices to share, and frame threads besides
_IN_MILLISECONDS = ("webm", "matroska")
_MILLISECOND = Fraction(1, 1000)  # the one time base of WebM and Matroska


class VideoSink:
    """Encodes plates to one file. Each frame keeps its pts: exactly in MOV and MP4, to the millisecond in WebM and
    Matroska, where a frame that would fall on the millisecond of the one before it gets the next. The pixels' aspect is
    kept in MOV and MP4; of the others, the description says that it is not.

    A clip whose first pts is negative, or later than a minute, is moved so that it begins at 0, its sound with it:
    MOV would cut frames before 0 out of the presentation. So is one that is a part of its footage. The timecode of its
    first frame goes along in MOV and MP4, as a track.

    Args:
        path: Where the file will be.
        info: The stream the plates are of.
        encoding: How.
        audio: A media file whose sound goes along, every stream of it.
        subtitles: One whose subtitles go along, where the container takes them.
        overwrite: Replace what has the name; otherwise a file that appears there meanwhile is an error.

    Attributes:
        description: One line on what is written; complete once the sink has been finished.
    """

    def __init__(
        self,
        path: Path,
        info: StreamInfo,
        encoding: Encoding,
        *,
        content: Content,
        alpha: AlphaKind,
        background: Background | None,
        audio: str | None,
        subtitles: str | None,
        overwrite: bool = False,
    ) -> None:
        self.path = path
        self.description = encoding.says
        self._info = info
        self._encoding = encoding
        self._temporary = temporary_beside(path)
        self._overwrite = overwrite
        self._finished = False
        self._audio_path = audio
        self._subtitles_path = subtitles
        self._sounds: list[AudioTrack] = []
        self._subtitles: list[SubtitleTrack] = []
        self._background = background
        self._container: av.container.OutputContainer | None = None
        size = size_of(content, info.width, info.height)
        self._size = _encodable_size(encoding, size)
        if self._size != size:
            self.description += f", padded from {size[0]}×{size[1]} to {self._size[0]}×{self._size[1]}"
        if self._encoding.container in _IN_MILLISECONDS and info.pixel_aspect != 1:
            # They could say it (DisplayWidth), and PyAV has no way to set what FFmpeg's muxer writes there.
            aspect = info.pixel_aspect
            self.description += f", pixel aspect {aspect.numerator}:{aspect.denominator} left out"
        if encoding.container in _IN_MILLISECONDS and info.timecode is not None:
            self.description += f", timecode {info.timecode} left out"
        self._paint: PlatePainter | RgbPainter
        whole = av.VideoFormat(encoding.pixels)
        if whole.is_rgb or len(whole.components) == 1:
            self._paint = RgbPainter(encoding.pixels, info, content=content, alpha=alpha, background=background)
            self._range, self._matrix = FULL, RGB_MATRIX if whole.is_rgb else UNSPECIFIED
        else:
            self._paint = PlatePainter(encoding, info, self._size, content=content, alpha=alpha, background=background)
            self._range = FULL if self._paint.full_range else STUDIO
            self._matrix = matrix_for(info.color, info.width, info.height)
            if spans_whole_range(info.color) and not encoding.says_range:
                self.description += ", full range written as studio range"
        self._transfer = BT709 if is_light(info.color) else info.color.transfer
        self._states = says(content, alpha, composite=background is not None)
        self._clock = _MILLISECOND if encoding.container in _IN_MILLISECONDS else info.time_base
        self._shift: int | None = None
        self._last: int | None = None

    def __enter__(self) -> Self:
        try:
            out = self._container = av.open(
                f"file:{self._temporary}",  # without it, FFmpeg takes what is before a colon for a protocol
                "w",
                format=self._encoding.container,
                container_options={
                    # Timestamps are ours to move, and a second of ProRes is enough to hold back for missing sound.
                    "avoid_negative_ts": "disabled",
                    "max_interleave_delta": "1000000",
                    **self._encoding.container_options,
                },
            )
            out.metadata["comment"] = self._states  # the only place that all of the containers have
            self._stream = self._add_video(out)
            self._add_what_goes_along(out)
            out.start_encoding()
        except (av.FFmpegError, OSError) as exc:
            self._discard()
            raise write_failed(self.path, exc) from exc
        except BaseException:
            self._discard()
            raise
        return self

    def write(self, plate: Plate) -> None:
        """Append a plate.

        Raises:
            WriteFailed: The disk or the encoder refused.
        """
        out = self._out
        frame = self._paint(plate)
        if self._shift is None:
            self._shift = self._initial_shift(plate.frame.pts)
        pts = round((plate.frame.pts - self._shift) * self._info.time_base / self._clock)
        self._last = frame.pts = pts if self._last is None else max(pts, self._last + 1)
        frame.time_base = self._clock
        seconds = plate.frame.duration * self._info.time_base or 1 / self._info.frame_rate
        frame.duration = max(1, round(seconds / self._clock))
        frame.color_range = self._range
        frame.colorspace = self._stream.codec_context.colorspace
        frame.color_primaries = self._info.color.primaries  # ProRes stores each frame's own tags
        frame.color_trc = self._transfer
        try:
            for track in self._tracks:
                track.advance(frame.pts * self._clock, -self._shift * self._info.time_base)
            out.mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as exc:
            raise write_failed(self.path, exc) from exc

    def finish(self) -> None:
        """Complete the file, still under its temporary name. Once, after the last plate; leaving does it otherwise.

        Raises:
            WriteFailed: The disk or the encoder refused, or there were no plates.
        """
        out = self._out
        if self._shift is None:
            raise WriteFailed(f"{self.path} would have no frames", hint="nothing was handed to it")
        try:
            out.mux(self._stream.encode(None))
            for track in self._tracks:
                track.finish(-self._shift * self._info.time_base)
            out.close()
        except (av.FFmpegError, OSError) as exc:
            raise write_failed(self.path, exc) from exc
        self._finished = True
        for lost in (sound.lost for sound in self._sounds if sound.lost):
            self.description += f" ({lost} lost)"
        if self._background is not None and self._background.lost:
            self.description += f" (the background is damaged: {self._background.lost})"

    def lengths(self) -> Lengths:
        """Of what is written, read from the file; once it has been finished, and before it is renamed."""
        with open_container(str(self._temporary)) as container:
            return lengths_in(container)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            if not self._finished:
                self.finish()
            publish(self._temporary, self.path, overwrite=self._overwrite)
        except OSError as failure:
            self._discard()
            raise write_failed(self.path, failure) from failure
        except BaseException:
            self._discard()
            raise
        self._release()

    @property
    def _out(self) -> av.container.OutputContainer:
        if self._container is None or self._finished:
            raise RuntimeError("a sink takes plates inside its with statement, and none once it is finished")
        return self._container

    @property
    def _tracks(self) -> list[AudioTrack | SubtitleTrack]:
        return [*self._sounds, *self._subtitles]

    def _add_what_goes_along(self, out: av.container.OutputContainer) -> None:
        span = self._info.span
        if self._audio_path is not None:
            self._sounds = open_sounds(self._audio_path, out, span)
            for says, count in Counter(sound.says for sound in self._sounds).items():
                self.description += f", {says}" if count == 1 else f", {count} × {says}"
        if self._subtitles_path is not None:
            length = None if span is None or span[1] is None else span[1] - span[0]
            self._subtitles, done = open_subtitles(self._subtitles_path, out, length)
            self.description += f", {done}" if done else ""

    def _add_video(self, out: av.container.OutputContainer) -> av.VideoStream:
        encoding, info = self._encoding, self._info
        stream = out.add_stream(encoding.codec, rate=info.frame_rate, options=dict(encoding.options))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = self._size
        stream.pix_fmt = encoding.pixels
        stream.time_base = self._clock
        context = stream.codec_context
        context.time_base = self._clock
        context.sample_aspect_ratio = info.pixel_aspect
        context.thread_type = "FRAME" if encoding.codec in _INTRA else "AUTO"
        context.color_range = self._range
        context.colorspace = self._matrix
        context.color_primaries = info.color.primaries
        context.color_trc = self._transfer
        if encoding.quantiser is not None:
            context.global_quality = encoding.quantiser  # in prores_ks that is the quantiser, without FFmpeg's lambda
        context.flags |= Flags.frame_duration  # without it, FFmpeg has the last frame last as long as all do on average
        if info.timecode is not None and encoding.container not in _IN_MILLISECONDS:
            stream.metadata["timecode"] = info.timecode
        return stream

    def _initial_shift(self, pts: int) -> int:
        if self._info.span is not None or pts < 0 or pts * self._info.time_base > _LONGEST_DELAY:
            return pts
        return 0

    def _discard(self) -> None:
        self._release()
        if self._container is not None:
            # What is half written is thrown away; that its end cannot be written either tells nothing new.
            with contextlib.suppress(av.FFmpegError, OSError):
                self._container.close()
        self._temporary.unlink(missing_ok=True)

    def _release(self) -> None:
        for track in self._tracks:
            track.close()
        if self._background is not None:
            self._background.close()


def _encodable_size(encoding: Encoding, size: tuple[int, int]) -> tuple[int, int]:
    """x264 takes even sizes only in 4:2:0; an odd edge is padded, because cropping would lose pixels."""
    if encoding.codec != "libx264":
        return size
    width, height = size
    return width + width % 2, height + height % 2
