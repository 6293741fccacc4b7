"""Generated clips of transparent subjects with exact alpha: a refracting bottle, a veil, smoke.

``1 - alpha`` is the share of background light that passes, wherever it comes from. A refracting body is therefore
``alpha·F + (1 - alpha)·B(x + d)``, where d is the displacement of the background and F what the body adds: tint,
reflections, its dark rim. The matting equation has no d, so a composite with this alpha dims the background behind the
bottle without bending it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.train.picture import Picture, as_picture, blur, clip, resize
from training.backgrounds import fractal
from training.clips import GRAIN, SHUTTER, Clip, Stage, over
from training.cutouts import Element

SEEN_THROUGH = 0.02  # alpha closer than this to 0 or 1 is empty or solid
BEND = 0.55  # displacement at a bottle's rim, relative to its half width
ADVANCE = 0.35  # how much faster the fine part of smoke drifts than the coarse


@dataclass(frozen=True, slots=True, eq=False)
class SeeThroughClip(Clip):
    """A clip, and where it is transparent.

    Attributes:
        region: (N, H, W) booleans, where the transparent body covers a background that still shows.
    """

    region: NDArray[np.bool_] = None  # type: ignore[assignment]  # after a field with a default


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """The layers of one moment; pictures are premultiplied (H, W, 4).

    Attributes:
        solid: The part of the subject behind the transparent body.
        body: The transparent body.
        bend: (H, W, 2) in pixels, displacement of the background seen through it.
        front: The part of the subject in front of it.
    """

    solid: Picture
    body: Picture
    bend: Picture
    front: Picture


Scene = Callable[[float], Moment]


def _nothing(stage: Stage, channels: int = 4) -> Picture:
    return np.zeros((stage.height, stage.width, channels), np.float32)


def bottle(stage: Stage) -> Scene:
    """A bottle with cap and label, carried across by three fingers; it mirrors the background."""
    h, w, rng = stage.height, stage.width, stage.rng
    y, x = np.mgrid[:h, :w].astype(np.float32)
    tint = rng.uniform(0.25, 0.7, 3).astype(np.float32)
    label, skin = stage.cloth(256), stage.cloth(256)
    streak = float(rng.uniform(-0.5, -0.2))

    def at(time: float) -> Moment:
        turn = 0.22 * np.sin(time / 7)
        cx, cy = w * 0.5 + 0.16 * h * np.sin(time / 9), 0.53 * h + 0.03 * h * np.sin(time / 5)
        u = (np.cos(turn) * (x - cx) + np.sin(turn) * (y - cy)) / (0.42 * h)  # the bottle's own axes, its height ±1
        v = (np.cos(turn) * (y - cy) - np.sin(turn) * (x - cx)) / (0.42 * h)
        half = 0.14 + 0.26 / (1 + np.exp(-(v + 0.35) / 0.07))  # neck and belly
        pixel = 1 / (0.42 * h)
        edge = np.minimum((half - np.abs(u)) / pixel, (1 - np.abs(v)) / pixel) + 0.5
        mask = edge.clip(0, 1)
        across = (u / half).clip(-1, 1)
        rim = np.abs(across) ** 6
        liquid = 1 / (1 + np.exp(-(v + 0.1 - 0.1 * u * np.sin(time / 3)) / 0.015))
        alpha = 0.14 + 0.2 * liquid + 0.5 * rim
        shine = 0.75 * np.exp(-np.square((across - streak) / 0.07)) * (np.abs(v) < 0.85)
        alpha = (alpha + (1 - alpha) * shine) * mask
        own = tint * (1 - 0.6 * rim[..., None]) * (alpha - shine * mask).clip(0, None)[..., None]
        own = own + (shine * mask)[..., None]
        body = np.dstack([np.minimum(own, alpha[..., None]), alpha])
        # A full bottle is a lens that mirrors; empty glass only bends at its rim.
        bent = -(2 * liquid * across + BEND * rim * np.sign(across)) * half * 0.42 * h
        bend = np.dstack([bent * np.cos(turn), -bent * np.sin(turn) * -1]) * mask[..., None]
        front = _nothing(stage)
        for stuck, picture in (((np.abs(v - 0.45) < 0.17) & (np.abs(across) < 0.75), label), (v < -0.82, label)):
            cover = blur(as_picture(stuck * mask), 0.6)
            place = [as_picture((axis * 90 + 128) % 255) for axis in (u / 0.4, v / 0.4)]
            front = over(_sheet(_read(picture, *place), cover), front)
        for finger in range(3):
            middle = 0.02 + 0.13 * finger - 0.06 * u
            cover = blur(as_picture((np.abs(v - middle) < 0.05) & (u > -0.1 - 0.05 * finger)), 0.7)
            place = [as_picture((axis * 100 + 128) % 255) for axis in (u, v)]
            front = over(_sheet(_read(skin, *place), cover), front)
        return Moment(_nothing(stage), as_picture(body), as_picture(bend), front)

    return at


def veil(stage: Stage) -> Scene:
    """A figure sways under fine cloth with moving folds."""
    h, w, rng = stage.height, stage.width, stage.rng
    figure, weave = stage.figure(), stage.cloth(512)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    phases = rng.uniform(0, 6, 6)

    def at(time: float) -> Moment:
        sway = 0.05 * h * np.sin(time / 8)
        cx = 0.5 * w + sway
        down = y / h
        # The lower part of the cloth follows later and swings wider.
        lag = 0.05 * h * np.sin(time / 8 - 1.2 * down) * (0.5 + down) - sway
        u = (x - cx - lag) / h
        half = 0.2 + 0.28 * down + 0.02 * np.sin(11 * down + phases[0] + time / 6)
        mask = ((half - np.abs(u)) * h + 0.5).clip(0, 1) * ((down - 0.03) * h).clip(0, 1)
        folds = sum(
            np.sin(u * (16 + 9 * k) * (1 - 0.3 * down) + phases[k] + 0.25 * np.sin(time / (4 + k) + 3 * down))
            for k in range(4)
        )
        alpha = (0.3 + 0.09 * folds + 0.25 * np.exp(-np.square((half - np.abs(u)) / 0.012))).clip(0.06, 0.85) * mask
        place = [as_picture((axis * h * 1.5 + 256) % 511) for axis in (u, down)]
        body = _sheet((0.55 + 0.5 * _read(weave, *place)).clip(0, 1), as_picture(alpha))
        return Moment(stage.stand(figure, cx, 0.03 * np.sin(time / 8)), body, _nothing(stage, 2), _nothing(stage))

    return at


def smoke(stage: Stage) -> Scene:
    """A figure in smoke that rises, drifts and curls around it."""
    h, w, rng = stage.height, stage.width, stage.rng
    figure, side = stage.figure(), 512
    coarse, fine = (fractal(rng, side, cells, 4, 0.6) for cells in (5, 12))
    curl = resize(fractal(rng, 64, 4, 2), side, side, cv2.INTER_CUBIC).reshape(side, side)
    light = stage.rng.uniform(0.6, 0.9, 3).astype(np.float32)
    y, x = np.mgrid[:h, :w].astype(np.float32)

    def read(field: Picture, u: Picture, v: Picture) -> Picture:
        """Sample a field that is mirrored at its borders."""
        place = [as_picture(side - 1 - np.abs((axis * side) % (2 * side - 2) - side + 1)) for axis in (u, v)]
        return _read(field, *place)

    def at(time: float) -> Moment:
        u, v = x / (1.6 * h), y / (1.6 * h)
        drift, rise = 0.0035 * time, 0.006 * time
        twist = 0.05 * read(curl, as_picture(u - drift / 2), as_picture(v + rise / 2))
        first = read(coarse, as_picture(u - drift + twist), as_picture(v + rise + twist))
        second = read(fine, as_picture(u - (1 + ADVANCE) * drift - twist), as_picture(v + (1 + ADVANCE) * rise + twist))
        envelope = np.exp(-np.square((x / w - 0.62) / 0.2)) * (y / h).clip(0, 1) ** 0.5
        density = (0.9 + 0.5 * first + 0.3 * second).clip(0, None) * envelope
        alpha = as_picture(1 - np.exp(-0.75 * density))
        alpha = as_picture(alpha * np.clip((alpha - 0.02) / 0.05, 0, 1))
        shade = light * (0.85 + 0.08 * second.clip(-2, 2))[..., None]
        place = stage.stand(figure, 0.42 * w + 0.02 * h * np.sin(time / 6), 0.03 * np.sin(time / 6))
        return Moment(place, _sheet(clip(as_picture(shade)), alpha), _nothing(stage, 2), _nothing(stage))

    return at


SCENES = {scene.__name__: scene for scene in (bottle, veil, smoke)}
SEE_THROUGH = tuple(SCENES)


def make_see_through(
    name: str, width: int = 384, height: int = 216, frames: int = 36, *, seed: int = 0, cutouts: Sequence[Element] = ()
) -> SeeThroughClip:
    """One of :data:`SEE_THROUGH`; arguments as for :func:`~training.clips.make_clip`."""
    rng = np.random.default_rng([seed, 100 + SEE_THROUGH.index(name)])
    stage = Stage(width, height, frames, rng, cutouts)
    scene, behind = SCENES[name](stage), stage.wall(0.15)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    rgb, alpha, foreground, region = [], [], [], []
    for time in range(frames):
        wall = behind(time)
        light, ours, body = (np.zeros((height, width, *more), np.float32) for more in ((3,), (4,), ()))
        for moment in (scene(time + offset) for offset in SHUTTER):
            place = as_picture(x + moment.bend[..., 0]), as_picture(y + moment.bend[..., 1])
            # The subject alone, premultiplied, and the light of the whole scene.
            solid = _read(moment.solid, *place)
            far = cv2.remap(wall, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            mine = over(moment.front, over(moment.body, solid))
            ours += mine / len(SHUTTER)
            light += (mine[..., :3] + (1 - mine[..., 3:]) * far) / len(SHUTTER)
            body += moment.body[..., 3] / len(SHUTTER)
        premultiplied = ours.clip(0, 1)
        picture = light + rng.normal(0, GRAIN, (height, width, 3))
        rgb.append(np.rint(255 * picture.clip(0, 1)).astype(np.uint8))
        alpha.append(premultiplied[..., 3])
        foreground.append(clip(premultiplied[..., :3] / np.maximum(premultiplied[..., 3:], 1e-3)))
        region.append((body > SEEN_THROUGH) & (premultiplied[..., 3] < 1 - SEEN_THROUGH))
    return SeeThroughClip(np.stack(rgb), np.stack(alpha), np.stack(foreground), (), np.stack(region))


def _read(picture: Picture, x: Picture, y: Picture) -> Picture:
    """A picture sampled at (x, y) in pixels, its border repeated."""
    return as_picture(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _sheet(color: Picture, cover: Picture) -> Picture:
    """Straight (H, W, 3) colours and their alpha → premultiplied (H, W, 4)."""
    return np.dstack([color * cover[..., None], cover]).astype(np.float32)
