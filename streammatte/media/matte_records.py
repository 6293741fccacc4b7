"""The file of the matte cache: a line of JSON with all that decides the answers, then a record for each answer."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = b"streammatte mattes 2\n"
LONGEST_HEADER = 1 << 16
RECORD = struct.Struct("<4s8sIqHHII")  # marker, kind, index, pts, height, width, bytes, CRC-32
MARKER = b"MATT"

Key = tuple[bytes, int, int]
"""Kind, index and pts. In a part of damaged footage, a frame may have another index than in the whole."""


def packed(steps: NDArray[np.uint16]) -> bytes:
    """(h, w) compressed: differences along rows, low and high bytes apart, for zlib."""
    differences = steps.astype("<u2")
    differences[:, 1:] -= steps[:, :-1]
    return zlib.compress(differences.view(np.uint8).reshape(*steps.shape, 2).transpose(2, 0, 1).tobytes(), 1)


def unpacked(data: bytes, shape: tuple[int, int]) -> NDArray[np.uint16] | None:
    """The inverse of :func:`packed`; ``None`` for other data."""
    expected = 2 * shape[0] * shape[1]
    try:
        planes = zlib.decompressobj().decompress(data, expected)
    except zlib.error:
        return None
    if len(planes) != expected:
        return None
    low_and_high = np.frombuffer(planes, np.uint8).reshape(2, *shape).transpose(1, 2, 0)
    differences = np.ascontiguousarray(low_and_high).view("<u2")[..., 0]
    return np.cumsum(differences, axis=1, dtype=np.uint16)


def header(file: BinaryIO) -> bytes:
    start = file.read(LONGEST_HEADER)
    end = start.find(b"\n", len(MAGIC))
    return start[: end + 1] if start.startswith(MAGIC) else b""


def records(file: BinaryIO, start: int) -> Iterator[tuple[Key, int, int]]:
    """Key, start and end of each record from ``start`` on, up to the first torn one."""
    size = file.seek(0, os.SEEK_END)
    while start + RECORD.size <= size:
        file.seek(start)
        marker, kind, index, pts, _, _, length, _ = RECORD.unpack(file.read(RECORD.size))
        end = start + RECORD.size + length
        if marker != MARKER or end > size:
            return
        yield (kind, index, pts), start, end
        start = end


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of it: an unbuffered file may take less at once."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def checksum(head: bytes, data: bytes) -> int:
    """Over a record, without the checksum itself."""
    return zlib.crc32(data, zlib.crc32(head[:-4]))
