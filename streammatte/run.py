"""One run of the command: from options to a summary."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from streammatte.cache import MatteCache, Remembered, RememberedRegions, cache_of, sdmatte_identity
from streammatte.checks import (
    alpha_told,
    check_handles,
    check_input_alpha,
    check_limits,
    check_lookahead,
    check_single,
    check_targets,
    check_transparency,
    guides_named,
    screen_of,
)
from streammatte.errors import InputError
from streammatte.frame import Cutout, Footage, Frame, StreamInfo, Writer
from streammatte.options import Options
from streammatte.stages.transparent.asking import SeeingThrough
from streammatte.summary import STAGES, Clock, Summary, Timed, TimedModel

if TYPE_CHECKING:
    from streammatte.media.read.guide import GuideMatte
    from streammatte.media.write.delivery import Target
    from streammatte.media.write.output import TextFile
    from streammatte.models.birefnet import BiRefNetModel
    from streammatte.quality.observer import Observer
    from streammatte.stages.transparent.refiner import KeyframeMatter

Guides = dict[str, "list[GuideMatte]"]

AHEAD = 2  # cut-outs between two stages: each holds a frame, an alpha and maybe colours in float


class Display(Protocol):
    """What a run tells whoever is watching."""

    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def started(self, info: StreamInfo, model: BiRefNetModel) -> None: ...
    def keyframe(self, index: int | None) -> None: ...
    def written(self, frames: int) -> None: ...


def run(options: Options, display: Display) -> Summary:
    """Matte ``options.input`` into every output asked for, in one pass.

    Decoding, the network, every stage and encoding have a thread each. No output gets its name before all of them are
    complete.
    """
    from streammatte.quality.plausible import Doubts

    targets = _checked(options)
    with _input(options) as source, ExitStack() as caching, ExitStack() as writing:
        _check_source(options, source, targets)
        # Entered first, the texts are left last: there are none about outputs that could not be put in their place.
        texts = _texts(options, writing)
        # The writers come before the model: a name that cannot be written is known at once, not after a download.
        writers = [writing.enter_context(_writer(target, source, options)) for target in targets]
        guides = _guides(options, source, display, writing)
        model = _model(options, display)
        cache = (
            None
            if source.info.frame_count == 1
            else cache_of(options, model, [target.path for target in targets], notice=display.notice)
        )
        if cache is not None:
            caching.enter_context(cache)
            _tell_of(cache, options, display)
        chain = _chain(options, model, cache, guides, _shows_colors(targets), display)
        observer = _observer(options, source.info, chain.stages, targets)
        doubts = Doubts(guided=bool(guides) or options.transparent is not None, smoothed=options.smooth == "high")

        display.started(source.info, model)
        start = time.perf_counter()
        frames = 0
        with _threads_for(chain, model), closing(_cutouts(options, source, chain)) as cutouts:
            for cutout in cutouts:
                _write(cutout, writers, chain.encode)
                doubts.write(cutout)
                if observer is not None:
                    observer.write(cutout)
                frames += 1
                display.written(frames)
        with chain.encode:
            for writer in writers:
                writer.finish()

        summary = Summary(options.input, model.name, str(model.device), model.precision, model.size, frames=frames)
        summary.seconds = time.perf_counter() - start
        summary.doubt = doubts.line()
        _sum_up(summary, options, source, targets, writers, guides, chain)
        _score(summary, options, source, writers, observer)
        _write_texts(texts, summary, options, source, targets, writers, observer)
        with _uninterrupted():  # all of them are complete; what is left is renaming
            writing.close()
    return summary


def _checked(options: Options) -> list[Target]:
    """The outputs, after everything that can be refused without opening the input."""
    from streammatte.media.write.delivery import targets_of

    targets = targets_of(options)
    check_targets(options, [target.path for target in targets])
    check_lookahead(options)
    check_limits(options, colors=_shows_colors(targets))
    check_handles(options)
    return targets


def _check_source(options: Options, source: Footage, targets: Sequence[Target]) -> None:
    info = source.info
    if options.frame_rate is not None and info.frame_rate != options.frame_rate:
        raise InputError(f"--fps is for image sequences: {options.input} states its own rate", hint="leave it out")
    check_input_alpha(options, has_alpha=source.has_alpha)
    check_transparency(options, info.width, info.height)
    check_single([target.path for target in targets], info.frame_count)


def _shows_colors(targets: Sequence[Target]) -> bool:
    """Whether anybody sees the colours; they are not estimated for a matte alone."""
    return not targets or any(target.content != "matte" for target in targets)


def _input(options: Options) -> Footage:
    from streammatte.media import open_video

    return open_video(
        options.input,
        frame_rate=options.frame_rate,
        strict=options.strict,
        first=options.mark_in,
        last=options.mark_out,
        handles=options.handles,
        interlaced=options.interlaced,
        layer=options.layer,
    )


def _texts(options: Options, writing: ExitStack) -> dict[str, TextFile]:
    """The report and the note of a delivery, by name."""
    from streammatte.media.write.delivery import delivery_folder, name_of
    from streammatte.media.write.output import open_text
    from streammatte.quality.page import ENDINGS

    texts = {}
    if options.report is not None:
        texts["report"] = open_text(options.report, ENDINGS, overwrite=options.overwrite)
    if options.deliver is not None:
        folder = writing.enter_context(delivery_folder(options.deliver))
        path = folder / f"{name_of(options.input)}.txt"
        texts["note"] = open_text(str(path), (".txt",), overwrite=options.overwrite)
    for text in texts.values():
        writing.enter_context(text)
    return texts


def _writer(target: Target, source: Footage, options: Options) -> Writer:
    from streammatte.media import open_writer
    from streammatte.media.write.delivery import info_for

    number = options.start_number  # of the first frame that is written, which need not be the one with index 0
    return open_writer(
        target.path,
        info_for(target, source.info, options),
        alpha=options.alpha,
        background=target.background,
        content=target.content,
        audio=None if options.no_audio else options.input,
        subtitles=options.input,
        overwrite=options.overwrite,
        bits=options.bits,
        first_number=source.first_number if number is None else number - source.info.first_index,
        codec=options.codec,
        quality=options.quality,
        compression=options.exr_compression,
    )


def _guides(options: Options, source: Footage, display: Display, running: ExitStack) -> Guides:
    """The user's mattes by kind, opened."""
    from streammatte.media.addresses import without_secrets
    from streammatte.media.read.guide import GuideMatte, guide_path
    from streammatte.media.read.sequence import NumberedName

    number = None if NumberedName.parse(options.input) is None else source.first_number
    guides: Guides = {}
    for name, spec in ((name, spec) for name, specs in guides_named(options).items() for spec in specs):
        guide = GuideMatte(
            spec,
            source.info,
            begins=source.begins,
            first_number=number,
            strict=options.strict,
            layer=options.layer if guide_path(spec) == options.input else None,
        )
        guides.setdefault(name, []).append(running.enter_context(guide))
        for note in guide.notes:
            display.notice(f"{without_secrets(guide.path)}: {note}")
    return guides


