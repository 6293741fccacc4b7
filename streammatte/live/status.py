"""The status of a live run: rates, latency, dropped frames."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

_RATE_OVER = 3.0  # seconds
_LATENCIES = 300  # pictures that the percentiles are taken over
_LONGEST = 10_000  # milliseconds; longer ones count as this

State = Literal["starting", "live", "lost", "stopped"]


@dataclass(frozen=True, slots=True)
class Status:
    """One moment of a run.

    Attributes:
        state: ``starting`` before the first matte; ``lost`` while the camera is gone.
        seconds: Since the run began.
        rate_in, rate_out: Frames a second from the camera, and of those shown, lately; when stopped, over the run.
        latency_ms, latency_p95_ms: Median and 95th percentile from capture until the outputs get the picture, without
            their queues. ``None`` before the first picture.
        shown: Frames that were shown.
        dropped: Frames that came while others were being matted.
        dropped_by_outputs: Pictures that an output's queue had no room for.
        held: Pictures shown in place of frames that did not come.
        failed: Frames without a matte, which were not shown.
        damaged: Packets and pictures that arrived damaged.
        reconnections: How often the camera was lost and found again.
    """

    state: State
    seconds: float
    rate_in: float
    rate_out: float
    latency_ms: float | None
    latency_p95_ms: float | None
    shown: int
    dropped: int
    dropped_by_outputs: int
    held: int
    failed: int
    damaged: int
    reconnections: int
    setting: str
    model: str
    device: str

    def as_dict(self) -> dict[str, object]:
        """For JSON, rounded."""
        return {name: round(value, 2) if isinstance(value, float) else value for name, value in asdict(self).items()}

    def line(self) -> str:
        """For people."""
        if self.state == "starting":
            return f"loading {self.model or 'the model'}… (showing the background only)"
        parts = [f"{self.rate_in:.1f} in, {self.rate_out:.1f} out"]
        if self.latency_ms is not None and self.latency_p95_ms is not None:
            parts.append(f"{self.latency_ms:.0f} ms (p95 {self.latency_p95_ms:.0f})")
        parts.append(f"{self.dropped} dropped")
        if self.damaged:
            parts.append(f"{self.damaged} damaged")
        parts.append(f"{self.setting} on {self.device}" if self.device else self.setting)
        return f"{self.state}  " + " · ".join(parts)


class Rate:
    """How often something happens.

    Attributes:
        count: How many times so far.
        last: When it last did, on the monotonic clock; at first, when this was made.
        gap: Seconds between the last two times.
    """

    def __init__(self) -> None:
        self.count = 0
        self.gap = 0.0
        self._first = self.last = time.monotonic()
        self._times: deque[float] = deque()

    def add(self, at: float) -> None:
        """Count one, at that time of the monotonic clock."""
        if self.count:
            self.gap = at - self.last
        else:
            self._first = at
        self.count += 1
        self.last = at
        self._times.append(at)
        while self._times[0] < at - _RATE_OVER:
            self._times.popleft()

    def of_late(self) -> float:
        """Times a second over the last seconds."""
        now = time.monotonic()
        recent = [each for each in self._times.copy() if each >= now - _RATE_OVER]
        return len(recent) / max(now - recent[0], 1e-3) if len(recent) > 1 else 0.0

    def overall(self) -> float:
        """Times a second from the first to the last."""
        return (self.count - 1) / max(self.last - self._first, 1e-3) if self.count > 1 else 0.0


class Gauge:
    """Measures pictures as they are shown, in constant memory."""

    def __init__(self) -> None:
        self.shown = Rate()
        self.held = 0
        self._begin = time.monotonic()
        self._recent: deque[float] = deque(maxlen=_LATENCIES)
        self._all = np.zeros(_LONGEST + 1, np.int64)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begin

    def picture(self, at: float) -> None:
        """One whose frame was captured ``at`` was handed to the outputs."""
        now = time.monotonic()
        self.shown.add(now)
        late = 1000 * (now - at)
        self._recent.append(late)
        self._all[min(_LONGEST, round(late))] += 1

    def latencies(self, *, whole: bool = False) -> tuple[float, float] | tuple[None, None]:
        """Median and 95th percentile in milliseconds, of late or over the run."""
        if not self.shown.count:
            return None, None
        if not whole:
            recent = np.fromiter(self._recent, float)
            return float(np.median(recent)), float(np.percentile(recent, 95))
        so_far = np.cumsum(self._all) / self.shown.count
        return float(np.searchsorted(so_far, 0.5)), float(np.searchsorted(so_far, 0.95))
