"""What can be asked of a run, as values."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for; see ``streammatte --help`` for what each means.

    The fields are the parser's own names (``parser.py``), so that an option is written down twice and no more.
    """

    input: str
    outputs: tuple[str, ...] = ()
    matte: str | None = None
    background: str | None = None
    alpha: Literal["straight", "premultiplied"] = "straight"
    bits: int | None = None
    frame_rate: Fraction | None = None
    model: str = "auto"
    weights: str | None = None
    device: str | None = None
    precision: str = "auto"
    size: tuple[int, int] | None = None
    batch: int = 1
    colors: Literal["auto", "on", "off"] = "auto"
    smooth: Literal["off", "low", "medium", "high"] = "medium"
    lookahead: int | None = None
    detail: Literal["auto", "on", "off"] = "auto"
    decontaminate: Literal["on", "off"] = "on"
    despill: str | None = None
    offline: bool = False
    overwrite: bool = False
    resume: bool = False
    strict: bool = False
    report: str | None = None
    limits: tuple[tuple[str, float], ...] = ()
