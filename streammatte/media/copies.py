"""Local copies of remote files, for libraries that read and write only files of this machine."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from itertools import zip_longest
from os import PathLike
from pathlib import Path

from streammatte.errors import StreammatteError, WriteFailed
from streammatte.media.remote import Remote, place_of

_AHEAD = 4  # pictures of a sequence that are fetched at once


@contextmanager
def kept_copy(place: Path | Remote) -> Iterator[tuple[Path, Callable[[object], object]]]:
    """A file of the same name and contents, for libraries that read only files; a path is its own copy.

    The second value takes an object that needs the copy: it stays until that is gone, and otherwise goes at once.
    """
    if isinstance(place, Path):
        yield place, lambda user: None
        return
    with ExitStack() as stack:
        copy = stack.enter_context(temporary_folder()) / place.name
        place.fetch(copy)
        with named(copy, place):
            yield copy, lambda user: weakref.finalize(user, stack.pop_all().close)


def local_copies(places: Sequence[Path | Remote]) -> Iterator[Path]:
    """The same for each in order, a few of them fetched ahead; a copy lasts until the next one is taken."""
    with temporary_folder() as folder, ThreadPoolExecutor(_AHEAD, thread_name_prefix="streammatte-fetch") as pool:

        def fetched(place: Path | Remote) -> Path:
            if isinstance(place, Path):
                return place
            place.fetch(folder / place.name)
            return folder / place.name

        waiting = deque(pool.submit(fetched, place) for place in places[:_AHEAD])
        try:
            for place, after in zip_longest(places, places[_AHEAD:]):
                copy = waiting.popleft().result()
                if after is not None:
                    waiting.append(pool.submit(fetched, after))
                yield copy
                if isinstance(place, Remote):
                    copy.unlink(missing_ok=True)
        finally:
            for each in waiting:
                each.cancel()


@contextmanager
def named(copy: Path, place: Path | Remote) -> Iterator[None]:
    """Errors about a copy name the original, which is what its reader knows."""
    try:
        yield
    except StreammatteError as exc:
        exc.args = (str(exc).replace(str(copy), str(place)), *exc.args[1:])
        raise


def working_folder(place: Path | Remote) -> Path:
    """The folder itself, or one of this machine that stands for a remote one, the same in every run."""
    if isinstance(place, Path):
        return place
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = cache / "streammatte" / sha256(place.url.encode()).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise WriteFailed(f"cannot create {folder}: {exc.strerror}", hint="set XDG_CACHE_HOME") from exc
    return folder


def fetched_once(path: str | PathLike[str]) -> Path:
    """A path; or a copy of a remote file, such as weights, which stays until the file changes."""
    place = place_of(path)
    if isinstance(place, Path):
        return place
    folder = working_folder(Remote(f"{place.url}#{place.signature()}"))
    copy = folder / place.name
    if not copy.exists():
        place.fetch(copy)
    return copy


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder in ``TMPDIR``, removed at the end."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="streammatte-"))
    except OSError as exc:
        raise WriteFailed(f"cannot create a temporary folder: {exc.strerror}", hint="set TMPDIR") from exc
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
