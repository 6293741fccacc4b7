"""Single frames as a run would cut them out: only what they depend on is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from streammatte.cache import Remembered
from streammatte.chain import Display, chain_of
from streammatte.errors import InputError, refusing
from streammatte.media.addresses import PIPE
from streammatte.options import Options
from streammatte.refusals import check_source, check_whom
from streammatte.run import cache_beside, model_of
from streammatte.stages.despill import screen_of
from streammatte.stages.transparent.sdmatte_on_demand import Refiners
from streammatte.subject.contracts import Tracked
from streammatte.subject.following import Followed, follow, follow_transparent
from streammatte.subject.together import shared, together

if TYPE_CHECKING:
    from torch import Tensor

    from streammatte.frame import Cutout, Frame, Model
    from streammatte.media.read.video import Video
    from streammatte.models.birefnet import BiRefNetModel
    from streammatte.quality.sheet import Shown
    from streammatte.stages.mattes import Guide
    from streammatte.subject.contracts import Prompt


def preview(options: Options, marks: Sequence[str], beside: str, display: Display) -> list[Shown]:
    """The frames that the marks name, in order, each for every subject.

    Args:
        marks: Frame numbers, times or timecode; none: the first frame.
        beside: The file whose folder may hold mattes that a run kept.

    Raises:
        StreammatteError: As for a run.
    """
    from streammatte.media.read.video import opened
    from streammatte.quality.sheet import shown

    check_whom(options)
    if options.reading.input == PIPE:
        raise InputError("preview needs a file: a pipe can be read only once", hint="save the input first")
    with opened(options.reading) as source, ExitStack() as caching:
        with refusing():
            check_source(options, source)
            if options.edges.despill is not None:
                screen_of(options.edges.despill)
            indices = sorted({_index(mark, source) for mark in marks} or {source.indices.start})
        model = model_of(options, display)
        cache = cache_beside(options, source, model, [beside], display, caching)
        network = Remembered(model, cache)
        refiners = Refiners()
        parts = _parts(options, source, model, network, indices, display, refiners)
        wanted = [index for part in parts for index in part]
        followed = follow(options, source, network, model.size, cache, display, model=model, wanted=wanted)
        region = follow_transparent(options, source, network, cache, display, model=model, wanted=wanted)
        display.started(source.info, model)
        found: dict[tuple[int, str], Shown] = {}
        names = options.whom.written_apart()
        joined = options.whom.join
        asked = [network if followed is None else followed.model(name, join=joined) for name in names]
        for part in parts:
            for cutouts in _cutouts(options, source, model, asked, part, display, refiners, region):
                for name, cutout in zip(names, cutouts, strict=True):
                    index = cutout.frame.index
                    if index in indices:
                        seconds = float(cutout.frame.pts * source.info.time_base)
                        found[index, name] = shown(cutout, seconds, name, *_said(followed, name, index, join=joined))
        return [found[index, name] for index in indices for name in names if (index, name) in found]


def _index(mark: str, source: Video) -> int:
    index = source.frame_at(mark, f"@{mark}")
    if index not in source.indices:
        first, last = source.indices.start, source.indices.stop - 1
        raise InputError(f"@{mark} is frame {index}, and frames {first} to {last} are read", hint="show one of these")
    return index


def _parts(
    options: Options,
    source: Video,
    model: BiRefNetModel,
    network: Model,
    indices: Sequence[int],
    display: Display,
    refiners: Refiners,
) -> list[range]:
    """The parts of the clip that these frames depend on; those that touch are one."""
    asked = options.transparency
    marked = _Anywhere() if asked.asked() or asked.transparent_masks else None
    stages = chain_of(options, model, network, None, {}, display, refiners, marked).stages
    behind, ahead = (sum(getattr(stage, side) for stage in stages) for side in ("behind", "ahead"))
    if options.network.stride > 1:
        behind, ahead = behind + options.network.stride, ahead + options.network.stride
    parts: list[range] = []
    for index in indices:
        part = range(max(source.indices.start, index - behind), min(source.indices.stop, index + ahead + 1))
        if parts and part.start <= parts[-1].stop:
            parts[-1] = range(parts[-1].start, part.stop)
        else:
            parts.append(part)
    return parts


class _Anywhere:
    """Stands in for a region that is not known yet, for the stage that looks there."""

    def at(self, frame: Frame) -> Tensor:
        raise NotImplementedError


def _cutouts(
    options: Options,
    source: Video,
    model: BiRefNetModel,
    asked: Sequence[Model],
    part: range,
    display: Display,
    refiners: Refiners,
    region: Guide | None,
) -> Iterator[list[Cutout]]:
    """The cut-outs of a part, one for each model in every frame, through the run's own chain."""
    from streammatte.media.read.guide import guides_of
    from streammatte.pipeline import matte

    with ExitStack() as running:
        made = []
        for each, frames in zip(asked, shared(source.between(part.start, part.stop), len(asked)), strict=True):
            guides = guides_of(options, source, display.notice, running)
            chain = chain_of(options, model, each, None, guides, display, refiners, region)
            made.append(matte(frames, chain.model, chain.stages, batch=options.network.batch or 1, stride=chain.stride))
        yield from together(made)


def _said(followed: Followed | None, name: str, index: int, *, join: bool) -> tuple[Sequence[Prompt], Tracked | None]:
    """The prompts of a subject at a frame, or of all of them together, and where it was tracked to."""
    if followed is None:
        return [], None
    names = followed.tracks.names if join else (name,)
    prompts = [prompt for prompt in followed.prompts if prompt.index == index and prompt.subject in names]
    places = [followed.tracks.at(each, index) for each in names]
    mask = np.maximum.reduce([place.mask for place in places])
    return prompts, Tracked(mask, min(place.confidence for place in places))
