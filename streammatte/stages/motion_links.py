"""Link each frame to the one before by their motion, at a small size."""

from __future__ import annotations

from functools import partial

import numpy as np

from streammatte.frame import Cutout, Frame
from streammatte.motion import FINE, Link, Picture

LONGEST = 384
"""Pixels of the longer side at which motion is estimated, at most. At 640 a network's mattes get no steadier, and each
frame takes two and a half times as long."""


class Linker:
    """Links frames as they come. It holds the last frame until its small picture has been made, and no other.

    Args:
        size: (h, w) of the mattes, if known: pictures need no more than twice their pixels on the longer side.
    """

    def __init__(self, size: tuple[int, int] | None = None) -> None:
        self._longest = LONGEST if size is None else min(LONGEST, 2 * max(size))
        self._last: Link | None = None

    def __call__(self, frame: Frame) -> Link:
        """The link of the next frame."""
        before = None if self._last is None else self._last.here
        self._last = Link(before, partial(picture_of, frame, self._longest), min(FINE, self._longest - 1))
        return self._last

    def of(self, cutout: Cutout) -> Link:
        """The cut-out's link, or a new one if it has none."""
        return self(cutout.frame) if cutout.link is None else cutout.link


def picture_of(frame: Frame, longest: int) -> Picture:
    """A frame, ready for motion estimation, of at most ``longest`` pixels on the longer side."""
    scale = min(1.0, longest / max(frame.size))
    seen = frame.seen((max(1, round(scale * frame.height)), max(1, round(scale * frame.width))))
    pixels = seen.clamp(0, 1).mul(255).round_().byte().permute(1, 2, 0)
    return Picture.of_rgb(np.ascontiguousarray(pixels.cpu().numpy()))
