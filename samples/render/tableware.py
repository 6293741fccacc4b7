"""What stands on tables: cups, bottles, glasses, pots, and what is eaten."""

from collections.abc import Sequence

import bpy
import numpy as np

from samples.render import finishes, shapes
from samples.render.framing import Framing
from samples.render.meshes import Array

DRINKS = (
    (0.03, 0.012, 0.005),
    (0.2, 0.09, 0.03),
    (0.5, 0.3, 0.15),
    (0.75, 0.72, 0.65),
    (0.6, 0.2, 0.02),
    (0.3, 0.01, 0.02),
)


def _hollow(outside: Array, wall: float) -> Array:
    """(N, 2) a vessel's profile, up its outside and down its inside, from that of the outside."""
    inside = outside[::-1] * (1, 1) - (wall, 0)
    inside = np.maximum(inside[inside[:, 1] > outside[0, 1] + 1.5 * wall], 0)
    floor = [(0.0, float(outside[0, 1]) + 1.5 * wall)]
    return np.concatenate([[(0.0, outside[0, 1])], outside, inside, floor])


def _handle(outside: Array, low: float, high: float, reach: float, thick: float) -> shapes.Surface:
    """A loop at +x from one height of a vessel to another."""
    radius = np.interp((low, high), outside[:, 1], outside[:, 0])
    out = radius.max() + reach
    loop = [(radius[1] - thick, 0, high), (out * 0.93, 0, high + 0.1 * reach), (out, 0, (low + high) / 2 + 0.1 * reach)]
    loop += [(out * 0.9, 0, low), (radius[0] - thick, 0, low)]
    return shapes.tube(shapes.curve(loop, 24), thick, 12, 0.7)


def _dish(made: bpy.types.Material, radius: float, rise: float, z: float = 0.0) -> None:
    outside = shapes.curve(
        [(0.45 * radius, 0), (0.62 * radius, 0.1 * rise), (0.9 * radius, 0.7 * rise), (radius, rise)], 16
    )
    shapes.add("dish", shapes.moved(shapes.lathe(_hollow(outside, 0.04 * radius), 64), (0, 0, z)), made)


def _spoon(start: Sequence[float], turn: float, length: float) -> None:
    made = finishes.plain("metal", (0.8, 0.8, 0.8), 0.15, 1.0)
    path = shapes.curve([(0, 0, 0), (0.3, 0, 0.1), (0.65, 0, 0.06), (1, 0, 0.1)], 16) * length
    parts = [shapes.tube(path, np.linspace(0.022, 0.045, 16) * length, 10, 0.35)]
    parts.append(shapes.ball((-0.12 * length, 0, 0), np.array([0.17, 0.105, 0.035]) * length))
    shapes.add("spoon", shapes.moved(shapes.join(parts), start, shapes.rotation(z=turn)), made)


def cup(rng: np.random.Generator) -> Framing:
    """A cup or mug, often on a saucer with a spoon, often full."""
    tall = float(rng.uniform(0.055, 0.1))
    radius, foot = float(rng.uniform(0.032, 0.05)), float(rng.uniform(0.45, 1.0))
    belly = float(rng.uniform(0.85, 1.1))
    glaze = finishes.surface(rng, 0.1, str(rng.choice(["glaze", "plastic", "stone"])))
    if rng.random() < 0.35:
        glaze = finishes.plain("china", (0.8, 0.79, 0.76), 0.1, Clearcoat=0.5)
    saucer = rng.random() < 0.55
    base = 0.008 if saucer else 0.0
    profile = [(foot * radius * 0.9, 0), (foot * radius, 0.02), ((0.5 + 0.5 * foot) * belly * radius, 0.5), (radius, 1)]
    outside = shapes.curve(profile, 24) * (1, tall) + (0, base)
    shapes.add("cup", shapes.lathe(_hollow(outside, 0.003), 64), glaze)
    loop = _handle(
        outside,
        base + 0.25 * tall,
        base + 0.8 * tall,
        float(rng.uniform(0.015, 0.028)),
        float(rng.uniform(0.003, 0.006)),
    )
    turn = float(rng.uniform(-70, 250))
    shapes.add("handle", shapes.moved(loop, (0, 0, 0), shapes.rotation(z=turn)), glaze)
    if saucer:
        _dish(
            glaze if rng.random() < 0.7 else finishes.surface(rng, 0.1, "glaze"),
            radius * float(rng.uniform(1.6, 2.1)),
            0.018,
        )
        if rng.random() < 0.7:
            _spoon((radius * 1.15, -radius * 0.9, 0.013), float(rng.uniform(20, 110)), 0.11)
    if rng.random() < 0.75:
        level = base + tall * float(rng.uniform(0.75, 0.93))
        wide = float(np.interp(level, outside[:, 1], outside[:, 0])) - 0.002
        rim = np.array([(0, level), (0.86 * wide, level), (wide, level + 0.001)])
        drink = np.array(DRINKS[rng.integers(len(DRINKS))])
        shapes.add("drink", shapes.lathe(rim, 48), finishes.plain("drink", drink, 0.05))
        if rng.random() < 0.6:  # a paler ring of foam at the rim
            foam = np.array([(0.8 * wide, level + 0.0002), (0.9 * wide, level + 0.0012), (wide, level + 0.001)])
            shapes.add("foam", shapes.lathe(foam, 48), finishes.plain("foam", drink * 0.6 + (0.3, 0.17, 0.08), 0.5))
    return shapes.frame(rng, float(rng.uniform(8, 60)), float(rng.uniform(-30, 30)))


