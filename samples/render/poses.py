"""What people do with themselves in front of a camera: random poses, built from reaches, turns and expressions."""

from collections.abc import Callable

import numpy as np

from samples.render.meshes import Array
from samples.render.people import Person, Pose

SIGN = {"L": 1, "R": -1}


def _vec(x: float, y: float, z: float) -> Array:
    return np.array([x, y, z], float)


def posed(pose: Pose, bone: str) -> Array:
    """(3,) where a bone's joint is in a pose, in the person's own axes (without their place and heading)."""
    matrices = pose.matrices()
    i = pose.person.index[bone]
    point = matrices[i, :3, :3] @ pose.person.heads[i] + matrices[i, :3, 3]
    root = pose.turns[0]
    return root.T @ (point - pose.offset)


def reach(pose: Pose, side: str, target: Array, *, out: float = 0.4, back: float = 0.2) -> Pose:
    """Bring a wrist to ``target`` (3,), in the person's own axes, or as near as the arm's length lets it.

    Args:
        out: How far the elbow leans away from the body.
        back: How far it leans behind it. Downwards counts 1.
    """
    upper, lower, wrist = (f"{name}.{side}" for name in ("upperarm01", "lowerarm01", "wrist"))
    joint = pose.person.joint
    a, b = (float(np.linalg.norm(joint(y) - joint(x))) for x, y in ((upper, lower), (lower, wrist)))
    shoulder = posed(pose, upper)
    line = target - shoulder
    distance = float(np.clip(np.linalg.norm(line), abs(a - b) * 1.05 + 0.02, (a + b) * 0.995))
    along = line / np.linalg.norm(line)
    share = (a * a - b * b + distance * distance) / (2 * distance)
    lean = np.array([out * SIGN[side], back, -1.0])
    lean -= along * (lean @ along)
    lean /= np.linalg.norm(lean)
    elbow = shoulder + along * share + lean * np.sqrt(max(a * a - share * share, 0))
    pose.aim(upper, lower, elbow - shoulder)
    return pose.aim(lower, wrist, shoulder + along * distance - elbow)


def point_hand(pose: Pose, side: str, direction: Array, roll: float = 0.0) -> Pose:
    """Point the fingers along a direction in the person's own axes, the hand rolled by ``roll`` degrees."""
    pose.twist(f"lowerarm02.{side}", f"wrist.{side}", roll)
    return pose.aim(f"wrist.{side}", f"finger3-1.{side}", direction)


def _face(pose: Pose) -> tuple[Array, float]:
    """The point between the eyes, and the distance between them."""
    left, right = posed(pose, "eye.L"), posed(pose, "eye.R")
    return (left + right) / 2, float(np.linalg.norm(left - right))


def _hang(pose: Pose, side: str, rng: np.random.Generator) -> None:
    s = SIGN[side]
    pose.aim(f"upperarm01.{side}", f"lowerarm01.{side}", (s * rng.uniform(0.12, 0.4), rng.normal(0, 0.15), -1))
    pose.aim(f"lowerarm01.{side}", f"wrist.{side}", (s * rng.normal(0.05, 0.1), rng.uniform(-0.6, 0.0), -1))
    pose.curl(side, rng.uniform(12, 40))


def _gesture(pose: Pose, side: str, rng: np.random.Generator) -> None:
    s = SIGN[side]
    chest = posed(pose, f"upperarm01.{side}")
    target = chest + _vec(s * rng.uniform(-0.12, 0.25), rng.uniform(-0.42, -0.22), rng.uniform(-0.3, 0.1))
    reach(pose, side, target, out=rng.uniform(0.2, 0.8))
    point_hand(pose, side, np.array([-s * rng.uniform(-0.3, 0.7), -0.6, rng.uniform(-0.2, 1)]), rng.normal(0, 40))
    pose.curl(side, rng.uniform(0, 45), thumb=rng.uniform(0, 0.8))


