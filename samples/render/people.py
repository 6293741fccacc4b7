"""Clothed, posed people as plain meshes and hair strands, from MakeHuman's CC0 geometry (numpy alone).

    library = Library(assets)
    person = build(library, Look.random(rng), rng)
    pose = Pose(person).aim("upperarm01.L", "lowerarm01.L", (0.3, -0.4, -1)).curl("L", 25)
    for surface in person.surfaces:
        vertices = deform(surface.vertices, surface.skin, pose.matrices())

Metres, z up; the person stands on z = 0 at the origin, faces −y and has their own left at +x.
Colours are linear RGB in [0, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from samples.render import faces, hair
from samples.render.meshes import Array, Bone, Indices, Library

SUITS = {
    "female": ("female_casualsuit01", "female_casualsuit02", "female_elegantsuit01", "female_sportsuit01"),
    "male": (
        *("male_casualsuit01", "male_casualsuit02", "male_casualsuit03", "male_casualsuit04", "male_casualsuit05"),
        *("male_casualsuit06", "male_elegantsuit01", "male_worksuit01"),
    ),
}
HAIR = {
    "female": ("bob01", "bob02", "long01", "ponytail01", "braid01", "afro01"),
    "male": ("short01", "short02", "short03", "short04", "afro01", None),
}
SKIN = {"african": (0.13, 0.06, 0.035), "asian": (0.50, 0.29, 0.18), "caucasian": (0.56, 0.33, 0.235)}


@dataclass(frozen=True)
class Look:
    """Who the person is and what they wear."""

    sex: str = "female"  # or "male"
    age: str = "young"  # or "child", "old"
    ancestry: tuple[float, float, float] = (0.0, 0.0, 1.0)  # african, asian, caucasian; sums to 1
    muscle: str = "average"  # or "min", "max"
    weight: str = "average"  # or "min", "max"
    features: int | None = None  # seed of a face and build that are nobody else's; None: as MakeHuman has them
    suit: str = "female_casualsuit01"
    shoes: str = "shoes01"
    hair: str | None = "bob01"
    hat: bool = False
    brows: str = "eyebrow001"
    skin_color: tuple[float, float, float] | None = None  # None: from the ancestry
    hair_color: tuple[float, float, float] = (0.035, 0.018, 0.01)
    hair_shine: float = 0.4  # 0.2 dull to 0.5 sleek
    eye_color: tuple[float, float, float] = (0.06, 0.035, 0.015)
    cloth_colors: tuple[tuple[float, float, float], ...] = ((0.02, 0.025, 0.04), (0.015, 0.015, 0.02))  # top down

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        """Draw someone: any sex, age and ancestry, mostly dark clothes as people mostly wear them."""

        def cloth() -> tuple[float, float, float]:
            value = rng.lognormal(-3.2, 0.9) if rng.random() < 0.75 else rng.uniform(0.2, 0.75)
            tint = rng.lognormal(0, 0.5 if rng.random() < 0.5 else 0.1, 3)
            return tuple(float(c) for c in np.clip(value * tint / tint.mean(), 0.003, 0.8))  # type: ignore[return-value]

        sex = str(rng.choice(["female", "male"]))
        old = rng.random() < 0.2
        natural = np.array([0.012, 0.008, 0.006]) + rng.random() ** 2.5 * np.array([0.35, 0.22, 0.11])
        grey = np.array([0.35, 0.33, 0.32]) * rng.uniform(0.3, 1.4)
        style = HAIR[sex][rng.integers(len(HAIR[sex]))]
        return cls(
            sex=sex,
            age="old" if old else str(rng.choice(["young", "young", "young", "child"])),
            ancestry=tuple(float(x) for x in rng.dirichlet([0.5] * 3)),  # type: ignore[arg-type]
            muscle=str(rng.choice(["min", "average", "average", "max"])),
            weight=str(rng.choice(["min", "average", "average", "max"])),
            suit=str(rng.choice(SUITS[sex])),
            shoes=f"shoes0{rng.integers(1, 7)}",
            hair=style,
            hat=bool(rng.random() < 0.08),
            brows=f"eyebrow{rng.integers(1, 13):03d}",
            hair_color=tuple(float(x) for x in (grey if old and rng.random() < 0.7 else natural)),  # type: ignore[arg-type]
            hair_shine=float(rng.uniform(0.2, 0.5)),
            eye_color=tuple(float(x) for x in rng.uniform(0.01, 0.2) * rng.dirichlet([4, 3, 3]) * 2),  # type: ignore[arg-type]
            cloth_colors=(cloth(), cloth(), cloth()),
        )


@dataclass(frozen=True)
class Surface:
    """A part of the person, in the rest pose."""

    kind: str  # "skin", "cloth", "shoes", "eyes", "teeth" or "hat"
    vertices: Array  # (V, 3) metres
    faces: list[list[int]]
    colors: Array  # (V, 3) linear RGB
    skin: NDArray[np.float32]  # (V, bones), rows sum to 1


@dataclass(frozen=True)
class Person:
    """Everything that can be drawn of a person, and the rig that moves it."""

    look: Look
    surfaces: tuple[Surface, ...]
    strands: tuple[hair.Strands, ...]
    bones: list[Bone]
    heads: Array  # (bones, 3) joints in the rest pose
    tails: Array  # (bones, 3)
    index: dict[str, int] = field(repr=False)

    def joint(self, bone: str) -> Array:
        """(3,) where a bone starts, in the rest pose."""
        return self.heads[self.index[bone]]

    @property
    def height(self) -> float:
        return float(max(surface.vertices[:, 2].max() for surface in self.surfaces))


def build(
    library: Library,
    look: Look,
    rng: np.random.Generator,
    *,
    hair_count: int = 8000,
    traces: dict[str, tuple[Indices, Array]] | None = None,
) -> Person:
    """Put a person together in the rest pose (arms at forty-five degrees).

    Args:
        rng: Draws the hair's irregularity; the shape itself follows from ``look``.
        hair_count: Strands on the head.
        traces: Kept from call to call where many people are built: strands are then traced once for each style, and
            everyone gets some of them.
    """
    body = shape(library, look)
    surfaces: list[Surface] = []
    hidden: set[int] = set()

    def wear(kind: str, name: str, colors: Sequence[Sequence[float]]) -> None:
        proxy = library.proxy(name)
        vertices = proxy.fit(body)
        painted = _paint_pieces(vertices, proxy.mesh.components, colors)
        surfaces.append(Surface(kind, vertices, proxy.mesh.faces, painted, proxy.skin(library.weights)))
        hidden.update(proxy.hidden)

    wear("cloth", f"clothes/{look.suit}", look.cloth_colors)
    wear("shoes", f"clothes/{look.shoes}", look.cloth_colors[-1:])
    if look.hat:
        wear("hat", "clothes/fedora01", look.cloth_colors[-1:])
    surfaces.append(_eyes(library, body, look))
    surfaces.append(_teeth(library, body))

    tufts: list[hair.Strands] = []
    dark = np.array(look.hair_color) * 0.6
    wanted = [
        ("brows", f"eyebrows/{look.brows}", 420, 5, 0.00015),
        ("lashes", "eyelashes/eyelashes01", 260, 5, 0.00014),
    ]
    if look.hair is not None:
        wanted.append(("hair", f"hair/{look.hair}", hair_count, 14, 0.00024))
    for kind, name, count, length, radius in wanted:
        proxy = library.proxy(name)
        traced = None
        if traces is not None:
            if name not in traces:
                rest = proxy.fit(library.base.vertices)
                fixed = np.random.default_rng(0)  # whoever comes first
                traces[name] = hair.trace(proxy.mesh, rest, min(2 * count, 9000), min(length, 11), fixed)
            some = rng.permutation(len(traces[name][0]))[:count]
            traced = traces[name][0][some], traces[name][1][some]
        tufts.append(
            hair.strands(
                proxy.mesh,
                proxy.fit(body),
                proxy.skin(library.weights),
                np.array(look.hair_color) if kind == "hair" else dark,
                rng,
                kind=kind,
                count=count,
                length=length,
                radius=radius,
                flyaway=0.016 if kind == "hair" else 0.001,
                traced=traced,
            )
        )

    polygons = [
        face
        for face, group in zip(library.base.faces, library.base.groups, strict=True)
        if group == "body" and hidden.isdisjoint(face)
    ]
    surfaces.insert(0, Surface("skin", body, polygons, _paint_skin(library, body, look, tufts), library.weights))
    heads = np.array([body[bone.head].mean(0) for bone in library.bones])
    tails = np.array([body[bone.tail].mean(0) for bone in library.bones])
    floor = min(surface.vertices[np.unique(np.concatenate(surface.faces)), 2].min() for surface in surfaces)
    up = np.array([0, 0, -floor])
    return Person(
        look,
        tuple(replace(surface, vertices=surface.vertices + up) for surface in surfaces),
        tuple(replace(tuft, points=tuft.points + up) for tuft in tufts),
        library.bones,
        heads + up,
        tails + up,
        library.index,
    )


def shape(library: Library, look: Look) -> Array:
    """(V, 3) metres: the base body with the macro targets of sex, age, ancestry, muscle and weight added."""
    body = library.base.vertices.copy()
    for name, share in zip(("african", "asian", "caucasian"), look.ancestry, strict=True):
        body += share * library.target(f"macrodetails/{name}-{look.sex}-{look.age}")
    build_ = f"{look.muscle}muscle-{look.weight}weight"
    body = body + library.target(f"macrodetails/universal-{look.sex}-{look.age}-{build_}")
    return body if look.features is None else faces.vary(library, body, np.random.default_rng(look.features))


def _paint_pieces(vertices: Array, pieces: NDArray[np.int64], colors: Sequence[Sequence[float]]) -> Array:
    """One colour for each connected piece of a garment, from the highest piece down; pairs share theirs."""
    tops = np.array([vertices[pieces == piece, 2].max() for piece in range(pieces.max() + 1)])
    rank = np.unique(np.round(-tops, 2), return_inverse=True)[1]
    return np.array(colors, float)[np.minimum(rank[pieces], len(colors) - 1)]


def _bump(points: Array, centre: Array, radii: Sequence[float]) -> Array:
    """A soft blob: 1 at ``centre``, falling as a Gaussian with the given radius on each axis."""
    return np.exp(-(((points - centre) / np.array(radii)) ** 2).sum(-1))


def _paint_skin(library: Library, body: Array, look: Look, tufts: Sequence[hair.Strands]) -> Array:
    """Skin colour by place: lips, mouth, blush, eye sockets, beard shadow, and a scalp the colour of its hair."""

    def joint(name: str, end: str = "tail") -> Array:
        return body[getattr(library.bones[library.index[name]], end)].mean(0)

    base = np.array(look.skin_color or np.array(look.ancestry) @ np.array([SKIN[k] for k in SKIN]))
    colors = np.tile(base, (len(body), 1))

    def tint(mask: Array, target: Array) -> None:
        colors[:] += mask[:, None] * (target - colors)

    mouth = (joint("oris01") + joint("oris05")) / 2
    eye = joint("eye.L", "head")
    size = eye[0] * 2  # between the eyes, the face's measure
    red = base * (1.02, 0.62, 0.55)
    for side in (1, -1):
        flip = np.array([side, 1, 1])
        cheek = (mouth + size * np.array((0.95, 0.35, 0.55))) * flip
        tint(0.4 * _bump(body, cheek, (0.45 * size, 0.6 * size, 0.35 * size)), red)
        socket = (eye + size * np.array((0, -0.3, 0))) * flip
        tint(0.35 * _bump(body, socket, (0.38 * size, 0.5 * size, 0.22 * size)), base * (0.62, 0.5, 0.5))
    tint(0.3 * _bump(body, joint("levator06.L", "head"), (0.3 * size,) * 3), red)
    if look.sex == "male" and look.age != "child":
        beard = _bump(body, mouth + size * np.array((0, 0.1, -0.35)), (0.95 * size, 1.2 * size, 0.6 * size))
        tint(0.35 * np.clip(beard * 1.6, 0, 1), base * 0.55)
    across, above = (body[:, 0] - mouth[0]) / (0.42 * size), (body[:, 2] - mouth[2]) / (0.155 * size)
    near = np.clip(1.2 - np.abs(body[:, 1] - mouth[1]) / (0.5 * size), 0, 1)
    lips = np.clip((1 - across**2 - above**2 / np.clip(1.15 - across**2, 0.1, 1)) * 4, 0, 1) * near
    lip = base * (0.75, 0.36, 0.36) if look.sex == "female" else base * (0.82, 0.52, 0.5)
    tint(0.85 * lips, lip)
    depth = body[:, 1] - mouth[1]  # behind the lips lies the inside of the mouth
    inside = (np.abs(across) < 0.75) & (np.abs(above) < 1.3) & (depth > 0.22 * size) & (depth < 1.6 * size)
    tint(0.9 * inside.astype(float), np.array([0.09, 0.02, 0.018]))
    for tuft in tufts:
        if tuft.kind == "hair":
            roots = tuft.points[:: max(len(tuft.points) // 900, 1), :7].reshape(-1, 3)
            skull = np.flatnonzero(body[:, 2] > eye[2])
            mean = roots.mean(0)
            a, b = body[skull] - mean, roots - mean
            squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
            gap = np.sqrt(np.maximum(squares.min(1), 0))
            scalp = np.zeros(len(body))
            scalp[skull] = np.clip(1.6 - gap / 0.011, 0, 1)
            tint(0.9 * scalp, np.array(look.hair_color) * 0.7)
    return np.clip(colors, 0, 1)


def _eyes(library: Library, body: Array, look: Look) -> Surface:
    """Eyeballs painted with white, iris and pupil; MakeHuman's separate cornea shell is left out."""
    proxy = library.proxy("eyes/high-poly")
    vertices = proxy.fit(body)
    pieces = proxy.mesh.components
    front = np.array([vertices[pieces == piece, 1].min() for piece in range(pieces.max() + 1)])
    balls = np.argsort(-front)[:2]
    faces = [face for face in proxy.mesh.faces if pieces[face[0]] in balls]
    colors = np.tile([0.62, 0.57, 0.53], (len(vertices), 1))
    for ball in balls:
        mine = np.flatnonzero(pieces == ball)
        centre = (vertices[mine].min(0) + vertices[mine].max(0)) / 2
        radius = np.ptp(vertices[mine, 0]) / 2
        offset = np.linalg.norm((vertices[mine] - centre)[:, [0, 2]], axis=1) / radius
        ahead = vertices[mine, 1] < centre[1]
        rim = np.clip((0.46 - offset) / 0.06, 0, 1) * ahead
        iris = np.array(look.eye_color) * (0.5 + 1.2 * np.clip((0.42 - offset) / 0.2, 0, 1))[:, None]
        colors[mine] += rim[:, None] * (iris - colors[mine])
        colors[mine[(offset < 0.19) & ahead]] = 0.002
    return Surface("eyes", vertices, faces, colors, proxy.skin(library.weights))


