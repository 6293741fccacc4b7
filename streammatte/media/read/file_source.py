"""A media file as a source, by FFmpeg."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from itertools import islice
from types import TracebackType
from typing import Self

import av
import torch

from streammatte.color.ycbcr import color_of, fitted
from streammatte.errors import DecodeFailed, InputError
from streammatte.frame import Cutout, Frame, StreamInfo
from streammatte.media.addresses import PIPE, without_secrets
from streammatte.media.containers import INDEX_HINT
from streammatte.media.lengths import lengths_in
from streammatte.media.nvidia import has_nvdec, is_from_nvdec
from streammatte.media.read.alpha import NOT_A_MATTE, AlphaReader, has_alpha, is_grey
from streammatte.media.read.choosing import choice_told, left_out
from streammatte.media.read.decoding import Decoding
from streammatte.media.read.deinterlace import Interlaced
from streammatte.media.read.orientation import Orientation, display_matrix
from streammatte.media.read.reading import Manner, Reading, presentation_time
from streammatte.media.read.second_opinion import rate_of, size_told
from streammatte.media.read.span import Marks, Timeline, can_be_sought, frame_at, shown_at, span_of, times_by_packets
from streammatte.media.timecode import Timecode

_PICTURES_WITH_MORE = ("png_pipe", "jpeg_pipe", "tiff_pipe", "webp_pipe", "jpegxl_pipe", "psd_pipe", "apng")
_FILTERED = 2  # frames on either side that deinterlacing looks at
_LOOKED_AT = 12  # frames, before footage is taken for progressive; in hard telecine, two in five are interlaced


class FileSource:
    """The frames of a file's best video stream, upright, as ``Footage``. Standard input has only one pass.

    Memory does not grow with the clip, except for a few numbers a frame if ``marks`` are given. The arguments are those
    of :func:`~streammatte.media.open_video`, which says what is raised.

    Attributes:
        info: ``frame_count`` is what the container states, or else its duration times its rate.
        begins: When the first frame of the whole clip is shown, in seconds.
        has_alpha: The file has its own alpha; without one, only a matte in grey has ``cutouts()``.
        lengths: How long the streams of the part are, as the container states it.
    """

    first_number = 1

    def __init__(
        self,
        url: str,
        *,
        strict: bool = False,
        marks: Marks | None = None,
        interlaced: Interlaced = "as-is",
        on_gpu: bool = False,
    ) -> None:
        if marks and url == PIPE:
            raise InputError("--in and --out need a file: a pipe can be read only once", hint="save the input first")
        self._key: int | None = None
        self._sought: dict[int, bool] = {}  # key frames, and whether seeking to them works
        decoding, early = _begun(url, strict=strict, on_gpu=on_gpu and url != PIPE and has_nvdec())
        try:
            if interlaced == "refuse":
                early += _refuse_interlaced(decoding, early[0], url)
            first = early[0]
            self.has_alpha = has_alpha(first)
            upright = Orientation.of(first, display_matrix(decoding.stream))
            info, doubts = _described(decoding, first, upright, url)
            self._notes = [*_left_out(decoding, info, url), *doubts]
            if on_gpu and not decoding.on_gpu:
                why = "NVDEC cannot decode this stream" if has_nvdec() else "no NVDEC on this machine"
                self._notes.append(f"decoded on the CPU: {why}")
            if upright.says:
                self._notes.append(f"{upright.says}, as the file asks for")
            begin = presentation_time(first, None, info)
            self.begins = begin * info.time_base
            self.lengths = lengths_in(decoding.container)
            self._manner = Manner(url, info, upright, strict, interlaced, on_gpu=decoding.on_gpu)
            self._reading = Reading(decoding, self._manner, early)
            self._first = begin, first.interlaced_frame
            self._stream = decoding.stream.index
            if marks:
                self._narrow(marks)
        except BaseException:
            decoding.close()
            raise

    @property
    def info(self) -> StreamInfo:
        return self._manner.info

    @property
    def lost(self) -> str | None:
        """One line on what the last pass could not decode; ``None`` if nothing is missing."""
        return self._reading.lost

    @property
    def notes(self) -> list[str]:
        """What users should know about how it is read, a line each; complete after a pass."""
        timecode = self.info.timecode
        told = [] if timecode is None else [f"timecode from {timecode}"]
        return [*self._notes, *told, *self._reading.notes()]

    def stop(self) -> None:
        """Stop waiting for a pipe, since nobody wants more; from any thread."""
        self._reading.stop()

    def __len__(self) -> int:
        if self.info.frame_count is None:
            raise TypeError(f"{without_secrets(self._manner.url)} does not state how many frames it has")
        return self.info.frame_count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reading.close()

    def __iter__(self) -> Iterator[Frame]:
        for frame, _ in self._pass().pictures():
            yield frame

    def cutouts(self) -> Iterator[Cutout]:
        """The frames with the file's alpha or, if it has neither alpha nor colours, its luma."""
        to_alpha = AlphaReader()
        looked = self.has_alpha
        for frame, decoded in self._pass().pictures():
            if not looked and not is_grey(frame.rgb.permute(1, 2, 0).numpy()):
                raise InputError(
                    f"{without_secrets(self._manner.url)} {NOT_A_MATTE}",
                    hint="give a cut-out with alpha (.mov, .webm, RGBA pictures), or a matte in grey",
                )
            looked = True
            alpha = self._manner.upright(to_alpha(decoded))
            yield Cutout(frame, torch.from_numpy(fitted(alpha, self.info.width, self.info.height)))

    @property
    def indices(self) -> range:
        span = self._manner.span
        return range(len(self._whole[1])) if span is None else range(span.first, span.first + span.count)

    def frame_at(self, mark: str, option: str) -> int:
        return frame_at(mark, option, self._whole[0])

    def between(self, start: int, stop: int) -> Iterator[Frame]:
        manner, (_, times, keys) = self._manner, self._whole
        around = _FILTERED if manner.interlaced == "deinterlace" else 0
        span = span_of(range(max(0, start - around), min(len(times), stop + around)), times, keys)
        key = span.key if self._leads_to(span.key) else None
        decoding = Decoding(manner.url, strict=False, wanted=(span.begin, span.last), key=key, on_gpu=manner.on_gpu)
        for frame, _ in Reading(decoding, replace(manner, span=span, strict=False)).pictures():
            if start <= frame.index < stop:
                yield frame

    def _pass(self) -> Reading:
        """The pass that opening began, or a new one."""
        manner, span = self._manner, self._manner.span
        if self._reading.begun or self._reading.closed:
            if manner.url == PIPE:
                raise DecodeFailed("standard input can be read only once", hint="save it to a file first")
            wanted = None if span is None else (span.begin, span.last)
            decoding = Decoding(manner.url, strict=manner.strict, wanted=wanted, key=self._key, on_gpu=manner.on_gpu)
            self._reading = Reading(decoding, manner)
        self._reading.begun = True
        return self._reading

    @cached_property
    def _whole(self) -> tuple[Timeline, Sequence[int], Sequence[int]]:
        """The whole clip, the pts of its frames and of those it can be sought by; first asked before it is narrowed."""
        info, url, (begin, interlaced) = self.info, self._manner.url, self._first
        times, keys = times_by_packets(url, self._stream, begin, interlaced=interlaced) or self._times_by_decoding()
        start = None if info.timecode is None else Timecode.parse(info.timecode, info.frame_rate)
        at = shown_at(times, info.time_base, info.frame_rate)
        return Timeline(without_secrets(url), len(times), info.frame_rate, at, start), times, keys

    def _leads_to(self, key: int | None) -> bool:
        """Whether decoding can begin at that key frame."""
        if key is None:
            return False
        if key not in self._sought:
            self._sought[key] = can_be_sought(self._manner.url, self._stream, key)
        return self._sought[key]

    def _narrow(self, marks: Marks) -> None:
        """Find the marked frames, and where decoding has to begin for them."""
        info, (clip, times, keys) = self.info, self._whole
        start = clip.start
        frames, says = marks.within(clip)
        self._notes.insert(0, says)
        span = span_of(frames, times, keys)
        if self._leads_to(span.key):
            self._key = span.key
        seconds = span.begin * info.time_base, None if span.end is None else span.end * info.time_base
        if start is not None:
            start += round((span.begin - times[0]) * info.time_base * info.frame_rate)
        info = replace(
            info,
            frame_count=span.count,
            span=seconds,
            timecode=None if start is None else str(start),
            first_index=span.first,
        )
        self.lengths = self.lengths.within(*seconds)
        self._manner = replace(self._manner, info=info, span=span)
        self._reading.close()

    def _times_by_decoding(self) -> tuple[Sequence[int], Sequence[int]]:
        """The pts of all frames, where only decoding tells them; none of the frames can be sought."""
        with closing(Decoding(self._manner.url, strict=False)) as decoding:
            return [pts for _, pts, _ in Reading(decoding, replace(self._manner, interlaced="as-is")).timed()], []


