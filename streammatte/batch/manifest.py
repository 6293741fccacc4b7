"""The manifest: a line of JSON for each thing that happened to an output, so that a batch can go on.

Lines are only ever appended, each in one write. A line that a kill has torn is ignored. The last line of an output
counts: ``asked`` before the work, ``done`` or ``failed`` after it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from streammatte.batch.jobs import Job
from streammatte.errors import OutputError, StreammatteError, UnsupportedOutput, WriteFailed
from streammatte.media.addresses import without_secrets
from streammatte.media.copies import working_folder
from streammatte.media.read.numbered import NumberedName
from streammatte.media.read.signature import signature
from streammatte.media.remote import Remote, address_of, is_remote, open_remote, place_of
from streammatte.options.values import written

NAME = "manifest.jsonl"
VERSION = 1
Record = dict[str, Any]

# What does not change a result.
_ASIDE = {
    "outputs",
    "overwrite",
    "resume",
    "keep_mattes",
    "offline",
    "limits",
    "matte",
    "foreground",
    "deliver",
    "report",
}


class Manifest:
    """The records of a folder. A context manager that writes; reading needs no ``with``.

    That of a folder at an address is written to a file of this machine, which a kill leaves for the next run, and sent
    at the end.

    Attributes:
        records: The last record of each job, by its first output as the manifest names it.
    """

    def __init__(self, folder: Path | Remote) -> None:
        self.path = working_folder(folder) / NAME
        self.records: dict[str, Record] = {}
        self._folder = folder
        self._file: int | None = None
        self._whole = True
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            data = b""
        except OSError as exc:
            raise OutputError(
                f"cannot read {self.path}: {(exc.strerror or str(exc)).lower()}", hint="choose another folder with --to"
            ) from exc
        self._whole = data.endswith(b"\n") or not data
        for line in [*self._there().splitlines(), *data.splitlines()]:
            try:
                record = json.loads(line)
                if record["version"] == VERSION:
                    self.records[record["outputs"][0]] = record
            except (ValueError, KeyError, TypeError, IndexError):  # torn, or another program's
                continue

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            if not self._whole:
                os.write(self._file, b"\n")
        except OSError as exc:
            raise self._failed(exc) from exc
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        try:
            if isinstance(self._folder, Remote):
                self._send(self._folder / NAME, os.pread(self._file, os.fstat(self._file).st_size, 0))
        except StreammatteError as failure:
            failure.hint = f"the same command on this machine reads {self.path} instead"
            if exc is None:
                raise
            exc.add_note(str(failure))
        finally:
            os.close(self._file)
            self._file = None

    def _there(self) -> bytes:
        """What is at the address now."""
        place = self._folder / NAME
        if isinstance(place, Path) or not place.exists():
            return b""
        with open_remote(place) as file:
            return file.read()

    def _send(self, place: Remote, ours: bytes) -> None:
        """Add our lines to those that are at the address by now."""
        from streammatte.media.write.upload import sent

        there = self._there()
        before = set(there.splitlines())
        lines = [*there.splitlines(), *(line for line in ours.splitlines() if line not in before)]
        sent(b"".join(line + b"\n" for line in lines), place, overwrite=True).commit()
        self.path.unlink(missing_ok=True)

    def append(self, records: Iterable[Record]) -> None:
        """Write records, each a line.

        Raises:
            WriteFailed: The disk refused.
        """
        assert self._file is not None, "a manifest is written inside its `with` block"
        for record in records:
            line = json.dumps(record, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
            try:
                os.write(self._file, line)
            except OSError as exc:
                raise self._failed(exc) from exc
            self.records[record["outputs"][0]] = record

    def record(self, job: Job, state: str, **facts: Any) -> Record:
        """A record of a job, with what it asks for."""
        return {
            "version": VERSION,
            "state": state,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "input": without_secrets(job.input) if "://" in job.input else os.path.abspath(job.input),  # noqa: PTH100
            "outputs": [self.name(output) for output in job.outputs],
            "options": asked_of(job),
            **facts,
        }

    def of(self, job: Job) -> Record | None:
        """The last record of a job's output."""
        return self.records.get(self.name(job.outputs[0]))

    def outputs(self) -> list[str]:
        """Every file that an earlier run wrote, numbered ones each by itself."""
        named = [name for record in self.records.values() for name in record["outputs"]]
        names = [name if "://" in name else address_of(self._folder / name) for name in named]
        alone = [name for name in names if is_remote(name) and NumberedName.parse(name) is None]  # asking takes time
        return alone + [address_of(path) for name in names if name not in alone for path in files_of(name)]

    def name(self, output: str) -> str:
        """How an output is called here: from the folder on if it is within, so that the folder can be moved."""
        if is_remote(output):
            within = f"{address_of(self._folder)}/"
            return output[len(within) :] if output.startswith(within) else without_secrets(output)
        path = Path(os.path.abspath(output))  # noqa: PTH100 - resolve() would follow an output that is a link
        if isinstance(self._folder, Remote):
            return str(path)
        folder = Path(os.path.abspath(self._folder))  # noqa: PTH100
        return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)

    def _failed(self, exc: OSError) -> WriteFailed:
        return WriteFailed(
            f"cannot write {self.path}: {(exc.strerror or str(exc)).lower()}", hint="choose another folder with --to"
        )


