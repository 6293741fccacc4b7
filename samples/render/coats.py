"""What an animal's coat looks like: where it is which colour, how long the fur is there and how it lies."""

import numpy as np

from samples.render import shapes
from samples.render.meshes import Array
from samples.render.shapes import at

FURS = {
    "black": (0.012, 0.011, 0.011),
    "grey": (0.11, 0.11, 0.12),
    "silver": (0.35, 0.35, 0.36),
    "white": (0.72, 0.69, 0.64),
    "cream": (0.6, 0.45, 0.28),
    "ginger": (0.5, 0.19, 0.045),
    "brown": (0.14, 0.07, 0.035),
    "fawn": (0.35, 0.2, 0.1),
}
IRISES = {
    "cat": ((0.35, 0.5, 0.08), (0.6, 0.4, 0.04), (0.7, 0.25, 0.03), (0.2, 0.45, 0.65), (0.2, 0.4, 0.15)),
    "brown": ((0.06, 0.022, 0.01), (0.12, 0.05, 0.02), (0.02, 0.01, 0.008), (0.2, 0.4, 0.6)),
}


def iris(kind: str, rng: np.random.Generator) -> Array:
    """(3,) an iris' colour, linear RGB."""
    tints = IRISES[kind]
    odds = np.array([3.0] * (len(tints) - 1) + [1.0])
    return np.array(tints[rng.choice(len(tints), p=odds / odds.sum())]) * rng.uniform(0.7, 1.1)


