"""Run the network on some frames only, and carry its mattes to the frames between along the picture's motion.

The network runs on every n-th frame and on both sides of a cut. Each such matte is also predicted from the one before:
where the two disagree by too much, the network runs on the frame halfway, and so on until neighbours agree or nothing
lies between them. So the error that carrying costs is checked rather than hoped for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from streammatte.frame import Frame
from streammatte.motion import Link, Motion, Plane

Ask = Callable[[Frame], Tensor]

AGREED = 0.08
"""Mean difference of the predicted and the actual matte, as a share of the subject, up to which frames between are
carried."""

SMALLEST = 0.01  # of the picture: a smaller subject counts as that large
DOUBTED = 0.05  # least weight of a side, even if the picture does not match


@dataclass(slots=True, eq=False)
class _Waiting:
    frame: Frame
    link: Link
    alpha: Tensor | None = None


class Stride:
    """Mattes of linked frames, in order.

    Args:
        every: The network runs on frames whose index is a multiple of it, and where needed.

    Raises:
        ValueError: ``every`` is below 1.

    Attributes:
        computed, carried: Number of frames that the network saw, and that it did not see.
        differences: Mean differences, in [0, 1], of the mattes predicted for a frame and the network's own; only those
            that agreed. Frames between are seldom further off, as they lie nearer to a known matte, and have two.
    """

    def __init__(self, every: int) -> None:
        if every < 1:
            raise ValueError(f"stride={every}: must be 1 or more")
        self.every = every
        self.computed = self.carried = 0
        self.differences: list[float] = []
        self._motion = Motion()

    def __call__(self, linked: Iterable[tuple[Frame, Link]], ask: Ask) -> Iterator[tuple[Frame, Link, Tensor]]:
        """Yield every frame with its link and its alpha.

        Args:
            linked: At most ``every`` + 1 of them are held.
            ask: Runs the network.
        """
        shot: list[_Waiting] = []  # the last known matte, and the frames after it
        for frame, link in linked:
            if shot and not link.one_shot:
                yield from self._through(shot, ask)
                shot = []
            shot.append(_Waiting(frame, link))
            if len(shot) == 1 or frame.index % self.every == 0:
                yield from self._through(shot, ask)
                shot = shot[-1:]
        yield from self._through(shot, ask)

    def note(self) -> str:
        """A line for the user, after the last frame."""
        computed, frames = self.computed, self.computed + self.carried
        if not self.differences:
            return f"the network ran on {computed} of {frames} frames: motion did not predict its mattes"
        mean, worst = 255 * np.mean(self.differences), 255 * max(self.differences)
        return (
            f"the network ran on {computed} of {frames} frames; "
            f"mattes carried to the others differ by {mean:.1f}/255 on average, {worst:.1f} at most, from its own"
        )

    def _through(self, shot: Sequence[_Waiting], ask: Ask) -> Iterator[tuple[Frame, Link, Tensor]]:
        """All but a first one that is known already, with the last one asked for."""
        if not shot or (len(shot) == 1 and shot[0].alpha is not None):
            return
        known = shot[0].alpha is not None
        for end in (shot[0], shot[-1]):
            self._know(end, ask)
        self._between(shot, ask)
        for waiting in shot[known:]:
            assert waiting.alpha is not None
            yield waiting.frame, waiting.link, waiting.alpha

    def _know(self, waiting: _Waiting, ask: Ask) -> None:
        if waiting.alpha is None:
            waiting.alpha = ask(waiting.frame)
            self.computed += 1

    def _between(self, span: Sequence[_Waiting], ask: Ask) -> None:
        """Fill in the alphas between two known ones."""
        if len(span) < 3:
            return
        first, last = _known(span[0]), _known(span[-1])
        forward = [waiting.link.flows[0] for waiting in span[1:]]
        backward = [waiting.link.flows[1] for waiting in span[1:]]
        back = self._chained(backward)  # from each frame to the first
        onward = self._chained(forward[::-1])[::-1]  # from each frame to the last
        foretold = self._moved(first, back[-1])
        # A model may change the size of its mattes; such a span is not carried.
        alike = first.shape == last.shape
        if not alike or np.abs(foretold - last).sum() > AGREED * max(float(last.sum()), SMALLEST * last.size):
            self._know(middle := span[len(span) // 2], ask)
            half = span.index(middle)
            self._between(span[: half + 1], ask)
            self._between(span[half:], ask)
            return
        self.differences.append(float(np.abs(foretold - last).mean()))
        ends = [
            span[end].link.here.with_alpha(stretched(alpha, span[end].link.here.size))
            for end, alpha in ((0, first), (-1, last))
        ]
        for number in range(1, len(span) - 1):
            near = 1 - number / (len(span) - 1)
            flows = back[number - 1], onward[number]
            said = [self._moved(alpha, flow) for alpha, flow in zip((first, last), flows, strict=True)]
            picture = span[number].link.here
            view = picture.with_alpha(stretched(near * said[0] + (1 - near) * said[1], picture.size))
            weights = [
                side * (stretched(self._motion.trust(view, end, flow), first.shape) + np.float32(DOUBTED))
                for side, end, flow in zip((near, 1 - near), ends, flows, strict=True)
            ]
            alpha = (weights[0] * said[0] + weights[1] * said[1]) / (weights[0] + weights[1])
            known = span[0].alpha
            assert known is not None
            span[number].alpha = torch.from_numpy(alpha.clip(0, 1)).to(known)
            self.carried += 1

    def _chained(self, steps: Sequence[Plane]) -> list[Plane]:
        """Flows from each frame to one end, from the flows between neighbours, the nearest first."""
        flows: list[Plane] = []
        for step in steps:
            flows.append(step + self._motion.moved(flows[-1], step) if flows else step)
        return flows

    def _moved(self, alpha: Plane, flow: Plane) -> Plane:
        return self._motion.moved(alpha, stretched(flow, alpha.shape), sharp=True).clip(0, 1)


def _known(waiting: _Waiting) -> Plane:
    assert waiting.alpha is not None
    return waiting.alpha.float().cpu().numpy()


def stretched(plane: Plane, shape: tuple[int, ...]) -> Plane:
    """(h, w), or a flow (h, w, 2), scaled to another (H, W); a flow's vectors are scaled, too."""
    if plane.shape[:2] == shape[:2]:
        return plane
    method = cv2.INTER_AREA if shape[0] < plane.shape[0] else cv2.INTER_LINEAR
    large = np.asarray(cv2.resize(plane, shape[1::-1], interpolation=method), np.float32)
    if plane.ndim == 3:
        large *= np.array([shape[1] / plane.shape[1], shape[0] / plane.shape[0]], np.float32)
    return large
