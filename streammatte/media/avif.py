"""What an AVIF says of its samples, which Pillow does not pass on: it gives 8 bits of any number, in any encoding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from streammatte.frame import ColorSpec
from streammatte.media.boxes import Box, boxes
from streammatte.media.color import RGB_MATRIX

_LEADING = {b"meta": 4, b"iprp": 0, b"ipco": 0}  # bytes before the boxes that these boxes hold


def facts_of(path: Path) -> tuple[int, ColorSpec | None]:
    """Bits of a sample, and colours by H.273's codes, of which its RGB is; ``None`` if none are stated.

    Raises:
        OSError: The file cannot be read.
    """
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


def decode_deep(path: Path, bits: int) -> NDArray[Any]:
    """(H, W) or (H, W, C) uint16 over the whole type, of samples with more than 8 ``bits``; not turned."""
    samples = imagecodecs.avif_decode(path.read_bytes())
    widened: NDArray[Any] = np.rint(samples * (65535 / (2**bits - 1))).astype(np.uint16)
    return widened
