"""Two figures who pass each other, a network that sees both, and trackers that know who is who."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streammatte.frame import Frame
from streammatte.subject.contracts import Looks, Prompt, Tracked

SIZE = (320, 180)  # width, height
Mattes = dict[str, list[NDArray[np.float32]]]


def figure(x: float, swing: float, size: tuple[int, int] = SIZE) -> NDArray[np.float32]:
    """(H, W) in [0, 1]: head, body, legs and two arms, with soft edges."""
    width, height = size
    fine = 4
    picture = np.zeros((fine * height, fine * width), np.uint8)

    def at(across: float, down: float) -> tuple[int, int]:
        return round(fine * (x + across * height)), round(fine * down * height)

    thick = round(fine * 0.07 * height)
    cv2.circle(picture, at(0, 0.2), round(fine * 0.08 * height), 255, -1)
    cv2.ellipse(picture, at(0, 0.48), (round(fine * 0.1 * height), round(fine * 0.2 * height)), 0, 0, 360, 255, -1)
    for side in (-1, 1):
        cv2.line(picture, at(0.05 * side, 0.6), at(0.1 * side * (1 + swing), 0.92), 255, thick)
        cv2.line(picture, at(0.05 * side, 0.38), at(0.22 * side, 0.5 + 0.12 * swing * side), 255, thick // 2)
    picture = cv2.GaussianBlur(picture, (0, 0), 0.5 * fine)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def crossing(path: Path, frames: int = 8, size: tuple[int, int] = SIZE) -> Mattes:
    """Write a lossless clip of two who pass each other, b in front; returns what is seen of each.

    Red is what a network takes for a subject: both of them.
    """
    width = size[0]
    mattes: Mattes = {"a": [], "b": []}
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, "bgr0"
        for index in range(frames):
            far = 0.15 + 0.7 * index / max(1, frames - 1)
            front = figure(width * (1 - far), -np.sin(index / 2), size)
            back = figure(width * far, np.sin(index / 2), size) * (1 - front)
            mattes["a"].append(back)
            mattes["b"].append(front)
            rgb = np.stack([front + back, 0.8 * front, 0.3 * np.ones_like(front)], axis=-1)
            frame = av.VideoFrame.from_ndarray((255 * rgb).round().astype(np.uint8), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return mattes


def box_of(matte: NDArray[np.float32]) -> str:
    """As it is typed."""
    ys, xs = np.nonzero(matte > 0.5)
    return f"box {xs.min()},{ys.min()},{xs.max() + 1},{ys.max() + 1}"


def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Of two mattes: intersection over union."""
    return float(np.minimum(one, other).sum() / np.maximum(one, other).sum().clip(1e-6))


class RedModel:
    """A network that takes what is red for the subject, in any part of a frame. As ``BiRefNetModel`` for a run."""

    name, precision, device = "red", "fp32", torch.device("cpu")

    def __init__(self, size: tuple[int, int] = (128, 128), weights: Path | None = None) -> None:
        self.size, self.weights = size, weights
        self.asked: list[int] = []

    def __call__(self, frames: Sequence[Frame]) -> list[torch.Tensor]:
        self.asked += [frame.index for frame in frames]
        return [frame.seen(self.size)[0].clamp(0, 1) for frame in frames]


class TruthTracker:
    """Answers from the ground truth; counts the frames it was asked for."""

    def __init__(self, mattes: Mattes, confidence: float = 1.0) -> None:
        self.mattes, self.confidence = mattes, confidence
        self.asked: list[int] = []

    def __call__(self, looks: Looks, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Mapping[str, Tracked]]]:
        names = {prompt.subject for prompt in prompts}
        for index in looks.indices:
            self.asked.append(index)
            yield index, {name: Tracked(self.mattes[name or "a"][index], self.confidence) for name in names}


class NearestBox:
    """Carries the nearest box; counts the frames it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, looks: Looks, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Mapping[str, Tracked]]]:
        for look in looks.between(looks.indices.start, looks.indices.stop):
            self.asked.append(look.index)
            near = min(prompts, key=lambda prompt: abs(prompt.index - look.index))
            mask = np.zeros(looks.frame_size, np.float32)
            left, top, right, bottom = map(round, near.at)
            mask[top:bottom, left:right] = 1
            yield look.index, {near.subject: Tracked(mask, 0.5)}
