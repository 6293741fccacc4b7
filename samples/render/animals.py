"""Animals with fur: a skull, a muzzle, ears and a body kneaded into one skin, with a coat drawn for each.

Lengths are in radii of the skull until the animal is done, then scaled to metres by ``Species.size``.
"""

from dataclasses import dataclass

import numpy as np

from samples.render import coats, finishes, fur, shapes
from samples.render.framing import Framing
from samples.render.meshes import Array
from samples.render.shapes import at


@dataclass(frozen=True)
class Species:
    """What sets one kind of animal apart from another."""

    size: float  # the skull's radius in metres
    muzzle: float  # how far the muzzle stands out
    width: float  # of the muzzle
    ears: str  # point, flop, round, long, fan
    ear: float  # length of an ear
    eye: float  # radius of an eye
    eye_at: tuple[float, float, float]  # direction of the left eye from the skull's middle
    length: float  # from chest to hips
    girth: float  # radius of the trunk
    legs: float
    neck: float
    tail: tuple[float, float]  # length and radius
    fur: tuple[float, float]  # shortest and longest; 0 is bare skin
    coats: tuple[str, ...]
    poses: tuple[str, ...] = ("sit", "stand", "lie")
    cheeks: float = 1.0
    iris: str = "brown"


FRONT = (0.44, -0.87, 0.16)
SPECIES = {
    "cat": Species(
        *(0.055, 0.12, 0.85, "point", 0.95, 0.25, FRONT, 3.0, 1.0, 2.6, 0.8, (3.4, 0.24), (0.1, 0.5)),
        *(("tabby", "tabby", "patches", "plain", "points"),),
        iris="cat",
    ),
    "dog": Species(
        *(0.08, 0.75, 1.0, "flop", 1.0, 0.19, (0.42, -0.85, 0.25), 3.3, 1.15, 3.2, 1.1, (2.3, 0.25), (0.08, 0.6)),
        ("plain", "patches", "masked", "points", "spots"),
    ),
    "spitz": Species(
        *(0.085, 0.7, 0.85, "point", 0.85, 0.18, (0.42, -0.85, 0.25), 3.2, 1.25, 3.0, 0.9, (2.6, 0.45), (0.3, 0.8)),
        ("plain", "masked", "points"),
    ),
    "fox": Species(
        *(0.06, 0.75, 0.6, "point", 1.1, 0.18, (0.45, -0.86, 0.2), 3.2, 0.95, 2.7, 0.8, (3.4, 0.55), (0.25, 0.5)),
        *(("masked",),),
        cheeks=1.25,
        iris="cat",
    ),
    "bear": Species(
        *(0.16, 0.6, 1.0, "round", 0.36, 0.12, (0.36, -0.88, 0.25), 3.2, 1.75, 2.0, 0.6, (0.3, 0.3), (0.15, 0.4)),
        ("plain", "points", "panda"),
    ),
    "rabbit": Species(
        *(0.05, 0.2, 0.75, "long", 1.9, 0.22, (0.78, -0.55, 0.2), 1.9, 1.2, 1.0, 0.35, (0.25, 0.4), (0.12, 0.4)),
        *(("plain", "patches", "points"),),
        poses=("lie", "sit"),
    ),
    "lemur": Species(
        *(0.05, 0.4, 0.75, "round", 0.5, 0.27, (0.44, -0.87, 0.14), 2.6, 0.9, 2.6, 0.5, (4.8, 0.28), (0.2, 0.4)),
        *(("panda", "masked", "tabby"),),
        iris="cat",
    ),
    "monkey": Species(
        *(0.08, 0.22, 1.2, "side", 0.45, 0.16, (0.33, -0.92, 0.1), 2.6, 1.05, 2.6, 0.3, (3.5, 0.18), (0.15, 0.4)),
        *(("monkey",),),
        poses=("sit",),
    ),
    "mouse": Species(
        *(0.02, 0.5, 0.5, "round", 0.7, 0.17, (0.62, -0.75, 0.25), 1.8, 1.1, 0.9, 0.1, (3.0, 0.08), (0.1, 0.3)),
        *(("plain", "patches"),),
        poses=("lie", "sit"),
    ),
    "lion": Species(
        *(0.15, 0.55, 1.05, "round", 0.4, 0.14, (0.42, -0.88, 0.22), 3.6, 1.15, 3.0, 0.9, (3.4, 0.16), (0.06, 0.1)),
        *(("lion",),),
        iris="cat",
    ),
    "sheep": Species(
        *(0.11, 0.9, 0.75, "side", 0.6, 0.15, (0.72, -0.66, 0.2), 3.4, 1.7, 2.2, 0.8, (0.5, 0.3), (0.35, 0.6)),
        *(("sheep",),),
        poses=("stand", "lie"),
    ),
    "horse": Species(
        *(0.2, 1.7, 0.9, "point", 0.65, 0.14, (0.85, -0.5, 0.3), 5.2, 1.6, 5.0, 3.2, (3.0, 0.3), (0.0, 0.0)),
        *(("plain", "patches", "points"),),
        poses=("stand",),
    ),
    "elephant": Species(
        *(0.45, 0.3, 0.9, "fan", 1.3, 0.09, (0.72, -0.68, 0.12), 3.4, 1.75, 3.0, 0.4, (1.8, 0.12), (0.0, 0.0)),
        *(("plain",),),
        poses=("stand",),
    ),
}

