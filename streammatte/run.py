"""One run of the command: from options to a summary."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streammatte.cache import MatteCache, Remembered, cache_of
from streammatte.chain import Chain, Display, Joined, chain_of, overlapped, side_by_side
from streammatte.frame import Cutout, Footage, Writer
from streammatte.options import Options
from streammatte.refusals import check, check_source
from streammatte.stages.transparent.sdmatte_on_demand import Refiners
from streammatte.subject.following import Course, follow, follow_transparent
from streammatte.summary import (
    Summary,
    report_of,
    tell_of_input,
    tell_of_outputs,
    tell_of_subjects,
    texts_of,
    timings_of,
    write_note,
)

if TYPE_CHECKING:
    from streammatte.media.read.video import Video
    from streammatte.media.write.delivery import Target
    from streammatte.media.write.output import TextFile
    from streammatte.models.birefnet import BiRefNetModel
    from streammatte.quality.observer import Findings, Observer
    from streammatte.quality.plausible import Doubts


def run(
    options: Options,
    display: Display,
    model: BiRefNetModel | None = None,
    joined: Joined | None = None,
    refiners: Refiners | None = None,
) -> Summary:
    """Matte ``options.reading.input`` into every output, in one pass.

    Decoding, network, stages and encoding have a thread each. Outputs get their names when all are complete.

    Args:
        joined: How the links of the chain are joined instead, to measure them.
        refiners: SDMatte as other runs share it.
    """
    from streammatte.media.read.guide import guides_of
    from streammatte.media.read.video import opened
    from streammatte.media.write.delivery import targets_of, writer_of
    from streammatte.media.write.output import uninterrupted
    from streammatte.models.device import cores_for, memory_of, opencv_cores

    check(options)
    targets, names = targets_of(options), options.whom.written_apart()
    with opened(options.reading) as source, ExitStack() as caching, ExitStack() as writing:
        check_source(options, source)
        # Entered first, the texts are left last: after the outputs that they describe are in place.
        texts = texts_of(options, names, writing)
        # Writers before the model: a name that cannot be written fails before a download.
        writers = [
            writing.enter_context(writer_of(target, source.info, source.first_number, options)) for target in targets
        ]
        guides = {name: guides_of(options, source, display.notice, writing) for name in names}  # each is read once
        model = model or model_of(options, display)
        cache = cache_beside(options, source, model, [target.path for target in targets], display, caching)
        network = Remembered(model, cache)
        followed = follow(options, source, network, model.size, cache, display, model=model)
        region = follow_transparent(options, source, network, cache, display, model=model)
        summary = Summary(options.reading.input, model.name, str(model.device), model.precision, model.size)

        turns, refiners = [], refiners or Refiners()  # the chains share SDMatte
        for name in names:
            asked = network if followed is None else followed.model(name, join=options.whom.join)
            chain = chain_of(options, model, asked, cache, guides[name], display, refiners, region, len(names))
            watchers = _watchers(options, source, chain, guided=bool(guides[name]) or followed is not None)
            own = [writer for target, writer in zip(targets, writers, strict=True) if target.subject == name]
            turns.append(Turn(name, chain, watchers, own))
        for turn in turns:
            turn.chain.fetch = not all(each.takes_device for each in turns)
        display.started(source.info, model)
        hint = "close other programs, or try --detail off, --decontaminate off or --smooth off"
        with turns[0].chain.whole, memory_of(model.device, hint, "the stages"), opencv_cores(cores_for()):
            made = side_by_side(options, source, [turn.chain for turn in turns], joined or overlapped)
            summary.frames = _written(turns, made, display)

        tell_of_input(summary, options, source, next(iter(guides.values())))
        _tell_of_turns(summary, options, source, turns)
        summary.mattes_read += network.read
        summary.mattes_computed += network.computed
        if followed is not None:
            summary.notes += followed.notes()
            for turn in turns:
                turn.courses = followed.courses(turn.subject, join=options.whom.join)
                tell_of_subjects(summary, turn.courses)
        summary.notes += [] if region is None else region.notes()
        tell_of_outputs(summary, options, targets, writers)
        _write_texts(texts, summary, options, source, targets, writers, turns)
        with uninterrupted():  # the outputs are complete; what is left is renaming
            writing.close()
    return summary


@dataclass
class Turn:
    """One subject's way through the chain, to its own outputs."""

    subject: str
    chain: Chain
    watchers: _Watchers
    writers: list[Writer]
    findings: Findings | None = None
    courses: Sequence[Course] = ()

    @property
    def takes_device(self) -> bool:
        """Whether all of its results may stay on a GPU until they are written."""
        return self.watchers.observer is None and all(map(packs, self.writers))


def packs(writer: Writer) -> bool:
    """Whether a writer takes alpha and colours from a GPU."""
    return bool(getattr(writer, "packs", False))


