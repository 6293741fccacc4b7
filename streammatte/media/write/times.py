"""When frames are shown, in a file's own time."""

from __future__ import annotations

from fractions import Fraction

from streammatte.frame import Frame, StreamInfo

# A first pts later than this is an arbitrary clock (a broadcast, a camera's uptime), not a delay that was meant.
_LONGEST_DELAY = 60


class FileTimes:
    """The frames' times on the file's clock.

    Attributes:
        clock: The file's time base.
        shift: Units of the source's time base by which frames are moved; ``None`` before the first.
    """

    def __init__(self, info: StreamInfo, clock: Fraction) -> None:
        self.clock = clock
        self.shift: int | None = None
        self._info = info
        self._last = -1

    @property
    def moved(self) -> Fraction:
        """Seconds to add to times of the source."""
        return -(self.shift or 0) * self._info.time_base

    def begin(self, pts: int) -> None:
        """The clip's first frame has that pts."""
        late = pts < 0 or pts * self._info.time_base > _LONGEST_DELAY
        self.shift = pts if late or self._info.span is not None else 0

    def pts(self, frame: Frame) -> int:
        """Strictly later than the one before."""
        if self.shift is None:
            self.begin(frame.pts)
        self._last = max(round((frame.pts - (self.shift or 0)) * self._info.time_base / self.clock), self._last + 1)
        return self._last

    def duration(self, frame: Frame) -> int:
        seconds = frame.duration * self._info.time_base or 1 / self._info.frame_rate
        return max(1, round(seconds / self.clock))
