"""What lets a run that was cut short be gone on with: whether it may, and from which frame on all is known again.

What is written is never encoded again. Frames are decoded again from the first, which is quick and always exact; the
network and the stages begin where what the stages remember is known: a bounded number of frames before the first that
is missing, or, for a stage whose memory has no bound, at a frame whose state was saved. With a stage that can say
neither they begin at the first frame.
"""

from __future__ import annotations

import importlib.metadata
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from streammatte.errors import InputError, OutputError, SourceNotFound, UnsupportedOutput
from streammatte.frame import Cutout, Stage, Writer
from streammatte.media.addresses import PIPE
from streammatte.options import Options

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streammatte.media.write.part import Part
    from streammatte.models.birefnet import BiRefNetModel

EVERY = 32  # frames between two states that are saved
SAVED = 4  # of the latest: sound that is sparse and an encoder's threads may hold some seconds of frames back
REORDERED = 32  # frames: twice as far as any codec lets one depend on a later one
_STATE = "state.safetensors"
_ENDS = 1 << 20  # bytes of either end of a file that tell it from others of its size
# What decides over no byte of an output; the names of outputs do not either, but how many and which kinds of them.
# SDMatte's do, but a run that had too little memory for it is to go on with less of it.
_NO_MATTER = ("input", "overwrite", "resume", "keep_mattes", "offline", "report", "limits", "sdmatte", "sdmatte_size")


@runtime_checkable
class Recalling(Protocol):
    """A stage whose memory has no bound, and can be saved."""

    def state(self) -> dict[str, NDArray[Any]]: ...
    def restore(self, state: dict[str, NDArray[Any]]) -> None: ...


