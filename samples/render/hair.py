"""Hair strands from MakeHuman's hair meshes.

A hair mesh is a cap and cards whose texture runs along the hair: v falls from root to tip. A strand is therefore
the line u = constant through one island of the texture, lifted back onto the mesh.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from samples.render.meshes import Array, Indices, Mesh, connected


@dataclass(frozen=True)
class Strands:
    """Curves with a fixed number of points each, root first."""

    kind: str  # "hair", "brows" or "lashes"
    points: Array  # (N, K, 3) metres, rest pose
    radii: Array  # (N, K) metres
    colors: Array  # (N, K, 3) linear RGB
    skin: NDArray[np.float32]  # (N, K, bones)

    @property
    def along(self) -> Array:
        """(K,) position on the strand, 0 at the root, 1 at the tip."""
        return np.linspace(0, 1, self.points.shape[1])


def trace(mesh: Mesh, vertices: Array, count: int, length: int, rng: np.random.Generator) -> tuple[Indices, Array]:
    """Trace strands over a hair mesh.

    Args:
        mesh: Hair whose texture's v runs along the strands.
        vertices: (V, 3) the mesh's vertices as fitted; only areas are taken from them.
        count: Strands wanted; a few that come out shorter than three points are left out.
        length: K, points a strand.

    Returns:
        (N, K, 4) mesh vertices and (N, K, 4) their shares: each point lies between two edges that its strand crosses.
    """
    triangles, uv_triangles = _triangles(mesh.faces), _triangles(mesh.uv_faces)
    islands = connected(len(mesh.uv), mesh.uv_faces)[uv_triangles[:, 0]]
    corners = vertices[triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    picked = rng.choice(len(triangles), count, p=area / area.sum())
    blend = rng.dirichlet(np.ones(3), count)
    u = (mesh.uv[uv_triangles[picked], 0] * blend).sum(1)
    sources, shares = [], []
    for island in np.unique(islands[picked]):
        inside = np.flatnonzero(islands == island)
        edge = np.concatenate([triangles[inside][:, [i, j]] for i, j in ((0, 1), (1, 2), (2, 0))])
        edge_uv = mesh.uv[np.concatenate([uv_triangles[inside][:, [i, j]] for i, j in ((0, 1), (1, 2), (2, 0))])]
        owner = np.tile(inside, 3)
        low, high = edge_uv[..., 0].min(1), edge_uv[..., 0].max(1)
        for strand in np.flatnonzero(islands[picked] == island):
            crossed = np.flatnonzero((low <= u[strand]) & (high > u[strand]))
            ratio = (u[strand] - edge_uv[crossed, 0, 0]) / (edge_uv[crossed, 1, 0] - edge_uv[crossed, 0, 0])
            v = edge_uv[crossed, 0, 1] * (1 - ratio) + edge_uv[crossed, 1, 1] * ratio
            order = _run(v, owner[crossed], picked[strand])
            if len(order) < 4:
                continue
            place = np.linspace(0, len(order) - 1, length)
            lower = np.minimum(place.astype(int), len(order) - 2)
            mix, first, second = place - lower, order[lower], order[lower + 1]
            sources.append(np.c_[edge[crossed[first]], edge[crossed[second]]])
            one, two = ratio[first], ratio[second]
            shares.append(np.c_[(1 - mix) * (1 - one), (1 - mix) * one, mix * (1 - two), mix * two])
    return np.array(sources), np.array(shares)


def _triangles(faces: list[list[int]]) -> Indices:
    return np.array([(face[0], a, b) for face in faces for a, b in pairwise(face[1:])])


def _run(v: Array, owner: Indices, start: int) -> Indices:
    """Order a line's crossings from root to tip, keeping only the unbroken stretch through triangle ``start``."""
    by_owner = np.argsort(owner, kind="stable")
    spans = np.sort(v[by_owner].reshape(-1, 2), axis=1)  # a triangle is crossed at exactly two of its edges
    order = np.argsort(-v, kind="stable")
    falling = v[order]
    middle = (falling[1:] + falling[:-1]) / 2
    covered = ((spans[:, :1] <= middle) & (spans[:, 1:] >= middle)).any(0)
    piece = np.r_[0, np.cumsum(~covered & (falling[:-1] - falling[1:] > 1e-6))]
    mine = piece[np.abs(falling - v[owner == start].mean()).argmin()]
    return order[piece == mine]


