"""The three sample clips: who or what is in them, how it moves, and where the camera looks.

Numbers only: Blender (``scene.py``) and the compositor (``../make.py``) both read the clips from here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from samples.render.meshes import Array
from samples.render.people import Look, Person, Pose

WIDTH, HEIGHT = 640, 360


@dataclass(frozen=True)
class Camera:
    """Where the camera is and looks at one instant; it never rolls."""

    position: tuple[float, float, float]  # metres
    yaw: float  # degrees, anticlockwise from above; 0 looks along +y
    pitch: float  # degrees, up
    fov: float  # degrees across the picture's width

    def rays(self, width: int, height: int) -> Array:
        """(height, width, 3) directions through the pixels' centres, not normalised."""
        half = np.tan(np.radians(self.fov) / 2)
        x = (np.arange(width) + 0.5) / width * 2 - 1
        y = (1 - (np.arange(height) + 0.5) / height * 2) * height / width
        yaw, pitch = np.radians(self.yaw), np.radians(self.pitch)
        right = np.array([np.cos(yaw), np.sin(yaw), 0])
        ahead = np.array([-np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), np.sin(pitch)])
        up = np.cross(right, ahead)
        return ahead + half * (x[None, :, None] * right + y[:, None, None] * up)


@dataclass(frozen=True)
class Clip:
    """One sample: everything a function of the time in seconds."""

    name: str
    seconds: float
    rate: int  # frames per second
    panorama: str  # a Radiance HDR file's name, without the ending
    heading: float  # degrees by which the panorama is turned about the vertical
    exposure: float  # stops, on the panorama and on its light
    defocus: float  # radius in pixels of the background's circle of confusion
    look: Look
    pose: Callable[[Person, float], Pose]
    camera: Callable[[float], Camera]
    lag: float = 0.0  # seconds by which the tips of the hair trail behind the head
    tied: float = 0.0  # metres about the middle of the head within which hair is tied down and does not trail
    samples: int = 16  # light paths a pixel
    goblet: bool = False  # a glass in the right hand
    seed: int = 0

    @property
    def frames(self) -> int:
        return round(self.seconds * self.rate)


def _sway(t: float, size: float, seed: float = 0) -> Array:
    """(2,) a hand's slow drift in degrees: a few sines that do not repeat within a clip."""
    phases = seed + np.array([[0.0, 1.3, 4.1], [2.2, 5.0, 0.7]])
    return size * (np.sin(2 * np.pi * np.array([0.31, 0.83, 1.9]) * t + phases) * (1, 0.4, 0.15)).sum(1)


def _ease(t: float, start: float, end: float) -> float:
    """0 before ``start``, 1 after ``end``, smooth between."""
    x = float(np.clip((t - start) / (end - start), 0, 1))
    return x * x * (3 - 2 * x)


def _speak(pose: Pose, t: float) -> None:
    """Open and close the jaw at the pace of syllables, and blink."""
    syllable = max(0.0, np.sin(2 * np.pi * 3.7 * t) * (0.55 + 0.45 * np.sin(2 * np.pi * 1.1 * t + 1)))
    pose.turn("jaw", (1, 0, 0), 9 * syllable + 1)
    blink = max(np.exp(-(((t - at) / 0.05) ** 2)) for at in (0.75, 1.95))
    for side in "LR":
        pose.turn(f"orbicularis03.{side}", (1, 0, 0), 24 * blink)


def _talking_pose(person: Person, t: float) -> Pose:
    pose = Pose(person)
    beat = np.sin(2 * np.pi * 1.25 * t)
    turn = -24 + 50 * _ease(t, 0.35, 0.75) - 34 * _ease(t, 1.3, 1.7)
    nod = 3 * np.sin(2 * np.pi * 1.6 * t + 0.4)
    pose.turn("spine02", (0, 0, 1), 0.25 * turn).turn("spine02", (1, 0, 0), 1.5 * np.sin(2 * np.pi * 0.5 * t))
    pose.turn("neck02", (0, 0, 1), 0.35 * turn).turn("head", (0, 0, 1), 0.55 * turn)
    pose.turn("head", (1, 0, 0), nod + 2).turn("head", (0, 1, 0), 4 * np.sin(2 * np.pi * 0.9 * t))
    lift = _ease(t, 0.1, 0.6) * (1 - 0.35 * _ease(t, 1.4, 1.9))
    pose.aim("upperarm01.L", "lowerarm01.L", (0.42 + 0.15 * lift, -0.25 - 0.2 * lift, -1 + 0.25 * lift))
    pose.aim("lowerarm01.L", "wrist.L", (0.55 - 0.2 * beat * lift, -0.75, -0.25 + 1.3 * lift + 0.2 * beat))
    pose.aim("upperarm01.R", "lowerarm01.R", (-0.4, -0.15, -1))
    pose.aim("lowerarm01.R", "wrist.R", (0.35 + 0.1 * beat, -0.9, -0.05 + 0.2 * np.sin(2 * np.pi * 0.9 * t)))
    pose.aim("wrist.L", "finger3-1.L", (0.35 - 0.25 * beat * lift, -0.55, -0.3 + 1.3 * lift))
    pose.curl("L", 12 + 5 * beat).curl("R", 24)
    _speak(pose, t)
    return pose