def _begun(url: str, *, strict: bool, on_gpu: bool) -> tuple[Decoding, list[av.VideoFrame]]:
    """An open file and its first frame; what NVDEC cannot decode is decoded on the CPU, with all its threads."""
    try:
        decoding = Decoding(url, strict=strict, on_gpu=on_gpu)
        try:
            first = _first_of(decoding, url)
        except BaseException:
            decoding.close()
            raise
        if not on_gpu or is_from_nvdec(first):
            return decoding, [first]
        decoding.close()
    except InputError:
        if not on_gpu:
            raise
    return _begun(url, strict=strict, on_gpu=False)


def _first_of(decoding: Decoding, url: str) -> av.VideoFrame:
    first = next(decoding.frames, None)
    if first is None:
        raise DecodeFailed(
            f"no frame of {without_secrets(url)} can be decoded",
            hint=INDEX_HINT if url == PIPE else "the file is damaged, or neither a picture nor a video",
        )
    return first


def _refuse_interlaced(decoding: Decoding, first: av.VideoFrame, url: str) -> list[av.VideoFrame]:
    """Raise ``InputError`` if an early frame is interlaced; gives the frames that this took from a pipe."""
    early: list[av.VideoFrame] = []
    if url == PIPE:
        early = list(islice(decoding.frames, _LOOKED_AT - 1))
        found = any(frame.interlaced_frame for frame in (first, *early))
    elif not (found := first.interlaced_frame):
        with closing(Decoding(url, strict=False)) as again:
            found = any(frame.interlaced_frame for frame in islice(again.frames, _LOOKED_AT))
    if found:
        raise InputError(
            f"{without_secrets(url)} is interlaced",
            hint="--interlaced deinterlace makes it progressive; --interlaced as-is takes it as it is",
        )
    return early


