"""Footage in and plates out: everything that touches PyAV, and nothing else does."""

from __future__ import annotations

from fractions import Fraction
from os import PathLike
from typing import TYPE_CHECKING, Literal

from ..frame import Sink, Source, StreamInfo

if TYPE_CHECKING:
    from .background import Background

__all__ = ["open_sink", "open_source"]


def open_source(url: str | PathLike[str], *, frame_rate: Fraction | None = None, strict: bool = False) -> Source:
    from .file_source import FileSource

    return FileSource(str(url), strict=strict)


def open_sink(
    path: str | PathLike[str],
    info: StreamInfo,
    *,
    alpha: Literal["straight", "premultiplied"] = "straight",
    background: Background | str | None = None,
    content: Literal["plate", "matte"] = "plate",
    audio: str | PathLike[str] | None = None,
    overwrite: bool = False,
    bits: int | None = None,
) -> Sink:
    from pathlib import Path

    from .encoding import encoding_for
    from .output import check_target
    from .video_sink import VideoSink

    target = Path(path)
    check_target(target, overwrite=overwrite)
    encoding = encoding_for(target.suffix.lower(), content=content, alpha=alpha, composite=background is not None)
    return VideoSink(
        target, info, encoding, content=content, alpha=alpha, background=None, audio=Path(audio) if audio else None
    )
