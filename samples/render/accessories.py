"""What people wear besides clothes, and what they hold: glasses, headphones, scarves, caps, beards; phones, cups.

Everything worn is made in the rest pose and hangs on one bone; everything held is made where the posed hand is.
Metres, as in ``people.py``; numpy alone.
"""

from dataclasses import dataclass

import numpy as np

from samples.render import goblet
from samples.render.hair import Strands
from samples.render.meshes import Array
from samples.render.people import Person


@dataclass(frozen=True)
class Worn:
    """A solid thing that moves with one bone."""

    material: str  # "plastic", "metal", "lens", "dark lens" or "cloth"
    color: tuple[float, float, float]  # linear RGB
    vertices: Array  # (V, 3)
    faces: list[list[int]]
    bone: str


def tube(path: Array, radius: float | Array, sides: int = 8, *, closed: bool = False) -> tuple[Array, list[list[int]]]:
    """A round tube along (N, 3) points."""
    ahead = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    if not closed:
        ahead[0], ahead[-1] = path[1] - path[0], path[-1] - path[-2]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    normals, normal = [], np.cross(ahead[0], (0.31, 0.2, 0.93))
    for step in ahead:  # carried along, so that the tube does not twist
        normal = normal - step * (normal @ step)
        normal = normal / np.linalg.norm(normal)
        normals.append(normal)
    across = np.array(normals)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)[None, :, None]
    ring = across[:, None] * np.cos(turn) + np.cross(ahead, across)[:, None] * np.sin(turn)
    vertices = path[:, None] + ring * np.broadcast_to(radius, len(path))[:, None, None]
    n = len(path)
    faces = [
        [
            i * sides + j,
            i * sides + (j + 1) % sides,
            (i + 1) % n * sides + (j + 1) % sides,
            (i + 1) % n * sides + j,
        ]
        for i in range(n if closed else n - 1)
        for j in range(sides)
    ]
    if not closed:
        faces += [list(range(sides))[::-1], list(range((n - 1) * sides, n * sides))]
    return vertices.reshape(-1, 3), faces


def block(size: tuple[float, float, float]) -> tuple[Array, list[list[int]]]:
    """A box about the origin."""
    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * np.array(size) / 2
    return corners, [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]


@dataclass(frozen=True)
class Head:
    """Where things sit on a person's head, in the rest pose."""

    eye: Array  # (3,) between the eyes
    size: float  # between the eyes
    top: float  # height of the skull
    half: float  # half of the skull's width at the temples
    front: float  # y of the brow
    back: float  # y of the back of the skull

    @classmethod
    def of(cls, person: Person) -> "Head":
        eyes = person.joint("eye.L"), person.joint("eye.R")
        eye, size = (eyes[0] + eyes[1]) / 2, float(np.linalg.norm(eyes[0] - eyes[1]))
        skin = person.surfaces[0].vertices[np.unique(np.concatenate(person.surfaces[0].faces))]
        skull = skin[skin[:, 2] > eye[2] + 0.3 * size]
        return cls(
            eye,
            size,
            float(skull[:, 2].max()),
            float(np.abs(skull[:, 0]).max()),
            float(skull[:, 1].min()),
            float(skull[:, 1].max()),
        )


def _dye(rng: np.random.Generator) -> tuple[float, float, float]:
    """Black, grey, brown or a strong colour."""
    value = float(rng.lognormal(-3, 1))
    color = value * rng.lognormal(0, 0.1, 3) if rng.random() < 0.65 else rng.uniform(0.01, 0.7, 3) ** 1.4
    return tuple(float(x) for x in np.clip(color, 0.004, 0.8))  # type: ignore[return-value]


