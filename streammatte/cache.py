"""The matte cache: the networks' answers, stored beside the output, so that none is computed twice.

A file holds the answers for one source and one setting of the network: a line of JSON with all that decides them, then
a record per answer. It is hidden during a run (``.clip.0123456789ab.mattes``), removed when the outputs are complete,
and made visible if it is to be kept. A killed run leaves it hidden, and the next run reads it.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self

import numpy as np
from filelock import FileLock, Timeout

from streammatte.errors import DecodeFailed, SourceNotFound
from streammatte.media.addresses import PIPE
from streammatte.media.copies import working_folder
from streammatte.media.matte_records import (
    MAGIC,
    MARKER,
    RECORD,
    Key,
    checksum,
    header,
    packed,
    records,
    unpacked,
    write_all,
)
from streammatte.media.read.signature import signature
from streammatte.media.remote import place_of
from streammatte.pipeline import STEPS

if TYPE_CHECKING:
    from torch import Tensor

    from streammatte.frame import Frame, Model
    from streammatte.models.birefnet import BiRefNetModel
    from streammatte.options import Options
    from streammatte.stages.transparent.keyframes import KeyframeModel

_REORDERED = 32  # frames: twice as far as any codec lets one depend on a later one
_WAITING = 16  # answers that may wait for the disk
_MATTE = bytes(8)  # the kind of the main network's answers


class Placed(Protocol):
    """What an answer is about: a frame, or where one is."""

    @property
    def index(self) -> int: ...
    @property
    def pts(self) -> int: ...


class MatteCache:
    """Answers by kind and frame. A context manager; after an exception the file stays, hidden.

    A fault here never ends a run: what cannot be read is computed, and if the file cannot be written, the cache turns
    itself off and says so once.

    Args:
        stem: The beginning of the file's name.
        key: All that decides the answers.
        keep: Keep the file under its visible name at the end.
        notice: Called with one line if nothing can be stored.

    Attributes:
        left: The file was left by an interrupted run.
        visible: Its name if it is kept.
    """

    def __init__(
        self, folder: Path, stem: str, key: Mapping[str, str], *, keep: bool, notice: Callable[[str], None]
    ) -> None:
        self._header = MAGIC + json.dumps(dict(key), sort_keys=True).encode() + b"\n"
        name = f"{os.fsencode(stem)[:64].decode(errors='ignore')}.{sha256(self._header).hexdigest()[:12]}.mattes"
        self.visible, self._hidden = folder / name, folder / f".{name}"
        self._keep, self._notice = keep, notice
        self._starts: dict[Key, int] = {}  # of records
        self._file: BinaryIO | None = None
        self._reading = threading.Lock()
        self._waiting: queue.Queue[tuple[Key, Tensor] | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self._lock = FileLock(folder / f".{name}.lock", timeout=0)
        self._owned = True
        self.path = self._hidden
        self.left = False

    def __len__(self) -> int:
        return len(self._starts)

    def __enter__(self) -> Self:
        try:
            with contextlib.suppress(NotImplementedError):  # the file system has no locks
                self._lock.acquire()
        except Timeout:
            self._owned = False  # another run writes it; complete records can be read
            if self._keep:
                self._notice("--keep-mattes is ignored: another run of this clip is using the file")
        except OSError as exc:
            self._owned = False
            self._off(exc)
        if not (self._open(self.visible) or self._open(self._hidden)) and self._owned:
            self._create()
        if self._owned and self._file is not None:
            self._thread = threading.Thread(target=self._append_all, name="streammatte-cache", daemon=True)
            self._thread.start()
        return self

    def get(self, kind: bytes, frame: Placed) -> Tensor | None:
        """(h, w) float32 in [0, 1]; ``None`` if it is missing or damaged."""
        import torch

        key = kind, frame.index, frame.pts
        start = self._starts.get(key)
        if start is None or self._file is None:
            return None
        steps = None
        with self._reading, contextlib.suppress(OSError, struct.error):
            self._file.seek(start)
            head = self._file.read(RECORD.size)
            _, *found, height, width, length, stated = RECORD.unpack(head)
            data = self._file.read(length)
            if tuple(found) == key and checksum(head, data) == stated:
                steps = unpacked(data, (height, width))
        if steps is None:
            self._starts.pop(key, None)  # another thread may have found it damaged, too
            return None
        return torch.from_numpy(steps.astype(np.float32)) / STEPS

    def put(self, kind: bytes, frame: Placed, answer: Tensor) -> None:
        """Store a rounded answer, unless there is one."""
        key = kind, frame.index, frame.pts
        if self._thread is not None and key not in self._starts:
            self._waiting.put((key, answer))

    def take(self, folder: Path, frames: range) -> None:
        """Copy these frames' answers from the cache with the same key in another folder, if there is one."""
        for name in (self.visible.name, self._hidden.name):
            with contextlib.suppress(OSError), (folder / name).open("rb") as file:
                if self._file is None or not self._owned or header(file) != self._header:
                    continue
                for key, start, end in records(file, len(self._header)):
                    if key[1] in frames and key not in self._starts:
                        file.seek(start)
                        with self._reading:
                            self._starts[key] = self._file.seek(0, os.SEEK_END)
                            write_all(self._file, file.read(end - start))

    def _forget(self, frames: int) -> None:
        """Drop the answers for the last frames."""
        last = max((index for _, index, _ in self._starts), default=0)
        lost = {key: start for key, start in self._starts.items() if key[1] > last - frames}
        if lost and self._file is not None:
            with contextlib.suppress(OSError):
                self._file.truncate(min(lost.values()))
        for key in lost:
            del self._starts[key]

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        self._stop()
        if isinstance(exc, SourceNotFound):  # it vanished; the last frames read may have been damaged
            self._forget(_REORDERED)
        if self._file is not None:
            self._file.close()
        with contextlib.suppress(OSError):
            if self.path == self._hidden and self._owned:
                if not self._starts or (exc is None and not self._keep):
                    self._hidden.unlink(missing_ok=True)
                elif exc is None:
                    os.replace(self._hidden, self.visible)  # noqa: PTH105 - the name says that a target is replaced
            if self._owned:
                Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release(force=True)
        if exc is not None and self._starts:
            count = "1 matte is" if len(self) == 1 else f"{len(self)} mattes are"
            damaged = isinstance(exc, DecodeFailed)  # the same command would end there again
            exc.add_note(f"{count} kept" + ("" if damaged else "; run the same command with --resume to continue"))

    def _open(self, path: Path) -> bool:
        """Open the file, ready to append; ``False`` if it is not one with this key."""
        try:
            file = path.open("r+b" if self._owned else "rb", buffering=0)
        except OSError:
            return False
        try:
            if header(file) != self._header:
                file.close()
                return False
            end = len(self._header)
            for key, start, stop in records(file, end):
                self._starts[key], end = start, stop
            if self._owned:
                file.truncate(end)  # a torn record
        except OSError:
            file.close()
            self._starts.clear()
            return False
        self._file, self.path = file, path
        self.left = path == self._hidden and self._owned and bool(self._starts)
        return True

    def _create(self) -> None:
        try:
            self._file = self._hidden.open("w+b", buffering=0)
            write_all(self._file, self._header)
        except OSError as exc:
            self._off(exc)

    def _append_all(self) -> None:
        """The thread: compress and append answers; after a failure, discard them."""
        failed = False
        while (item := self._waiting.get()) is not None:
            if failed:
                continue
            key, answer = item
            try:
                steps = (answer * STEPS).round().int().cpu().numpy().astype("<u2")
                self._append(key, packed(steps), steps.shape)
            except Exception as exc:  # put() would wait for a thread that has ended
                failed = True
                self._off(exc)

    def _append(self, key: Key, data: bytes, shape: tuple[int, ...]) -> None:
        assert self._file is not None
        head = RECORD.pack(MARKER, *key, *shape, len(data), 0)
        head = RECORD.pack(MARKER, *key, *shape, len(data), checksum(head, data))
        with self._reading:
            start = self._file.seek(0, os.SEEK_END)
            try:
                write_all(self._file, head + data)
            except OSError:
                self._file.truncate(start)
                raise
        self._starts[key] = start

    def _stop(self) -> None:
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _off(self, exc: Exception) -> None:
        reason = getattr(exc, "strerror", None) or str(exc)
        self._notice(f"caching of mattes stopped: cannot write {self.path}: {reason.lower()}")