def _described(
    decoding: Decoding, first: av.VideoFrame, upright: Orientation, url: str
) -> tuple[StreamInfo, list[str]]:
    """The stream as it is shown, and what is doubtful about what the file states."""
    stream = decoding.stream
    width, height = first.width, first.height
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if upright.transposed:
        width, height, aspect = height, width, 1 / aspect
    rate, doubt = rate_of(url, stream, interlaced=first.interlaced_frame)
    doubts = filter(None, [doubt, size_told(decoding.stated_size, (first.width, first.height))])
    count = stream.frames or None
    if count is None and decoding.container.duration:
        begin, end = decoding.stated_span()
        count = max(1, round((end - begin) * rate))
    time_base = stream.time_base or 1 / rate
    timecode = _timecode(stream, rate)
    return StreamInfo(width, height, time_base, rate, count, color_of(first), aspect, timecode), list(doubts)


def _left_out(decoding: Decoding, info: StreamInfo, url: str) -> Iterator[str]:
    """What is not read of the file, a line each."""
    container = decoding.container
    others = (("sound", container.streams.audio), ("subtitles", container.streams.subtitles))
    if url == PIPE and (names := " and ".join(name for name, found in others if found)):
        yield f"{names} left out: a pipe can be read only once"
    # From a file, other libraries read such pictures whole.
    if container.format.name in _PICTURES_WITH_MORE and (url == PIPE or "://" in url):
        yield "the picture's profile, mirroring and further frames are ignored, if it has any: read it from a file"
    yield from filter(None, [choice_told(container, decoding.stream)])
    yield from filter(None, [left_out(container, timecode=info.timecode is not None)])


def _timecode(stream: av.VideoStream, rate: Fraction) -> str | None:
    """The first frame's, from a timecode track or the container; ``None`` if there is none at that rate."""
    for metadata in (stream.metadata, stream.container.metadata):
        for key, value in metadata.items():
            if key.lower() == "timecode":
                try:
                    return str(Timecode.parse(value, rate))
                except InputError:
                    continue
    return None
