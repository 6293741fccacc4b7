"""Frames on their way through the refiner, and keyframes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from torch import Tensor

from streammatte.frame import Cutout, Frame
from streammatte.motion import Link, Motion, Plane, View
from streammatte.stages.transparent.carrying import Mask, Step, Way, step
from streammatte.stages.transparent.regions import resized

LOST = 0.5  # of the trust in the first frame after a keyframe: with less, a new one is needed
NEW = 0.25  # of a region: more growth since the keyframe needs a new one
SOON = 3  # early keyframes keep a third of the usual distance


class KeyframeModel(Protocol):
    """Mattes transparent objects."""

    def __call__(self, frame: Frame, region: Tensor) -> Tensor | None:
        """(h, w) float32 in [0, 1] for the whole frame, valid within ``region``, (H, W) booleans.

        ``None`` on the first call: it cannot answer, and is not called again.
        """
        ...


@dataclass(eq=False)
class Seen:
    """A frame.

    Attributes:
        cutout: Its alpha has the grid's size.
        link: To the frame before.
        alpha: (h, w), at the motion's size.
        region, small: Where it is transparent, at the grid's size and the motion's; ``None`` if nowhere.
        past: From here to the keyframe before; ``None`` at a keyframe.
        onward: From the frame before to here.
    """

    cutout: Cutout
    link: Link
    alpha: Plane
    region: Mask | None = None
    small: Mask | None = None
    past: Step | None = None
    onward: Step | None = None

    @property
    def index(self) -> int:
        return self.cutout.frame.index

    @property
    def grid(self) -> tuple[int, int]:
        """(H, W)."""
        return self.cutout.alpha.shape[0], self.cutout.alpha.shape[1]

    @cached_property
    def view(self) -> View:
        """The picture; the transparent region counts as subject."""
        alpha = self.alpha if self.small is None else np.maximum(self.alpha, self.small.astype(np.float32))
        return self.link.here.with_alpha(alpha)

    def mark(self, region: Mask | None) -> None:
        """Set the region, of any size."""
        if region is None or not region.any() or not (small := resized(region, self.link.here.size)).any():
            return
        self.region, self.small = resized(region, self.grid), small
        self.__dict__.pop("view", None)

    def follow(self, last: Seen, motion: Motion) -> None:
        """Estimate the motion from the frame before, which has a region, too, and back to the keyframe."""
        assert self.small is not None and last.small is not None
        forward, backward = motion.mended(last.view, self.view, *self.link.flows)
        self.onward, back = step(forward, last.small), step(backward, self.small)
        self.past = back if last.past is None else back.then(last.past, motion)


@dataclass(slots=True, eq=False)
class Key:
    """A keyframe.

    Attributes:
        index: The frame's.
        alpha: (H, W), the model's within the region, the cut-out's own around it.
        small: (h, w), the same at the motion's size.
        region: (h, w).
        view: The frame's.
        way: How its matte is carried.
        since: Frames since it.
        first_trust: Its trust in the first of these.
    """

    index: int
    alpha: Plane
    small: Plane
    region: Mask
    view: View
    way: Way = "flow"
    since: int = 0
    first_trust: float = 1.0

    def is_outdated_by(self, seen: Seen, every: int, motion: Motion) -> bool:
        """Whether a frame must be the next keyframe: at a multiple of ``every``, or where this one no longer matches.

        Multiples of the absolute index, so that they do not depend on where a run began.
        """
        assert seen.past is not None and seen.small is not None
        trust = float(motion.trust(seen.view, self.view, seen.past.flow)[seen.small].mean())
        if self.since == 1:
            self.first_trust = trust
        if seen.index % every == 0:
            return True
        if self.since * SOON < every:
            return False
        old = motion.moved(self.region.astype(np.float32), seen.past.flow) > 0.5
        new = np.count_nonzero(seen.small & ~old)
        return bool(new > NEW * np.count_nonzero(seen.small)) or trust < LOST * self.first_trust
