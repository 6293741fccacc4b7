"""A matte at the network's size gains the picture's own edge, and neither its grain nor its texture."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from streammatte.cli.main import main
from streammatte.frame import Cutout, Frame
from streammatte.quality import metrics
from streammatte.stages import DetailRefiner, detail
from streammatte.stages.detail import lifted, refine_alpha

pytestmark = pytest.mark.unit

SHAPE = (216, 384)
SIZE = (51, 51)  # squashed, as a network's input is; 4K is to 512 as this shape is to it


def strands(seed: int = 0) -> Tensor:
    """Alpha of a head with hair, drawn at twice the size."""
    rng = np.random.default_rng(seed)
    canvas = np.zeros((2 * SHAPE[0], 2 * SHAPE[1]), np.uint8)
    cv2.circle(canvas, (384, 230), 90, 255, -1, cv2.LINE_AA)
    for angle in rng.uniform(0, 2 * np.pi, 60):
        start, way = np.array([384, 230]), np.array([np.cos(angle), np.sin(angle)])
        bend = rng.normal(0, 30) * np.array([-way[1], way[0]])
        at = np.linspace(0, 1, 20)[:, None]
        curve = start + way * (80 + rng.uniform(30, 90) * at) + bend * at**2
        cv2.polylines(
            canvas, [np.rint(curve * 8).astype(np.int32)], False, 255, int(rng.integers(2, 6)), cv2.LINE_AA, 3
        )
    return torch.from_numpy(cv2.resize(canvas, SHAPE[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255)


def shot(alpha: Tensor, grain: float = 0.01) -> Tensor:
    """Brown before a grey that changes slowly, with grain."""
    rng = np.random.default_rng(1)
    wall = torch.linspace(0.5, 0.8, alpha.shape[1]).expand(3, *alpha.shape)
    hair = torch.tensor([0.3, 0.2, 0.1])[:, None, None].expand_as(wall)
    noise = torch.from_numpy(rng.standard_normal(wall.shape, np.float32))
    return (hair * alpha + wall * (1 - alpha) + grain * noise).clamp(0, 1)


def small(alpha: Tensor, size: tuple[int, int] = SIZE) -> Tensor:
    """What becomes of the truth at the network's size."""
    return F.interpolate(alpha[None, None], size, mode="area")[0, 0]


def plain(matte: Tensor, shape: tuple[int, int] = SHAPE) -> Tensor:
    """A small matte, lifted without detail."""
    return lifted(Cutout(Frame(torch.zeros(3, *shape), 0, 0), matte)).alpha


@pytest.mark.parametrize("grain", [0.0, 0.01, 0.04])
def test_hair_comes_back(grain: float) -> None:
    truth = strands()
    soft, found = plain(small(truth)), refine_alpha(shot(truth, grain), small(truth))
    band = (soft > 0.01) & (soft < 0.99)
    for measure in (metrics.mad, metrics.grad):
        assert measure(found, truth, band) < 0.6 * measure(soft, truth, band)


def test_solid_parts_stay_bit_for_bit() -> None:
    truth = strands()
    matte = 0.002 + 0.996 * small(truth)  # networks never say 0 or 1
    soft, found = plain(matte), refine_alpha(shot(truth), matte)
    cell = torch.tensor(SHAPE) / torch.tensor(SIZE)
    reach = 2 * int(cell.max().ceil()) * 2 + 1
    far = F.max_pool2d(((soft > 0.005) & (soft < 0.995)).float()[None], reach, 1, reach // 2)[0] == 0
    assert far.float().mean() > 0.2 and (soft[far] > 0.5).any()
    assert torch.equal(found[far], soft[far])
    assert not torch.equal(found, soft)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_flat_matte_stays_flat(value: float) -> None:
    found = refine_alpha(shot(torch.full(SHAPE, value), 0.1), torch.full(SIZE, value))
    assert found.shape == SHAPE and (found == value).all()


@pytest.mark.parametrize("grain", [0.02, 0.08])
def test_grain_is_no_detail(grain: float) -> None:
    """A clean, soft matte over a subject that looks like its background."""
    ramp = ((torch.arange(SHAPE[1]) - 120) / 140).clamp(0, 1).expand(SHAPE).contiguous()
    rng = np.random.default_rng(2)
    rgb = 0.5 + grain * torch.from_numpy(rng.standard_normal((3, *SHAPE), np.float32))
    assert (refine_alpha(rgb.clamp(0, 1), small(ramp)) - plain(small(ramp))).abs().max() < 0.02


def test_a_soft_edge_keeps_its_softness_over_texture() -> None:
    rng = np.random.default_rng(3)
    ramp = ((torch.arange(SHAPE[1]) - 120) / 140).clamp(0, 1).expand(SHAPE).contiguous()
    weave = torch.from_numpy(rng.integers(0, 2, (3, 72, 128)).astype(np.float32)).repeat_interleave(3, 1)
    weave = 0.15 * weave.repeat_interleave(3, 2)
    rgb = (0.6 * ramp + 0.2 + weave).clamp(0, 1)
    assert (refine_alpha(rgb, small(ramp)) - plain(small(ramp))).abs().mean() < 0.005


def test_detail_at_the_edge_that_has_nothing_to_do_with_alpha_changes_little() -> None:
    """It is at the edge alone, as alpha's would be; that colour explains alpha badly must tell."""
    ramp = ((torch.arange(SHAPE[1]) - 120) / 140).clamp(0, 1).expand(SHAPE).contiguous()
    rng = np.random.default_rng(0)
    fine, coarse = (rng.standard_normal((*SHAPE, 3), np.float32) for _ in range(2))
    coarse = cv2.GaussianBlur(coarse, (0, 0), 6)
    dirt = torch.from_numpy(0.1 * fine + 0.1 * coarse / coarse.std()).permute(2, 0, 1)
    rgb = (0.3 + dirt * ((ramp > 0) & (ramp < 1))).clamp(0, 1)
    assert (refine_alpha(rgb, small(ramp)) - plain(small(ramp))).abs().mean() < 0.005


def test_the_matte_it_came_from_is_kept() -> None:
    truth = strands()
    found = refine_alpha(shot(truth), small(truth))
    coarse, kept = (F.interpolate(each[None, None], SIZE, mode="area") for each in (truth, found))
    assert (coarse - kept).abs().mean() < 0.0015


def test_tiles_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = strands()
    rgb, matte = shot(truth), small(truth)
    whole = refine_alpha(rgb, matte)
    monkeypatch.setattr(detail, "TILE", 32)
    torch.testing.assert_close(refine_alpha(rgb, matte), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(1, 1), (2, 90), (51, 51), (97, 61)])
