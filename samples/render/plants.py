"""Plants: in pots, as trees, as flowers on stems. Leaves are blades bent along their middle."""

import bpy
import numpy as np

from samples.render import finishes, shapes
from samples.render.framing import Framing
from samples.render.meshes import Array

WIDTHS = {
    "oval": (0.05, 0.55, 0.95, 1.0, 0.8, 0.45, 0.03),
    "blade": (0.5, 0.8, 1.0, 0.95, 0.75, 0.4, 0.03),
    "heart": (0.5, 1.0, 1.0, 0.85, 0.6, 0.3, 0.02),
    "spoon": (0.1, 0.15, 0.35, 0.8, 1.0, 0.85, 0.1),
}


def leaf(kind: str, length: float, wide: float, droop: float, fold: float) -> shapes.Surface:
    """A leaf from the origin along +x: ``droop`` bends it down, ``fold`` raises its halves."""
    t = np.linspace(0, 1, 7)
    half = np.array(WIDTHS[kind]) * wide / 2
    middle = np.c_[t * (1 - 0.3 * abs(droop) * t), np.zeros(7), 0.25 * t - droop * t**2]
    rows = np.stack([middle + np.c_[0 * t, s * half, abs(s) * half * fold] for s in (-1, -0.5, 0, 0.5, 1)], 1)
    faces = [[5 * k + i, 5 * k + i + 1, 5 * k + i + 6, 5 * k + i + 5] for k in range(6) for i in range(4)]
    return rows.reshape(-1, 3) * length, faces


def _green(rng: np.random.Generator, size: float) -> bpy.types.Material:
    green = np.array((0.08, 0.2, 0.03)) * rng.uniform(0.25, 1.6) * rng.uniform(0.7, 1.4, 3)
    if rng.random() < 0.15:
        green = np.array((0.4, 0.15, 0.03)) * rng.uniform(0.3, 1.2)
    return finishes.surface(
        rng, size, str(rng.choice(["plastic", "cloth"])), np.clip(green, 0, 0.8), rng.random() < 0.7
    )


def _facing(direction: Array, roll: float) -> Array:
    """(3, 3) a turn that lays +x along a direction, with +z as far up as it will go."""
    x = direction / np.linalg.norm(direction)
    y = np.cross((0, 0, 1), x)
    y /= np.linalg.norm(y) + 1e-9
    return np.c_[x, y, np.cross(x, y)] @ shapes.rotation(x=roll)


def potted(rng: np.random.Generator) -> Framing:
    """A pot with leaves that spring from the earth or from stems; some with blossoms, some a fern or a palm."""
    size = 0.12
    outside = np.array([(float(rng.uniform(0.55, 0.95)), 0), (1.0, 1.4), (1.1, 1.4), (1.1, 1.65)]) * size
    rim = outside[::-1] - (0.08 * size, 0)
    pot = np.concatenate([[(0, 0)], outside, rim[:2], [(0, 1.4 * size)]])
    shapes.add(
        "pot", shapes.lathe(pot), finishes.surface(rng, 0.2, str(rng.choice(["stone", "glaze", "plastic"]))), False
    )
    kind, made = str(rng.choice(list(WIDTHS))), _green(rng, 0.2)
    fern = rng.random() < 0.3
    length, wide = float(rng.uniform(0.15, 0.4)), float(rng.uniform(0.12, 0.7))
    droop, rise = float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.3, 2.0))
    blossom = finishes.surface(rng, 0.1, "cloth", calm=True)
    leaves, stems = [], []
    for k in range(int(rng.integers(8, 28))):
        angle = k * 2.4 + rng.normal(0, 0.3)
        start = np.array([0.4 * size * np.cos(angle), 0.4 * size * np.sin(angle), 1.45 * size])
        up = np.array([np.cos(angle), np.sin(angle), rise * rng.uniform(0.5, 1.5)])
        tip = start + up / np.linalg.norm(up) * length * rng.uniform(0.5, 1.2)
        stem = shapes.curve([start, (start + tip) / 2 + (0, 0, 0.15 * length), tip], 10)
        stems.append(shapes.tube(stem, 0.004, 6))
        turn = _facing(np.array([np.cos(angle), np.sin(angle), rng.normal(0.2, 0.3)]), float(rng.normal(0, 20)))
        if fern:
            for share in np.linspace(0.15, 1, 14):
                here = stem[int(share * 9)]
                for side in (-1, 1):
                    out = np.array([-np.sin(angle), np.cos(angle), 0]) * side + 0.4 * up / np.linalg.norm(up)
                    frond = leaf("blade", length * 0.45 * (1.15 - share), 0.25, droop * 0.6, 0.2)
                    leaves.append(shapes.moved(frond, here, _facing(out, 0)))
        else:
            scale = length * float(rng.uniform(0.5, 1.0))
            leaves.append(shapes.moved(leaf(kind, scale, wide, droop, 0.3), tip, turn))
        if not fern and rng.random() < 0.12:
            flower(rng, tip + shapes.at(0, 0, 0.02), 0.05, blossom)
    shapes.add("stems", shapes.join(stems), made)
    shapes.add("leaves", shapes.join(leaves), made, subdivide=1)
    return shapes.frame(rng, float(rng.uniform(0, 30)), close=0.35)


