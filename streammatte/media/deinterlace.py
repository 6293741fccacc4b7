"""Progressive pictures from interlaced ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Literal

import av

Interlaced = Literal["refuse", "deinterlace", "as-is"]


def deinterlaced(frames: Iterable[av.VideoFrame], time_base: Fraction) -> Iterator[av.VideoFrame]:
    """One whole picture for each frame, at its time, by FFmpeg's bwdif; what is progressive already passes untouched.

    Args:
        time_base: Seconds that a unit of the frames' pts lasts.
    """
    graph: av.filter.Graph | None = None
    before: tuple[str, int, int] | None = None
    for frame in frames:
        kind = (frame.format.name, frame.width, frame.height)
        if graph is None or kind != before:
            if graph is not None:
                yield from _through(graph, None)
            graph, before = _graph(frame, time_base), kind
        yield from _through(graph, frame)
    if graph is not None:
        yield from _through(graph, None)


def _graph(frame: av.VideoFrame, time_base: Fraction) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    # The filter counts in halves of the clock it is given; settb brings its times back.
    filters = [
        graph.add("bwdif", "mode=send_frame:deint=interlaced"),
        graph.add("settb", str(time_base)),
        graph.add("buffersink"),
    ]
    graph.link_nodes(source, *filters).configure()
    return graph


def _through(graph: av.filter.Graph, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
    graph.vpush(frame)
    while True:
        try:
            done = graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
        yield done
