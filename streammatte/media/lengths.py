"""How long the streams of a media file are, as the file states it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import av

from streammatte.media.read.choosing import picture_of


@dataclass(frozen=True, slots=True)
class Lengths:
    """Seconds of the best video and the first audio stream; ``None`` if there is none, or its length is not stated.

    Attributes:
        audible: There is sound, whether its length is stated or not.
    """

    video: float | None
    audio: float | None
    audible: bool = False

    @property
    def heard(self) -> float | None:
        """Seconds of sound: 0 without sound, ``None`` if unknown."""
        return self.audio if self.audible else self.audio or 0.0

    def within(self, begin: Fraction, end: Fraction | None) -> Lengths:
        """Those of a part, in seconds; an end of ``None`` is the file's own."""

        def part(length: float | None) -> float | None:
            if length is None:
                return None
            return max(0.0, (length if end is None else min(float(end), length)) - float(begin))

        return Lengths(part(self.video), part(self.audio), self.audible)


def lengths_in(container: av.container.InputContainer) -> Lengths:
    """As an open file's header states them."""
    sound = next((stream for stream in container.streams.audio if stream.codec_context is not None), None)
    return Lengths(_length(picture_of(container)), _length(sound), sound is not None)


def _length(stream: av.stream.Stream | None) -> float | None:
    if stream is None:
        return None
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    # Matroska writes 00:00:05.312000000, counted from 0; others may put anything there.
    stated = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    if stated is None:
        return None
    hours, minutes, seconds = stated.groups()
    start = (stream.start_time or 0) * (stream.time_base or 0)
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds) - max(0.0, float(start))
