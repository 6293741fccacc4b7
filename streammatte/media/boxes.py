"""The boxes of MOV and MP4 files (ISO/IEC 14496-12, section 4.2)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple


class Box(NamedTuple):
    """A box: its kind, and where in the file it, its content and whatever follows it begin."""

    kind: bytes
    start: int
    content: int
    end: int


def boxes(file: BinaryIO, within: Box | None = None) -> Iterator[Box]:
    """The complete boxes in a file or in another box, up to the first incomplete one."""
    place, end = (0, file.seek(0, io.SEEK_END)) if within is None else (within.content, within.end)
    while place + 8 <= end:
        file.seek(place)
        head = file.read(16)
        size, content = int.from_bytes(head[:4], "big"), place + 8
        if size == 1:
            size, content = int.from_bytes(head[8:], "big"), place + 16
        if size < content - place or place + size > end:
            return
        yield Box(head[4:8], place, content, place + size)
        place += size


def handlers_of_tracks(file: BinaryIO) -> dict[int, bytes]:
    """The handler of each track (``vide``, ``soun``, ``auxv`` …) by its number (sections 8.3.2 and 8.4.3)."""
    found = {}
    for movie in boxes(file):
        for track in boxes(file, movie) if movie.kind == b"moov" else ():
            number, handler = None, b""
            for part in boxes(file, track) if track.kind == b"trak" else ():
                if part.kind == b"tkhd":
                    head = _read(file, part, 24)
                    number = int.from_bytes(head[20:24] if head[:1] == b"\1" else head[12:16], "big")
                for media in boxes(file, part) if part.kind == b"mdia" else ():
                    if media.kind == b"hdlr":
                        handler = _read(file, media, 12)[8:]
            if number is not None:
                found[number] = handler
    return found


def _read(file: BinaryIO, box: Box, size: int) -> bytes:
    """The first bytes of its content."""
    file.seek(box.content)
    return file.read(min(size, box.end - box.content))
