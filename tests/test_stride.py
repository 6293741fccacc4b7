"""The network runs on few frames where motion predicts its mattes, and on all where it does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

import streammatte as sm
from streammatte.cli.main import main

pytestmark = pytest.mark.unit

SAMPLES = Path(__file__).parent.parent / "samples"
SIZE = (192, 256)


def disc(x: float, y: float = 96) -> Tensor:
    """(H, W): a soft disc of radius 60."""
    rows, columns = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    return (60.5 - ((columns - x) ** 2 + (rows - y) ** 2).sqrt()).clamp(0, 1)


def picture(x: float, place: int = 0) -> Tensor:
    """(3, H, W): a textured disc over a textured place."""
    rng = np.random.default_rng(place)
    ground, cloth = (
        interpolate(torch.from_numpy(rng.random((1, 3, 48, 64), np.float32)), SIZE, mode="bicubic")[0].clamp(0, 1)
        for _ in range(2)
    )
    alpha = disc(x)
    return alpha * torch.roll(cloth, round(x), 2) + (1 - alpha) * ground


class Truth:
    """Answers with a disc for each frame, and counts."""

    def __init__(self, alpha: Callable[[int], Tensor]) -> None:
        self.alpha = alpha
        self.asked: list[int] = []

    def __call__(self, frames: Sequence[sm.Frame]) -> list[Tensor]:
        self.asked += [frame.index for frame in frames]
        return [self.alpha(frame.index) for frame in frames]


def frames(places: Sequence[float], *, cut: int = 10**6) -> list[sm.Frame]:
    return [sm.Frame(rgb=picture(x, place=int(i >= cut)), pts=i, index=i) for i, x in enumerate(places)]


def moving(count: int) -> list[float]:
    return [90 + 1.5 * i for i in range(count)]


def test_few_frames_are_asked_and_the_others_follow_the_motion() -> None:
    places = moving(17)
    truth = Truth(lambda index: disc(places[index]))
    cutouts = list(sm.matte(frames(places), truth, [], stride=4))
    assert truth.asked == [0, 4, 8, 12, 16]
    assert [cutout.frame.index for cutout in cutouts] == list(range(17))
    for cutout, x in zip(cutouts, places, strict=True):
        assert (cutout.alpha - disc(x)).abs().mean() < 0.012, cutout.frame.index
    assert (disc(places[2]) - disc(places[0])).abs().mean() > 0.012, "a matte that stands still would pass, too"


def test_answers_of_the_network_are_unchanged() -> None:
    places = moving(9)
    truth = Truth(lambda index: disc(places[index]))
    cutouts = list(sm.matte(frames(places), truth, [], stride=4))
    for index in truth.asked:
        torch.testing.assert_close(cutouts[index].alpha, disc(places[index]), atol=1e-5, rtol=0)


def test_both_sides_of_a_cut_are_asked() -> None:
    places = moving(12)
    truth = Truth(lambda index: disc(places[index]))
    list(sm.matte(frames(places, cut=5), truth, [], stride=4))
    assert {0, 4, 5, 8, 11} <= set(truth.asked)


def test_mattes_that_motion_does_not_predict_are_all_asked() -> None:
    places = moving(9)
    truth = Truth(lambda index: disc(120, y=60 + 12 * (3 * index % 7)))
    list(sm.matte(frames(places), truth, [], stride=4))
    assert sorted(truth.asked) == list(range(9)) and len(truth.asked) == 9, "each once"


def test_a_run_that_begins_later_asks_for_the_same_frames() -> None:
    places = moving(17)
    whole, part = (Truth(lambda index: disc(places[index])) for _ in range(2))
    cutouts = list(sm.matte(frames(places), whole, [], stride=4))
    late = list(sm.matte(frames(places)[8:], part, [], stride=4))
    assert part.asked == [index for index in whole.asked if index >= 8]
    for one, other in zip(cutouts[8:], late, strict=True):
        torch.testing.assert_close(one.alpha, other.alpha)


def test_a_stride_of_one_asks_for_every_frame() -> None:
    truth = Truth(lambda _: disc(120))
    list(sm.matte(frames(moving(3)), truth, [], stride=1))
    assert truth.asked == [0, 1, 2]
    with pytest.raises(ValueError, match="stride=0"):
        sm.matte(frames(moving(3)), truth, stride=0)


def test_the_command_says_how_often_the_network_ran(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.mkv"
    words = [str(SAMPLES / "talking.mp4"), str(out), "--out", "16", "--size", "192x192", "--stride", "8", "--json"]
    assert main(words) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["frames"] == 17
    assert 3 <= summary["mattes_computed"] < 17
    assert any("the network ran on" in note for note in summary["notes"])
