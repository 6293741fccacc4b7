"""One run of the command: from what was asked for to what was written."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

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
from streammatte.frame import Footage, Frame, Stage, StreamInfo
from streammatte.options import Options
from streammatte.resume import Course, asked_of, begin, doubting, held
from streammatte.stages.transparent.asking import SeeingThrough
from streammatte.summary import STAGES, Clock, Summary, Timed

if TYPE_CHECKING:
    from torch import Tensor

    from streammatte.media.read.guide import GuideMatte
    from streammatte.media.write.animation_writer import AnimationWriter
    from streammatte.media.write.picture_writer import PictureSequenceWriter
    from streammatte.media.write.pipe_writer import PipeWriter
    from streammatte.media.write.video_writer import VideoWriter
    from streammatte.models.birefnet import BiRefNetModel
    from streammatte.quality.observer import Observer

T = TypeVar("T")

AHEAD = 2  # cut-outs between two stages: each holds a frame, an alpha and maybe colours in float


class Display(Protocol):
    """What a run tells whoever is watching."""

    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def started(self, info: StreamInfo, matter: BiRefNetModel) -> None: ...
    def keyframe(self, index: int | None) -> None: ...
    def written(self, frames: int) -> None: ...


def run(options: Options, display: Display) -> Summary:
    """Matte ``options.input`` into every output asked for, in one pass.

    Decoding, the network, every stage and encoding have a thread of their own. No output gets its name before all of
    them are complete.
    """
    from streammatte.color.screen import transfer_for, view_of
    from streammatte.color.ycbcr import assumed_matrix
    from streammatte.media import open_video, open_writer
    from streammatte.media.read.file_source import FileSource
    from streammatte.media.read.guide import GuideUnion
    from streammatte.media.write.delivery import delivery_folder, info_for, name_of, note_of, targets_of
    from streammatte.media.write.output import open_text
    from streammatte.models.birefnet import load_model
    from streammatte.models.device import cores_left_to
    from streammatte.pipeline import matte, prefetch
    from streammatte.quality.page import ENDINGS
    from streammatte.quality.plausible import Doubts
    from streammatte.quality.streams import lengths_of_all
    from streammatte.stages import SURE_OF_ITSELF, stages_for

    targets = targets_of(options)
    check_targets(options, [target.path for target in targets])
    check_lookahead(options)
    colors_shown = not targets or any(each.content != "matte" for each in targets)  # of a matte alone, nobody sees them
    check_limits(options, colors=colors_shown)
    check_handles(options)
    limits = dict(options.limits)
    screen = None if options.despill is None else screen_of(options.despill)

    with (
        open_video(
            options.input,
            frame_rate=options.frame_rate,
            strict=options.strict,
            first=options.mark_in,
            last=options.mark_out,
            handles=options.handles,
            interlaced=options.interlaced,
            layer=options.layer,
        ) as source,
        ExitStack() as writing,
    ):
        if options.frame_rate is not None and source.info.frame_rate != options.frame_rate:
            raise InputError(f"--fps is for image sequences: {options.input} states its own rate", hint="leave it out")
        check_input_alpha(options, has_alpha=source.has_alpha)
        check_transparency(options, source.info.width, source.info.height)
        # Entered first, the page is left last: there is none of outputs that could not be put in their place.
        page = None
        if options.report is not None:
            page = writing.enter_context(open_text(options.report, ENDINGS, overwrite=options.overwrite))
        note = None
        if options.deliver is not None:
            folder = writing.enter_context(delivery_folder(options.deliver))
            path = folder / f"{name_of(options.input)}.txt"
            note = writing.enter_context(open_text(str(path), (".txt",), overwrite=options.overwrite))
        # The writers come before the model: a name that cannot be written is known at once, not after a download.
        writers: list[VideoWriter | PictureSequenceWriter | AnimationWriter | PipeWriter] = []
        for target in targets:
            writer = open_writer(
                target.path,
                info_for(target, source.info, options),
                alpha=options.alpha,
                background=target.background,
                content=target.content,
                audio=None if options.no_audio else options.input,
                subtitles=options.input,
                overwrite=options.overwrite,
                bits=options.bits,
                first_number=_first_number(options, source),
                codec=options.codec,
                quality=options.quality,
                compression=options.exr_compression,
            )
            writers.append(writer)
        check_single([target.path for target in targets], source.info.frame_count)
        parts = [writer.part for writer in writers if writer.part is not None]
        writing.enter_context(held(parts))
        for part in parts:
            part.claim()
        mattes = _guides(options, source, display, writing)
        guides = {name: GuideUnion(each) for name, each in mattes.items()}
        matter = load_model(
            options.model,
            weights=options.weights,
            device=options.device,
            precision=options.precision,
            size=options.size,
            offline=options.offline,
            on_progress=display.fetching,
            on_notice=display.notice,
        )
        seeing = SeeingThrough(options, matter.size, matter.device, guides.get("transparent"), display)
        summary = Summary(
            input=options.input,
            model=matter.name,
            device=str(matter.device),
            precision=matter.precision,
            size=matter.size,
            alpha=options.alpha or "straight",
            assumed=assumed_matrix(source.info.color, source.info.width, source.info.height),
            input_transfer=transfer_for(options.input_transfer, source.info.color),
        )
        if options.resume:
            for writer in (writer for writer in writers if not writer.resumable):
                display.notice(f"{writer.path} cannot be resumed, as .mov, .mkv and pictures can: it begins anew")
        asked = asked_of(options, matter, sees_through=seeing.stage is not None)
        kept = [writer.part for writer in writers if writer.resumable and writer.part is not None]
        begin(kept, asked, options, notice=display.notice)
        for writer in writers:
            writing.enter_context(writer)
        writing.enter_context(doubting(parts))
        display.started(source.info, matter)
        decode, network, encode = Clock(), Clock(), Clock()
        wanted = stages_for(
            matter.size,
            options.colors,
            options.smooth,
            options.lookahead,
            core=guides.get("core"),
            garbage=guides.get("garbage"),
            holdout=guides.get("holdout"),
            transparency=seeing.stage,
            detail=options.detail,
            choke=options.choke,
            feather=options.feather,
            decontaminate=options.decontaminate == "on" and colors_shown,
            screen=screen if colors_shown else None,
            device=matter.device,
        )
        observer = _observer(options, source.info, wanted, colors=colors_shown)
        doubts = Doubts(guided=bool(guides) or options.transparent is not None, smoothed=options.smooth == "high")
        course = Course(
            writers,
            wanted,
            batch=options.batch,
            whole_clip=observer is not None,
            folder=next(
                (writer.part.folder for writer in writers if writer.resumable and writer.part is not None), None
            ),
            first_index=source.info.first_index,
        )
        stages = [Timed(stage, course.watch(stage)) for stage in wanted]
        summary.stages = [each.name for each in stages]
        summary.frames, summary.resumed = course.first, course.whole
        if course.whole:
            display.notice(f"going on after {course.whole} whole frames")

        def timed_matter(frames: Sequence[Frame]) -> list[Tensor]:
            with network:
                return [alpha.cpu() for alpha in matter(frames)]

        # A small network takes no longer than what runs beside it; a large one waits for nobody.
        if matter.device.type == "cpu" and max(matter.size) < SURE_OF_ITSELF:
            writing.enter_context(cores_left_to(len(stages)))
        start = time.perf_counter()
        every = iter(source)
        for frame in islice(every, course.first):
            for writer in writers:
                writer.skip(frame)
        frames: Iterable[Frame] = decode.over(every)
        view = view_of(summary.input_transfer, source.info.profile)
        if view is not None:
            frames = (replace(frame, view=view) for frame in frames)
        cutouts = matte(prefetch(frames), timed_matter, stages, batch=options.batch, ahead=AHEAD)
        computed = 0

        def stopped() -> None:
            seeing.stop()
            if isinstance(source, FileSource):
                source.stop()

        with closing(prefetch(cutouts, stopped=stopped)) as ready:
            for place, cutout in enumerate(ready, course.first):
                with encode:
                    for writer in writers:
                        if place < writer.whole:
                            writer.skip(cutout.frame)
                        else:
                            writer.write(cutout)
                course.written(place)
                doubts.write(cutout)
                if observer is not None:
                    observer.write(cutout)
                computed += 1
                summary.frames = place + 1
                if summary.frames > course.whole:
                    display.written(summary.frames)
        with encode:
            for writer in writers:
                writer.finish()
        summary.seconds = time.perf_counter() - start
        summary.decode_fps, summary.network_fps, summary.encode_fps = (
            clock.rate(computed) for clock in (decode, network, encode)
        )
        summary.stages_fps = {each.name: each.clock.rate(computed) for each in stages}
        summary.outputs = [
            {"path": str(Path(target.path)), "description": writer.description}
            for target, writer in zip(targets, writers, strict=True)
        ]
        summary.lost = source.lost
        summary.keyframes, summary.keyframe_seconds = seeing.frames, seeing.seconds
        given = [(name, each) for name, several in mattes.items() for each in several]
        summary.mattes = [{"path": each.path, "as": name, "lost": each.lost} for name, each in given]
        summary.notes = [*source.notes, *alpha_told(options, source.has_alpha), *seeing.notes(whole=course.first == 0)]
        summary.doubt = doubts.line()
        if summary.doubt is not None and course.first:
            summary.doubt += f" (seen from frame {source.info.first_index + course.first} on, where the run resumed)"
        if observer is not None:
            lengths = lengths_of_all(options.input, source, writers, silent=options.no_audio)
            summary.findings = observer.findings(lengths)
            summary.crossed = summary.findings.crossed(limits)
        if page is not None and observer is not None:
            page.write(_page(options, summary, observer))
            summary.outputs.append({"path": str(page.path), "description": "report"})
        if note is not None:
            note.write(note_of(options, source.info, targets, writers, summary.frames))
            summary.outputs.append({"path": str(note.path), "description": "what is in the others, and who shows it"})
        with _uninterrupted():  # all of them are complete; what is left is renaming
            writing.close()
    return summary


def _first_number(options: Options, source: Footage) -> int:
    """The number of the frame with index 0, so that the first one written has the number that was asked for."""
    if options.start_number is None:
        return source.first_number
    return options.start_number - source.info.first_index


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A signal comes too late: the outputs are complete, and what is left takes milliseconds."""
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


def _guides(options: Options, source: Footage, display: Display, running: ExitStack) -> dict[str, list[GuideMatte]]:
    """These by kind, opened; what should be known of them is said."""
    from streammatte.media.addresses import without_secrets
    from streammatte.media.read.guide import GuideMatte, guide_path
    from streammatte.media.read.sequence import NumberedName

    number = None if NumberedName.parse(options.input) is None else source.first_number
    guides: dict[str, list[GuideMatte]] = {}
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


def _observer(options: Options, info: StreamInfo, stages: Iterable[Stage], *, colors: bool) -> Observer | None:
    """What looks at the cut-outs, if anybody wants to know."""
    from streammatte.stages import TemporalSmoother

    if options.report is None and not options.limits:
        return None
    from streammatte.quality.observer import Observer

    mended = next((stage.mended for stage in stages if isinstance(stage, TemporalSmoother)), None)
    return Observer(info.time_base, mended, colors=colors)


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
        "speed": summary.rates(),
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
