"""Render one subject after another, each alone on transparent film, as straight RGBA pictures.

Run by ``../cutouts.py`` inside Blender; made for Blender 3.4, as Debian packages it.
"""

import argparse
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Quaternion, Vector

sys.path.insert(0, str(Path(__file__).parents[2]))  # Blender's Python knows nothing of this project

from samples.render import portraits, scene
from samples.render.framing import Framing
from samples.render.meshes import Array, Library

SAMPLES = 20  # light paths a pixel, at most: what noise they leave is less than a camera's in a room


@dataclass(frozen=True)
class Panorama:
    """A place to light with."""

    path: Path
    brightness: float  # mean of its light, the sun's disc cut down so that it does not stand for all

    @classmethod
    def read(cls, path: Path) -> "Panorama":
        image = bpy.data.images.load(str(path))
        pixels = np.empty(len(image.pixels), np.float32)
        image.pixels.foreach_get(pixels)
        return cls(path, float(np.minimum(pixels.reshape(-1, 4)[:, :3], 50).mean()))


def add_subject(library: Library, traces: portraits.Traces, kind: str, rng: np.random.Generator) -> Framing:
    """Put a subject of a kind into the scene: ``person``, ``animal`` or ``thing``."""
    if kind == "person":
        return portraits.add(library, traces, rng)
    from samples.render import animals, things  # here, as a batch of people needs neither

    module = {"animal": animals, "thing": things}[kind]
    names = list(module.KINDS)
    odds = np.array([module.KINDS[name] for name in names])
    return module.add(str(rng.choice(names, p=odds / odds.sum())), rng)


def light(made: bpy.types.Scene, panoramas: list[Panorama], framing: Framing, rng: np.random.Generator) -> None:
    """A random place's light, half of the time with a lamp: from the front, the side or behind; harsh or soft."""
    place = panoramas[rng.integers(len(panoramas))]
    dim = rng.random() < 0.15
    exposure = np.log2(0.55 / place.brightness) + rng.normal(-1.3 if dim else 0.0, 0.45)
    scene.light(made, place.path, float(rng.uniform(0, 360)), float(exposure))
    made.world.cycles.sampling_method, made.world.cycles.sample_map_resolution = "MANUAL", 512
    if rng.random() < 0.5:
        return
    lamp = bpy.data.lights.new("lamp", "AREA")
    far = framing.span * rng.uniform(1.2, 2.5)
    lamp.size = far * float(rng.choice([0.1, 0.4, 1.0]))
    lamp.energy = far**2 * float(rng.lognormal(1.8, 0.6)) * (0.5 if dim else 1.0)
    warmth = rng.normal(0, 0.12)
    lamp.color = (1 + max(warmth, 0), 1, 1 + max(-warmth, 0))
    if rng.random() < 0.06:  # a coloured stage or shop light
        lamp.color = tuple(float(x) for x in rng.uniform(0.1, 1, 3))
    around = np.radians(rng.choice([rng.uniform(-50, 50), rng.uniform(60, 120), rng.uniform(240, 300), 180]))
    height = rng.uniform(-0.1, 0.8)
    held = bpy.data.objects.new("lamp", lamp)
    offset = Vector((np.sin(around), -np.cos(around), height)).normalized() * float(far)
    held.location = Vector(framing.aim) + offset
    held.rotation_euler = offset.to_track_quat("Z", "Y").to_euler()
    held.visible_camera = False  # from behind, it would be a black disc before the subject
    bpy.context.collection.objects.link(held)


def look(made: bpy.types.Scene, framing: Framing, rng: np.random.Generator) -> None:
    """A camera on the subject, as a person would hold one; sometimes out of focus in places, sometimes moving."""
    camera = scene.add_camera(made)
    camera.data.sensor_width = 36
    camera.data.clip_start = 1e-3  # a cat's nose is nearer than the 0.1 m of Blender's default
    # Nothing that a subject stretches out may reach the lens: a surface cut open shows its black inside.
    near = max(0.95 * framing.span, 0.85 if 0.25 < framing.span < 1.5 else 0.0)
    camera.data.lens = float(max(np.exp(rng.uniform(np.log(25), np.log(90))), 36 * near / framing.span))
    yaw = np.radians(framing.yaw + rng.normal(0, 12))
    tilt = rng.normal(1, 4) + rng.choice([0, rng.uniform(8, 30), rng.uniform(-20, -6)], p=[0.75, 0.16, 0.09])
    pitch = np.radians(np.clip(framing.pitch + tilt, -25, 80))
    away = Vector((np.sin(yaw) * np.cos(pitch), -np.cos(yaw) * np.cos(pitch), np.sin(pitch)))
    distance = framing.span / 2 / np.tan(camera.data.angle / 2)
    camera.location = Vector(framing.aim) + away * float(distance)
    turn = away.to_track_quat("Z", "Y")
    camera.rotation_mode = "QUATERNION"
    camera.rotation_quaternion = turn
    if rng.random() < 0.1:  # a tilted horizon
        camera.rotation_quaternion = turn @ Quaternion((0, 0, 1), np.radians(rng.normal(0, 8)))
    if rng.random() < 0.25:
        camera.data.dof.use_dof = True
        camera.data.dof.focus_distance = float(distance - rng.uniform(0, 0.15) * framing.span)
        camera.data.dof.aperture_fstop = float(np.exp(rng.uniform(np.log(1.4), np.log(5.6))))
    if rng.random() < 0.1:
        made.render.use_motion_blur = True
        across = turn @ Vector((*rng.normal(0, 0.025, 2), rng.normal(0, 0.02))) * framing.span
        middle = camera.location.copy()
        for sign, frame in ((-1, 0), (1, 2)):
            camera.location = middle + sign * across
            camera.keyframe_insert("location", frame=frame)
        for curve in camera.animation_data.action.fcurves:
            for point in curve.keyframe_points:
                point.interpolation = "LINEAR"


