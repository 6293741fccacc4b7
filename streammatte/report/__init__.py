"""What a run without a truth can tell of its own matte: scores, the frames to look at, and a page of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from streammatte.errors import UnsupportedOutput
from streammatte.frame import Sink
from streammatte.media.file_source import FileSource
from streammatte.media.lengths import Lengths
from streammatte.media.output import TextFile, check_target
from streammatte.media.video_sink import VideoSink

__all__ = ["lengths_of_all", "open_page"]


def open_page(name: str, overwrite: bool) -> TextFile:
    """Where a page will be.

    Raises:
        OutputError: It could not be there, or no browser would open it.
    """
    path = Path(name)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UnsupportedOutput(f"{path} is no page's name", hint=f"name it {path.stem}.html")
    check_target(path, overwrite=overwrite)
    return TextFile(path, overwrite=overwrite)


def lengths_of_all(name: str, source: object, sinks: Iterable[Sink], *, silent: bool = False) -> dict[str, Lengths]:
    """How long the streams are, first of the footage and then of each video made of it, which is finished.

    Args:
        silent: The sound is left out on purpose, so that its length is none to compare with.
    """
    read = source.lengths if isinstance(source, FileSource) else Lengths(None, None)
    if silent:
        read = replace(read, audio=None)
    return {name: read} | {str(sink.path): sink.lengths() for sink in sinks if isinstance(sink, VideoSink)}
