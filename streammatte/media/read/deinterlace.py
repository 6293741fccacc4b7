"""Progressive frames from interlaced ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Literal

import av

from streammatte.frame import UNSPECIFIED

Interlaced = Literal["refuse", "deinterlace", "as-is"]


def deinterlaced(frames: Iterable[av.VideoFrame], time_base: Fraction) -> Iterator[av.VideoFrame]:
    """One progressive picture for each frame, at its time, by FFmpeg's bwdif; progressive frames pass untouched.

    Pixel formats that the filter does not know come out in the next wider one; range and matrix stay.

    Args:
        time_base: Seconds in one unit of the frames' pts.
    """
    graph: av.filter.Graph | None = None
    before: tuple[str, int, int] | None = None
    tags = (0, UNSPECIFIED)
    for frame in frames:
        kind = (frame.format.name, frame.width, frame.height)
        if graph is None or kind != before:
            if graph is not None:
                yield from _through(graph, None, tags)
            graph, before = _graph(frame, time_base), kind
        tags = frame.color_range, frame.colorspace
        yield from _through(graph, frame, tags)
    if graph is not None:
        yield from _through(graph, None, tags)


def _graph(frame: av.VideoFrame, time_base: Fraction) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    # The filter halves the time base; settb restores it.
    filters = [
        graph.add("bwdif", "mode=send_frame:deint=interlaced"),
        graph.add("settb", str(time_base)),
        graph.add("buffersink"),
    ]
    graph.link_nodes(source, *filters).configure()
    return graph


def _through(graph: av.filter.Graph, frame: av.VideoFrame | None, tags: tuple[int, int]) -> Iterator[av.VideoFrame]:
    if frame is not None:  # with tags, a change of format would convert colours, too
        frame.color_range, frame.colorspace = 0, UNSPECIFIED
    graph.vpush(frame)
    while True:
        try:
            done = graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
        done.color_range, done.colorspace = tags
        yield done
