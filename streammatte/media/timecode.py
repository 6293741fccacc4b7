"""Timecode, as editors count frames: HH:MM:SS:FF, with or without dropped numbers (SMPTE ST 12-1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self

from streammatte.errors import InputError

_WRITTEN = re.compile(r"(\d\d?):(\d\d):(\d\d)([:;.])(\d\d\d?)")
_DROPPING = (Fraction(30000, 1001), Fraction(60000, 1001))
_NEAR = Fraction(1, 500)  # how far, as a share, a container's average rate may be from the one meant


@dataclass(frozen=True, slots=True)
class Timecode:
    """A frame's number in the day.

    Attributes:
        frames: Since 00:00:00:00; less than a day's.
        counting: Frames counted a second: 24 for 23.976, 30 for 29.97.
        drop: Each minute except every tenth skips its first two numbers (four at 59.94), to keep up with the clock.
    """

    frames: int
    counting: int
    drop: bool = False

    @classmethod
    def parse(cls, text: str, rate: Fraction, *, drop: bool = False) -> Self:
        """Read ``01:00:00:00``, or ``01:00:00;00`` for drop frame, at ``rate`` frames a second.

        Args:
            drop: It is drop frame even with ``:``.

        Raises:
            InputError: It is not timecode, or not at that rate.
        """
        counting = max(1, round(rate))
        found = _WRITTEN.fullmatch(text.strip())
        if found is None:
            raise InputError(f"{text!r} is not timecode", hint="write HH:MM:SS:FF, or HH:MM:SS;FF for drop frame")
        hours, minutes, seconds, frames = (int(found[place]) for place in (1, 2, 3, 5))
        if hours > 23 or minutes > 59 or seconds > 59 or frames >= counting:
            raise InputError(
                f"{text!r} is not timecode at {float(rate):.6g} fps",
                hint=f"hours up to 23, minutes and seconds up to 59, frames up to {counting - 1}",
            )
        drop = drop or found[4] in ";."
        if drop and not drops(rate):
            raise InputError(
                f"{text!r} is drop-frame timecode, which does not exist at {float(rate):.6g} fps",
                hint="write : before the frames; only 29.97 and 59.94 fps drop numbers",
            )
        skipped = counting // 15 if drop else 0
        if skipped and seconds == 0 and frames < skipped and minutes % 10:
            raise InputError(
                f"drop-frame timecode skips {text!r}",
                hint=f"the minute begins with {hours:02}:{minutes:02}:00;{skipped:02}",
            )
        whole = 60 * hours + minutes
        count = (60 * whole + seconds) * counting + frames - skipped * (whole - whole // 10)
        return cls(count, counting, drop)

    def __add__(self, frames: int) -> Self:
        """That many frames later; after midnight it starts again."""
        return replace(self, frames=(self.frames + frames) % self.a_day)

    @property
    def a_day(self) -> int:
        """Frames in 24 hours."""
        return 86400 * self.counting - (self.counting // 15 * 1296 if self.drop else 0)

    def __str__(self) -> str:
        number = self.frames
        if self.drop:
            skipped = self.counting // 15
            tens, rest = divmod(number, 600 * self.counting - 9 * skipped)
            number += skipped * 9 * tens
            first = 60 * self.counting  # the first of ten minutes drops nothing
            if rest >= first:
                number += skipped * (1 + (rest - first) // (first - skipped))
        seconds, frames = divmod(number, self.counting)
        separator = ";" if self.drop else ":"
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{separator}{frames:02}"


def drops(rate: Fraction) -> bool:
    """Whether there is drop-frame timecode at that rate: 29.97 or 59.94, within an average's precision."""
    return any(abs(rate / exact - 1) < _NEAR and rate.denominator != 1 for exact in _DROPPING)
