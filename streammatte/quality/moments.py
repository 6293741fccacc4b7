"""Frames worth a look, and their pictures: the worst ones, and a few spread evenly over the clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from xml.etree.ElementTree import Element

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streammatte.frame import Cutout, Frame
from streammatte.media.write.composing import opacity, pixels_of
from streammatte.quality.page import PICTURE_WIDTH, element, grey, picture, row, small, to_bytes

Pictures = dict[str, NDArray[np.uint8]]
"""(h, w, 3) by caption."""
Alpha = NDArray[np.float32]

SHOWN = 4  # worst frames of a kind
APART = 5  # frames between two of them at least, as neighbours look alike
SPREAD = 8  # evenly spread frames at most; a long clip has at least half as many

CROP = PICTURE_WIDTH, PICTURE_WIDTH * 3 // 4  # width and height of a close-up
MOST_ENLARGED = 8
AROUND = 8.0  # pixels, standard deviation: how far defects of one spot lie apart
SQUARE = 8  # pixels of the checkerboard
RED = (230, 40, 60)
NONE: Mapping[str, NDArray[np.uint8]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A frame to look at: its index, time, score if it has one, and rows of pictures."""

    index: int
    seconds: float
    score: float | None
    rows: Sequence[Pictures]

    def element(self) -> Element:
        score = "" if self.score is None else f": {self.score:.4g}"
        rows = (row(*(picture(each, name) for name, each in pictures.items())) for pictures in self.rows)
        return element("div", element("p", f"Frame {self.index} at {self.seconds:.2f} s{score}"), *rows)


def keep_worst(
    kept: list[Moment], score: float | None, index: int, seconds: float, rows: Callable[[], Sequence[Pictures]]
) -> None:
    """Add a frame to ``kept`` if it is one of the worst, and worse than its neighbours that are kept."""
    near = [other for other in kept if index - other.index < APART]
    rivals = near or (kept[-1:] if len(kept) == SHOWN else [])
    if not score or any((other.score or 0) >= score for other in rivals):
        return
    kept[:] = [other for other in kept if other not in rivals]
    kept.append(Moment(index, seconds, score, rows()))
    kept.sort(key=lambda other: -(other.score or 0))


class Spread:
    """Evenly spread frames of a clip of unknown length: every n-th, with n doubling as the clip grows."""

    def __init__(self) -> None:
        self.kept: list[Moment] = []
        self._step = 1

    def offer(self, index: int, seconds: float, rows: Callable[[], Sequence[Pictures]]) -> None:
        if index % self._step:
            return
        self.kept.append(Moment(index, seconds, None, rows()))
        if len(self.kept) > SPREAD:
            self._step *= 2
            self.kept = [each for each in self.kept if each.index % self._step == 0]