def asked_of(options: Options, matter: BiRefNetModel, *, sees_through: bool) -> dict[str, str]:
    """All that decides over the bytes of a run's outputs, by name. ``sees_through``: SDMatte may be asked."""
    import av
    import cv2
    import torch

    from streammatte import __version__
    from streammatte.media.read.guide import guide_path

    asked = {name: _told(value) for name, value in options.flat().items() if name not in _NO_MATTER}
    asked["outputs"] = ", ".join(sorted(Path(output).name for output in options.writing.outputs))
    for name in ("matte", "foreground", "deliver"):
        path = getattr(options.writing, name)
        asked[name] = "" if path is None else Path(path).name
    for name, specs in options.guides().items():
        asked[f"{name}_mattes"] = ", ".join(f"{spec} {signature(guide_path(spec))}" for spec in specs)
    asked["transparency"] = options.transparency.transparency if sees_through else "without SDMatte"
    asked["source"] = signature(options.reading.input) or options.reading.input
    asked["model"] = matter.name
    asked["device"], asked["precision"], asked["size"] = str(matter.device), matter.precision, str(matter.size)
    versions = {"streammatte": __version__, "torch": torch.__version__, "av": av.__version__, "cv2": cv2.__version__}
    if sees_through:
        versions |= {name: importlib.metadata.version(name) for name in ("diffusers", "transformers")}
    asked["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return asked


def _told(value: object) -> str:
    return f"{value} {signature(value)}".strip() if isinstance(value, str) else str(value)


def signature(name: str) -> str:
    """What tells the contents of a file, or of numbered pictures, from others; empty for what is neither."""
    from streammatte.media.read.sequence import NumberedName

    digest = sha256()
    try:
        numbered = NumberedName.parse(name)
        if numbered is not None:
            for path in numbered.files()[0].values():
                there = path.stat()
                digest.update(f"{path.name} {there.st_size} {there.st_mtime_ns}\n".encode())
            return digest.hexdigest()[:32]
        with Path(name.removeprefix("file://")).open("rb") as file:
            digest.update(file.read(_ENDS))
            size = file.seek(0, 2)
            file.seek(max(0, size - _ENDS))
            digest.update(file.read())
        return f"{size} {digest.hexdigest()[:32]}"
    except (OSError, ValueError):
        return ""


def begin(parts: Sequence[Part], asked: dict[str, str], options: Options, notice: Callable[[str], None]) -> None:
    """Let every output be gone on with, or begin; each is held by this run already.

    Raises:
        OutputError: What an interrupted run has left may not be lost, or was asked for otherwise.
    """
    left = {part.path: before for part in parts if (before := part.asked()) is not None}
    for path, before in left.items() if options.writing.resume or not options.writing.overwrite else ():
        other = [name for name in sorted(asked.keys() | before.keys()) if asked.get(name) != before.get(name)]
        if not options.writing.resume:
            raise OutputError(
                f"{path} was begun by a run that was interrupted",
                hint="the same command goes on with --resume, and begins anew with --overwrite",
            )
        if other:
            raise OutputError(
                f"{path} cannot be resumed: it was begun with other {', '.join(other)}",
                hint="give what it was begun with, or begin anew with --overwrite",
            )
    if options.writing.resume and parts and not left:
        notice("there is nothing to resume: beginning at the first frame")
    for part in parts:
        # What came through a pipe does not come again.
        part.begin(
            None if options.reading.input == PIPE else asked, resume=options.writing.resume and part.path in left
        )


@contextmanager
def held(parts: Sequence[Part]) -> Iterator[None]:
    """Lets go of the parts in the end; notes on the exception that ends a run what is left of it."""
    try:
        yield
    except BaseException as exc:
        kept = [part.kept for part in parts if part.kept is not None]
        if kept:
            frames = "1 frame is" if min(kept) == 1 else f"{min(kept)} frames are"
            exc.add_note(f"{frames} kept; the same command with --resume goes on")
        raise
    finally:
        for part in parts:
            part.leave()


@contextmanager
def doubting(parts: Sequence[Part]) -> Iterator[None]:
    """Where the source ends a run, says how far what was made of it can be gone on from.

    With a damaged one, or a matte that is not in step, going on would end likewise. One that has vanished may come
    back; but the last frames before that may have been decoded from what was there no more.
    """
    try:
        yield
    except (InputError, UnsupportedOutput) as exc:
        for part in parts:
            part.doubt(REORDERED if isinstance(exc, SourceNotFound) else None)
        raise


def packed(states: dict[int, dict[str, NDArray[Any]]]) -> bytes:
    """States, by frame and name, as a safetensors file."""
    from safetensors.numpy import save

    # In C order: it stores memory as that lies, whatever the order of its axes.
    tensors = {f"{frame}/{name}": each for frame, state in states.items() for name, each in state.items()}
    return save({name: np.array(each, order="C") for name, each in tensors.items()})


class Course:
    """From which frame on a run computes, and what it saves so that the next one need not begin at the first.

    Args:
        writers: Entered.
        stages: Fresh; what they remembered before ``first`` is restored.
        batch: Frames that the network sees at once: a batch of others could give other bits.
        whole_clip: Every cut-out is wanted, as a report does.
        folder: Where states are saved; ``None`` if nobody could go on.
        first_index: ``Frame.index`` of the first frame. Everything else here counts from 0.

    Attributes:
        whole: How many frames are whole in every output.
        first: The first frame to be computed.
    """

    def __init__(
        self,
        writers: Sequence[Writer],
        stages: Sequence[Stage],
        *,
        batch: int,
        whole_clip: bool,
        folder: Path | None,
        first_index: int = 0,
    ) -> None:
        self.whole = min((writer.whole for writer in writers), default=0)
        self._first_index = first_index
        self._step = batch * -(-EVERY // batch)
        self._file = None if folder is None else folder / _STATE
        self._recalling = {str(place): each for place, each in enumerate(stages) if isinstance(each, Recalling)}
        bounds = [0 if isinstance(each, Recalling) else getattr(each, "memory", None) for each in stages]
        self._memory = None if None in bounds else sum(bound or 0 for bound in bounds)
        self._taken: deque[tuple[int, str, dict[str, NDArray[Any]]]] = deque()
        self._saved: dict[int, dict[str, NDArray[Any]]] = {}
        self.first = 0
        if self._memory is not None and not whole_clip and self.whole > self._memory:
            self.first = self._restored(self.whole - self._memory, batch)

    def _restored(self, latest: int, batch: int) -> int:
        """The frame up to ``latest`` from which it can go on; the stages are as they were before it."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        if not self._recalling:
            return latest // batch * batch
        try:
            tensors = load_file(self._file) if self._file is not None else {}
        except (OSError, SafetensorError):
            return 0
        for name, tensor in tensors.items():
            self._saved.setdefault(int(name.partition("/")[0]), {})[name.partition("/")[2]] = tensor
        first = max((index for index in self._saved if index <= latest), default=0)
        if first:
            for place, stage in self._recalling.items():
                known = self._saved[first].items()
                stage.restore({name.partition("/")[2]: value for name, value in known if name.startswith(f"{place}/")})
        self._saved = {index: state for index, state in self._saved.items() if index <= first}
        return first

    def watch(self, stage: Stage) -> Callable[[Cutout], None] | None:
        """What a stage's thread is to call before it takes a cut-out."""
        place = next((place for place, each in self._recalling.items() if each is stage), None)
        if place is None or self._file is None or self._memory is None:
            return None
        recalling = self._recalling[place]

        def take(cutout: Cutout) -> None:
            index = cutout.frame.index - self._first_index
            if index % self._step == 0 and index > self.first:
                self._taken.append((index, place, recalling.state()))

        return take

    def written(self, index: int) -> None:
        """Save the states by which one could go on if all up to this frame were whole.

        Raises:
            WriteFailed: The disk refused.
        """
        from streammatte.media.write.output import write_failed
        from streammatte.media.write.part import write_at_once

        new = False
        while self._taken and self._taken[0][0] + (self._memory or 0) <= index:
            taken, place, state = self._taken.popleft()
            entry = self._saved.setdefault(taken, {})
            entry |= {f"{place}/{name}": value for name, value in state.items()}
            new = True
        if not new or self._file is None:
            return
        complete = [taken for taken, state in self._saved.items() if self._has_all(state)]
        self._saved = {taken: self._saved[taken] for taken in complete[-SAVED:]}
        try:
            write_at_once(self._file, packed(self._saved))
        except OSError as exc:
            raise write_failed(self._file, exc) from exc

    def _has_all(self, state: dict[str, NDArray[Any]]) -> bool:
        return {name.partition("/")[0] for name in state} == self._recalling.keys()
