"""Stills put together as one animated GIF or WebP, a frame at a time, so that memory does not grow with the clip.

Pillow encodes each still. Its own ``save_all`` keeps every frame until the last, and so does FFmpeg's WebP encoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Protocol

ANIMATED = (".gif", ".webp")
"""Picture formats that hold several frames."""


class Animation(Protocol):
    """The bytes around the frames of a format.

    Attributes:
        tick: Unit of a frame's duration, in seconds.
        shortest: Ticks; browsers show a briefer frame for a tenth of a second.
        longest: The most ticks that the format can store.
    """

    tick: Fraction
    shortest: int
    longest: int

    def head(self, size: int) -> bytes:
        """The bytes before the first frame, always as many; ``size`` is the file's, 0 while it is unknown."""
        ...

    def frame(self, still: bytes, ticks: int) -> bytes:
        """The bytes of a frame, from those of a single picture."""
        ...

    def tail(self) -> bytes: ...


class GifAnimation:
    """GIF89a, endlessly repeated, each frame with a palette of its own.

    Args:
        width, height: Of every frame.
        has_alpha: A frame is wiped away before the next one.
    """

    tick = Fraction(1, 100)
    shortest = 2
    longest = 0xFFFF

    def __init__(self, width: int, height: int, *, has_alpha: bool) -> None:
        self._size = _little(width, 2) + _little(height, 2)
        self._disposal = 2 if has_alpha else 1

    def head(self, size: int) -> bytes:
        return b"GIF89a" + self._size + b"\0\0\0" + b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"

    def frame(self, still: bytes, ticks: int) -> bytes:
        palette_bits = still[10] & 7
        place = 13 + 3 * 2 ** (palette_bits + 1)
        palette = still[13:place]
        transparent: int | None = None
        while still[place] == 0x21:  # extensions; the graphic control names the clear colour
            if still[place + 1] == 0xF9 and still[place + 3] & 1:
                transparent = still[place + 6]
            place += 2
            while still[place]:
                place += still[place] + 1
            place += 1
        flags = self._disposal << 2 | (transparent is not None)
        control = b"\x21\xf9\x04" + bytes([flags]) + _little(ticks, 2) + bytes([transparent or 0, 0])
        descriptor = still[place : place + 9] + bytes([0x80 | palette_bits])
        return control + descriptor + palette + still[place + 10 : -1]

    def tail(self) -> bytes:
        return b"\x3b"


class WebpAnimation:
    """Animated WebP, endlessly repeated; see the container's specification, RFC 9649.

    Args:
        width, height: Of every frame.
        has_alpha: Frames have alpha, and replace the one before.
    """

    tick = Fraction(1, 1000)
    shortest = 11
    longest = 0xFFFFFF

    def __init__(self, width: int, height: int, *, has_alpha: bool) -> None:
        self._size = _little(width - 1, 3) + _little(height - 1, 3)
        self._has_alpha = has_alpha

    def head(self, size: int) -> bytes:
        features = bytes([0x12 if self._has_alpha else 0x02, 0, 0, 0])
        forever = bytes(6)  # over a clear background
        whole = max(0, size - 8)
        return b"RIFF" + _little(whole, 4) + b"WEBP" + _chunk(b"VP8X", features + self._size) + _chunk(b"ANIM", forever)

    def frame(self, still: bytes, ticks: int) -> bytes:
        picture = b"".join(_chunk(kind, data) for kind, data in _chunks(still) if kind in (b"ALPH", b"VP8 ", b"VP8L"))
        not_blended = b"\x02"
        return _chunk(b"ANMF", bytes(6) + self._size + _little(ticks, 3) + not_blended + picture)

    def tail(self) -> bytes:
        return b""


def _chunks(webp: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 12
    while place + 8 <= len(webp):
        size = int.from_bytes(webp[place + 4 : place + 8], "little")
        yield webp[place : place + 4], webp[place + 8 : place + 8 + size]
        place += 8 + size + size % 2


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + _little(len(data), 4) + data + bytes(len(data) % 2)


def _little(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")
