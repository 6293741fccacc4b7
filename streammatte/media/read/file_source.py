"""Frames of a media file, in the order they are shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain, islice
from types import TracebackType
from typing import Self

import av
import torch

from streammatte.color.ycbcr import RgbReader, color_of, fitted
from streammatte.errors import DecodeFailed, InputError
from streammatte.frame import Cutout, Frame, StreamInfo
from streammatte.media.addresses import PIPE, without_secrets
from streammatte.media.containers import INDEX_HINT
from streammatte.media.lengths import Lengths, lengths_in
from streammatte.media.read.alpha import AlphaReader, has_alpha, is_grey
from streammatte.media.read.choosing import choice_told, left_out
from streammatte.media.read.damage import LONGEST_GAP
from streammatte.media.read.decoding import Decoding
from streammatte.media.read.deinterlace import Interlaced, deinterlaced
from streammatte.media.read.orientation import Orientation, display_matrix
from streammatte.media.read.second_opinion import OneColour, rate_of, size_told
from streammatte.media.read.span import (
    Marks,
    Span,
    can_be_sought,
    shown_at,
    span_of,
    times_by_packets,
)
from streammatte.media.timecode import Timecode

_PICTURES_WITH_MORE = ("png_pipe", "jpeg_pipe", "tiff_pipe", "webp_pipe", "jpegxl_pipe", "psd_pipe", "apng")
_LOOKED_AT = 12  # frames, before footage is taken for progressive; of hard telecine, two in five are interlaced


class FileSource:
    """The frames of a file's best video stream (as FFmpeg ranks them), attached pictures left out. Read once.

    A rotation or mirroring in the display matrix, as phones write it, is applied to the pixels; ``info`` is of the
    picture as shown. Iterating gives frames, without the alpha that the file may hold, ``cutouts()`` frames with it;
    one of the two, once. Memory does not grow with the clip, but for a few numbers a frame where ``marks`` are given.

    Args:
        url: Path of anything FFmpeg opens, an address with a scheme, or ``-`` for standard input.
        strict: Raise ``DecodeFailed`` at the first damage instead of going on and telling it in ``lost``.
        marks: Which part of it comes. A frame's ``index`` and ``pts`` are those that it has in the whole clip.
        interlaced: What is done with interlaced footage: refuse it, make one progressive picture of each frame, or
            take frames as they are.

    Attributes:
        info: What is known before the first frame. ``frame_count`` is what the container states, or else its duration
            times its rate; the truth is what comes.
        lost: One line on what could not be decoded, known once the frames have run out; ``None`` if nothing is missing.
        first_number: The number an image sequence made of this clip begins with.
        begins: When the first frame of the whole is shown, in seconds.
        has_alpha: The file has an alpha of its own; without one, only a matte has ``cutouts()``.

    Raises:
        SourceNotFound: There is no such file, or it may not be read.
        NoVideoStream: It holds no pictures.
        DecodeFailed: It is not a media file, or not one frame of it can be decoded.
        InputError: It does not have the frames that are marked, or is interlaced and that is refused.
    """

    first_number = 1

    def __init__(
        self, url: str, *, strict: bool = False, marks: Marks | None = None, interlaced: Interlaced = "as-is"
    ) -> None:
        self.lost: str | None = None
        self._url = url
        self._strict = strict
        self._handling = interlaced
        self._span: Span | None = None
        self._part = ""
        self._interlaced_frames = 0
        self._scaled = 0
        self._doubts: list[str] = []
        self._one_colour = OneColour()
        self._first_interlaced = 0
        self._decoding = Decoding(url, strict=strict)
        self._early: deque[av.VideoFrame] = deque()  # decoded already, to see what kind they are of
        try:
            first = next(self._decoding.frames, None)
            if first is None:
                raise DecodeFailed(
                    f"{without_secrets(url)} has no frame that can be decoded",
                    hint=INDEX_HINT if url == PIPE else "the file is damaged, or neither a picture nor a video",
                )
            if interlaced == "refuse" and (first.interlaced_frame or self._is_interlaced_soon()):
                raise InputError(
                    f"{without_secrets(url)} is interlaced: its frames hold two moments, a line each in turn",
                    hint="--interlaced deinterlace makes progressive pictures of it; as-is takes it as it is",
                )
            self._first: av.VideoFrame | None = first
            self.has_alpha = has_alpha(first)
            self._upright = Orientation.of(first, display_matrix(self._decoding.stream))
            self._info = self._describe(first)
            self._left_out = [*self._left_out_of(self._decoding.container)]
            self.begins = _presentation_time(first, None, self._info) * self._info.time_base
            if marks:
                if url == PIPE:
                    raise InputError(
                        "no part of standard input can be marked: a pipe can be read only once",
                        hint="save what comes to a file first",
                    )
                self._go_to(marks, first)
        except BaseException:
            self._decoding.close()
            raise

    @property
    def info(self) -> StreamInfo:
        return self._info

    @property
    def lengths(self) -> Lengths:
        """Of what comes, as the container states it."""
        whole = lengths_in(self._decoding.container)
        if self._info.span is None:
            return whole
        begin, end = (None if each is None else float(each) for each in self._info.span)

        def part(length: float | None) -> float | None:
            if length is None or begin is None:
                return None
            return max(0.0, (length if end is None else min(end, length)) - begin)

        return Lengths(part(whole.video), part(whole.audio))

    @property
    def notes(self) -> list[str]:
        """What a user should know of how it is read, a line each; complete once the frames have run out."""
        notes = [*([self._part] if self._part else []), *self._left_out, *self._doubts]
        if self._upright.says:
            notes.append(f"{self._upright.says}, as the file asks for")
        if self._info.timecode is not None:
            notes.append(f"timecode from {self._info.timecode}")
        if self._scaled:
            frames = "1 frame has" if self._scaled == 1 else f"{self._scaled} frames have"
            notes.append(f"{frames} another size, and {'was' if self._scaled == 1 else 'were'} scaled")
        if self._interlaced_frames:
            done = "deinterlaced" if self._handling == "deinterlace" else "taken as they are"
            frames = "1 frame is" if self._interlaced_frames == 1 else f"{self._interlaced_frames} frames are"
            seconds = float(self._first_interlaced * self._info.time_base)
            notes.append(f"{frames} interlaced, the first at {seconds:.2f} s: {done}")
        return notes

    def _left_out_of(self, container: av.container.InputContainer) -> Iterator[str]:
        """What of the file is not read, a line each."""
        others = (("sound", container.streams.audio), ("subtitles", container.streams.subtitles))
        if self._url == PIPE and (left := " and ".join(name for name, found in others if found)):
            yield f"{left} left out: a pipe can be read only once"
        # Pictures in files that have more than FFmpeg sees are read by other libraries.
        if container.format.name in _PICTURES_WITH_MORE and (self._url == PIPE or "://" in self._url):
            yield "a profile, mirroring and further frames that the picture may have are ignored: read it from a file"
        yield from filter(None, [choice_told(container, self._decoding.stream)])
        yield from filter(None, [left_out(container, timecode=self._info.timecode is not None)])

    def stop(self) -> None:
        """Nobody wants more: let a read end that waits for a pipe. From any thread."""
        self._decoding.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._decoding.close()

    def __iter__(self) -> Iterator[Frame]:
        for frame, _ in self._pictures():
            yield frame

    def cutouts(self) -> Iterator[Cutout]:
        """The frames, each with its alpha: the file's own or, if it has none and no colours either, its luma.

        Raises:
            InputError: It holds neither alpha nor a matte.
            DecodeFailed: As iterating.
        """
        to_alpha = AlphaReader()
        looked = self.has_alpha
        for frame, decoded in self._pictures():
            if not looked and not is_grey(frame.rgb.permute(1, 2, 0).numpy()):
                raise InputError(
                    f"{without_secrets(self._url)} has neither alpha nor a greyscale picture",
                    hint="give a plate (.mov, .webm, RGBA pictures) or a matte in grey",
                )
            looked = True
            alpha = self._upright(to_alpha(decoded))
            yield Cutout(frame, torch.from_numpy(fitted(alpha, self._info.width, self._info.height)))

    def _go_to(self, marks: Marks, first: av.VideoFrame) -> None:
        """Find the frames that are marked, and begin anew where they can be decoded from."""
        info = self._info
        begin = _presentation_time(first, None, info)
        times, keys = (
            times_by_packets(self._url, self._decoding.stream.index, begin, interlaced=first.interlaced_frame)
            or self._times_by_decoding()
        )
        frames, self._part = marks.within(
            self._url,
            len(times),
            shown_at(times, info.time_base, info.frame_rate),
            rate=info.frame_rate,
            start=None if info.timecode is None else Timecode.parse(info.timecode, info.frame_rate),
        )
        span = self._span = span_of(frames, times, keys)
        key = span.key
        if key is not None and not can_be_sought(self._url, self._decoding.stream.index, key):
            key = None
        self._decoding.close()
        self._decoding = Decoding(self._url, strict=self._strict, wanted=(span.begin, span.last), key=key)
        self._first = next(self._decoding.frames, None)
        seconds = span.begin * info.time_base, None if span.end is None else span.end * info.time_base
        code = info.timecode
        if code is not None:
            passed = round((span.begin - times[0]) * info.time_base * info.frame_rate)
            code = str(Timecode.parse(code, info.frame_rate) + passed)
        self._info = replace(info, frame_count=span.count, span=seconds, timecode=code, first_index=span.first)

    def _times_by_decoding(self) -> tuple[Sequence[int], Sequence[int]]:
        """When each frame is shown, where only decoding tells; none of them is to be sought."""
        with FileSource(self._url) as whole:
            return [pts for _, pts, _ in whole._timed()], []

    def _is_interlaced_soon(self) -> bool:
        """Whether one of the first frames is, though not the first."""
        if self._url == PIPE:
            self._early.extend(islice(self._decoding.frames, _LOOKED_AT - 1))
            return any(frame.interlaced_frame for frame in self._early)
        with FileSource(self._url) as again:
            return any(frame.interlaced_frame for frame in islice(again._decoding.frames, _LOOKED_AT))

    def _pictures(self) -> Iterator[tuple[Frame, av.VideoFrame]]:
        """Every frame, and what it was decoded as."""
        first = self._first
        if first is None:
            raise DecodeFailed(
                f"{without_secrets(self._url)} has been read already", hint="open it again to read it again"
            )
        to_rgb = RgbReader(first.width, first.height, codec=self._decoding.stream.codec_context.name)
        span = self._span
        before = 0 if span is None else span.first
        delivered = 0
        for decoded, pts, duration in self._timed():
            if span is not None and pts < span.begin:
                continue
            if span is not None and pts > span.last:
                break
            self._scaled += (decoded.width, decoded.height) != (first.width, first.height)
            rgb, samples = to_rgb.read(decoded)
            if samples and self._upright.says:
                samples = replace(samples, upright=self._upright)
            self._one_colour.look(rgb)
            picture = torch.from_numpy(self._upright(rgb)).permute(2, 0, 1)
            yield Frame(picture, pts, before + delivered, duration, samples), decoded
            delivered += 1
            if span is not None and pts == span.last:
                break
        self._doubts += filter(None, [self._one_colour.told(self._decoding.bytes_read)])
        self._decoding.ledger.refuse_a_change()
        _, end = self._decoding.stated_span()
        self.lost = self._decoding.ledger.account(delivered, self._info.frame_rate, end)
        if self.lost and self._strict:
            raise DecodeFailed(
                f"{without_secrets(self._url)}: {self.lost}", hint="without --strict what can be decoded is delivered"
            )

    def _timed(self) -> Iterator[tuple[av.VideoFrame, int, int]]:
        """Every frame, its pts, and how long it is shown: until the next one comes."""
        first, self._first = self._first, None
        early = [first] if first is not None else []
        frames = self._noting_interlaced(chain(early, self._left_of(self._early), self._decoding.frames))
        if self._handling == "deinterlace":
            frames = deinterlaced(frames, self._info.time_base)
        held: tuple[av.VideoFrame, int] | None = None
        for decoded in frames:
            pts = _presentation_time(decoded, None if held is None else held[1], self._info)
            if held is not None:
                yield *held, pts - held[1]
            held = decoded, pts
        if held is not None:
            yield *held, held[0].duration or _usual_duration(self._info)

    @staticmethod
    def _left_of(frames: deque[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """Each of them once, let go of as it is taken."""
        while frames:
            yield frames.popleft()

    def _noting_interlaced(self, frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """The frames, those counted that hold two moments."""
        begin = None if self._span is None else self._span.begin
        for frame in frames:
            if frame.interlaced_frame and (begin is None or frame.pts is None or frame.pts >= begin):
                if not self._interlaced_frames:
                    self._first_interlaced = frame.pts or 0
                self._interlaced_frames += 1
            yield frame

    def _describe(self, first: av.VideoFrame) -> StreamInfo:
        stream = self._decoding.stream
        width, height = first.width, first.height
        aspect = stream.sample_aspect_ratio or Fraction(1)
        if self._upright.transposed:
            width, height, aspect = height, width, 1 / aspect
        rate, doubt = rate_of(self._url, stream, interlaced=first.interlaced_frame)
        self._doubts += filter(None, [doubt, size_told(self._decoding.stated_size, (first.width, first.height))])
        time_base = stream.time_base or 1 / rate
        count = stream.frames or None
        if count is None and self._decoding.container.duration:
            begin, end = self._decoding.stated_span()
            count = max(1, round((end - begin) * rate))
        return StreamInfo(
            width, height, time_base, rate, count, color_of(first), aspect, timecode=_timecode(stream, rate)
        )


def _presentation_time(frame: av.VideoFrame, previous: int | None, info: StreamInfo) -> int:
    """The frame's own pts; where it has none, or one that runs backwards or far ahead, the one that comes next."""
    for stamp in (frame.pts, frame.dts):
        if stamp is None:
            continue
        if previous is None or 0 < stamp - previous <= LONGEST_GAP / info.time_base:
            return stamp
    if previous is None:
        return 0
    return previous + (frame.duration or _usual_duration(info))


def _usual_duration(info: StreamInfo) -> int:
    return max(1, round(1 / (info.frame_rate * info.time_base)))


def _timecode(stream: av.VideoStream, rate: Fraction) -> str | None:
    """When its first frame was shot, as a timecode track or the container states it; one that cannot be is left out."""
    for metadata in (stream.metadata, stream.container.metadata):
        for key, value in metadata.items():
            if key.lower() == "timecode":
                try:
                    return str(Timecode.parse(value, rate))
                except InputError:
                    continue
    return None
