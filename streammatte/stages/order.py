"""The order of the stages: the one list of what happens to a cut-out between the model and the writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from streammatte.frame import Stage
from streammatte.stages.colors import ClipColors
from streammatte.stages.despill import Despill
from streammatte.stages.detail import DetailRefiner, Lift
from streammatte.stages.foreground import ForegroundEstimator
from streammatte.stages.mattes import Guide, GuideMattes, Holdout, MatteLimits
from streammatte.stages.shape import EdgeShaper
from streammatte.stages.temporal import TemporalSmoother
from streammatte.stages.transparent.refiner import TransparencyRefiner

if TYPE_CHECKING:
    import torch

SURE_OF_ITSELF = 512
"""Input size in pixels from which a network needs no help from the picture's colours, and gains from its edges."""


def stages_for(
    size: tuple[int, int] | None = None,
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
    hands: int = 1,
) -> list[Stage]:
    """The stages of a run, in order: the command's own by default.

    Args:
        size: (H, W) of the network's input; ``None`` if it is unknown, which counts as large.
        colors: Whether the picture's colours help; ``auto``: only a network with a small input.
        smooth: Strength of temporal smoothing.
        lookahead: Cut-outs held back for it; 0 looks back only, ``None`` as far ahead as back.
        core, garbage, holdout: Mattes of what is certainly the subject, what is removed, and what is in front.
        transparency: Refines glass, veils and smoke.
        detail: Whether the picture's edges sharpen the lifted matte; ``auto``: only a network with a large input.
        choke, feather: How far to move the edge inwards, and how wide to make it, in pixels of the frame.
        decontaminate: Whether to estimate the foreground's own colours.
        screen: (R, G, B) in [0, 1] of a screen whose spill is removed.
        device: Where detail and foreground are computed.
        hands: Frames that are smoothed at a time; see :class:`TemporalSmoother`.
    """
    small = size is not None and max(size) < SURE_OF_ITSELF
    stages: list[Stage] = []
    if core is not None or garbage is not None or holdout is not None:
        stages.append(GuideMattes(core, garbage, holdout))
    if colors == "on" or (colors == "auto" and small):
        stages.append(ClipColors())
    if transparency is not None:  # before smoothing, so that the join is steadied, too
        stages.append(transparency)
    if smooth != "off":
        stages.append(TemporalSmoother(smooth, lookahead, hands))
    stages.append(DetailRefiner(device) if sharpens(detail, size) else Lift(device))
    if core is not None or garbage is not None:
        stages.append(MatteLimits())
    if decontaminate:
        stages.append(ForegroundEstimator(device))
    if screen is not None:
        stages.append(Despill(screen))
    if choke or feather:  # after the colours, which depend on the original alpha
        stages.append(EdgeShaper(choke, feather))
    if holdout is not None:
        stages.append(Holdout())
    return stages


def sharpens(detail: Literal["auto", "on", "off"], size: tuple[int, int] | None) -> bool:
    """Whether mattes of a network with this input are sharpened to the picture's edges."""
    return detail == "on" or (detail == "auto" and (size is None or max(size) >= SURE_OF_ITSELF))
