"""Short generated clips with exact alpha and foreground.

Each shows one difficulty for temporal stability: joints, hair, a pan, speed, an occlusion, a cut, stillness, or a
transparent subject. Everything has fine textures for optical flow to follow, there is grain, and the shutter is open
for half of each frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.train.picture import Picture, as_picture, blur, clip
from training.backgrounds import drawn, fractal
from training.cutouts import Element, furry_figure

Motion = Callable[[float], Picture]
"""A time in frames → the picture, opaque (H, W, 3) or premultiplied (H, W, 4)."""

SHUTTER = (-0.2, -0.1, 0.0, 0.1, 0.2)  # moments, in frames, averaged into a frame
GRAIN = 0.008  # standard deviation
FINE = 2  # oversampling of subjects
FAST = 30  # pixels per frame at a width of 1920


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A clip and its ground truth.

    Attributes:
        rgb: (N, H, W, 3) uint8.
        alpha: (N, H, W) float32 in [0, 1].
        foreground: (N, H, W, 3) float32 in [0, 1], straight; black where alpha is 0.
        cuts: Frames that begin a new shot.
    """

    rgb: NDArray[np.uint8]
    alpha: Picture
    foreground: Picture
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """Size and length of a shot, its subjects, and its source of randomness."""

    width: int
    height: int
    frames: int
    rng: np.random.Generator
    cutouts: Sequence[Element]

    def figure(self) -> Picture:
        """A cut-out, or a drawn figure if there are none: premultiplied (h, w, 4), nearly as tall as the frame."""
        if self.cutouts:
            rgba = self.cutouts[int(self.rng.integers(len(self.cutouts)))].rgba
        else:
            rgba = furry_figure(self.rng).rgba
        straight = as_picture(rgba) / np.float32(255)
        scale = FINE * min(0.95 * self.height / straight.shape[0], 0.5 * self.width / straight.shape[1])
        straight[..., :3] *= straight[..., 3:]
        return as_picture(cv2.resize(straight, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))

    def cloth(self, side: int) -> Picture:
        """A texture for optical flow, (side, side, 3)."""
        tint = self.rng.uniform(0.2, 0.8, 3).astype(np.float32)
        return clip(tint * np.exp(np.float32(0.35) * fractal(self.rng, side, max(2, side // 24), 4, 0.8)))

    def place(self, sprite: Picture, x: float, y: float, angle: float = 0.0, scale: float = 1.0) -> Picture:
        """Premultiplied (H, W, 4) with a sprite centred at (x, y) in pixels, rotated by ``angle`` radians."""
        h, w = sprite.shape[:2]
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shift = FINE * np.array([x, y]) - turn @ [w / 2, h / 2]
        size = (FINE * self.width, FINE * self.height)
        large = cv2.warpAffine(sprite, np.column_stack([turn, shift]), size, flags=cv2.INTER_LINEAR)
        return as_picture(cv2.resize(large, (self.width, self.height), interpolation=cv2.INTER_AREA))

    def stand(self, figure: Picture, x: float, angle: float = 0.0) -> Picture:
        """``place`` with the figure's foot just below the frame."""
        return self.place(figure, x, 1.06 * self.height - figure.shape[0] / (2 * FINE), angle)

    def wall(self, vx: float = 0.0, vy: float = 0.0) -> Motion:
        """An opaque background that moves by (vx, vy) pixels per frame."""
        side = int(max(self.width, self.height) + self.frames * max(abs(vx), abs(vy))) + 8
        picture = drawn(self.rng, side)
        picture = blur(picture, self.width / 200)  # out of focus, like most backgrounds
        picture = clip(picture * np.exp(np.float32(0.06) * fractal(self.rng, side, side // 16, 4, 0.8)))
        x0, y0 = (-4 - max(0.0, v) * self.frames for v in (vx, vy))

        def at(time: float) -> Picture:
            matrix = np.array([[1, 0, x0 + vx * time], [0, 1, y0 + vy * time]], np.float64)
            return as_picture(cv2.warpAffine(picture, matrix, (self.width, self.height), flags=cv2.INTER_CUBIC))

        return lambda time: clip(at(time))


def over(above: Picture, below: Picture) -> Picture:
    """Premultiplied pictures, one over the other."""
    return as_picture(above + (1 - above[..., 3:]) * below)


def _capsule(stage: Stage, length: float, width: float) -> Picture:
    """A limb hanging from the centre of the sprite: premultiplied, oversampled by FINE."""
    length, width = FINE * length, FINE * width
    side = int(2 * (length + width)) + 4
    mask = np.zeros((side, side), np.float32)
    middle = side / 2
    ends = [(round(16 * v) for v in point) for point in ((middle, middle), (middle, middle + length))]
    first, second = (tuple(end) for end in ends)
    cv2.line(mask, first, second, 1.0, max(1, round(width)), cv2.LINE_AA, 4)
    return np.dstack([stage.cloth(side) * mask[..., None], mask])


def articulated(stage: Stage) -> tuple[Motion, Motion, None]:
    """A figure that swings its arms and legs, thin at their ends, with a stick in one hand."""
    h = stage.height
    trunk, head = _capsule(stage, 0.24 * h, 0.16 * h), _capsule(stage, 0.001 * h, 0.13 * h)
    limbs = [
        (_capsule(stage, 0.17 * h, 0.05 * h), _capsule(stage, 0.17 * h, 0.022 * h), side, top, phase)
        for side, top, phase in ((-0.08, 0.34, 0.0), (0.08, 0.34, 2.6), (-0.05, 0.6, 2.6), (0.05, 0.6, 0.0))
    ]
    stick = _capsule(stage, 0.25 * h, 0.009 * h)

    def at(time: float) -> Picture:
        sway = 0.02 * h * np.sin(time / 5)
        x, picture = stage.width / 2 + sway, np.zeros((h, stage.width, 4), np.float32)
        for number, (upper, lower, side, top, phase) in enumerate(limbs):
            first = 0.7 * np.sin(time / 8 + phase) - 4 * side
            second = first + 0.5 * np.sin(time / 6 + phase)
            px, py = x + side * h, top * h
            ex, ey = px - np.sin(first) * 0.17 * h, py + np.cos(first) * 0.17 * h
            if number == 0:
                hx, hy = ex - np.sin(second) * 0.17 * h, ey + np.cos(second) * 0.17 * h
                picture = over(stage.place(stick, hx, hy, second + 2), picture)
            picture = over(stage.place(lower, ex, ey, second), picture)
            picture = over(stage.place(upper, px, py, first), picture)
        picture = over(stage.place(trunk, x, 0.36 * h), picture)
        return over(stage.place(head, x + sway / 2, 0.2 * h), picture)

    return stage.wall(0.2), at, None


def hair(stage: Stage) -> tuple[Motion, Motion, None]:
    """A head with single swaying hairs."""
    h, rng = stage.height, stage.rng
    head = _capsule(stage, 0.12 * h, 0.36 * h)
    shoulders = _capsule(stage, 0.3 * h, 0.7 * h)
    count = 260
    root = rng.uniform(0.95 * np.pi, 2.05 * np.pi, count)
    reach = 0.01 * h * rng.uniform(8, 26, count)
    phase, fall = root + rng.normal(0, 0.25, count), rng.uniform(0.3, 1.3, count)
    shade = rng.uniform(0.08, 0.4, count)[:, None] * np.array([1.0, 0.75, 0.5])
    t = np.linspace(0, 1, 9)[:, None]

    def strands(time: float, x: float, y: float) -> Picture:
        canvas = np.zeros((4 * h, 4 * stage.width, 4), np.float32)
        for i in range(count):
            out = np.array([np.cos(root[i]), np.sin(root[i])])
            sway = np.array([0.25 * np.sin(time / 4 + phase[i]), fall[i] * t[-1, 0]])
            curve = np.array([x, y]) + 0.17 * h * out + reach[i] * (t * out + t**2 * sway)
            points = np.rint(curve * 4 * 16).astype(np.int32)
            ink = (*shade[i], 1.0)
            cv2.polylines(canvas, [points[:, None]], False, ink, 2 if i % 3 else 3, cv2.LINE_AA, 4)
        return as_picture(cv2.resize(canvas, (stage.width, h), interpolation=cv2.INTER_AREA))

    def at(time: float) -> Picture:
        x, y = stage.width / 2 + 0.05 * h * np.sin(time / 7), 0.38 * h + 0.01 * h * np.sin(time / 5)
        picture = stage.place(shoulders, stage.width / 2 + 0.02 * h * np.sin(time / 7), 1.05 * h)
        picture = over(stage.place(head, x, y), picture)
        return over(strands(time, x, y), picture)

    return stage.wall(), at, None


def pan(stage: Stage) -> tuple[Motion, Motion, None]:
    """A camera follows a figure and lags behind."""
    figure, speed = stage.figure(), stage.width / 160
    return (
        stage.wall(-speed),
        lambda time: stage.stand(figure, stage.width * 0.4 + 0.3 * speed * time, 0.04 * np.sin(time / 5)),
        None,
    )


def fast(stage: Stage) -> tuple[Motion, Motion, None]:
    """A figure crosses the frame at :data:`FAST`, and back."""
    figure = stage.figure()
    step, span = FAST * stage.width / 1920, 0.45 * stage.width

    def at(time: float) -> Picture:
        way = (step * (time + 4)) % (2 * span)
        x = 0.275 * stage.width + (way if way < span else 2 * span - way)
        return stage.stand(figure, x, 0.05 * np.sin(time / 3))

    return stage.wall(), at, None


def occlusion(stage: Stage) -> tuple[Motion, Motion, Motion]:
    """A post, not part of the subject, passes in front of a figure."""
    figure = stage.figure()
    post = _capsule(stage, 2.4 * stage.height, 0.16 * stage.height)

    def front(time: float) -> Picture:
        return stage.place(post, stage.width * (0.15 + 0.7 * time / stage.frames), -stage.height)

    def at(time: float) -> Picture:
        return stage.stand(figure, stage.width * (0.5 - 0.002 * time), 0.03 * np.sin(time / 6))

    return stage.wall(), at, front


def still(stage: Stage) -> tuple[Motion, Motion, None]:
    """Nothing moves."""
    picture = stage.stand(stage.figure(), stage.width * 0.5)
    return stage.wall(), lambda time: picture, None


def see_through(stage: Stage) -> tuple[Motion, Motion, None]:
    """A figure carries a tinted pane, which is part of the subject."""
    figure, side = stage.figure(), int(FINE * 0.5 * stage.height)
    thick = clip(0.4 + 0.12 * fractal(stage.rng, side, 6, 3))
    pane = np.dstack([stage.cloth(side) * thick, thick])

    def at(time: float) -> Picture:
        x, y = stage.width * 0.45 + 0.08 * stage.height * np.sin(time / 6), 0.55 * stage.height
        held = stage.place(pane, x + 0.25 * stage.height, y, 0.15 * np.sin(time / 6))
        return over(held, stage.stand(figure, x))

    return stage.wall(0.3), at, None


SHOTS = {shot.__name__: shot for shot in (articulated, hair, pan, fast, occlusion, still, see_through)}
NAMES = ("articulated", "hair", "pan", "fast", "occlusion", "cut", "still", "see_through")


def make_clip(
    name: str, width: int = 384, height: int = 216, frames: int = 36, *, seed: int = 0, cutouts: Sequence[Element] = ()
) -> Clip:
    """One of :data:`NAMES`; ``cut`` is half a ``pan`` and half ``see_through``.

    Args:
        name: One of :data:`NAMES`.
        width, height: In pixels. Speeds and shapes scale with them.
        frames: Length.
        seed: Decides everything else.
        cutouts: Subjects to choose from; if empty, figures are drawn.
    """
    if name == "cut":
        half = frames // 2
        first = make_clip("pan", width, height, half, seed=seed, cutouts=cutouts)
        second = make_clip("see_through", width, height, frames - half, seed=seed + 1, cutouts=cutouts)
        return Clip(
            np.concatenate([first.rgb, second.rgb]),
            np.concatenate([first.alpha, second.alpha]),
            np.concatenate([first.foreground, second.foreground]),
            (half,),
        )
    rng = np.random.default_rng([seed, NAMES.index(name)])
    behind, subject, front = SHOTS[name](Stage(width, height, frames, rng, cutouts))
    rgb, alpha, foreground = [], [], []
    for time in range(frames):
        mine = as_picture(np.mean([subject(time + moment) for moment in SHUTTER], axis=0)).clip(0, 1)
        if front is not None:
            hidden = front(time)
            mine = mine * (1 - hidden[..., 3:])
            scene = hidden[..., :3] + (1 - hidden[..., 3:]) * behind(time)
            scene = mine[..., :3] + scene - mine[..., 3:] * behind(time)
        else:
            scene = mine[..., :3] + (1 - mine[..., 3:]) * behind(time)
        grain = rng.normal(0, GRAIN, scene.shape)
        rgb.append(np.rint(255 * (scene + grain).clip(0, 1)).astype(np.uint8))
        alpha.append(mine[..., 3])
        foreground.append(clip(mine[..., :3] / np.maximum(mine[..., 3:], 1e-3)))
    return Clip(np.stack(rgb), np.stack(alpha), np.stack(foreground))
