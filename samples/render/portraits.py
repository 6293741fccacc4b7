"""Random people in random clothes and poses, put into Blender's scene and framed as cameras frame people."""

from dataclasses import replace

import bpy
import numpy as np

from samples.render import accessories, fabrics, finishes, hair, materials, poses, scene, shapes
from samples.render.accessories import Head, Worn
from samples.render.framing import Framing
from samples.render.meshes import Array, Indices, Library
from samples.render.people import Look, Person, Surface, build, deform

SHOTS = {"close": 0.15, "bust": 0.35, "waist": 0.25, "full": 0.25}
Traces = dict[str, tuple[Indices, Array]]


def add(library: Library, traces: Traces, rng: np.random.Generator) -> Framing:
    """Add one person to the scene; ``traces`` is kept from person to person (see ``people.build``)."""
    shot = str(rng.choice(list(SHOTS), p=list(SHOTS.values())))
    look = draw(rng)
    person = build(library, look, rng, hair_count=int(rng.uniform(3000, 5000)), traces=traces)
    head = Head.of(person)
    worn, hat = _worn(person, head, rng)
    tufts = [hair.restyle(tuft, rng) if tuft.kind == "hair" else tuft for tuft in person.strands]
    if hat is not None:
        tufts = [_under(tuft, hat) if tuft.kind == "hair" else tuft for tuft in tufts]
    if look.sex == "male" and look.age != "child" and rng.random() < 0.4:
        tufts.append(accessories.beard(person, rng))
    pose, holds, seated = poses.draw(person, rng, upper=shot in ("close", "bust"))
    matrices = pose.matrices()

    places = [_add_surface(library, look, surface, matrices, person, rng) for surface in person.surfaces]
    for tuft in tufts:
        moved = deform(tuft.points, tuft.skin, matrices).reshape(-1, 3)
        scene.add_strands(tuft, look.hair_shine).move(moved, moved)
    for part in worn:
        carry = matrices[person.index[part.bone]]
        places.append(_add_worn(replace(part, vertices=part.vertices @ carry[:3, :3].T + carry[:3, 3]), rng))
    for part in accessories.held(person, matrices, holds, rng) if holds else ():
        places.append(_add_worn(part, rng))
    if seated and rng.random() < 0.5:
        root = matrices[person.index["root"]]
        hips = (person.joint("upperleg01.L") + person.joint("upperleg01.R")) / 2
        for part in accessories.chair(hips + np.array([0, 0.06, -0.11]), rng):
            _add_worn(replace(part, vertices=part.vertices @ root[:3, :3].T + root[:3, 3]), rng)
    return _frame(shot, person, matrices, np.concatenate(places), rng)


def draw(rng: np.random.Generator) -> Look:
    """Someone at random, with a face of their own, and hair that may be dyed."""
    look = replace(Look.random(rng), features=int(rng.integers(1 << 31)))
    if rng.random() < 0.05:
        look = replace(look, hair_color=tuple(float(x) for x in rng.uniform(0.01, 0.6, 3) ** 1.5))
    if look.sex == "female" and rng.random() < 0.15 and look.hair is not None:
        look = replace(look, hair=str(rng.choice(["short01", "short02", "short03", "short04"])))
    color = np.array(look.ancestry) @ np.array([(0.12, 0.06, 0.036), (0.50, 0.30, 0.19), (0.57, 0.35, 0.25)])
    color = color * rng.lognormal(0, 0.18) * rng.lognormal(0, 0.05, 3)
    shirt = np.array(look.cloth_colors[0])
    if rng.random() < 0.12:
        shirt = np.full(3, rng.uniform(0.55, 0.8))  # a white shirt
    rest = list(look.cloth_colors[1:])
    if rng.random() < 0.2:
        rest[0] = tuple(float(x) for x in np.array([0.05, 0.085, 0.16]) * rng.lognormal(-0.3, 0.6))  # denim
    return replace(
        look,
        skin_color=tuple(float(x) for x in np.clip(color, 0.02, 0.75)),
        cloth_colors=(tuple(float(x) for x in shirt), *rest),
    )


def _worn(person: Person, head: Head, rng: np.random.Generator) -> tuple[list[Worn], float | None]:
    """Glasses, headphones, a scarf, a cap; and the height above which a cap hides the hair."""
    worn: list[Worn] = []
    low = None
    if rng.random() < 0.27:
        worn += accessories.glasses(head, rng)
    if rng.random() < 0.1:
        worn += accessories.scarf(person, rng)
    if not person.look.hat and rng.random() < 0.1:
        parts, low = accessories.cap(head, rng)
        worn += parts
    elif not person.look.hat and rng.random() < 0.09:
        worn += accessories.headphones(head, rng)
    return worn, low


