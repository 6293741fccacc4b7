"""What has wheels: cars, trucks, bicycles, motorbikes. They stand along x, their front at −x."""

import bpy
import numpy as np

from samples.render import finishes, shapes
from samples.render.framing import Framing


def _wheel(x: float, y: float, radius: float, tyre: float, spokes: int, rim: bpy.types.Material) -> None:
    """A wheel on the ground at ``x``, its axle along y; ``tyre`` is the tyre's thickness over the wheel's radius."""
    flat = shapes.rotation(x=90)
    round_ = np.linspace(0, 2 * np.pi, 17)
    section = np.c_[1 - tyre + tyre * np.cos(round_), tyre * 1.1 * np.sin(round_)] * radius
    rubber = finishes.plain("rubber", (0.02, 0.02, 0.02), 0.8)
    place = (x, y, radius)
    shapes.add("tyre", shapes.moved(shapes.lathe(section, 48), place, flat), rubber)
    inner = (1 - 1.9 * tyre) * radius
    if spokes == 0:
        disc = [(0, -0.3), (0.3, -0.35), (0.8, -0.25), (1.02, -0.4), (1.02, 0.4), (0.8, 0.25), (0.3, 0.35), (0, 0.3)]
        shapes.add(
            "rim",
            shapes.moved(shapes.lathe(np.array(disc) * (inner, tyre * radius * 1.6), 40), place, flat),
            rim,
            False,
        )
        return
    parts = [shapes.tube([(0, -0.06 * radius, 0), (0, 0.06 * radius, 0)], 0.08 * radius, 12)]
    ring = np.c_[1 + 0.03 * np.cos(round_), 0.05 * np.sin(round_)] * inner
    parts.append(shapes.moved(shapes.lathe(ring, 48), (0, 0, 0), flat))
    for k in range(spokes):
        angle = 2 * np.pi * k / spokes
        end = (inner * np.cos(angle), 0.0, inner * np.sin(angle))
        parts.append(
            shapes.tube([(0, 0.05 * radius * (-1) ** k, 0), end], (0.006 if spokes > 12 else 0.05) * radius, 5)
        )
    shapes.add("spokes", shapes.moved(shapes.join(parts), place), rim)


def _box_on(low: np.ndarray, high: np.ndarray, made: bpy.types.Material, bevel: float) -> None:
    """A body whose four lower corners and four upper ones are (4, 3) each."""
    shapes.add("body", shapes.loft(np.stack([low, high])), made, False, bevel=bevel)


