"""What a GPU computes of colours and planes is what the CPU does; here it computes on CPU tensors."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
import pytest
import torch
from support.clips import even_pts, write_clip

from streammatte.cli.main import main
from streammatte.color.planes import rgb_of
from streammatte.color.ycbcr import RgbReader, color_of, plane_view
from streammatte.frame import Cutout, Frame, StreamInfo
from streammatte.media import open_video
from streammatte.media.background import open_background
from streammatte.media.write.composing import Contents
from streammatte.media.write.encoding import encoding_for
from streammatte.media.write.packing import Layout, packed_alpha, packed_colors
from streammatte.media.write.painting import CutoutPainter
from streammatte.pipeline import matte
from streammatte.stages import stages_for

pytestmark = pytest.mark.unit

SOURCES = [
    ("yuv420p", 1, (64, 48), "h264"),
    ("yuv420p", 2, (65, 49), "h264"),
    ("yuv420p", 1, (2, 1), "h264"),
    ("yuvj420p", 2, (63, 37), "mjpeg"),
    ("yuv422p", 1, (65, 48), "mpeg2video"),
    ("yuv411p", 1, (70, 48), "dvvideo"),
    ("yuv440p", 1, (64, 51), "h264"),
    ("yuv444p", 2, (33, 21), "h264"),
    ("yuv420p10le", 1, (64, 49), "hevc"),
    ("yuv422p10le", 1, (65, 48), "prores"),
    ("yuv444p12le", 1, (32, 32), "prores"),
]


def soft_frame(pixels: str, swing: int, size: tuple[int, int]) -> av.VideoFrame:
    """Smooth noise within the swing, so that neighbours are alike, as in pictures."""
    frame = av.VideoFrame(*size, pixels)
    bits = frame.format.components[0].bits
    rng = np.random.default_rng(7)
    for plane in frame.planes[:3]:
        view = plane_view(plane, bits)
        noise = cv2.resize(rng.random((9, 9), np.float32), view.shape[::-1], interpolation=cv2.INTER_LINEAR)
        view[:] = np.rint((20 + 210 * noise) * 2 ** (bits - 8))
    frame.colorspace, frame.color_range = 1, swing
    return frame


def read(pixels: str, swing: int, size: tuple[int, int], codec: str) -> tuple[Frame, StreamInfo]:
    """As sources give it, with its planes as a GPU has them."""
    decoded = soft_frame(pixels, swing, size)
    rgb, samples = RgbReader(*size, codec=codec).read(decoded)
    assert samples is not None
    info = StreamInfo(*size, Fraction(1, 25), Fraction(25), 1, color_of(decoded))
    planes = tuple(torch.tensor(plane) for plane in samples.planes)
    return Frame(torch.from_numpy(rgb).permute(2, 0, 1), 0, 0, samples=samples, planes=planes), info


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source[0])
def test_planes_become_the_frames_colours(source: tuple[str, int, tuple[int, int], str]) -> None:
    frame, info = read(*source)
    assert frame.samples is not None
    found = rgb_of(frame.planes, frame.samples)
    assert found.dtype == frame.rgb.dtype and found.shape == frame.rgb.shape
    step = 1 if info.color.bit_depth == 8 else 65535 // (2**info.color.bit_depth - 1) + 1
    # OpenCV rounds interpolated chroma before the matrix, which doubles it at most.
    assert (found.int() - frame.rgb.int()).abs().max() <= 2 * step
    assert (found.float() - frame.rgb.float()).abs().mean() < 0.6 * step


def half_own(frame: Frame) -> Cutout:
    """Colours that are the frame's own on the left and others on the right; soft alpha."""
    width = frame.width
    foreground = frame.rgb.clone()
    foreground[:, :, width // 2 :] = frame.rgb.flip(1)[:, :, width // 2 :]
    alpha = torch.linspace(-0.2, 1.2, width).expand(frame.size).contiguous()
    return Cutout(frame, alpha, foreground)


OUTPUTS = [
    ("out.mov", {}),
    ("out.mov", {"alpha": "premultiplied"}),
    ("out.mov", {"part": "foreground"}),
    ("out.mov", {"part": "matte"}),
    ("out.webm", {}),
    ("out.mp4", {"part": "matte"}),
    ("out.mp4", {"composite": True}),
    ("out.mkv", {}),
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source[0])
@pytest.mark.parametrize(("name", "wanted"), OUTPUTS, ids=lambda each: str(each))
def test_planes_are_packed_as_on_a_cpu(
    source: tuple[str, int, tuple[int, int], str], name: str, wanted: dict[str, str | bool]
) -> None:
    frame, info = read(*source)
    contents = Contents(**wanted)  # type: ignore[arg-type]
    if contents.composite:
        contents = replace(contents, background=open_background("#4060c0", info))
    encoding = encoding_for(Path(name), info, contents)
    even = encoding.codec == "libx264"
    size = (info.width + even * (info.width % 2), info.height + even * (info.height % 2))
    painter = CutoutPainter(encoding, info, size, contents)
    assert painter.packs
    cutout = half_own(frame)
    for each in (cutout, replace(cutout, foreground=None), replace(cutout, foreground=cutout.as_float())):
        expected, found = painter(each), painter.packed(each)
        assert found is not None
        bits = expected.format.components[0].bits
        unit = max(1, 2 ** (bits - max(8, info.color.bit_depth)))
        for number, planes in enumerate(zip(expected.planes, found.planes, strict=True)):
            here, there = (plane_view(plane, bits).astype(int) for plane in planes)
            off = np.abs(here - there)
            assert off.max() <= 2 * unit, f"{expected.format.name}, plane {number}"
            assert off.size < 9 or off.mean() < 0.6 * unit
        if contents.part in ("plate", "foreground") and contents.alpha == "straight" and not contents.composite:
            own = slice(info.width // 2 - 1)  # luma where the colours are the source's, exactly
            here, there = (plane_view(each.planes[0], bits)[: info.height, own] for each in (expected, found))
            assert np.array_equal(here, there)


def test_without_its_planes_there_nothing_is_packed() -> None:
    """Their own samples cannot be stored: such a cut-out goes home."""
    frame, info = read("yuv420p", 1, (64, 48), "h264")
    contents = Contents()
    painter = CutoutPainter(encoding_for(Path("out.mov"), info, contents), info, (64, 48), contents)
    assert painter.packed(half_own(replace(frame, planes=()))) is None
    assert not CutoutPainter(
        encoding_for(Path("out.mov"), info, Contents("beside")), info, (128, 48), Contents("beside")
    ).packs


def test_a_background_that_lasts_is_sent_once() -> None:
    frame, info = read("yuv420p", 1, (64, 48), "h264")
    contents = Contents(composite=True, background=open_background("#4060c0", info))
    painter = CutoutPainter(encoding_for(Path("out.mp4"), info, contents), info, (64, 48), contents)
    cutout = half_own(frame)
    assert painter._behind(cutout) is painter._behind(cutout)


def test_planes_cross_alone_where_they_may() -> None:
    """On the device that only knows shapes, where whatever asks for a value fails."""
    frame, _ = read("yuv420p", 1, (64, 48), "h264")
    there = torch.device("meta")
    fresh = replace(frame, planes=())
    assert fresh.on(there).planes == ()
    again = replace(frame, planes=())
    copy = again.on(there, as_planes=True)
    assert [tuple(plane.shape) for plane in copy.planes] == [(48, 64), (24, 32), (24, 32)]
    assert copy.rgb.shape == (3, 48, 64) and copy.rgb.is_meta and again.on(there) is copy
    cutout = Cutout(again, torch.empty(48, 64, device=there), torch.empty(3, 48, 64, dtype=torch.uint8, device=there))
    layout = Layout((48, 64), (48, 64), 10, 1, False)
    planes = [*packed_colors(cutout, Contents(), layout, again.samples, None), *packed_alpha(cutout, layout)]
    assert [(tuple(plane.shape), plane.dtype) for plane in planes] == [((48, 64), torch.uint16)] * 4


@pytest.mark.parametrize("screen", [None, (0.0, 1.0, 0.0)], ids=["", "despill"])
@pytest.mark.parametrize("decontaminate", [True, False], ids=["decontaminate", ""])
@pytest.mark.parametrize("detail", ["off", "on"])
@pytest.mark.parametrize("size", [(20, 20), (48, 64)], ids=["small", "whole"])
def test_alpha_and_colours_leave_the_stages_on_one_device(
    size: tuple[int, int], detail: Literal["off", "on"], decontaminate: bool, screen: tuple[float, float, float] | None
) -> None:
    """Whatever is asked for, they can be packed there."""
    frame, _ = read("yuv420p", 1, (64, 48), "h264")
    frame, there = replace(frame, planes=()), torch.device("meta")
    frame.on(there, as_planes=True)
    stages = stages_for(
        size, "off", "off", detail=detail, decontaminate=decontaminate, screen=screen, device=there, choke=0.0
    )
    (cutout,) = matte([frame], lambda frames: [torch.rand(size)], stages, floats=False, fetch=False)
    assert cutout.alpha.is_meta and cutout.alpha.shape == frame.size
    assert cutout.foreground is None or cutout.foreground.is_meta
    layout = Layout((48, 64), (48, 64), 10, 1, False)
    assert len(packed_colors(cutout, Contents(), layout, frame.samples, None)) == 3


@pytest.mark.gpu
def test_a_gpu_writes_the_same_file(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", pts=even_pts(6))
    written = {}
    for device in ("cpu", "cuda"):
        for name in ("out.mov", "out.mp4"):
            out = tmp_path / f"{device}-{name}"
            more = ["--bg", "green"] if name == "out.mp4" else []
            common = ["--model", "birefnet-nano", "--precision", "fp32", "--offline", "--device", device]
            assert main([str(clip), "-o", str(out), *common, *more]) == 0
            with open_video(out) as video:
                written[device, name] = torch.stack([frame.as_float() for frame in video])
    for name in ("out.mov", "out.mp4"):
        assert (written["cuda", name] - written["cpu", name]).abs().mean() < 2e-3
