"""Files at an address that fsspec opens: ``s3://``, ``gs://``, ``sftp://``, ``memory://`` and its others.

``http``, ``rtsp`` and whatever else FFmpeg opens itself stay with FFmpeg. Who may read, and where, comes from where the
library of each protocol looks (``AWS_PROFILE``, ``FSSPEC_S3_ENDPOINT_URL`` …); nothing of it is printed.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from uuid import uuid4

from streammatte.errors import InputError, SourceNotFound, StreammatteError, WriteFailed
from streammatte.media.addresses import without_secrets

T = TypeVar("T")

_OTHERS = ("file", "local", "data", "http", "https", "ftp")
"""Protocols that fsspec knows, too, but which are paths, or FFmpeg's."""
FILE_SYSTEMS = ("sftp://", "ssh://", "smb://", "hdfs://", "webhdfs://")
"""Protocols with folders that have to exist; elsewhere a folder is the beginning of a name."""
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "sftp": "sftp", "ssh": "sftp"}
"""Our extra that installs a protocol's library."""

_BLOCK = 4 << 20  # bytes of a request: large enough that a link's latency costs little
_BLOCKS = 16  # kept in memory, so that sound and subtitles find what was read for the picture
_PAUSES = (1.0, 4.0)  # seconds before reading again what was not read; libraries try several times themselves, too
NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
"""What the system says when a disk is full."""


def is_remote(address: str | PathLike[str]) -> bool:
    """Whether fsspec opens it, rather than the system or FFmpeg."""
    protocol, colon, _ = str(address).partition("://")
    if not colon or protocol in _OTHERS:
        return False
    from fsspec.registry import known_implementations, registry

    return protocol in known_implementations or protocol in registry


def place_of(path: str | PathLike[str]) -> Path | Remote:
    """What is at that address, or a path, ``file://`` in front of it or not."""
    return Remote(str(path)) if is_remote(path) else Path(str(path).removeprefix("file://"))


def address_of(place: Path | Remote) -> str:
    """The inverse of :func:`place_of`, secrets included."""
    return place.url if isinstance(place, Remote) else str(place)


