"""What prompts of ``--transparent`` name is followed, and SDMatte is asked there and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import SAMPLES
from numpy.typing import NDArray
from support.sdmatte_folder import make_folder
from support.subjects import Mattes, RedModel, TruthTracker, box_of, crossing

import streammatte as sm
from streammatte.cli.main import main
from streammatte.media import open_video
from streammatte.subject import following

pytestmark = pytest.mark.media

GLASS = str(SAMPLES / "glass.mp4")
PLAIN = {"smooth": "off", "decontaminate": "off", "colors": "off", "detail": "off"}
MISSED = 12  # pixels around the subject that the region may include


@pytest.fixture(scope="module")
def sdmatte(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("hub") / "SDMatte")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mattes]:
    path = tmp_path_factory.mktemp("clip") / "two.mkv"
    return path, crossing(path)


def alphas(path: Path) -> NDArray[np.float32]:
    with open_video(path) as source:
        return np.stack([cutout.alpha.numpy() for cutout in source.cutouts()])


def wide(matte: NDArray[np.float32]) -> NDArray[np.bool_]:
    size = 2 * MISSED + 1
    return np.asarray(cv2.dilate((matte > 0.1).astype(np.uint8), np.ones((size, size), np.uint8)) > 0)


def test_the_region_follows_its_prompts_to_both_sides(
    clip: tuple[Path, Mattes], sdmatte: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, mattes = clip
    monkeypatch.setattr(following, "tracker_of", lambda *given, **more: ("a stand-in", TruthTracker(mattes)))
    asked = {"sdmatte": str(sdmatte), "sdmatte_size": 256, "keyframe_every": 4, **PLAIN}
    prompts = [f"b: {box_of(mattes['b'][5])} @5", sm.Prompt("b", "point", 6, (40, 90))]
    told = sm.matte_video(path, tmp_path / "with.mkv", model=RedModel(), transparent=prompts, **asked)
    assert {0, 4} <= set(told.keyframes)
    sm.matte_video(path, tmp_path / "without.mkv", model=RedModel(), transparency="off", **PLAIN)
    off = np.abs(alphas(tmp_path / "with.mkv") - alphas(tmp_path / "without.mkv"))
    for index, matte in enumerate(mattes["b"]):
        assert off[index][~wide(matte)].max() < 0.02, "beside it nothing changes"
        assert off[index][matte > 0.9].mean() > 0.05


def test_glass_is_followed_from_a_later_frame(
    sdmatte: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = [GLASS, "--model", "birefnet-nano", "--device", "cpu", "--offline", "--tracker", "flow", "--json"]
    usual += ["--in", "16", "--out", "24", "--smooth", "off", "--colors", "off", "--decontaminate", "off"]
    small = ["--sdmatte", str(sdmatte), "--sdmatte-size", "256", "--keyframe-every", "8"]
    named = ["--transparent", "glass: box 352,70,458,205 @24"]
    assert main([*usual, "-o", str(tmp_path / "with.mkv"), *small, *named]) == 0
    told = json.loads(capsys.readouterr().out)
    assert 16 in told["keyframes"] and 24 in told["keyframes"] and not any("lost" in note for note in told["notes"])
    assert main([*usual, "-o", str(tmp_path / "without.mkv"), "--transparency", "off"]) == 0
    off = np.abs(alphas(tmp_path / "with.mkv") - alphas(tmp_path / "without.mkv"))
    assert off[0, 100:200, 330:420].mean() > 0.05, "eight frames before the prompt, the glass is further right"
    assert off[:, :, :280].max() < 0.02 and off[:, :, 560:].max() < 0.02


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["not-point 10,10"], "has only prompts that say where it is not"),
        (["1,2,30,40", "point 10,10"], "cannot be combined with another --transparent"),
        (["1,2,30,40", "5,6,30,40"], "cannot be combined with another --transparent"),
        (["point 700,10"], "outside of the frame"),
        (["box 1,2,30,40 @999"], "999"),
        (["point 10,10", "not-point 10,10"], "contradict each other"),
    ],
)
def test_refused(asked: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [part for each in asked for part in ("--transparent", each)]
    assert main([GLASS, str(tmp_path / "out.mov"), "--model", "birefnet-nano", "--offline", *given]) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_all_is_not_transparent() -> None:
    with pytest.raises(sm.InputError, match="transparent"):
        sm.Options.of("clip.mp4", "out.mov", transparent=["all"])
    assert sm.Options.of("clip.mp4", "out.mov", transparent=(1, 2, 3, 4)).transparency.boxes == [(1, 2, 3, 4)]