class Remembered:
    """A model that runs the network only for what the cache lacks. It rounds answers as stored ones are.

    Any thread may call it.

    Attributes:
        read, computed: Number of answers from the cache and from the network.
    """

    def __init__(self, model: Model, cache: MatteCache | None) -> None:
        self._model, self._cache = model, cache
        self.read = self.computed = 0
        self._counting = threading.Lock()

    def __call__(self, frames: Sequence[Frame]) -> list[Tensor]:
        return self.parts(frames, [""] * len(frames))

    def parts(self, frames: Sequence[Frame], which: Sequence[str]) -> list[Tensor]:
        """Answers for parts of frames.

        Args:
            frames: The parts, with ``index`` and ``pts`` of their frames.
            which: Says for each which part it is; empty for a whole frame.
        """
        cache = self._cache
        kinds = [sha256(part.encode()).digest()[:8] if part else _MATTE for part in which]
        if cache is not None:
            known = [cache.get(kind, frame) for kind, frame in zip(kinds, frames, strict=True)]
            found = [alpha for alpha in known if alpha is not None]
            if len(found) == len(frames):
                with self._counting:
                    self.read += len(found)
                return found
        # The whole batch, even if some of it is known: in another batch, bits may differ.
        answers = [rounded(alpha) for alpha in self._model(frames)]
        with self._counting:
            self.computed += len(answers)
        if cache is not None:
            # As many as there are frames: matte() checks it.
            for kind, frame, answer in zip(kinds, frames, answers, strict=False):
                if answer.isfinite().all():
                    cache.put(kind, frame, answer)
        return answers


