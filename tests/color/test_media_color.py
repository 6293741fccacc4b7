"""Chroma: what a sample colours, when read, is where it lies; and what is written and read again has not moved."""

from fractions import Fraction
from itertools import product

import av
import cv2
import numpy as np
import pytest
import torch

from streammatte.color.codes import TRANSFERS
from streammatte.color.linear import from_linear, to_linear
from streammatte.color.matrices import rgb_to_ycbcr
from streammatte.color.ycbcr import RgbReader, plane_view, subsampled, upsampled
from streammatte.frame import ColorSpec, Cutout, Frame, StreamInfo
from streammatte.media import open_video, open_writer

pytestmark = pytest.mark.unit

SIZE = WIDTH, HEIGHT = 64, 48


def chroma_of(rgb):
    """(H, W) Cb in 8-bit code values, from BT.709 RGB."""
    peak = np.iinfo(rgb.dtype).max
    row = rgb_to_ycbcr(1, 8, full_range=False, peak=peak)[1]
    return rgb.astype(np.float64) @ row[:3] + row[3]


def ramp_frame(pixels, columns, rows, slope=1.0):
    """Grey, with Cb that rises by ``slope`` a luma pixel across and half as much down, each sample for its place.

    ``columns`` and ``rows`` are where the first chroma sample lies on the luma grid.
    """
    frame = av.VideoFrame(*SIZE, pixels)
    bits = frame.format.components[0].bits
    unit = 2 ** (bits - 8)
    luma, *chroma = (plane_view(plane, bits) for plane in frame.planes[:3])
    luma[:] = 128 * unit
    y, x = np.mgrid[: chroma[0].shape[0], : chroma[0].shape[1]].astype(float)
    x = columns + x * (WIDTH // chroma[0].shape[1])
    y = rows + y * (HEIGHT // chroma[0].shape[0])
    chroma[0][:] = np.rint(unit * (100 + slope * (x - WIDTH / 2) + slope / 2 * (y - HEIGHT / 2)))
    chroma[1][:] = 128 * unit
    frame.colorspace, frame.color_range = 1, 1
    return frame


@pytest.mark.parametrize(
    ("pixels", "codec", "columns", "rows"),
    [
        ("yuv420p", "h264", 0, 0.5),
        ("yuv420p10le", "hevc", 0, 0.5),
        ("yuv422p", "mpeg2video", 0, 0),
        ("yuv422p10le", "prores", 0, 0),
        ("yuva420p", "vp9", 0, 0.5),
        ("yuv444p", "h264", 0, 0),
        ("yuv411p", "dvvideo", 0, 0),
        ("yuv440p", "h264", 0, 0.5),
        ("yuv420p", "mpeg1video", 0.5, 0.5),
        ("yuv422p", "mjpeg", 0.5, 0),
    ],
)
def test_chroma_is_read_where_it_lies(pixels, codec, columns, rows):
    rgb = RgbReader(*SIZE, codec=codec)(ramp_frame(pixels, columns, rows))
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    off = (chroma_of(rgb) - (100 + (x - WIDTH / 2) + (y - HEIGHT / 2) / 2))[4:-4, 8:-8]
    assert abs(off.mean()) < 0.05 if pixels.endswith("10le") else abs(off.mean()) < 0.3  # halves are stored rounded up
    assert np.abs(off).max() < 2


@pytest.mark.parametrize("packed", ["nv12", "p010le", "yuyv422", "yuv420p10be", "yuv422p9le"])
def test_other_layouts_are_only_unpacked(packed):
    planar = {"nv12": "yuv420p", "p010le": "yuv420p10le", "yuyv422": "yuv422p"}.get(packed, packed[:7] + "10le")
    frame = ramp_frame(planar, 0, 0.5 if "420" in planar else 0, slope=1)
    again = frame.reformat(format=packed, src_color_range=1, dst_color_range=1)
    again.colorspace, again.color_range = 1, 1
    found, expected = (RgbReader(*SIZE, codec="h264")(each).astype(int) for each in (again, frame))
    assert np.abs(found - expected).max() <= (257 if "9" in packed else 0)


@pytest.mark.parametrize("full_range_video", [False, True])
def test_full_range_video_is_not_jpeg(full_range_video):
    frame = ramp_frame("yuvj420p", 0 if full_range_video else 0.5, 0.5)
    frame.color_range = 2
    rgb = RgbReader(*SIZE, codec="h264" if full_range_video else "mjpeg")(frame)
    other = RgbReader(*SIZE)(frame)
    assert np.array_equal(rgb, other) != full_range_video


def test_upsampling_is_linear_interpolation():
    sizes, shares = [(64, 48), (65, 49), (1, 1), (2, 1), (3, 2)], [(1, 1), (2, 1), (2, 2), (1, 2)]
    for dtype, (width, height), (across, down), centred in product((np.uint8, np.uint16), sizes, shares, (False, True)):
        plane = np.random.default_rng(1).integers(0, 256, (-(-height // down), -(-width // across))).astype(dtype)
        x = (np.arange(width) - (0.5 if centred and across == 2 else 0)) / across
        y = (np.arange(height) - (0.5 if down == 2 else 0)) / down
        rows = [np.interp(x, np.arange(plane.shape[1]), row) for row in plane.astype(float)]
        expected = np.stack([np.interp(y, np.arange(plane.shape[0]), row) for row in np.stack(rows).T]).T
        found = upsampled(plane, width, height, centred=centred)
        assert found.shape == (height, width) and found.dtype == dtype
        assert np.abs(found - expected).max() <= 0.5


def test_subsampling_weighs_1_2_1_and_averages_rows():
    for dtype, (width, height), rows in product((np.uint8, np.uint16), [(64, 48), (65, 49), (3, 3)], (False, True)):
        plane = np.random.default_rng(2).integers(0, 256, (height, width)).astype(dtype)
        padded = np.pad(plane.astype(float), ((0, height % 2 if rows else 0), (1, 1)), "edge")
        smooth = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:])[:, ::2] / 4
        expected = (smooth[::2] + smooth[1::2]) / 2 if rows else smooth
        found = subsampled(plane, *expected.shape[::-1])
        assert found.dtype == dtype
        assert np.abs(found - expected).max() <= 0.5


@pytest.mark.parametrize("axis", [0, 1], ids=["vertical", "horizontal"])
@pytest.mark.parametrize("kind", ["waves", "edges"])
@pytest.mark.parametrize("name", ["out.mov", "out.mp4", "out.webm"])
def test_chroma_does_not_move(tmp_path, name, kind, axis):
    side = 160
    place = np.mgrid[:side, :side][axis].astype(float)
    # Up and down again and again, so that what an encoder takes off cannot pass for a shift.
    wave = np.sin(place * (2 * np.pi / 19.3))
    chroma = 128 + 40 * (wave if kind == "waves" else np.sign(wave))
    chroma = cv2.GaussianBlur(chroma, (0, 0), 1.5, borderType=cv2.BORDER_REPLICATE)
    forward = rgb_to_ycbcr(1, 8, full_range=False, peak=65535)
    samples = np.stack([np.full_like(chroma, 128), chroma, np.full_like(chroma, 128)], axis=-1)
    rgb = np.rint((samples - forward[:, 3]) @ np.linalg.inv(forward[:, :3]).T).astype(np.uint16)
    info = StreamInfo(side, side, Fraction(1, 25), Fraction(25), None, ColorSpec(matrix=1, bit_depth=10))
    cutout = Cutout(Frame(torch.from_numpy(rgb).permute(2, 0, 1), 0, 0), torch.ones(side, side))
    with open_writer(tmp_path / name, info, background="black") as writer:
        writer.write(cutout)
    with open_video(tmp_path / name) as source:
        found = chroma_of(np.ascontiguousarray(next(iter(source)).rgb.permute(1, 2, 0)))
    before, after = (one.mean(1 - axis)[10:-10] for one in (chroma_of(rgb), found))
    slope = np.gradient(before)
    shift = float((slope * (before - after)).sum() / np.square(slope).sum())  # in luma pixels, to the first order
    assert abs(shift) < 0.05, shift


def test_every_code_has_a_curve_with_an_inverse():
    signal = np.linspace(0.01, 1, 200, dtype=np.float32)
    for code in TRANSFERS:
        assert np.abs(from_linear(to_linear(signal, code), code) - signal).max() < 2e-3, code