def _hip(pose: Pose, side: str, rng: np.random.Generator) -> None:
    s = SIGN[side]
    target = posed(pose, f"upperleg01.{side}") + _vec(s * 0.1, -0.02, 0.13)
    reach(pose, side, target, out=1.6, back=0.6)
    point_hand(pose, side, np.array([-s * 0.5, -0.6, -0.5])).curl(side, 30)


def _face_touch(pose: Pose, side: str, rng: np.random.Generator) -> None:
    s = SIGN[side]
    face, size = _face(pose)
    spot = face + size * np.array([s * rng.uniform(0.2, 1.2), -0.7, rng.uniform(-2.6, 0.6)])
    direction = np.array([-s * 0.35, 0.35, 1.0])
    reach(pose, side, spot - 0.13 * direction, out=rng.uniform(0.3, 0.9))
    point_hand(pose, side, direction, s * rng.uniform(-30, 60)).curl(side, rng.uniform(10, 55))


def _wave(pose: Pose, side: str, rng: np.random.Generator) -> None:
    s = SIGN[side]
    face, _ = _face(pose)
    reach(
        pose, side, face + _vec(s * rng.uniform(0.25, 0.45), rng.uniform(-0.3, -0.1), rng.uniform(-0.2, 0.25)), out=1.0
    )
    point_hand(pose, side, np.array([s * rng.uniform(-0.4, 0.4), -0.1, 1]), s * rng.uniform(-30, 60))
    pose.curl(side, rng.uniform(0, 15), thumb=0.2)


def _raise(pose: Pose, side: str, rng: np.random.Generator) -> None:
    s = SIGN[side]
    pose.turn(f"clavicle.{side}", (0, 1, 0), -s * 15)
    pose.aim(f"upperarm01.{side}", f"lowerarm01.{side}", (s * rng.uniform(0.3, 1), rng.normal(-0.1, 0.2), 1))
    pose.aim(f"lowerarm01.{side}", f"wrist.{side}", (s * rng.normal(0.1, 0.4), rng.normal(-0.1, 0.2), 1))
    pose.curl(side, rng.choice([5, 75]))


def _forward(pose: Pose, side: str, rng: np.random.Generator) -> None:
    s = SIGN[side]
    chest = posed(pose, f"upperarm01.{side}")
    reach(pose, side, chest + _vec(-s * rng.uniform(-0.2, 0.1), -rng.uniform(0.4, 0.6), rng.uniform(-0.2, 0.1)))
    pose.curl(side, rng.uniform(0, 40))


def _spread(pose: Pose, side: str, rng: np.random.Generator) -> None:
    s = SIGN[side]
    pose.aim(f"upperarm01.{side}", f"lowerarm01.{side}", (s, rng.uniform(-0.5, 0.1), rng.uniform(-0.5, 0.2)))
    pose.aim(f"lowerarm01.{side}", f"wrist.{side}", (s, rng.uniform(-0.8, 0), rng.uniform(-0.2, 0.7)))
    pose.curl(side, rng.uniform(0, 30))


ARMS: dict[Callable[[Pose, str, np.random.Generator], None], float] = {
    _hang: 0.34,
    _gesture: 0.26,
    _hip: 0.08,
    _face_touch: 0.1,
    _wave: 0.06,
    _raise: 0.05,
    _forward: 0.06,
    _spread: 0.05,
}


def _crossed(pose: Pose, rng: np.random.Generator) -> None:
    """Arms folded before the chest, one forearm over the other."""
    for side, near, up in (("L", 0.0, 0.02), ("R", -0.06, -0.02)):
        s = SIGN[side]
        chest = (posed(pose, "upperarm01.L") + posed(pose, "upperarm01.R")) / 2
        reach(pose, side, chest + _vec(-s * 0.12, -0.2 + near, -0.2 + up), out=0.7, back=-0.4)
        point_hand(pose, side, np.array([-s, 0.1, 0.1])).curl(side, 30)


