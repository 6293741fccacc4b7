"""How a subject wants to be looked at; knows nothing of Blender."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Framing:
    """What the camera looks at. Subjects stand on z = 0 or hang about it, z up, and face the camera at −y.

    ``yaw`` and ``pitch`` are what suits the subject; a driver may add a little of its own to both.
    """

    aim: tuple[float, float, float]
    """The point in the middle of the picture, in metres."""
    span: float
    """How much of the world the square picture shows at that point, across, in metres."""
    pitch: float = 0.0
    """Degrees by which the camera looks down."""
    yaw: float = 0.0
    """Degrees by which the camera has gone round the subject, anticlockwise seen from above; 0 is at −y."""