def _written(turns: Sequence[Turn], made: Generator[list[Cutout]], display: Display) -> int:
    """Write the cut-outs of every frame, and complete their files; returns how many frames there were."""
    frames = 0
    with closing(made) as moments:
        for cutouts in moments:
            for turn, cutout in zip(turns, cutouts, strict=True):
                with turn.chain.encode:
                    for writer in turn.writers:
                        writer.write(cutout)
                with turn.chain.check:
                    turn.watchers.write(cutout)
            frames += 1
            display.written(frames)
    for turn in turns:
        with turn.chain.encode:
            for writer in turn.writers:
                writer.finish()
    return frames


def model_of(options: Options, display: Display) -> BiRefNetModel:
    """The network, loaded."""
    from streammatte.media.copies import fetched_once
    from streammatte.models.birefnet import load_model

    weights = options.network.weights
    return load_model(
        options.network.model,
        weights=None if weights is None else fetched_once(weights),
        device=options.network.device,
        precision=options.network.precision,
        size=options.network.size,
        offline=options.network.offline,
        on_progress=display.fetching,
        on_notice=display.notice,
    )


def cache_beside(
    options: Options,
    source: Footage,
    model: BiRefNetModel,
    outputs: Sequence[str],
    display: Display,
    caching: ExitStack,
) -> MatteCache | None:
    """The cache beside these files, opened; a single picture has none."""
    from streammatte.media.addresses import PIPE
    from streammatte.media.remote import place_of
    from streammatte.media.write.upload import kept_at

    if source.info.frame_count == 1:
        return None
    cache = cache_of(options, model, outputs, notice=display.notice)
    if cache is None:
        return None
    beside = next(place_of(output).parent for output in outputs if output != PIPE)
    caching.enter_context(kept_at(beside / cache.visible.name, cache.visible, display.notice))
    caching.enter_context(cache)
    if cache.left:
        display.notice(f"continuing with {len(cache)} mattes that an interrupted run computed")
    elif options.writing.resume and not len(cache):
        display.notice("nothing to resume: no mattes of this input and model are kept beside the output")
    return cache


@dataclass
class _Watchers:
    """What examines the cut-outs: for implausible mattes, and for a report or limits."""

    doubts: Doubts
    observer: Observer | None

    def write(self, cutout: Cutout) -> None:
        self.doubts.write(cutout)
        if self.observer is not None:
            self.observer.write(cutout)


def _watchers(options: Options, source: Footage, chain: Chain, *, guided: bool) -> _Watchers:
    from streammatte.quality.plausible import Doubts
    from streammatte.stages import TemporalSmoother

    guided = guided or bool(options.transparency.transparent)
    doubts = Doubts(guided=guided, smoothed=options.matting.smooth == "high")
    if options.reporting.report is None and not options.reporting.limits:
        return _Watchers(doubts, None)
    from streammatte.quality.observer import Observer

    stages = (timed.stage for timed in chain.stages)
    mended = next((stage.mended for stage in stages if isinstance(stage, TemporalSmoother)), None)
    return _Watchers(doubts, Observer(source.info.time_base, mended, colors=not options.writing.matte_only))


def tell_of_chain(summary: Summary, chain: Chain, whose: str = "") -> None:
    """Add what a chain did."""
    summary.stages = [stage.name for stage in chain.stages]
    summary.mattes_read += sum(each.read for each in chain.answers)
    summary.mattes_computed += sum(each.computed for each in chain.answers)
    summary.keyframes += chain.seeing.frames
    summary.keyframe_seconds += chain.seeing.seconds
    summary.notes += [note for note in chain.seeing.notes() if note not in summary.notes]
    if chain.stride.every > 1:
        summary.notes.append(whose + chain.stride.note())


def _tell_of_turns(summary: Summary, options: Options, source: Video, turns: Sequence[Turn]) -> None:
    """What the chains did, all of them together, and how good each one's mattes are."""
    chains = [turn.chain for turn in turns]
    summary.seconds = chains[0].whole.wall
    summary.timings = timings_of([chain.clocks() for chain in chains], summary.frames)
    doubts = []
    for turn in turns:
        whose = f"{turn.subject}: " if turn.subject else ""
        tell_of_chain(summary, turn.chain, whose)
        if line := turn.watchers.doubts.line():
            doubts.append(whose + line)
        if turn.watchers.observer is not None:
            from streammatte.quality.observer import lengths_of_all

            lengths = lengths_of_all(summary.input, source, turn.writers, silent=options.writing.no_audio)
            turn.findings = turn.watchers.observer.findings(lengths)
            summary.crossed += [whose + each for each in turn.findings.crossed(dict(options.reporting.limits))]
    summary.doubt = "; ".join(doubts) or None
    summary.findings = turns[0].findings


def _write_texts(
    texts: dict[str, TextFile],
    summary: Summary,
    options: Options,
    source: Video,
    targets: Sequence[Target],
    writers: Sequence[Writer],
    turns: Sequence[Turn],
) -> None:
    for turn in turns:
        page = texts.get(f"report {turn.subject}")
        if page is not None and turn.watchers.observer is not None and turn.findings is not None:
            page.write(report_of(summary, options, turn.watchers.observer, turn.findings, turn.courses))
            summary.outputs.append({"path": str(page.path), "description": "report", "alpha": None})
    if (note := texts.get("note")) is not None:
        write_note(note, summary, options, source, targets, writers)