def _talking_camera(t: float) -> Camera:
    yaw, pitch = _sway(t, 0.35)
    return Camera((0.0, -1.75, 1.45), -1.5 + yaw, -5.0 + pitch, 37)


def _walking_pose(person: Person, t: float) -> Pose:
    pose = Pose(person)
    phase = 2 * np.pi * 0.95 * t + 0.6
    for side, shift, sign in (("L", 0.0, 1), ("R", np.pi, -1)):
        swing = np.sin(phase + shift)
        pose.turn(f"upperleg01.{side}", (1, 0, 0), -27 * swing + 2)
        pose.turn(f"lowerleg01.{side}", (1, 0, 0), 8 + 52 * max(0.0, np.cos(phase + shift - 0.1)) ** 2)
        pose.aim(f"upperarm01.{side}", f"lowerarm01.{side}", (sign * 0.22, 0.42 * swing, -1))
        pose.aim(f"lowerarm01.{side}", f"wrist.{side}", (sign * 0.02, 0.5 * swing - 0.4, -1))
        pose.curl(side, 22)
    pose.turn("spine05", (0, 0, 1), 5 * np.sin(phase)).turn("spine02", (0, 0, 1), -11 * np.sin(phase))
    pose.turn("neck02", (0, 0, 1), 5 * np.sin(phase)).turn("head", (0, 0, 1), 10 + 14 * _ease(t, 0.8, 1.4))
    pose.turn("head", (1, 0, 0), 2 + 1.5 * np.cos(2 * phase))
    away = 1.25 * (t - 1.1)
    return pose.place((away, -0.45 * away, 0.022 * np.cos(2 * phase)), 66)


def _walking_camera(t: float) -> Camera:
    away = 1.25 * (t - 1.1 - 0.06)
    yaw, pitch = _sway(t, 0.3, 3)
    follow = -np.degrees(np.arctan2(away, 2.9 - 0.45 * away))
    return Camera((0.0, -2.9, 1.3), follow + yaw, -1.0 + pitch, 43)


def _holding_pose(person: Person, t: float) -> Pose:
    pose = Pose(person)
    swirl = 2 * np.pi * 0.8 * t
    lift = _ease(t, 0.1, 1.1)
    pose.turn("spine02", (0, 0, 1), -6 * lift).turn("head", (0, 0, 1), -26).turn("head", (1, 0, 0), 8)
    pose.aim("upperarm01.R", "lowerarm01.R", (-0.45, -0.35, -0.9))
    forward = (-0.75 + 0.06 * np.cos(swirl), -0.8, 0.02 + 0.2 * lift + 0.04 * np.sin(swirl))
    pose.aim("lowerarm01.R", "wrist.R", forward)
    pose.twist("lowerarm02.R", "wrist.R", 20 + 8 * np.sin(swirl))
    pose.aim("upperarm01.L", "lowerarm01.L", (0.3, 0.0, -1)).curl("L", 20)
    pose.curl("R", 42, thumb=0.7)
    return pose


def _holding_camera(t: float) -> Camera:
    yaw, pitch = _sway(t, 0.3, 1)
    return Camera((-0.62, -1.3, 1.25), -3 + yaw, 1.0 + pitch, 32)


CLIPS = {
    clip.name: clip
    for clip in (
        Clip(
            name="talking",
            seconds=2.0,
            rate=25,
            panorama="st_fagans_interior_1k",
            heading=200,
            exposure=0.2,
            defocus=5.0,
            look=Look(
                sex="female",
                ancestry=(0.1, 0.2, 0.7),
                suit="female_casualsuit02",
                brows="eyebrow006",
                hair="long01",
                hair_color=(0.075, 0.03, 0.013),
                hair_shine=0.45,
                cloth_colors=((0.012, 0.03, 0.045), (0.01, 0.01, 0.013)),
            ),
            pose=_talking_pose,
            camera=_talking_camera,
            lag=0.16,
            seed=1,
        ),
        Clip(
            name="glass",
            seconds=2.0,
            rate=25,
            panorama="venice_sunset_1k",
            heading=0,
            exposure=0.7,
            defocus=6.0,
            look=Look(
                sex="male",
                ancestry=(0.0, 0.3, 0.7),
                suit="male_casualsuit04",
                hair=None,  # out of the picture
                cloth_colors=((0.02, 0.024, 0.035), (0.012, 0.012, 0.015)),
            ),
            pose=_holding_pose,
            camera=_holding_camera,
            samples=20,
            goblet=True,
            seed=2,
        ),
        Clip(
            name="walk",
            seconds=2.0,
            rate=25,
            panorama="potsdamer_platz_1k",
            heading=90,
            exposure=0.7,
            defocus=2.2,
            look=Look(
                sex="female",
                ancestry=(0.75, 0.1, 0.15),
                suit="female_casualsuit01",
                hair="ponytail01",
                hair_color=(0.014, 0.009, 0.007),
                cloth_colors=((0.16, 0.02, 0.018), (0.016, 0.02, 0.035)),
            ),
            pose=_walking_pose,
            camera=_walking_camera,
            lag=0.2,
            tied=0.12,
            samples=12,
            seed=3,
        ),
    )
}
