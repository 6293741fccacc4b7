"""Which part of a clip is read: in, out and handles, as frame numbers, times or timecode."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av

from streammatte.errors import InputError
from streammatte.media.containers import indexed_packets, only, open_container, size_of
from streammatte.media.read.damage import ONE_PICTURE_A_PACKET
from streammatte.media.timecode import Timecode

_LONGEST_MARK = 40  # characters
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")
_CLOCK = re.compile(r"(?:(\d+):(?=\d+:\d+$))?(\d+):([0-5]?\d(?:\.\d+)?)")  # with hours, SS.FF is timecode
# Codecs that store both fields of an interlaced frame in one packet.
_WHOLE_FRAMES = ("prores", "dnxhd", "ffv1")


@dataclass(frozen=True, slots=True)
class Timeline:
    """The facts that marks are resolved against.

    Attributes:
        name: The clip, for messages.
        count: Its frames.
        rate: Frames a second, of its timecode.
        at: The frame on screen so many seconds after the first began; ``count`` or more when the clip is over.
        start: Timecode of the first frame; ``None`` counts from 00:00:00:00.
        first_number: Number of the first frame.
    """

    name: str
    count: int
    rate: Fraction
    at: Callable[[Fraction], int]
    start: Timecode | None = None
    first_number: int = 0


def frame_at(mark: str, option: str, clip: Timeline) -> int:
    """The index of the frame that a mark names: a number, a time, or timecode. Errors name ``option``."""
    if len(mark) > _LONGEST_MARK:  # Python converts no number of thousands of digits
        raise InputError(
            f"{option} {mark[:12]}… is not a frame number, a time or timecode",
            hint="write it as 75, 3s, 1:02.5 or 01:00:00:00",
        )
    if mark.isdecimal():
        index = int(mark) - clip.first_number
        if not 0 <= index < clip.count:
            raise InputError(
                f"{option} {mark} is outside {clip.name}: its frames are {clip.first_number} to "
                f"{clip.first_number + clip.count - 1}",
                hint="give a frame number, a time such as 3s or 1:02.5, or timecode such as 00:00:10:00",
            )
        return index
    if (seconds := seconds_of(mark)) is not None:
        index = clip.at(seconds)
        if index >= clip.count:
            raise InputError(
                f"{option} {mark} is outside {clip.name}, which has {clip.count} frames",
                hint="times count from the clip's first frame",
            )
        return index
    if ":" not in mark:
        raise InputError(
            f"{option} {mark} is not a frame number, a time or timecode",
            hint="write it as 75, 3s, 1:02.5 or 01:00:00:00",
        )
    code = Timecode.parse(mark, clip.rate, drop=clip.start is not None and clip.start.drop)
    begin = clip.start or Timecode(0, code.counting, code.drop)
    if code.drop != begin.drop:
        raise InputError(
            f"{option} {mark} is drop-frame timecode, but {clip.name} begins at {begin}",
            hint="write : before the frames",
        )
    after = (code.frames - begin.frames) % begin.a_day  # a clip may run past midnight
    index = clip.at(after / clip.rate)
    if index >= clip.count:
        raise InputError(
            f"{option} {mark} is outside {clip.name}: it begins at {begin} and has {clip.count} frames",
            hint="timecode counts from the clip's own start, or from 00:00:00:00 if it has none",
        )
    return index


def seconds_of(mark: str) -> Fraction | None:
    """The seconds of ``3s``, ``1:02.5`` or ``1:00:00``, from the first frame; ``None`` for any other mark."""
    if found := _SECONDS.fullmatch(mark):
        return Fraction(found[1])
    if found := _CLOCK.fullmatch(mark):
        return 3600 * int(found[1] or 0) + 60 * int(found[2]) + Fraction(found[3])
    return None


@dataclass(frozen=True, slots=True)
class Marks:
    """The part of a clip that is wanted.

    Attributes:
        first, last: First and last frame, both included, as :func:`frame_at` reads them; ``None`` is the clip's own.
        handles: Extra frames on both sides, where there are any.
    """

    first: str | None = None
    last: str | None = None
    handles: int = 0

    def __bool__(self) -> bool:
        return self.first is not None or self.last is not None

    def within(self, clip: Timeline) -> tuple[range, str]:
        """The frames, handles included, and one line that says which they are."""
        first = 0 if self.first is None else frame_at(self.first, "--in", clip)
        last = clip.count - 1 if self.last is None else frame_at(self.last, "--out", clip)
        if last < first:
            raise InputError(
                f"--out {self.last} is before --in {self.first or clip.first_number}",
                hint="--out is the last frame that is included",
            )
        frames = range(max(0, first - self.handles), min(clip.count, last + self.handles + 1))
        begin, end = (clip.first_number + index for index in (frames.start, frames.stop - 1))
        says = f"frame {begin} of {clip.name}" if begin == end else f"frames {begin} to {end} of {clip.name}"
        if self.handles:
            says += f", with handles of {first - frames.start} before and {frames.stop - 1 - last} after"
        return frames, says


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a clip's frames.

    Attributes:
        first: Index of its first frame.
        count: Number of its frames.
        begin, last: pts of its first and last frame.
        end: pts at which its last frame ends; ``None`` where the clip ends, too.
        key: pts of a key frame to decode from; ``None`` for the beginning.
    """

    first: int
    count: int
    begin: int
    last: int
    end: int | None
    key: int | None