def bottle(rng: np.random.Generator) -> Framing:
    """One to three bottles or jars of glass or plastic, some with a label, a lid and something inside."""
    for k in range(int(rng.choice([1, 1, 2, 3]))):
        tall, radius = float(rng.uniform(0.1, 0.32)), float(rng.uniform(0.028, 0.05))
        shoulder, neck = float(rng.uniform(0.5, 0.8)), float(rng.uniform(0.25, 0.8))
        points = [(0.93, 0), (1, 0.03), (float(rng.uniform(0.85, 1.05)), 0.5 * shoulder), (1, shoulder)]
        points += [(neck, shoulder + 0.6 * (1 - shoulder)), (neck * 0.97, 1.0)]
        outside = shapes.curve(points, 40) * (radius, tall)
        place = (0.11 * k, float(rng.normal(0, 0.02)), 0)
        clear = rng.random() < 0.6
        made = (
            finishes.glass(rng) if clear else finishes.surface(rng, 0.1, str(rng.choice(["plastic", "glaze", "metal"])))
        )
        shapes.add("bottle", shapes.moved(shapes.lathe(_hollow(outside, 0.0025), 48), place), made)
        if clear and rng.random() < 0.6:
            filled = outside[outside[:, 1] < tall * rng.uniform(0.3, 0.85)] - (0.002, -0.002)
            profile = np.concatenate([[(0, filled[0, 1])], filled, [(0, filled[-1, 1])]])
            drink = finishes.plain(
                "drink", rng.uniform(0.1, 0.95, 3), 0.0, Transmission=float(rng.choice([0, 0.8])), IOR=1.2
            )
            shapes.add("drink", shapes.moved(shapes.lathe(profile, 48), place), drink)
        if rng.random() < 0.6:
            ends = np.linspace(0.15, 0.85, 8) * shoulder * tall
            label = np.c_[np.interp(ends, outside[:, 1], outside[:, 0]) + 0.0006, ends]
            shapes.add("label", shapes.moved(shapes.lathe(label, 48), place), finishes.surface(rng, 0.06, "plastic"))
        if rng.random() < 0.7:
            wide = neck * radius * 1.08
            lid = [
                (0, tall * 0.96),
                (wide, tall * 0.96),
                (wide, tall * 1.04),
                (wide * 0.93, tall * 1.05),
                (0, tall * 1.05),
            ]
            shapes.add("lid", shapes.moved(shapes.lathe(lid, 40), place), finishes.surface(rng, 0.05))
    return shapes.frame(rng, float(rng.uniform(0, 30)))


def glass(rng: np.random.Generator) -> Framing:
    """A drinking glass, with or without a stem, some with a drink."""
    tall, radius = float(rng.uniform(0.08, 0.15)), float(rng.uniform(0.028, 0.045))
    stem = float(rng.choice([0.0, rng.uniform(0.04, 0.1)]))
    bowl = shapes.curve([(0.25 if stem else 0.8, 0), (0.85, 0.15), (1, 0.45), (float(rng.uniform(0.75, 1.15)), 1)], 28)
    outside = bowl * (radius, tall) + (0, stem)
    made = finishes.glass(rng)
    shapes.add("bowl", shapes.lathe(_hollow(outside, 0.0012), 64), made)
    if stem:
        foot = [(0, 0), (0.85 * radius, 0), (0.87 * radius, 0.002), (0.3 * radius, 0.005), (0.004, 0.015)]
        foot += [(0.0035, stem * 0.6), (0.25 * radius, stem + 0.001), (0, stem + 0.001)]
        shapes.add("stem", shapes.lathe(foot, 48), made)
    if rng.random() < 0.7:
        filled = outside[outside[:, 1] < stem + tall * rng.uniform(0.3, 0.85)] + (-0.0009, 0.0015)
        profile = np.concatenate([[(0, filled[0, 1])], filled, [(0, filled[-1, 1])]])
        through = float(rng.choice([0.0, 0.8, 1.0]))
        tint = np.array(DRINKS[rng.integers(2, len(DRINKS))]) if rng.random() < 0.7 else rng.uniform(0.5, 1, 3)
        shapes.add(
            "drink", shapes.lathe(profile, 48), finishes.plain("drink", tint, 0.0, Transmission=through, IOR=1.2)
        )
    if rng.random() < 0.25:
        straw = shapes.tube([(0, 0, stem + 0.01), (radius * 1.1, 0, stem + tall * 1.5)], 0.003)
        shapes.add("straw", straw, finishes.surface(rng, 0.05, "plastic"))
    return shapes.frame(rng, float(rng.uniform(0, 35)))


