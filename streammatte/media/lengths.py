"""How long the streams of a media file are, as it states."""

from __future__ import annotations

import re
from dataclasses import dataclass

import av

from streammatte.media.read.choosing import picture_of


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of the best video stream and the first audio stream, in seconds; ``None`` if it is not there or not stated.

    Attributes:
        audible: There is sound, be its length stated or not.
    """

    video: float | None
    audio: float | None
    audible: bool = False

    @property
    def heard(self) -> float | None:
        """Seconds of sound: 0 if there is none, ``None`` if nobody knows."""
        return self.audio if self.audible else self.audio or 0.0


def lengths_in(container: av.container.InputContainer) -> Lengths:
    """What the header of an open file says."""
    sound = next((stream for stream in container.streams.audio if stream.codec_context is not None), None)
    return Lengths(_length(picture_of(container)), _length(sound), sound is not None)


def _length(stream: av.stream.Stream | None) -> float | None:
    if stream is None:
        return None
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    # As Matroska does: 00:00:05.312000000, counted from 0. Others may put anything there.
    stated = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    if stated is None:
        return None
    hours, minutes, seconds = stated.groups()
    start = (stream.start_time or 0) * (stream.time_base or 0)
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds) - max(0.0, float(start))
