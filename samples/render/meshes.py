"""MakeHuman's files read into arrays: base body, targets, rig, and the proxies (clothes, hair, eyes) fitted to it.

Everything is in metres, z up, the person facing −y and with their own left at +x; MakeHuman's own files are in
decimetres, y up. Only numpy is needed, so the same module runs inside Blender's Python and outside.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def to_metres(points: Array) -> Array:
    """(..., 3) in MakeHuman's decimetres, y up, to metres, z up."""
    x, y, z = np.moveaxis(points, -1, 0)
    return np.stack([x, -z, y], -1) * 0.1


@dataclass(frozen=True)
class Mesh:
    """Polygons as an .obj file gives them."""

    vertices: Array  # (V, 3) metres
    uv: Array  # (T, 2)
    faces: list[list[int]]  # vertex indices, three or four a face
    uv_faces: list[list[int]]  # texture indices in the same order; empty lists without a texture
    groups: list[str]  # one a face

    @cached_property
    def components(self) -> Indices:
        """(V,) which connected piece a vertex belongs to, numbered from 0 in no special order."""
        return connected(len(self.vertices), self.faces)


def connected(count: int, faces: list[list[int]]) -> Indices:
    """Label ``count`` vertices by connected component."""
    edges = np.array([(a, b) for face in faces for a, b in zip(face, face[1:] + face[:1], strict=True)])
    label = np.arange(count)
    while True:  # each pass spreads the smallest label along the edges and halves the remaining chains
        smallest = label.copy()
        np.minimum.at(smallest, edges[:, 0], label[edges[:, 1]])
        np.minimum.at(smallest, edges[:, 1], label[edges[:, 0]])
        smallest = smallest[smallest]
        if np.array_equal(smallest, label):
            return np.unique(label, return_inverse=True)[1]
        label = smallest


def read_obj(path: Path) -> Mesh:
    """Read vertices, texture coordinates, faces and groups of a Wavefront .obj."""
    vertices, uv, faces, uv_faces, groups, group = [], [], [], [], [], ""
    for line in path.read_text(errors="ignore").splitlines():
        match line.split():
            case ["v", x, y, z, *_]:
                vertices.append((float(x), float(y), float(z)))
            case ["vt", u, v, *_]:
                uv.append((float(u), float(v)))
            case ["g", *name]:
                group = name[0] if name else ""
            case ["f", *corners]:
                parts = [corner.split("/") for corner in corners]
                faces.append([int(p[0]) - 1 for p in parts])
                uv_faces.append([int(p[1]) - 1 for p in parts if len(p) > 1 and p[1]])
                groups.append(group)
    return Mesh(to_metres(np.array(vertices)), np.array(uv), faces, uv_faces, groups)


@dataclass(frozen=True)
class Bone:
    """A joint of the rig; ``head`` and ``tail`` are the base-mesh vertices whose mean is the joint."""

    name: str
    parent: int  # index into the rig, −1 for the root
    head: list[int]
    tail: list[int]


