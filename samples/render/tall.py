"""What stands tall: rockets, towers, lamps, columns."""

import numpy as np

from samples.render import finishes, shapes
from samples.render.framing import Framing


def lattice(
    foot: tuple[float, float], wide: float, top: float, tall: float, steps: int, thick: float
) -> shapes.Surface:
    """A mast of four posts with struts crossed between them, ``wide`` at the bottom and ``top`` at the top."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2
    levels = np.linspace(0, 1, steps + 1)
    points = np.array([[(*(foot + c * (wide + (top - wide) * t)), tall * t) for c in corners] for t in levels])
    parts = []
    for k in range(4):
        after = (k + 1) % 4
        parts.append(shapes.tube(points[:, k], thick, 6))
        for i in range(steps):
            parts.append(shapes.tube([points[i, k], points[i + 1, after]], thick * 0.6, 5))
            parts.append(shapes.tube([points[i, after], points[i + 1, k]], thick * 0.6, 5))
            parts.append(shapes.tube([points[i + 1, k], points[i + 1, after]], thick * 0.6, 5))
    return shapes.join(parts)


def rocket(rng: np.random.Generator) -> Framing:
    """A rocket with fins and engines, often on a pad with a mast beside it."""
    r, tall = 1.0, float(rng.uniform(8, 16))
    white = (
        finishes.plain("hull", (0.75, 0.75, 0.74), 0.35) if rng.random() < 0.55 else finishes.surface(rng, 4, "paint")
    )
    dark = finishes.surface(rng, 2, "paint" if rng.random() < 0.6 else "metal", calm=True)
    waist = float(rng.uniform(0.55, 1.0))
    hull = [(0, 0), (r, 0), (r, 0.5 * tall), (waist, 0.56 * tall), (waist, 0.78 * tall)]
    nose = shapes.curve([(waist, 0.78 * tall), (0.85 * waist, 0.87 * tall), (0.4 * waist, 0.96 * tall), (0, tall)], 16)
    shapes.add("hull", shapes.lathe(hull, 40), white, smooth=False)
    shapes.add("nose", shapes.lathe(nose, 40), dark if rng.random() < 0.5 else white)
    for z in rng.uniform(0.05, 0.5, int(rng.integers(1, 4))) * tall:
        band = [(r * 1.005, z), (r * 1.005, z + rng.uniform(0.02, 0.08) * tall)]
        shapes.add("band", shapes.lathe(band, 40), dark)
    fins = int(rng.choice([0, 3, 4, 4]))
    sweep, out = float(rng.uniform(-0.8, 0.2)), float(rng.uniform(0.8, 2))
    for k in range(fins):
        fin = [(0.9, 0.2), (r + out, sweep), (r + out, sweep + 0.8), (0.9, rng.uniform(2, 3.5))]
        turn = shapes.rotation(z=360 * k / fins + 25)
        shapes.add("fin", shapes.moved(shapes.outline(fin, 0.1), (0, 0, 0), turn), dark, False)
    if rng.random() < 0.45:
        count = int(rng.choice([2, 4]))
        for k in range(count):
            angle = 2 * np.pi * k / count
            side = [(0, 0), (0.45, 0), (0.45, 0.38 * tall), (0.25, 0.44 * tall), (0, 0.47 * tall)]
            place = (1.45 * np.cos(angle), 1.45 * np.sin(angle), 0)
            shapes.add("booster", shapes.moved(shapes.lathe(side, 24), place), white)
    for k in range(int(rng.choice([1, 4, 5]))):
        x, y = (0, 0) if k == 0 else (0.55 * np.cos(k * 1.57), 0.55 * np.sin(k * 1.57))
        bell = [(0.12, 0.1), (0.25, -0.3), (0.38, -0.8), (0.34, -0.8), (0.1, 0)]
        shapes.add(
            "bell", shapes.moved(shapes.lathe(bell, 20), (x, y, 0)), finishes.plain("bell", (0.2, 0.18, 0.17), 0.3, 1.0)
        )
    if rng.random() < 0.55:
        steel = finishes.surface(rng, 3, "paint", calm=True)
        high = tall * float(rng.uniform(0.7, 1.1))
        mast = lattice((-3.2, 0.3), 1.2, 1.2, high + 1.2, int(rng.integers(8, 15)), 0.06)
        shapes.add("mast", shapes.moved(mast, (0, 0, -1.2)), steel)
        for z in rng.uniform(0.2, 0.9, int(rng.integers(1, 4))) * high:
            shapes.add("arm", shapes.box((2.0, 0.25, 0.25), (-1.9, 0.2, z)), steel, False)
        if rng.random() < 0.7:
            stone = finishes.surface(rng, 8, "stone")
            shapes.add("pad", shapes.box((9, 4, 0.6), (-1, 0, -1.5)), stone, False, bevel=0.05)
            for x in (-0.8, 0.8):
                shapes.add("mount", shapes.box((0.2, 0.3, 1.4), (x, 0, -0.6)), steel, False)
    return shapes.frame(rng, float(rng.uniform(-12, 8)), float(rng.uniform(-40, 40)))


def tower(rng: np.random.Generator) -> Framing:
    """A lattice mast, a lighthouse, a column, a windmill or a chess piece: something turned."""
    kind = finishes.pick(rng, {"mast": 1.5, "lighthouse": 1, "column": 1, "turned": 1, "wind": 1})
    made = finishes.surface(rng, 3)
    tall = float(rng.uniform(4, 9))
    if kind == "mast":
        shapes.add("mast", lattice((0, 0), float(rng.uniform(1, 3)), 0.3, tall, int(rng.integers(6, 14)), 0.04), made)
        for z in rng.uniform(0.6, 1, 3) * tall:
            shapes.add("yard", shapes.box((float(rng.uniform(1, 2.5)), 0.06, 0.1), (0, 0, z)), made, False)
    elif kind == "wind":
        shapes.add("post", shapes.lathe([(0.3, 0), (0.15, tall)], 24), made)
        spin = float(rng.uniform(0, 120))
        for k in range(3):
            blade = shapes.tube(
                shapes.curve([(0, 0, 0), (0.1, 0, 1), (0, 0, 3.5)], 12), np.linspace(0.22, 0.05, 12), 10, 0.3
            )
            shapes.add("blade", shapes.moved(blade, (0, -0.35, tall), shapes.rotation(y=spin + 120 * k)), made)
        shapes.add("hub", shapes.ball((0, -0.2, tall), 0.3), made)
    else:
        points = [
            (1.0, 0),
            (1.0, 0.25),
            (0.75, 0.4),
            *((rng.uniform(0.35, 0.8), h) for h in (1, 2, 3)),
            (0.9, 3.6),
            (0.9, 3.9),
        ]
        profile = np.array([*points, (0, 3.9)]) * (1, tall / 4)
        if kind == "turned":
            profile = shapes.curve(np.array([(0, 0), *points, (0.4, 4.3), (0, 4.6)]) * (1, 1), 70)
            profile[:, 0] = np.maximum(profile[:, 0], 0)
        shapes.add(kind, shapes.lathe(profile, 40), made, smooth=kind == "turned")
        if kind == "lighthouse":
            lamp = np.array([(0.5, 0), (0.5, 0.7), (0.65, 0.7), (0, 1.3)]) + np.array((0, 3.9 * tall / 4))
            shapes.add("lamp", shapes.lathe(lamp, 24), finishes.surface(rng, 2, "paint"), smooth=False)
    return shapes.frame(rng, float(rng.uniform(-15, 10)), float(rng.uniform(0, 90)))


def lamp(rng: np.random.Generator) -> Framing:
    """A street light, a floor lamp or a desk lamp."""
    steel = finishes.surface(rng, 1, str(rng.choice(["metal", "paint", "wood"])))
    shade = finishes.surface(rng, 0.5, str(rng.choice(["cloth", "paint", "metal"])))
    tall = float(rng.uniform(1.2, 1.8))
    shapes.add("foot", shapes.lathe([(0, 0), (0.16, 0), (0.16, 0.02), (0.03, 0.05), (0, 0.05)], 40), steel)
    kind = int(rng.integers(3))
    if kind == 0:
        shapes.add("pole", shapes.tube([(0, 0, 0), (0, 0, tall)], 0.014), steel)
        wide, low = float(rng.uniform(0.16, 0.28)), float(rng.uniform(0.06, 0.2))
        shapes.add("shade", shapes.lathe([(wide, tall - 0.22), (low, tall + 0.06)], 48), shade)
    elif kind == 1:
        for side in (-1, 1)[: int(rng.integers(1, 3))]:
            path = shapes.curve(
                [(0, 0, 0), (0, 0, 0.8), (0, 0, 1.5), (0.15 * side, 0, 1.8), (0.45 * side, 0, 1.85)], 30
            )
            shapes.add("pole", shapes.tube(path, np.linspace(0.04, 0.018, 30)), steel)
            shapes.add("head", shapes.ball((0.52 * side, 0, 1.83), (0.15, 0.06, 0.035)), shade)
    else:
        elbow, end = np.array([-0.25, 0, 0.35]), np.array([0.1, 0, 0.7])
        for a, b in (((0, 0, 0.03), elbow), (elbow, end)):
            shapes.add("arm", shapes.tube([a, b], 0.012), steel)
            shapes.add("joint", shapes.ball(b, 0.025), steel)
        cone = shapes.lathe([(0.04, 0.1), (0.06, 0.02), (0.14, -0.14), (0.135, -0.14), (0.05, 0.02)], 40)
        shapes.add("shade", shapes.moved(cone, end, shapes.rotation(y=-30)), shade)
        bulb = finishes.plain("bulb", (1, 0.9, 0.7), 0.3)
        shapes.add("bulb", shapes.ball(end - np.array((0.03, 0, 0.06)), 0.05), bulb)
    return shapes.frame(rng, float(rng.uniform(-12, 15)), float(rng.uniform(-60, 60)))


MAKERS = {"rocket": (rocket, 2.5), "tower": (tower, 1.2), "lamp": (lamp, 1.2)}
