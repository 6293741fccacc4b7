"""Plates as a video file: ProRes 4444, VP9 or H.264, the sound kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import av
import torch

from streammatte.errors import WriteFailed
from streammatte.frame import Frame, Plate, StreamInfo
from streammatte.media.audio import AudioTrack
from streammatte.media.color import STUDIO, matrix_for
from streammatte.media.composing import AlphaKind, Background, Content
from streammatte.media.encoding import Encoding, PlatePainter
from streammatte.media.file_source import open_container
from streammatte.media.growing import RECOVERABLE, GrowingFile, fragments_in, packets_in, whole_frames
from streammatte.media.lengths import Lengths, lengths_in
from streammatte.media.output import publish, write_failed
from streammatte.media.part import Part

# A first pts later than this is an arbitrary clock (a broadcast, a camera's uptime), not a delay that was meant.
_LONGEST_DELAY = 60

_BUFFER = 1 << 20  # bytes: what goes through Python, goes through in few pieces

_MILLISECOND = Fraction(1, 1000)  # WebM's one time base


class VideoSink:
    """Encodes plates to one file. Each frame keeps its pts: exactly in MOV and MP4, to the millisecond in WebM,
    where a frame that would fall on the millisecond of the one before it gets the next. The pixels' aspect is kept in
    MOV and MP4; of WebM, the description says that it is not.

    A clip whose first pts is negative, or later than a minute, is moved so that it begins at 0, its sound with it:
    MOV would cut frames before 0 out of the presentation.

    Args:
        path: Where the file will be.
        info: The stream the plates are of.
        encoding: How.
        audio: A media file whose first audio stream goes along.
        overwrite: Replace what has the name; otherwise a file that appears there meanwhile is an error.

    Attributes:
        description: One line on what is written; complete once the sink has been finished.
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
        overwrite: bool = False,
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
        self._audio: AudioTrack | None = None
        self._background = background
        self._container: av.container.OutputContainer | None = None
        self._size = _encodable_size(encoding, info)
        if self._size != (info.width, info.height):
            self.description += f", padded from {info.width}×{info.height} to {self._size[0]}×{self._size[1]}"
        if encoding.container == "webm" and info.pixel_aspect != 1:
            # WebM could say it (DisplayWidth), and PyAV has no way to set what FFmpeg's muxer writes there.
            aspect = info.pixel_aspect
            self.description += f", pixel aspect {aspect.numerator}:{aspect.denominator} left out"
        self._paint = PlatePainter(encoding, info, self._size, content=content, alpha=alpha, background=background)
        self._clock = _MILLISECOND if encoding.container == "webm" else info.time_base
        self._shift: int | None = None
        self._last: int | None = None

    def __enter__(self) -> Self:
        try:
            self.part.begin()
            out = self._container = self._open()
            self._stream = self._add_video(out)
            if self._audio_path is not None:
                self._audio = AudioTrack.open(self._audio_path, out)
            if self._audio is not None:
                self.description += f", {self._audio.says}"
            out.start_encoding()
            self._started = True
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
        self._out  # noqa: B018 - raises where no plate is taken
        frame = self._paint(plate)
        frame.pts = self._next_pts(plate.frame)
        frame.time_base = self._clock
        frame.duration = self._duration
        frame.color_range = STUDIO
        frame.colorspace = self._stream.codec_context.colorspace
        frame.color_primaries = self._info.color.primaries  # ProRes stores each frame's own tags
        frame.color_trc = self._info.color.transfer
        try:
            self._mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as exc:
            raise write_failed(self.path, exc) from exc

    def skip(self, frame: Frame) -> None:
        """Take a frame's plate from what is whole already.

        Raises:
            WriteFailed: The disk refused.
        """
        if frame.index == 0 and self._background is not None:  # a clip counts from the first plate
            self._background.frame(Plate(frame, torch.zeros(frame.rgb.shape[1:])))
        data = next(self._kept, None)
        if data is None:
            raise WriteFailed(f"{self.path} was changed while it was gone on with", hint="begin anew with --overwrite")
        packet: av.Packet[Any] = av.Packet(data)
        packet.pts = packet.dts = self._next_pts(frame)
        packet.time_base = self._clock
        packet.duration = self._duration
        packet.is_keyframe = True
        packet.stream = self._stream
        try:
            self._mux([packet], known=True)
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
            self._mux(self._stream.encode(None))
            if self._audio is not None:
                self._audio.finish(-self._shift * self._info.time_base)
            out.close()
            if self._file is not None:
                self._file.close()
        except (av.FFmpegError, OSError) as exc:
            raise write_failed(self.path, exc) from exc
        self._finished = True
        if self._audio is not None and self._audio.lost:
            self.description += f" ({self._audio.lost} lost)"
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
        self.part.leave()

    @property
    def _out(self) -> av.container.OutputContainer:
        if self._container is None or self._finished:
            raise RuntimeError("a sink takes plates inside its with statement, and none once it is finished")
        return self._container

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
            if self._audio is not None:
                stamp = packet.pts if packet.dts is None else packet.dts
                self._audio.advance((stamp or 0) * packet.time_base, -self._shift * self._info.time_base)
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

    @property
    def _duration(self) -> int:
        return max(1, round(1 / (self._info.frame_rate * self._clock)))

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
        context.thread_type = "FRAME" if encoding.codec == "prores_ks" else "AUTO"
        context.color_range = STUDIO
        context.colorspace = matrix_for(info.color, info.width, info.height)
        context.color_primaries = info.color.primaries
        context.color_trc = info.color.transfer
        if encoding.quantiser is not None:
            context.global_quality = encoding.quantiser  # in prores_ks that is the quantiser, without FFmpeg's lambda
        return stream

    def _initial_shift(self, pts: int) -> int:
        return pts if pts < 0 or pts * self._info.time_base > _LONGEST_DELAY else 0

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
        if self._audio is not None:
            self._audio.close()
        if self._background is not None:
            self._background.close()


def _encodable_size(encoding: Encoding, info: StreamInfo) -> tuple[int, int]:
    """x264 takes even sizes only in 4:2:0; an odd edge is padded, because cropping would lose pixels."""
    if encoding.codec != "libx264":
        return info.width, info.height
    return info.width + info.width % 2, info.height + info.height % 2