def strands(
    mesh: Mesh,
    vertices: Array,
    skin: NDArray[np.float32],
    color: Array,
    rng: np.random.Generator,
    *,
    kind: str = "hair",
    count: int = 7000,
    length: int = 12,
    radius: float = 0.00022,
    flyaway: float = 0.012,
    trim: float = 0.3,
    traced: tuple[Indices, Array] | None = None,
) -> Strands:
    """Cover a fitted hair mesh with strands.

    Args:
        mesh: The hair mesh; ``vertices`` (V, 3) and ``skin`` (V, bones) are its fitted places and weights.
        color: (3,) linear RGB; strands vary about it and lighten towards the tip.
        radius: Metres at the root; a little thicker than real hair, as there are fewer of them.
        flyaway: Metres by which the loosest tips leave the mesh.
        trim: Largest share cut off a strand's tip, so that cards do not end in a straight line.
        traced: What ``trace`` gave, where it is kept for many people; ``count`` and ``length`` then do not count.
    """
    sources, shares = traced or trace(mesh, vertices, count, length, rng)
    length = sources.shape[1]
    points = (vertices[sources] * shares[..., None]).sum(2)
    weights = sum(skin[sources[..., i]] * shares[..., i, None].astype(np.float32) for i in range(4))
    n = len(points)
    along = np.linspace(0, 1, length)
    keep = 1 - trim * rng.random(n) ** 1.5
    points = _resample(points, keep[:, None] * along)
    # Locks: neighbouring strands lean together; a few strands are looser than all others.
    roots = points[:, length // 2]
    locks = roots[rng.choice(n, max(n // 40, 1))]
    lock = np.concatenate([((part[:, None] - locks) ** 2).sum(-1).argmin(1) for part in np.array_split(roots, 8)])
    lean = rng.normal(0, 0.35, (len(locks), 3))[lock] + rng.normal(0, 0.25, (n, 3))
    lean *= np.where(rng.random(n) < 0.06, 2.2, 0.6)[:, None]
    wave = 0.25 * np.sin(along * rng.uniform(3, 9, len(locks))[lock][:, None] + rng.uniform(0, 6.3, n)[:, None])
    points = points + flyaway * along[:, None] ** 1.5 * (lean[:, None] + wave[..., None] * lean[:, None, ::-1])
    shade = rng.lognormal(0, 0.25, len(locks))[lock] * rng.lognormal(0, 0.2, n)
    colors = color * shade[:, None, None] * (0.8 + 0.5 * along)[:, None]
    radii = np.broadcast_to(radius * (1 - 0.75 * along**2), (n, length))
    return Strands(kind, points, radii, np.clip(colors, 0, 1), weights)


def restyle(tuft: Strands, rng: np.random.Generator) -> Strands:
    """Wear the same hair shorter, curled or fuller: at random, and often as it is."""
    points, along = tuft.points, tuft.along
    if rng.random() < 0.5:
        points = _resample(points, np.tile(rng.uniform(0.25, 0.95) * along, (len(points), 1)))
    if rng.random() < 0.4:
        size, turns = rng.uniform(0.002, 0.012), rng.uniform(1, 7)
        phase = np.round(rng.uniform(0, 2 * np.pi, len(points)), 1)[:, None] + 40 * points[:, :1, 0]
        curl = np.stack([np.cos(2 * np.pi * turns * along + phase), np.sin(2 * np.pi * turns * along + phase)], -1)
        points = points + size * np.sqrt(along)[:, None] * (curl[..., :1] * (1, 0, 0) + curl[..., 1:] * (0, 0.7, 0.7))
    if rng.random() < 0.4:
        middle = points[:, 0].mean(0)
        points = points + rng.uniform(-0.05, 0.2) * along[:, None] * (points - middle) * (1, 1, 0.3)
    return replace(tuft, points=points)


def _resample(points: Array, at: Array) -> Array:
    """(N, K, 3) curves evaluated at (N, K') parameters in [0, 1]."""
    place = at * (points.shape[1] - 1)
    lower = np.minimum(place.astype(int), points.shape[1] - 2)
    rows = np.arange(len(points))[:, None]
    mix = (place - lower)[..., None]
    return points[rows, lower] * (1 - mix) + points[rows, lower + 1] * mix


def trailing(history: list[Array], slack: Array) -> Array:
    """Let hair trail behind the head.

    Args:
        history: (N, K, 3) posed strands now, and at equal steps back in time.
        slack: (N, K) or (1, K) in [0, 1]: 0 follows at once, 1 is where the oldest of ``history`` was.

    Returns:
        (N, K, 3) strands now.
    """
    place = slack * (len(history) - 1)
    out = np.zeros_like(history[0])
    for step, posed in enumerate(history):
        out += posed * np.clip(1 - np.abs(place - step), 0, 1)[..., None]
    return out
