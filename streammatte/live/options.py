"""What can be asked of a live run, as values."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """See ``streammatte live --help``. The fields are the parser's own names."""

    camera: str | None = None
    size: tuple[int, int] | None = None
    rate: Fraction | None = None
    backgrounds: tuple[str, ...] = ("blur",)
    outputs: tuple[str, ...] = ()
    model: str = "auto"
    weights: str | None = None
    device: str | None = None
    precision: str = "auto"
    quality: str | tuple[tuple[int, int], int] = "auto"
    mirror: bool = False
    light_wrap: Literal["on", "off"] = "on"
    match: Literal["on", "off"] = "on"
    feather: float = 0.0
    seconds: float | None = None
    offline: bool = False
    overwrite: bool = False
    json: bool = False