def _hold_phone(pose: Pose, rng: np.random.Generator) -> None:
    """Before the face, or at the ear."""
    face, size = _face(pose)
    if rng.random() < 0.5:
        reach(pose, "R", face + _vec(rng.uniform(-0.15, -0.02), -0.33, rng.uniform(-0.4, -0.15)), out=0.5)
        point_hand(pose, "R", _vec(0.3, -0.5, 1), -20).curl("R", 32)
    else:
        direction = _vec(0.15, 0.35, 1)
        reach(pose, "R", face + _vec(-1.35 * size, 0.25 * size, -1.9 * size) - 0.02 * direction, out=0.9)
        point_hand(pose, "R", direction, -30).curl("R", 32)


def _hold_cup(pose: Pose, rng: np.random.Generator) -> None:
    """Before the chest, or at the lips."""
    if rng.random() < 0.3:
        face, size = _face(pose)
        reach(pose, "R", face + _vec(-1.3 * size, -2.0 * size, -2.4 * size), out=0.8)
        direction = _vec(0.9, 0.1, 0.35)
    else:
        chest = posed(pose, "upperarm01.R")
        reach(pose, "R", chest + _vec(rng.uniform(-0.1, 0.1), rng.uniform(-0.4, -0.25), rng.uniform(-0.3, -0.08)))
        direction = _vec(0.4, -1, 0.1)
    point_hand(pose, "R", direction, rng.uniform(-10, 25)).curl("R", 40, thumb=0.7)


def _hold_box(pose: Pose, rng: np.random.Generator) -> None:
    """Between both hands, before the belly."""
    wide, down = rng.uniform(0.11, 0.2), rng.uniform(-0.35, -0.12)
    middle = (posed(pose, "upperarm01.L") + posed(pose, "upperarm01.R")) / 2
    for side in "LR":
        reach(pose, side, middle + _vec(SIGN[side] * wide, -0.33, down), out=0.6)
        point_hand(pose, side, _vec(0, -1, 0.1)).curl(side, 8)


HELD = {"phone": _hold_phone, "cup": _hold_cup, "box": _hold_box}


def _arms(pose: Pose, rng: np.random.Generator) -> str | None:
    """Do something with the arms; what is held in them is given back."""
    if rng.random() < 0.16:
        kind = str(rng.choice(list(HELD)))
        if kind != "box":
            (_hang if rng.random() < 0.5 else _hip if rng.random() < 0.5 else _gesture)(pose, "L", rng)
        HELD[kind](pose, rng)
        return kind
    if rng.random() < 0.08:
        _crossed(pose, rng)
        return None
    kinds, odds = list(ARMS), np.array(list(ARMS.values()))
    first = kinds[rng.choice(len(kinds), p=odds / odds.sum())]
    second = first if rng.random() < 0.4 else kinds[rng.choice(len(kinds), p=odds / odds.sum())]
    sides = ["L", "R"] if rng.random() < 0.5 else ["R", "L"]
    for side, kind in zip(sides, (first, second), strict=True):
        kind(pose, side, rng)
    return None


def _stand(pose: Pose, rng: np.random.Generator) -> None:
    for side in "LR":
        pose.turn(f"upperleg01.{side}", (0, 1, 0), SIGN[side] * rng.normal(0, 4))
        bend = max(rng.normal(0, 7), 0)
        pose.turn(f"upperleg01.{side}", (1, 0, 0), -bend).turn(f"lowerleg01.{side}", (1, 0, 0), 2 * bend)


