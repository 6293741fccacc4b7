"""Mattes that the user brings along: what is thrown away, what is held out, what is the subject beyond doubt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from torch import Tensor

from streammatte.frame import Cutout, Frame


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

    def push(self, cutout: Cutout) -> Iterator[Cutout]:
        """The cut-out, its alpha no smaller than the core."""
        core = self._kept[cutout.frame.index] = self._core.at(cutout.frame)
        yield replace(cutout, alpha=limited(cutout.alpha, core, None))

    def flush(self) -> Iterator[Cutout]:
        """Nothing: no cut-out is held back."""
        return iter(())

    def taken(self, index: int) -> Tensor:
        """The core of a frame that has been pushed; once, so that no more are held than cut-outs are on their way."""
        return self._kept.pop(index)


class MatteLimits:
    """The stage that makes it certain: alpha is exactly 1 where the core is white, exactly 0 where garbage is.

    Args:
        core: The stage that came first, if there is a core.
        garbage: White is thrown away; grey, so much of it. Where both are white, garbage wins.
        again: A later stage will ask for each cut-out to be limited again.
    """

    memory = 0

    def __init__(self, core: CoreHint | None, garbage: Guide | None, *, again: bool = False) -> None:
        self._core, self._garbage, self._again = core, garbage, again
        self._kept: dict[int, tuple[Tensor | None, Tensor | None]] = {}

    def push(self, cutout: Cutout) -> Iterator[Cutout]:
        """The cut-out, its alpha within what the mattes allow."""
        core = None if self._core is None else self._core.taken(cutout.frame.index)
        garbage = None if self._garbage is None else self._garbage.at(cutout.frame)
        if self._again:
            self._kept[cutout.frame.index] = core, garbage
        yield replace(cutout, alpha=limited(cutout.alpha, core, garbage))

    def again(self, cutout: Cutout) -> Cutout:
        """A cut-out that has passed, its alpha within the same mattes; once, as of :meth:`CoreHint.taken`."""
        return replace(cutout, alpha=limited(cutout.alpha, *self._kept.pop(cutout.frame.index)))

    def flush(self) -> Iterator[Cutout]:
        """Nothing: no cut-out is held back."""
        return iter(())


class Holdout:
    """The stage that comes last: takes out of the alpha what stands before the subject. Colours stay as they are."""

    memory = 0

    def __init__(self, holdout: Guide) -> None:
        self._holdout = holdout

    def push(self, cutout: Cutout) -> Iterator[Cutout]:
        """The cut-out, its alpha times what the matte leaves of it."""
        yield replace(cutout, alpha=limited(cutout.alpha, None, self._holdout.at(cutout.frame)))

    def flush(self) -> Iterator[Cutout]:
        """Nothing: no cut-out is held back."""
        return iter(())


def limited(alpha: Tensor, core: Tensor | None, garbage: Tensor | None) -> Tensor:
    """The larger of alpha and ``core``, times ``1 - garbage``; all (H, W) in [0, 1]."""
    if core is not None:
        alpha = alpha.maximum(core.to(alpha))
    if garbage is not None:
        alpha = alpha * (1 - garbage.to(alpha))
    return alpha
