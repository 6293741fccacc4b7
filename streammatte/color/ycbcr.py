"""Y'CbCr to RGB and back: matrices, ranges, depths and chroma siting.

swscale only unpacks samples that are not planar. Its conversions were measured to be off by up to 3/255 in their quick
form, and to make 65283 of 16-bit white and luma 943 of 940; a matrix product in OpenCV is as quick (1 ms at 720p) and
right to within one step, for every matrix, range and depth.

Subsampled chroma lies on every other luma column and, in 4:2:0, midway between two rows (H.273's type 0, "left"), as
MPEG-2, H.264, HEVC, VP9 and ProRes assume. swscale by default moves colours by half a pixel. In JPEG and MPEG-1, chroma
lies midway between columns, too (type 1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from streammatte.color.codes import (
    BT2020_CONSTANT_LUMINANCE,
    FULL,
    LUMA,
    RGB_MATRIX,
    STUDIO,
    matrix_for,
)
from streammatte.color.matrices import rgb_to_ycbcr, share_of, ycbcr_to_rgb
from streammatte.color.planes import rgb_of
from streammatte.errors import DecodeFailed
from streammatte.frame import UNSPECIFIED, ColorSpec, StoredSamples

# Names of planar formats, by how many luma columns and rows share a chroma sample.
_SUBSAMPLING = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411", (4, 4): "410"}

STRIP = 64
"""Rows that are converted at a time, a multiple of the rows that share a chroma sample."""

_CENTRED = ("mjpeg", "mpeg1video", "webp")

Samples = NDArray[Any]
"""(H, W) or (H, W, 3) of uint8 or uint16 that span their type; OpenCV's and PyAV's stubs are no more precise."""


def color_of(frame: av.VideoFrame) -> ColorSpec:
    """The colours of a decoded frame, as it states them.

    Pure grey spans its whole range whatever its tag, since FFmpeg converts to it so and keeps the tag of what it was;
    unless a matrix is named, it is RGB with three equal channels.
    """
    pixels = frame.format
    bits = max(component.bits for component in pixels.components)
    if pixels.is_rgb or pixels.has_palette:
        return ColorSpec(True, RGB_MATRIX, int(frame.color_primaries), int(frame.color_trc), bits)
    full = frame.color_range == FULL or pixels.name.startswith("yuvj")
    # Y'CbCr tagged as RGB is mistagged: its planes are what they are.
    matrix = UNSPECIFIED if frame.colorspace == RGB_MATRIX else int(frame.colorspace)
    if is_colourless(frame):
        full, matrix = True, RGB_MATRIX if matrix == UNSPECIFIED else matrix
    return ColorSpec(full, matrix, int(frame.color_primaries), int(frame.color_trc), bits)


def is_colourless(frame: av.VideoFrame) -> bool:
    """Whether it has only luma, or luma and alpha."""
    pixels = frame.format
    return len(pixels.components) <= 2 and not (pixels.is_rgb or pixels.has_palette)


class RgbReader:
    """Turns decoded frames of one stream into RGB, (H, W, 3): uint8 up to 8 bits, else uint16 spanning 0 … 65535.

    Args:
        width, height: The size of the result; a stream that changes its size midway is scaled.
        codec: FFmpeg's name for it, which tells where chroma lies. Without it, pixel formats ``yuvj…`` are taken for
            JPEG, although full-range H.264 has them, too.
    """

    def __init__(self, width: int, height: int, *, codec: str | None = None) -> None:
        self._width = width
        self._height = height
        self._codec = codec
        self._unpacker = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Samples:
        return self.read(frame)[0]

    def read(self, frame: av.VideoFrame) -> tuple[Samples, StoredSamples | None]:
        """RGB, and the Y'CbCr it was made of, unless it was RGB or had to be scaled."""
        color, stored = color_of(frame), None
        if is_colourless(frame):
            rgb = self._from_grey(frame, color)
        elif color.matrix == RGB_MATRIX:
            rgb = self._from_rgb(frame, color)
        else:
            stored = self._stored(frame, color)
            rgb = _rgb_of(stored)
        if rgb.shape[:2] != (self._height, self._width):
            return fitted(rgb, self._width, self._height), None
        return rgb, stored

    def _stored(self, frame: av.VideoFrame, color: ColorSpec) -> StoredSamples:
        if color.matrix not in (*LUMA, BT2020_CONSTANT_LUMINANCE, UNSPECIFIED, 3):
            raise DecodeFailed(
                f"unsupported colour matrix: {color.matrix}",
                hint="convert the clip to BT.709 first, for instance with FFmpeg's colorspace filter",
            )
        matrix = matrix_for(color, self._width, self._height)
        bits = working_bits(color.bit_depth)
        luma, blue, red = ycbcr_planes(frame, bits, self._unpacker, full_range=color.full_range)
        for plane in (luma, blue, red):
            plane.flags.writeable = False  # decoders predict other frames from it
        centred = frame.format.name.startswith("yuvj") if self._codec is None else self._codec in _CENTRED
        return StoredSamples((luma, blue, red), bits, color.full_range, matrix, centred, rgb_of=rgb_of)

    def _from_grey(self, frame: av.VideoFrame, color: ColorSpec) -> Samples:
        bits = working_bits(color.bit_depth)
        grey = self._unpacker.reformat(frame, format="gray" if bits == 8 else f"gray{bits}le", threads=1)
        return _widened(cv2.merge([plane_view(grey.planes[0], bits)] * 3), bits)

    def _from_rgb(self, frame: av.VideoFrame, color: ColorSpec) -> Samples:
        bits = working_bits(color.bit_depth)
        if bits == 8:
            return self._unpacker.reformat(frame, format="rgb24", threads=1).to_ndarray()
        # Without the alpha, swscale (FFmpeg 8.1) omits the right half of the last row.
        kind = "gbrap" if any(component.is_alpha for component in frame.format.components) else "gbrp"
        planar = self._unpacker.reformat(frame, format=f"{kind}{bits}le", threads=1)
        green, blue, red = (plane_view(plane, bits) for plane in planar.planes[:3])
        return _widened(cv2.merge([red, green, blue]), bits)