def _stride(pose: Pose, rng: np.random.Generator) -> None:
    """Walking or running, at any moment of a step, with the arms that go with it."""
    run = rng.random() < 0.35
    phase = rng.uniform(0, 2 * np.pi)
    far, knee, elbow = (48, 85, 1.3) if run else (27, 52, 0.4)
    for side, shift in (("L", 0.0), ("R", np.pi)):
        s, swing = SIGN[side], np.sin(phase + shift)
        pose.turn(f"upperleg01.{side}", (1, 0, 0), -far * swing - (8 if run else 0))
        pose.turn(f"lowerleg01.{side}", (1, 0, 0), 8 + knee * max(0.0, np.cos(phase + shift - 0.1)) ** 2)
        pose.aim(f"upperarm01.{side}", f"lowerarm01.{side}", (s * 0.22, far / 60 * swing, -1))
        pose.aim(f"lowerarm01.{side}", f"wrist.{side}", (-s * 0.05, 0.5 * swing - elbow, -0.3 if run else -1))
        pose.curl(side, 50 if run else 25)
    pose.turn("spine02", (0, 0, 1), -11 * np.sin(phase)).turn("spine05", (1, 0, 0), 10 if run else 3)


def _sit(pose: Pose, rng: np.random.Generator) -> None:
    apart, knee = rng.uniform(0, 16), rng.uniform(75, 105)
    crossed = rng.random() < 0.25
    for side in "LR":
        over = crossed and side == "R"
        pose.turn(f"upperleg01.{side}", (1, 0, 0), -92 if over else -84)
        pose.turn(f"upperleg01.{side}", (0, 0, 1), 14 if over else SIGN[side] * apart)
        pose.turn(f"lowerleg01.{side}", (1, 0, 0), 70 if over else knee)


def _express(pose: Pose, rng: np.random.Generator) -> None:
    """Speak, blink, frown or smile a little."""
    if rng.random() < 0.55:
        pose.turn("jaw", (1, 0, 0), rng.uniform(1, 13))
    blink = rng.choice([0, rng.uniform(0, 10), 24], p=[0.6, 0.3, 0.1])
    brow, smile = rng.normal(0, 5), rng.uniform(-2, 10)
    for side in "LR":
        pose.turn(f"orbicularis03.{side}", (1, 0, 0), blink)
        pose.turn(f"oculi01.{side}", (1, 0, 0), brow)
        pose.turn(f"oris03.{side}", (0, 1, 0), -SIGN[side] * smile)
        pose.turn(f"oris07.{side}", (0, 1, 0), -SIGN[side] * smile)


def draw(person: Person, rng: np.random.Generator, *, upper: bool) -> tuple[Pose, str | None, bool]:
    """A random pose, what is held in it ("phone", "cup", "box" or None), and whether it is seated. The person turns as
    they like, mostly to the camera, also to the side and away.

    Args:
        upper: Only the upper half is seen, so that the legs may stay as they are.
    """
    holds = None
    pose = Pose(person)
    heading = rng.choice([rng.normal(0, 22), rng.uniform(50, 130), rng.uniform(-130, -50), rng.normal(180, 30)],
                         p=[0.7, 0.1, 0.1, 0.1])  # fmt: skip
    pose.place((0, 0, 0), heading)
    pose.turn("spine05", (1, 0, 0), rng.normal(1, 5)).turn("spine03", (0, 1, 0), rng.normal(0, 4))
    pose.turn("spine02", (0, 0, 1), rng.normal(0, 7)).turn("spine02", (1, 0, 0), rng.normal(2, 4))
    to_camera = np.clip(-((heading + 180) % 360 - 180), -60, 60) * (rng.random() < 0.6)
    turn = to_camera + rng.normal(0, 12)
    nod, tilt = rng.normal(2, 8), rng.normal(0, 6)
    pose.turn("neck02", (0, 0, 1), 0.4 * turn).turn("neck02", (1, 0, 0), 0.4 * nod)
    pose.turn("head", (0, 0, 1), 0.6 * turn).turn("head", (1, 0, 0), 0.6 * nod).turn("head", (0, 1, 0), tilt)
    legs = rng.choice(["stand", "stride", "sit"], p=[0.5, 0.3, 0.2])
    if legs == "stride" and not upper:
        _stride(pose, rng)
    else:
        if not upper:
            (_sit if legs == "sit" else _stand)(pose, rng)
        holds = _arms(pose, rng)
    _express(pose, rng)
    return pose, holds, legs == "sit" and not upper
