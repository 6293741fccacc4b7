"""Cut-outs as a video file: ProRes 4444, VP9, H.264, FFV1 or PNG, the sound kept."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import av
import torch
from av.codec.context import Flags

from streammatte.color.codes import BT709, FULL, RGB_MATRIX, STUDIO, is_light, matrix_for, spans_whole_range
from streammatte.color.profiles import in_srgb
from streammatte.errors import WriteFailed
from streammatte.frame import UNSPECIFIED, Cutout, Frame, StreamInfo
from streammatte.media.containers import open_container
from streammatte.media.lengths import Lengths, lengths_in
from streammatte.media.write.audio import AudioTrack, open_sounds
from streammatte.media.write.composing import (
    AlphaKind,
    Background,
    Content,
    says,
    size_of,
    told_of,
)
from streammatte.media.write.encoding import Encoding, PlatePainter
from streammatte.media.write.growing import RECOVERABLE, GrowingFile, fragments_in, packets_in, whole_frames
from streammatte.media.write.output import publish, write_failed
from streammatte.media.write.part import Part
from streammatte.media.write.rgb_painter import RgbPainter
from streammatte.media.write.subtitles import SubtitleTrack, open_subtitles

# A first pts later than this is an arbitrary clock (a broadcast, a camera's uptime), not a delay that was meant.
_LONGEST_DELAY = 60

_BUFFER = 1 << 20  # bytes: what goes through Python, goes through in few pieces
_INTRA = ("prores_ks", "png")  # FFV1 has slices to share, and frame threads besides
_IN_MILLISECONDS = ("webm", "matroska")
_MILLISECOND = Fraction(1, 1000)  # the one time base of WebM and Matroska


class VideoWriter:
    """Encodes cut-outs to one file. Each frame keeps its pts: exactly in MOV and MP4, to the millisecond in WebM and
    Matroska, where a frame that would fall on the millisecond of the one before it gets the next. The pixels' aspect is
    kept in MOV and MP4; of the others, the description says that it is not.

    A clip whose first pts is negative, or later than a minute, is moved so that it begins at 0, its sound with it:
    MOV would cut frames before 0 out of the presentation. So is one that is a part of its footage. The timecode of its
    first frame goes along in MOV and MP4, as a track.

    Args:
        path: Where the file will be.
        info: The stream the cut-outs are of.
        encoding: How.
        audio: A media file whose sound goes along, every stream of it.
        subtitles: One whose subtitles go along, where the container takes them.
        overwrite: Replace what has the name; otherwise a file that appears there meanwhile is an error.
        composed: The cut-outs' colours are a composite already, ``content`` is ``foreground``, and the file says so.

    Attributes:
        description: One line on what is written; complete once the writer has been finished.
        part: The hidden folder in which the file grows.
        resumable: What was written before an interruption can be gone on with: packets that are one picture each.
        whole: How many frames an interrupted run has written that this one goes on with; known once it is entered.
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
        subtitles: str | None = None,
        overwrite: bool = False,
        composed: bool = False,
    ) -> None:
        self.path = path
        self.description = encoding.says
        self._info = info
        self._encoding = encoding
        self.part = Part(path)
        self.resumable = encoding.intra and encoding.container in RECOVERABLE
        self.whole = 0
        self._temporary = self.part.folder / f"plates.{encoding.container}"
        self._file: GrowingFile | None = None
        self._kept: Iterator[bytes] = iter(())
        self._started = self._has_packets = False
        self._count = 0
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
        self._profile = None if content == "matte" else info.profile
        self._states = says(content, alpha, composite=composed or background is not None)
        self._clock = _MILLISECOND if encoding.container in _IN_MILLISECONDS else info.time_base
        self._shift: int | None = None
        self._last: int | None = None

    def __enter__(self) -> Self:
        try:
            self.part.begin()
            out = self._container = self._open()
            out.metadata["comment"] = self._states  # the only place that all of the containers have
            self._stream = self._add_video(out)
            self._add_what_goes_along(out)
            out.start_encoding()
            self._started = True
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
        self._out  # noqa: B018 - raises where no cut-out is taken
        frame = self._paint(in_srgb(cutout, self._profile))
        frame.pts = self._next_pts(cutout.frame)
        frame.time_base = self._clock
        frame.duration = self._duration(cutout.frame)
        frame.color_range = self._range
        frame.colorspace = self._stream.codec_context.colorspace
        frame.color_primaries = self._info.color.primaries  # ProRes stores each frame's own tags
        frame.color_trc = self._transfer
        try:
            self._mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as exc:
            raise write_failed(self.path, exc) from exc

    def skip(self, frame: Frame) -> None:
        """Take a frame's cut-out from what is whole already.

        Raises:
            WriteFailed: The disk refused.
        """
        if not self._count and self._background is not None:  # a clip counts from the first cut-out
            self._background.frame(Cutout(frame, torch.zeros(frame.rgb.shape[1:])))
        data = next(self._kept, None)
        if data is None:
            raise WriteFailed(f"{self.path} was changed while it was gone on with", hint="begin anew with --overwrite")
        packet: av.Packet[Any] = av.Packet(data)
        packet.pts = packet.dts = self._next_pts(frame)
        packet.time_base = self._clock
        packet.duration = self._duration(frame)
        packet.is_keyframe = True
        packet.stream = self._stream
        try:
            self._mux([packet], known=True)
        except (av.FFmpegError, OSError) as exc:
            raise write_failed(self.path, exc) from exc

    def finish(self) -> None:
        """Complete the file, still under its temporary name. Once, after the last cut-out; leaving does it otherwise.

        Raises:
            WriteFailed: The disk or the encoder refused, or there were no cut-outs.
        """
        out = self._out
        if self._shift is None:
            raise WriteFailed(f"{self.path} would have no frames", hint="nothing was handed to it")
        try:
            self._mux(self._stream.encode(None))
            for track in self._tracks:
                track.finish(-self._shift * self._info.time_base)
            out.close()
            if self._file is not None:
                self._file.close()
        except (av.FFmpegError, OSError) as exc:
            raise write_failed(self.path, exc) from exc
        self._finished = True
        for lost in (sound.lost for sound in self._sounds if sound.lost):
            self.description += f" ({lost} lost)"
        self.description += told_of(self._background)

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
        self.part.leave()

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

    def _open(self) -> av.container.OutputContainer:
        name = f"file:{self._temporary}"  # without it, FFmpeg takes what is before a colon for a protocol
        # Timestamps are ours to move, and a second of ProRes is enough to hold back for missing sound.
        options = {"avoid_negative_ts": "disabled", "max_interleave_delta": "1000000"}
        options |= self._encoding.container_options
        target: str | BinaryIO = name
        if self.resumable:
            for option, value in RECOVERABLE[self._encoding.container].items():
                options[option] = options.get(option, "") + value if value.startswith("+") else value
            options["flush_packets"] = "1"
            if self._temporary.exists():
                self.whole = whole_frames(self._temporary, self.part)
            self.part.go_on_after(self.whole)
            self._kept = packets_in(self._temporary, self.part)
            self._file = GrowingFile(self._temporary)
            target = self._file.file
        return av.open(target, "w", format=self._encoding.container, container_options=options, buffer_size=_BUFFER)

    def _mux(self, packets: Iterable[av.Packet[av.VideoStream]], *, known: bool = False) -> None:
        """Hand packets over, and the sound up to each: by its time, not by when the encoder's threads give it away."""
        assert self._shift is not None
        for packet in packets:
            stamp = packet.pts if packet.dts is None else packet.dts
            for track in self._tracks:
                track.advance((stamp or 0) * packet.time_base, -self._shift * self._info.time_base)
            if self._file is not None:
                self._file.save_head()
                if not known:
                    self.part.note(bytes(packet))
            self._out.mux(packet)
            self._has_packets = True

    def _next_pts(self, frame: Frame) -> int:
        if self._shift is None:
            self._shift = self._initial_shift(frame.pts)
        self._count += 1
        pts = round((frame.pts - self._shift) * self._info.time_base / self._clock)
        self._last = pts if self._last is None else max(pts, self._last + 1)
        return self._last

    def _duration(self, frame: Frame) -> int:
        seconds = frame.duration * self._info.time_base or 1 / self._info.frame_rate
        return max(1, round(seconds / self._clock))

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
        if self._file is not None and not self._finished:
            self._file.let_go()
        if self._container is not None:
            if self._file is not None and self._started and not self._has_packets:
                self._spare_the_muxer()
            # What is half written is thrown away; that its end cannot be written either tells nothing new.
            with contextlib.suppress(av.FFmpegError, OSError):
                self._container.close()
        whole = 0
        if self._file is not None:
            self._file.close()
            whole = self._count if self._finished else max(self.whole, fragments_in(self._temporary))
        self.part.leave(whole)

    def _spare_the_muxer(self) -> None:
        """Give it a packet that goes nowhere: FFmpeg 8.1 crashes when it ends a hybrid MOV without any."""
        packet: av.Packet[Any] = av.Packet(bytes(16))
        packet.pts = packet.dts = 0
        packet.time_base = self._clock
        packet.is_keyframe = True
        with contextlib.suppress(av.FFmpegError, OSError):
            packet.stream = self._stream
            self._out.mux(packet)

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
