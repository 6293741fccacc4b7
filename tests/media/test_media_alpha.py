"""A clip's own alpha comes back as it was stored: from wherever it lies, at its own depth, over its own range."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
import pytest
import torch
from conftest import SAMPLES
from numpy.typing import NDArray
from support import clips

from streammatte.color.ycbcr import plane_view
from streammatte.errors import InputError
from streammatte.frame import ColorSpec, Cutout, Frame, StreamInfo
from streammatte.media import open_video, open_writer

pytestmark = pytest.mark.media

WIDTH, HEIGHT = 64, 48
INFO = StreamInfo(WIDTH, HEIGHT, Fraction(1, 25), Fraction(25), None, ColorSpec())
RAMP = torch.linspace(0, 1, WIDTH).repeat(HEIGHT, 1)


def read(path: Path) -> list[Cutout]:
    with open_video(path) as source:
        cutouts = list(source.cutouts())
        assert source.lost is None
    return cutouts


def write_plates(path: Path, content: Literal["plate", "matte"] = "plate", bits: int | None = None) -> list[Cutout]:
    """Three cut-outs: the ramp, fading."""
    rgb = torch.from_numpy(clips.picture(3)).permute(2, 0, 1)
    cutouts = [Cutout(Frame(rgb, pts, pts), RAMP * (1 - pts / 4)) for pts in range(3)]
    with open_writer(path, INFO, content=content, bits=bits) as writer:
        for cutout in cutouts:
            writer.write(cutout)
    return cutouts


def write_plane(path: Path, pixels: str, samples: NDArray[np.uint16], color_range: int) -> Path:
    """One frame without loss, these samples in its first plane, the others neutral."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = samples.shape[1], samples.shape[0], pixels
        stream.codec_context.color_range = color_range
        frame = av.VideoFrame(samples.shape[1], samples.shape[0], pixels)
        bits = frame.format.components[0].bits
        plane_view(frame.planes[0], bits)[:] = samples
        for plane in frame.planes[1:]:
            plane_view(plane, bits)[:] = samples if frame.format.is_rgb else 2 ** (bits - 1)
        frame.color_range = color_range
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


# name, bits of a PNG, what is stored, how far an alpha may be off at most and on average
DELIVERABLES = [
    ("cut.mov", None, "plate", 0.7 / 1023, 0.3 / 1023),
    ("cut.webm", None, "plate", 0.1, 0.01),
    ("cut.####.png", 8, "plate", 0.51 / 255, 0.3 / 255),
    ("cut.####.png", 16, "plate", 0.51 / 65535, 0.3 / 65535),
    ("matte.####.png", 8, "matte", 0.51 / 255, 0.3 / 255),
    ("matte.####.png", 16, "matte", 0.51 / 65535, 0.3 / 65535),
    ("matte.mp4", None, "matte", 0.04, 0.01),
    ("matte.mov", None, "matte", 0.04, 0.01),
    ("matte.webm", None, "matte", 0.04, 0.01),
]


@pytest.mark.parametrize(("name", "bits", "content", "most", "mean"), DELIVERABLES)
def test_what_the_sinks_write(
    name: str, bits: int | None, content: Literal["plate", "matte"], most: float, mean: float, tmp_path: Path
) -> None:
    written = write_plates(tmp_path / name, content, bits)
    found = read(tmp_path / name)
    with open_video(tmp_path / name) as source:
        assert source.has_alpha == (content == "plate")
        frames = list(source)
    assert [cutout.frame.pts for cutout in found] == [frame.pts for frame in frames]
    assert [cutout.frame.index for cutout in found] == [0, 1, 2]
    for cutout, truth, frame in zip(found, written, frames, strict=True):
        difference = (cutout.alpha - truth.alpha).abs()
        assert cutout.alpha.dtype == torch.float32
        assert difference.max() <= most
        assert difference.mean() <= mean
        assert torch.equal(cutout.frame.rgb, frame.rgb)


# pixel format, what is tagged (0 nothing, 1 studio, 2 full), black and white
RANGES = [
    ("gray", 2, 0, 255),
    ("gray", 0, 0, 255),
    ("gray", 1, 0, 255),
    ("gray10le", 2, 0, 1023),
    ("gray16le", 2, 0, 65535),
    ("yuv420p", 1, 16, 235),
    ("yuv420p", 0, 16, 235),
    ("yuv444p", 2, 0, 255),
    ("yuv422p10le", 1, 64, 940),
    ("yuv420p10le", 2, 0, 1023),
    ("gbrp10le", 2, 0, 1023),
]


