"""Everything that is neither a person nor an animal: one entry, ``add``, for things of all kinds."""

import numpy as np

from samples.render import finishes, household, plants, shapes, tableware, tall, vehicles
from samples.render.framing import Framing


def abstract(rng: np.random.Generator) -> Framing:
    """One to six rounded shapes that overlap, to stand for everything that has no maker of its own."""
    for _ in range(int(rng.integers(1, 7))):
        radii = rng.uniform(0.08, 0.35) * rng.uniform(0.5, 1.5, 3)
        turn = shapes.rotation(*rng.uniform(0, 360, 3))
        where = rng.normal(0, 0.2, 3)
        made = finishes.glass(rng) if rng.random() < 0.15 else finishes.surface(rng, 0.5)
        shape = rng.integers(5)
        if shape == 0:
            shapes.add("ball", shapes.ball(where, radii, turn, 40), made)
        elif shape == 1:
            shapes.add(
                "box",
                shapes.box(radii * 1.6, where, turn),
                made,
                False,
                bevel=float(radii.min() * rng.uniform(0.03, 0.3)),
            )
        elif shape == 2:
            round_ = np.linspace(0, 2 * np.pi, 33)
            ring = np.c_[1 + 0.35 * np.cos(round_), 0.35 * np.sin(round_)] * radii.min()
            shapes.add("ring", shapes.moved(shapes.lathe(ring), where, turn), made)
        elif shape == 3:
            profile = shapes.curve([(0, 0), *((rng.uniform(0.2, 1), h) for h in (0, 0.4, 0.8, 1.2, 1.6)), (0, 1.7)], 40)
            profile[:, 0] = np.maximum(profile[:, 0], 0)
            shapes.add("turned", shapes.moved(shapes.lathe(profile), where, turn, radii.mean()), made)
        else:
            lump = shapes.ball(sides=64)
            noise = shapes.waves(rng, float(rng.uniform(0.6, 2)))(lump[0])
            lump = (lump[0] * (1 + rng.uniform(0.1, 0.3) * noise[:, None]), lump[1])
            shapes.add("lump", shapes.moved(lump, where, turn, radii), made)
    aim = rng.normal(0, 0.05, 3)
    return Framing(
        (float(aim[0]), float(aim[1]), float(aim[2])), float(rng.uniform(0.8, 1.5)), yaw=float(rng.uniform(0, 360))
    )


MAKERS = {"abstract": (abstract, 3.0), **tableware.MAKERS, **tall.MAKERS, **vehicles.MAKERS, **plants.MAKERS}
MAKERS |= household.MAKERS
KINDS: dict[str, float] = {name: odds for name, (_, odds) in MAKERS.items()}
"""What there is, and how often each should be drawn."""


def add(kind: str, rng: np.random.Generator) -> Framing:
    """Add a random one of that kind (of ``KINDS``) to the current scene's collection, with its materials."""
    return MAKERS[kind][0](rng)
