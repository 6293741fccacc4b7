"""An opened clip as a tracker reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from streammatte.stages.tiles import scaled
from streammatte.subject.contracts import Look

if TYPE_CHECKING:
    from torch import Tensor

    from streammatte.frame import Footage, Frame, Model
    from streammatte.motion import Plane

LONGEST = 384
"""Pixels of the longer side of the pictures, at most, unless a tracker sees more."""


class ClipLooks:
    """A part of a clip. Keeps ``Looks``' contract.

    Args:
        source: The clip, which is read again for every part that is asked for.
        model: The network, through the cache.
        indices: Of the frames that masks are wanted for.
        looked: Called with the index of each frame that is read.
        longest: Pixels of the longer side of the pictures, at most.
    """

    def __init__(
        self,
        source: Footage,
        model: Model,
        indices: range,
        looked: Callable[[int], None] = lambda index: None,
        longest: int = LONGEST,
    ) -> None:
        self.indices = indices
        self.frame_size = source.info.height, source.info.width
        self._source, self._model, self._looked = source, model, looked
        scale = min(1.0, longest / max(self.frame_size))
        self._size = max(1, round(scale * self.frame_size[0])), max(1, round(scale * self.frame_size[1]))

    def between(self, start: int, stop: int) -> Iterator[Look]:
        """As in the contract; frames that the clip does not have are left out."""
        there = self._source.indices
        start, stop = max(start, there.start), min(stop, there.stop)
        if start >= stop:
            return
        for frame in self._source.between(start, stop):
            self._looked(frame.index)
            pixels = frame.seen(self._size).clamp(0, 1).mul(255).round_().byte().permute(1, 2, 0)
            picture = np.ascontiguousarray(pixels.cpu().numpy())
            yield Look(frame.index, picture, partial(_matte, self._model, frame, self._size))


def _matte(model: Callable[[Sequence[Frame]], list[Tensor]], frame: Frame, size: tuple[int, int]) -> Plane:
    (alpha,) = model([frame])
    return np.asarray(scaled(alpha.float().cpu(), size).clamp(0, 1).numpy(), np.float32)
