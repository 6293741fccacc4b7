"""From a cut-out to a better cut-out."""

from __future__ import annotations

from streammatte.stages.colors import ClipColors
from streammatte.stages.despill import Despill, despill
from streammatte.stages.detail import DetailRefiner, Lift
from streammatte.stages.foreground import ForegroundEstimator, estimate_foreground
from streammatte.stages.mattes import GuideMattes, Holdout, MatteLimits
from streammatte.stages.order import stages_for
from streammatte.stages.shape import EdgeShaper, choke, feather
from streammatte.stages.temporal import TemporalSmoother
from streammatte.stages.transparent.refiner import TransparencyRefiner

__all__ = [
    "ClipColors",
    "Despill",
    "DetailRefiner",
    "EdgeShaper",
    "ForegroundEstimator",
    "GuideMattes",
    "Holdout",
    "Lift",
    "MatteLimits",
    "TemporalSmoother",
    "TransparencyRefiner",
    "choke",
    "despill",
    "estimate_foreground",
    "feather",
    "stages_for",
]
