"""Take a person, a cat, a glass or a veil out of any footage, without a green screen."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streammatte.media import open_video, open_writer
    from streammatte.models.birefnet import load_model
    from streammatte.pipeline import matte

__version__ = "0.1.0"
__all__ = ["load_model", "matte", "open_video", "open_writer"]

_HOMES = {
    "load_model": "streammatte.models.birefnet",
    "matte": "streammatte.pipeline",
    "open_video": "streammatte.media",
    "open_writer": "streammatte.media",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: importing the package must not cost what torch costs."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
