"""One run of the command: from options to a summary."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from streammatte.cache import MatteCache, Remembered, RememberedRegions, cache_of
from streammatte.frame import Cutout, Footage, StreamInfo, Writer
from streammatte.options import Options
from streammatte.refusals import check, check_source, screen_of
from streammatte.stages.transparent.asking import Transparency, sdmatte_identity
from streammatte.summary import STAGES, Clock, Summary, Timed, TimedModel, report_of

if TYPE_CHECKING:
    from streammatte.media.read.guide import GuideMatte
    from streammatte.media.read.video import Video
    from streammatte.media.write.delivery import Target
    from streammatte.media.write.output import TextFile
    from streammatte.models.birefnet import BiRefNetModel
    from streammatte.quality.observer import Observer
    from streammatte.quality.plausible import Doubts
    from streammatte.stages.transparent.keyframes import KeyframeModel
    from streammatte.stride import Stride

Guides = dict[str, "list[GuideMatte]"]

AHEAD = 2  # cut-outs between the model and the stages


class Display(Protocol):
    """What a run reports while it lasts."""

    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def started(self, info: StreamInfo, model: BiRefNetModel) -> None: ...
    def keyframe(self, index: int | None) -> None: ...
    def written(self, frames: int) -> None: ...


def run(
    options: Options, display: Display, model: BiRefNetModel | None = None, joined: Joined | None = None
) -> Summary:
    """Matte ``options.reading.input`` into every output, in one pass.

    Decoding, network, stages and encoding have a thread each. Outputs get their names when all are complete.

    Args:
        joined: How the links of the chain are joined instead, to measure them.
    """
    from streammatte.media.read.video import opened
    from streammatte.media.write.delivery import targets_of, writer_of

    check(options)
    targets = targets_of(options)
    with opened(options.reading) as source, ExitStack() as caching, ExitStack() as writing:
        check_source(options, source)
        # Entered first, the texts are left last: after the outputs that they describe are in place.
        texts = texts_of(options, writing)
        # Writers before the model: a name that cannot be written fails before a download.
        writers = [
            writing.enter_context(writer_of(target, source.info, source.first_number, options)) for target in targets
        ]
        guides = guides_of(options, source, display, writing)
        model = model or model_of(options, display)
        cache = opened_cache(options, source, model, targets, display, caching)
        chain = chain_of(options, model, cache, guides, display)
        watchers = _watchers(options, source, chain, guided=bool(guides))

        display.started(source.info, model)
        frames = 0
        with chain.whole:
            with closing((joined or overlapped)(options, source, chain)) as cutouts:
                for cutout in cutouts:
                    with chain.encode:
                        for writer in writers:
                            writer.write(cutout)
                    with chain.check:
                        watchers.write(cutout)
                    frames += 1
                    display.written(frames)
            with chain.encode:
                for writer in writers:
                    writer.finish()

        summary = Summary(options.reading.input, model.name, str(model.device), model.precision, model.size)
        summary.frames, summary.seconds = frames, chain.whole.wall
        tell_of_input(summary, options, source, guides)
        tell_of_chain(summary, chain)
        tell_of_outputs(summary, options, targets, writers)
        _tell_of_quality(summary, options, source, writers, watchers)
        _write_texts(texts, summary, options, source, targets, writers, watchers)
        with uninterrupted():  # the outputs are complete; what is left is renaming
            writing.close()
    return summary


def texts_of(options: Options, writing: ExitStack) -> dict[str, TextFile]:
    """The report and a delivery's note, by name."""
    from streammatte.media.write.delivery import delivery_folder, name_of
    from streammatte.media.write.output import open_text
    from streammatte.quality.page import ENDINGS

    texts = {}
    if options.reporting.report is not None:
        texts["report"] = open_text(options.reporting.report, ENDINGS, overwrite=options.writing.overwrite)
    if options.writing.deliver is not None:
        folder = writing.enter_context(delivery_folder(options.writing.deliver))
        path = folder / f"{name_of(options.reading.input)}.txt"
        texts["note"] = open_text(str(path), (".txt",), overwrite=options.writing.overwrite)
    for text in texts.values():
        writing.enter_context(text)
    return texts