def _model(options: Options, display: Display) -> BiRefNetModel:
    from streammatte.models.birefnet import load_model

    return load_model(
        options.model,
        weights=options.weights,
        device=options.device,
        precision=options.precision,
        size=options.size,
        offline=options.offline,
        on_progress=display.fetching,
        on_notice=display.notice,
    )


def _tell_of(cache: MatteCache, options: Options, display: Display) -> None:
    if cache.left:
        display.notice(f"continuing with {len(cache)} mattes that an interrupted run computed")
    elif options.resume and not len(cache):
        display.notice("nothing to resume: no mattes of this input and model are kept beside the output")


@dataclass
class _Chain:
    """What a frame passes between the source and the writers, and the time that each part takes."""

    model: TimedModel
    answers: list[Remembered | RememberedRegions]
    seeing: SeeingThrough
    stages: list[Timed]
    decode: Clock = field(default_factory=Clock)
    encode: Clock = field(default_factory=Clock)

    def timings(self, frames: int) -> dict[str, float]:
        """Frames per second of each part alone."""
        stages = {STAGES.get(stage.name, stage.name): stage.clock for stage in self.stages}
        clocks = {"decode": self.decode, "network": self.model.clock, **stages, "encode": self.encode}
        return {name: clock.rate(frames) for name, clock in clocks.items()}


