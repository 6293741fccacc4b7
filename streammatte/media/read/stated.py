"""Depth and colours that PNG and AVIF files state and Pillow does not pass on: it reads 8 bits of any number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from streammatte.color.codes import BT709, SRGB, rgb_color
from streammatte.frame import ColorSpec
from streammatte.media.boxes import Box, boxes

_BIT_DEPTH = 24  # where it is in a PNG's header
_LEADING = {b"meta": 4, b"iprp": 0, b"ipco": 0}  # bytes before the boxes inside these boxes


def samples_of(path: Path, kind: str | None) -> tuple[int, ColorSpec | None]:
    """Bits of a sample, at least 8, and the colours the file states as H.273 codes.

    Args:
        kind: As Pillow names it; for kinds other than PNG and AVIF, nothing is known.

    Raises:
        OSError: The file cannot be read.
    """
    if kind == "AVIF":
        return _facts_of_avif(path)
    if kind != "PNG":
        return 8, None
    with path.open("rb") as file:
        return max(8, file.read(_BIT_DEPTH + 1)[-1]), _png_color(path)


def _png_color(path: Path) -> ColorSpec | None:
    """The H.273 codes of a cICP chunk, or those of sRGB if an sRGB chunk says so; ``None`` without either."""
    named = None
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"cICP" and length == 4:
                primaries, transfer, *_ = file.read(4)
                return rgb_color(primaries, transfer)
            if head[4:] == b"sRGB":  # a later cICP overrides it
                named = rgb_color(BT709, SRGB)
            file.seek(length + 4, 1)
    return named


def _facts_of_avif(path: Path) -> tuple[int, ColorSpec | None]:
    """Bits of a sample, and the colours of its RGB."""
    bits, color = 8, None
    with path.open("rb") as file:
        for box in _properties(file):
            file.seek(box.content)
            data = file.read(min(64, box.end - box.content))
            if box.kind == b"pixi" and len(data) > 5:  # ISO/IEC 23008-12, 6.5.6
                bits = max(bits, data[5])
            if box.kind == b"colr" and data[:4] == b"nclx" and color is None:  # ISO/IEC 14496-12, 12.1.5
                primaries, transfer = int.from_bytes(data[4:6], "big"), int.from_bytes(data[6:8], "big")
                color = rgb_color(primaries, transfer)
    return bits, color


def _properties(file: BinaryIO, within: Box | None = None) -> Iterator[Box]:
    for box in boxes(file, within):
        if box.kind in _LEADING:
            yield from _properties(file, box._replace(content=box.content + _LEADING[box.kind]))
        elif within is not None:
            yield box


def decode_deep(path: Path, kind: str | None, bits: int) -> NDArray[Any]:
    """(H, W) or (H, W, C) uint16 spanning its type, from samples of more than 8 ``bits``; not turned."""
    decode = imagecodecs.png_decode if kind == "PNG" else imagecodecs.avif_decode
    samples: NDArray[Any] = decode(path.read_bytes())
    if kind != "PNG":
        samples = np.rint(samples * (65535 / (2**bits - 1))).astype(np.uint16)
    return samples