def glasses(head: Head, rng: np.random.Generator) -> list[Worn]:
    """Round or square spectacles; a third of them dark."""
    s = head.size
    wide, high, square = s * rng.uniform(0.34, 0.45), s * rng.uniform(0.24, 0.4), rng.uniform(2, 5)
    thick, color = s * rng.uniform(0.012, 0.045), _dye(rng)
    metal = rng.random() < 0.35
    y = head.front - 0.08 * s
    z = head.eye[2] - 0.05 * s
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    shape = [np.sign(f) * np.abs(f) ** (2 / square) for f in (np.cos(turn), np.sin(turn))]
    lens = "dark lens" if rng.random() < 0.35 else "lens"
    frame = "metal" if metal else "plastic"
    made = []
    for side in (1, -1):
        rim = np.c_[side * s * 0.52 + wide * shape[0], np.full(28, y) + 0.1 * s * shape[0] * side, z + high * shape[1]]
        made.append(Worn(frame, color, *tube(rim, thick, 6, closed=True), "head"))
        made.append(Worn(lens, (0.01, 0.01, 0.012), rim, [list(range(28))], "head"))
        outer = np.array([side * (s * 0.52 + wide), y + 0.1 * s, z + 0.3 * high])
        ear = np.array([side * head.half * 1.03, head.eye[1] + 1.7 * s, z + 0.25 * high])
        bend = ear + s * np.array([0, 0.35, -0.4])
        hinge = np.array([side * max(head.half * 1.02, abs(outer[0])), outer[1] + 0.3 * s, outer[2]])
        made.append(Worn(frame, color, *tube(np.array([outer, hinge, ear, bend]), thick, 6), "head"))
    gap = s * 0.52 - wide
    bridge = np.array([(x * gap, y - 0.02 * s, z + 0.35 * high + 0.1 * high * (1 - x * x)) for x in (-1, -0.4, 0.4, 1)])
    return [*made, Worn(frame, color, *tube(bridge, thick, 6), "head")]


def headphones(head: Head, rng: np.random.Generator) -> list[Worn]:
    """A band over the head and two cups on the ears."""
    s, color = head.size, _dye(rng)
    y = head.eye[1] + rng.uniform(1.3, 1.7) * s
    low = head.eye[2] - 0.3 * s
    half = head.half + 0.3 * s
    turn = np.linspace(0, np.pi, 20)
    rise = head.top + 0.15 * s - low
    band = np.c_[half * np.cos(turn), np.full(20, y), low + rise * np.sin(turn) ** 0.7]
    made = [Worn("plastic", color, *tube(band, 0.11 * s, 8), "head")]
    radius = s * rng.uniform(0.45, 0.7)
    deep = s * rng.uniform(0.3, 0.5)
    profile = tuple((radius * r, deep * h) for r, h in ((0, 0), (0.85, 0), (1, 0.2), (1, 0.7), (0.8, 1), (0, 1)))
    points, faces = goblet.lathe(profile, 24)
    for side in (1, -1):
        cup = np.c_[points[:, 2] * side + side * (head.half + 0.02 * s), points[:, 1] + y, points[:, 0] + low]
        made.append(Worn("plastic", color, cup, faces, "head"))
    return made


def scarf(person: Person, rng: np.random.Generator) -> list[Worn]:
    """Cloth wound about the neck, and often an end of it down the chest."""
    neck, color = person.joint("neck02"), _dye(rng)
    thick = rng.uniform(0.028, 0.05)
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    made = []
    for k in range(rng.integers(1, 4)):
        wobble = 1 + 0.08 * np.sin(turn * rng.integers(2, 5) + rng.uniform(0, 6))
        ring = np.c_[
            (0.075 + 0.012 * k) * wobble * np.cos(turn),
            neck[1] + (0.085 + 0.012 * k) * wobble * np.sin(turn),
            neck[2] - 0.02 - 0.028 * k + 0.02 * np.sin(turn) + 0.006 * np.sin(3 * turn + k),
        ]
        points, faces = tube(ring, thick * (1 + 0.15 * np.sin(5 * turn + k)), 12, closed=True)
        made.append(Worn("cloth", color, points, faces, "neck01"))
    if rng.random() < 0.6:
        x, drop = rng.normal(0, 0.03), rng.uniform(0.2, 0.45)
        end = np.linspace(0, 1, 12)[:, None]
        path = np.array([x, neck[1] - 0.13, neck[2] - 0.04]) + end * np.array([0.03, -0.04, -drop])
        points, faces = tube(path, thick * (1 + 0.15 * np.sin(9 * end[:, 0])), 12)
        made.append(Worn("cloth", color, points, faces, "spine01"))
    return made