def _chain(
    options: Options, model: BiRefNetModel, cache: MatteCache | None, guides: Guides, colors: bool, display: Display
) -> _Chain:
    from streammatte.media.read.guide import GuideUnion
    from streammatte.stages import stages_for

    unions = {name: GuideUnion(each) for name, each in guides.items()}
    network = Remembered(model, cache)
    answers: list[Remembered | RememberedRegions] = [network]

    def remember(matted: KeyframeMatter) -> KeyframeMatter:
        device = model.device.type
        regions = RememberedRegions(matted, cache, lambda: sdmatte_identity(options, device))
        answers.append(regions)
        return regions

    seeing = SeeingThrough(options, model.size, model.device, unions.get("transparent"), display, remember)
    stages = stages_for(
        model.size,
        options.colors,
        options.smooth,
        options.lookahead,
        core=unions.get("core"),
        garbage=unions.get("garbage"),
        holdout=unions.get("holdout"),
        transparency=seeing.stage,
        detail=options.detail,
        choke=options.choke,
        feather=options.feather,
        decontaminate=options.decontaminate == "on" and colors,
        screen=screen_of(options.despill) if colors and options.despill is not None else None,
        device=model.device,
    )
    return _Chain(TimedModel(network, model.size), answers, seeing, [Timed(stage) for stage in stages])


@contextmanager
def _threads_for(chain: _Chain, model: BiRefNetModel) -> Iterator[None]:
    """Leave cores to the stages, unless a large network is what everything waits for."""
    from streammatte.models.device import cores_left_to
    from streammatte.stages import SURE_OF_ITSELF

    with ExitStack() as threads:
        if model.device.type == "cpu" and max(model.size) < SURE_OF_ITSELF:
            threads.enter_context(cores_left_to(len(chain.stages)))
        yield


def _cutouts(options: Options, source: Footage, chain: _Chain) -> Generator[Cutout]:
    """The cut-outs of all frames, computed in threads; close it to stop them."""
    from streammatte.color.screen import transfer_for, view_of
    from streammatte.media.read.file_source import FileSource
    from streammatte.pipeline import matte, prefetch

    def stopped() -> None:
        chain.seeing.stop()
        if isinstance(source, FileSource):
            source.stop()

    frames: Iterable[Frame] = chain.decode.over(source)
    view = view_of(transfer_for(options.input_transfer, source.info.color), source.info.profile)
    if view is not None:
        frames = (replace(frame, view=view) for frame in frames)
    cutouts = matte(prefetch(frames), chain.model, chain.stages, batch=options.batch, ahead=AHEAD)
    return prefetch(cutouts, stopped=stopped)


def _write(cutout: Cutout, writers: Iterable[Writer], clock: Clock) -> None:
    with clock:
        for writer in writers:
            writer.write(cutout)