def folder_of(name: str) -> Path | Remote:
    """The folder of a batch. Raises ``UnsupportedOutput`` for an address that cannot be written."""
    if "://" in name.removeprefix("file://") and not is_remote(name):
        raise UnsupportedOutput(
            f"cannot write to {without_secrets(name)}",
            hint="--to takes a folder, or an address such as s3://bucket/cut",
        )
    return place_of(name.rstrip("/") if is_remote(name) else name)


def asked_of(job: Job) -> dict[str, str]:
    """The options that differ from their defaults and can change a result, as they are typed."""
    changed = job.options.changed().items()
    return {name: without_secrets(written(value)) for name, value in changed if name not in _ASIDE}


def read_of(path: str, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Size, time and hash of a file or sequence that is read; what is missing has none.

    Args:
        before: What it was: hashed again only if its size or time has changed.
    """
    files = files_of(path)
    now = _stat(files) if files else {"size": 0, "mtime": 0}
    if before is not None and now["mtime"] and now == {"size": before.get("size"), "mtime": before.get("mtime")}:
        return dict(before)
    return {**now, "hash": signature(path)}


def written_of(path: str) -> dict[str, Any] | None:
    """Size, time and SHA-256 of an output; of a sequence, that of its pictures' SHA-256; ``None`` if it is missing.

    At an address, the store's own mark, so that nothing is fetched again.
    """
    files = files_of(path)
    if not files:
        return None
    if is_remote(path):
        return {**_stat(files), "mark": signature(path)}
    digests = []
    for each in files:
        assert isinstance(each, Path)
        with each.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    digest = digests[0] if NumberedName.parse(path) is None else hashlib.sha256("".join(digests).encode()).hexdigest()
    return {**_stat(files), "sha256": digest}


def intact(path: str, before: Mapping[str, Any]) -> bool:
    """Whether an output is what it was; its SHA-256 decides if only its time has changed, as after copying."""
    files = files_of(path)
    now = _stat(files) if files else {}
    if now.get("size") != before["size"]:
        return False
    if "mark" in before:
        return bool(signature(path) == before["mark"])
    return bool(now["mtime"] == before["mtime"] or (written_of(path) or {}).get("sha256") == before["sha256"])


def files_of(path: str) -> list[Path | Remote]:
    """The files behind a name that are there."""
    numbered = NumberedName.parse(path)
    if numbered is not None:
        return list(numbered.files()[0].values())
    if is_remote(path):
        place = Remote(path)
        return [place] if place.exists() else []
    return [Path(path)] if os.path.isfile(path) else []  # noqa: PTH113 - Path raises on names too long


def stat_of(path: str) -> dict[str, int] | None:
    """Size and time of an output; ``None`` if it is missing."""
    files = files_of(path)
    return _stat(files) if files else None


def _stat(files: Sequence[Path | Remote]) -> dict[str, int]:
    there = [_size_and_time(file) for file in files]
    return {"size": sum(size for size, _ in there), "mtime": max(time for _, time in there)}


def _size_and_time(file: Path | Remote) -> tuple[int, int]:
    """A store's times are not compared: their names differ from one to the next."""
    if isinstance(file, Remote):
        return int(file.info()["size"]), 0
    status = file.stat()
    return status.st_size, status.st_mtime_ns
