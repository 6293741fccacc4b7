"""The hidden folder in which an output grows until it is complete."""

from __future__ import annotations

import contextlib
import os
import shutil
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout

from streammatte.errors import WriteFailed
from streammatte.media.write.output import publish, write_failed

_LONGEST_OWN_NAME = 200  # bytes, so that a prefix and a suffix still fit
_LOCK = "lock"


def shortened(path: Path) -> str:
    """Its name, to which a prefix and a suffix may be added."""
    if len(os.fsencode(path.name)) <= _LONGEST_OWN_NAME:
        return path.name
    head = os.fsencode(path.stem)[:64].decode(errors="ignore")
    return f"{head}.{sha256(os.fsencode(path.name)).hexdigest()[:16]}"


class Part:
    """The folder in which an output grows; ``.out.mov.part`` for ``out.mov``.

    One run at a time owns it, by a lock that the system releases when a process ends, however it ends. What a killed
    run left is cleared by the next one.

    Args:
        path: The output's final name.

    Attributes:
        folder: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.with_name(f".{shortened(path)}.part")
        self._lock: FileLock | None = None

    def claim(self) -> None:
        """Create the folder and lock it.

        Raises:
            WriteFailed: Another run owns it, or the disk refused.
        """
        if self._lock is not None:
            return
        try:
            self._lock = self._locked()
        except Timeout as exc:
            raise WriteFailed(
                f"another run is writing {self.path}", hint="wait until it has ended, or choose another name"
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
            except FileNotFoundError:  # another run ended between the two steps and removed the folder
                attempts -= 1
                if not attempts:
                    raise

    def begin(self) -> None:
        """Claim the folder, and delete what a killed run left in it.

        Raises:
            WriteFailed: Another run owns it, or the disk refused.
        """
        self.claim()
        try:
            self._clear()
        except OSError as exc:
            raise write_failed(self.path, exc) from exc

    def publish(self, temporary: Path, *, overwrite: bool) -> None:
        """Give a complete file its final name.

        Raises:
            WriteFailed: Without ``overwrite``, the name has been taken meanwhile; or the disk refused.
        """
        try:
            publish(temporary, self.path, overwrite=overwrite)
        except OSError as exc:
            raise write_failed(self.path, exc) from exc

    def leave(self) -> None:
        """Delete the folder and release it."""
        if self._lock is None:
            return
        with contextlib.suppress(OSError):  # Windows keeps open files
            self._clear()
            (self.folder / _LOCK).unlink()
        self._lock.release(force=True)
        self._lock = None
        with contextlib.suppress(OSError):  # another run has claimed it meanwhile
            self.folder.rmdir()

    def _clear(self) -> None:
        for entry in self.folder.iterdir():
            if entry.name == _LOCK:
                continue
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
