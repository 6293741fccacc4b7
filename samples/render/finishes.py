"""Random materials for things: metal, plastic, glaze, wood, stone, cloth, glass, with random patterns."""

from collections.abc import Sequence

import bpy
import numpy as np

from samples.render.meshes import Array

KINDS = {"plastic": 4.0, "metal": 2.0, "glaze": 2.0, "wood": 2.0, "stone": 1.5, "cloth": 2.0, "paint": 2.0}


def pick(rng: np.random.Generator, odds: dict[str, float]) -> str:
    """One of the names, each as likely as its odds say."""
    return list(odds)[rng.choice(len(odds), p=np.array(list(odds.values())) / sum(odds.values()))]


def color(rng: np.random.Generator) -> Array:
    """(3,) a linear RGB colour as things have: greys, whites, blacks, muted and strong ones."""
    grey = rng.uniform(0.01, 0.9) ** rng.choice([0.7, 1.5])
    strong = rng.uniform(0.02, 0.85, 3) ** 1.6
    return np.clip(grey + (strong - grey) * rng.choice([0.05, 0.5, 1.0, 1.2], p=[0.3, 0.25, 0.3, 0.15]), 0.008, 0.9)


def plain(
    name: str, rgb: Sequence[float] | Array, roughness: float = 0.5, metallic: float = 0.0, **values: float
) -> bpy.types.Material:
    """One colour all over; ``values`` set further inputs of the Principled shader (``_`` stands for a space)."""
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    shader = made.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*(float(c) for c in rgb), 1.0)
    shader.inputs["Roughness"].default_value, shader.inputs["Metallic"].default_value = roughness, metallic
    for socket, value in values.items():
        shader.inputs[socket.replace("_", " ")].default_value = value
    return made


def glass(rng: np.random.Generator) -> bpy.types.Material:
    """Clear or tinted glass, at times frosted."""
    tint = np.full(3, 0.97) if rng.random() < 0.5 else rng.uniform(0.45, 1, 3)
    return plain(
        "glass", tint, 0.0 if rng.random() < 0.85 else 0.25, Transmission=1.0, IOR=float(rng.uniform(1.3, 1.5))
    )


def painted(name: str, roughness: float = 0.6, **values: float) -> bpy.types.Material:
    """Coloured by the vertices' ``paint``."""
    made = plain(name, (1, 1, 1), roughness, **values)
    node = made.node_tree.nodes.new("ShaderNodeAttribute")
    node.attribute_name = "paint"
    shader = made.node_tree.nodes["Principled BSDF"]
    made.node_tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    return made


def _pattern(nodes: bpy.types.Nodes, kind: str, fine: float, rng: np.random.Generator) -> tuple[bpy.types.Node, str]:
    """A texture node with about ``fine`` features a metre, and the name of its output."""
    if kind in ("waves", "grain"):
        node = nodes.new("ShaderNodeTexWave")
        node.inputs["Scale"].default_value = fine / 3
        node.inputs["Distortion"].default_value = (
            float(rng.uniform(3, 9)) if kind == "grain" else float(rng.choice([0, 2]))
        )
        node.bands_direction = str(rng.choice(["X", "Y", "Z", "DIAGONAL"]))
        return node, "Fac"
    node = nodes.new(
        {"checks": "ShaderNodeTexChecker", "cells": "ShaderNodeTexVoronoi"}.get(kind, "ShaderNodeTexNoise")
    )
    node.inputs["Scale"].default_value = fine
    if kind == "noise":
        node.inputs["Detail"].default_value = 6
    return node, "Distance" if kind == "cells" else "Fac"


def surface(
    rng: np.random.Generator, size: float, kind: str | None = None, rgb: Array | None = None, calm: bool = False
) -> bpy.types.Material:
    """A random material, its pattern in proportion to a thing ``size`` metres large; ``calm`` keeps to one colour."""
    kind = kind or pick(rng, KINDS)
    first = color(rng) if rgb is None else np.asarray(rgb, float)
    if kind == "wood" and rgb is None:
        first = np.array([0.35, 0.17, 0.07]) * rng.uniform(0.15, 1.8)
    if kind == "metal" and rgb is None:
        tints = [(0.9, 0.9, 0.9), (0.5, 0.5, 0.52), (0.9, 0.6, 0.25), (0.8, 0.4, 0.25), (0.15, 0.15, 0.16)]
        first = np.array(tints[rng.integers(5)])
    roughness = {"plastic": (0.2, 0.6), "metal": (0.08, 0.45), "glaze": (0.05, 0.25), "wood": (0.3, 0.7)}
    roughness |= {"stone": (0.4, 0.95), "cloth": (0.8, 1.0), "paint": (0.1, 0.5)}
    made = plain(kind, first, float(rng.uniform(*roughness[kind])), float(kind == "metal"))
    shader = made.node_tree.nodes["Principled BSDF"]
    if kind in ("glaze", "paint"):
        shader.inputs["Clearcoat"].default_value = float(rng.uniform(0.2, 1))
    if kind == "cloth":
        shader.inputs["Sheen"].default_value = float(rng.uniform(0, 0.8))
    odds = {"wood": 1.0, "stone": 1.0, "cloth": 0.7, "metal": 0.3}.get(kind, 0.4)
    if (calm and kind not in ("wood", "stone")) or rng.random() > odds:
        return made
    nodes, links = made.node_tree.nodes, made.node_tree.links
    odds_of = {"wood": {"grain": 1.0}, "stone": {"noise": 2.0, "grain": 1.0, "cells": 0.5}, "metal": {"noise": 1.0}}
    usual = {"noise": 2.0, "waves": 2.0, "checks": 0.7, "cells": 0.8, "grain": 0.7}
    pattern = pick(rng, odds_of.get(kind, usual))
    place, ramp = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeValToRGB")
    node, output = _pattern(nodes, pattern, float(np.exp(rng.uniform(np.log(2.5), np.log(14)))) / size, rng)
    near = kind in ("wood", "stone", "metal") or rng.random() < 0.4
    second = np.clip(first * rng.uniform(0.3, 0.8) if near else color(rng), 0, 1)
    soft = 0.2 if near else float(rng.choice([0.02, 0.15]))
    for element, position, rgb_ in zip(
        ramp.color_ramp.elements, (0.5 - soft, 0.5 + soft), (first, second), strict=True
    ):
        element.position, element.color = position, (*(float(c) for c in rgb_), 1.0)
    links.new(place.outputs["Object"], node.inputs["Vector"])
    links.new(node.outputs[output], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], shader.inputs["Base Color"])
    if kind in ("stone", "wood", "cloth") and rng.random() < 0.6:
        bump = nodes.new("ShaderNodeBump")
        bump.inputs["Strength"].default_value, bump.inputs["Distance"].default_value = (
            float(rng.uniform(0.1, 0.5)),
            size / 60,
        )
        links.new(node.outputs[output], bump.inputs["Height"])
        links.new(bump.outputs["Normal"], shader.inputs["Normal"])
    return made
