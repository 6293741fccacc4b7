"""The user's guide mattes: core, garbage and holdout."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from streammatte.frame import Cutout, Frame
from streammatte.stages.frame_by_frame import FrameByFrame


class Guide(Protocol):
    """A matte in sync with the footage."""

    def at(self, frame: Frame) -> Tensor:
        """(H, W) float32 in [0, 1], of the frame's own size. Called once for each frame, in order."""
        ...


class GuideMattes(FrameByFrame):
    """The first stage: attaches the guides, and raises alpha to the core.

    From the core, the following stages learn what is the subject; :class:`MatteLimits` enforces it. A garbage matte is
    no such hint: it may cut through a subject, whose colours would be taken for the background's.
    """

    def __init__(self, core: Guide | None = None, garbage: Guide | None = None, holdout: Guide | None = None) -> None:
        self._guides = core, garbage, holdout

    def better(self, cutout: Cutout) -> Cutout:
        core, garbage, holdout = (None if guide is None else guide.at(cutout.frame) for guide in self._guides)
        alpha = cutout.alpha
        if core is not None:
            alpha = alpha.maximum(_within(core.to(alpha), (alpha.shape[0], alpha.shape[1])))
        return replace(cutout, alpha=alpha, core=core, garbage=garbage, holdout=holdout)


class MatteLimits(FrameByFrame):
    """The stage that enforces core and garbage: alpha is exactly 1 where the core is white, 0 where garbage is.

    Where both are white, garbage wins. It comes after the lift.
    """

    ordered = False

    def better(self, cutout: Cutout) -> Cutout:
        return within_limits(cutout)


class Holdout(FrameByFrame):
    """The last stage: removes from the alpha what is in front of the subject. Colours stay."""

    ordered = False

    def better(self, cutout: Cutout) -> Cutout:
        return replace(cutout, alpha=_without(cutout.alpha, cutout.holdout))


def within_limits(cutout: Cutout) -> Cutout:
    """The cut-out, its alpha at least its core, and at most what its garbage matte leaves; all (H, W)."""
    if cutout.core is None and cutout.garbage is None:
        return cutout
    alpha = cutout.alpha if cutout.core is None else cutout.alpha.maximum(cutout.core.to(cutout.alpha))
    return replace(cutout, alpha=_without(alpha, cutout.garbage))


def _within(matte: Tensor, size: tuple[int, int]) -> Tensor:
    """(h, w), such that it lies within the matte when it is lifted again."""
    least = F.adaptive_max_pool2d(-matte[None, None], size)
    return -F.max_pool2d(least, 3, 1, 1)[0, 0]


def _without(alpha: Tensor, matte: Tensor | None) -> Tensor:
    return alpha if matte is None else alpha * (1 - matte.to(alpha))
