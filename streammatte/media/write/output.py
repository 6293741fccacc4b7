"""Output files: checked before any work, renamed when they are complete."""

from __future__ import annotations

import errno
import os
import signal
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from streammatte.errors import OutputError, SourceNotFound, UnsupportedOutput, WriteFailed
from streammatte.media.read.numbered import NumberedName
from streammatte.media.remote import NO_ROOM, Remote, is_remote, place_of

if TYPE_CHECKING:
    from streammatte.media.write.upload import Upload

_LONGEST_NAME = 255  # bytes, on every file system in common use


def check_target(path: Path | Remote, *, overwrite: bool) -> None:
    """Refuse an output that could not be written, before any work.

    Raises:
        WriteFailed: The folder is missing or cannot be written, or the output exists and may not be replaced.
        UnsupportedOutput: The name is a folder.
    """
    if isinstance(path, Remote):
        from streammatte.media.write.upload import check_remote

        check_remote(path, overwrite=overwrite)
        return
    length = len(os.fsencode(path.name))
    if length > _LONGEST_NAME:
        raise WriteFailed(
            f"cannot write {path}: its name has {length} bytes", hint=f"file systems allow {_LONGEST_NAME}"
        )
    try:
        there = _in_the_way(path)
    except OSError as exc:
        raise WriteFailed(
            f"cannot write {path}: {exc.strerror}", hint="check its folders and their permissions"
        ) from exc
    except SourceNotFound as exc:  # the folder may be written, and not be looked into for old pictures
        raise WriteFailed(f"cannot write {path}: {exc}", hint=exc.hint) from exc
    if there is not None and not overwrite:
        raise exists_already(there)


def _in_the_way(path: Path) -> Path | Remote | None:
    """An existing file of that name, or of one of its numbers."""
    folder = path.parent
    try:
        is_folder = stat.S_ISDIR(folder.stat().st_mode)
    except FileNotFoundError as exc:
        raise WriteFailed(f"the folder {folder} does not exist", hint=f"create it first: mkdir -p {folder}") from exc
    if not is_folder:
        raise WriteFailed(f"{folder} is not a folder", hint="check the path")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteFailed(f"cannot write to the folder {folder}", hint="choose another, or change its permissions")
    if path.is_dir():
        raise UnsupportedOutput(f"{path} is a folder", hint=f"name a file in it, such as {path / 'out.mov'}")
    numbered = NumberedName.parse(path)
    if numbered is not None and (numbers := numbered.numbers()):
        return numbered.path(numbers[0])
    return path if os.path.lexists(path) else None  # a link that leads nowhere is in the way, too


def through_links(path: Path) -> Path:
    """The target of a link, which need not exist yet; any other path, and a loop of links, unchanged."""
    if not os.path.islink(path):  # noqa: PTH114 - Path.is_symlink raises on names that are too long
        return path
    end = Path(os.path.realpath(path))
    return path if end.is_symlink() else end


def same_files(one: str, other: str) -> bool:
    """Whether two names mean the same file; either may stand for numbered files."""
    one, other = one.removeprefix("file://"), other.removeprefix("file://")
    if is_remote(one) or is_remote(other):
        return _numberless(one) == _numberless(other)
    numbered = NumberedName.parse(one), NumberedName.parse(other)
    if numbered[0] is not None and numbered[1] is not None:
        first, second = ((os.path.realpath(str(name.folder)), name.name(0)) for name in numbered if name is not None)
        return first == second
    for pattern, name in zip(numbered, (other, one), strict=True):
        if pattern is not None:
            return any(os.path.realpath(str(pattern.path(n))) == os.path.realpath(name) for n in pattern.numbers())
    if os.path.realpath(one) == os.path.realpath(other):  # unlike Path.resolve, it survives a loop of links
        return True
    try:
        return Path(one).samefile(other)
    except OSError:  # one of them does not exist, or is not a path
        return False


def _numberless(address: str) -> str:
    """An address, the same however its place for a number is written."""
    numbered = NumberedName.parse(address)
    return address if numbered is None else str(numbered)


def check_apart(targets: Sequence[str], read: Iterable[tuple[str, str]]) -> None:
    """Refuse to overwrite an input, or one output with another, before any work.

    Args:
        targets: Names of outputs.
        read: Names of inputs, each with a description.

    Raises:
        OutputError: Two names mean the same file.
    """
    for place, target in enumerate(targets):
        for name, what in read:
            if same_files(target, name):
                raise OutputError(
                    f"{place_of(target)} would overwrite {what}", hint="choose another name for the output"
                )
        if any(same_files(target, other) for other in targets[:place]):
            raise OutputError(f"{place_of(target)} is named twice", hint="give every output its own name")


