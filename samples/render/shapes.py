"""Surfaces made of numbers (lathes, tubes, lofts, lumps of clay), and how they become objects. Metres, z up."""

from collections.abc import Sequence

import bpy
import numpy as np

from samples.render.framing import Framing
from samples.render.meshes import Array

Surface = tuple[Array, list[list[int]]]
"""(V, 3) vertices and the faces between them."""


def add(
    name: str,
    surface: Surface,
    made: bpy.types.Material,
    smooth: bool = True,
    subdivide: int = 0,
    bevel: float = 0.0,
    paint: Array | None = None,
) -> bpy.types.Object:
    """Put a surface into the scene; ``paint`` (V, 3) is linear RGB, ``bevel`` rounds its edges by so many metres."""
    vertices, faces = surface
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.tolist(), [], faces)
    mesh.polygons.foreach_set("use_smooth", np.full(len(faces), smooth))
    if paint is not None:
        mesh.attributes.new("paint", "FLOAT_COLOR", "POINT").data.foreach_set(
            "color", np.c_[paint, np.ones(len(paint))].astype(np.float32).ravel()
        )
    mesh.materials.append(made)
    made_object = bpy.data.objects.new(name, mesh)
    bpy.context.collection.objects.link(made_object)
    if bevel:
        modifier = made_object.modifiers.new("bevel", "BEVEL")
        modifier.width, modifier.segments = bevel, 3
    if subdivide:
        made_object.modifiers.new("subdivide", "SUBSURF").render_levels = subdivide
    return made_object


def join(surfaces: Sequence[Surface]) -> Surface:
    """Several surfaces as one."""
    starts = np.cumsum([0, *(len(v) for v, _ in surfaces)])
    faces = [[i + int(s) for i in f] for (_, fs), s in zip(surfaces, starts, strict=False) for f in fs]
    return np.concatenate([v for v, _ in surfaces]), faces


def moved(surface: Surface, to: Sequence[float], turn: Array | None = None, scale: float | Array = 1.0) -> Surface:
    """Scaled, turned by a (3, 3) rotation, then moved."""
    vertices = surface[0] * scale
    if turn is not None:
        vertices = vertices @ turn.T
    return vertices + np.asarray(to), surface[1]


