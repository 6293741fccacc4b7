"""Fur: strands strewn over a skin, each with its own length, lie and colour."""

from collections.abc import Callable

import bpy
import numpy as np

from samples.render import materials
from samples.render.meshes import Array

Lie = Callable[[Array, Array], tuple[Array, Array, Array]]
"""(N, 3) roots and normals to (N,) lengths in metres, (N, 3) directions to be combed in, (N, 3) linear RGB."""


def roots(vertices: Array, triangles: Array, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """(N, 3) points strewn evenly over triangles, and the surface's (N, 3) normals there."""
    corners = vertices[triangles]
    crossed = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(crossed, axis=1)
    chosen = rng.choice(len(area), count, p=area / area.sum())
    u, v = rng.random((2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    a, b, c = corners[chosen].transpose(1, 0, 2)
    return a + u * (b - a) + v * (c - a), crossed[chosen] / (area[chosen, None] + 1e-12)


def grow(
    vertices: Array, triangles: Array, count: int, lie: Lie, lift: float, mess: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """(N, 4, 3) strands and (N, 4, 3) their colours; ``lift`` stands them up, ``mess`` tousles them."""
    start, normal = roots(vertices, triangles, count, rng)
    length, comb, color = lie(start, normal)
    kept = length > 0
    start, normal, length, comb, color = start[kept], normal[kept], length[kept], comb[kept], color[kept]
    length = length * rng.uniform(0.6, 1.15, len(length))
    comb = comb - normal * np.sum(comb * normal, 1, keepdims=True)
    first = lift * normal + comb + mess * rng.normal(size=start.shape)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    bend = 0.6 * (comb - 0.25 * normal + mess * rng.normal(size=start.shape))
    t = np.linspace(0, 1, 4)[None, :, None]
    points = start[:, None] + length[:, None, None] * (t * first[:, None] + t**2 * bend[:, None])
    shade = np.linspace(0.65, 1.1, 4)[None, :, None] * rng.uniform(0.8, 1.2, (len(start), 1, 1))
    return points, np.clip(color[:, None] * shade, 0, 1)


def add_strands(name: str, points: Array, colors: Array, thickness: float, shine: float = 0.3) -> None:
    """Put (N, K, 3) strands into the scene as Cycles' curves that taper; ``thickness`` is the root's radius."""
    count, length = points.shape[:2]
    mesh = bpy.data.meshes.new(name)
    start = np.arange(count * length, dtype=np.int32).reshape(count, length)
    edges = np.stack([start[:, :-1], start[:, 1:]], -1)
    mesh.vertices.add(count * length)
    mesh.vertices.foreach_set("co", points.astype(np.float32).ravel())
    mesh.edges.add(count * (length - 1))
    mesh.edges.foreach_set("vertices", edges.ravel())
    paint = np.concatenate([colors, np.ones((count, length, 1))], -1).astype(np.float32)
    mesh.attributes.new("paint", "FLOAT_COLOR", "POINT").data.foreach_set("color", paint.ravel())
    radii = np.broadcast_to(thickness * np.linspace(1, 0.25, length), (count, length)).astype(np.float32)
    mesh.attributes.new("thickness", "FLOAT", "POINT").data.foreach_set("value", radii.ravel())
    mesh.update()
    source = bpy.data.objects.new(name, mesh)
    bpy.context.collection.objects.link(source)

    # As in scene.py: only nodes on a Curves object yield what Cycles draws as hair.
    made = materials.strands(name, shine)
    tree = bpy.data.node_groups.new(name, "GeometryNodeTree")
    tree.inputs.new("NodeSocketGeometry", "Geometry")
    tree.outputs.new("NodeSocketGeometry", "Geometry")
    fetch, strands, thick, radius, cover, out = (
        tree.nodes.new(kind)
        for kind in (
            *("GeometryNodeObjectInfo", "GeometryNodeMeshToCurve", "GeometryNodeInputNamedAttribute"),
            *("GeometryNodeSetCurveRadius", "GeometryNodeSetMaterial", "NodeGroupOutput"),
        )
    )
    fetch.inputs["Object"].default_value = source
    thick.data_type, thick.inputs["Name"].default_value = "FLOAT", "thickness"
    cover.inputs["Material"].default_value = made
    tree.links.new(fetch.outputs["Geometry"], strands.inputs["Mesh"])
    tree.links.new(strands.outputs["Curve"], radius.inputs["Curve"])
    tree.links.new(next(o for o in thick.outputs if o.enabled and o.type == "VALUE"), radius.inputs["Radius"])
    tree.links.new(radius.outputs["Curve"], cover.inputs["Geometry"])
    tree.links.new(cover.outputs["Geometry"], out.inputs[0])
    drawn = bpy.data.objects.new(f"{name} curves", bpy.data.hair_curves.new(name))
    drawn.data.materials.append(made)
    bpy.context.collection.objects.link(drawn)
    drawn.modifiers.new("curves", "NODES").node_group = tree