def _teeth(library: Library, body: Array) -> Surface:
    """The base mesh's own rows of teeth, which are helpers there."""
    faces = [
        face for face, group in zip(library.base.faces, library.base.groups, strict=True) if group.endswith("-teeth")
    ]
    return Surface("teeth", body, faces, np.tile([0.6, 0.56, 0.48], (len(body), 1)), library.weights)


class Pose:
    """Turns of a person's bones, built up by chained calls, parents before children.

    A bone's turn is about its own joint, in the axes of the rest pose carried along by its parents.
    """

    def __init__(self, person: Person) -> None:
        self.person = person
        self.turns = np.tile(np.eye(3), (len(person.bones), 1, 1))
        self.offset = np.zeros(3)

    def turn(self, bone: str, axis: Sequence[float], degrees: float) -> Self:
        """Turn a bone about an axis, on top of what it was turned before."""
        i = self.person.index[bone]
        self.turns[i] = rotation(axis, degrees) @ self.turns[i]
        return self

    def twist(self, bone: str, to: str, degrees: float) -> Self:
        """Turn a bone about the line from its joint to the joint of ``to``."""
        return self.turn(bone, self.person.joint(to) - self.person.joint(bone), degrees)

    def aim(self, bone: str, to: str, direction: Sequence[float]) -> Self:
        """Point the limb from ``bone``'s joint to that of ``to`` along a direction, in the person's own axes."""
        rest = self.person.joint(to) - self.person.joint(bone)
        i = self.person.index[bone]
        carried = self._carried(self.person.bones[i].parent)
        self.turns[i] = between(rest, carried.T @ np.asarray(direction, float))
        return self

    def curl(self, side: str, degrees: float, *, thumb: float = 0.5) -> Self:
        """Close the hand of ``side`` ("L" or "R"): each finger joint by ``degrees``, the thumb by a share of it."""
        joint = self.person.joint
        across = joint(f"finger5-1.{side}") - joint(f"finger2-1.{side}")
        sign = 1 if side == "L" else -1
        for finger in range(2, 6):
            for knuckle in range(1, 4):
                self.turn(f"finger{finger}-{knuckle}.{side}", across, sign * degrees)
        along = joint(f"finger2-1.{side}") - joint(f"wrist.{side}")
        for knuckle in (2, 3):
            self.turn(f"finger1-{knuckle}.{side}", along, sign * degrees * thumb)
        return self

    def place(self, offset: Sequence[float], heading: float = 0) -> Self:
        """Stand the person at ``offset`` metres, turned by ``heading`` degrees about the vertical."""
        self.offset = np.asarray(offset, float)
        return self.turn("root", (0, 0, 1), heading)

    def matrices(self) -> Array:
        """(bones, 4, 4) what each bone does to the points that hang on it."""
        out = np.tile(np.eye(4), (len(self.turns), 1, 1))
        for i, bone in enumerate(self.person.bones):
            head = self.person.heads[i] * ((1, 1, 1) if bone.parent >= 0 else (0, 0, 1))  # the root turns in place
            out[i, :3, :3] = self.turns[i]
            out[i, :3, 3] = head - self.turns[i] @ head
            if bone.parent >= 0:
                out[i] = out[bone.parent] @ out[i]
            else:
                out[i, :3, 3] += self.offset
        return out

    def _carried(self, i: int) -> Array:
        """(3, 3) the turn that a bone's parents hand down, without the heading."""
        carried = np.eye(3)
        while self.person.bones[i].parent >= 0:
            carried, i = self.turns[i] @ carried, self.person.bones[i].parent
        return carried


def rotation(axis: Sequence[float] | Array, degrees: float) -> Array:
    """(3, 3) right-handed rotation (Rodrigues)."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def between(a: Array, b: Array) -> Array:
    """(3, 3) the smallest rotation that takes the direction of ``a`` to that of ``b``."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis = np.cross(a, b)
    if np.linalg.norm(axis) < 1e-9:
        return np.eye(3) if a @ b > 0 else rotation(np.cross(a, (a[1], a[2], a[0])), 180)
    return rotation(axis, np.degrees(np.arctan2(np.linalg.norm(axis), a @ b)))


def deform(points: Array, skin: NDArray[np.float32], matrices: Array) -> Array:
    """Linear blend skinning: (..., 3) points with (..., bones) weights, moved by (bones, 4, 4)."""
    blend = (skin.reshape(-1, skin.shape[-1]) @ matrices[:, :3].reshape(len(matrices), 12).astype(np.float32)).reshape(
        *skin.shape[:-1], 3, 4
    )
    return (blend[..., :3] @ points[..., None])[..., 0] + blend[..., 3]