def guides_of(options: Options, source: Footage, display: Display, running: ExitStack) -> Guides:
    """The user's mattes by kind, opened."""
    from streammatte.media.addresses import without_secrets
    from streammatte.media.read.guide import GuideMatte, guide_path
    from streammatte.media.read.numbered import NumberedName

    number = None if NumberedName.parse(options.reading.input) is None else source.first_number
    guides: Guides = {}
    for name, spec in ((name, spec) for name, specs in options.guides().items() for spec in specs):
        guide = GuideMatte(
            spec,
            source.info,
            begins=source.begins,
            first_number=number,
            strict=options.reading.strict,
            layer=options.reading.layer if guide_path(spec) == options.reading.input else None,
        )
        guides.setdefault(name, []).append(running.enter_context(guide))
        for note in guide.notes:
            display.notice(f"{without_secrets(guide.path)}: {note}")
    return guides


def model_of(options: Options, display: Display) -> BiRefNetModel:
    """The network, loaded."""
    from streammatte.models.birefnet import load_model

    return load_model(
        options.network.model,
        weights=options.network.weights,
        device=options.network.device,
        precision=options.network.precision,
        size=options.network.size,
        offline=options.network.offline,
        on_progress=display.fetching,
        on_notice=display.notice,
    )


def opened_cache(
    options: Options,
    source: Footage,
    model: BiRefNetModel,
    targets: Sequence[Target],
    display: Display,
    caching: ExitStack,
) -> MatteCache | None:
    """The cache, opened; a single picture has none."""
    if source.info.frame_count == 1:
        return None
    cache = cache_of(options, model, [target.path for target in targets], notice=display.notice)
    if cache is None:
        return None
    caching.enter_context(cache)
    if cache.left:
        display.notice(f"continuing with {len(cache)} mattes that an interrupted run computed")
    elif options.writing.resume and not len(cache):
        display.notice("nothing to resume: no mattes of this input and model are kept beside the output")
    return cache


@dataclass
class Chain:
    """What frames pass between source and writers, timed."""

    model: TimedModel
    answers: list[Remembered | RememberedRegions]
    seeing: Transparency
    stages: list[Timed]
    stride: Stride
    decode: Clock = field(default_factory=Clock)
    encode: Clock = field(default_factory=Clock)
    check: Clock = field(default_factory=Clock)
    whole: Clock = field(default_factory=Clock)

    def clocks(self) -> dict[str, Clock]:
        """Every step's by its name, in order."""
        stages = {STAGES.get(stage.name, stage.name): stage.clock for stage in self.stages}
        ends = {"encode": self.encode, "check": self.check}
        return {"decode": self.decode, "network": self.model.clock, **stages, **ends}

    def timings(self, frames: int) -> dict[str, float]:
        """Frames per second of each part alone."""
        return {name: clock.rate(frames) for name, clock in self.clocks().items()}


Joined = Callable[[Options, "Video", Chain], Generator[Cutout]]
"""How the cut-outs of a source are computed with a chain."""


def chain_of(
    options: Options, model: BiRefNetModel, cache: MatteCache | None, guides: Guides, display: Display
) -> Chain:
    """The network and the stages after it."""
    from streammatte.media.read.guide import GuideUnion
    from streammatte.stages import stages_for
    from streammatte.stride import Stride

    colors = not options.writing.matte_only
    unions = {name: GuideUnion(each) for name, each in guides.items()}
    network = Remembered(model, cache)
    answers: list[Remembered | RememberedRegions] = [network]

    def remember(keyframes: KeyframeModel) -> KeyframeModel:
        device = model.device.type
        regions = RememberedRegions(keyframes, cache, lambda: sdmatte_identity(options, device))
        answers.append(regions)
        return regions

    seeing = Transparency(options, model.size, model.device, unions.get("transparent"), display, remember)
    stages = stages_for(
        model.size,
        options.matting.colors,
        options.matting.smooth,
        options.matting.lookahead,
        core=unions.get("core"),
        garbage=unions.get("garbage"),
        holdout=unions.get("holdout"),
        transparency=seeing.stage,
        detail=options.matting.detail,
        choke=options.matting.choke,
        feather=options.matting.feather,
        decontaminate=options.edges.decontaminate == "on" and colors,
        screen=screen_of(options.edges.despill) if colors and options.edges.despill is not None else None,
        device=model.device,
    )
    stride = Stride(options.network.stride)
    return Chain(TimedModel(network, model.size), answers, seeing, [Timed(stage) for stage in stages], stride)


