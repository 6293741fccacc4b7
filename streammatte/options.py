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
    foreground: str | None = None
    matte: str | None = None
    pair: Literal["above", "beside"] | None = None
    deliver: str | None = None
    background: str | None = None
    alpha: Literal["straight", "premultiplied"] | None = None
    quality: Literal["draft", "standard", "best"] = "standard"
    codec: Literal["prores4444", "prores4444xq", "png"] = "prores4444"
    bits: int | None = None
    exr_compression: Literal["zip", "piz", "dwaa", "dwab"] = "zip"
    start_number: int | None = None
    frame_rate: Fraction | None = None
    input_transfer: str | None = None
    input_alpha: Literal["ignore", "core", "garbage"] = "ignore"
    layer: str | None = None
    mark_in: str | None = None
    mark_out: str | None = None
    handles: int = 0
    interlaced: Literal["refuse", "deinterlace", "as-is"] = "refuse"
    no_audio: bool = False
    model: str = "auto"
    weights: str | None = None
    device: str | None = None
    precision: str = "auto"
    size: tuple[int, int] | None = None
    batch: int = 1
    colors: Literal["auto", "on", "off"] = "auto"
    transparency: Literal["off", "auto", "on"] = "auto"
    transparent: tuple[int, int, int, int] | None = None
    transparent_masks: tuple[str, ...] = ()
    keyframe_every: int = 12
    sdmatte: str = "sdmatte"
    sdmatte_size: int = 1024
    smooth: Literal["off", "low", "medium", "high"] = "medium"
    lookahead: int | None = None
    garbage_mattes: tuple[str, ...] = ()
    core_mattes: tuple[str, ...] = ()
    holdout_mattes: tuple[str, ...] = ()
    detail: Literal["auto", "on", "off"] = "auto"
    choke: float = 0.0
    feather: float = 0.0
    decontaminate: Literal["on", "off"] = "on"
    despill: str | None = None
    offline: bool = False
    overwrite: bool = False
    resume: bool = False
    keep_mattes: bool = False
    strict: bool = False
    report: str | None = None
    limits: tuple[tuple[str, float], ...] = ()
