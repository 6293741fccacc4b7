"""One segment of a clip, computed by a worker as the unbroken run would compute its frames."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from streammatte.cache import MatteCache, Remembered, cache_of
from streammatte.chain import chain_of, overlapped
from streammatte.frame import StreamInfo, Writer
from streammatte.media.write.output import write_failed
from streammatte.options import Options
from streammatte.run import model_of, packs, tell_of_chain
from streammatte.summary import Summary, tell_of_input

if TYPE_CHECKING:
    from streammatte.models.birefnet import BiRefNetModel
    from streammatte.quality.plausible import Doubts

_DONE = "done"


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a clip.

    Attributes:
        frames: Indices of the frames that it contributes.
        read: The same with those around them that the stages look at.
    """

    frames: range
    read: range

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.frames.start:08}-{self.frames.stop - 1:08}"


@dataclass(slots=True)
class Done:
    """What a worker says of a finished segment.

    Attributes:
        summary: Of these frames alone; what was read and computed includes the frames around them.
        seconds: Spent on each part of the chain, by name.
        strides: Of ``Stride``: mattes computed, carried, and the differences.
        notices: Lines for the user.
    """

    summary: Summary
    seconds: dict[str, float]
    strides: tuple[int, int, list[float]]
    doubts: Doubts
    notices: list[str]

    def as_json(self) -> str:
        return json.dumps({**asdict(self), "doubts": self.doubts.plain()})

    @classmethod
    def of_json(cls, text: str) -> Self:
        """The inverse of :meth:`as_json`: data only, since whoever can write to the folder could have put it there."""
        from streammatte.quality.plausible import Doubts

        said = json.loads(text)
        summary = Summary(**{**said["summary"], "size": tuple(said["summary"]["size"])})
        computed, carried, differences = said["strides"]
        doubts = Doubts.of_plain(said["doubts"])
        return cls(summary, said["seconds"], (computed, carried, differences), doubts, said["notices"])


@dataclass
class SegmentWork:
    """Computes segments; the model is loaded for the first one and kept.

    Args:
        options: Of the whole run.
        info: The whole stream's.
        begin: pts of its first frame.
        first_number: The number of its first frame in ``--in`` and ``--out``.
        folder: Every finished segment has a folder in it.
    """

    options: Options
    info: StreamInfo
    begin: int
    first_number: int
    folder: Path
    _model: BiRefNetModel | None = field(default=None, repr=False)

    def __call__(self, segment: Segment) -> Done:
        """Compute a segment, unless that was done before."""
        found = done_in(self.folder, segment)
        if found is not None:
            return found
        place = self.folder / f".{segment.name}.{uuid4().hex[:12]}"  # two workers may have begun the same
        try:
            place.mkdir()
            done = self._computed(segment, place)
            (place / _DONE).write_text(done.as_json(), encoding="utf-8")
            if done_in(self.folder, segment) is None:
                shutil.rmtree(self.folder / segment.name, ignore_errors=True)  # it was damaged
                place.rename(self.folder / segment.name)
            return done
        except OSError as exc:
            raise write_failed(self.folder, exc) from exc
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _cache(self, options: Options, segment: Segment, running: ExitStack) -> MatteCache | None:
        """Of this segment alone, with what the run's cache has; what a worker that died left in it is read, too."""
        assert self._model is not None
        folder = mattes_in(self.folder, segment)
        folder.mkdir(exist_ok=True)
        cache = cache_of(options, self._model, [str(folder / _DONE)], notice=lambda text: None)
        if cache is not None:
            running.enter_context(cache)
            cache.take(self.folder.parent, segment.read)
        return cache

    def _computed(self, segment: Segment, place: Path) -> Done:
        from streammatte.media.read.guide import guides_of
        from streammatte.media.read.video import opened
        from streammatte.media.write.delivery import targets_of, writer_of
        from streammatte.quality.plausible import Doubts

        display = _Notices()
        first, last = (self.first_number + index for index in (segment.read[0], segment.read[-1]))
        reading = replace(self.options.reading, mark_in=str(first), mark_out=str(last), handles=0)
        options = replace(self.options, reading=reading)
        if self._model is None:
            self._model = model_of(options, _Notices())
        model = self._model
        with opened(reading) as source, ExitStack() as running:
            known = source.notes  # which the whole clip has, too
            writers: list[Writer] = []
            for number, target in enumerate(targets_of(self.options)):
                path = in_segment(place, number, target.path)
                path.parent.mkdir()
                here = replace(target, path=str(path))
                writer = writer_of(here, self.info, source.first_number, options, begin=self.begin, part=True)
                writers.append(running.enter_context(writer))
            guides = guides_of(options, source, display.notice, running)
            cache = self._cache(options, segment, running)
            network = Remembered(model, cache)
            chain = chain_of(options, model, network, cache, guides, display)
            chain.fetch = not all(map(packs, writers))
            doubts = Doubts(guided=bool(guides or options.transparency.transparent))
            frames = 0
            with chain.whole, closing(overlapped(options, source, chain)) as cutouts:
                for cutout in cutouts:
                    with chain.check:
                        doubts.write(cutout)
                    if cutout.frame.index in segment.frames:
                        with chain.encode:
                            for each in writers:
                                each.write(cutout)
                        frames += 1
            summary = Summary(options.reading.input, model.name, str(model.device), model.precision, model.size)
            summary.frames = frames
            tell_of_input(summary, options, source, guides)
            tell_of_chain(summary, chain)
            summary.mattes_read += network.read
            summary.mattes_computed += network.computed
            summary.notes = [note for note in summary.notes if note not in known]
        summary.keyframes = [index for index in summary.keyframes if index in segment.frames]
        seconds = {name: clock.wall for name, clock in chain.clocks().items()}
        strides = chain.stride.computed, chain.stride.carried, chain.stride.differences
        return Done(summary, seconds, strides, doubts, display.lines)


def in_segment(folder: Path, number: int, target: str) -> Path:
    """Where a segment's part of an output is; two outputs may have one name, in different folders."""
    return folder / str(number) / Path(target).name


def mattes_in(folder: Path, segment: Segment) -> Path:
    """Where a segment's mattes are kept."""
    return folder / f".{segment.name}.mattes"


def done_in(folder: Path, segment: Segment) -> Done | None:
    """A segment that was finished before; ``None`` if it was not, or what is said of it is damaged."""
    try:
        return Done.of_json((folder / segment.name / _DONE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError, AttributeError):
        return None


class _Notices:
    """A display that keeps the notices."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def notice(self, text: str) -> None:
        self.lines.append(text)

    def fetching(self, done: int, total: int | None) -> None: ...
    def started(self, info: StreamInfo, model: BiRefNetModel) -> None: ...
    def keyframe(self, index: int | None) -> None: ...
    def finding(self, whom: str, done: int, total: int) -> None: ...
    def written(self, frames: int) -> None: ...
