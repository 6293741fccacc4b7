"""The colours of the picture settle what the network leaves open, and leave alone what they cannot know."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from streammatte.cli.main import main
from streammatte.frame import Cutout, Frame
from streammatte.quality import metrics
from streammatte.stages import ClipColors

pytestmark = pytest.mark.unit

SIDE = 96


@pytest.fixture
def subject() -> NDArray[np.float32]:
    """A head on shoulders, (SIDE, SIDE), 0 or 1."""
    alpha = np.zeros((SIDE, SIDE), np.float32)
    cv2.circle(alpha, (48, 34), 16, 1.0, -1)
    cv2.ellipse(alpha, (48, 96), (34, 44), 0, 0, 360, 1.0, -1)
    return alpha


def picture(alpha: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A brown and navy subject before a grey wall, with grain."""
    clothes = np.where(np.arange(SIDE)[:, None, None] < 52, (150, 95, 70), (25, 30, 60))
    rgb = np.where(alpha[..., None] > 0.5, clothes, (140, 150, 145)) + rng.normal(0, 8, (SIDE, SIDE, 3))
    return np.asarray(rgb.clip(0, 255), np.uint8)


def vague(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a small network would say: sure of the middle, out of focus elsewhere, blind to one shoulder."""
    soft = cv2.GaussianBlur(alpha, (0, 0), 6)
    soft[60:, 62:] *= 0.45
    return np.asarray(soft.clip(0, 1), np.float32)


def cutout(rgb: NDArray[np.uint8], alpha: NDArray[np.float32], index: int = 0) -> Cutout:
    return Cutout(Frame(torch.from_numpy(rgb).permute(2, 0, 1), index, index), torch.from_numpy(alpha))


def test_what_the_network_left_open_is_settled(subject: NDArray[np.float32]) -> None:
    rgb = picture(subject, np.random.default_rng(0))
    before = vague(subject)
    (after,) = ClipColors().push(cutout(rgb, before))
    assert metrics.iou(before, subject) < 0.85
    assert metrics.iou(after.alpha.numpy(), subject) > 0.97
    assert metrics.mad(after.alpha.numpy(), subject) < 0.2 * metrics.mad(before, subject)


def test_the_same_frame_gives_the_same_matte(subject: NDArray[np.float32]) -> None:
    given = cutout(picture(subject, np.random.default_rng(1)), vague(subject))
    (one,), (other,) = (ClipColors().push(given) for _ in range(2))
    assert torch.equal(one.alpha, other.alpha)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_flat_matte_is_left_as_it_is(subject: NDArray[np.float32], value: float) -> None:
    alpha = np.full((SIDE, SIDE), value, np.float32)
    given = cutout(picture(subject, np.random.default_rng(2)), alpha)
    (after,) = ClipColors().push(given)
    assert torch.allclose(after.alpha, given.alpha, atol=0.02)


def test_frames_leave_at_once_and_none_has_a_say_in_another(subject: NDArray[np.float32]) -> None:
    stage, rng = ClipColors(), np.random.default_rng(3)
    for index in range(3):
        given = cutout(picture(subject if index else 1 - subject, rng), vague(subject), index)
        (after,), (alone,) = stage.push(given), ClipColors().push(given)
        assert after.frame is given.frame and torch.equal(after.alpha, alone.alpha)
    assert list(stage.flush()) == []


def test_it_works_at_the_mattes_own_size(subject: NDArray[np.float32]) -> None:
    rgb = cv2.resize(picture(subject, np.random.default_rng(4)), (4 * SIDE, 3 * SIDE))
    (after,) = ClipColors().push(cutout(rgb, vague(subject)))
    assert after.alpha.shape == (SIDE, SIDE) and metrics.iou(after.alpha.numpy(), subject) > 0.95


def test_frames_smaller_than_the_network_and_of_any_depth(subject: NDArray[np.float32]) -> None:
    for shape, kind in product([(1, 1), (2, 2), (3, 500), (37, 53)], [np.uint8, np.uint16, np.float32]):
        height, width = shape
        rgb = cv2.resize(picture(subject, np.random.default_rng(6)), (width, height))
        alpha = cv2.resize(vague(subject), (width, height))
        largest = 1 if kind is np.float32 else np.iinfo(kind).max  # type: ignore[type-var]
        given = cutout((rgb.astype(np.float64) / 255 * largest).astype(kind), alpha)
        (after,) = ClipColors().push(given)
        assert after.alpha.shape == shape and after.alpha.dtype == torch.float32
        assert float(after.alpha.min()) >= 0 and float(after.alpha.max()) <= 1


def test_flat_colours_need_no_grain(subject: NDArray[np.float32]) -> None:
    """A title, a cartoon: GrabCut's mixtures have no spread there, and rule colours out altogether."""
    soft = cv2.GaussianBlur(subject, (0, 0), 1)[..., None]
    rgb = np.rint(np.array([255, 0, 0]) * soft + np.array([0, 0, 255]) * (1 - soft)).astype(np.uint8)
    (after,) = ClipColors().push(cutout(rgb, vague(subject)))
    assert metrics.iou(after.alpha.numpy(), subject) > 0.97


@pytest.mark.parametrize(
    ("arguments", "helped"),
    [
        ([], True),
        (["--colors", "off"], False),
        (["--size", "512x64"], False),
        (["--size", "512x64", "--colors", "on"], True),
    ],
)
def test_the_command_asks_the_colours_for_small_networks(
    arguments: list[str], helped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = tmp_path / "still.png"
    cv2.imwrite(str(still), np.full((48, 64, 3), 120, np.uint8))
    common = ["--model", "birefnet-nano", "--device", "cpu", "--offline", "--smooth", "off", "--json"]
    assert main([str(still), "-o", str(tmp_path / "cut.png"), *common, *arguments]) == 0
    assert ("ClipColors" in json.loads(capsys.readouterr().out)["stages"]) == helped


def test_holes_and_stray_pieces_go_unless_the_network_is_certain_of_them(subject: NDArray[np.float32]) -> None:
    """An eye as bright as the wall, a lamp as brown as the hair; and a ring that is truly empty."""
    rgb = picture(subject, np.random.default_rng(5))
    matte = vague(subject)
    eye, lamp = np.zeros((2, SIDE, SIDE), np.uint8)
    cv2.circle(eye, (44, 32), 4, 1, -1)
    cv2.circle(lamp, (88, 10), 4, 1, -1)
    rgb[eye > 0], rgb[lamp > 0] = (140, 150, 145), (150, 95, 70)
    matte[eye > 0], matte[lamp > 0] = 0.3, 0.4
    (after,) = ClipColors().push(cutout(rgb, matte))
    assert after.alpha.numpy()[eye > 0].mean() > 0.9
    assert after.alpha.numpy()[lamp > 0].mean() < 0.1

    matte[eye > 0], matte[lamp > 0] = 0.0, 1.0
    (after,) = ClipColors().push(cutout(rgb, matte))
    assert after.alpha.numpy()[eye > 0].mean() < 0.2
    assert after.alpha.numpy()[lamp > 0].mean() > 0.8
