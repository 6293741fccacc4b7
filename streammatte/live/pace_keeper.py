"""Chooses the setting at which a model keeps up. It is given times, and reads no clock itself.

After two windows of late frames it goes down a step, and after one that is far too late as many steps as needed. It
goes up once the step above has seemed to fit, with room to spare, for ``PATIENCE`` frames. A step up that had to be
taken back doubles that number and one that held halves it, so what nearly fits is tried ever less often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streammatte.models.birefnet import MULTIPLE

SMALL = 512  # pixels: below it, a smaller input saves little and may mistake the room for the subject
STEPS_SMALL = ((1.0, 1), (1.0, 2), (1.0, 3), (1.0, 4))  # share of the model's own size, and every n-th frame
STEPS = ((1.0, 1), (1.0, 2), (0.75, 2), (0.75, 3), (0.5, 3), (0.5, 4))

WINDOW = 12  # frames to judge by: every `every` divides it
FAR_TOO_LATE = 1.5  # intervals: one such window is enough
ROOM = 0.85  # intervals that a better setting may be expected to take
PATIENCE = 60  # frames with room to spare before a step up, at first
MOST_PATIENCE = 3840


@dataclass(frozen=True, slots=True)
class Setting:
    """How a model computes.

    Attributes:
        size: (H, W) of the network's input.
        every: The network runs on every n-th frame, and on others where motion does not explain the picture.
    """

    size: tuple[int, int]
    every: int

    def __str__(self) -> str:
        ordinal = {1: "every frame", 2: "every 2nd frame", 3: "every 3rd frame"}
        return f"{self.size[1]}×{self.size[0]}, {ordinal.get(self.every, f'every {self.every}th frame')}"


def ladder(size: tuple[int, int]) -> tuple[Setting, ...]:
    """The settings of a model with an input of (H, W), from the best to the cheapest."""
    steps = STEPS_SMALL if max(size) < SMALL else STEPS
    return tuple(Setting((_share(size[0], share), _share(size[1], share)), every) for share, every in steps)


def settings_for(quality: str | tuple[tuple[int, int], int], size: tuple[int, int]) -> tuple[Setting, ...]:
    """The whole ladder for ``auto``, otherwise the one setting that ``quality`` names.

    Args:
        quality: A name, or ((H, W), n) for that input on every n-th frame.
        size: (H, W) of the model's own input.
    """
    if not isinstance(quality, str):
        return (Setting(*quality),)
    steps = ladder(size)
    return {"auto": steps, "high": steps[:1], "medium": steps[1:2], "low": steps[-1:]}[quality]


class PaceKeeper:
    """Chooses among settings.

    Args:
        settings: From the best to the cheapest; a single one is pinned.
        interval: Seconds that a frame may take.

    Attributes:
        exhausted: Frames are late, and nothing is cheaper.
    """

    def __init__(self, settings: Sequence[Setting], interval: float) -> None:
        self._settings, self._interval = settings, interval
        self._place = 0
        self._patience = PATIENCE
        self._tried: int | None = None  # frames since the last step up, while it is on trial
        self.exhausted = False
        self._frames: list[tuple[float, bool]] = []
        self._late = self._room = 0  # windows that were late, and frames with room to spare

    @property
    def setting(self) -> Setting:
        """For the next frame."""
        return self._settings[self._place]

    def took(self, busy: float, *, ran: bool) -> None:
        """A frame took ``busy`` seconds; ``ran`` says whether the network ran for it."""
        self._frames.append((busy, ran))
        if self._tried is not None:
            self._tried += 1
            if self._tried > 2 * self._patience:  # the step holds
                self._patience, self._tried = max(PATIENCE, self._patience // 2), None
        # Frames that take seconds are judged in smaller windows, or it would take minutes to notice.
        long = sum(took for took, _ in self._frames) > 2 * WINDOW * self._interval
        if len(self._frames) >= WINDOW or (long and len(self._frames) >= self.setting.every):
            self._judge()
            self._frames.clear()

    def _judge(self) -> None:
        load = sum(took for took, _ in self._frames) / len(self._frames) / self._interval
        self._late = self._late + 1 if load > 1 else 0
        if self._late >= 2 or load > FAR_TOO_LATE:
            lowest = len(self._settings) - 1
            self.exhausted = self._place == lowest
            if not self.exhausted:
                self._step(self._fitting() - self._place if load > FAR_TOO_LATE else 1)
            return
        if not self._late:
            self.exhausted = False
        if self._place == 0 or self.expected(self._settings[self._place - 1]) > ROOM:
            self._room = 0
            return
        self._room += len(self._frames)
        if self._room >= self._patience:
            self._step(-1)

    def _step(self, by: int) -> None:
        if by < 0:
            self._tried = 0
        elif self._tried is not None:  # a step up that did not hold
            self._patience, self._tried = min(MOST_PATIENCE, 2 * self._patience), None
        self._place += by
        self._frames.clear()
        self._late = self._room = 0

    def _fitting(self) -> int:
        """The first cheaper setting that may be fast enough, or the last."""
        places = range(self._place + 1, len(self._settings))
        return next((place for place in places if self.expected(self._settings[place]) <= 1), places[-1])

    def expected(self, other: Setting) -> float:
        """The load of a setting, estimated from the present one; rather too low, since it can be tried."""
        ran = [took for took, ran in self._frames if ran]
        light = [took for took, ran in self._frames if not ran]
        if not ran:
            return 0.0
        between = sum(light) / len(light) if light else 0.0
        network = max(0.0, sum(ran) / len(ran) - between)
        ratio = max(other.size) / max(self.setting.size)
        if ratio < 1:
            ratio **= 2  # at most; small inputs cost nearly the same at every size
        share = len(ran) / len(self._frames)
        # Where motion explains too little, the network runs more often than every n-th frame.
        share = max(1 / other.every, share) if other.every < self.setting.every else 1 / other.every
        return (between + share * ratio * network) / self._interval


def _share(side: int, share: float) -> int:
    return max(MULTIPLE, round(share * side / MULTIPLE) * MULTIPLE)
