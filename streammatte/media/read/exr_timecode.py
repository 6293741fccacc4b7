"""Timecode in EXR's ``timeCode`` attribute (SMPTE ST 12-1, as OpenEXR's "Standard Attributes" has it)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import OpenEXR

from streammatte.errors import InputError
from streammatte.media.timecode import Timecode

# The tens of frames have two bits. Faster footage counts pairs of frames; a flag marks the second of a pair.
_FRAMES_THAT_FIT, _MOST_IN_PAIRS = 30, 60


def has_attribute(timecode: Timecode) -> bool:
    """Whether the attribute can hold it: up to 60 frames a second."""
    return timecode.counting <= _MOST_IN_PAIRS


def attribute_of(timecode: Timecode) -> OpenEXR.TimeCode:
    """Convert to the attribute's value."""
    hours, minutes, seconds, frames = (int(part) for part in str(timecode).replace(";", ":").split(":"))
    value = OpenEXR.TimeCode()
    value.hours, value.minutes, value.seconds, value.dropFrame = hours, minutes, seconds, timecode.drop
    if timecode.counting > _FRAMES_THAT_FIT:
        frames, value.fieldPhase = divmod(frames, 2)
    value.frame = frames
    return value


def timecode_in(header: dict[str, Any], rate: Fraction) -> str | None:
    """As editors write it; ``None`` if the header has none, or none that is valid at ``rate``."""
    value = header.get("timeCode")
    if not isinstance(value, OpenEXR.TimeCode):
        return None
    frames = int(value.frame)
    if round(rate) > _FRAMES_THAT_FIT:
        frames = 2 * frames + bool(value.fieldPhase)
    try:
        written = f"{value.hours:02}:{value.minutes:02}:{value.seconds:02}:{frames:02}"
        return str(Timecode.parse(written, rate, drop=bool(value.dropFrame)))
    except InputError:
        return None
