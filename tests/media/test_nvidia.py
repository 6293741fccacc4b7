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
    for place in ("nvidia.has_nvdec", "nvidia.has_nvenc", "read.opening.has_nvdec", "write.encoding.has_nvenc"):
        monkeypatch.setattr(f"streammatte.media.{place}", lambda: False)


def test_without_them_the_cpu_does_it_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], nowhere: None
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", pts=even_pts(3))
    out = tmp_path / "out.mp4"
    assert main([str(clip), "-o", str(out), "--bg", "green", "--hwaccel", "cuda", "--json", *QUICK]) == 0
    said = capsys.readouterr()
    assert "no NVDEC" in said.err and "no NVENC" in said.err
    assert json.loads(said.out)["outputs"][0]["description"].startswith("H.264, composite")
    with av.open(str(out)) as file:
        assert sum(1 for _ in file.decode(video=0)) == 3


def test_asking_needs_no_gpu() -> None:
    """The questions have answers everywhere, and no exceptions."""
    assert nvidia.has_nvdec() in (True, False) and nvidia.has_nvenc() in (True, False)
    assert len(list(nvidia.missing())) == (not nvidia.has_nvdec()) + (not nvidia.has_nvenc())


def test_a_decoder_that_fails_on_the_gpu_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here NVDEC is said to be there and is not, so that it fails as it opens."""
    if nvidia.has_nvdec():
        pytest.skip("it would not fail")
    clip = write_clip(tmp_path / "clip.mp4", pts=even_pts(3))
    monkeypatch.setattr("streammatte.media.read.opening.has_nvdec", lambda: True)
    with open_video(clip, hwaccel=True) as video:
        assert len([frame.index for frame in video]) == 3


@pytest.mark.gpu
@pytest.mark.parametrize(("codec", "pixels"), [("libx264", "yuv420p"), ("libx265", "yuv420p10le")])
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
    if not nvidia.has_nvenc():
        pytest.skip("this GPU does not encode")
    clip = write_clip(tmp_path / "clip.mp4", pts=even_pts(8))
    out = tmp_path / "out.mp4"
    assert main([str(clip), "-o", str(out), "--bg", "green", "--hwaccel", "cuda", *QUICK]) == 0
    with open_video(clip) as given, open_video(out) as written:
        assert [frame.pts * given.info.time_base for frame in given] == [
            frame.pts * written.info.time_base for frame in written
        ]