def _under(tuft: hair.Strands, low: float) -> hair.Strands:
    """Only the strands whose first half stays below ``low`` metres."""
    keep = (tuft.points[:, : tuft.points.shape[1] // 2, 2] < low).all(1)
    return replace(
        tuft, points=tuft.points[keep], radii=tuft.radii[keep], colors=tuft.colors[keep], skin=tuft.skin[keep]
    )


def _add_surface(
    library: Library, look: Look, surface: Surface, matrices: Array, person: Person, rng: np.random.Generator
) -> Array:
    """Add a posed surface, each piece of a garment in its own cloth; (N, 3) where it is."""
    used = surface.skin.any(0)
    moved = deform(surface.vertices, surface.skin[:, used], matrices[used])
    groups = [surface.faces]
    if surface.kind == "cloth":
        pieces = library.proxy(f"clothes/{look.suit}").mesh.components
        groups = [[face for face in surface.faces if pieces[face[0]] == piece] for piece in range(pieces.max() + 1)]
    chest = person.joint("spine01") + np.array([rng.normal(0, 0.04), -0.12, rng.uniform(-0.12, 0.02)])
    for faces in groups:
        made = materials.solid(surface.kind, rng)
        if surface.kind == "cloth":
            top = max(surface.vertices[face[0], 2] for face in faces) > chest[2]
            made = fabrics.fabric(rng, chest, plain=not top and rng.random() < 0.8)
        scene.add_surface(surface.kind, surface.vertices, faces, surface.colors, made).move(moved, moved)
    return moved[np.unique(np.concatenate([np.array(face) for face in surface.faces]))]


def _add_worn(part: Worn, rng: np.random.Generator) -> Array:
    """Add a solid thing where it is; (V, 3) its vertices."""
    if part.material == "lens":
        made = _clear()
    elif part.material == "cloth":
        made = finishes.plain("cloth", part.color, 0.9, Sheen=0.3)
    else:
        smooth = {"plastic": float(rng.uniform(0.15, 0.6)), "metal": 0.25, "dark lens": 0.03}[part.material]
        made = finishes.plain(part.material, part.color, smooth, 1.0 if part.material == "metal" else 0.0)
    angular = len(part.vertices) == 8
    shapes.add(part.material, (part.vertices, part.faces), made, smooth=not angular, bevel=0.003 if angular else 0.0)
    return part.vertices


def _clear() -> bpy.types.Material:
    """A spectacle lens: what is behind it, and a little of what it mirrors."""
    made = bpy.data.materials.new("lens")
    made.use_nodes = True
    nodes, links = made.node_tree.nodes, made.node_tree.links
    nodes.remove(nodes["Principled BSDF"])
    through, mirror, mix = (nodes.new(f"ShaderNode{k}") for k in ("BsdfTransparent", "BsdfGlossy", "MixShader"))
    mirror.inputs["Roughness"].default_value, mix.inputs["Fac"].default_value = 0.02, 0.06
    links.new(through.outputs["BSDF"], mix.inputs[1])
    links.new(mirror.outputs["BSDF"], mix.inputs[2])
    links.new(mix.outputs["Shader"], nodes["Material Output"].inputs["Surface"])
    return made


def _frame(shot: str, person: Person, matrices: Array, places: Array, rng: np.random.Generator) -> Framing:
    """Frame a close-up of the face, a bust, a figure to the waist, or all of it."""
    low, high = places.min(0), places.max(0)
    i = person.index["head"]
    head = matrices[i, :3, :3] @ (person.heads[i] + np.array([0, -0.02, 0.08])) + matrices[i, :3, 3]
    scale = person.height / 1.7
    if shot == "full":
        span = 1.15 * max(high[2] - low[2], high[0] - low[0]) * rng.uniform(0.9, 1.25)
        aim = (low + high) / 2
    else:
        wide, down = {"close": (0.36, 0.04), "bust": (0.72, 0.18), "waist": (1.05, 0.36)}[shot]
        span = wide * scale * rng.uniform(0.85, 1.15)
        aim = head - np.array([0, 0, down * scale])
    aim = aim + np.array([rng.normal(0, 0.07) * span, 0, rng.normal(0, 0.03) * span])
    return Framing((float(aim[0]), float(aim[1]), float(aim[2])), float(span))
