"""Clips of photographed people over photographed streets, with exact alpha: what generated clips are too easy for.

People sway, so that no rigid motion explains them, the shutter is open for up to half of a frame, and footage has
grain, low light or little texture. Every clip has a held-back twin: other people, other streets, other speeds and
other noise, which no setting may be chosen by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.train.picture import Picture, as_picture, blur, clip
from training.clips import Clip
from training.cutouts import Element
from training.photographs import RGBA, cut_out, held_out, read
from training.places import emptied

Mattes = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shot:
    """What one kind of clip shows. Lengths are shares of the frame's height; speeds are such shares a frame.

    Attributes:
        tall: The person's height.
        speed: Of the person, back and forth.
        sway: Amplitude of the body's own movement.
        tempo: Radians a frame of that movement.
        camera: Speed of the place behind.
        shake: Standard deviation of the camera's place from frame to frame.
        shutter: Share of a frame during which it is open.
        grain: Standard deviation.
        light: Gain of the picture before the grain.
        soft: Blur of the place behind; a defocused or a plain one has little texture.
        grow: Relative growth a frame.
    """

    tall: float = 0.95
    speed: float = 0.0
    sway: float = 0.01
    tempo: float = 0.2
    camera: float = 0.0
    shake: float = 0.0
    shutter: float = 0.5
    grain: float = 0.01
    light: float = 1.0
    soft: float = 0.003
    grow: float = 0.0


SHOTS = {
    "slow": Shot(speed=0.0015, tempo=0.08),
    "walking": Shot(speed=0.01, sway=0.02, tempo=0.35, camera=-0.003),
    "fast": Shot(speed=0.05, sway=0.02, tempo=0.4),
    "dancing": Shot(speed=0.012, sway=0.06, tempo=0.6),
    "near": Shot(tall=2.2, speed=0.004, sway=0.02, tempo=0.25, soft=0.02),
    "small": Shot(tall=0.4, speed=0.008, sway=0.006, tempo=0.4),
    "handheld": Shot(speed=0.003, shake=0.012, camera=0.004),
    "dark": Shot(speed=0.006, light=0.3, grain=0.02, soft=0.02),
    "coming": Shot(tall=0.7, speed=0.003, grow=0.012, tempo=0.3),
}
NAMES = (*SHOTS, "cut")

Person = tuple[Element, Picture]


def read_people(folder: Path, count: int = 24, *, kept_back: bool = False) -> list[tuple[Element, NDArray[np.uint8]]]:
    """People and empty streets from photographs with masks; held back are those by :func:`held_out`.

    Raises:
        SystemExit: There are none.
    """
    paths = [path for path in sorted(folder.glob("*.jpg")) if held_out(path) == kept_back]
    if not paths:
        raise SystemExit(f"no photographs in {folder}")
    rng, found = np.random.default_rng(len(paths)), []
    for number in rng.permutation(len(paths))[:count]:
        picture: RGBA = read(paths[number])
        if (element := cut_out(picture)) is not None:
            found.append((element, emptied(picture, rng)))
    return found


def make(
    name: str,
    people: Sequence[tuple[Element, NDArray[np.uint8]]],
    size: tuple[int, int] = (384, 216),
    frames: int = 36,
    seed: int = 0,
) -> Clip:
    """One of :data:`NAMES`; ``cut`` is a ``walking`` and a ``fast`` shot.

    Args:
        name: One of :data:`NAMES`.
        people: As :func:`read_people` has them.
        size: (W, H).
        frames: Length.
        seed: Decides the rest; from 1000 on, speeds differ, too.
    """
    if name == "cut":
        first, second = (
            make(each, people, size, length, seed)
            for each, length in (("walking", frames // 2), ("fast", frames - frames // 2))
        )
        parts = (np.concatenate(pair) for pair in zip(_planes(first), _planes(second), strict=True))
        return Clip(*parts, cuts=(frames // 2,))
    rng = np.random.default_rng([seed, NAMES.index(name)])
    shot = SHOTS[name]
    if seed >= 1000:
        factor = float(rng.uniform(0.6, 1.5))
        shot = replace(shot, speed=shot.speed * factor, tempo=shot.tempo * factor, shutter=float(rng.uniform(0.2, 0.7)))
    return _shown(shot, people, size, frames, rng)


def _planes(clip: Clip) -> tuple[NDArray[np.uint8], Picture, Picture]:
    return clip.rgb, clip.alpha, clip.foreground


def _shown(
    shot: Shot,
    people: Sequence[tuple[Element, NDArray[np.uint8]]],
    size: tuple[int, int],
    frames: int,
    rng: np.random.Generator,
) -> Clip:
    width, height = size
    person = _premultiplied(people[int(rng.integers(len(people)))][0], shot.tall * height)
    street = as_picture(people[int(rng.integers(len(people)))][1]) / np.float32(255)
    street = blur(
        as_picture(cv2.resize(street, None, fx=1.3 * width / street.shape[1], fy=1.3 * width / street.shape[1])),
        shot.soft * height,
    )
    y, x = np.mgrid[:height, :width].astype(np.float32)
    side, phase = float(rng.choice([-1, 1])), float(rng.uniform(0, 6))
    shakes = np.cumsum(rng.normal(0, shot.shake * height, (frames + 1, 2)) * 0.5, axis=0)
    shakes -= shakes.mean(0)
    span = 0.5 * width

    def person_at(time: float) -> Picture:
        way = (shot.speed * height * (time + 3)) % (2 * span)
        middle = width / 2 + side * ((way if way < span else 2 * span - way) - (span / 2 if shot.speed > 0.02 else 0))
        scale = 1 + shot.grow * time
        feet = (1.02 if shot.tall <= 1 else 0.15 + shot.tall) * height
        u, v = (x - middle) / scale, (y - feet) / scale
        up = (-v / (shot.tall * height)).clip(0, 1.2)  # 0 at the feet, 1 at the head
        beat = shot.tempo * time + phase
        u = u - shot.sway * height * (
            up * np.sin(beat) + 0.5 * np.sin(2.3 * beat + 5 * up) * np.tanh(u / (0.1 * height))
        )
        v = v + 0.3 * shot.sway * height * np.sin(1.7 * beat + 2 * up)
        maps = as_picture(u + person.shape[1] / 2), as_picture(v + person.shape[0])
        return as_picture(cv2.remap(person, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT))

    def street_at(time: float) -> Picture:
        at = shot.camera * height * (time - frames / 2)
        dx, dy = (np.interp(time, np.arange(frames + 1), shakes[:, axis]) for axis in (0, 1))
        left, top = (street.shape[1] - width) / 2 + at + dx, (street.shape[0] - height) / 2 + dy
        return as_picture(
            cv2.remap(
                street, as_picture(x + left), as_picture(y + top), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
            )
        )

    rgb, alphas, colors = [], [], []
    count = 9 if shot.speed > 0.02 else 5
    moments = (np.arange(count) / (count - 1) - 0.5) * shot.shutter
    for time in range(frames):
        mine = as_picture(np.mean([person_at(time + moment) for moment in moments], axis=0)).clip(0, 1)
        scene = mine[..., :3] + (1 - mine[..., 3:]) * street_at(time)
        noisy = shot.light * scene + rng.normal(0, shot.grain, scene.shape)
        rgb.append(np.rint(255 * noisy.clip(0, 1)).astype(np.uint8))
        alphas.append(mine[..., 3])
        colors.append(clip(mine[..., :3] / np.maximum(mine[..., 3:], 1e-3)))
    return Clip(np.stack(rgb), np.stack(alphas), np.stack(colors))


def _premultiplied(element: Element, tall: float) -> Picture:
    rgba = as_picture(element.rgba) / np.float32(255)
    rgba[..., :3] *= rgba[..., 3:]
    scale = tall / rgba.shape[0]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    large = as_picture(cv2.resize(rgba, None, fx=scale, fy=scale, interpolation=method)).clip(0, 1)
    return as_picture(cv2.copyMakeBorder(large, 2, 2, 2, 2, cv2.BORDER_CONSTANT))


@dataclass(frozen=True, slots=True)
class Spoiling:
    """How a true alpha is spoilt. Pixels are of the clip; a whole edge moves with every one of its points.

    Attributes:
        breath, period: Amplitude in pixels, and frames, of the whole edge's slow movement out and in.
        jump: Standard deviation, in pixels, of the whole edge's movement from frame to frame.
        boil: Standard deviation, in pixels, of each part's own.
        memory: Share of the part's own displacement that stays to the next frame.
        noise: Standard deviation of alpha where it is soft.
        lost: Chance that a part of the subject begins to be lost in a frame, for one to five.
        coarse: The matte goes through this share of its size.
    """

    breath: float = 0.0
    period: float = 40.0
    jump: float = 0.0
    boil: float = 0.0
    memory: float = 0.0
    noise: float = 0.0
    lost: float = 0.0
    coarse: float = 1.0


SPOILINGS = {
    "breathing": Spoiling(breath=1.5, period=26, jump=0.4, boil=0.3),
    "wandering": Spoiling(boil=1.0, memory=0.8, noise=0.1, lost=0.05),
    "jumping": Spoiling(jump=1.0, boil=0.6, lost=0.12, coarse=0.4),
}
HELD_BACK = {
    "breathing": Spoiling(breath=1.1, period=19, jump=0.6, boil=0.5, memory=0.3),
    "wandering": Spoiling(boil=0.8, memory=0.7, noise=0.2, lost=0.08, jump=0.3),
    "jumping": Spoiling(jump=0.7, boil=0.9, lost=0.2, coarse=0.5),
}


def spoilt(alpha: Mattes, how: Spoiling, seed: int = 0) -> Mattes:
    """(N, H, W) in [0, 1], spoilt."""
    rng = np.random.default_rng([seed, 3])
    _, height, width = alpha.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    start, own = float(rng.uniform(0, 6)), np.zeros((2, height, width), np.float32)
    fresh, hole, result = np.sqrt(1 - how.memory**2), (0, 0.0, 0.0, 0.0), np.empty_like(alpha)
    for index, truth in enumerate(alpha):
        soft = blur(truth, 2)
        slope = np.stack([np.gradient(soft, axis=axis) for axis in (1, 0)])
        outward = slope / (np.hypot(*slope) + 0.003)
        out = how.breath * np.sin(2 * np.pi * index / how.period + start) + how.jump * rng.normal()
        lumps = np.stack([_lumps(rng, height, width, 4) for _ in range(2)])
        own = lumps if index == 0 else how.memory * own + fresh * lumps
        at = np.stack([x, y]) + out * outward + how.boil * own
        matte = cv2.remap(truth, *as_picture(at), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        matte = matte + how.noise * 2 * np.sqrt(np.maximum(soft * (1 - soft), 0)) * _lumps(rng, height, width, 1.5)
        if hole[0] == 0 and rng.random() < how.lost and (inside := np.argwhere(truth > 0.9)).size:
            cy, cx = inside[rng.integers(len(inside))]
            hole = (int(rng.integers(1, 6)), float(cx), float(cy), float(width * rng.uniform(0.02, 0.08)))
        if hole[0]:
            matte = matte * (1 - 0.9 * ((hole[3] - np.hypot(x - hole[1], y - hole[2])) / 3 + 0.5).clip(0, 1))
            hole = (hole[0] - 1, *hole[1:])
        if how.coarse < 1:
            small = cv2.resize(as_picture(matte), None, fx=how.coarse, fy=how.coarse, interpolation=cv2.INTER_AREA)
            matte = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
        result[index] = clip(matte)
    return result


def _lumps(rng: np.random.Generator, height: int, width: int, size: float) -> Picture:
    """Smooth noise with blobs of about ``size`` pixels; mean 0, standard deviation 1."""
    return blur(as_picture(rng.standard_normal((height, width))), size) * np.float32(2 * np.sqrt(np.pi) * size)