def cap(head: Head, rng: np.random.Generator) -> tuple[list[Worn], float]:
    """A cap or a woollen hat, and the height above which it hides the hair."""
    s, color = head.size, _dye(rng)
    brim = rng.random() < 0.5
    low = head.eye[2] + s * rng.uniform(0.5, 0.75)
    middle = np.array([0, (head.front + head.back) / 2, low])
    half = np.array([head.half + 0.1 * s, (head.back - head.front) / 2 + 0.1 * s, head.top - low + 0.16 * s])
    up = np.linspace(-0.12, np.pi / 2, 12)
    profile = tuple((float(np.cos(a) ** 0.8) if a > 0 else 1.0, float(np.sin(a))) for a in up)
    points, faces = goblet.lathe(profile, 32)
    made = [Worn("cloth", color, points * half + middle, faces, "head")]
    if brim:
        across = np.linspace(-1, 1, 15)
        inner = np.c_[across * half[0] * 0.9, -np.sqrt(1 - (0.9 * across) ** 2) * half[1], np.zeros(15)]
        outer = inner + np.c_[np.zeros(15), -1.15 * s * (1 - 0.75 * across**2), -0.12 * s - 0.1 * s * across**2]
        both = np.concatenate([inner, outer, inner - (0, 0, 0.05 * s), outer - (0, 0, 0.05 * s)]) + middle
        strips = [[a + i, a + i + 1, b + i + 1, b + i] for a, b in ((0, 15), (45, 30), (15, 45)) for i in range(14)]
        made.append(Worn("cloth", color, both, strips, "head"))
    else:
        turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        ring = middle + np.c_[half[0] * np.cos(turn), half[1] * np.sin(turn), np.full(32, 0.08 * s)] * (1.02, 1.02, 1)
        made.append(Worn("cloth", color, *tube(ring, 0.11 * s, 8, closed=True), "head"))
    return made, low


def beard(person: Person, rng: np.random.Generator) -> Strands:
    """Stubble or a beard on the chin, the cheeks and the upper lip."""
    skin = person.surfaces[0]
    corners = np.array([(f[0], f[1], f[2]) for f in skin.faces])
    middle = skin.vertices[corners].mean(1)
    head = Head.of(person)
    bone = person.tails[person.index["oris01"]], person.tails[person.index["oris05"]]
    mouth, s = (bone[0] + bone[1]) / 2, head.size
    x, y, z = ((middle - mouth) / s).T
    low = rng.choice([-0.1, 0.35])  # with or without cheeks
    inside = (np.abs(x) < 1.15) & (z < 0.3 + low * np.abs(x)) & (z > -1.3) & (y < 1.7 - 0.3 * z) & (y > -0.6)
    inside &= ~((np.abs(x) < 0.45) & (np.abs(z) < 0.19) & (y < 0.5)) & ~((y > 0.22) & (np.abs(x) < 0.4) & (z > -0.35))
    picked = np.flatnonzero(inside)
    count, length, tip = int(rng.uniform(900, 1800)), 5, float(np.exp(rng.uniform(np.log(0.003), np.log(0.05))))
    edge = skin.vertices[corners[picked]]
    normal = np.cross(edge[:, 1] - edge[:, 0], edge[:, 2] - edge[:, 0])
    area = np.linalg.norm(normal, axis=1)
    face = rng.choice(len(picked), count, p=area / area.sum())
    share = rng.dirichlet(np.ones(3), count)
    roots = (edge[face] * share[..., None]).sum(1)
    out = normal[face] / area[face, None]
    lean = 0.5 * out + np.array([0, -0.15, -0.7]) + rng.normal(0, 0.2, (count, 3))
    along = np.linspace(0, 1, length)
    reach = tip * rng.uniform(0.5, 1, count) * np.clip((0.35 - (roots[:, 2] - mouth[2]) / s) * 2, 0.3, 1)
    points = roots[:, None] + reach[:, None, None] * along[:, None] * lean[:, None]
    points += 0.12 * reach[:, None, None] * np.sin(6 * along)[:, None] * rng.normal(0, 1, (count, 1, 3))
    color = np.array(person.look.hair_color) * 0.8
    colors = np.clip(color * rng.lognormal(0, 0.25, (count, 1, 1)) * np.ones((1, length, 1)), 0, 1)
    weights = skin.skin[corners[picked][face][:, 0]]
    hung = np.broadcast_to(weights[:, None], (count, length, weights.shape[1])).astype(np.float32)
    return Strands("beard", points, np.broadcast_to(0.00022 * (1 - 0.6 * along), (count, length)), colors, hung)


