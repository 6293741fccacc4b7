"""What things are made of, as Cycles' shaders. Colour comes from the vertices, detail from noise on the rest pose."""

from dataclasses import dataclass

import bpy
import numpy as np


@dataclass(frozen=True)
class Finish:
    """How a solid surface looks, whatever its colour."""

    roughness: float
    specular: float
    mottle: float = 0.0  # share by which the colour varies from place to place
    patch: float = 14.0  # patches or folds a metre
    grain: float = 10.0  # pores or threads a metre
    relief: float = 0.0  # strength of the bumps
    woven: bool = False  # colour varies with the grain, not with the patches; folds are deep


FINISHES = {
    "skin": Finish(roughness=0.44, specular=0.45, mottle=0.12, grain=350, relief=0.02),
    "cloth": Finish(roughness=0.85, specular=0.25, mottle=0.3, grain=160, relief=0.35, woven=True),
    "hat": Finish(roughness=0.9, specular=0.45, mottle=0.2, grain=120, relief=0.3),
    "shoes": Finish(roughness=0.4, specular=0.45, mottle=0.2, grain=40, relief=0.1),
    "eyes": Finish(roughness=0.08, specular=0.45),
    "teeth": Finish(roughness=0.3, specular=0.45),
}


def _new(name: str, **values: object) -> tuple[bpy.types.Material, bpy.types.Node]:
    """A material, and its Principled shader with the inputs named by ``values`` set (``_`` stands for a space)."""
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    shader = made.node_tree.nodes["Principled BSDF"]
    for socket, value in values.items():
        shader.inputs[socket.replace("_", " ")].default_value = value
    return made, shader


def _vertices(made: bpy.types.Material, attribute: str) -> bpy.types.Node:
    node = made.node_tree.nodes.new("ShaderNodeAttribute")
    node.attribute_name = attribute
    return node


def glass() -> bpy.types.Material:
    """Clear glass."""
    return _new("glass", Transmission=1.0, Roughness=0.0, IOR=1.45, Base_Color=(0.97, 0.98, 0.98, 1))[0]


def drink() -> bpy.types.Material:
    """Amber and a little cloudy: part of the light goes straight through, part is scattered back."""
    return _new("drink", Transmission=0.8, Roughness=0.0, IOR=1.2, Base_Color=(0.95, 0.56, 0.14, 1))[0]


def strands(kind: str, shine: float) -> bpy.types.Material:
    """Hair, coloured by its points' ``paint``; ``shine`` from 0.2, dull, to 0.5, sleek."""
    made, shader = _new(kind, Roughness=1.01 - 1.4 * shine, Specular=shine)
    made.node_tree.links.new(_vertices(made, "paint").outputs["Color"], shader.inputs["Base Color"])
    return made


def solid(kind: str, rng: np.random.Generator, finish: Finish | None = None) -> bpy.types.Material:
    """A ``finish``, by default the one of ``FINISHES`` that ``kind`` names, coloured by the vertices' ``paint``.

    That name, as "color" would be read as a volume's colour by Cycles. The noise hangs on the vertices' ``rest``
    position: on generated coordinates it would swim over a moving mesh.
    """
    finish = finish or FINISHES[kind]
    made, shader = _new(kind, Roughness=finish.roughness, Specular=finish.specular, Sheen=0.4 if finish.woven else 0.0)
    nodes, links = made.node_tree.nodes, made.node_tree.links
    rest = _vertices(made, "rest")
    grain, patch = nodes.new("ShaderNodeTexNoise"), nodes.new("ShaderNodeTexNoise")
    grain.inputs["Scale"].default_value, grain.inputs["Detail"].default_value = finish.grain, 4
    patch.inputs["Scale"].default_value = float(rng.uniform(7, 11)) if finish.woven else finish.patch
    for texture in (grain, patch):
        links.new(rest.outputs["Vector"], texture.inputs["Vector"])

    spread, tint = nodes.new("ShaderNodeMapRange"), nodes.new("ShaderNodeMixRGB")
    for socket, value in (
        *(("From Min", 0.3), ("From Max", 0.7)),
        *(("To Min", 1 - finish.mottle), ("To Max", 1 + finish.mottle / 2)),
    ):
        spread.inputs[socket].default_value = value
    links.new((grain if finish.woven else patch).outputs["Fac"], spread.inputs["Value"])
    tint.blend_type, tint.inputs["Fac"].default_value = "MULTIPLY", 1.0
    links.new(_vertices(made, "paint").outputs["Color"], tint.inputs["Color1"])
    links.new(spread.outputs["Result"], tint.inputs["Color2"])
    links.new(tint.outputs["Color"], shader.inputs["Base Color"])

    if finish.relief:
        folds, threads = nodes.new("ShaderNodeBump"), nodes.new("ShaderNodeBump")
        for bump, texture, strength, depth in (
            (folds, patch, finish.relief * (1.6 if finish.woven else 0.5), 0.02),
            (threads, grain, finish.relief, 0.002),
        ):
            bump.inputs["Strength"].default_value, bump.inputs["Distance"].default_value = strength, depth
            links.new(texture.outputs["Fac"], bump.inputs["Height"])
        links.new(folds.outputs["Normal"], threads.inputs["Normal"])
        links.new(threads.outputs["Normal"], shader.inputs["Normal"])
    return made
