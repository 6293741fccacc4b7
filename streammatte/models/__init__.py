"""Checkpoints, downloads, devices and models. ``load_birefnet`` and ``load_sdmatte`` return bare networks.

Everything is imported on first use: torch takes a second, diffusers and transformers several.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streammatte.models.nets.birefnet import load_birefnet
    from streammatte.models.nets.sdmatte import load_sdmatte

__all__ = ["load_birefnet", "load_sdmatte"]

_HOMES = {
    "load_birefnet": "streammatte.models.nets.birefnet",
    "load_sdmatte": "streammatte.models.nets.sdmatte",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