def held(person: Person, matrices: Array, kind: str, rng: np.random.Generator) -> list[Worn]:
    """A "phone", "cup" or "box" in the posed hands; ``bone`` counts for nothing."""

    def joint(name: str) -> Array:
        i = person.index[name]
        return (matrices[i, :3, :3] @ person.heads[i] + matrices[i, :3, 3]).astype(float)

    if kind == "box":
        left, right = joint("finger3-1.L"), joint("finger3-1.R")
        wide = float(np.linalg.norm(left - right))
        points, faces = block((wide - 0.02, rng.uniform(0.12, 0.35), rng.uniform(0.08, 0.35)))
        x = (left - right) / wide
        y = np.cross((0, 0, 1), x)
        y /= np.linalg.norm(y)
        frame = np.c_[x, y, np.cross(x, y)]
        color = (0.3, 0.19, 0.1) if rng.random() < 0.5 else _dye(rng)
        return [Worn("cloth", color, points @ frame.T + (left + right) / 2 - 0.04 * y, faces, "")]
    knuckle, wrist = joint("finger3-1.R"), joint("wrist.R")
    thumb, little = joint("finger2-1.R"), joint("finger5-1.R")
    up, along = thumb - little, knuckle - wrist
    up, along = up / np.linalg.norm(up), along / np.linalg.norm(along)
    palm = np.cross(along, up)
    palm /= np.linalg.norm(palm)
    inward = joint("finger3-3.R") - knuckle
    palm *= 1 if palm @ inward > 0 else -1
    if kind == "phone":
        points, faces = block((0.009, 0.072, 0.15))
        frame = np.c_[palm, np.cross(along, palm), along]
        return [Worn("plastic", _dye(rng), points @ frame.T + knuckle + 0.02 * palm + 0.02 * along, faces, "")]
    radius, high = rng.uniform(0.032, 0.042), rng.uniform(0.08, 0.14)
    lean = rng.uniform(0.75, 1.15)
    inner = ((radius * 0.92, high), (radius * lean * 0.9, 0.01), (0, 0.01))
    profile = ((0, 0), (radius * lean, 0), (radius, high), *inner)
    points, faces = goblet.lathe(profile, 28)
    axis = 0.35 * up + (0, 0, 0.65)
    axis /= np.linalg.norm(axis)
    side = np.cross(axis, palm)
    side /= np.linalg.norm(side)
    frame = np.c_[side, np.cross(axis, side), axis]
    centre = knuckle + (radius + 0.012) * palm + 0.01 * along
    paper = (0.75, 0.74, 0.7) if rng.random() < 0.4 else _dye(rng)
    return [Worn("plastic", paper, (points - (0, 0, high / 2)) @ frame.T + centre, faces, "")]


def chair(seat: Array, rng: np.random.Generator) -> list[Worn]:
    """A plain chair whose seat's middle is at ``seat`` (3,), facing −y."""
    wide, high, color = rng.uniform(0.4, 0.5), rng.uniform(0.35, 0.55), _dye(rng)
    made = []
    parts = [((wide, 0.44, 0.045), (0, 0.02, -0.02)), ((wide, 0.035, high), (0, 0.23, high / 2 + 0.06))]
    parts += [((0.035, 0.035, seat[2]), (x * wide * 0.45, y, -seat[2] / 2)) for x in (-1, 1) for y in (-0.17, 0.22)]
    for size, place in parts:
        points, faces = block((float(size[0]), float(size[1]), float(size[2])))
        made.append(Worn("plastic", color, points + seat + np.array(place), faces, ""))
    return made
