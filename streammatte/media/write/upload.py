"""Outputs at an address: written to a temporary folder, sent when they are complete, named last."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from streammatte.errors import SourceNotFound, StreammatteError, UnsupportedOutput, WriteFailed
from streammatte.frame import Cutout, Writer
from streammatte.media.copies import temporary_folder
from streammatte.media.read.numbered import NumberedName
from streammatte.media.remote import FILE_SYSTEMS, Remote, reason_of
from streammatte.media.write.output import exists_already

_PART = 16 << 20  # bytes of a request; S3 allows 10,000 of them, 160 GB
_AT_ONCE = 4  # pictures


def check_remote(place: Remote, *, overwrite: bool) -> None:
    """Refuse an output that could not be sent, before any work, as far as that can be told without sending.

    Raises:
        WriteFailed: The store does not answer or refuses access, or the output exists and may not be replaced.
        UnsupportedOutput: The name is a folder.
        InputError: The library of its protocol is missing.
    """
    try:
        if place.url.startswith(FILE_SYSTEMS) and not place.parent.exists():
            raise WriteFailed(f"the folder {place.parent} does not exist", hint="create it first")
        numbered = NumberedName.parse(place.url)
        if numbered is not None:
            there = next(iter(numbered.files()[0].values()), None)
        else:
            there = place if place.exists() else None
            if there is not None and place.info().get("type") == "directory":
                raise UnsupportedOutput(f"{place} is a folder", hint=f"name a file in it, such as {place / 'out.mov'}")
    except SourceNotFound as exc:
        raise _refused(place, exc) from exc
    if there is not None and not overwrite:
        raise exists_already(there)


class Upload:
    """A file on its way to an address. Nothing has that name before ``commit``, and after ``discard`` nothing is left.

    Raises:
        WriteFailed: The store refused, or the connection was lost.
    """

    def __init__(self, source: Path, place: Remote, *, overwrite: bool) -> None:
        self._place, self._overwrite = place, overwrite
        self._system, path = place.system()
        self._named = False  # before commit, as in stores that know nothing of it
        if not overwrite and self._exists():
            raise exists_already(place)
        if hasattr(self._system, "temppath"):  # of SFTP: renaming does not cross file systems
            self._system.temppath = path.rpartition("/")[0]
        try:
            self._file = self._system.open(path, "wb", block_size=_PART, autocommit=False)
        except Exception as exc:  # each library has exceptions of its own
            raise _refused(place, exc) from exc
        try:
            with source.open("rb") as file:
                shutil.copyfileobj(file, self._file, _PART)
            self._file.close()
            self._named = not overwrite and self._exists()
        except BaseException as exc:
            self.discard()
            if isinstance(exc, Exception):
                raise _refused(place, exc) from exc
            raise

    def commit(self) -> None:
        """Give it its name."""
        if not self._overwrite and not self._named and self._exists():
            self.discard()
            raise exists_already(self._place)
        try:
            self._file.commit()
        except Exception as exc:
            self.discard()
            raise _refused(self._place, exc) from exc

    def _exists(self) -> bool:
        try:
            return self._place.exists()
        except SourceNotFound as exc:
            raise _refused(self._place, exc) from exc

    def discard(self) -> None:
        """Throw away what was sent. A store that does not answer keeps it, unseen."""
        with suppress(Exception):
            self._place.remove() if self._named else self._file.discard()


def _refused(place: Remote, exc: Exception) -> WriteFailed:
    if isinstance(exc, StreammatteError):
        return WriteFailed(f"cannot write {place}: {exc}", hint=exc.hint)
    if isinstance(exc, PermissionError):
        return WriteFailed(f"cannot write {place}: access denied", hint="check the credentials and what they allow")
    return WriteFailed(
        f"cannot write {place}: {reason_of(exc)}", hint="check the address and the network, then run again"
    )


class UploadingWriter:
    """A writer into a temporary folder, whose files are sent when they are complete.

    ``finish`` sends a single file, which gets its name when the writer is left. It sends numbered pictures under their
    names, and if the run fails after all, they are removed again.

    Args:
        place: The final name.
        opened: Opens the writer of a local name.

    Attributes:
        inner: That writer.
    """

    def __init__(self, place: Remote, opened: Callable[[Path], Writer], *, overwrite: bool) -> None:
        self.place = place
        self._overwrite = overwrite
        self._uploads: list[Upload] = []
        self._sent: list[Remote] = []
        self._finished = False
        with ExitStack() as stack:
            self._folder = stack.enter_context(temporary_folder())
            self.inner = opened(self._folder / place.name)
            self._temporary = stack.pop_all()

    @property
    def path(self) -> Path:
        """Where it is written first; the last part of it is the final name."""
        return self.inner.path

    @property
    def description(self) -> str:
        return self.inner.description

    def write(self, cutout: Cutout) -> None:
        self.inner.write(cutout)

    def finish(self) -> None:
        """Complete the files and send them."""
        self.inner.finish()
        self._finished = True
        self.inner.__exit__(None, None, None)
        if NumberedName.parse(self.place.url) is None:
            self._uploads.append(Upload(self._folder / self.place.name, self.place, overwrite=self._overwrite))
            return
        names = sorted(path.name for path in self._folder.iterdir())
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="streammatte-send") as pool:
            sending = [pool.submit(self._send, name) for name in names]
            try:
                for each in sending:
                    each.result()
            except BaseException:
                for each in sending:
                    each.cancel()
                raise

    def _send(self, name: str) -> None:
        place = self.place.with_name(name)
        Upload(self._folder / name, place, overwrite=self._overwrite).commit()
        self._sent.append(place)

    def __enter__(self) -> Self:
        try:
            self.inner.__enter__()
        except BaseException:
            self._temporary.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        whole = False
        with self._temporary:
            try:
                if not self._finished and kind is not None:
                    self.inner.__exit__(kind, exc, trace)
                if kind is None:
                    if not self._finished:
                        self.finish()
                    for upload in self._uploads:
                        upload.commit()
                    self._remove_others()
                    whole = True
            finally:
                if not whole:
                    self._take_back()

    def _remove_others(self) -> None:
        """Remove the pictures that a sequence had under other numbers, so that two shots are never mixed."""
        numbered = NumberedName.parse(self.place.url)
        if self._overwrite and numbered is not None:
            written = {place.name for place in self._sent}
            for number in numbered.numbers():
                if numbered.name(number) not in written:
                    self.place.with_name(numbered.name(number)).remove()

    def _take_back(self) -> None:
        for upload in self._uploads:
            upload.discard()
        for place in self._sent:
            with suppress(StreammatteError):  # a store that does not answer keeps them
                place.remove()


def sent(data: bytes, place: Remote, *, overwrite: bool) -> Upload:
    """A small file that has been sent, without its name."""
    with temporary_folder() as folder:
        (folder / "text").write_bytes(data)
        return Upload(folder / "text", place, overwrite=overwrite)


@contextmanager
def kept_at(place: Path | Remote, copy: Path, notice: Callable[[str], None]) -> Iterator[None]:
    """Work on a copy of a file that may be there already: fetched before, and sent after, unless an exception ends it.

    A fault is a notice, since the file only saves time.
    """
    if isinstance(place, Path):
        yield
        return
    before = None
    try:
        if not copy.exists() and place.exists():
            place.fetch(copy)
            before = copy.stat().st_size
    except StreammatteError as exc:
        notice(str(exc))
    yield
    try:
        if copy.exists():
            if copy.stat().st_size != before:  # it only ever grows
                Upload(copy, place, overwrite=True).commit()
            copy.unlink()
    except StreammatteError as exc:
        notice(f"{exc}; it is kept as {copy}")
