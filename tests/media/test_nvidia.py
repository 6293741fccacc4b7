"""NVDEC and NVENC: asked for where they are missing, and equal pixels where they are."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest
import torch
from support.clips import even_pts, write_clip

from streammatte.cli.main import main
from streammatte.media import nvidia, open_video

pytestmark = pytest.mark.media

QUICK = ["--model", "birefnet-nano", "--device", "cpu", "--offline"]


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without either."""
    monkeypatch.setattr("streammatte.media.read.file_source.has_nvdec", lambda: False)
    monkeypatch.setattr("streammatte.media.write.encoding.encodes", lambda size, options: False)


def test_without_them_the_cpu_does_it_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], nowhere: None
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", pts=even_pts(3))
    out = tmp_path / "out.mp4"
    assert main([str(clip), "-o", str(out), "--bg", "green", "--hwaccel", "cuda", "--json", *QUICK]) == 0
    said = json.loads(capsys.readouterr().out)
    assert "decoded on the CPU: no NVDEC on this machine" in said["notes"]
    assert said["outputs"][0]["description"].startswith("H.264, composite, encoded on the CPU: no NVENC")
    with av.open(str(out)) as file:
        assert sum(1 for _ in file.decode(video=0)) == 3


def test_an_encoder_that_is_not_there_is_no_error() -> None:
    if not torch.cuda.is_available():
        assert not nvidia.has_nvdec() and not nvidia.encodes((640, 360), {"preset": "p5"})
    assert not nvidia.encodes((2**17, 2), {}), "no encoder takes that size"


def test_a_decoder_that_fails_on_the_gpu_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here NVDEC is said to be there and is not, so that it fails as it opens."""
    if nvidia.has_nvdec():
        pytest.skip("it would not fail")
    clip = write_clip(tmp_path / "clip.mp4", pts=even_pts(3))
    asked: list[bool] = []
    monkeypatch.setattr("streammatte.media.read.file_source.has_nvdec", lambda: True)
    monkeypatch.setattr("streammatte.media.read.decoding.nvdec", lambda: asked.append(True) or nvidia.nvdec())
    with open_video(clip, hwaccel=True) as video:
        assert len([frame.index for frame in video]) == 3
        assert "decoded on the CPU: NVDEC cannot decode this stream" in video.notes
    assert asked == [True]


@pytest.mark.parametrize(("pixels", "passes"), [("yuv420p", 2), ("nv12", 1)])
def test_what_came_from_the_cpu_after_all_is_decoded_there_with_all_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: str, passes: int
) -> None:
    """FFmpeg falls back without saying so; only the layout of the first frame tells."""
    clip = write_clip(tmp_path / "clip.mp4", pts=even_pts(3))
    tried: list[bool] = []

    def looks(frame: av.VideoFrame) -> bool:
        tried.append(True)
        return nvidia.is_from_nvdec(frame.reformat(format=pixels))

    monkeypatch.setattr("streammatte.media.read.file_source.has_nvdec", lambda: True)
    monkeypatch.setattr("streammatte.media.read.decoding.nvdec", lambda: None)
    monkeypatch.setattr("streammatte.media.read.file_source.is_from_nvdec", looks)
    with open_video(clip, hwaccel=True) as video:
        assert len(list(video)) == 3
        assert ("decoded on the CPU: NVDEC cannot decode this stream" in video.notes) == (passes == 2)
    assert tried == [True]


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("codec", "pixels"),
    [("libx264", "yuv420p"), ("libx265", "yuv420p10le"), ("libx264", "yuv444p"), ("libx265", "yuv420p12le")],
)
def test_nvdec_gives_the_same_pixels(tmp_path: Path, codec: str, pixels: str) -> None:
    if not nvidia.has_nvdec():
        pytest.skip("this GPU does not decode")
    clip = write_clip(tmp_path / "clip.mp4", pts=even_pts(8), codec=codec, pixels=pixels)
    with open_video(clip) as here, open_video(clip, hwaccel=True) as there:
        assert here.info == there.info
        for one, other in zip(here, there, strict=True):
            assert torch.equal(one.rgb.int(), other.rgb.int()) and one.pts == other.pts


@pytest.mark.gpu
def test_nvenc_writes_a_composite(tmp_path: Path) -> None:
    if not nvidia.encodes((320, 180), {}):
        pytest.skip("this GPU does not encode")
    clip = write_clip(tmp_path / "clip.mp4", pts=even_pts(8))
    out = tmp_path / "out.mp4"
    assert main([str(clip), "-o", str(out), "--bg", "green", "--hwaccel", "cuda", *QUICK]) == 0
    with open_video(clip) as given, open_video(out) as written:
        assert [frame.pts * given.info.time_base for frame in given] == [
            frame.pts * written.info.time_base for frame in written
        ]
