"""Files that appear under their final name only when they are whole."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from streammatte.errors import OutputError, SourceNotFound, UnsupportedOutput, WriteFailed
from streammatte.media.read.numbered import NumberedName

_LONGEST_NAME = 255  # bytes, on every file system in common use
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse an output that could not be put in its place, before any work is done.

    Raises:
        WriteFailed: The folder is missing or cannot be written, or the output exists and may not be replaced.
        UnsupportedOutput: The name is that of a folder.
    """
    length = len(os.fsencode(path.name))
    if length > _LONGEST_NAME:
        raise WriteFailed(
            f"{path} cannot be written: its name has {length} bytes", hint=f"file systems take {_LONGEST_NAME}"
        )
    try:
        there = _in_the_way(path)
    except OSError as exc:
        raise WriteFailed(
            f"{path} cannot be written: {exc.strerror}", hint="check its folders, and their permissions"
        ) from exc
    except SourceNotFound as exc:  # the folder may be written, and not be looked into for old pictures
        raise WriteFailed(f"{path} cannot be written: {exc}", hint=exc.hint) from exc
    if there is not None and not overwrite:
        raise _exists(there)


def _in_the_way(path: Path) -> Path | None:
    """What is there already under that name, or under one of its numbers."""
    folder = path.parent
    try:
        is_folder = stat.S_ISDIR(folder.stat().st_mode)
    except FileNotFoundError as exc:
        raise WriteFailed(f"there is no folder {folder}", hint=f"create it first: mkdir -p {folder}") from exc
    if not is_folder:
        raise WriteFailed(f"{folder} is no folder", hint="check the path")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteFailed(f"the folder {folder} cannot be written", hint="choose another, or change its permissions")
    if path.is_dir():
        raise UnsupportedOutput(f"{path} is a folder", hint=f"name a file in it, such as {path / 'out.mov'}")
    numbered = NumberedName.parse(path)
    if numbered is not None and (numbers := numbered.numbers()):
        return numbered.path(numbers[0])
    return path if os.path.lexists(path) else None  # a link that leads nowhere is in the way, too


def through_links(path: Path) -> Path:
    """Where what is written under that name lands: in what a link leads to, which need not be there yet.

    A loop of links is left as it is.
    """
    if not os.path.islink(path):  # noqa: PTH114 - Path.is_symlink raises on names that are too long
        return path
    end = Path(os.path.realpath(path))
    return path if end.is_symlink() else end


def same_files(one: str, other: str) -> bool:
    """Whether two names, either of which may stand for numbered files, mean a file in common."""
    one, other = one.removeprefix("file://"), other.removeprefix("file://")
    numbered = NumberedName.parse(one), NumberedName.parse(other)
    if numbered[0] is not None and numbered[1] is not None:
        first, second = ((os.path.realpath(name.folder), name.name(0)) for name in numbered if name is not None)
        return first == second
    for pattern, name in zip(numbered, (other, one), strict=True):
        if pattern is not None:
            return any(os.path.realpath(pattern.path(n)) == os.path.realpath(name) for n in pattern.numbers())
    if os.path.realpath(one) == os.path.realpath(other):  # unlike Path.resolve, it bears a loop of links
        return True
    try:
        return Path(one).samefile(other)
    except OSError:  # one of them is not there, or is no path at all
        return False


def check_apart(targets: Sequence[str], read: Iterable[tuple[str, str]]) -> None:
    """Refuse to overwrite what is read, or one output with another, before any work is done.

    Args:
        targets: Names of outputs.
        read: Names of what is read, each with what it is.

    Raises:
        OutputError: Two of them mean a file in common.
    """
    for place, target in enumerate(targets):
        for name, what in read:
            if same_files(target, name):
                raise OutputError(f"{target} is {what}", hint="choose another name for the output")
        if any(same_files(target, other) for other in targets[:place]):
            raise OutputError(f"{target} is named twice", hint="every output needs a name of its own")


def temporary_beside(path: Path) -> Path:
    """A hidden, unused name in the same folder, so that renaming it is one step on one file system."""
    stem = os.fsencode(path.stem)[:64].decode(errors="ignore")
    return path.with_name(f".{stem}.{uuid4().hex[:12]}.part")


def publish(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Give a file that is whole its final name.

    Raises:
        WriteFailed: Without ``overwrite``, the name has been taken since it was checked.
        OSError: The file system refused.
    """
    if overwrite:
        os.replace(temporary, path)  # noqa: PTH105 - the name says that a target is replaced
        return
    try:
        os.link(temporary, path)  # unlike renaming, this never replaces what is there
    except FileExistsError as exc:
        raise _exists(path) from exc
    except OSError:  # FAT and some network folders have no hard links; there, looking and renaming are two steps
        if os.path.lexists(path):
            raise _exists(path) from None
        os.replace(temporary, path)  # noqa: PTH105
    else:
        temporary.unlink()


class TextFile:
    """A text file, in UTF-8, beside the other outputs of a run: all of it or none, renamed when it is left.

    Bytes of a file's name that are no UTF-8 are written as ``\\udcff``. Nothing appears where ``write`` was not called,
    or an exception ends it.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self.path = path
        self._temporary = temporary_beside(path)
        self._overwrite = overwrite

    def write(self, text: str) -> None:
        """Put all of the text under the temporary name.

        Raises:
            WriteFailed: The disk refused.
        """
        try:
            self._temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError as exc:
            raise write_failed(self.path, exc) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._temporary.exists():
                publish(self._temporary, self.path, overwrite=self._overwrite)
        except OSError as failure:
            raise write_failed(self.path, failure) from failure
        finally:
            self._temporary.unlink(missing_ok=True)


def open_text(name: str, endings: Sequence[str], *, overwrite: bool) -> TextFile:
    """Where a text will be, if the name says what it is.

    Raises:
        OutputError: It could not be there, or its name has none of these endings.
    """
    path = Path(name)
    if path.suffix.lower() not in endings:
        raise UnsupportedOutput(
            f"{path} does not end in {endings[0]}", hint=f"name it {path.stem.strip('-.') or 'out'}{endings[0]}"
        )
    path = through_links(path)
    check_target(path, overwrite=overwrite)
    return TextFile(path, overwrite=overwrite)


def write_failed(path: Path, exc: Exception) -> WriteFailed:
    """What an encoder, a muxer or the disk said, as the error that a writer raises."""
    reason = getattr(exc, "strerror", None) or str(exc)
    said = getattr(exc, "log", None)  # PyAV's errors bring FFmpeg's last line: level, component, text
    if said:
        reason = f"{reason} ({said[2].strip()})"
    number = getattr(exc, "errno", None)
    if number in _NO_ROOM:
        hint = f"make room in {path.parent}, or write elsewhere"
    elif number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EIO, errno.ENAMETOOLONG):
        hint = f"check {path.parent} and its permissions, or write elsewhere"
    else:
        hint = "another format may take it, such as name.####.png"
    return WriteFailed(f"{path} cannot be written: {reason}", hint=hint)


def _exists(path: Path) -> WriteFailed:
    return WriteFailed(f"{path} exists", hint="choose another name, or replace it with --overwrite")
