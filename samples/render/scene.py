"""Render a clip's subject alone, on transparent film, with Blender's Cycles.

    blender -b -noaudio -P samples/render/scene.py -- talking --assets DIR --panoramas DIR --out DIR

writes ``DIR/talking.0000.exr`` and so on: linear RGB premultiplied by alpha, half float. Made for Blender 3.4,
as Debian packages it; needs numpy in Blender's Python (python3-numpy).
"""

import argparse
import sys
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # Blender's Python knows nothing of this project

from samples.render import goblet, hair, materials
from samples.render.clips import CLIPS, HEIGHT, WIDTH, Camera, Clip
from samples.render.meshes import Array, Library
from samples.render.people import Person, build, deform

SHUTTER = 0.5  # of a frame: the usual 180 degrees, half of it on either side of the frame's time


def empty_scene(width: int, height: int, samples: int) -> bpy.types.Scene:
    """A scene for Cycles on one thread: transparent film, no denoiser, one picture with a moving subject."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.film_transparent = True
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.render.use_persistent_data = True
    scene.render.use_motion_blur, scene.render.motion_blur_shutter = True, 1.0
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode = "OPEN_EXR", "RGBA"
    settings.color_depth, settings.exr_codec = "16", "ZIP"
    cycles = scene.cycles
    cycles.samples, cycles.use_adaptive_sampling, cycles.use_denoising = samples, False, False
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 8, 1, 1
    cycles.transparent_max_bounces, cycles.transmission_bounces = 8, 8
    cycles.film_transparent_glass, cycles.film_transparent_roughness = True, 0.2
    cycles.sample_clamp_direct, cycles.sample_clamp_indirect = 8.0, 2.0  # fewer fireflies at few samples
    scene.cycles_curves.shape = "RIBBONS"
    scene.frame_set(1)
    return scene


def light(scene: bpy.types.Scene, panorama: Path, heading: float, exposure: float) -> None:
    """Light the scene with a panorama turned by ``heading`` degrees, at ``exposure`` stops."""
    world = bpy.data.worlds.new("panorama")
    scene.world, world.use_nodes = world, True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    picture, turn, place = (nodes.new(f"ShaderNode{k}") for k in ("TexEnvironment", "Mapping", "TexCoord"))
    picture.image = bpy.data.images.load(str(panorama))
    turn.inputs["Rotation"].default_value = (0, 0, -np.radians(heading))
    links.new(place.outputs["Generated"], turn.inputs["Vector"])
    links.new(turn.outputs["Vector"], picture.inputs["Vector"])
    links.new(picture.outputs["Color"], nodes["Background"].inputs["Color"])
    nodes["Background"].inputs["Strength"].default_value = 2.0**exposure


class Body:
    """An object whose points move in a straight line while the shutter is open."""

    def __init__(self, name: str, mesh: bpy.types.Mesh) -> None:
        self.object = bpy.data.objects.new(name, mesh)
        bpy.context.collection.objects.link(self.object)
        self.before = self.object.shape_key_add(name="before", from_mix=False)
        self.after = self.object.shape_key_add(name="after", from_mix=False)
        for value, frame in ((0.0, 0), (1.0, 2)):
            self.after.value = value
            self.after.keyframe_insert("value", frame=frame)
        for curve in mesh.shape_keys.animation_data.action.fcurves:
            for point in curve.keyframe_points:
                point.interpolation = "LINEAR"

    def move(self, before: Array, after: Array) -> None:
        """Set (V, 3) points half a frame before and half a frame after the one rendered."""
        self.before.data.foreach_set("co", before.astype(np.float32).ravel())
        self.after.data.foreach_set("co", after.astype(np.float32).ravel())
        self.object.data.update()


def _attribute(mesh: bpy.types.Mesh, name: str, kind: str, values: Array) -> None:
    field = {"FLOAT": "value", "FLOAT_VECTOR": "vector", "FLOAT_COLOR": "color"}[kind]
    mesh.attributes.new(name, kind, "POINT").data.foreach_set(field, values.astype(np.float32).ravel())


def add_surface(
    kind: str, vertices: Array, faces: list[list[int]], colors: Array | None, made: bpy.types.Material
) -> Body:
    """A smooth mesh in the rest pose; skin is subdivided once, as faces are seen from close by."""
    mesh = bpy.data.meshes.new(kind)
    mesh.from_pydata(vertices.tolist(), [], faces)
    mesh.polygons.foreach_set("use_smooth", np.ones(len(faces), bool))
    if colors is not None:
        _attribute(mesh, "paint", "FLOAT_COLOR", np.c_[colors, np.ones(len(colors))])
        _attribute(mesh, "rest", "FLOAT_VECTOR", vertices)
    mesh.materials.append(made)
    body = Body(kind, mesh)
    if kind in ("skin", "glass", "drink"):
        body.object.modifiers.new("smooth", "SUBSURF").render_levels = 1
    return body


def add_strands(tuft: hair.Strands, shine: float) -> Body:
    """Strands as a mesh of edges that geometry nodes turn into Cycles' own curves.

    The nodes sit on an empty Curves object and fetch the mesh: on the mesh itself they would yield a legacy curve,
    which Cycles does not draw as hair.
    """
    count, length = tuft.points.shape[:2]
    mesh = bpy.data.meshes.new(tuft.kind)
    start = np.arange(count * length).reshape(count, length)
    edges = np.stack([start[:, :-1], start[:, 1:]], -1).reshape(-1, 2)
    mesh.from_pydata(tuft.points.reshape(-1, 3).tolist(), edges.tolist(), [])
    _attribute(mesh, "paint", "FLOAT_COLOR", np.c_[tuft.colors.reshape(-1, 3), np.ones(count * length)])
    _attribute(mesh, "thickness", "FLOAT", tuft.radii)
    made = materials.strands(tuft.kind, shine)
    body = Body(tuft.kind, mesh)
    tree = bpy.data.node_groups.new(tuft.kind, "GeometryNodeTree")
    tree.inputs.new("NodeSocketGeometry", "Geometry")
    tree.outputs.new("NodeSocketGeometry", "Geometry")
    fetch, curve, thick, radius, cover, out = (
        tree.nodes.new(k)
        for k in (
            *("GeometryNodeObjectInfo", "GeometryNodeMeshToCurve", "GeometryNodeInputNamedAttribute"),
            *("GeometryNodeSetCurveRadius", "GeometryNodeSetMaterial", "NodeGroupOutput"),
        )
    )
    fetch.inputs["Object"].default_value = body.object
    thick.data_type, thick.inputs["Name"].default_value = "FLOAT", "thickness"
    cover.inputs["Material"].default_value = made
    tree.links.new(fetch.outputs["Geometry"], curve.inputs["Mesh"])
    tree.links.new(curve.outputs["Curve"], radius.inputs["Curve"])
    tree.links.new(next(o for o in thick.outputs if o.enabled and o.type == "VALUE"), radius.inputs["Radius"])
    tree.links.new(radius.outputs["Curve"], cover.inputs["Geometry"])
    tree.links.new(cover.outputs["Geometry"], out.inputs[0])
    drawn = bpy.data.objects.new(f"{tuft.kind} curves", bpy.data.hair_curves.new(tuft.kind))
    drawn.data.materials.append(made)
    bpy.context.collection.objects.link(drawn)
    drawn.modifiers.new("curves", "NODES").node_group = tree
    return body


def add_camera(scene: bpy.types.Scene) -> bpy.types.Object:
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    bpy.context.collection.objects.link(camera)
    scene.camera = camera
    return camera


def aim_camera(camera: bpy.types.Object, before: Camera, after: Camera) -> None:
    """Move the camera through the open shutter as the subject is."""
    camera.animation_data_clear()
    for view, frame in ((before, 0), (after, 2)):
        camera.location = view.position
        camera.rotation_euler = (np.radians(90 + view.pitch), 0, np.radians(view.yaw))
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_euler", frame=frame)
    for curve in camera.animation_data.action.fcurves:
        for point in curve.keyframe_points:
            point.interpolation = "LINEAR"
    camera.data.angle = np.radians(before.fov)


def posed_strands(clip: Clip, person: Person, tuft: hair.Strands, t: float) -> Array:
    """(N, K, 3) strands at ``t``, their tips trailing where the clip has them trail."""
    steps = 4 if clip.lag and tuft.kind == "hair" else 1
    now = clip.pose(person, t)
    history = []
    for step in range(steps):
        then = clip.pose(person, t - clip.lag * step / max(steps - 1, 1))
        # Walking on at an even pace does not make hair stream out behind; only turning and bobbing do.
        carried = (now.offset - then.offset) * (0.9, 0.9, 0.0)
        history.append(deform(tuft.points, tuft.skin, then.matrices()) + carried)
    slack = tuft.along[None] ** 1.5
    if clip.tied:
        middle = (person.joint("head") + person.tails[person.index["head"]]) / 2
        slack = slack * np.clip((np.linalg.norm(tuft.points - middle, axis=-1) - clip.tied) / 0.1, 0, 1)
    return hair.trailing(history, slack)


def grip(person: Person, matrices: Array) -> Array:
    """(4, 4) what stands at the origin, put upright into the right hand's closed fingers."""

    def joint(name: str) -> Array:
        i = person.index[name]
        return matrices[i, :3, :3] @ person.heads[i] + matrices[i, :3, 3]

    up = joint("finger2-2.R") - joint("finger5-2.R")
    up = 0.4 * up / np.linalg.norm(up) + (0, 0, 0.6)  # a hand keeps a full glass more upright than itself
    up /= np.linalg.norm(up)
    centre = np.mean([joint(f"finger{f}-{k}.R") for f in (2, 3, 4, 5) for k in (1, 3)], axis=0)
    side = np.cross(up, (0, 1, 0))
    side /= np.linalg.norm(side)
    held = np.eye(4)
    held[:3, :3] = np.c_[side, np.cross(up, side), up]
    held[:3, 3] = centre
    return held


