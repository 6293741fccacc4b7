"""A wine glass, part filled, as surfaces of revolution; it stands on the origin, z up, in metres."""

import numpy as np

from samples.render.meshes import Array

# Radius and height, from the foot's middle up the outside, over the rim and down the inside.
GLASS = (
    *((0.0, 0.0), (0.034, 0.0), (0.035, 0.0015), (0.02, 0.004), (0.006, 0.008), (0.0042, 0.02), (0.0040, 0.085)),
    *((0.0065, 0.096), (0.02, 0.104), (0.034, 0.120), (0.0405, 0.142), (0.0400, 0.165), (0.0345, 0.198)),
    *(
        (0.0338, 0.1985),
        (0.0332, 0.198),
        (0.0386, 0.165),
        (0.0390, 0.142),
        (0.0326, 0.121),
        (0.019, 0.106),
        (0.0, 0.1025),
    ),
)
# The drink overlaps the glass's inner wall a little, so that light crosses one boundary between them, not an air gap.
DRINK = (
    *((0.0, 0.1020), (0.0192, 0.1055), (0.0330, 0.121), (0.0394, 0.142), (0.0393, 0.150)),
    *((0.0380, 0.1497), (0.0, 0.1495)),
)


def lathe(profile: tuple[tuple[float, float], ...], sides: int = 64) -> tuple[Array, list[list[int]]]:
    """Turn a profile about z: (V, 3) vertices and its quads, their normals outwards."""
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    rings = [np.c_[radius * np.cos(turn), radius * np.sin(turn), np.full(sides, z)] for radius, z in profile]
    faces = [
        [k * sides + i, k * sides + (i + 1) % sides, (k + 1) * sides + (i + 1) % sides, (k + 1) * sides + i]
        for k in range(len(profile) - 1)
        for i in range(sides)
    ]
    return np.concatenate(rings), faces
