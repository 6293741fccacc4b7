"""From where to where a clip is taken: in, out and handles, as frame numbers or timecode."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av

from streammatte.errors import InputError
from streammatte.media.containers import open_container
from streammatte.media.read.damage import ONE_PICTURE_A_PACKET
from streammatte.media.read.lane import only
from streammatte.media.timecode import Timecode

# Codecs of which interlaced footage, too, has both fields of a frame in one packet.
_WHOLE_FRAMES = ("prores", "dnxhd", "ffv1")


@dataclass(frozen=True, slots=True)
class Marks:
    """What is asked for.

    Attributes:
        first, last: The first and the last frame, both of them included; ``None`` is the clip's own. Digits are a
            frame's number, from 0, or of numbered pictures the picture's; else it is a timecode.
        handles: Frames more before and after, as far as there are any.
    """

    first: str | None = None
    last: str | None = None
    handles: int = 0

    def __bool__(self) -> bool:
        return self.first is not None or self.last is not None

    def within(
        self,
        name: str,
        count: int,
        at: Callable[[int], int],
        *,
        rate: Fraction,
        start: Timecode | None = None,
        first_number: int = 0,
    ) -> tuple[range, str]:
        """The frames that are meant, handles included, of ``count`` that there are; and that in words.

        Args:
            name: The clip's, for errors.
            at: Which frame is shown so many frames, at ``rate``, after the first; ``count`` or more past the end.
            rate: Of its timecode.
            start: The timecode of its first frame; without one, it begins at 00:00:00:00.
            first_number: Of its first frame.

        Raises:
            InputError: There is no such frame, or the last is before the first.
        """

        def place(text: str, option: str) -> int:
            if text.isdecimal():
                index = int(text) - first_number
                if not 0 <= index < count:
                    last = first_number + count - 1
                    raise InputError(
                        f"{option} {text} is not in {name}: its frames are {first_number} to {last}",
                        hint="give a frame's number, or a timecode such as 00:00:10:00",
                    )
                return index
            mark = Timecode.parse(text, rate, drop=start is not None and start.drop)
            begin = start or Timecode(0, mark.counting, mark.drop)
            if mark.drop != begin.drop:
                raise InputError(
                    f"{option} {text} is drop-frame timecode, and that of {name} is not: it begins at {begin}",
                    hint="write : before the frames",
                )
            after = (mark.frames - begin.frames) % begin.a_day  # a clip may run past midnight
            index = at(after)
            if index >= count:
                raise InputError(
                    f"{option} {text} is not in {name}: it begins at {begin} and has {count} frames",
                    hint="timecode is the clip's own, if it has any, and otherwise from 00:00:00:00",
                )
            return index

        first = 0 if self.first is None else place(self.first, "--in")
        last = count - 1 if self.last is None else place(self.last, "--out")
        if last < first:
            raise InputError(
                f"--out {self.last} is before --in {self.first or first_number}",
                hint="the frame at --out is the last that is taken",
            )
        frames = range(max(0, first - self.handles), min(count, last + self.handles + 1))
        says = f"frames {first_number + frames.start} to {first_number + frames.stop - 1} of {name}"
        if self.handles:
            says += f", of these {first - frames.start} before and {frames.stop - 1 - last} after as handles"
        return frames, says


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a clip's frames.

    Attributes:
        first: How many frames of the clip come before it.
        count: Frames in it.
        begin, last: The pts of its first and last frame.
        end: When its last frame ends, as pts; ``None`` where that is the end of the clip, too.
        key: The pts of a key frame to decode from; ``None`` if it has to be from the beginning.
    """

    first: int
    count: int
    begin: int
    last: int
    end: int | None
    key: int | None


def span_of(frames: range, times: Sequence[int], keys: Sequence[int]) -> Span:
    """The span of these frames.

    Args:
        times: The pts of all frames of the clip, in order.
        keys: The pts of those that can be sought.
    """
    begin, last = times[frames.start], times[frames.stop - 1]
    end = times[frames.stop] if frames.stop < len(times) else None
    before = bisect_right(keys, begin)
    return Span(frames.start, len(frames), begin, last, end, keys[before - 1] if before else None)


def shown_at(times: Sequence[int], time_base: Fraction, rate: Fraction) -> Callable[[int], int]:
    """Which frame is shown so many frames, at ``rate``, after the first: for :meth:`Marks.within`."""
    # Containers round times, to a millisecond at worst; frames are further apart than that.
    slack = Fraction(1, 4) / rate
    usual = 1 / rate

    def at(after: int) -> int:
        due = times[0] + (after / rate + slack) / time_base
        if due >= times[-1] + usual / time_base:
            return len(times)
        return bisect_right(times, due) - 1

    return at


def times_by_packets(
    url: str, index: int, first: int, *, interlaced: bool
) -> tuple[Sequence[int], Sequence[int]] | None:
    """When each frame of a stream is shown and which are key frames that can be sought, told without decoding.

    Args:
        index: Of the stream.
        first: The pts of the first frame that is decoded.
        interlaced: Its frames are, so that a packet may be one of two fields.

    Returns:
        pts of all and of key frames, in order; ``None`` where packets do not tell.
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
            pass  # it is cut off here, which reading it will tell
    times.sort()
    keys.sort()
    if not times or times[0] != first or len(set(times)) != len(times):
        return None
    return times, keys


def can_be_sought(url: str, index: int, key: int) -> bool:
    """Whether seeking leads to that key frame, or to one before it."""
    with open_container(url) as container:
        stream = container.streams[index]
        try:
            container.seek(key, stream=stream)
            packet = next(iter(container.demux(stream)), None)
        except av.FFmpegError:
            return False
        return packet is not None and packet.is_keyframe and packet.pts is not None and packet.pts <= key