def _rgb_of(stored: StoredSamples) -> Samples:
    """(H, W, 3), not turned."""
    luma, *chroma = stored.planes
    height, width = luma.shape
    peak = 255 if stored.bits == 8 else 65535
    affine = ycbcr_to_rgb(stored.matrix, stored.bits, full_range=stored.full_range, peak=peak)
    rgb: Samples = np.empty((height, width, 3), luma.dtype)
    for rows in strips(height):
        full = [upsampled_rows(plane, rows, width, height, centred=stored.centred) for plane in chroma]
        rgb[rows] = cv2.transform(cv2.merge([luma[rows], *full]), affine)
    return rgb


def _widened(samples: Samples, bits: int) -> Samples:
    """Code values 0 … 2ⁿ-1 stretched to span their type."""
    if bits in (8, 16):
        return samples
    return cv2.transform(samples, np.eye(3) * (65535 / (2**bits - 1)))


def strips(height: int) -> Iterator[slice]:
    """A picture's rows in strips of ``STRIP``, whose intermediate results stay in the processor's cache."""
    for begin in range(0, height, STRIP):
        yield slice(begin, min(begin + STRIP, height))


def ycbcr_planes(frame: av.VideoFrame, bits: int, unpacker: VideoReformatter, *, full_range: bool) -> list[Samples]:
    """Luma and chroma planes of a Y'CbCr or grey frame, unchanged, chroma on its own grid."""
    pixels = frame.format
    columns, rows = (64 // pixels.chroma_width(64), 64 // pixels.chroma_height(64))
    planar = f"yuv{_SUBSAMPLING.get((columns, rows), '444')}p{'' if bits == 8 else f'{bits}le'}"
    if re.sub("^yuv[aj]", "yuv", pixels.name) != planar:
        swing = FULL if full_range else STUDIO
        frame = unpacker.reformat(frame, format=planar, src_color_range=swing, dst_color_range=swing, threads=1)
    return [plane_view(plane, bits) for plane in frame.planes[:3]]


def working_bits(depth: int) -> int:
    """The depth of the pixel formats in which samples of ``depth`` bits are unpacked."""
    return next((bits for bits in (8, 10, 12, 14) if depth <= bits), 16)


def fitted(samples: Samples, width: int, height: int) -> Samples:
    """At that size: itself if it has it, else scaled."""
    if samples.shape[:2] == (height, width):
        return samples
    shrinks = samples.shape[0] * samples.shape[1] > height * width
    return cv2.resize(samples, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def plane_view(plane: av.video.plane.VideoPlane, bits: int) -> Samples:
    """(H, W) view, writable, of a plane of little-endian samples, without the padding at the end of its rows."""
    dtype = np.dtype("u1" if bits <= 8 else "<u2")
    rows: Samples = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, plane.line_size // dtype.itemsize)
    return rows[:, : plane.width]


def upsampled(plane: Samples, width: int, height: int, *, centred: bool) -> Samples:
    """A chroma plane at luma's size, interpolated linearly.

    Each sample is repeated over the luma pixels that share it, and then averaged over as many pixels, which gives each
    place exactly its linear weights. The window begins at the pixel where chroma lies on a luma column, and
    has its middle there where it lies between two.

    Args:
        centred: Chroma lies midway between its columns, not on the first of them; between rows it always does.
    """
    if plane.shape == (height, width):
        return plane
    full: Samples = np.empty((height, width), plane.dtype)
    for rows in strips(height):
        full[rows] = upsampled_rows(plane, rows, width, height, centred=centred)
    return full


def upsampled_rows(plane: Samples, rows: slice, width: int, height: int, *, centred: bool) -> Samples:
    """Some rows of what :func:`upsampled` returns."""
    if plane.shape == (height, width):
        return plane[rows]
    across, down = share_of(width, plane.shape[1]), share_of(height, plane.shape[0])
    # Between rows, the nearest chroma sample on either side has a weight.
    first = max(0, rows.start // down - 1)
    part = plane[first : -(-rows.stop // down) + 1]
    own = slice(rows.start - first * down, rows.stop - first * down)
    if part.dtype == np.uint16 and across == 2 and down <= 2 and not centred:
        return _doubled(part, down)[own, :width]
    size = plane.shape[1] * across, len(part) * down
    repeated = cv2.resize(part, size, interpolation=cv2.INTER_NEAREST)[:, :width]
    beside = _between(across) if centred else np.full(across, 1 / across)
    anchor = (-1 if centred else 0, -1)
    full: Samples = cv2.sepFilter2D(
        repeated, -1, beside, _between(down), anchor=anchor, borderType=cv2.BORDER_REPLICATE
    )
    return full[own]


def _doubled(plane: Samples, down: int) -> Samples:
    """A plane of 16-bit samples on even columns, upsampled in a third of the time.

    OpenCV's doubling puts rows where they lie. Even columns are the samples themselves, odd ones are means. Floats hold
    both exactly until rounded; rows between multiples of 4, as of 8 bits stored in 10 or more, are whole numbers.
    """
    rows, columns = plane.shape
    tall: Samples = plane if down == 1 or not np.bitwise_and(plane, 3).any() else plane.astype(np.float32)
    if down == 2:
        tall = cv2.resize(tall, (columns, 2 * rows), interpolation=cv2.INTER_LINEAR)
    even = tall if tall.dtype == np.uint16 else cv2.addWeighted(tall, 1, tall, 0, 0, dtype=cv2.CV_16U)
    between = even.copy()  # the last column is repeated
    if columns > 1:
        cv2.addWeighted(tall[:, :-1], 0.5, tall[:, 1:], 0.5, 0, dtype=cv2.CV_16U, dst=between[:, :-1])
    return cv2.merge([even, between]).reshape(len(tall), 2 * columns)


def subsampled(plane: Samples, width: int, height: int) -> Samples:
    """A full-size chroma plane reduced to the (``width``, ``height``) of 4:2:2 or 4:2:0, on even columns.

    Columns are weighted 1 : 2 : 1 about the one that stays, so that nothing moves; rows are averaged in pairs.
    """
    across, down = share_of(plane.shape[1], width), share_of(plane.shape[0], height)
    if across == down == 1:
        return plane
    if plane.shape[0] % down:
        plane = cv2.copyMakeBorder(plane, 0, 1, 0, 0, cv2.BORDER_REPLICATE)
    beside, below = (np.array([0.25, 0.5, 0.25]) if across == 2 else np.ones(1)), np.full(down, 1 / down)
    smooth = cv2.sepFilter2D(plane, -1, beside, below, anchor=(across // 2, 0), borderType=cv2.BORDER_REPLICATE)
    return smooth[::down, ::across]


def _between(share: int) -> NDArray[np.float64]:
    """Weights of repeated samples about a pixel, for samples midway between those that share them."""
    return np.convolve(np.full(share, 1 / share), [0.5, 0.5]) if share > 1 else np.ones(1)


def planes_from_rgb(
    rgb: Samples, matrix: int, bits: int, *, full_range: bool = False, places: Sequence[Samples] | None = None
) -> tuple[Samples, ...]:
    """(H, W, 3) RGB as three (H, W) planes of Y'CbCr 4:4:4, rounded to ``bits`` bits.

    Args:
        rgb: uint8 or uint16 that span their type.
        matrix, bits, full_range: Of the Y'CbCr.
        places: Planes that are filled and returned if they have that size.
    """
    peak = int(np.iinfo(rgb.dtype).max)
    affine = rgb_to_ycbcr(matrix, bits, full_range=full_range, peak=peak)
    if bits > 8 and rgb.dtype == np.uint8:
        rgb = rgb.astype(np.uint16)
    samples: Samples = cv2.transform(rgb, affine)
    if bits <= 8 and samples.dtype != np.uint8:
        samples = samples.astype(np.uint8)
    if places is not None and all(place.shape == rgb.shape[:2] for place in places):
        return tuple(cv2.split(samples, list(places)))
    return tuple(cv2.split(samples))