KINDS = {"cat": 4.0, "dog": 3.0, "spitz": 1.0, "rabbit": 1.5, "bear": 1.0, "fox": 1.0, "lemur": 1.0} | {
    name: 0.6 for name in ("monkey", "mouse", "lion", "sheep", "horse", "elephant")
}
"""What there is, and how often each should be drawn."""


def _ears(kind: str, size: float, rng: np.random.Generator) -> list[tuple[shapes.Surface, Array, Array, float]]:
    """For each ear its surface, where it begins and ends, and its radius."""
    ears = []
    tilt = float(rng.uniform(-8, 12))
    for side in (-1, 1):
        if kind == "point":
            cone = [(0, -0.15), (0.44, -0.1), (0.42, 0.2), (0.27, 0.6), (0.1, 0.92), (0.0, 1.0)]
            base, turn = (0.56 * side, 0.12, 0.58), shapes.rotation(-8, (16 + tilt) * side, -18 * side)
            surface = shapes.moved(shapes.lathe(cone, 20), base, turn, np.array([1.0, 0.42, 1.0]) * size)
            end, radius = np.asarray(base) + turn @ (0, 0, size), 0.42 * size
        else:
            place = {
                "flop": ((0.88, 0.1, -0.1), (0.16, 0.36, 0.75), (0, -10 - tilt, 0)),
                "round": ((0.7, 0.15, 0.72), (1.0, 0.4, 1.0), (-10, 25, -15)),
                "side": ((1.0, 0.1, 0.05), (0.9, 0.35, 1.0), (0, 10, -25)),
                "long": ((0.4, 0.15, 1.55), (0.17, 0.11, 0.62), (8, 8 + tilt, 0)),
                "fan": ((1.35, 0.4, 0.1), (0.6, 0.1, 0.85), (0, 0, -25)),
            }[kind]
            centre, radii, (x, y, z) = place
            turn = shapes.rotation(x, y * side, z * side)
            centre = np.array(centre) * (side, 1, 1)
            surface = shapes.ball(centre, np.array(radii) * size, turn)
            up = turn @ (0, 0, radii[2] * size)
            base, end, radius = centre - up, centre + up, max(radii[0], 0.15) * size
        ears.append((surface, np.asarray(base, float), np.asarray(end, float), radius))
    return ears


def _head(kind: Species, rng: np.random.Generator) -> list[shapes.Surface]:
    w, m, c = kind.width, kind.muzzle, kind.cheeks
    parts = [
        shapes.ball((0, 0.1, 0.1), (1.0, 0.95, 0.9)),
        shapes.ball((0, 0.55, -0.2), (0.8, 0.7, 0.85)),
        shapes.capsule((0, -0.55, 0.28), (0, -0.85 - 0.92 * m, -0.1 - 0.1 * m), 0.32, 0.2 * w),
        shapes.capsule((0, -0.5, -0.42), (0, -0.75 - 0.75 * m, -0.55 - 0.05 * m), 0.4, 0.17 * w),
    ]
    for side in (-1, 1):
        parts.append(shapes.ball((0.5 * side * c, -0.3, -0.3), (0.48 * c, 0.52, 0.48)))
        muzzle = (0.17 * side * w, -0.84 - m, -0.32 - 0.08 * m)
        parts.append(shapes.capsule((0.2 * side, -0.5, -0.25), muzzle, 0.36, 0.27 * w))
    return parts