def span_of(frames: range, times: Sequence[int], keys: Sequence[int]) -> Span:
    """The span of ``frames``, given the pts of the clip's frames and of those it can be sought by, both in order."""
    begin, last = times[frames.start], times[frames.stop - 1]
    end = times[frames.stop] if frames.stop < len(times) else None
    before = bisect_right(keys, begin)
    return Span(frames.start, len(frames), begin, last, end, keys[before - 1] if before else None)


def shown_at(times: Sequence[int], time_base: Fraction, rate: Fraction) -> Callable[[Fraction], int]:
    """``Timeline.at`` for frames with these pts."""
    # Containers round times, at worst to a millisecond; frames are further apart than that.
    slack = Fraction(1, 4) / rate

    def at(seconds: Fraction) -> int:
        due = times[0] + (seconds + slack) / time_base
        if due >= times[-1] + 1 / (rate * time_base):
            return len(times)
        return bisect_right(times, due) - 1

    return at


def times_by_packets(
    url: str, index: int, first: int, *, interlaced: bool
) -> tuple[Sequence[int], Sequence[int]] | None:
    """The pts of all frames and of the key frames of a stream, without decoding; ``None`` where packets do not tell.

    Args:
        first: pts of the first decoded frame.
        interlaced: A packet may be one of two fields.
    """
    with open_container(url) as container:
        stream = container.streams[index]
        codec = stream.codec_context.codec.canonical_name
        if codec not in ONE_PICTURE_A_PACKET or container.format.name == "avi":
            return None
        if interlaced and codec not in _WHOLE_FRAMES:
            return None
        only(container, stream)
        times: list[int] = []
        keys: list[int] = []
        entries = [entry for entry in stream.index_entries if entry.size and not entry.is_discard]
        if codec in _WHOLE_FRAMES and indexed_packets(container, stream) and _is_all_there(entries, url):
            # Shown in the order they are stored in, so the index tells, and a remote file is not read through.
            times = keys = [entry.timestamp for entry in entries if entry.timestamp >= first]
            return _checked(times, keys, first)
        try:
            for packet in container.demux(stream):
                if not packet.size or packet.is_discard:
                    continue
                if packet.pts is None:
                    return None
                if packet.pts >= first:
                    times.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
        except av.FFmpegError:
            pass  # the file is cut off here; reading it will say so
    return _checked(times, keys, first)


def _is_all_there(entries: Sequence[av.index.IndexEntry], url: str) -> bool:
    size = size_of(url)
    return size is not None and max((entry.pos + entry.size for entry in entries), default=size + 1) <= size


def _checked(times: list[int], keys: list[int], first: int) -> tuple[Sequence[int], Sequence[int]] | None:
    """In order; ``None`` where they are not what is decoded."""
    times, keys = sorted(times), sorted(keys)
    if not times or times[0] != first or len(set(times)) != len(times):
        return None
    return times, keys


def can_be_sought(url: str, index: int, key: int) -> bool:
    """Whether seeking to that key frame works, or leads to an earlier one."""
    with open_container(url) as container:
        stream = container.streams[index]
        try:
            container.seek(key, stream=stream)
            packet = next(iter(container.demux(stream)), None)
        except av.FFmpegError:
            return False
        return packet is not None and packet.is_keyframe and packet.pts is not None and packet.pts <= key