@dataclass(frozen=True, slots=True)
class CloseUp:
    """A part of a frame at 1:1, or enlarged by a whole number if the frame is small.

    Attributes:
        rows, columns: The part, in the frame's pixels.
        enlarged: Pixels of the picture to one of the frame.
    """

    rows: slice
    columns: slice
    enlarged: int

    @classmethod
    def around(cls, strength: Alpha, shape: tuple[int, ...]) -> CloseUp:
        """The part of an (H, W, …) frame where ``strength``, (h, w) of any size, is highest."""
        blurred = cv2.GaussianBlur(np.asarray(strength, np.float32), (0, 0), AROUND)
        spot = np.unravel_index(int(blurred.argmax()), blurred.shape)
        # At most half of the frame: of a small one, 1:1 would show all of it, and no edge well.
        enlarged = min(MOST_ENLARGED, -(-2 * CROP[0] // max(shape[:2])))
        part = []
        for center, shrunk, length, most in zip(spot, strength.shape, shape, reversed(CROP), strict=False):
            size = min(length, most // enlarged)
            middle = round((float(center) + 0.5) * length / shrunk)
            start = max(0, min(middle - size // 2, length - size))
            part.append(slice(start, start + size))
        return cls(part[0], part[1], enlarged)

    def of(self, picture: NDArray[Any]) -> NDArray[Any]:
        """The part of an (H, W, …) array, enlarged."""
        return picture[self.rows, self.columns].repeat(self.enlarged, 0).repeat(self.enlarged, 1)

    def framed(self, picture: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """``picture``, a frame of ``shape`` shrunk, with a box around the part."""
        y, x = picture.shape[0] / shape[0], picture.shape[1] / shape[1]
        corners = [
            (int(x * column), int(y * line))
            for column, line in ((self.columns.start, self.rows.start), (self.columns.stop - 1, self.rows.stop - 1))
        ]
        return np.asarray(cv2.rectangle(np.array(picture), corners[0], corners[1], RED, 1), np.uint8)

    def named(self, name: str) -> str:
        return f"{name}, {self.enlarged}:1"


def look_at(
    cutout: Cutout,
    strength: Alpha | None = None,
    *,
    before: Alpha | None = None,
    maps: Mapping[str, NDArray[np.uint8]] = NONE,
) -> list[Pictures]:
    """The whole frame and a close-up: frame, matte, and the cut-out over other backgrounds.

    Args:
        cutout: Its matte has the frame's size.
        strength: (h, w) of any size: the close-up is where it is highest. By default, where most of the soft edge is.
        before: (H, W), the matte of the frame before, to stand beside this one.
        maps: More pictures of the whole frame, by caption.
    """
    alpha = opacity(cutout)
    if strength is None:
        shrunk = small(alpha)
        strength = shrunk * (1 - shrunk)
    part = CloseUp.around(strength, alpha.shape)
    colors = on_screen(cutout.frame, cutout.as_float())
    frame = part.of(on_screen(cutout.frame, cutout.frame.as_float()))
    crop, light = part.of(alpha), part.of(colors) * part.of(alpha)[..., None]
    whole = {
        "frame": part.framed(thumbnail(cutout.frame), alpha.shape),
        "matte": grey(small(alpha)),
        # Premultiplied before it is shrunk: otherwise colours from outside the matte would bleed into the edge.
        "over a checkerboard": over_checkerboard(small(colors * alpha[..., None]), small(alpha)),
        **maps,
    }
    close = {part.named("frame"): to_bytes(frame)}
    if before is not None:
        close[part.named("matte of the frame before")] = grey(part.of(before))
    close |= {
        part.named("matte"): grey(crop),
        part.named("over black"): to_bytes(light),
        part.named("over white"): to_bytes(light + (1 - crop)[..., None]),
    }
    return [whole, close]


def over_checkerboard(premultiplied: Alpha, alpha: Alpha) -> NDArray[np.uint8]:
    """(h, w, 3) colours and (h, w) alpha."""
    odd = (np.indices(alpha.shape) // SQUARE).sum(0) % 2
    return to_bytes(premultiplied + ((1 - alpha) * np.where(odd, 0.6, 0.4))[..., None])


def thumbnail(frame: Frame, width: int = PICTURE_WIDTH, height: int | None = None) -> NDArray[np.uint8]:
    """(h, w, 3) as a screen shows it, shrunk as :func:`~streammatte.quality.page.small` does."""
    picture: NDArray[Any] = small(pixels_of(frame.rgb), width, height)
    if frame.view is not None:
        picture = pixels_of(frame.view(torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))))
    if picture.dtype == np.uint16:
        return np.asarray(picture // 257, np.uint8)
    if picture.dtype != np.uint8:
        return to_bytes(picture)
    return picture


def on_screen(frame: Frame, rgb: Tensor) -> Alpha:
    """(3, H, W) float colours in the frame's encoding → (H, W, 3) as a screen shows them."""
    return np.asarray(pixels_of(rgb if frame.view is None else frame.view(rgb)), np.float32)