def _body(kind: Species, pose: str, rng: np.random.Generator) -> tuple[list[shapes.Surface], Array, list[Array]]:
    """The parts below the head, where the skull's middle is, and the tail's points."""
    length, girth, legs, neck = kind.length, kind.girth, kind.legs, kind.neck
    thick = 0.33 * girth + 0.05 * legs
    parts, head = [], np.zeros(3)
    if pose == "sit":
        hips, chest = np.array([0, 0.62 * length, 1.05 * girth]), np.array([0, 0.15 * length, 0.72 * length + 0.5])
        head = chest + at(0, -0.45 - 0.2 * neck, 0.55 + girth * 0.35 + neck)
        for side in (-1, 1):
            x = 0.5 * girth * side
            parts.append(
                shapes.capsule((x, chest[1] - 0.2, chest[2] - 0.3), (x, chest[1] - 0.55, 0.3), thick, thick * 0.7)
            )
            parts.append(shapes.ball((x, chest[1] - 0.75, 0.2), (0.36, 0.5, 0.24)))
            parts.append(
                shapes.ball((0.85 * girth * side, hips[1] - 0.2, 0.9 * girth), (0.5 * girth, 0.9 * girth, 0.85 * girth))
            )
            foot = 0.95 * girth * side
            parts.append(shapes.capsule((foot, hips[1] - 0.2, 0.25), (foot, hips[1] - 1.1 * girth, 0.22), 0.3, 0.26))
        root = hips + at(0, 0.9 * girth, -0.5 * girth)
        bend = float(rng.choice([-1, 1]))
        tail = [
            root,
            root + at(bend * 0.5, 0.4, -0.3),
            root + at(bend * 1.3, 0.1, -0.3),
            root + at(bend * 1.7, -1.3, -0.3),
        ]
    else:
        up = legs + 0.4 * girth if pose == "stand" else girth * 0.95
        hips, chest = np.array([0, length, up]), np.array([0, 0.0, up])
        head = chest + at(0, -0.75 - 0.55 * neck, 0.35 + 0.4 * girth + 0.75 * neck)
        for side in (-1, 1):
            x = 0.55 * girth * side
            for y, hind in ((0.0, False), (length, True)):
                if pose == "stand":
                    step = float(rng.normal(0, 0.22 * legs / 2.6))
                    knee = (x, y + (0.35 if hind else -0.05) + step / 2, 0.5 * legs)
                    foot = (x, y + (0.2 if hind else -0.1) + step, 0.28)
                    parts.append(
                        shapes.capsule(
                            (x, y + (0.05 if hind else 0.1), up - 0.2),
                            knee,
                            thick * (1.5 if hind else 1.15),
                            thick * 0.75,
                        )
                    )
                    parts.append(shapes.capsule(knee, foot, thick * 0.72, thick * 0.58))
                    parts.append(shapes.ball((foot[0], foot[1] - 0.18, 0.2), (thick * 0.75, thick * 0.95, 0.24)))
                elif hind:
                    parts.append(
                        shapes.ball((1.3 * x, y - 0.1, 0.75 * girth), (0.5 * girth, 0.9 * girth, 0.75 * girth))
                    )
                    parts.append(shapes.capsule((1.7 * x, y, 0.25), (1.7 * x, y - girth, 0.22), 0.3, 0.26))
                else:
                    out = float(rng.uniform(0.8, 1.6)) * min(legs, 2.2) / 1.6
                    parts.append(shapes.capsule((x, 0, 0.5), (x * 1.1, -out, 0.26), thick, thick * 0.75))
        root = hips + at(0, 0.85 * girth, 0.35 * girth)
        rise = float(rng.uniform(-0.9, 1.1)) if pose == "stand" else -0.9 * girth
        sway = float(rng.normal(0, 0.35))
        tail = [
            root,
            root + at(sway * 0.4, 0.4, 0.3 * rise),
            root + at(sway, 0.7, 0.7 * rise),
            root + at(sway * 2, 0.9, rise),
        ]
    middle = (hips + chest) / 2 - (0, 0, 0.08 * girth)
    parts.append(shapes.capsule(hips, middle, girth * 0.92, girth * 0.97))
    parts.append(shapes.capsule(middle, chest, girth * 0.95, girth))
    parts.append(shapes.capsule(chest, head + at(0, 0.35, -0.25), 0.85 * girth, 0.72))
    path = shapes.curve(tail, 16)
    path = path[0] + (path - path[0]) * (kind.tail[0] / 1.6)
    path[:, 2] = np.maximum(path[:, 2], kind.tail[1])
    parts.append(shapes.tube(path, np.linspace(kind.tail[1], kind.tail[1] * 0.7, 16), 14))
    return parts, head, list(path)


