"""From a plate to a better plate."""

from typing import Literal

from streammatte.frame import Stage
from streammatte.stages.colors import ClipColors

__all__ = ["ClipColors", "stages_for"]

SURE_OF_ITSELF = 512
"""Input size in pixels from which a network needs no help from the clip's colours."""


def stages_for(size: tuple[int, int], colors: Literal["auto", "on", "off"] = "auto") -> list[Stage]:
    """What the plates of one run pass before they are written.

    Args:
        size: (H, W) of the network's input.
        colors: Whether the clip's colours help; ``auto``: a network whose input is small.
    """
    if colors == "on" or (colors == "auto" and max(size) < SURE_OF_ITSELF):
        return [ClipColors(size)]
    return []
