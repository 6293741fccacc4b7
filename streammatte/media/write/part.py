"""What an output is before it is whole: a hidden folder beside its place, from which an interrupted run can go on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import zlib
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from streammatte.errors import WriteFailed
from streammatte.media.write.output import write_failed

_LONGEST_OWN_NAME = 200  # bytes: with what is put around it, and around pictures in the folder, still a file's name
_LOCK, _ASKED, _FRAMES = "lock", "asked.json", "frames"


class Part:
    """The folder in which an output grows; ``.out.mov.part`` for ``out.mov``.

    It holds what the writer writes, and beside it

    - ``lock``, held by the run that writes: the system lets go of it when a process ends, however it ends,
    - ``asked.json``, what that run was asked for, if it is to be gone on with,
    - ``frames``, a line for each frame handed over: CRC-32 and size of its bytes. A frame is whole if its bytes are
      there and match their line, whatever a crash has left of either.

    Args:
        path: The output's final name.

    Attributes:
        folder: The folder.
        kept: How many whole frames were left for another run; ``None`` unless some were.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        name = path.name
        if len(os.fsencode(name)) > _LONGEST_OWN_NAME:
            head = os.fsencode(path.stem)[:64].decode(errors="ignore")
            name = f"{head}.{sha256(os.fsencode(name)).hexdigest()[:16]}"
        self.folder = path.with_name(f".{name}.part")
        self.kept: int | None = None
        self._lock: FileLock | None = None
        self._begun = False
        self._resumable = False
        self._doubtful = 0
        self._unchecked = False  # what is gone on with: nobody knows yet how much of it is whole
        self._frames: BinaryIO | None = None
        self._before: list[tuple[int, int]] = []

    def claim(self) -> None:
        """Make the folder, and be the only one who writes there.

        Raises:
            WriteFailed: Another run does already, or the disk refused.
        """
        if self._lock is not None:
            return
        try:
            self._lock = self._locked()
        except Timeout as exc:
            raise WriteFailed(
                f"{self.path} is being written by another run", hint="wait for it, or choose another name"
            ) from exc
        except OSError as exc:
            raise write_failed(self.path, exc) from exc

    def _locked(self) -> FileLock:
        attempts = 3
        while True:
            self.folder.mkdir(exist_ok=True)
            lock = FileLock(self.folder / _LOCK, timeout=0)
            try:
                lock.acquire()
                return lock
            except NotImplementedError:
                return lock  # the file system has no locks
            except FileNotFoundError:  # another run ended between the two steps, and took the folder along
                attempts -= 1
                if not attempts:
                    raise

    def asked(self) -> dict[str, str] | None:
        """What the run was asked for that was interrupted here; ``None`` if there is none to go on with."""
        try:
            with (self.folder / _FRAMES).open() as frames:
                if not frames.readline().endswith("\n"):
                    return None
            asked = json.loads((self.folder / _ASKED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return asked if isinstance(asked, dict) else None

    def begin(self, asked: Mapping[str, str] | None = None, *, resume: bool = False) -> None:
        """Start to write. What was there is removed, unless it is gone on with.

        Args:
            asked: What decides over the output's bytes, to be compared by whoever goes on; without it, nothing will be
                left for anybody.
            resume: Keep what is there.

        Raises:
            WriteFailed: The disk refused.
        """
        if self._begun:
            return
        self.claim()
        self._begun = True
        self._resumable = asked is not None
        try:
            self._unchecked = resume
            if resume:
                for line in (self.folder / _FRAMES).read_text().split("\n")[:-1]:  # the last may be cut
                    checksum, size = line.split()
                    self._before.append((int(checksum), int(size)))
            else:
                self._clear()
                if asked is not None:
                    write_at_once(self.folder / _ASKED, json.dumps(asked, indent=1).encode())
        except (OSError, ValueError) as exc:
            raise write_failed(self.path, exc) from exc

    def matches(self, index: int, data: bytes) -> bool:
        """Whether these are the bytes that the earlier run wrote for a frame."""
        return index < len(self._before) and self._before[index] == (zlib.crc32(data), len(data))

    @property
    def before(self) -> int:
        """How many frames the earlier run handed over; not all of them need be whole."""
        return len(self._before)

    def note(self, data: bytes) -> None:
        """Say that a further frame's bytes were handed over.

        Raises:
            OSError: The disk refused.
        """
        if not self._resumable:
            return
        if self._frames is None:
            self._frames = (self.folder / _FRAMES).open("ab", buffering=0)
        self._frames.write(f"{zlib.crc32(data)} {len(data)}\n".encode())

    def go_on_after(self, frames: int) -> None:
        """Forget all but the first frames: what follows is written anew."""
        self._unchecked = False
        if frames == len(self._before):
            return
        del self._before[frames:]
        lines = "".join(f"{checksum} {size}\n" for checksum, size in self._before)
        write_at_once(self.folder / _FRAMES, lines.encode())

    def leave(self, whole: int = 0) -> None:
        """Stop writing; keep the folder if it holds whole frames and somebody may go on from there, else remove it."""
        if self._frames is not None:
            self._frames.close()
            self._frames = None
        if self._lock is None:
            return
        whole -= self._doubtful
        if self._unchecked:
            pass  # interrupted before anything was done: it stays as it was
        elif self._begun and self._resumable and whole > 0 and (not self._doubtful or self._forget(whole)):
            self.kept = whole
        elif self._begun or not (self.folder / _FRAMES).exists():
            self._clear()
            with contextlib.suppress(OSError):  # on Windows, a file that is open stays
                (self.folder / _LOCK).unlink()
        self._lock.release(force=True)
        self._lock = None
        if self.kept is None:
            with contextlib.suppress(OSError):  # kept for whoever comes next, or claimed meanwhile
                self.folder.rmdir()

    def doubt(self, last: int | None) -> None:
        """Leave out the last frames of what is left; all of them with ``None``."""
        if last is None:
            self._resumable = False
        else:
            self._doubtful = last

    def _forget(self, whole: int) -> bool:
        """Whether the list of frames now ends after these."""
        try:
            lines = (self.folder / _FRAMES).read_bytes().splitlines(keepends=True)
            write_at_once(self.folder / _FRAMES, b"".join(lines[:whole]))
        except OSError:
            return False
        return True

    def _clear(self) -> None:
        for entry in self.folder.iterdir():
            if entry.name == _LOCK:
                continue
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def write_at_once(path: Path, data: bytes) -> None:
    """All of a file or none, whenever the process is ended.

    Raises:
        OSError: The disk refused.
    """
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(data)
    os.replace(new, path)  # noqa: PTH105 - the name says that a target is replaced
