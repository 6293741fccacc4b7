"""The summary of segments that were joined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from streammatte.batch.segment import Done, Segment
from streammatte.frame import Writer
from streammatte.options import Options
from streammatte.summary import Summary, tell_of_outputs

if TYPE_CHECKING:
    from streammatte.media.read.video import Video
    from streammatte.media.write.delivery import Target


def summary_of(
    options: Options,
    source: Video,
    segments: Sequence[Segment],
    done: Sequence[Done],
    targets: Sequence[Target],
    writers: Sequence[Writer],
) -> Summary:
    """One summary of all."""
    from streammatte.quality.plausible import Doubts

    parts = [each.summary for each in done]
    first = parts[0]
    summary = Summary(first.input, first.model, first.device, first.precision, first.size)
    summary.frames = sum(part.frames for part in parts)
    summary.mattes_read = sum(part.mattes_read for part in parts)
    summary.mattes_computed = sum(part.mattes_computed for part in parts)
    summary.stages, summary.assumed, summary.input_transfer = first.stages, first.assumed, first.input_transfer
    seconds = {name: sum(each.seconds[name] for each in done) for name in done[0].seconds}
    summary.timings = {name: summary.frames / spent if spent else 0.0 for name, spent in seconds.items()}
    summary.lost = "; ".join(_once(part.lost for part in parts)) or None
    summary.mattes = [
        {**first.mattes[place], "lost": "; ".join(_once(part.mattes[place]["lost"] for part in parts)) or None}
        for place in range(len(first.mattes))
    ]
    summary.keyframes = [index for part in parts for index in part.keyframes]
    summary.keyframe_seconds = sum(part.keyframe_seconds for part in parts)
    summary.notes = _once([*source.notes, *(note for part in parts for note in part.notes)])
    tell_of_outputs(summary, options, targets, writers)
    doubts = Doubts(guided=bool(options.guides()), smoothed=options.matting.smooth == "high")
    for segment, each in zip(segments, done, strict=True):
        doubts.extend(each.doubts, segment.frames)
    summary.doubt = doubts.line()
    return summary


def _once(lines: Iterable[str | None]) -> list[str]:
    return [line for line in dict.fromkeys(lines) if line]
