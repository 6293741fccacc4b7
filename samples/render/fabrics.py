"""Cloth as people wear it: what it is woven of, and what is printed on it."""

import bpy
import numpy as np

from samples.render import materials
from samples.render.materials import Finish
from samples.render.meshes import Array

CLOTHS = {
    "cotton": (0.38, Finish(0.85, 0.25, 0.3, 9, 160, 0.35, woven=True)),
    "wool": (0.18, Finish(0.95, 0.15, 0.45, 7, 110, 0.6, woven=True)),
    "knit": (0.1, Finish(0.9, 0.2, 0.5, 7, 70, 0.8, woven=True)),
    "denim": (0.12, Finish(0.8, 0.3, 0.45, 10, 260, 0.4, woven=True)),
    "leather": (0.07, Finish(0.36, 0.55, 0.2, 16, 60, 0.5)),
    "satin": (0.08, Finish(0.4, 0.5, 0.1, 6, 300, 0.5)),
    "nylon": (0.07, Finish(0.5, 0.5, 0.1, 9, 200, 0.6)),
}
PRINTS = {
    "none": 0.5,
    "hoops": 0.12,
    "pinstripes": 0.06,
    "checks": 0.1,
    "flowers": 0.06,
    "blots": 0.05,
    "badge": 0.11,
}


def fabric(rng: np.random.Generator, chest: Array, *, plain: bool = False) -> bpy.types.Material:
    """A random cloth, coloured by the vertices' ``paint``, with a random print on the ``rest`` position.

    Args:
        chest: (3,) metres, where a badge would be.
        plain: Without a print, as most trousers are.
    """
    names = list(CLOTHS)
    name = names[rng.choice(len(names), p=np.array([CLOTHS[n][0] for n in names]))]
    made = materials.solid("cloth", rng, CLOTHS[name][1])
    kind = str(rng.choice(list(PRINTS), p=list(PRINTS.values())))
    if kind == "none" or plain or (name == "leather" and kind != "badge"):
        return made
    nodes, links = made.node_tree.nodes, made.node_tree.links
    paint = next(node for node in nodes if getattr(node, "attribute_name", "") == "paint")
    rest = next(node for node in nodes if getattr(node, "attribute_name", "") == "rest")
    tint = next(link.to_socket for link in links if link.from_node == paint)
    mix = nodes.new("ShaderNodeMixRGB")
    mix.inputs["Color2"].default_value = (*_ink(rng), 1)
    links.new(paint.outputs["Color"], mix.inputs["Color1"])
    links.new(mix.outputs["Color"], tint)
    place = nodes.new("ShaderNodeMapping")
    links.new(rest.outputs["Vector"], place.inputs["Vector"])
    mask = {"badge": _badge, "checks": _checks}.get(kind, _pattern)(made, place, kind, chest, rng)
    links.new(mask, mix.inputs["Fac"])
    return made


def _ink(rng: np.random.Generator) -> tuple[float, float, float]:
    """White, black, grey or a strong colour, linear RGB."""
    if rng.random() < 0.5:
        value = float(rng.choice([0.01, 0.05, 0.25, 0.6, 0.75]))
        return (value, value, value)
    return tuple(float(x) for x in rng.uniform(0.01, 0.7, 3) ** 1.5)  # type: ignore[return-value]


def _steps(made: bpy.types.Material, value: bpy.types.NodeSocket, edge: float) -> bpy.types.NodeSocket:
    """1 where ``value`` is above ``edge``."""
    node = made.node_tree.nodes.new("ShaderNodeMath")
    node.operation, node.inputs[1].default_value = "GREATER_THAN", edge
    made.node_tree.links.new(value, node.inputs[0])
    return node.outputs["Value"]


def _stripes(
    made: bpy.types.Material, place: bpy.types.Node, axis: str, scale: float, edge: float
) -> bpy.types.NodeSocket:
    node = made.node_tree.nodes.new("ShaderNodeTexWave")
    node.bands_direction = axis
    node.inputs["Scale"].default_value = scale
    made.node_tree.links.new(place.outputs["Vector"], node.inputs["Vector"])
    return _steps(made, node.outputs["Fac"], edge)


