"""From a plate to a better plate."""

from typing import Literal

from streammatte.frame import Stage
from streammatte.stages.colors import ClipColors
from streammatte.stages.temporal import TemporalSmoother

__all__ = ["ClipColors", "TemporalSmoother", "stages_for"]

SURE_OF_ITSELF = 512
"""Input size in pixels from which a network needs no help from the clip's colours."""


def stages_for(
    size: tuple[int, int],
    colors: Literal["auto", "on", "off"] = "auto",
    smooth: Literal["off", "low", "medium", "high"] = "medium",
    lookahead: int | None = None,
) -> list[Stage]:
    """What the plates of one run pass before they are written.

    Args:
        size: (H, W) of the network's input.
        colors: Whether the clip's colours help; ``auto``: a network whose input is small.
        smooth: How far the matte is steadied over time.
        lookahead: Plates that may be held back for it; 0 looks back only, ``None`` as far ahead as back.
    """
    stages: list[Stage] = []
    if colors == "on" or (colors == "auto" and max(size) < SURE_OF_ITSELF):
        stages.append(ClipColors(size))
    if smooth != "off":
        stages.append(TemporalSmoother(smooth, lookahead))
    return stages