def car(rng: np.random.Generator) -> Framing:
    """A car: its side drawn out to its width, a cabin of dark glass under a roof, wheels and lights."""
    paint = finishes.surface(rng, 3, "paint", calm=rng.random() < 0.85)
    chrome = finishes.plain("rim", (0.7, 0.7, 0.7), 0.2, 1.0)
    dark = finishes.plain("glass", (0.02, 0.025, 0.03), 0.03)
    half, wide = float(rng.uniform(1.7, 2.4)), float(rng.uniform(1.6, 1.9))
    sill, belt, hood = 0.28, float(rng.uniform(0.85, 1.0)), float(rng.uniform(0.68, 0.85))
    long = float(rng.uniform(0.25, 0.5))  # where the windscreen starts, from the front
    start, end = -half + 2 * half * long * 0.8, half - 2 * half * float(rng.uniform(0.02, 0.25))
    side = [
        (-half, sill),
        (-half * 1.02, hood - 0.2),
        (-half * 0.92, hood),
        (start, belt),
        (end, belt),
        (half * 0.97, belt - 0.08),
    ]
    side += [(half, 0.6), (half * 0.98, sill)]
    shapes.add("body", shapes.outline(side, wide), paint, False, bevel=0.09)
    roof = belt + float(rng.uniform(0.42, 0.7))
    front, back = start + float(rng.uniform(0.35, 0.75)), end - float(rng.uniform(0.1, 0.6))
    inset = 0.16
    w = wide / 2
    low = np.array(
        [
            (start, -w + 0.06, belt - 0.02),
            (end, -w + 0.06, belt - 0.02),
            (end, w - 0.06, belt - 0.02),
            (start, w - 0.06, belt - 0.02),
        ]
    )
    top = np.array(
        [(front, -w + inset, roof), (back, -w + inset, roof), (back, w - inset, roof), (front, w - inset, roof)]
    )
    _box_on(low, top, dark, 0.05)
    lid = top + shapes.at(0, 0, 0.05)
    _box_on(
        top + np.array([(-0.06, -0.02, -0.02), (0.06, -0.02, -0.02), (0.06, 0.02, -0.02), (-0.06, 0.02, -0.02)]),
        lid,
        paint,
        0.03,
    )
    for s in (-1, 1):  # pillars
        for t in (0.0, float(rng.uniform(0.42, 0.58)), 1.0):
            a, b = low[0] + t * (low[1] - low[0]), top[0] + t * (top[1] - top[0])
            shapes.add("pillar", shapes.tube([a * (1, s, 1), b * (1, s, 1)], 0.04, 8), paint)
    radius = float(rng.uniform(0.29, 0.36))
    for x in (-half * 0.62, half * 0.62):
        for y in (-w + 0.08, w - 0.08):
            _wheel(x, y, radius, 0.22, int(rng.choice([0, 5])), chrome)
            arch = shapes.moved(
                shapes.lathe([(0, -0.115), (radius * 1.14, -0.115), (radius * 1.14, 0.115), (0, 0.115)], 32),
                (x, y * 0.95, radius),
                shapes.rotation(x=90),
            )
            shapes.add("arch", arch, finishes.plain("arch", (0.01, 0.01, 0.01), 0.9), False)
    for y in (-w * 0.72, w * 0.72):
        shapes.add(
            "lamp",
            shapes.ball((-half * 0.99, y, hood - 0.13), (0.07, 0.14, 0.09)),
            finishes.plain("lamp", (0.9, 0.9, 0.85), 0.05),
        )
        shapes.add(
            "tail",
            shapes.box((0.08, 0.25, 0.12), (half * 0.985, y, 0.72)),
            finishes.plain("tail", (0.5, 0.01, 0.01), 0.1),
            False,
        )
        shapes.add("mirror", shapes.ball((start + 0.25, y * 1.5, belt + 0.08), (0.06, 0.1, 0.07)), paint)
    shapes.add(
        "bumper",
        shapes.box((0.12, wide * 0.96, 0.16), (-half * 1.0, 0, 0.38)),
        chrome if rng.random() < 0.4 else dark,
        False,
        bevel=0.04,
    )
    yaw = float(rng.choice([rng.uniform(-75, 75), rng.uniform(105, 255)], p=[0.75, 0.25]))
    return shapes.frame(rng, float(rng.uniform(0, 22)), yaw)


def truck(rng: np.random.Generator) -> Framing:
    """A truck, a van or a bus: boxes on wheels, as large ones or toys."""
    cab, load = (
        finishes.surface(rng, 3, "paint"),
        finishes.surface(rng, 3, str(rng.choice(["paint", "plastic", "wood", "metal"]))),
    )
    dark = finishes.plain("glass", (0.02, 0.025, 0.03), 0.03)
    length, wide, tall = float(rng.uniform(2, 6)), 2.2, float(rng.uniform(1.0, 2.6))
    side = [(-1.9, 0.6), (-1.95, 1.5), (-1.6, 2.6), (-0.1, 2.7), (-0.1, 0.6)]
    shapes.add("cab", shapes.outline(side, wide), cab, False, bevel=0.1)
    pane = [(-1.97, 1.65), (-1.68, 2.45), (-1.66, 2.45), (-1.95, 1.65)]
    shapes.add("screen", shapes.outline(pane, wide * 0.88), dark, False)
    for y in (-wide / 2 - 0.005, wide / 2 + 0.005):
        shapes.add("window", shapes.box((0.9, 0.02, 0.7), (-1.0, y, 2.0)), dark, False)
    shapes.add("chassis", shapes.box((length + 1.8, 1.6, 0.25), ((length - 1.8) / 2, 0, 0.65)), dark, False)
    shapes.add("load", shapes.box((length, wide, tall), (length / 2 + 0.1, 0, 0.8 + tall / 2)), load, False, bevel=0.05)
    rim = finishes.surface(rng, 1, "metal", calm=True)
    for x in (-1.2, *np.linspace(length * 0.55, length * 0.9, int(rng.integers(1, 3)))):
        for y in (-0.95, 0.95):
            _wheel(float(x), y, 0.5, 0.25, 0, rim)
    return shapes.frame(rng, float(rng.uniform(0, 20)), float(rng.uniform(-80, 80)))


