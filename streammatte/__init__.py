"""Take the subject out of any footage, without a green screen.

>>> import streammatte as sm
>>> sm.remove("photo.jpg").save("cutout.png")
>>> sm.matte_video("clip.mp4", "clip.mov")
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streammatte import errors, models, stages
    from streammatte.api import load_model, matte, matte_video, open_video, open_writer, remove
    from streammatte.errors import (
        DecodeFailed,
        DeviceError,
        DeviceMissing,
        InputError,
        ModelError,
        NoVideoStream,
        OutOfMemory,
        OutputError,
        SourceNotFound,
        StreammatteError,
        UnsupportedOutput,
        WeightsMismatch,
        WeightsMissing,
        WriteFailed,
    )
    from streammatte.frame import Cutout, Frame, StreamInfo
    from streammatte.models.table import available_models
    from streammatte.options import Options
    from streammatte.quality import metrics

# An idle OpenMP thread then sleeps instead of spinning on a core that another program needs. OpenMP reads this once,
# when torch loads it; `models/device.py` has the protection that does not depend on who imports torch first.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = [
    "Cutout",
    "DecodeFailed",
    "DeviceError",
    "DeviceMissing",
    "Frame",
    "InputError",
    "ModelError",
    "NoVideoStream",
    "Options",
    "OutOfMemory",
    "OutputError",
    "Prompt",
    "SourceNotFound",
    "StreamInfo",
    "StreammatteError",
    "UnsupportedOutput",
    "WeightsMismatch",
    "WeightsMissing",
    "WriteFailed",
    "available_models",
    "errors",
    "load_model",
    "matte",
    "matte_video",
    "metrics",
    "models",
    "open_video",
    "open_writer",
    "remove",
    "stages",
]

_MODULES = {"errors", "metrics", "models", "stages"}
_HOMES = {
    "Cutout": "frame",
    "Frame": "frame",
    "Options": "options",
    "Prompt": "subject.contracts",
    "StreamInfo": "frame",
    "available_models": "models.table",
    "load_model": "api",
    "matte": "api",
    "matte_video": "api",
    "metrics": "quality.metrics",
    "open_video": "api",
    "open_writer": "api",
    "remove": "api",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: importing the package must not cost what torch costs."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, name if name in _MODULES else "errors")
    module = importlib.import_module(f"{__name__}.{home}")
    return module if name in _MODULES else getattr(module, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