def held_points(clip: Clip, person: Person, points: Array, t: float) -> Array:
    held = grip(person, clip.pose(person, t).matrices())
    return (points - (0, 0, 0.06)) @ held[:3, :3].T + held[:3, 3]


def render_clip(clip: Clip, assets: Path, panoramas: Path, out: Path, frames: range, scale: float) -> None:
    """Render the chosen frames; ``scale`` shrinks the picture for a quick look."""
    rng = np.random.default_rng(clip.seed)
    person = build(Library(assets), clip.look, rng)
    scene = empty_scene(round(WIDTH * scale), round(HEIGHT * scale), clip.samples)
    light(scene, panoramas / f"{clip.panorama}.hdr", clip.heading, clip.exposure)
    surfaces = [
        (s, add_surface(s.kind, s.vertices, s.faces, s.colors, materials.solid(s.kind, rng))) for s in person.surfaces
    ]
    tufts = [(tuft, add_strands(tuft, clip.look.hair_shine)) for tuft in person.strands]
    held = []
    if clip.goblet:
        for kind, profile, made in (
            ("glass", goblet.GLASS, materials.glass()),
            ("drink", goblet.DRINK, materials.drink()),
        ):
            points, faces = goblet.lathe(profile)
            held.append((points, add_surface(kind, points, faces, None, made)))
    camera = add_camera(scene)
    for frame in frames:
        # Blender's frames 0 and 2 are the keys, and its shutter opens for the middle half, from 0.5 to 1.5.
        times = [(frame + shift) / clip.rate for shift in (-SHUTTER, SHUTTER)]
        matrices = [clip.pose(person, t).matrices() for t in times]
        for surface, body in surfaces:
            body.move(*(deform(surface.vertices, surface.skin, m) for m in matrices))
        for tuft, body in tufts:
            body.move(*(posed_strands(clip, person, tuft, t).reshape(-1, 3) for t in times))
        for points, body in held:
            body.move(*(held_points(clip, person, points, t) for t in times))
        aim_camera(camera, *(clip.camera(t) for t in times))
        scene.cycles.seed = 1000 * clip.seed + frame
        scene.render.filepath = str(out / f"{clip.name}.{frame:04d}.exr")
        bpy.ops.render.render(write_still=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", choices=CLIPS)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--panoramas", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="render only every n-th frame")
    parser.add_argument("--scale", type=float, default=1.0)
    args = parser.parse_args(sys.argv[sys.argv.index("--") + 1 :])
    args.out.mkdir(parents=True, exist_ok=True)
    clip = CLIPS[args.clip]
    render_clip(clip, args.assets, args.panoramas, args.out, range(0, clip.frames, args.every), args.scale)


if __name__ == "__main__":
    main()