def _pattern(
    made: bpy.types.Material, place: bpy.types.Node, kind: str, chest: Array, rng: np.random.Generator
) -> bpy.types.NodeSocket:
    nodes, links = made.node_tree.nodes, made.node_tree.links
    if kind in ("hoops", "pinstripes"):
        broad = kind == "hoops"
        scale = float(rng.uniform(3, 14) if broad else rng.uniform(12, 30))
        edge = float(rng.uniform(0.3, 0.8) if broad else 0.85)
        return _stripes(made, place, "Z" if broad else "X", scale, edge)
    node = nodes.new("ShaderNodeTexVoronoi" if kind == "flowers" else "ShaderNodeTexNoise")
    node.inputs["Scale"].default_value = float(rng.uniform(14, 50) if kind == "flowers" else rng.uniform(6, 25))
    links.new(place.outputs["Vector"], node.inputs["Vector"])
    if kind == "flowers":
        inverted = nodes.new("ShaderNodeMath")
        inverted.operation, inverted.inputs[0].default_value = "SUBTRACT", 1.0
        links.new(node.outputs["Distance"], inverted.inputs[1])
        return _steps(made, inverted.outputs["Value"], float(rng.uniform(0.55, 0.75)))
    return _steps(made, node.outputs["Fac"], float(rng.uniform(0.48, 0.58)))


def _checks(
    made: bpy.types.Material, place: bpy.types.Node, kind: str, chest: Array, rng: np.random.Generator
) -> bpy.types.NodeSocket:
    """Two sets of stripes; where they cross, the ink is full."""
    scale, edge = float(rng.uniform(4, 16)), float(rng.uniform(0.4, 0.8))
    across, along = (_stripes(made, place, axis, scale, edge) for axis in "XZ")
    total, half = made.node_tree.nodes.new("ShaderNodeMath"), made.node_tree.nodes.new("ShaderNodeMath")
    total.operation, half.operation, half.inputs[1].default_value = "ADD", "MULTIPLY", 0.5
    made.node_tree.links.new(across, total.inputs[0])
    made.node_tree.links.new(along, total.inputs[1])
    made.node_tree.links.new(total.outputs["Value"], half.inputs[0])
    return half.outputs["Value"]


def _badge(
    made: bpy.types.Material, place: bpy.types.Node, kind: str, chest: Array, rng: np.random.Generator
) -> bpy.types.NodeSocket:
    """A blob, a ring or a few lines as of writing on the chest."""
    nodes, links = made.node_tree.nodes, made.node_tree.links
    width, height = rng.uniform(0.04, 0.13), rng.uniform(0.02, 0.1)
    place.vector_type = "TEXTURE"  # subtracts the place, then divides by the size
    place.inputs["Location"].default_value = tuple(float(x) for x in chest)
    place.inputs["Scale"].default_value = (float(width), 0.2, float(height))
    ball, noise, fade = (nodes.new(f"ShaderNode{k}") for k in ("TexGradient", "TexNoise", "Math"))
    ball.gradient_type = "SPHERICAL"
    noise.inputs["Scale"].default_value = float(rng.uniform(1, 7))
    links.new(place.outputs["Vector"], ball.inputs["Vector"])
    links.new(place.outputs["Vector"], noise.inputs["Vector"])
    fade.operation, fade.inputs[1].default_value = "MULTIPLY", 1.0
    links.new(ball.outputs["Fac"], fade.inputs[0])
    if rng.random() < 0.7:
        shape = _steps(made, noise.outputs["Fac"], float(rng.uniform(0.4, 0.52)))
    else:
        shape = _stripes(made, place, "Z", float(rng.uniform(0.3, 0.9)), 0.5)
    links.new(shape, fade.inputs[1])
    return _steps(made, fade.outputs["Value"], float(rng.uniform(0.05, 0.25)))
