"""How long the streams of a run are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from streammatte.frame import Writer
from streammatte.media.lengths import Lengths
from streammatte.media.read.file_source import FileSource
from streammatte.media.write.video_writer import VideoWriter


def lengths_of_all(name: str, source: object, writers: Iterable[Writer], *, silent: bool = False) -> dict[str, Lengths]:
    """How long the streams are, first of the footage and then of each video made of it, which is finished.

    Args:
        silent: The sound is left out on purpose, so that its length is none to compare with.
    """
    read = source.lengths if isinstance(source, FileSource) else Lengths(None, None)
    if silent:
        read = replace(read, audio=None)
    return {name: read} | {str(writer.path): writer.lengths() for writer in writers if isinstance(writer, VideoWriter)}
