"""An opened clip as a tracker reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from streammatte.frame import Model
from streammatte.stages.tiles import scaled
from streammatte.subject.contracts import Look
from streammatte.subject.region import Box
from streammatte.subject.subject_model import cropped, placed

if TYPE_CHECKING:
    from torch import Tensor

    from streammatte.frame import Frame, StreamInfo
    from streammatte.motion import Plane

LONGEST = 384
"""Pixels of the longer side of the pictures, at most, unless a tracker sees more."""


class Network(Model, Protocol):
    """The network, through the cache."""

    def parts(self, frames: Sequence[Frame], which: Sequence[str]) -> list[Tensor]: ...


class Clip(Protocol):
    """What is read of a clip; ``Footage`` has it."""

    @property
    def info(self) -> StreamInfo: ...
    @property
    def indices(self) -> range: ...
    def frame_at(self, mark: str, option: str) -> int: ...
    def between(self, start: int, stop: int) -> Iterator[Frame]: ...


class ClipLooks:
    """A part of a clip. Keeps ``Looks``' contract.

    Args:
        source: The clip. Every part is read from the file anew.
        network: The network, through the cache.
        indices: Of the frames that masks are wanted for.
        looked: Called with the index of each frame that is read.
        longest: Pixels of the longer side of the pictures, at most.
    """

    def __init__(
        self,
        source: Clip,
        network: Network,
        indices: range,
        looked: Callable[[int], None] = lambda index: None,
        longest: int = LONGEST,
    ) -> None:
        self.indices = indices
        self.frame_size = source.info.height, source.info.width
        self._source, self._network, self._looked = source, network, looked
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
            mattes = (
                partial(_matte, self._network, frame, self._size),
                partial(_closer, self._network, frame, self._size),
            )
            yield Look(frame.index, picture, *mattes)


def _matte(network: Network, frame: Frame, size: tuple[int, int]) -> Plane:
    (alpha,) = network([frame])
    return np.asarray(scaled(alpha.float().cpu(), size).clamp(0, 1).numpy(), np.float32)


def _closer(network: Network, frame: Frame, size: tuple[int, int], box: Box) -> Plane:
    (alpha,) = network.parts([cropped(frame, box, size)], [f"{size[1]}x{size[0]} {tuple(box)}"])
    return placed(alpha.float().cpu(), None, box, size, frame.size)