def whiskers(nose: Array, width: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """(N, 8, 3) whiskers in the head's own place, and (N, 8, 3) their colours."""
    strands = []
    for side in (-1, 1):
        for _ in range(11):
            start = nose + at(side * rng.uniform(0.16, 0.34) * width, rng.uniform(0.05, 0.2), rng.uniform(-0.28, -0.08))
            out = np.array([side, rng.uniform(-0.25, 0.35), rng.normal(0.05, 0.25)]) * rng.uniform(0.9, 1.7)
            t = np.linspace(0, 1, 8)[:, None]
            strands.append(start + t * out + t**2 * (0, 0.25, -0.25))
    return np.array(strands), np.full((len(strands), 8, 3), float(rng.choice([0.8, 0.8, 0.03])))


def _step(x: Array, edge: float = 0.0, soft: float = 0.15) -> Array:
    """(N, 1) from 0 to 1 where ``x`` passes ``edge``."""
    return np.clip((x - edge) / soft + 0.5, 0, 1)[:, None]


class Coat:
    """An animal's coat. Points are in its own units (radii of the skull); heads face −y before they are turned."""

    def __init__(
        self,
        pattern: str,
        species: str,
        middle: Array,
        turn: Array,
        ears: list[tuple[shapes.Surface, Array, Array, float]],
        eyes: list[Array],
        eye: float,
        nose: Array,
        tail: list[Array],
        girth: float,
        rng: np.random.Generator,
    ) -> None:
        self.pattern, self.species, self.middle, self.turn = pattern, species, middle, turn
        self.ears, self.eyes, self.eye, self.nose, self.tail = ears, eyes, eye, nose, np.array(tail)
        self.girth, self.length = girth, 0.0
        names = list(FURS)
        self.base, self.dark, self.light = self._palette(names, rng)
        self.white = rng.random() < 0.6  # chin, chest and belly are light
        self.coarse, self.fine, self.third = shapes.waves(rng, 2.2), shapes.waves(rng, 0.8), shapes.waves(rng, 1.8)
        self.pitch = float(rng.uniform(5, 9))  # of stripes
        self.sock = float(rng.choice([0.0, 0.0, 0.8, 1.4]))
        self.curl = species == "sheep"
        pink = rng.random() < 0.5 and pattern not in ("monkey", "panda") and species in ("cat", "rabbit", "mouse")
        self.nose_color = np.array((0.5, 0.22, 0.2)) if pink else np.array((0.015, 0.013, 0.013))

    def _palette(self, names: list[str], rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """The main colour, a second one and a light one."""

        def fur(*choice: str) -> Array:
            return np.array(FURS[str(rng.choice(choice))]) * rng.uniform(0.75, 1.25)

        if self.species == "elephant":
            grey = np.array((0.16, 0.145, 0.135)) * rng.uniform(0.6, 1.4)
            return grey, grey * 0.8, grey * 1.1
        if self.species == "fox":
            return fur("ginger"), fur("black", "brown"), fur("white")
        if self.pattern == "panda":
            return fur("white", "silver", "grey"), fur("black"), fur("white")
        if self.pattern == "points":
            return fur("cream", "white", "fawn", "silver"), fur("black", "brown", "grey"), fur("white", "cream")
        if self.pattern == "tabby":
            base = str(rng.choice(["grey", "silver", "fawn", "ginger", "cream"]))
            main = np.array(FURS[base])
            return main, main * 0.22 if base != "cream" else fur("ginger"), fur("white", "cream")
        if self.pattern == "patches":
            return fur("white", "cream", "white"), fur("black", "grey", "brown", "ginger"), fur("white")
        if self.pattern == "spots":
            return fur("white", "fawn", "ginger"), fur("black", "brown"), fur("white")
        if self.pattern == "lion":
            return fur("fawn", "cream"), fur("brown", "ginger", "black"), fur("cream")
        if self.pattern == "sheep":
            return fur("white", "cream", "white", "black"), fur("black", "white", "cream"), fur("white")
        if self.pattern == "monkey":
            return (
                fur("brown", "black", "grey", "ginger"),
                np.array((0.3, 0.16, 0.11)) * rng.uniform(0.3, 1.6),
                fur("fawn"),
            )
        return fur(*names), fur("black", "brown", "grey"), fur("white", "cream")

    def head(self, points: Array) -> Array:
        """(N, 3) points in the head's own place."""
        return (points - self.middle) @ self.turn

    def _on_ear(self, q: Array) -> tuple[Array, Array]:
        """(N,) whether on an ear, and whether near its midline."""
        on, within = np.zeros(len(q), bool), np.zeros(len(q), bool)
        for _, base, end, radius in self.ears:
            axis = end - base
            t = (q - base) @ axis / (axis @ axis)
            off = np.linalg.norm(q - base - np.clip(t, 0, 1)[:, None] * axis, axis=1)
            on |= (off < radius * 1.05) & (t > 0.1)
            within |= (off < radius * 0.6 * np.clip(1.1 - t, 0.3, 1)) & (t > 0.12) & (t < 0.85)
        return on, within

    def color(self, points: Array, normals: Array) -> Array:
        """(N, 3) linear RGB on the skin."""
        q = self.head(points)
        n = normals @ self.turn
        ahead = np.linalg.norm(q, axis=1) < 1.9
        ear, inner = self._on_ear(q)
        color = np.broadcast_to(self.base, points.shape) * (1 + 0.12 * self.fine(points)[:, None])
        from_tail = np.linalg.norm(points[:, None] - self.tail[None, ::3], axis=2).min(1)
        on_tail = (from_tail < 0.75) & (points[:, 1] > self.tail[0, 1] - 0.1)
        low = _step(-points[:, 2], -0.9 * self.girth, 0.5)
        if self.pattern == "tabby":
            across = np.where(
                ahead,
                np.where(q[:, 2] > 0.35, 1.7 * q[:, 0], 1.1 * q[:, 2] + 0.6 * q[:, 1]),
                points[:, 1] + 0.4 * points[:, 2],
            )
            stripe = np.sin(self.pitch * across + 1.1 * self.coarse(points)) + 0.4 * self.fine(points)
            color = color + (self.dark - color) * _step(stripe, 0.15, 0.7) * 0.85
        elif self.pattern == "patches":
            color = color + (self.dark - color) * _step(self.coarse(points), 0.25, 0.12)
            if self.white:
                second = np.clip(self.dark * (2.5, 1.4, 0.8) + (0.12, 0.04, 0.0), 0, 0.6)
                color = color + (second - color) * _step(self.third(points), 0.95, 0.12)
        elif self.pattern == "spots":
            color = color + (self.dark - color) * _step(self.fine(points * 1.6), 0.95, 0.12)
        elif self.pattern == "points":
            mask = np.exp(-np.sum((q - self.nose) ** 2, 1) / 0.55)[:, None]
            where = np.maximum(np.maximum(mask, low * 0.8), (ear | on_tail)[:, None] * 0.9)
            color = color + (self.dark - color) * where
        elif self.pattern == "panda":
            rings = np.min([np.linalg.norm(q - e * (1.05, 1, 0.93), axis=1) for e in self.eyes], axis=0)
            ringed = on_tail & (np.sin(points[:, 1] * 5 + points[:, 2] * 3) > 0)
            where = np.maximum(_step(-rings, -0.42, 0.1), (ear | ringed)[:, None])
            where = np.maximum(where, low * (self.species == "bear"))
            color = color + (self.dark - color) * where
        elif self.pattern == "lion":
            tuft = np.linalg.norm(points - self.tail[-1], axis=1) < 0.6
            color = color + (self.dark - color) * np.maximum(self._mane(q)[:, None], tuft[:, None])
        elif self.pattern in ("monkey", "sheep"):
            face = _step(-q[:, 1], 0.62, 0.15) * _step(-np.abs(q[:, 0]), -0.72, 0.15) * _step(-q[:, 2], -0.55, 0.2)
            color = color + (self.dark - color) * np.maximum(
                face * ahead[:, None], (ear & (self.pattern == "monkey"))[:, None]
            )
            if self.pattern == "sheep":
                color = color + (self.dark - color) * np.maximum(ear[:, None], _step(-points[:, 2], -1.4, 0.3))
        if self.pattern == "masked":
            under = _step(-q[:, 2] - 0.25 * np.abs(q[:, 0]), 0.18, 0.15) * _step(-q[:, 1], 0.2, 0.3) * ahead[:, None]
            chest = _step(-points[:, 1], 0.1, 0.4) * _step(-normals[:, 1], 0.2, 0.4) * (~ahead)[:, None] * (1 - low)
            tip = np.linalg.norm(points - self.tail[-1], axis=1) < 0.9
            color = color + (self.light - color) * np.maximum(np.maximum(under, chest), tip[:, None])
            color = color + (self.dark - color) * np.maximum(low, (ear & ~inner)[:, None] * 0.8)
        elif self.white and self.species != "elephant" and self.pattern not in ("panda", "points", "sheep", "monkey"):
            muzzle = np.exp(-np.sum(((q - self.nose - (0, 0.1, -0.25)) * (1, 0.9, 1.3)) ** 2, 1) / 0.16)[:, None]
            belly = _step(-normals[:, 2] - 0.5 * normals[:, 1], 0.45, 0.4) * (~ahead)[:, None]
            sock = _step(-points[:, 2], -self.sock, 0.3) * (self.sock > 0)
            color = color + (self.light - color) * np.clip(
                np.maximum(np.maximum(muzzle * 1.2, belly * 0.8), sock), 0, 1
            )
        pink = np.array((0.5, 0.27, 0.22)) * (0.4 if self.base.mean() < 0.08 else 1.0)
        if self.species != "elephant":
            color = color + (pink - color) * (inner & (n[:, 1] < -0.15))[:, None] * 0.8
        rim = np.min([np.linalg.norm(q - e, axis=1) for e in self.eyes], axis=0)
        color = color * (1 - 0.85 * _step(-rim, -self.eye * 1.3, self.eye * 0.35))
        mouth = (
            (np.abs(q[:, 0]) < 0.03)
            & (q[:, 2] < self.nose[2])
            & (q[:, 2] > self.nose[2] - 0.3)
            & (q[:, 1] < self.nose[1] + 0.2)
        )
        return np.clip(color * np.where(mouth, 0.15, 1.0)[:, None], 0, 0.95)

    def _mane(self, q: Array) -> Array:
        """(N,) 1 where a lion's mane grows: round the face and on the neck."""
        reach = np.linalg.norm(q, axis=1)
        around = (q[:, 1] > -0.35) & (np.hypot(q[:, 0], q[:, 2]) > 0.55) | (q[:, 1] > 0.2)
        return ((reach < 2.4) & around & ~self._on_ear(q)[0]).astype(float)

    def mane(self, points: Array, normals: Array) -> tuple[Array, Array, Array]:
        """A horse's hair: on the crest of the neck and on the tail, nowhere else (length 0)."""
        crest = (
            (np.abs(points[:, 0]) < 0.22)
            & (normals[:, 2] > 0.2)
            & (points[:, 1] < 0.6)
            & (points[:, 1] > self.middle[1])
        )
        from_tail = np.linalg.norm(points[:, None] - self.tail[None], axis=2).min(1) < 0.4
        length = np.where(crest, 1.2, 0.0) + np.where(from_tail & (points[:, 1] > self.tail[0][1] + 0.1), 1.8, 0.0)
        comb = np.where(crest[:, None], (0.9, 0.4, -0.6), (0.0, 0.15, -1.0))
        return length, comb, np.broadcast_to(self.dark, points.shape)

    def lie(self, points: Array, normals: Array) -> tuple[Array, Array, Array]:
        """See ``fur.Lie``: short on the face, none on eyes and nose, away from the nose, then backwards and down."""
        q = self.head(points)
        reach = np.linalg.norm(q, axis=1)
        ahead = np.clip((2.1 - reach) / 0.5, 0, 1)
        ear, _ = self._on_ear(q)
        away = q - self.nose
        away /= np.linalg.norm(away, axis=1, keepdims=True) + 1e-9
        back = np.array((0.0, 0.8, -0.6))
        comb = ahead[:, None] * away + (1 - ahead[:, None]) * back + 0.25 * self.fine(points)[:, None] * (0.7, 0.5, 0.3)
        from_nose = np.linalg.norm(q - self.nose, axis=1)
        length = self.length * np.where(ahead > 0, np.clip(0.22 + 0.5 * (from_nose - 0.35), 0.2, 1), 1.0)
        length *= np.where(ear, 0.55, 1.0) * np.where(points[:, 2] < 0.8, 0.6, 1.0)
        if self.pattern in ("monkey", "sheep"):
            bare = (q[:, 1] < -0.62) & (np.abs(q[:, 0]) < 0.7) & (q[:, 2] < 0.55) & (ahead > 0)
            length = np.where(bare | ear, 0.25 * (self.pattern == "sheep") * length, length)
        if self.pattern == "lion":
            length = length + 0.75 * self._mane(q) + 0.4 * (np.linalg.norm(points - self.tail[-1], axis=1) < 0.5)
        if self.species == "mouse":
            length = np.where(np.linalg.norm(points[:, None] - self.tail[None], axis=2).min(1) < 0.2, 0, length)
        hidden = np.min([np.linalg.norm(q - e, axis=1) for e in self.eyes], axis=0) < self.eye * 1.04
        length = np.where(hidden | (from_nose < 0.16), 0, length)
        return length, comb, self.color(points, normals)