def rotation(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Array:
    """(3, 3) a turn about x, then y, then z, in degrees."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians((x, y, z))), np.sin(np.radians((x, y, z)))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def _rings(rings: Array, caps: bool) -> Surface:
    """(K, S, 3) rings of points, joined each to the next."""
    count, sides = rings.shape[:2]
    faces = [
        [k * sides + i, k * sides + (i + 1) % sides, (k + 1) * sides + (i + 1) % sides, (k + 1) * sides + i]
        for k in range(count - 1)
        for i in range(sides)
    ]
    if caps:
        faces.append(list(range(sides))[::-1])
        faces.append([(count - 1) * sides + i for i in range(sides)])
    return rings.reshape(-1, 3), faces


def lathe(profile: Array | Sequence[Sequence[float]], sides: int = 48) -> Surface:
    """Turn (N, 2) radii and heights, from the bottom up the outside, about z."""
    profile = np.asarray(profile, float)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    radius, height = profile[:, :1], np.broadcast_to(profile[:, 1:], (len(profile), sides))
    return _rings(np.stack([radius * np.cos(turn), radius * np.sin(turn), height], -1), caps=False)


def curve(points: Array | Sequence[Sequence[float]], count: int) -> Array:
    """(count, D) points on a smooth curve through the given ones (Catmull and Rom's)."""
    points = np.asarray(points, float)
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, len(points) - 1, count)
    i = np.minimum(t.astype(int), len(points) - 2)
    f = (t - i)[:, None]
    a, b, c, d = (padded[i + k] for k in range(4))
    return 0.5 * (2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f**2 + (3 * b - a - 3 * c + d) * f**3)


def tube(
    points: Array | Sequence[Sequence[float]], radius: float | Array, sides: int = 10, flat: float = 1.0
) -> Surface:
    """A tube along (K, 3) points; ``radius`` may be (K,); ``flat`` < 1 squeezes its section."""
    points = np.asarray(points, float)
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-12
    side = np.cross(along[0], (0, 0, 1) if abs(along[0, 2]) < 0.9 else (0, 1, 0))
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    radii = np.broadcast_to(np.asarray(radius, float), len(points))
    rings = []
    for point, direction, r in zip(points, along, radii, strict=True):
        side = side - direction * (side @ direction)  # carried along, so that the tube does not twist
        side /= np.linalg.norm(side) + 1e-12
        other = np.cross(direction, side)
        rings.append(point + r * (np.cos(turn)[:, None] * side + flat * np.sin(turn)[:, None] * other))
    return _rings(np.array(rings), caps=True)


def loft(sections: Array) -> Surface:
    """(K, S, 3) closed sections, skinned over and capped."""
    return _rings(np.asarray(sections, float), caps=True)


def outline(points: Array | Sequence[Sequence[float]], depth: float) -> Surface:
    """(N, 2) an outline in the x-z plane, drawn out by ``depth`` along y about y = 0."""
    points = np.asarray(points, float)
    flat = np.stack([np.c_[points[:, 0], np.full(len(points), y), points[:, 1]] for y in (-depth / 2, depth / 2)])
    return loft(flat)


def box(size: Sequence[float], centre: Sequence[float] = (0, 0, 0), turn: Array | None = None) -> Surface:
    """A box of that size."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    faces = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return moved((corners * np.asarray(size), faces), centre, turn)


def ball(
    centre: Sequence[float] = (0, 0, 0),
    radii: float | Sequence[float] = 1.0,
    turn: Array | None = None,
    sides: int = 24,
) -> Surface:
    """An ellipsoid; its poles lie on z before it is turned."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, sides // 2 + 1)
    return moved(lathe(np.c_[np.cos(angle), np.sin(angle)], sides), centre, turn, np.asarray(radii, float))


def capsule(start: Sequence[float], end: Sequence[float], r0: float, r1: float) -> Surface:
    """A limb: from one ball to another, of radii ``r0`` and ``r1``."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    length = np.linalg.norm(end - start) + 1e-9
    direction = (end - start) / length
    along = np.concatenate([-np.cos(np.linspace(0, 1.4, 5)) * r0, length + np.sin(np.linspace(0.1, 1.55, 5)) * r1])
    radii = np.concatenate([np.sin(np.linspace(0.1, 1.4, 5)) * r0, np.cos(np.linspace(0.1, 1.5, 5)) * r1])
    return tube(start + along[:, None] * direction, radii, 16)


def clay(parts: Sequence[Surface], grain: float, smooth: int = 6) -> tuple[Array, Array]:
    """Knead overlapping closed surfaces into one skin: (V, 3) vertices and (F, 3) triangles, ``grain`` metres apart."""
    vertices, faces = join(parts)
    mesh = bpy.data.meshes.new("clay")
    mesh.from_pydata(vertices.tolist(), [], faces)
    lump = bpy.data.objects.new("clay", mesh)
    bpy.context.collection.objects.link(lump)
    remesh = lump.modifiers.new("remesh", "REMESH")
    remesh.mode, remesh.voxel_size = "VOXEL", grain
    soft = lump.modifiers.new("smooth", "SMOOTH")
    soft.factor, soft.iterations = 0.5, smooth
    evaluated = lump.evaluated_get(bpy.context.evaluated_depsgraph_get())
    kneaded = evaluated.to_mesh()
    kneaded.calc_loop_triangles()
    points, triangles = np.empty(len(kneaded.vertices) * 3), np.empty(len(kneaded.loop_triangles) * 3, np.int32)
    kneaded.vertices.foreach_get("co", points)
    kneaded.loop_triangles.foreach_get("vertices", triangles)
    evaluated.to_mesh_clear()
    bpy.data.objects.remove(lump)
    bpy.data.meshes.remove(mesh)
    return points.reshape(-1, 3), triangles.reshape(-1, 3)


def waves(rng: np.random.Generator, scale: float, count: int = 12) -> "Waves":
    """Smooth noise of about unit variance, with bumps of about ``scale`` metres."""
    return Waves(rng.normal(size=(3, count)) * (2.5 / scale), rng.uniform(0, 2 * np.pi, count))


class Waves:
    """A sum of plane waves: cheap noise that can be asked for at any point."""

    def __init__(self, frequencies: Array, phases: Array) -> None:
        self.frequencies, self.phases = frequencies, phases

    def __call__(self, points: Array) -> Array:
        """(N, 3) points to (N,) values."""
        return np.sin(points @ self.frequencies + self.phases).sum(1) * np.sqrt(2 / len(self.phases))


def at(x: float, y: float, z: float) -> Array:
    """(3,) a point."""
    return np.array((x, y, z), float)


def frame(rng: np.random.Generator, pitch: float = 8.0, yaw: float = 0.0, close: float = 0.25) -> Framing:
    """Frame all meshes there are; ``close`` is how often only a part of them fills the picture."""
    clouds = []
    for made in bpy.context.collection.objects:
        if made.type == "MESH" and len(made.data.vertices):
            points = np.empty(len(made.data.vertices) * 3)
            made.data.vertices.foreach_get("co", points)
            clouds.append(points.reshape(-1, 3))
    points = np.concatenate(clouds)
    low, high = points.min(0), points.max(0)
    aim, extent = (low + high) / 2, high - low
    turn, tip = np.radians((yaw, pitch))
    deep = extent[0] * abs(np.sin(turn)) + extent[1] * abs(np.cos(turn))
    wide = extent[0] * abs(np.cos(turn)) + extent[1] * abs(np.sin(turn))
    span = max(wide, extent[2] * np.cos(tip) + deep * abs(np.sin(tip))) * float(rng.uniform(1.05, 1.35))
    if rng.random() < close:
        span *= float(rng.uniform(0.4, 0.75))
        aim = aim + extent * rng.uniform(-0.25, 0.25, 3)
    return Framing((float(aim[0]), float(aim[1]), float(aim[2])), float(span), pitch, yaw)