class RememberedRegions:
    """The same for a model of regions.

    Args:
        identity: All that decides the answers besides frame and region; called when needed, since weights may be
            fetched meanwhile. While it returns ``None``, nothing is read or stored.
    """

    def __init__(self, model: KeyframeModel, cache: MatteCache | None, identity: Callable[[], str | None]) -> None:
        self._model, self._cache, self._identity = model, cache, identity
        self._known: str | None = None
        self.read = self.computed = 0

    def __call__(self, frame: Frame, region: Tensor) -> Tensor | None:
        kind = self._kind(region)
        if self._cache is not None and kind is not None:
            known = self._cache.get(kind, frame)
            if known is not None:
                self.read += 1
                return known
        answer = self._model(frame, region)
        if answer is None:
            return None
        answer = rounded(answer)
        self.computed += 1
        kind = kind or self._kind(region)
        if self._cache is not None and kind is not None and answer.isfinite().all():
            self._cache.put(kind, frame, answer)
        return answer

    def _kind(self, region: Tensor) -> bytes | None:
        if self._cache is not None and self._known is None:
            self._known = self._identity()
        if self._known is None:
            return None
        mask = region.cpu().numpy()
        return sha256(f"{self._known} {mask.shape} ".encode() + np.packbits(mask).tobytes()).digest()[:8]


def cache_of(
    options: Options, model: BiRefNetModel, outputs: Sequence[str], *, notice: Callable[[str], None]
) -> MatteCache | None:
    """The cache beside a run's first output; ``None`` if footage or model has no fingerprint."""
    from streammatte import __version__

    folder = next((place_of(output).parent for output in outputs if output != PIPE), None)
    key = {
        "version": __version__,
        "source": signature(options.reading.input),
        "weights": "" if model.weights is None else signature(str(model.weights)),
        "size": "{1}x{0}".format(*model.size),
        "precision": model.precision,
        "device": model.device.type,
    }
    if folder is None or not all(key.values()):
        return None
    # What else decides a frame's pixels.
    reading = options.reading
    key |= {name: str(getattr(reading, name)) for name in ("layer", "interlaced", "input_transfer")}
    if reading.interlaced == "deinterlace":  # the filter sees no frame outside of the part
        key["part"] = f"{reading.mark_in} - {reading.mark_out} - {reading.handles}"
    stem = place_of(reading.input).stem
    return MatteCache(working_folder(folder), stem, key, keep=options.writing.keep_mattes, notice=notice)


def rounded(alpha: Tensor) -> Tensor:
    """In steps of 1/65535, so that stored and new answers are equal."""
    return (alpha.detach().float().clamp(0, 1) * STEPS).round() / STEPS
