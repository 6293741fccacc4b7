"""Frames of a clip that are worth a look: those that stand out, and some that are evenly spread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from streammatte.frame import Frame
from streammatte.media.write.composing import pixels_of
from streammatte.quality.page import (
    PICTURE_WIDTH,
    element,
    picture,
    row,
    small,
    to_bytes,
)

Pictures = dict[str, NDArray[np.uint8]]
"""(h, w, 3) by caption."""

SHOWN = 4  # frames that stand out, of a kind
APART = 5  # frames, at least, between two of them: neighbours look alike
SPREAD = 8  # evenly spread frames, at most; of a long clip at least half of them


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A frame to look at: which, when it is shown, the figure it has if it has one, and its pictures."""

    index: int
    seconds: float
    figure: float | None
    pictures: Pictures

    def element(self) -> Element:
        """Its pictures side by side, under a line that says which frame it is."""
        said = f"Frame {self.index}, at {self.seconds:.2f} s" + ("" if self.figure is None else f": {self.figure:.4g}")
        return element("div", element("p", said), row(*(picture(each, name) for name, each in self.pictures.items())))


def offer(
    kept: list[Moment], figure: float | None, index: int, seconds: float, pictures: Callable[[], Pictures]
) -> None:
    """Keep a frame among the worst, if it is one of them and worse than what is kept of its neighbourhood."""
    near = [other for other in kept if index - other.index < APART]
    rivals = near or (kept[-1:] if len(kept) == SHOWN else [])
    if not figure or any((other.figure or 0) >= figure for other in rivals):
        return
    kept[:] = [other for other in kept if other not in rivals]
    kept.append(Moment(index, seconds, figure, pictures()))
    kept.sort(key=lambda other: -(other.figure or 0))


class Spread:
    """Evenly spread frames of a clip whose length nobody knows: every n-th, n doubled when they become too many."""

    def __init__(self) -> None:
        self.kept: list[Moment] = []
        self._step = 1

    def offer(self, index: int, seconds: float, pictures: Callable[[], Pictures]) -> None:
        """Keep a frame, if it is its turn."""
        if index % self._step:
            return
        self.kept.append(Moment(index, seconds, None, pictures()))
        if len(self.kept) > SPREAD:
            self._step *= 2
            self.kept = [each for each in self.kept if each.index % self._step == 0]


def thumbnail(frame: Frame, width: int = PICTURE_WIDTH, height: int | None = None) -> NDArray[np.uint8]:
    """(h, w, 3), as :func:`~streammatte.quality.page.small` makes it."""
    picture: NDArray[Any] = small(pixels_of(frame.rgb), width, height)
    if picture.dtype == np.uint16:
        return np.asarray(picture // 257, np.uint8)
    if picture.dtype != np.uint8:
        return to_bytes(picture)
    return picture