def _eye(centre: Array, look: Array, radius: float, kind: str, tint: Array, grown: float) -> None:
    """An eyeball with an iris and a pupil, looking along ``look``."""
    angle = np.linspace(0, np.pi, 41)
    surface = shapes.lathe(np.c_[np.sin(angle), -np.cos(angle)], 48)  # its pole at −z is the pupil
    off = np.arccos(np.clip(-surface[0][:, 2], -1, 1))
    across = np.abs(surface[0][:, 0]) if kind == "cat" else np.zeros(len(off))
    paint = np.full((len(off), 3), 0.6) * (0.9, 0.82, 0.75)
    iris = 1.25 if kind == "cat" else 1.05
    paint[off < iris] = tint
    paint[(off < iris) & (off > iris - 0.12)] = tint * 0.35
    paint[(off < iris - 0.2) & (off > iris - 0.5)] = tint * 1.25
    paint[off + across * (1.2 - grown) * 1.3 < 0.3 + 0.35 * grown] = 0.004
    z = -look / np.linalg.norm(look)
    x = np.cross((0, 0, 1), z)
    x /= np.linalg.norm(x)
    turn = np.c_[x, np.cross(z, x), z]
    made = finishes.painted("eye", 0.05, Clearcoat=1.0)
    shapes.add("eye", shapes.moved(surface, centre, turn, radius), made, paint=np.clip(paint, 0, 1))