def smooth(path: Path) -> None:
    """Take the light paths' noise out of a picture's colour, where neighbours are alike; alpha stays as it is.

    A bilateral filter over five by five pixels that tells likeness by the blurred picture, not by the noisy one.
    """
    image = bpy.data.images.load(str(path))
    image.alpha_mode = "CHANNEL_PACKED"
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    width, height = image.size
    both = pixels.reshape(height, width, 4)
    alpha = np.pad(both[..., 3:], ((3, 3), (3, 3), (0, 0)))
    color = np.pad(both[..., :3], ((3, 3), (3, 3), (0, 0)))

    def near(values: Array, y: int, x: int) -> Array:
        return np.roll(values, (y, x), (0, 1))

    around = [(y, x, np.exp(-(y * y + x * x) / 2.2)) for y in range(-2, 3) for x in range(-2, 3)]
    cover = np.maximum(sum(near(alpha, y, x) * w for y, x, w in around), 1e-4)
    guide = sum(near(alpha * color, y, x) * w for y, x, w in around) / cover
    total, share = np.zeros_like(color), np.full_like(alpha, 1e-6)
    for y, x, w in around:
        unlike = ((near(guide, y, x) - guide) ** 2).sum(-1, keepdims=True)
        weight = near(alpha, y, x) * w * np.exp(-unlike / 0.006)
        total += weight * near(color, y, x)
        share += weight
    both[..., :3] = np.where(alpha > 0, total / share, color)[3:-3, 3:-3]
    image.pixels.foreach_set(both.ravel())
    image.save()


def render(
    number: int,
    out: Path,
    size: int,
    library: Library,
    traces: portraits.Traces,
    panoramas: list[Panorama],
    kinds: dict[str, float],
) -> None:
    """Render one picture, under a temporary name until it is whole."""
    rng = np.random.default_rng(number)
    made = scene.empty_scene(size, size, SAMPLES)
    made.render.use_motion_blur = made.render.use_persistent_data = False
    made.cycles.use_adaptive_sampling, made.cycles.adaptive_threshold = True, 0.05
    made.cycles.max_bounces = 6
    made.cycles.seed = number
    made.render.dither_intensity = 0.0
    made.render.image_settings.file_format, made.render.image_settings.color_depth = "PNG", "8"
    filmic = rng.random() < 0.5
    made.view_settings.view_transform = "Filmic" if filmic else "Standard"
    if filmic:
        made.view_settings.look = str(rng.choice(["None", "Medium High Contrast", "High Contrast"]))
    kind = str(rng.choice(list(kinds), p=np.array(list(kinds.values())) / sum(kinds.values())))
    framing = add_subject(library, traces, kind, rng)
    light(made, panoramas, framing, rng)
    look(made, framing, rng)
    part = out / ".part" / f"{number:06d}.png"
    made.render.filepath = str(part)
    bpy.ops.render.render(write_still=True)
    smooth(part)
    part.replace(out / part.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--panoramas", type=Path, required=True)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--kinds", required=True)
    parser.add_argument("--size", type=int, required=True)
    args = parser.parse_args(sys.argv[sys.argv.index("--") + 1 :])
    kinds = {name: float(odds) for name, odds in (part.split("=") for part in args.kinds.split(","))}
    library, traces = Library(args.assets), {}
    panoramas = [Panorama.read(path) for path in sorted(args.panoramas.glob("*.hdr"))]
    (args.out / ".part").mkdir(parents=True, exist_ok=True)
    failed = []
    for number in range(args.first, args.first + args.count):
        if any((args.out / f"{number:06d}{suffix}").exists() for suffix in (".png", ".webp")):
            continue
        started = time.process_time()
        try:
            render(number, args.out, args.size, library, traces, panoramas, kinds)
        except Exception:  # one bad draw in thousands is told at the end, and keeps nobody waiting
            traceback.print_exc()
            failed.append(number)
        print(f"{number:06d} took {time.process_time() - started:.1f} s", file=sys.stderr, flush=True)
    if failed:
        raise RuntimeError(f"not rendered: {failed}")


if __name__ == "__main__":
    main()
