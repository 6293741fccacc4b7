"""Between R'G'B' and Y'CbCr: matrices and code values (ITU-T H.273)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from streammatte.color.codes import LUMA


def code_range(bits: int, *, full_range: bool, chroma: bool) -> tuple[float, float]:
    """The code value of black or neutral, and the number of steps to white or between the extremes (H.273, 8.3)."""
    unit = 2 ** (bits - 8)
    span = 2**bits - 1 if full_range else (224 if chroma else 219) * unit
    zero = 128 * unit if chroma else 0 if full_range else 16 * unit
    return zero, span


@lru_cache(maxsize=32)
def rgb_to_ycbcr(matrix: int, bits: int, *, full_range: bool, peak: int) -> NDArray[np.float64]:
    """(3, 4) affine matrix from R'G'B' in [0, ``peak``] to Y'CbCr code values of ``bits`` bits (ITU-T H.273, 8.3)."""
    kr, kb = LUMA[matrix]
    kg = 1 - kr - kb
    forward = np.array(
        [
            [kr, kg, kb],
            [-kr / (2 * (1 - kb)), -kg / (2 * (1 - kb)), 0.5],
            [0.5, -kg / (2 * (1 - kr)), -kb / (2 * (1 - kr))],
        ]
    )
    if full_range:
        scale = np.full(3, 2.0**bits - 1)
        black = 0.0
    else:
        scale = np.array([219.0, 224.0, 224.0]) * 2 ** (bits - 8)
        black = 16.0 * 2 ** (bits - 8)
    offset = np.array([black, 2.0 ** (bits - 1), 2.0 ** (bits - 1)])
    return np.column_stack([forward * scale[:, None] / peak, offset])


@lru_cache(maxsize=32)
def ycbcr_to_rgb(matrix: int, bits: int, *, full_range: bool, peak: int) -> NDArray[np.float64]:
    """(3, 4) affine matrix, the inverse of :func:`rgb_to_ycbcr`."""
    forward = rgb_to_ycbcr(matrix, bits, full_range=full_range, peak=peak)
    inverse = np.linalg.inv(forward[:, :3])
    return np.column_stack([inverse, -inverse @ forward[:, 3]])


def share_of(luma: int, chroma: int) -> int:
    """How many luma samples share a chroma sample: 1, 2 or 4; the last may have fewer."""
    return next(share for share in (1, 2, 4) if -(-luma // share) == chroma)