@dataclass(frozen=True, slots=True)
class Remote:
    """An address with the methods of a path. Printed, it shows no secrets.

    Every method raises ``SourceNotFound`` if there is no such object, or the store does not answer, and ``InputError``
    if the library of its protocol is missing.
    """

    url: str

    def __str__(self) -> str:
        return without_secrets(self.url)

    @property
    def name(self) -> str:
        return self.url.partition("://")[2].rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> Remote:
        protocol, _, path = self.url.rstrip("/").partition("://")
        return Remote(f"{protocol}://{path.rpartition('/')[0]}")

    def __truediv__(self, name: str) -> Remote:
        return Remote(f"{self.url}{'' if self.url.endswith('/') else '/'}{name}")

    def with_name(self, name: str) -> Remote:
        return self.parent / name

    def system(self) -> tuple[Any, str]:
        """The file system that fsspec has for it, and the path in it."""
        from fsspec.core import url_to_fs

        try:
            with _translated(self):
                system, path = url_to_fs(self.url)
        except ImportError as exc:
            protocol = self.url.partition("://")[0]
            extra = _EXTRAS.get(protocol)
            line = f"pip install 'streammatte[{extra}]'" if extra else str(exc)
            raise InputError(f"{protocol}:// needs a library that is not installed", hint=line) from exc
        return system, path

    def info(self) -> dict[str, Any]:
        """What the store says of it now: ``size``, ``type`` and more."""
        system, path = self.system()
        with _translated(self):
            system.invalidate_cache()
            found: dict[str, Any] = system.info(path)
        return found

    def exists(self) -> bool:
        try:
            self.info()
        except SourceNotFound as exc:
            if isinstance(exc.__cause__, FileNotFoundError):
                return False
            raise
        return True

    def infos(self) -> dict[str, dict[str, Any]]:
        """What the store says of each file in this folder, by name; none if there is no such folder."""
        system, path = self.system()
        with _translated(self):
            try:
                system.invalidate_cache()
                found = system.ls(path, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return {}
        return {str(each["name"]).rpartition("/")[2]: each for each in found if each["type"] == "file"}

    def glob(self) -> list[Remote]:
        """The files whose names match this pattern, in order."""
        system, path = self.system()
        with _translated(self):
            system.invalidate_cache()
            found = sorted(each for each, info in system.glob(path, detail=True).items() if info["type"] == "file")
        head = self.url.removesuffix(path) if self.url.endswith(path) else None  # with user and host
        return [Remote(system.unstrip_protocol(each) if head is None else head + each) for each in found]

    def signature(self) -> str:
        """What tells its contents from others: size and the store's own mark; empty if it has none."""
        return mark_of(self.info())

    def head(self, size: int) -> bytes:
        """Its first bytes."""
        system, path = self.system()
        return bytes(_persistently(self, lambda: system.cat_file(path, start=0, end=size)))

    def fetch(self, target: Path) -> None:
        """Copy it to a file, which appears under that name when it is whole."""
        system, path = self.system()
        part = target.with_name(f".{uuid4().hex[:12]}.part")
        try:
            _persistently(self, lambda: system.get_file(path, str(part)))
            part.replace(target)
        except OSError as exc:
            raise WriteFailed(
                f"cannot fetch {self} to {target.parent}: {exc.strerror or exc}",
                hint="make room there, or set TMPDIR to another folder",
            ) from exc
        finally:
            part.unlink(missing_ok=True)

    def remove(self) -> None:
        system, path = self.system()
        with _translated(self):
            system.rm(path)


def mark_of(info: dict[str, Any]) -> str:
    """What tells contents from others, in what a store says of a file; empty if it says nothing of the kind."""
    names = ("ETag", "etag", "md5Hash", "content_md5", "crc32c", "generation", "LastModified", "mtime", "created")
    stated = next((str(info[name]) for name in names if info.get(name)), "")
    return sha256(f"{info.get('size')} {stated}".encode()).hexdigest()[:32] if stated else ""


@contextmanager
def _translated(place: Remote) -> Iterator[None]:
    """Turn what a library raises while reading into one of our errors."""
    try:
        yield
    except (StreammatteError, ImportError):
        raise
    except Exception as exc:  # each library has exceptions of its own
        raise _unreadable(place, exc) from exc


def _unreadable(place: Remote, exc: Exception) -> SourceNotFound:
    if isinstance(exc, FileNotFoundError):
        return SourceNotFound(f"there is no {place}", hint="check the address; names are case-sensitive")
    if isinstance(exc, PermissionError):
        return SourceNotFound(f"cannot read {place}: access denied", hint="check the credentials")
    hint = "check the address, the credentials and the network"
    return SourceNotFound(f"cannot read {place}: {reason_of(exc)}", hint=hint)


def _persistently(place: Remote, read: Callable[[], T]) -> T:
    """What ``read`` returns; it is tried again if the connection is lost. Raises ``OSError`` if a disk is full."""
    for pause in (*_PAUSES, None):
        try:
            return read()
        except Exception as exc:  # each library has exceptions of its own
            if getattr(exc, "errno", None) in NO_ROOM:
                raise
            if pause is None or isinstance(exc, FileNotFoundError | PermissionError):
                raise _unreadable(place, exc) from exc
        time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def reason_of(exc: BaseException) -> str:
    """What a library says, in one line and without secrets."""
    said = [line.strip() for line in (getattr(exc, "strerror", None) or str(exc)).splitlines() if line.strip()]
    return without_secrets(said[0]) if said else type(exc).__name__


class _Blocks:
    """A remote file's bytes in blocks, those used last kept in memory and the next one fetched ahead.

    Safe to read from several threads.

    Attributes:
        size: Bytes of the file.
        requests, received: Number of requests, and bytes that they brought.
    """

    def __init__(self, place: Remote, size: int) -> None:
        self.size = size
        self.requests = self.received = 0
        self._place = place
        self._system, self._path = place.system()
        self._cache = self._empty()

    def _empty(self) -> Any:
        from fsspec.caching import BackgroundBlockCache

        return BackgroundBlockCache(_BLOCK, self._request, self.size, _BLOCKS)

    def read(self, start: int, end: int) -> bytes:
        try:
            data: bytes = self._cache._fetch(start, end)
        except BaseException:
            self._cache = self._empty()  # the old one would raise the same again, whatever the store says by then
            raise
        return data

    def _request(self, start: int, end: int) -> bytes:
        end = min(end, self.size)
        return _persistently(self._place, lambda: self._once(start, end))

    def _once(self, start: int, end: int) -> bytes:
        self.requests += 1
        data: bytes = self._system.cat_file(self._path, start=start, end=end)
        self.received += len(data)
        if len(data) != end - start:
            raise ConnectionError(f"{len(data)} bytes came instead of {end - start}")
        return data


# Sound, subtitles and picture of a clip are read by containers of their own. Kept together here, their blocks are
# fetched once.
@lru_cache(maxsize=2)
def _blocks(place: Remote, size: int, mark: str) -> _Blocks:
    return _Blocks(place, size)


class RemoteFile(io.RawIOBase):
    """A remote file, read by range. It is seekable, as PyAV and other libraries want it.

    Attributes:
        name: Its address without secrets.
    """

    def __init__(self, place: Remote, blocks: _Blocks) -> None:
        self.place, self.blocks = place, blocks
        self.name = str(place)
        self._at = 0

    def again(self) -> RemoteFile:
        """The same file, with a position of its own."""
        return RemoteFile(self.place, self.blocks)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.blocks.size}[whence]
        if start + offset < 0:
            raise ValueError("cannot seek to before the beginning")
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        end = self.blocks.size if size is None or size < 0 else min(self.blocks.size, self._at + size)
        data = self.blocks.read(self._at, end) if end > self._at else b""
        self._at += len(data)
        return data

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def open_remote(place: Remote) -> RemoteFile | io.BufferedReader:
    """Open it for reading; whole, from a temporary file, where the store does not say how large it is.

    Raises:
        SourceNotFound: There is no such object, it may not be read, or the store does not answer.
    """
    info = place.info()
    if info.get("type") == "directory":
        raise SourceNotFound(f"{place} is a folder", hint="give a file, or an image sequence such as plate.####.png")
    size = info.get("size")
    if size is None:
        return _whole(place)
    return RemoteFile(place, _blocks(place, int(size), mark_of(info)))


def _whole(place: Remote) -> io.BufferedReader:
    system, path = place.system()
    file = tempfile.TemporaryFile(prefix="streammatte-")  # noqa: SIM115 - whoever opens it closes it
    try:
        with _translated(place), system.open(path, "rb") as source:
            shutil.copyfileobj(source, file, _BLOCK)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file  # type: ignore[return-value]  # typeshed's wrapper; on POSIX it is a BufferedReader
