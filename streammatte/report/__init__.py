"""What a run without a truth can tell of its own matte: scores, the frames to look at, and a page of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from streammatte.frame import Sink
from streammatte.media.file_source import FileSource
from streammatte.media.lengths import Lengths
from streammatte.media.video_sink import VideoSink

__all__ = ["lengths_of_all"]


def lengths_of_all(name: str, source: object, sinks: Iterable[Sink], *, silent: bool = False) -> dict[str, Lengths]:
    """How long the streams are, first of the footage and then of each video made of it, which is finished.

    Args:
        silent: The sound is left out on purpose, so that its length is none to compare with.
    """
    read = source.lengths if isinstance(source, FileSource) else Lengths(None, None)
    if silent:
        read = replace(read, audio=None)
    return {name: read} | {str(sink.path): sink.lengths() for sink in sinks if isinstance(sink, VideoSink)}