def bicycle(rng: np.random.Generator) -> Framing:
    """A bicycle, or with an engine, a tank and fat tyres a motorbike."""
    motor = rng.random() < 0.4
    paint = finishes.surface(rng, 1, "paint", calm=True)
    metal = finishes.plain("metal", (0.7, 0.7, 0.7), 0.2, 1.0)
    black = finishes.plain("black", (0.02, 0.02, 0.02), 0.5)
    radius, base = 0.34, float(rng.uniform(1.0, 1.1)) * (1.3 if motor else 1.0)
    for x in (0.0, base):
        _wheel(x, 0, radius, 0.17 if motor else 0.045, 0 if motor and rng.random() < 0.4 else 26, metal)
    thick = 0.028 if motor else 0.017
    head, fork = (0.17, 0, 0.88), (0.13, 0, 0.72)
    crank, seat, rear = (base * 0.55, 0, 0.29), (base * 0.68, 0, 0.82), (base, 0, radius)
    bars = [(head, seat), (fork, crank), (crank, seat), (head, fork)]
    for y in (-0.05, 0.05):
        bars += [((rear[0], y, rear[2]), (crank[0], y * 0.5, crank[2])), ((rear[0], y, rear[2]), seat)]
        bars += [(fork, (0.05, y, 0.55)), ((0.05, y, 0.55), (0, y, radius))]
    shapes.add(
        "frame",
        shapes.join([shapes.tube([a, b], thick if k < 4 else thick * 0.6, 10) for k, (a, b) in enumerate(bars)]),
        paint,
    )
    stem = (0.2, 0, 1.0)
    shapes.add(
        "post",
        shapes.join([shapes.tube([head, stem], 0.014), shapes.tube([seat, (seat[0] + 0.04, 0, 0.93)], 0.013)]),
        metal,
    )
    grip = shapes.curve([(0.35, -0.3, 1.03), (0.2, -0.25, 1.06), stem, (0.2, 0.25, 1.06), (0.35, 0.3, 1.03)], 24)
    shapes.add("handlebar", shapes.tube(grip, 0.013), black)
    if motor:
        shapes.add("tank", shapes.ball((0.5, 0, 0.86), (0.27, 0.14, 0.13)), paint)
        shapes.add("seat", shapes.ball((0.98, 0, 0.82), (0.38, 0.14, 0.07)), black)
        shapes.add("engine", shapes.box((0.38, 0.3, 0.32), (0.65, 0, 0.45)), metal, False, bevel=0.04)
        pipe = shapes.curve([(0.5, -0.14, 0.5), (0.55, -0.2, 0.25), (1.0, -0.2, 0.25), (1.6, -0.22, 0.35)], 20)
        shapes.add("pipe", shapes.tube(pipe, np.linspace(0.03, 0.06, 20), 14), metal)
        shapes.add("lamp", shapes.ball((0.05, 0, 0.92), 0.1), metal)
        for x in (0.0, base):
            bow = [(x + 0.38 * np.cos(a), 0, radius + 0.38 * np.sin(a)) for a in np.linspace(0.4, 2.7, 16)]
            shapes.add("guard", shapes.tube(bow, 0.07, 10, 0.25), paint)
    else:
        shapes.add("saddle", shapes.ball((seat[0] + 0.03, 0, 0.95), (0.14, 0.07, 0.03)), black)
        ring = shapes.moved(
            shapes.lathe([(0.085, -0.004), (0.1, -0.004), (0.1, 0.004), (0.085, 0.004)], 32),
            (crank[0], -0.05, crank[2]),
            shapes.rotation(x=90),
        )
        shapes.add("ring", ring, metal)
        for s in (-1, 1):
            end = (crank[0] + 0.12 * s, 0.09 * s, crank[2] - 0.12 * s)
            shapes.add("crank", shapes.tube([(crank[0], 0.07 * s, crank[2]), end], 0.01), metal)
            shapes.add("pedal", shapes.box((0.09, 0.1, 0.02), (end[0], end[1] + 0.06 * s, end[2])), black, False)
        if rng.random() < 0.4:
            shapes.add(
                "basket",
                shapes.box((0.25, 0.35, 0.22), (-0.02, 0, 1.0)),
                finishes.surface(rng, 0.2, "cloth"),
                False,
                bevel=0.02,
            )
    return shapes.frame(rng, float(rng.uniform(-3, 15)), float(rng.choice([0, 180]) + rng.uniform(-60, 60)))


MAKERS = {"car": (car, 2.0), "truck": (truck, 1.0), "bicycle": (bicycle, 2.0)}
