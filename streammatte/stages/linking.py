"""Give each frame the motion from the one before it, at a small size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from streammatte.frame import Cutout, Frame
from streammatte.motion import FINE, Link, Looked, Picture

LONGEST = 640
"""Pixels of the longer side at which motion is estimated, at most; what is finer stays each frame's own."""


def longest_for(size: tuple[int, int] | None) -> int:
    """Pixels of the longer side that motion needs for mattes of ``size``, (h, w): twice those of a matte are enough."""
    return LONGEST if size is None else min(LONGEST, 2 * max(size))


def linked(frames: Iterable[Frame], size: tuple[int, int] | None = None) -> Iterator[tuple[Frame, Link]]:
    """Each frame and its link. ``size``: (h, w) of the mattes to come, if it is known."""
    linker = Linker(longest_for(size))
    for frame in frames:
        yield frame, linker(frame)


class Linker:
    """Links frames as they come. A link holds its frame and the one before until it is asked for their pictures.

    Args:
        longest: Pixels of the longer side at which motion is estimated.
    """

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._last: Looked | None = None

    def __call__(self, frame: Frame) -> Link:
        """The link of the next frame."""
        before, self._last = self._last, Looked(partial(picture_of, frame, self._longest))
        return Link(before, self._last, min(FINE, self._longest - 1))

    def of(self, cutout: Cutout) -> Link:
        """The link that a cut-out brings along, or one of its own if it has none."""
        return self(cutout.frame) if cutout.link is None else cutout.link


def picture_of(frame: Frame, longest: int) -> Picture:
    """A frame, ready for motion estimation, of at most ``longest`` pixels on the longer side."""
    scale = min(1.0, longest / max(frame.size))
    seen = frame.seen((max(1, round(scale * frame.height)), max(1, round(scale * frame.width))))
    pixels = seen.clamp(0, 1).mul(255).round_().byte().permute(1, 2, 0)
    return Picture.of_rgb(np.ascontiguousarray(pixels.cpu().numpy()))