def pot(rng: np.random.Generator) -> Framing:
    """A vase, a bowl, a jug, a teapot or a pan."""
    made = finishes.surface(rng, 0.2, str(rng.choice(["glaze", "metal", "stone", "wood", "plastic"])))
    kind = finishes.pick(rng, {"vase": 1, "bowl": 1, "jug": 1, "teapot": 1.5, "pan": 0.8})
    size = float(rng.uniform(0.06, 0.12))
    if kind == "vase":
        points = [
            (rng.uniform(0.4, 0.8), 0),
            *((rng.uniform(0.4, 1.1), h) for h in (0.6, 1.2, 1.8)),
            (rng.uniform(0.3, 1), 2.4),
        ]
    elif kind == "bowl":
        points = [(0.4, 0), (0.5, 0.05), (0.9, 0.4), (1.1, 0.8)]
    elif kind == "pan":
        points = [(0.95, 0), (1.0, 0.05), (1.02, 0.3), (1.05, 0.5)]
    else:
        points = [
            (0.6, 0),
            (0.95, 0.35),
            (1, 0.8),
            (0.65, 1.3),
            (0.5 if kind == "teapot" else 0.6, 1.4 if kind == "teapot" else 1.9),
        ]
    outside = shapes.curve(points, 40) * size
    outside[:, 0] = np.maximum(outside[:, 0], 0.1 * size)
    shapes.add(kind, shapes.lathe(_hollow(outside, 0.05 * size), 64), made)
    if kind in ("jug", "teapot"):
        top = float(outside[-1, 1])
        shapes.add("handle", _handle(outside, 0.3 * top, 0.85 * top, 0.45 * size, 0.08 * size), made)
    if kind == "teapot":
        spout = shapes.curve([(-0.8, 0, 0.5), (-1.25, 0, 0.65), (-1.45, 0, 1.1), (-1.75, 0, 1.3)], 16) * size
        shapes.add("spout", shapes.tube(spout, np.linspace(0.28, 0.1, 16) * size, 16), made)
        lid = (
            np.array([(0.52, 1.38), (0.5, 1.45), (0.2, 1.58), (0.08, 1.6), (0.13, 1.72), (0.1, 1.8), (0, 1.83)]) * size
        )
        shapes.add("lid", shapes.lathe(lid), made)
    if kind == "pan":
        handle = shapes.tube([(size, 0, 0.4 * size), (2.6 * size, 0, 0.6 * size)], 0.09 * size, 12, 0.6)
        shapes.add("handle", handle, finishes.surface(rng, 0.1, "plastic"))
    if kind == "bowl":
        fruit(rng, size, size * 0.55)
    return shapes.frame(rng, float(rng.uniform(5, 50)), float(rng.uniform(-60, 60)))


