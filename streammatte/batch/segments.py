"""A clip in segments: planned, computed by several workers, and joined without encoding again.

A frame's result depends only on the frames that its stages look at. So a segment is computed with as many frames around
it, which are thrown away, and equals the same part of an unbroken run. Sound, subtitles and container are written once,
by the same writers.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from streammatte.batch.engines import Engine, engine_for
from streammatte.batch.joined import summary_of
from streammatte.batch.segment import Done, Segment, SegmentWork, done_in, in_segment, mattes_in
from streammatte.chain import Display
from streammatte.errors import InputError, WriteFailed
from streammatte.media.read.numbered import NumberedName
from streammatte.media.read.signature import signature
from streammatte.media.write.output import write_failed
from streammatte.media.write.partial_output import shortened
from streammatte.options import Options
from streammatte.refusals import check, check_source
from streammatte.run import cache_beside, model_of, run
from streammatte.summary import Clock, Summary, texts_of, write_note

if TYPE_CHECKING:
    from streammatte.media.read.video import Video
    from streammatte.media.write.delivery import Target
    from streammatte.models.birefnet import BiRefNetModel

NEAR = 24  # frames from an even border within which a cut is looked for
LONGEST = 500  # frames of a segment, unless the number of segments was asked for: what a kill may cost
_ELSEWHERE = ("overwrite", "resume", "workers", "segments", "engine", "address")  # what decides no frame


def matted(options: Options, display: Display, model: BiRefNetModel | None = None) -> Summary:
    """Matte ``options.reading.input`` into every output: in segments if that was asked for, or else in one piece."""
    if not options.spreading.asked:
        return run(options, display, model)
    if model is not None:
        raise InputError("workers load the model themselves", hint='name it: model="birefnet-lite"')
    return run_in_segments(options, display)


def run_in_segments(options: Options, display: Display, engine: Engine | None = None) -> Summary:
    """Matte a clip in segments, and join them.

    Args:
        engine: Computes them; by default as the options say.
    """
    from streammatte.media.read.video import opened
    from streammatte.media.write.delivery import targets_of, writer_of
    from streammatte.media.write.output import uninterrupted
    from streammatte.media.write.picture_writer import PictureSequenceWriter
    from streammatte.media.write.video_writer import VideoWriter

    check(options)
    if options.reading.hwaccel != "off":  # parts by other encoders could not be joined
        display.notice("segments are decoded and encoded on the CPU: their machines may differ")
        options = replace(options, reading=replace(options.reading, hwaccel="off"))
    targets = targets_of(options)
    clock = Clock()
    with opened(options.reading) as source, ExitStack() as writing, ExitStack() as computing:
        if source.info.frame_count == 1:  # there is nothing to cut
            return run(options, display)
        check_source(options, source)
        texts = texts_of(options, options.whom.written_apart(), writing)
        begin = next(iter(source)).pts
        info, number = source.info, source.first_number
        writers = [writing.enter_context(writer_of(target, info, number, options, begin=begin)) for target in targets]
        model = model_of(options, display)
        display.started(info, model)
        numbered = number if NumberedName.parse(options.reading.input) is not None else 0
        segments = plan(options, frames_of(options, source, numbered), numbered, model.size)
        cache = cache_beside(options, source, model, [target.path for target in targets], display, computing)
        kept = computing.enter_context(Kept(targets[0], _key(options, model, segments)))
        work = SegmentWork(_settled(options, model), info, begin, numbered, kept.folder)
        weights = 0 if model.weights is None else model.weights.stat().st_size
        engine = engine or engine_for(options.spreading, options.network.device, weights)
        del model
        with clock:
            done = _computed(engine, work, segments, display)
            for number, (target, writer) in enumerate(zip(targets, writers, strict=True)):
                assert isinstance(writer, VideoWriter | PictureSequenceWriter)  # others are refused
                for segment in segments:
                    writer.append(in_segment(kept.folder / segment.name, number, target.path))
            for writer in writers:
                writer.finish()
            if cache is not None and options.writing.keep_mattes:
                for segment in segments:
                    cache.take(mattes_in(kept.folder, segment), segment.frames)
        summary = summary_of(options, source, segments, done, targets, writers)
        summary.seconds = clock.wall
        if (note := texts.get("note")) is not None:
            write_note(note, summary, options, source, targets, writers)
        with uninterrupted():
            writing.close()
    return summary


def plan(options: Options, frames: range, first_number: int, size: tuple[int, int]) -> list[Segment]:
    """Segments of about the same length, each with the frames around it that its stages look at.

    One ends at a cut if there is one near: no stage looks across, and a keyframe is due there.

    Args:
        frames: Indices of all frames.
        first_number: What ``--in`` calls the first frame of the file.
        size: (H, W) of the network's input.
    """
    behind, ahead = context(options, size)
    asked = options.spreading
    count = min(asked.segments or max(asked.workers or 2, -(-len(frames) // LONGEST)), len(frames))
    reach = min(NEAR, len(frames) // count // 4)
    cuts: set[int] = set()
    borders = [frames.start]
    for place in range(1, count):
        border = frames.start + len(frames) * place // count
        near = cuts_near(options, border, reach, first_number, size) if reach else []
        cuts.update(near)
        borders.append(min(near, key=lambda cut: abs(cut - border), default=border))
    batch = options.network.batch or 1
    segments = []
    for start, stop in zip(borders, [*borders[1:], frames.stop], strict=True):
        # One frame before a cut: what is said of jumps compares two.
        first, last = start - (1 if start in cuts else behind), stop + (0 if stop in cuts else ahead)
        # The network may give other bits in another batch, so batches begin where the unbroken run's do.
        first = max(0, first - frames.start) // batch * batch + frames.start
        last = -(-(last - frames.start) // batch) * batch + frames.start
        segments.append(Segment(range(start, stop), range(first, min(last, frames.stop))))
    return segments


def cuts_near(options: Options, border: int, reach: int, first_number: int, size: tuple[int, int]) -> list[int]:
    """Indices of the frames near this one with which a shot begins."""
    from streammatte.media.read.video import opened
    from streammatte.stages.motion_links import Linker

    first, last = (str(first_number + index) for index in (border - reach, border + reach))
    linker = Linker(size)
    with opened(replace(options.reading, mark_in=first, mark_out=last, handles=0)) as source:
        return [frame.index for frame in source if not linker(frame).one_shot][1:]  # none is linked to the first


def context(options: Options, size: tuple[int, int]) -> tuple[int, int]:
    """Frames before and after a segment that its frames depend on."""
    from streammatte.stages import TransparencyRefiner, stages_for
    from streammatte.stages.order import SURE_OF_ITSELF

    matting, asked = options.matting, options.transparency
    refiner = None
    finds = asked.transparency == "on" or bool(asked.transparent_masks) or max(size) >= SURE_OF_ITSELF
    if asked.transparency != "off" and finds:
        refiner = TransparencyRefiner(lambda frame, region: None, every=asked.keyframe_every)
    stages = stages_for(size, matting.colors, matting.smooth, matting.lookahead, transparency=refiner)
    stride = options.network.stride if options.network.stride > 1 else 0
    least = 3 if options.reading.interlaced == "deinterlace" else 0  # what its filter looks at
    behind, ahead = (sum(reach) for reach in zip(*((stage.behind, stage.ahead) for stage in stages), strict=True))
    return max(least, stride + behind + 1), max(least, stride + ahead)


def frames_of(options: Options, source: Video, first_number: int) -> range:
    """The indices of the source's frames."""
    from streammatte.media.read.video import opened

    info = source.info
    if info.span is None:  # only the packets tell exactly how many there are
        with opened(replace(options.reading, mark_in=str(first_number))) as counted:
            info = counted.info
    assert info.frame_count is not None
    return range(info.first_index, info.first_index + info.frame_count)


