"""A screen's light goes; colours that it did not touch, and the alpha, stay."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from streammatte.cli.main import main
from streammatte.frame import Cutout, Frame
from streammatte.stages import Despill, despill

pytestmark = pytest.mark.unit

GREEN, BLUE = (0.0, 177 / 255, 64 / 255), (0.0, 71 / 255, 187 / 255)
LUMA = torch.tensor([0.2126, 0.7152, 0.0722])


def pixels(*colors: tuple[float, float, float]) -> torch.Tensor:
    """(3, 1, N)."""
    return torch.tensor(colors).T[:, None].contiguous()


def test_colours_without_spill_stay_bit_for_bit() -> None:
    skin, yellow, cyan, white, black = (0.8, 0.6, 0.5), (0.9, 0.9, 0.1), (0.1, 0.7, 0.7), (1.0,) * 3, (0.0,) * 3
    given = pixels(skin, yellow, cyan, white, black, (0.9, 0.2, 0.3))
    assert torch.equal(despill(given, GREEN), given)


@pytest.mark.parametrize("screen", [GREEN, BLUE, (0.0, 1.0, 0.0)])
def test_grey_under_a_screens_light_is_grey_again(screen: tuple[float, float, float]) -> None:
    """Of the luma that it was seen with."""
    lit = 0.4 + 0.3 * torch.tensor([0.1, 0.5, 1.0]) * torch.tensor(screen)[:, None, None]
    clean = despill(lit, screen)
    torch.testing.assert_close(clean, clean.mean(0, keepdim=True).expand_as(clean))
    torch.testing.assert_close(LUMA @ clean[:, 0], LUMA @ lit[:, 0])


def test_a_screens_colour_may_be_whole_numbers() -> None:
    given = pixels((0.2, 0.9, 0.2), (0.5, 0.6, 0.5))
    assert torch.equal(despill(given, (0, 1, 0)), despill(given, (0.0, 1.0, 0.0)))


def test_the_screens_channel_never_leads_afterwards() -> None:
    given = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(0))
    for screen, channel in ((GREEN, 1), (BLUE, 2)):
        clean = despill(given, screen)
        others = clean[[c for c in range(3) if c != channel]].amax(0)
        assert (clean[channel] <= others + 1e-6).all()
        assert clean.min() >= 0 and clean.max() <= 1


def test_the_stage_takes_the_foreground_where_there_is_one() -> None:
    frame, alpha = Frame(pixels((0.2, 0.9, 0.2)), 5, 1), torch.full((1, 1), 0.5)
    (from_frame,) = Despill(GREEN).push(Cutout(frame, alpha))
    (from_foreground,) = Despill(GREEN).push(Cutout(frame, alpha, pixels((0.5, 0.6, 0.5))))
    for cutout, rgb in ((from_frame, frame.rgb), (from_foreground, pixels((0.5, 0.6, 0.5)))):
        assert cutout.frame is frame and cutout.alpha is alpha
        assert cutout.foreground is not None and torch.equal(cutout.foreground, despill(rgb, GREEN))
    assert list(Despill(GREEN).flush()) == []


@pytest.mark.parametrize("color", [(0.5, 0.5, 0.5), (0.9, 0.9, 0.0), (0.0, 0.0, 0.0)])
def test_a_screen_has_one_leading_channel(color: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError):
        Despill(color)


def test_the_command_despills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still, out = tmp_path / "still.png", tmp_path / "out.png"
    cv2.imwrite(str(still), np.full((48, 64, 3), (60, 200, 40), np.uint8))
    common = [str(still), "-o", str(out), "--model", "birefnet-nano", "--size", "64x64", "--device", "cpu", "--offline"]
    assert main([*common, "--json", "--despill", "greenscreen"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"][-1] == "Despill"
    blue, green, red, _ = cv2.imread(str(out), cv2.IMREAD_UNCHANGED).reshape(-1, 4).T.astype(int)
    assert (green <= np.maximum(red, blue)).all()


def test_what_is_no_screen_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = tmp_path / "still.png"
    cv2.imwrite(str(still), np.full((48, 64, 3), 90, np.uint8))
    for color in ("grey", "grean", "#12"):
        assert main([str(still), "-o", str(tmp_path / "out.png"), "--despill", color]) == 2
        error, hint = capsys.readouterr().err.splitlines()
        assert color in error and hint.startswith("  hint: ")
