"""What PNG and AVIF files say of their samples, which Pillow does not pass on: it gives 8 bits of any number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from streammatte.color.linear import BT709, SRGB
from streammatte.color.ycbcr import RGB_MATRIX
from streammatte.frame import ColorSpec
from streammatte.media.boxes import Box, boxes

_BIT_DEPTH = 24  # where a PNG's header says it
_LEADING = {b"meta": 4, b"iprp": 0, b"ipco": 0}  # bytes before the boxes that these boxes hold


def samples_of(path: Path, kind: str | None) -> tuple[int, ColorSpec | None]:
    """How many bits are read of a sample, and what the file says of its colours by H.273's codes.

    Args:
        kind: As Pillow names it; of others than PNG and AVIF, nothing is known.

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
    """What a PNG says of its colours in H.273's codes (chunk cICP), or by naming sRGB; ``None`` if it does neither."""
    named = None
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"cICP" and length == 4:
                primaries, transfer, *_ = file.read(4)
                return ColorSpec(True, RGB_MATRIX, primaries, transfer)
            if head[4:] == b"sRGB":  # cICP, which may come later, goes before it
                named = ColorSpec(True, RGB_MATRIX, BT709, SRGB)
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
                color = ColorSpec(True, RGB_MATRIX, primaries, transfer)
    return bits, color


def _properties(file: BinaryIO, within: Box | None = None) -> Iterator[Box]:
    for box in boxes(file, within):
        if box.kind in _LEADING:
            yield from _properties(file, box._replace(content=box.content + _LEADING[box.kind]))
        elif within is not None:
            yield box


def decode_deep(path: Path, kind: str | None, bits: int) -> NDArray[Any]:
    """(H, W) or (H, W, C) uint16 over the whole type, of samples with more than 8 ``bits``; not turned."""
    if kind == "PNG":
        whole: NDArray[Any] = imagecodecs.png_decode(path.read_bytes())
        return whole
    samples = imagecodecs.avif_decode(path.read_bytes())
    widened: NDArray[Any] = np.rint(samples * (65535 / (2**bits - 1))).astype(np.uint16)
    return widened
