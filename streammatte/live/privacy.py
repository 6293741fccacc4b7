"""The privacy rule: the room is never shown.

1. A picture leaves only through :class:`~streammatte.live.over_background.Look`, which multiplies whatever it takes
   from a frame by that frame's own alpha; :func:`check_own_alpha` decides whether an alpha is one.
2. A frame without such an alpha is not shown, whether the model is loading, failed or stopping.
3. :class:`StandIn` is shown instead: the last picture for ten seconds; before the first picture and after those ten
   seconds, the background alone. The background ``blur`` is the room itself, so a plain card replaces it.

Only the user's own window shows the raw frame, while ``r`` is switched on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from streammatte.errors import ModelError
from streammatte.live.contracts import Shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from streammatte.frame import Cutout, Frame

HOLD_AFTER = 0.5  # seconds without a frame, after which the last picture is sent again
HOLD_FOR = 10.0  # seconds; then the background alone, since nobody stands still for that long


def check_own_alpha(frame: Frame, cutout: Cutout) -> None:
    """Refuse to show a frame with anything but its own matte.

    Raises:
        ModelError: The matte belongs to another frame, has another size, or has values outside of [0, 1].
    """
    if cutout.frame is not frame:
        raise ModelError(f"the model returned the matte of frame {cutout.frame.index} for frame {frame.index}")
    if cutout.alpha.shape != frame.rgb.shape[-2:]:
        raise ModelError(f"the model returned a matte of the wrong size for frame {frame.index}")
    least, most = (float(bound) for bound in cutout.alpha.aminmax())
    if not (least >= 0 and most <= 1):  # NaN fails both
        raise ModelError(
            f"the model returned values from {least:.3g} to {most:.3g} for frame {frame.index}; expected 0 to 1",
            hint="try again with --precision fp32",
        )


class StandIn:
    """The picture to show while no frames come.

    Args:
        empty: Makes the picture without the subject, for a time on the monotonic clock.
        interval: Seconds between pictures.
    """

    def __init__(self, empty: Callable[[float], NDArray[np.uint8]], interval: float) -> None:
        self._empty = empty
        self._interval = min(interval, HOLD_AFTER)
        self._last: Shown | None = None
        self._fresh_at = self._sent_at = time.monotonic()

    def sent(self, shown: Shown, *, fresh: bool) -> None:
        """A picture was sent, ``fresh`` if it shows a new frame."""
        self._sent_at = time.monotonic()
        if fresh:
            self._last, self._fresh_at = shown, self._sent_at

    @property
    def due(self) -> float:
        """When it is needed next if no frame comes, on the monotonic clock."""
        holding = self._last is None or time.monotonic() - self._fresh_at > HOLD_AFTER
        return self._sent_at + self._interval if holding else self._fresh_at + HOLD_AFTER

    def picture(self) -> Shown:
        """The last picture or, if there is none or it is too old, the background alone."""
        now = time.monotonic()
        if self._last is None or now - self._fresh_at > HOLD_FOR:
            return Shown(self._empty(now), -1 if self._last is None else self._last.index, now, held=True)
        return replace(self._last, at=now, held=True)