def add(name: str, rng: np.random.Generator) -> Framing:
    """Put an animal of that species into the scene, in a random pose and coat, seen whole or close up."""
    kind = SPECIES[name]
    pose, size = str(rng.choice(kind.poses)), kind.size
    shot = str(rng.choice(["head", "bust", "whole"], p=[0.35, 0.25, 0.4]))
    turn = shapes.rotation(x=float(rng.normal(0, 8)), y=float(rng.normal(0, 7)), z=float(rng.normal(0, 14)))
    body, middle, tail = _body(kind, pose, rng)
    ears = _ears(kind.ears, kind.ear * float(rng.uniform(0.85, 1.15)), rng)
    parts = _head(kind, rng)
    if name == "elephant":
        trunk = shapes.curve([(0, -0.9, -0.3), (0, -1.4, -1.0), (0, -1.5, -2.2), (0, -1.7 - rng.random(), -2.9)], 14)
        parts.append(shapes.tube(trunk, np.linspace(0.48, 0.2, 14), 16))
    grain = 0.055 if shot == "head" else 0.09
    parts = body + [shapes.moved(p, middle, turn) for p in [*parts, *(ear[0] for ear in ears)]]
    points, triangles = shapes.clay(parts, grain, 5)
    local = (points - middle) @ turn

    def at_surface(direction: Array) -> Array:
        direction = direction / np.linalg.norm(direction)
        reach = np.linalg.norm(local, axis=1)
        near = (local @ direction / (reach + 1e-9) > 0.99) & (reach < 2.0)
        return direction * (reach[near].max() if near.any() else 1.0)

    front = local[
        (np.abs(local[:, 0]) < 0.12) & (np.abs(local[:, 2] + 0.25) < 0.35) & (np.linalg.norm(local, axis=1) < 4)
    ]
    tip = np.array([0, front[:, 1].min(), -0.2 - 0.05 * kind.muzzle]) if len(front) else np.array([0, -1.0, -0.2])
    nose = tip + at(0, 0.06, 0.08)
    eyes = []
    for side in (-1, 1):
        direction = np.array(kind.eye_at) * (side, 1, 1)
        eyes.append(at_surface(direction) - 0.66 * kind.eye * direction / np.linalg.norm(direction))
    coat = coats.Coat(
        str(rng.choice(kind.coats)), name, middle, turn, ears, eyes, kind.eye, nose, tail, kind.girth, rng
    )

    tint = coats.iris(kind.iris, rng)
    grown = float(rng.uniform(0.0, 1.0))
    for eye in eyes:
        look = turn @ (0.35 * eye * (1, 0, 0) + (0, -1, 0)) if kind.eye_at[0] < 0.6 else turn @ eye
        _eye((middle + turn @ eye) * size, look, kind.eye * size, kind.iris, tint, grown)
    dark = finishes.plain("nose", coat.nose_color, 0.3)
    if name not in ("elephant", "horse", "sheep"):
        wide = 0.13 + 0.1 * min(kind.muzzle, 0.8)
        radii = np.array([wide * 1.15, wide * 0.8, wide * 0.75])
        shapes.add("nose", shapes.moved(shapes.ball(middle + turn @ nose, radii, turn), (0, 0, 0), None, size), dark)
    if name in ("dog", "spitz") and rng.random() < 0.4:
        tongue = shapes.ball(
            middle + turn @ (nose + at(0, 0.3, -0.75)), (0.17, 0.12, 0.36), turn @ shapes.rotation(x=-25)
        )
        shapes.add(
            "tongue", shapes.moved(tongue, (0, 0, 0), None, size), finishes.plain("tongue", (0.6, 0.16, 0.16), 0.3)
        )

    aim, span = middle + turn @ (0, -0.2, 0.05), float(rng.uniform(2.2, 3.4))
    if kind.ears in ("long", "fan"):
        span *= 1.35
    yaw = float(rng.normal(0, 30))
    if shot == "bust":
        aim, span = middle + at(0, 0, -0.8), 5.0 * float(rng.uniform(0.85, 1.2))
    elif shot == "whole":
        yaw = float(rng.choice([-1, 1]) * rng.uniform(15, 80)) if pose != "sit" else float(rng.normal(0, 35))
        low, high = points.min(0), points.max(0)
        aim, c, s = (low + high) / 2, abs(np.cos(np.radians(yaw))), abs(np.sin(np.radians(yaw)))
        extent = high - low
        span = float(max(extent[0] * c + extent[1] * s, extent[2]) * rng.uniform(1.05, 1.3))

    centre = points[triangles].mean(1)
    seen = triangles[np.linalg.norm(centre - aim, axis=1) < 1.2 * span]
    length = float(rng.uniform(*kind.fur))
    bare = finishes.painted("skin", 0.75, Specular=0.2)
    crossed = np.cross(
        points[triangles[:, 1]] - points[triangles[:, 0]], points[triangles[:, 2]] - points[triangles[:, 0]]
    )
    normals = np.zeros_like(points)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], crossed)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    paint = coat.color(points, normals) * (0.75 if length else 1.0)
    shapes.add("skin", (points * size, triangles.tolist()), bare, paint=np.clip(paint, 0, 1))
    if length:
        coat.length = length
        strands, colors = fur.grow(points, seen, 30000, coat.lie, 0.55, 0.12, rng)
        fur.add_strands("fur", strands * size, colors, span * size / 320 * float(rng.uniform(0.5, 0.85)))
    elif name == "horse":
        coat.length = 1.0
        strands, colors = fur.grow(points, triangles, 60000, coat.mane, 0.2, 0.1, rng)
        fur.add_strands("mane", strands * size, colors, span * size / 320 * 0.6)
    if name in ("cat", "rabbit", "mouse", "fox", "lion") and shot != "whole":
        whiskers, paint = coats.whiskers(nose, kind.width, rng)
        fur.add_strands("whiskers", (whiskers @ turn.T + middle) * size, paint, size * 0.012)
    x, y, z = (float(c) for c in aim * size)
    return Framing((x, y, z), span * size, pitch=float(rng.normal(6, 8)), yaw=yaw)