def fruit(rng: np.random.Generator, size: float = 0.08, height: float = 0.0) -> Framing:
    """Apples, oranges, lemons, bananas, grapes: one to six pieces."""
    for k in range(int(rng.integers(1, 7))):
        kind = str(rng.choice(["apple", "orange", "lemon", "banana", "pear"]))
        tints = {
            "apple": [(0.5, 0.03, 0.02), (0.35, 0.5, 0.05)],
            "orange": [(0.85, 0.25, 0.01)],
            "lemon": [(0.85, 0.65, 0.03)],
        }
        tints |= {"banana": [(0.8, 0.55, 0.05)], "pear": [(0.5, 0.5, 0.08)]}
        tint = np.array(tints[kind][int(rng.integers(len(tints[kind])))]) * rng.uniform(0.6, 1.1)
        made = finishes.surface(rng, 0.3, "plastic", np.clip(tint, 0, 1), calm=True)
        around = rng.uniform(0, 2 * np.pi)
        where = np.array([np.cos(around), np.sin(around), 0]) * size * (0.6 if k else 0.1) + (
            0,
            0,
            height + 0.3 * size * (k % 3 == 2),
        )
        turn = shapes.rotation(*rng.normal(0, 25, 2), float(rng.uniform(0, 360)))
        r = 0.45 * size * float(rng.uniform(0.8, 1.15))
        if kind == "banana":
            path = (
                shapes.curve(
                    [(-1.6, 0, 0.5), (-0.9, 0, -0.1), (0, 0, -0.3), (0.9, 0, -0.1), (1.6, 0, 0.6), (1.8, 0, 0.9)], 24
                )
                * r
            )
            radii = np.interp(np.linspace(0, 1, 24), (0, 0.12, 0.5, 0.85, 1), (0.12, 0.36, 0.42, 0.32, 0.12)) * r
            shapes.add(kind, shapes.moved(shapes.tube(path, radii, 8), where, turn), made)
            continue
        profile = {
            "apple": [(0.0, -0.75), (0.3, -0.88), (0.85, -0.5), (1.02, 0.15), (0.75, 0.75), (0.3, 0.85), (0, 0.62)],
            "orange": [(0.0, -1), (0.7, -0.7), (1, 0), (0.7, 0.7), (0, 1)],
            "lemon": [(0.0, -1.3), (0.15, -1.2), (0.75, -0.6), (0.92, 0), (0.75, 0.6), (0.15, 1.2), (0, 1.3)],
            "pear": [(0.0, -0.9), (0.6, -0.8), (0.98, -0.2), (0.6, 0.6), (0.35, 1.2), (0.2, 1.45), (0, 1.4)],
        }[kind]
        body = shapes.curve(profile, 32) * r
        body[:, 0] = np.maximum(body[:, 0], 0)
        shapes.add(kind, shapes.moved(shapes.lathe(body), where, turn), made)
        if kind in ("apple", "pear"):
            top = float(body[-1, 1])
            stalk = shapes.tube([(0, 0, top - 0.05 * r), (0.1 * r, 0, top + 0.45 * r)], 0.06 * r)
            shapes.add("stalk", shapes.moved(stalk, where, turn), finishes.plain("stalk", (0.08, 0.04, 0.015), 0.8))
    return shapes.frame(rng, float(rng.uniform(5, 45)))


def bakery(rng: np.random.Generator) -> Framing:
    """A cake with a slice cut out and candles, or a loaf, or rolls; on a cut-out."""
    _dish(finishes.surface(rng, 0.2, "glaze"), 0.15, 0.02)
    if rng.random() < 0.6:
        z = 0.01
        for _ in range(int(rng.integers(1, 5))):
            r, h = float(rng.uniform(0.08, 0.11)), float(rng.uniform(0.015, 0.035))
            layer = [(0, z), (r, z), (r * 1.02, z + h / 2), (r, z + h), (0, z + h)]
            shapes.add("layer", shapes.lathe(layer, 64), finishes.surface(rng, 0.1, "cloth", calm=True))
            z += h
        for k in range(int(rng.choice([0, 5, 9]))):
            x, y = 0.06 * np.cos(k * 0.7), 0.06 * np.sin(k * 0.7)
            candle = shapes.tube([(x, y, z), (x, y, z + 0.06)], 0.003)
            shapes.add("candle", candle, finishes.surface(rng, 0.03, "plastic"))
    else:
        for _ in range(int(rng.integers(1, 4))):
            long = float(rng.uniform(0.05, 0.12))
            loaf = shapes.ball((0, 0, 0), np.array([long, 0.045, 0.04]), sides=48)
            noise = shapes.waves(rng, 0.06)(loaf[0])
            place = (*rng.normal(0, 0.03, 2), 0.045)
            crust = np.array((0.45, 0.2, 0.06)) * rng.uniform(0.5, 1.3)
            loaf = shapes.moved(
                (loaf[0] * (1 + 0.05 * noise[:, None]), loaf[1]), place, shapes.rotation(z=float(rng.uniform(0, 180)))
            )
            shapes.add("loaf", loaf, finishes.surface(rng, 0.1, "stone", crust))
    return shapes.frame(rng, float(rng.uniform(10, 50)))


MAKERS = {"cup": (cup, 3.0), "bottle": (bottle, 2.0), "glass": (glass, 2.0), "pot": (pot, 2.0), "fruit": (fruit, 1.0)}
MAKERS |= {"bakery": (bakery, 0.7)}