def test_any_size(shape: tuple[int, int]) -> None:
    rgb, matte = torch.rand(3, *shape), torch.rand(SIZE)
    found = refine_alpha(rgb, matte)
    assert found.shape == shape and float(found.min()) >= 0 and float(found.max()) <= 1
    assert torch.equal(found, plain(matte, shape)) == (shape[0] <= SIZE[0] and shape[1] <= SIZE[1])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError):
        refine_alpha(torch.rand(1, 40, 50), torch.rand(50, 40))
    with pytest.raises(ValueError):
        refine_alpha(torch.rand(3, 40, 50), torch.rand(1, 50, 40))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_stage_refines_the_alpha_and_nothing_else(dtype: torch.dtype) -> None:
    truth = strands()
    rgb = (255 * shot(truth)).to(dtype) if dtype == torch.uint8 else shot(truth)
    stage, given = DetailRefiner(), Cutout(Frame(rgb, 7, 3), small(truth))
    (made,) = stage.push(given)
    assert made.frame is given.frame and made.foreground is None
    assert torch.equal(made.alpha, refine_alpha(given.frame.as_float(), given.alpha))
    assert next(iter(stage.push(made))) is made, "lifted already"
    assert list(stage.flush()) == []


@pytest.mark.parametrize(
    ("arguments", "refines"),
    [
        (["--size", "64x64"], False),
        (["--size", "64x64", "--detail", "on"], True),
        (["--size", "512x64"], True),
        (["--size", "512x64", "--detail", "off"], False),
    ],
)
def test_the_command_refines_what_large_networks_made(
    arguments: list[str], refines: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = tmp_path / "still.png"
    cv2.imwrite(str(still), np.full((90, 160, 3), 120, np.uint8))
    common = ["--model", "birefnet-nano", "--device", "cpu", "--offline", "--json"]
    assert main([str(still), "-o", str(tmp_path / "cut.png"), *common, *arguments]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [name for name in stages if name in ("DetailRefiner", "Lift")] == ["DetailRefiner" if refines else "Lift"]


@pytest.mark.gpu
def test_a_gpu_gives_the_same() -> None:
    truth = strands()
    rgb, matte = shot(truth), small(truth)
    there = refine_alpha(rgb.cuda(), matte.cuda()).cpu()
    torch.testing.assert_close(there, refine_alpha(rgb, matte), atol=1e-3, rtol=0)
    (cutout,) = DetailRefiner("cuda").push(Cutout(Frame(rgb, 0, 0), matte))
    assert cutout.alpha.is_cuda


def test_a_gpus_operations_give_the_same_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors that do not say that they are a CPU's take the way of a GPU's."""
    truth = strands()
    rgb, matte = shot(truth), small(truth)
    expected = refine_alpha(rgb, matte)
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    torch.testing.assert_close(refine_alpha(rgb, matte), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("tint", [(1.0, 0.9, 0.8), (1.0, 1.0, 1.0)], ids=["tinted", "grey"])
@pytest.mark.parametrize("white", [1.0, 3.0, 10.0, 100.0, 300.0])
def test_highlights_beyond_white_keep_their_edge(white: float, tint: tuple[float, float, float]) -> None:
    """Footage in linear light, that nothing converts for a screen."""
    y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    alpha = ((80 - torch.hypot(y - 128, x - 128)) / 3 + 0.5).clamp(0, 1)
    grain = 1e-3 * torch.rand(3, 256, 256, generator=torch.Generator().manual_seed(0))
    bright = white * alpha * torch.tensor(tint)[:, None, None] + 0.01 + grain
    assert (refine_alpha(bright, small(alpha, (64, 64))) - alpha).abs().max() < 0.03
