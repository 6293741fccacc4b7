"""From decoded samples to RGB and back.

swscale is left to move chroma between its grids; the 3×3 matrix is ours. swscale's own conversions were measured to be
off by up to 3/255 in their quick form, and to take 16-bit white for 65283 or luma 943 instead of 65535 and 940; one
matrix product in OpenCV is as quick (1 ms at 720p) and right to within one step, for every matrix, range and depth.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from streammatte.errors import DecodeFailed
from streammatte.frame import UNSPECIFIED, ColorSpec

RGB_MATRIX = 0
FULL, STUDIO = 2, 1  # FFmpeg's AVCOL_RANGE_JPEG and AVCOL_RANGE_MPEG

# Red's and blue's share of luma, by H.273 matrix code point.
_LUMA = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    6: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020, non-constant luminance
}

_SMOOTH = Interpolation.BILINEAR | Interpolation.ACCURATE_RND

Samples = NDArray[Any]
"""(H, W) or (H, W, 3) of uint8 or uint16 that span their whole type; OpenCV's and PyAV's stubs know no better."""


def matrix_for(color: ColorSpec, width: int, height: int) -> int:
    """The matrix that ``color`` names, or the one the field takes for a picture of that size when it names none.

    Untagged video of 720 lines or 1280 columns and more is taken for BT.709, smaller for BT.601, as players do. RGB
    sources get the same answer: it is what their plates are written with.
    """
    if color.matrix in _LUMA:
        return color.matrix
    return 1 if height >= 720 or width >= 1280 else 6


@lru_cache(maxsize=32)
def rgb_to_ycbcr(matrix: int, bits: int, *, full_range: bool, peak: int) -> NDArray[np.float64]:
    """(3, 4) affine matrix from R'G'B' in [0, ``peak``] to Y'CbCr code values of ``bits`` bits (ITU-T H.273, 8.3)."""
    kr, kb = _LUMA[matrix]
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


def color_of(frame: av.VideoFrame) -> ColorSpec:
    """What a decoded frame says of its own samples."""
    pixels = frame.format
    bits = max(component.bits for component in pixels.components)
    if pixels.is_rgb or pixels.has_palette:
        return ColorSpec(True, RGB_MATRIX, int(frame.color_primaries), int(frame.color_trc), bits)
    full = frame.color_range == FULL or pixels.name.startswith("yuvj")
    # A YCbCr picture tagged as RGB is mistagged: its planes are what they are.
    matrix = UNSPECIFIED if frame.colorspace == RGB_MATRIX else int(frame.colorspace)
    return ColorSpec(full, matrix, int(frame.color_primaries), int(frame.color_trc), bits)


class RgbReader:
    """Turns decoded frames of one stream into RGB, (H, W, 3): uint8 up to 8 bits, else uint16 spanning 0 … 65535.

    Args:
        width, height: Every frame is brought to this size; a stream that changes its size midway is scaled.
    """

    def __init__(self, width: int, height: int) -> None:
        self._width = width
        self._height = height
        self._scaler = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Samples:
        color = color_of(frame)
        if color.matrix == RGB_MATRIX:
            return self._from_rgb(frame, color.bit_depth)
        if color.matrix == 10:  # constant luminance: no matrix undoes it, and the non-constant one is what players use
            color = ColorSpec(color.full_range, 9, color.primaries, color.transfer, color.bit_depth)
        if color.matrix not in (*_LUMA, UNSPECIFIED, 3):
            raise DecodeFailed(
                f"colour matrix {color.matrix} is not supported",
                hint="convert the clip to BT.709 first, for instance with FFmpeg's colorspace filter",
            )
        bits = _working_bits(color.bit_depth)
        swing = FULL if color.full_range else STUDIO
        planar = self._scaler.reformat(
            frame,
            width=self._width,
            height=self._height,
            format="yuv444p" if bits == 8 else f"yuv444p{bits}le",
            interpolation=_SMOOTH,
            src_color_range=swing,
            dst_color_range=swing,
            threads=1,
        )
        peak = 255 if bits == 8 else 65535
        matrix = matrix_for(color, self._width, self._height)
        samples = cv2.merge([plane_view(plane, bits) for plane in planar.planes[:3]])
        return cv2.transform(samples, ycbcr_to_rgb(matrix, bits, full_range=color.full_range, peak=peak))

    def _from_rgb(self, frame: av.VideoFrame, depth: int) -> Samples:
        bits = _working_bits(depth)
        size = {"width": self._width, "height": self._height, "interpolation": _SMOOTH, "threads": 1}
        if bits == 8:
            return self._scaler.reformat(frame, format="rgb24", **size).to_ndarray()
        planar = self._scaler.reformat(frame, format=f"gbrp{bits}le", **size)
        green, blue, red = (plane_view(plane, bits) for plane in planar.planes)
        samples = cv2.merge([red, green, blue])
        if bits < 16:
            samples = cv2.transform(samples, np.eye(3) * (65535 / (2**bits - 1)))
        return samples


def _working_bits(depth: int) -> int:
    return next((bits for bits in (8, 10, 12, 14) if depth <= bits), 16)


def plane_view(plane: av.video.plane.VideoPlane, bits: int) -> Samples:
    """(H, W) view, writable, of a plane of little-endian samples, without the padding at the end of its rows."""
    dtype = np.dtype("u1" if bits <= 8 else "<u2")
    rows: Samples = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, plane.line_size // dtype.itemsize)
    return rows[:, : plane.width]


def planes_from_rgb(rgb: Samples, matrix: int, bits: int) -> tuple[Samples, ...]:
    """(H, W, 3) RGB as three (H, W) planes of studio-swing Y'CbCr 4:4:4, rounded to ``bits`` bits."""
    peak = int(np.iinfo(rgb.dtype).max)
    affine = rgb_to_ycbcr(matrix, bits, full_range=False, peak=peak)
    if bits > 8 and rgb.dtype == np.uint8:
        rgb = rgb.astype(np.uint16)
    samples: Samples = cv2.transform(rgb, affine)
    if bits <= 8 and samples.dtype != np.uint8:
        samples = samples.astype(np.uint8)
    return tuple(cv2.split(samples))