class Kept:
    """The folder of finished segments, hidden beside the first output, and removed when all outputs are complete.

    What another command left there is removed first.

    Args:
        target: The first output.
        key: All that decides the segments.
    """

    def __init__(self, target: Target, key: dict[str, Any]) -> None:
        path = Path(target.path)
        name = shortened(path)
        self.folder = path.with_name(f".{name}.segments")
        self._path, self._key = path, json.dumps(key, sort_keys=True, default=str)
        self._lock = FileLock(path.with_name(f".{name}.segments.lock"), timeout=0)

    def __enter__(self) -> Kept:
        try:
            with contextlib.suppress(NotImplementedError):  # the file system has no locks
                self._lock.acquire()
        except Timeout as exc:
            raise WriteFailed(f"another run is writing {self._path}", hint="wait until it has ended") from exc
        key = self.folder / "key"
        try:
            if os.path.lexists(self.folder) and (not key.exists() or key.read_text(errors="replace") != self._key):
                shutil.rmtree(self.folder)
            self.folder.mkdir(exist_ok=True)
            key.write_text(self._key)
        except OSError as exc:
            self._lock.release(force=True)
            raise write_failed(self.folder, exc) from exc
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        count = sum(1 for each in self.folder.glob("[!.]*") if each.is_dir())
        if exc is None or not (count or any(self.folder.glob(".*/.*.mattes"))):
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            kept = "1 segment is" if count == 1 else f"{count} segments are" if count else "the first mattes are"
            exc.add_note(f"{kept} kept; run the same command to continue")
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release(force=True)


def _key(options: Options, model: BiRefNetModel, segments: Sequence[Segment]) -> dict[str, Any]:
    """All that decides the segments."""
    from streammatte import __version__
    from streammatte.media.read.guide import guide_path

    flat = {name: value for name, value in options.flat().items() if name not in _ELSEWHERE}
    over = options.writing.background
    files = [options.reading.input, *([] if over is None else [over])]  # an empty name would be this folder
    files += [guide_path(spec) for specs in options.guides().values() for spec in specs]
    return {
        **flat,
        "version": __version__,
        "files": [signature(file) for file in files],
        "weights": "" if model.weights is None else signature(str(model.weights)),
        "network": [model.name, model.size, model.precision, model.device.type],
        "segments": [segment.name for segment in segments],
    }


def _settled(options: Options, model: BiRefNetModel) -> Options:
    """The options with what was chosen for ``auto``, so that all workers use the same."""
    name = options.network.model if options.network.weights is not None else model.name
    chosen = {"model": name, "precision": model.precision, "size": model.size, "batch": options.network.batch or 1}
    # A segment's own run always reads the mattes that are there; whether any were is not for it to say.
    return Options.of(**{**options.flat(), **chosen, "resume": False})


def _computed(engine: Engine, work: SegmentWork, segments: Sequence[Segment], display: Display) -> list[Done]:
    """Every segment, in order. The first that fails ends the run."""
    found = {segment: before for segment in segments if (before := done_in(work.folder, segment)) is not None}
    if found:
        display.notice(f"continuing with {len(found)} of {len(segments)} segments that an interrupted run computed")
    missing = [segment for segment in segments if segment not in found]
    frames = sum(each.summary.frames for each in found.values())
    results: Iterator[tuple[int, Done | Exception]] = engine.run(work, missing)
    with closing(results) as ending:  # type: ignore[type-var]
        for place, done in ending:
            if isinstance(done, Exception):
                raise done
            found[missing[place]] = done
            for line in done.notices:
                display.notice(line)
            frames += done.summary.frames
            display.written(frames)
    return [found[segment] for segment in segments]
