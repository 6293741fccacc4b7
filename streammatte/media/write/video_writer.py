"""Cut-outs as a video file: ProRes 4444, VP9, H.264, FFV1 or PNG, the sound kept."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import av
import numpy as np
from av.codec.context import Flags

from streammatte.color.codes import BT709, FULL, RGB_MATRIX, STUDIO, is_light, matrix_for, spans_whole_range
from streammatte.color.profiles import in_srgb, is_srgb
from streammatte.errors import WriteFailed
from streammatte.frame import UNSPECIFIED, Cutout, StreamInfo
from streammatte.media.containers import open_container
from streammatte.media.lengths import Lengths, lengths_in
from streammatte.media.write.composing import Contents, IntegerPictures
from streammatte.media.write.encoding import Encoding, even
from streammatte.media.write.output import write_failed
from streammatte.media.write.painting import CutoutPainter
from streammatte.media.write.partial_output import Part
from streammatte.media.write.times import FileTimes
from streammatte.media.write.video_file import IN_MILLISECONDS, Tracks, VideoFile

_INTRA = ("prores_ks", "png")  # FFV1 has slices to share, and frame threads besides
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
        begin: pts of the whole clip's first frame, where the first cut-out is a later one, or none is written.
        packets: Write packets for another writer's :meth:`append` instead of a file for players.

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
        begin: int | None = None,
        packets: bool = False,
    ) -> None:
        self.path = path
        self.part = Part(path)
        self.temporary = self.part.folder / f"video.{encoding.container}"
        self._overwrite = overwrite
        self._contents = contents
        size = contents.size(info.width, info.height)
        encoded = even(size) if encoding.container == "mp4" else size
        self.description = _described(encoding, info, size, encoded)
        self._pictures = _pictures(encoding, info, encoded, contents)
        self._times = FileTimes(info, _MILLISECOND if encoding.container in IN_MILLISECONDS else info.time_base)
        if begin is not None:
            self._times.begin(begin)
        self._file = VideoFile(self.temporary, encoding, self._times, Tracks(audio, subtitles), keeps_packets=packets)
        add = partial(_add_stream, encoding, info, encoded, self._pictures, self._times.clock)
        self._open = partial(self._file.open, add, contents.says, info.span)
        self._written = False

    def __enter__(self) -> Self:
        try:
            self.part.begin()
            self.description += self._open()
        except (av.FFmpegError, OSError) as exc:
            self._discard()
            raise write_failed(self.path, exc) from exc
        except BaseException:
            self._discard()
            raise
        return self

    @property
    def packs(self) -> bool:
        """Whether it wants cut-outs with alpha and colours where they were computed, even if that is a GPU."""
        return self._pictures.packs

    def write(self, cutout: Cutout) -> None:
        """Append a cut-out.

        Raises:
            WriteFailed: The disk or the encoder refused.
        """
        self._check_open()
        frame = self._pictures.paint(cutout)
        frame.pts = self._times.pts(cutout.frame)
        self._written = True
        frame.duration = self._times.duration(cutout.frame)
        frame.time_base = self._times.clock
        context = self._file.stream.codec_context
        frame.color_range, frame.colorspace = self._pictures.range, context.colorspace
        frame.color_primaries, frame.color_trc = context.color_primaries, context.color_trc  # ProRes stores them
        try:
            self._file.encode(frame)
        except (av.FFmpegError, OSError) as exc:
            raise write_failed(self.path, exc) from exc

    def append(self, path: Path) -> None:
        """Append a part of the clip, which a writer with ``packets`` has written with the same encoding.

        Raises:
            WriteFailed: The disk refused, or the part is damaged.
        """
        self._check_open()
        try:
            self._written |= self._file.append(path)
        except (av.FFmpegError, OSError) as exc:
            raise write_failed(self.path, exc) from exc

    def finish(self) -> None:
        """Complete the file, still under its temporary name. Once, after the last cut-out; leaving does it otherwise.

        Raises:
            WriteFailed: The disk or the encoder refused, or there were no cut-outs.
        """
        self._check_open()
        if not self._written:
            raise WriteFailed(f"{self.path} would have no frames", hint="no frames were written")
        try:
            self._file.finish(self.path)
        except (av.FFmpegError, OSError) as exc:
            raise write_failed(self.path, exc) from exc
        self.description += self._file.lost() + self._contents.told

    def lengths(self) -> Lengths:
        """The lengths of the streams, read from the finished file."""
        with open_container(str(self.temporary if self.temporary.exists() else self.path)) as container:
            return lengths_in(container)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                if self._file.is_open:
                    self.finish()
                self.part.publish(self.temporary, overwrite=self._overwrite)
        finally:
            self._discard()

    def _check_open(self) -> None:
        if not self._file.is_open:
            raise RuntimeError("a writer takes cut-outs inside its with statement, and none once it is finished")

    def _discard(self) -> None:
        """Close everything, and remove the temporary file, unless it was published and has another name."""
        self._file.discard()
        self._contents.close()
        self.part.leave()


class _Pictures(NamedTuple):
    """How cut-outs become the encoder's frames, and the range and matrix of their colours.

    ``packs``: Alpha and colours may be on a GPU.
    """

    paint: Callable[[Cutout], av.VideoFrame]
    range: int
    matrix: int
    packs: bool = False


def _pictures(encoding: Encoding, info: StreamInfo, size: tuple[int, int], contents: Contents) -> _Pictures:
    profile = None if contents.part == "matte" else info.profile
    pixels = av.VideoFormat(encoding.pixels)
    if not pixels.is_rgb and len(pixels.components) > 1:
        painter = CutoutPainter(encoding, info, size, contents)
        matrix = matrix_for(info.color, info.width, info.height)
        swing = FULL if painter.full_range else STUDIO
        if profile is None or is_srgb(profile):
            return _Pictures(painter, swing, matrix, painter.packs)
        return _Pictures(lambda cutout: painter(in_srgb(cutout.home(), profile)), swing, matrix)
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


def _add_stream(
    encoding: Encoding,
    info: StreamInfo,
    size: tuple[int, int],
    pictures: _Pictures,
    clock: Fraction,
    out: av.container.OutputContainer,
) -> av.VideoStream:
    stream = out.add_stream(encoding.codec, rate=info.frame_rate, options=dict(encoding.options))
    assert isinstance(stream, av.VideoStream)
    stream.width, stream.height = size
    stream.pix_fmt = encoding.pixels
    context = stream.codec_context
    stream.time_base = context.time_base = clock
    context.sample_aspect_ratio = info.pixel_aspect
    context.thread_type = "FRAME" if encoding.codec in _INTRA else "AUTO"
    context.color_range, context.colorspace = pictures.range, pictures.matrix
    context.color_primaries = info.color.primaries
    context.color_trc = BT709 if is_light(info.color) else info.color.transfer
    if encoding.quantiser is not None:
        context.global_quality = encoding.quantiser  # in prores_ks that is the quantiser, without FFmpeg's lambda
    context.flags |= Flags.frame_duration  # without it, FFmpeg has the last frame last as long as all do on average
    if info.timecode is not None and encoding.container not in IN_MILLISECONDS:
        stream.metadata["timecode"] = info.timecode
    return stream


def _described(encoding: Encoding, info: StreamInfo, size: tuple[int, int], encoded: tuple[int, int]) -> str:
    """What is written, and what of the stream the file cannot hold."""
    said = [encoding.says]
    if encoded != size:
        said.append(f"padded from {size[0]}×{size[1]} to {encoded[0]}×{encoded[1]}")
    if encoding.container in IN_MILLISECONDS:
        if info.pixel_aspect != 1:  # the container has DisplayWidth for it, but PyAV cannot set it
            said.append(f"pixel aspect {info.pixel_aspect.numerator}:{info.pixel_aspect.denominator} left out")
        if info.timecode is not None:
            said.append(f"timecode {info.timecode} left out")
    pixels = av.VideoFormat(encoding.pixels)
    is_ycbcr = not pixels.is_rgb and len(pixels.components) > 1
    if is_ycbcr and spans_whole_range(info.color) and not encoding.says_range:
        said.append("full range written as studio range")
    return ", ".join(said)
