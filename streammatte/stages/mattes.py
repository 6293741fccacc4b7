"""Mattes that the user brings along: what is thrown away, what is held out, what is the subject beyond doubt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from torch import Tensor

from streammatte.frame import Frame, Plate


class Guide(Protocol):
    """A matte in step with the footage."""

    def at(self, frame: Frame) -> Tensor:
        """(H, W) float32 in [0, 1], of the frame's own size. Called once for each frame, in order."""
        ...


class CoreHint:
    """The stage that comes first: what is the subject beyond doubt teaches the stages that look around.

    What they make of it is not bound to it; :class:`MatteLimits` is, and takes the same matte from here. A garbage
    matte is no such hint: it may cut through a subject, whose colours would be taken for the background's.

    Args:
        core: White is the subject; grey is at least so much of it.
    """

    memory = 0

    def __init__(self, core: Guide) -> None:
        self._core = core
        self._kept: dict[int, Tensor] = {}

    def push(self, plate: Plate) -> Iterator[Plate]:
        """The plate, its alpha no smaller than the core."""
        core = self._kept[plate.frame.index] = self._core.at(plate.frame)
        yield replace(plate, alpha=limited(plate.alpha, core, None))

    def flush(self) -> Iterator[Plate]:
        """Nothing: no plate is held back."""
        return iter(())

    def taken(self, index: int) -> Tensor:
        """The core of a frame that has been pushed; once, so that no more are held than plates are on their way."""
        return self._kept.pop(index)


class MatteLimits:
    """The stage that makes it certain: alpha is exactly 1 where the core is white, exactly 0 where garbage is.

    Args:
        core: The stage that came first, if there is a core.
        garbage: White is thrown away; grey, so much of it. Where both are white, garbage wins.
        again: A later stage will ask for each plate to be limited again.
    """

    memory = 0

    def __init__(self, core: CoreHint | None, garbage: Guide | None, *, again: bool = False) -> None:
        self._core, self._garbage, self._again = core, garbage, again
        self._kept: dict[int, tuple[Tensor | None, Tensor | None]] = {}

    def push(self, plate: Plate) -> Iterator[Plate]:
        """The plate, its alpha within what the mattes allow."""
        core = None if self._core is None else self._core.taken(plate.frame.index)
        garbage = None if self._garbage is None else self._garbage.at(plate.frame)
        if self._again:
            self._kept[plate.frame.index] = core, garbage
        yield replace(plate, alpha=limited(plate.alpha, core, garbage))

    def again(self, plate: Plate) -> Plate:
        """A plate that has passed, its alpha within the same mattes; once, as of :meth:`CoreHint.taken`."""
        return replace(plate, alpha=limited(plate.alpha, *self._kept.pop(plate.frame.index)))

    def flush(self) -> Iterator[Plate]:
        """Nothing: no plate is held back."""
        return iter(())


class Holdout:
    """The stage that comes last: takes out of the alpha what stands before the subject. Colours stay as they are."""

    memory = 0

    def __init__(self, holdout: Guide) -> None:
        self._holdout = holdout

    def push(self, plate: Plate) -> Iterator[Plate]:
        """The plate, its alpha times what the matte leaves of it."""
        yield replace(plate, alpha=limited(plate.alpha, None, self._holdout.at(plate.frame)))

    def flush(self) -> Iterator[Plate]:
        """Nothing: no plate is held back."""
        return iter(())


def limited(alpha: Tensor, core: Tensor | None, garbage: Tensor | None) -> Tensor:
    """The larger of alpha and ``core``, times ``1 - garbage``; all (H, W) in [0, 1]."""
    if core is not None:
        alpha = alpha.maximum(core.to(alpha))
    if garbage is not None:
        alpha = alpha * (1 - garbage.to(alpha))
    return alpha