def temporary_beside(path: Path) -> Path:
    """A hidden, unused name in the same folder, so that renaming is atomic."""
    stem = os.fsencode(path.stem)[:64].decode(errors="ignore")
    return path.with_name(f".{stem}.{uuid4().hex[:12]}.part")


def publish(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Give a complete file its final name.

    Raises:
        WriteFailed: Without ``overwrite``, the name has been taken since it was checked.
        OSError: The file system refused.
    """
    if overwrite:
        os.replace(temporary, path)  # noqa: PTH105 - os.replace says that a target is replaced
        return
    try:
        os.link(temporary, path)  # unlike renaming, this never replaces an existing file
    except FileExistsError as exc:
        raise exists_already(path) from exc
    except OSError:  # FAT and some network folders have no hard links; there, checking and renaming are two steps
        if os.path.lexists(path):
            raise exists_already(path) from None
        os.replace(temporary, path)  # noqa: PTH105
    else:
        temporary.unlink()


class TextFile:
    """A text in UTF-8, or a picture, renamed when its context is left; nothing appears without ``write``, or after an
    exception.

    Bytes of a file's name that are not UTF-8 are written as ``\\udcff``.
    """

    def __init__(self, path: Path | Remote, *, overwrite: bool) -> None:
        self.path = path
        self._temporary: Path | None = temporary_beside(path) if isinstance(path, Path) else None
        self._upload: Upload | None = None
        self._overwrite = overwrite

    def write(self, text: str | bytes) -> None:
        """Write the text, or bytes, under a temporary name, or send it without its name.

        Raises:
            WriteFailed: The disk or the store refused.
        """
        data = text if isinstance(text, bytes) else text.encode("utf-8", errors="backslashreplace")
        if isinstance(self.path, Remote):
            from streammatte.media.write.upload import sent

            self._upload = sent(data, self.path, overwrite=self._overwrite)
            return
        assert self._temporary is not None
        try:
            self._temporary.write_bytes(data)
        except OSError as exc:
            raise write_failed(self.path, exc) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._upload is not None:
            self._upload.commit() if kind is None else self._upload.discard()
        if self._temporary is None or isinstance(self.path, Remote):
            return
        try:
            if kind is None and self._temporary.exists():
                publish(self._temporary, self.path, overwrite=self._overwrite)
        except OSError as failure:
            raise write_failed(self.path, failure) from failure
        finally:
            self._temporary.unlink(missing_ok=True)


def open_text(name: str, endings: Sequence[str], *, overwrite: bool) -> TextFile:
    """Open a text file for writing.

    Raises:
        OutputError: It could not be written, or its name has none of these endings.
    """
    path = place_of(name.removeprefix("file://"))
    if path.suffix.lower() not in endings:
        raise UnsupportedOutput(
            f"{path} does not end in {endings[0]}", hint=f"name it {path.stem.strip('-.') or 'out'}{endings[0]}"
        )
    path = through_links(path) if isinstance(path, Path) else path
    check_target(path, overwrite=overwrite)
    return TextFile(path, overwrite=overwrite)


def write_failed(path: Path, exc: Exception) -> WriteFailed:
    """The error that a writer raises, from that of an encoder, a muxer or the disk."""
    reason = getattr(exc, "strerror", None) or str(exc)
    said = getattr(exc, "log", None)  # FFmpeg's last line: level, component, text
    if said:
        reason = f"{reason} ({said[2].strip()})"
    number = getattr(exc, "errno", None)
    if number in NO_ROOM:
        hint = f"make room in {path.parent}, or write elsewhere"
    elif number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EIO, errno.ENAMETOOLONG):
        hint = f"check {path.parent} and its permissions, or write elsewhere"
    elif number == errno.ENOMEM or isinstance(exc, MemoryError):
        hint = "free memory, or try a smaller --size or --sdmatte-size"
    else:
        hint = "try another format, such as name.####.png"
    return WriteFailed(f"cannot write {path}: {reason}", hint=hint)


def exists_already(path: Path | Remote) -> WriteFailed:
    """The error for an output that is there."""
    return WriteFailed(f"{path} exists", hint="choose another name, or replace it with --overwrite")


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