def test_luma_over_its_own_range(tmp_path: Path) -> None:
    for pixels, color_range, black, white in RANGES:
        samples = np.rint(np.linspace(black, white, WIDTH)).astype(np.uint16)[None].repeat(HEIGHT, 0)
        (cutout,) = read(write_plane(tmp_path / "matte.mkv", pixels, samples, color_range))
        expected = (samples - float(black)) / (white - black)
        assert np.abs(cutout.alpha.numpy() - expected).max() < 1e-6, pixels


def test_luma_beyond_black_and_white_is_cut_off(tmp_path: Path) -> None:
    samples = np.array([[0, 16, 235, 255]] * 4, np.uint16)
    (cutout,) = read(write_plane(tmp_path / "matte.mkv", "yuv444p", samples, 1))
    assert cutout.alpha[0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("channels", [3, 4])
def test_a_matte_saved_in_colour_channels(channels: int, tmp_path: Path) -> None:
    grey = (np.arange(WIDTH * HEIGHT) % 256).astype(np.uint8).reshape(HEIGHT, WIDTH)
    picture = np.dstack([grey] * 3) if channels == 3 else np.dstack([np.full_like(grey, 90)] * 3 + [grey])
    cv2.imwrite(str(tmp_path / "matte.png"), picture)
    (cutout,) = read(tmp_path / "matte.png")
    assert np.array_equal(np.rint(cutout.alpha.numpy() * 255), grey)


def test_the_samples_truth_is_exact() -> None:
    path = SAMPLES / "glass.alpha.mkv"
    with av.open(str(path)) as file:
        stored = next(file.decode(video=0)).to_ndarray()
    with open_video(path) as source:
        cutout = next(source.cutouts())
    assert np.array_equal(cutout.alpha.numpy(), stored.astype(np.float32) / 255)


def test_a_turned_clip_has_a_turned_alpha(tmp_path: Path) -> None:
    path = clips.write_clip(tmp_path / "phone.mov", codec="prores_ks", pixels="yuv422p10le", rotation=90)
    with av.open(str(path)) as file:
        lying = next(file.decode(video=0))
        with open_video(path) as source:
            frame = next(iter(source))
    upright = tmp_path / "matte.mov"
    with open_writer(tmp_path / "flat.mov", INFO, content="matte") as writer:
        writer.write(Cutout(Frame(torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8), 0, 0), RAMP))
    with av.open(str(tmp_path / "flat.mov")) as file, av.open(str(upright), "w") as out:
        stream = out.add_stream_from_template(file.streams.video[0])
        stream.set_display_rotation(90)
        for packet in file.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    assert frame.rgb.shape[1:] == (lying.width, lying.height)
    (cutout,) = read(upright)
    assert cutout.alpha.shape == cutout.frame.rgb.shape[1:] == (WIDTH, HEIGHT)
    along = cutout.alpha.mean(1)
    assert abs(along[0] - along[-1]) > 0.9, "the ramp runs down"
    assert (cutout.alpha - cutout.frame.as_float()[0]).abs().max() < 0.01, "the picture is turned the same way"


def test_footage_is_no_matte(tmp_path: Path) -> None:
    clip = clips.write_clip(tmp_path / "clip.mp4")
    cv2.imwrite(str(tmp_path / "shot.1.png"), clips.picture(0))
    for path in (clip, tmp_path / "shot.#.png"):
        with open_video(path) as source, pytest.raises(InputError, match=re.escape(str(path))) as raised:
            next(source.cutouts())
        assert raised.value.hint


def test_damage_is_told(tmp_path: Path) -> None:
    path = clips.write_clip(
        tmp_path / "clip.mkv", codec="ffv1", pixels="gray", time_base=Fraction(1, 1000), pts=range(0, 480, 40)
    )
    clips.cut(path, tmp_path / "cut.mkv")
    with open_video(tmp_path / "cut.mkv") as source:
        count = len(list(source.cutouts()))
        assert 0 < count < clips.FRAMES
        assert source.lost
