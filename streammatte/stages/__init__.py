"""From a cut-out to a better cut-out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from streammatte.frame import Stage
from streammatte.stages.colors import ClipColors
from streammatte.stages.despill import Despill, despill
from streammatte.stages.detail import DetailRefiner
from streammatte.stages.foreground import ForegroundEstimator, estimate_foreground
from streammatte.stages.mattes import CoreHint, Guide, Holdout, MatteLimits
from streammatte.stages.shape import EdgeShaper, choke, feather
from streammatte.stages.temporal import WIDTH, TemporalSmoother
from streammatte.stages.transparent.refiner import TransparencyRefiner

if TYPE_CHECKING:
    import torch

__all__ = [
    "COLOR_STAGES",
    "ClipColors",
    "CoreHint",
    "Despill",
    "DetailRefiner",
    "EdgeShaper",
    "ForegroundEstimator",
    "Holdout",
    "MatteLimits",
    "TemporalSmoother",
    "TransparencyRefiner",
    "choke",
    "despill",
    "estimate_foreground",
    "feather",
    "stages_for",
]

COLOR_STAGES = (ForegroundEstimator, Despill)
"""Those that give colours, in the source's own encoding; those before them decide on the alpha."""

SURE_OF_ITSELF = 512
"""Input size in pixels from which a network needs no help from the clip's colours, and may be helped by its edges."""


def stages_for(
    size: tuple[int, int],
    colors: Literal["auto", "on", "off"] = "auto",
    smooth: Literal["off", "low", "medium", "high"] = "medium",
    lookahead: int | None = None,
    *,
    core: Guide | None = None,
    garbage: Guide | None = None,
    holdout: Guide | None = None,
    transparency: TransparencyRefiner | None = None,
    detail: Literal["auto", "on", "off"] = "auto",
    choke: float = 0.0,
    feather: float = 0.0,
    decontaminate: bool = True,
    screen: tuple[float, float, float] | None = None,
    device: torch.device | None = None,
) -> list[Stage]:
    """What the cut-outs of one run pass before they are written.

    Args:
        size: (H, W) of the network's input.
        colors: Whether the clip's colours help; ``auto``: a network whose input is small.
        smooth: How far the matte is steadied over time.
        lookahead: Cut-outs that may be held back for it; 0 looks back only, ``None`` as far ahead as back.
        core, garbage, holdout: Mattes of what is the subject, what is not, and what stands before it.
        transparency: What sees through glass, veils and smoke.
        detail: Whether the matte is lifted to the frame's size by the picture's own edges; ``auto``: one that a network
            of some size made.
        choke, feather: How far the edge is moved inwards, and how wide it is made, in pixels of the frame.
        decontaminate: Whether the foreground's own colours are estimated.
        screen: (R, G, B) in [0, 1] of a screen whose spill is taken off.
        device: Where stages that can choose compute.
    """
    small = max(size) < SURE_OF_ITSELF
    stages: list[Stage] = []
    hint = None if core is None else CoreHint(core)
    if hint is not None:
        stages.append(hint)
    if colors == "on" or (colors == "auto" and small):
        stages.append(ClipColors(size))
    if transparency is not None:  # before what steadies the matte, so that what was joined is steadied, too
        stages.append(transparency)
    if smooth != "off":
        stages.append(TemporalSmoother(smooth, lookahead, min(WIDTH, 2 * max(size))))
    if detail == "on" or (detail == "auto" and not small):
        stages.append(DetailRefiner(size, device))
    shapes = bool(choke or feather)
    limits = None if hint is None and garbage is None else MatteLimits(hint, garbage, again=shapes)
    if limits is not None:
        stages.append(limits)
    if decontaminate:
        stages.append(ForegroundEstimator(device))
    if screen is not None:
        stages.append(Despill(screen))
    if shapes:  # after the colours, which are told from the alpha that the picture was mixed with
        stages.append(EdgeShaper(choke, feather, limits))
    if holdout is not None:
        stages.append(Holdout(holdout))
    return stages