def overlapped(options: Options, source: Video, chain: Chain) -> Generator[Cutout]:
    """The cut-outs of all frames, computed in threads, which closing stops."""
    from streammatte.pipeline import matte, prefetch

    def stopped() -> None:
        chain.seeing.stop()
        source.stop()

    frames = prefetch(chain.decode.over(source))
    cutouts = matte(frames, chain.model, chain.stages, batch=options.network.batch, stride=chain.stride, ahead=AHEAD)
    return prefetch(cutouts, stopped=stopped)


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

    guided = guided or options.transparency.transparent is not None
    doubts = Doubts(guided=guided, smoothed=options.matting.smooth == "high")
    if options.reporting.report is None and not options.reporting.limits:
        return _Watchers(doubts, None)
    from streammatte.quality.observer import Observer

    stages = (timed.stage for timed in chain.stages)
    mended = next((stage.mended for stage in stages if isinstance(stage, TemporalSmoother)), None)
    return _Watchers(doubts, Observer(source.info.time_base, mended, colors=not options.writing.matte_only))


def tell_of_input(summary: Summary, options: Options, source: Footage, guides: Guides) -> None:
    from streammatte.color.codes import assumed_matrix
    from streammatte.color.screen import transfer_for

    info = source.info
    summary.assumed = assumed_matrix(info.color, info.width, info.height)
    summary.input_transfer = transfer_for(options.reading.input_transfer, info.color)
    summary.lost = source.lost
    given = [(name, guide) for name, several in guides.items() for guide in several]
    summary.mattes = [{"path": guide.path, "as": name, "lost": guide.lost} for name, guide in given]
    summary.notes += source.notes
    if source.has_alpha and options.reading.input_alpha == "ignore":
        summary.notes.append("the input's own alpha was ignored; --input-alpha core or garbage uses it")


def tell_of_chain(summary: Summary, chain: Chain) -> None:
    summary.stages = [stage.name for stage in chain.stages]
    summary.timings = chain.timings(summary.frames)
    summary.mattes_read = sum(each.read for each in chain.answers)
    summary.mattes_computed = sum(each.computed for each in chain.answers)
    summary.keyframes, summary.keyframe_seconds = chain.seeing.frames, chain.seeing.seconds
    summary.notes += chain.seeing.notes()
    if chain.stride.every > 1:
        summary.notes.append(chain.stride.note())


def tell_of_outputs(summary: Summary, options: Options, targets: Sequence[Target], writers: Sequence[Writer]) -> None:
    from streammatte.media.write.composing import alpha_of

    for target, writer in zip(targets, writers, strict=True):
        path = Path(target.path)
        composite = target.background is not None
        alpha = alpha_of(path.suffix, options.writing.alpha, target.content, composite=composite)
        summary.outputs.append({"path": str(path), "description": writer.description, "alpha": alpha})


def _tell_of_quality(
    summary: Summary, options: Options, source: Video, writers: Sequence[Writer], watchers: _Watchers
) -> None:
    summary.doubt = watchers.doubts.line()
    if watchers.observer is not None:
        from streammatte.quality.observer import lengths_of_all

        lengths = lengths_of_all(options.reading.input, source, writers, silent=options.writing.no_audio)
        summary.findings = watchers.observer.findings(lengths)
        summary.crossed = summary.findings.crossed(dict(options.reporting.limits))


def _write_texts(
    texts: dict[str, TextFile],
    summary: Summary,
    options: Options,
    source: Video,
    targets: Sequence[Target],
    writers: Sequence[Writer],
    watchers: _Watchers,
) -> None:
    if (page := texts.get("report")) is not None and watchers.observer is not None:
        page.write(report_of(summary, options, watchers.observer))
        summary.outputs.append({"path": str(page.path), "description": "report", "alpha": None})
    if (note := texts.get("note")) is not None:
        write_note(note, summary, options, source, targets, writers)


def write_note(
    note: TextFile,
    summary: Summary,
    options: Options,
    source: Video,
    targets: Sequence[Target],
    writers: Sequence[Writer],
) -> None:
    """Write a delivery's note."""
    from streammatte.media.write.delivery import note_of

    note.write(note_of(options, source.info, targets, writers, summary.frames))
    description = "what each file holds, and which programs show it"
    summary.outputs.append({"path": str(note.path), "description": description, "alpha": None})


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore signals, for milliseconds."""
    if threading.current_thread() is not threading.main_thread():  # only that one gets signals
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) is not None]  # not C's: it cannot be restored
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
