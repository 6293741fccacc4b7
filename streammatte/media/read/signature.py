"""Fingerprints of inputs and weights files."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from streammatte.media.read.numbered import NumberedName
from streammatte.media.remote import Remote, is_remote, mark_of

_WHOLE = 64 << 20  # bytes up to which a file is hashed as a whole
_ENDS = 1 << 20  # bytes of either end that are hashed of a larger file


def signature(name: str) -> str:
    """The identity of a file's, a folder's or a numbered sequence's contents; empty for anything else, as a pipe."""
    try:
        numbered = NumberedName.parse(name)
        if numbered is not None:
            return _listed(numbered)
        if is_remote(name):
            return Remote(name).signature()
        path = Path(name.removeprefix("file://"))
        if path.is_dir():
            return sha256(
                "".join(_hashed(each) for each in sorted(path.rglob("*")) if each.is_file()).encode()
            ).hexdigest()
        return _hashed(path)
    except (OSError, ValueError):
        return ""


def _hashed(path: Path) -> str:
    """By size and contents; a large file by its ends and when it was changed: its middle may be rendered anew."""
    digest = sha256()
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        for start, end in ((0, size),) if size <= _WHOLE else ((0, _ENDS), (size - _ENDS, size)):
            file.seek(start)
            digest.update(file.read(end - start))
        if size > _WHOLE:
            digest.update(str(os.fstat(file.fileno()).st_mtime_ns).encode())
    return f"{size} {digest.hexdigest()[:32]}"


def _listed(name: NumberedName) -> str:
    """Empty if a store marks no contents."""
    folder, paths = name.folder, name.files()[0].values()
    if isinstance(folder, Remote):
        infos = folder.infos()
        marks = [mark_of(infos[path.name]) for path in paths]
        if not all(marks):
            return ""
    else:
        marks = [
            f"{there.st_size} {there.st_mtime_ns}" for there in (folder.joinpath(path.name).stat() for path in paths)
        ]
    digest = sha256()
    for path, mark in zip(paths, marks, strict=True):
        digest.update(f"{path.name} {mark}\n".encode())
    return digest.hexdigest()[:32]