def flower(rng: np.random.Generator, centre: Array, size: float, made: bpy.types.Material) -> None:
    """Petals round a button, facing up and a little forward."""
    tilt = shapes.rotation(x=float(rng.uniform(0, 70)), z=float(rng.normal(0, 30)))
    count, rows = int(rng.integers(5, 14)), int(rng.integers(1, 3))
    shape, wide, cup = (
        str(rng.choice(["oval", "spoon", "heart"])),
        float(rng.uniform(0.3, 0.7)),
        float(rng.uniform(-0.5, 0.4)),
    )
    petals = []
    for row in range(rows):
        for k in range(count):
            turn = shapes.rotation(y=-25.0 * row, z=360 * (k + row / 2) / count)
            petals.append(shapes.moved(leaf(shape, 1 - 0.2 * row, wide, cup, 0.2), (0, 0, 0), tilt @ turn, size))
    shapes.add("petals", shapes.moved(shapes.join(petals), centre), made, subdivide=1)
    button = finishes.plain("button", np.array((0.6, 0.35, 0.03)) * rng.uniform(0.1, 1.2), 0.9)
    shapes.add("button", shapes.ball(centre, np.array((0.22, 0.22, 0.13)) * size, tilt), button)


def flowers(rng: np.random.Generator) -> Framing:
    """One to seven flowers on stems with leaves."""
    green = _green(rng, 0.2)
    made = finishes.surface(rng, 0.1, "cloth", calm=True)
    for _ in range(int(rng.integers(1, 8))):
        x, y = rng.normal(0, 0.1, 2)
        top = np.array([x, y, rng.uniform(0.25, 0.45)])
        stem = shapes.curve([(0.3 * x, 0.3 * y, 0), (0.5 * x, 0.5 * y, 0.15), top], 16)
        shapes.add("stem", shapes.tube(stem, 0.004, 8), green)
        for k in (4, 8):
            turn = _facing(np.array([*rng.normal(size=2), 0.4]), 0)
            blade = leaf(str(rng.choice(list(WIDTHS))), 0.12, 0.3, 0.4, 0.3)
            shapes.add("leaf", shapes.moved(blade, stem[k], turn), green, subdivide=1)
        flower(
            rng,
            top,
            float(rng.uniform(0.04, 0.09)),
            made if rng.random() < 0.7 else finishes.surface(rng, 0.1, "cloth"),
        )
    return shapes.frame(rng, float(rng.uniform(0, 40)), close=0.4)


def tree(rng: np.random.Generator) -> Framing:
    """A tree, in leaf or bare; or a bough of one, close by."""
    limbs, ends = [], []
    lean = float(rng.uniform(0.5, 0.9))

    def branch(start: Array, direction: Array, length: float, radius: float, depth: int) -> None:
        end = start + direction * length
        bend = (start + end) / 2 + rng.normal(0, 0.08 * length, 3)
        path = shapes.curve([start, bend, end], 8)
        limbs.append(shapes.tube(path, np.linspace(radius, 0.65 * radius, 8), 7))
        if depth <= 1:
            ends.extend(path[2:])
        if depth == 0:
            return
        for _ in range(int(rng.integers(2, 4))):
            way = direction + rng.normal(0, lean, 3) + (0, 0, 0.25)
            branch(end, way / np.linalg.norm(way), length * rng.uniform(0.6, 0.85), 0.62 * radius, depth - 1)

    branch(np.zeros(3), shapes.at(0, 0, 1), float(rng.uniform(1.0, 2.0)), float(rng.uniform(0.08, 0.2)), 5)
    bark = finishes.surface(rng, 0.5, "wood")
    shapes.add("limbs", shapes.join(limbs), bark)
    if rng.random() < 0.8:
        kind, size = str(rng.choice(list(WIDTHS))), float(rng.uniform(0.1, 0.25))
        blade = leaf(kind, size, 0.5, 0.3, 0.2)
        blade = (
            blade[0].reshape(7, 5, 3)[::3, ::2].reshape(-1, 3),
            [[0, 1, 4, 3], [1, 2, 5, 4], [3, 4, 7, 6], [4, 5, 8, 7]],
        )
        spots = np.array(ends)[rng.integers(len(ends), size=int(rng.integers(1500, 4000)))]
        spots = spots + rng.normal(0, 0.1, spots.shape)
        leaves = [shapes.moved(blade, spot, _facing(rng.normal(size=3), 0)) for spot in spots]
        shapes.add("leaves", shapes.join(leaves), _green(rng, 1.0))
    return shapes.frame(rng, float(rng.uniform(-15, 10)), float(rng.uniform(0, 360)), close=0.4)


MAKERS = {"potted": (potted, 2.0), "flowers": (flowers, 1.5), "tree": (tree, 1.0)}