@dataclass(frozen=True)
class Proxy:
    """A mesh that follows the body: each vertex is tied to three of the body's (an .mhclo file)."""

    mesh: Mesh
    anchors: Indices  # (V, 3) body vertices
    barycentric: Array  # (V, 3)
    offsets: Array  # (V, 3) metres at scale 1
    scales: list[tuple[int, int, int, float]]  # axis, body vertex, body vertex, their distance at scale 1
    hidden: frozenset[int]  # body vertices that it covers

    def fit(self, body: Array) -> Array:
        """(V, 3) metres: the proxy on a body of any shape."""
        scale = np.ones(3)
        for axis, a, b, rest in self.scales:
            scale[axis] = abs(body[a, axis] - body[b, axis]) / rest
        return (body[self.anchors] * self.barycentric[..., None]).sum(1) + self.offsets * scale

    def skin(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """(V, bones) skinning weights taken over from the body's."""
        own = (weights[self.anchors] * np.clip(self.barycentric, 0, 1)[..., None]).sum(1)
        return (own / np.maximum(own.sum(1, keepdims=True), 1e-6)).astype(np.float32)


def read_proxy(folder: Path) -> Proxy:
    """Read the .mhclo file of ``folder`` and the mesh that it names."""
    rows: list[list[float]] = []
    scales, hidden, mode, mesh = [], set(), "", None
    source = sorted(folder.glob("*.mhclo"))[0]
    for line in source.read_text(errors="ignore").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "obj_file":
            mesh = read_obj(folder / words[1])
        elif words[0] in ("x_scale", "y_scale", "z_scale"):
            axis = {"x": 0, "y": 2, "z": 1}[words[0][0]]
            scales.append((axis, int(words[1]), int(words[2]), float(words[3]) * 0.1))
        elif words[0] in ("verts", "delete_verts"):
            mode = words[0]
        elif words[0] == "weights":
            mode = ""
        elif mode == "verts" and words[0].isdigit():
            numbers = [float(word) for word in words]
            rows.append(numbers[:9] if len(numbers) >= 9 else [numbers[0]] * 3 + [1, 0, 0, 0, 0, 0])
        elif mode == "delete_verts" and words[0].isdigit():
            hidden.update(_ranges(words))
    if mesh is None:
        raise ValueError(f"{source} names no mesh")
    table = np.array(rows)
    return Proxy(mesh, table[:, :3].astype(int), table[:, 3:6], to_metres(table[:, 6:9]), scales, frozenset(hidden))


def _ranges(words: list[str]) -> set[int]:
    """The indices of a list such as ``12 20 - 24 31``."""
    found: set[int] = set()
    for i, word in enumerate(words):
        if word == "-":
            found.update(range(int(words[i - 1]), int(words[i + 1]) + 1))
        else:
            found.add(int(word))
    return found


class Library:
    """The MakeHuman files under one folder, each read once.

    Args:
        root: Holds ``makehuman`` and ``makehuman-assets``, as checked out from makehumancommunity's repositories.
    """

    def __init__(self, root: Path) -> None:
        self.data = root / "makehuman/makehuman/data"
        self.assets = root / "makehuman-assets/base"
        self.base = read_obj(self.data / "3dobjs/base.obj")
        rig = json.loads((self.data / "rigs/default.mhskel").read_text())
        names = self._parents_first({name: bone["parent"] for name, bone in rig["bones"].items()})
        self.index = {name: i for i, name in enumerate(names)}
        self.bones = [
            Bone(
                name,
                self.index.get(rig["bones"][name]["parent"], -1),
                rig["joints"][rig["bones"][name]["head"]],
                rig["joints"][rig["bones"][name]["tail"]],
            )
            for name in names
        ]
        self.weights = np.zeros((len(self.base.vertices), len(names)), np.float32)
        table = json.loads((self.data / "rigs/default_weights.mhw").read_text())["weights"]
        for name, pairs in table.items():
            if name in self.index and pairs:
                vertices, values = np.array(pairs).T
                self.weights[vertices.astype(int), self.index[name]] = values
        self.weights[self.weights.sum(1) == 0, self.index["root"]] = 1
        self.weights /= self.weights.sum(1, keepdims=True)
        self._targets: dict[str, Array] = {}
        self._proxies: dict[str, Proxy] = {}

    @staticmethod
    def _parents_first(parents: dict[str, str | None]) -> list[str]:
        order: list[str] = []
        while len(order) < len(parents):
            order += [n for n, p in parents.items() if n not in order and (not p or p in order)]
        return order

    def target(self, name: str) -> Array:
        """(V, 3) metres: what a morph target such as ``macrodetails/asian-female-old`` adds to the base body."""
        if name not in self._targets:
            offsets = np.zeros_like(self.base.vertices)
            for line in (self.data / f"targets/{name}.target").read_text(errors="ignore").splitlines():
                words = line.split()
                if len(words) == 4 and words[0].isdigit():
                    offsets[int(words[0])] += [float(word) for word in words[1:]]
            self._targets[name] = to_metres(offsets)
        return self._targets[name]

    def proxy(self, name: str) -> Proxy:
        """A proxy by its folder, such as ``hair/bob01``, ``clothes/shoes02`` or ``eyes/high-poly``."""
        if name not in self._proxies:
            folder = self.assets / name
            self._proxies[name] = read_proxy(folder if list(folder.glob("*.mhclo")) else self.data / name)
        return self._proxies[name]
