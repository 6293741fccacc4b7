"""A model of named subjects: the network looks at a region that follows each, and its matte is kept to that subject."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from streammatte.color.ycbcr import fitted
from streammatte.frame import Frame
from streammatte.motion import Plane
from streammatte.stages.detail import refine_alpha
from streammatte.stages.tiles import scaled
from streammatte.subject.contracts import OTHERS
from streammatte.subject.limits import limits_of, resampled
from streammatte.subject.region import Box
from streammatte.subject.tracks import Tracks

FINER = 2
"""Times the network's own size that a canvas may have along either side: what a region gains is kept up to there."""

Ask = Callable[[Sequence[Frame], Sequence[str]], list[Tensor]]
"""Runs the network on parts of frames; the texts say which parts, empty for whole frames."""


class SubjectModel:
    """The alpha of one subject, or of several together. Keeps ``Model``'s contract.

    Alphas have the same size in all frames, whatever region the network saw.

    Args:
        ask: The network, through the cache.
        size: (H, W) of its input.
        tracks: Where the subjects are.
        names: Whose alpha is wanted; the others are kept out.
        frame_size: (H, W) of the frames.
        indices: Of the frames.
        sharpen: Whether a region's edges sharpen its matte: what is put into a larger picture is not lifted later.
    """

    def __init__(
        self,
        ask: Ask,
        size: tuple[int, int],
        tracks: Tracks,
        names: Sequence[str],
        frame_size: tuple[int, int],
        indices: range,
        *,
        sharpen: bool = False,
    ) -> None:
        self.size, self._sharpen = size, sharpen
        self.canvas = canvas_of(size, frame_size)
        self._ask, self._tracks, self._names, self._frame_size = ask, tracks, names, frame_size
        self._regions = {name: tracks.regions(name, self.canvas, indices) for name in names}

    def __call__(self, frames: Sequence[Frame]) -> list[Tensor]:
        """Alphas, (h, w) float32 of the canvas's size, on the CPU."""
        wanted = [
            (frame, name, box)
            for frame in frames
            for name in self._names
            if (box := self._regions[name].get(frame.index)) is not None
        ]
        parts = [cropped(frame, box, self.canvas) for frame, _, box in wanted]
        answers = self._ask(parts, [self._part(box) for _, _, box in wanted]) if parts else []
        found = {
            (part.index, name): (box, self._limited(part, name, box, answer))
            for part, (_, name, box), answer in zip(parts, wanted, answers, strict=True)
        }
        return [torch.from_numpy(self._together(frame.index, found)) for frame in frames]

    def _together(self, index: int, found: Mapping[tuple[int, str], tuple[Box, Plane]]) -> Plane:
        """The subjects' alphas as one, each with what the user painted."""
        whole = np.zeros(self.canvas, np.float32)
        for name in self._names:
            own = np.zeros(self.canvas, np.float32)
            if (index, name) in found:
                box, alpha = found[index, name]
                box.of(own)[:] = alpha
            whole += self._painted(index, name, own)
        return whole.clip(0, 1)

    def _part(self, box: Box) -> str:
        height, width = self.canvas
        return "" if box == Box(0, 0, width, height) else f"{width}x{height} {tuple(box)}"

    def _limited(self, part: Frame, name: str, box: Box, answer: Tensor) -> Plane:
        """The network's answer for a part of a frame, kept to its subject, (h, w) of the box."""
        alpha = placed(answer.float().cpu(), part if self._sharpen else None, box, self.canvas, self._frame_size)
        tracked = {each: self._tracks.at(each, part.index) for each in (*self._tracks.names, OTHERS)}
        limits = limits_of(tracked, name, alpha, box, self.canvas)
        return np.asarray(np.maximum(alpha * limits.most, limits.least), np.float32)

    def _painted(self, index: int, name: str, alpha: Plane) -> Plane:
        """With what the user painted for this frame."""
        paint = self._tracks.painted.get((name, index))
        if paint is None:
            return alpha
        height, width = self.canvas
        said = np.asarray(fitted((~np.isnan(paint)).astype(np.float32), width, height))
        level = np.asarray(fitted(np.nan_to_num(paint), width, height))
        return np.asarray(np.where(said > 0.5, level / said.clip(0.5), alpha), np.float32)


def canvas_of(size: tuple[int, int], frame_size: tuple[int, int]) -> tuple[int, int]:
    """(h, w) of the alphas, by the network's size and the frames'."""
    return min(FINER * size[0], frame_size[0]), min(FINER * size[1], frame_size[1])


def cropped(frame: Frame, box: Box, canvas: tuple[int, int]) -> Frame:
    """A part of a frame, by a box of a canvas; the frame itself if it is all of it."""
    part = _in_frame(box, canvas, frame.size)
    if part == Box(0, 0, frame.width, frame.height):
        return frame
    rgb = frame.rgb[:, part.y0 : part.y1, part.x0 : part.x1].contiguous()
    return Frame(rgb, frame.pts, frame.index, frame.duration, view=frame.view)


def placed(answer: Tensor, part: Frame | None, box: Box, canvas: tuple[int, int], frame_size: tuple[int, int]) -> Plane:
    """The answer for :func:`cropped`, (h, w) of the box, sharpened to the edges of ``part`` if that is given.

    The part is whole pixels of the frame, which need not be whole pixels of the canvas.
    """
    own, down, across = _in_frame(box, canvas, frame_size), canvas[0] / frame_size[0], canvas[1] / frame_size[1]
    height, width = (own.y1 - own.y0) * down, (own.x1 - own.x0) * across
    # Nearly at the right size, then moved by less than a pixel.
    size = max(1, round(height)), max(1, round(width))
    lifted = scaled(answer, size) if part is None else refine_alpha(part.seen(size).cpu(), answer)
    scales = size[1] / width, size[0] / height
    shifts = box.x0 - own.x0 * across, box.y0 - own.y0 * down
    alpha = resampled(
        lifted.numpy(), (scales[0], shifts[0]), (scales[1], shifts[1]), (box.y1 - box.y0, box.x1 - box.x0)
    )
    return alpha.clip(0, 1)


def _in_frame(box: Box, canvas: tuple[int, int], frame_size: tuple[int, int]) -> Box:
    """A box of a canvas in whole pixels of the frame."""
    down, across = frame_size[0] / canvas[0], frame_size[1] / canvas[1]
    x0, y0 = round(box.x0 * across), round(box.y0 * down)
    return Box(x0, y0, max(x0 + 1, round(box.x1 * across)), max(y0 + 1, round(box.y1 * down)))