def _sum_up(
    summary: Summary,
    options: Options,
    source: Footage,
    targets: Sequence[Target],
    writers: Sequence[Writer],
    guides: Guides,
    chain: _Chain,
) -> None:
    """Fill in what the parts of a run know of it."""
    from streammatte.color.screen import transfer_for
    from streammatte.color.ycbcr import assumed_matrix
    from streammatte.media.write.composing import alpha_of

    info = source.info
    summary.stages = [stage.name for stage in chain.stages]
    summary.timings = chain.timings(summary.frames)
    summary.mattes_read = sum(each.read for each in chain.answers)
    summary.mattes_computed = sum(each.computed for each in chain.answers)
    for target, writer in zip(targets, writers, strict=True):
        alpha = alpha_of(
            Path(target.path).suffix, options.alpha, target.content, composite=target.background is not None
        )
        path = str(Path(target.path))
        summary.outputs.append({"path": path, "description": writer.description, "alpha": alpha})
    summary.assumed = assumed_matrix(info.color, info.width, info.height)
    summary.input_transfer = transfer_for(options.input_transfer, info.color)
    summary.lost = source.lost
    summary.keyframes, summary.keyframe_seconds = chain.seeing.frames, chain.seeing.seconds
    given = [(name, each) for name, several in guides.items() for each in several]
    summary.mattes = [{"path": each.path, "as": name, "lost": each.lost} for name, each in given]
    summary.notes = [*source.notes, *alpha_told(options, source.has_alpha), *chain.seeing.notes()]


def _observer(
    options: Options, info: StreamInfo, stages: Iterable[Timed], targets: Sequence[Target]
) -> Observer | None:
    """What looks at the cut-outs for a report or a limit."""
    from streammatte.stages import TemporalSmoother

    if options.report is None and not options.limits:
        return None
    from streammatte.quality.observer import Observer

    mended = next((timed.stage.mended for timed in stages if isinstance(timed.stage, TemporalSmoother)), None)
    return Observer(info.time_base, mended, colors=_shows_colors(targets))


def _score(
    summary: Summary, options: Options, source: Footage, writers: Sequence[Writer], observer: Observer | None
) -> None:
    from streammatte.quality.streams import lengths_of_all

    if observer is not None:
        lengths = lengths_of_all(options.input, source, writers, silent=options.no_audio)
        summary.findings = observer.findings(lengths)
        summary.crossed = summary.findings.crossed(dict(options.limits))


def _write_texts(
    texts: dict[str, TextFile],
    summary: Summary,
    options: Options,
    source: Footage,
    targets: Sequence[Target],
    writers: Sequence[Writer],
    observer: Observer | None,
) -> None:
    from streammatte.media.write.delivery import note_of

    if (page := texts.get("report")) is not None and observer is not None:
        page.write(_page(options, summary, observer))
        summary.outputs.append({"path": str(page.path), "description": "report", "alpha": None})
    if (note := texts.get("note")) is not None:
        note.write(note_of(options, source.info, targets, writers, summary.frames))
        description = "what each file holds, and which programs show it"
        summary.outputs.append({"path": str(note.path), "description": description, "alpha": None})


def _page(options: Options, summary: Summary, observer: Observer) -> str:
    from streammatte.quality.sheet import report_page

    assert summary.findings is not None
    height, width = summary.size
    about = {
        "outputs": ", ".join(f"{output['path']} ({output['description']})" for output in summary.outputs) or "none",
        "frames written": str(summary.frames),
        "lost": summary.lost or "nothing",
        "model": f"{summary.model}, {width}×{height}, {summary.precision} on {summary.device}",
        "stages": ", ".join(STAGES.get(name, name) for name in summary.stages) or "none",
        "speed": summary.took(),
    }
    usual = Options(options.input)
    for name in (each.name for each in fields(options)):
        value = getattr(options, name)
        if value != getattr(usual, name) and name not in ("outputs", "report"):
            about[f"option {name}"] = _said(value)
    lines = [*summary.crossed, *([summary.doubt] if summary.doubt else [])]
    return report_page(options.input, about, observer, summary.findings, lines)


def _said(value: object) -> str:
    """An option's value as it would be given."""
    match value:
        case True | False:
            return "on" if value else "off"
        case (int(height), int(width)):
            return f"{width}x{height}"
        case (int(), *_):
            return ",".join(map(str, value))
        case (str(), *_):
            return ", ".join(map(str, value))
        case tuple():
            return ", ".join(f"{name}={limit:g}" for name, limit in value)
        case _:
            return str(value)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore signals: the outputs are complete, and what is left takes milliseconds."""
    if threading.current_thread() is not threading.main_thread():  # no signal reaches another one
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
