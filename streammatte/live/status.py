"""How a live run does: rates, latency, what was dropped; as it goes and in the end."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

_RATE_OVER = 3.0  # seconds
_LATENCIES = 300  # pictures that the percentiles are of
_LONGEST = 10_000  # milliseconds that are told apart over a whole run

State = Literal["starting", "live", "lost", "stopped"]


@dataclass(frozen=True, slots=True)
class Status:
    """One moment of a run.

    Attributes:
        state: ``starting`` before the first picture of somebody; ``lost`` while the camera is gone.
        seconds: Since the run began.
        rate_in, rate_out: Frames a second that the camera gave, and pictures of them that were shown, of late; when
            stopped, from the first to the last.
        latency_ms, latency_p95_ms: Median and 95th percentile from capture until a picture is handed to the outputs, of
            late or over the run; ``None`` before there is any. What it waits in an output's queue comes on top.
        shown: Frames that were shown.
        dropped: Frames that came while others were worked on.
        dropped_by_outputs: Pictures that an output had no room for.
        held: Pictures shown in place of frames that did not come.
        failed: Frames without a matte, not shown.
        damaged: Packets and pictures of the camera's that were not whole.
        reconnections: How often the camera was lost and found again.
        setting: How the matte is computed.
        model, device: With what, and where.
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
        """For JSON, rounded to what can be told."""
        return {name: round(value, 2) if isinstance(value, float) else value for name, value in asdict(self).items()}

    def line(self) -> str:
        """For people."""
        if self.state == "starting":
            return f"{self.model or 'the network'} is made ready; what is shown has nothing of the room"
        parts = [f"{self.rate_in:.1f} in, {self.rate_out:.1f} out"]
        if self.latency_ms is not None and self.latency_p95_ms is not None:
            parts.append(f"{self.latency_ms:.0f} ms (p95 {self.latency_p95_ms:.0f})")
        parts.append(f"{self.dropped} dropped")
        if self.damaged:
            parts.append(f"{self.damaged} damaged")
        parts.append(f"{self.setting} on {self.device}" if self.device else self.setting)
        return f"{self.state}  " + " · ".join(parts)


class Gauge:
    """Counts pictures as they are shown; memory does not grow with the run."""

    def __init__(self) -> None:
        self.shown = 0
        self.held = 0
        self._begin = time.monotonic()
        self._first = self._last = self._begin
        self._times: deque[float] = deque()
        self._recent: deque[float] = deque(maxlen=_LATENCIES)
        self._all = np.zeros(_LONGEST + 1, np.int64)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begin

    def picture(self, at: float) -> None:
        """One was handed to the outputs; its frame was captured ``at``."""
        now = time.monotonic()
        self._first = self._first if self.shown else now
        self.shown += 1
        self._last = now
        self._times.append(now)
        late = 1000 * (now - at)
        self._recent.append(late)
        self._all[min(_LONGEST, round(late))] += 1
        while self._times[0] < now - _RATE_OVER:
            self._times.popleft()

    def rate(self, *, whole: bool = False) -> float:
        """Pictures a second, of late or over the run."""
        if whole:
            return (self.shown - 1) / max(self._last - self._first, 1e-3) if self.shown > 1 else 0.0
        now = time.monotonic()
        recent = [each for each in self._times if each >= now - _RATE_OVER]
        return len(recent) / max(now - recent[0], 1e-3) if len(recent) > 1 else 0.0

    def latencies(self, *, whole: bool = False) -> tuple[float, float] | tuple[None, None]:
        """Median and 95th percentile in milliseconds, of late or over the run."""
        if not self.shown:
            return None, None
        if not whole:
            recent = np.fromiter(self._recent, float)
            return float(np.median(recent)), float(np.percentile(recent, 95))
        so_far = np.cumsum(self._all) / self.shown
        return float(np.searchsorted(so_far, 0.5)), float(np.searchsorted(so_far, 0.95))
