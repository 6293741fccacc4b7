"""Reading footage and writing cut-outs.

Importing this package is cheap: FFmpeg, OpenCV and torch are loaded when something is opened.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streammatte.media.read.opening import open_video
    from streammatte.media.write.opening import open_writer

__all__ = ["open_video", "open_writer"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = "read" if name == "open_video" else "write"
    return getattr(import_module(f"streammatte.media.{room}.opening"), name)
