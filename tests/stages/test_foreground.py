"""The subject's colours come back out of the edge, steadily, and nothing solid is touched."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import SAMPLES
from support.clips import even_pts, write_clip
from torch import Tensor

from streammatte.cli.main import main
from streammatte.frame import Cutout, Frame
from streammatte.media import open_video, open_writer
from streammatte.stages import ForegroundEstimator, estimate_foreground, foreground
from streammatte.stages.detail import DetailRefiner, Lift
from streammatte.stages.tiles import sums_of_slices, window_sums
from training.backgrounds import drawn

pytestmark = pytest.mark.unit

# Mean squared error in the band × 1000 of pymatting 1.1.16's estimate_foreground_ml, its defaults, on these composites.
PYMATTING = {"000017": 0.385, "000160": 8.532, "000560": 13.639, "000922": 1.289}


def disc(side: int = 96, softness: float = 4.0) -> Tensor:
    """(side, side) alpha of a disc whose edge is ``softness`` pixels wide, exactly 0 and 1 elsewhere."""
    y, x = torch.meshgrid(*[torch.arange(side) - side / 2] * 2, indexing="ij")
    return ((side / 3 - torch.hypot(x, y)) / softness + 0.5).clamp(0, 1)


def flat(*rgb: float, side: int = 96) -> Tensor:
    return torch.tensor(rgb)[:, None, None].expand(3, side, side)


def mixed(fore: Tensor, back: Tensor, alpha: Tensor) -> Tensor:
    return fore * alpha + back * (1 - alpha)


def band(alpha: Tensor) -> Tensor:
    return (alpha > 0) & (alpha < 1)


@pytest.mark.parametrize("name", PYMATTING)
def test_no_worse_than_pymatting_on_known_colours(name: str) -> None:
    """A rendered cut-out, its colours and alpha exact, over a place that is drawn."""
    bgra = cv2.imread(str(SAMPLES / "cutouts" / f"{name}.webp"), cv2.IMREAD_UNCHANGED)
    fore, alpha = (torch.from_numpy(plane.astype(np.float32) / 255) for plane in (bgra[..., 2::-1], bgra[..., 3]))
    fore = fore.permute(2, 0, 1)
    back = torch.from_numpy(drawn(np.random.default_rng(int(name)), bgra.shape[0])).permute(2, 0, 1)
    rgb = mixed(fore, back, alpha)
    errors = [
        1000 * (each - fore).square().mean(0)[band(alpha)].mean() for each in (rgb, estimate_foreground(rgb, alpha))
    ]
    assert errors[1] < PYMATTING[name] < errors[0]


def test_two_flat_colours_come_apart() -> None:
    alpha, red, green = disc(softness=12), flat(0.8, 0.2, 0.1), flat(0.1, 0.7, 0.3)
    found = estimate_foreground(mixed(red, green, alpha), alpha)
    assert (found - red)[:, alpha > 0.1].abs().max() < 0.02
    near = (alpha == 0) & (disc(softness=12).roll(6, 1) > 0.3)
    assert near.any() and (found - red)[:, near].abs().max() < 0.1  # carried on beyond the edge


def test_long_soft_hair_is_reached_into() -> None:
    alpha, red, green = disc(256, 100), flat(0.8, 0.2, 0.1, side=256), flat(0.1, 0.7, 0.3, side=256)
    found = estimate_foreground(mixed(red, green, alpha), alpha)
    assert (found - red)[:, alpha > 0.1].abs().max() < 0.03


def test_solid_pixels_stay_bit_for_bit() -> None:
    rng = torch.Generator().manual_seed(0)
    rgb, alpha = torch.rand(3, 70, 90, generator=rng), torch.rand(70, 90, generator=rng)
    alpha[alpha > 0.6] = 1
    found = estimate_foreground(rgb, alpha)
    assert torch.equal(found[:, alpha == 1], rgb[:, alpha == 1])
    assert not torch.equal(found[:, alpha < 1], rgb[:, alpha < 1])
    assert float(found.min()) >= 0 and float(found.max()) <= 1
    assert torch.equal(estimate_foreground(rgb, torch.ones_like(alpha)), rgb)


def test_a_matte_that_is_nearly_solid_is_solid(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sigmoid never says 0 or 1; most of a frame must not be worked on for that, nor be blurred."""
    worked: list[torch.Size] = []
    sums = foreground.window_sums
    monkeypatch.setattr(foreground, "window_sums", lambda x, radius: (worked.append(x.shape), sums(x, radius))[1])
    rgb = torch.rand(3, 512, 512, generator=torch.Generator().manual_seed(0))
    alpha = torch.full((512, 512), 1e-4)
    alpha[:130] = 1 - 1e-4
    found = estimate_foreground(rgb, alpha, levels=2)
    assert torch.equal(found[:, :130], rgb[:, :130])
    assert not worked


def test_a_frame_without_a_subject_has_colours_all_the_same() -> None:
    found = estimate_foreground(flat(0.2, 0.4, 0.6), torch.zeros(96, 96))
    torch.testing.assert_close(found, flat(0.2, 0.4, 0.6).contiguous())


@pytest.mark.parametrize("moving", [False, True])
def test_it_flickers_no_more_than_its_footage(moving: bool) -> None:
    rng = np.random.default_rng(1)
    fore, back = (torch.from_numpy(drawn(rng, 160)).permute(2, 0, 1) for _ in range(2))
    clean, noisy, found, truth, edges = [], [], [], [], []
    for t in range(6):
        shift = 2 * t * moving
        alpha = disc(160, 16).roll(shift, 1)
        truth.append(fore.roll(shift, 2))
        clean.append(mixed(truth[-1], back, alpha))
        noisy.append((clean[-1] + 0.02 * torch.from_numpy(rng.standard_normal((3, 160, 160), np.float32))).clamp(0, 1))
        found.append(estimate_foreground(noisy[-1], alpha))
        edges.append(band(alpha))

    def flicker(frames: list[Tensor], steady: list[Tensor]) -> float:
        """Of the frames' errors, from each to the next, in the band of both."""
        errors = [frame - still for frame, still in zip(frames, steady, strict=True)]
        steps = [(b - a)[:, e & f] for a, b, e, f in zip(errors, errors[1:], edges, edges[1:], strict=False)]
        return float(torch.cat(steps, 1).square().mean().sqrt())

    # Without the stage, the cut-out would carry the frame's own colours.
    assert flicker(found, truth) < flicker(noisy, truth if moving else clean)


def test_levels_that_do_not_spread_are_nearly_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Textured colours and an edge of a few pixels; the error as a composite shows it."""
    rng = np.random.default_rng(2)
    fore, back = (torch.from_numpy(drawn(rng, 256)).permute(2, 0, 1) for _ in range(2))
    alpha = disc(256, 6)
    rgb = mixed(fore, back, alpha)
    errors = {}
    for large in (1000, 64):
        monkeypatch.setattr(foreground, "LARGE", large)
        found = estimate_foreground(rgb, alpha)
        errors[large] = float(((found - fore).square().mean(0) * alpha.square())[band(alpha)].mean())
    own = float(((rgb - fore).square().mean(0) * alpha.square())[band(alpha)].mean())
    assert errors[64] < 0.2 * own
    assert errors[64] < 2 * errors[1000]


def refined_plainly(image: Tensor, alpha: Tensor, before: Tensor, *, spread: bool) -> Tensor:
    """What a large level does, over the whole picture: (2, 3, H, W) of (3, H, W), (H, W) and (2, 3, H, W)."""
    shares = torch.stack([alpha, 1 - alpha])[:, None]
    steadiness, weights = shares.square().sum(0) + foreground.EDGE_RESERVE, shares.square() + foreground.LEAST
    luma = torch.tensor(foreground.LUMA)
    own, start = torch.einsum("c,chw->hw", luma, image)[None], torch.einsum("c,schw->shw", luma, before)[:, None]
    now = start
    for _ in range(foreground.ROUNDS if spread else 0):
        sums = window_sums(foreground.corrected(own, shares, steadiness, now) * weights, 1)
        now = sums / window_sums(weights, 1)
    return foreground.corrected(image, shares, steadiness, (before + now - start).clamp(0, 1))


@pytest.mark.parametrize("kind", [torch.float32, torch.uint8])
@pytest.mark.parametrize("spread", [False, True])
def test_tiles_of_large_levels_join_without_a_seam(
    monkeypatch: pytest.MonkeyPatch, kind: torch.dtype, spread: bool
) -> None:
    """Where an edge is steep, each tile is what the whole picture would be; elsewhere, what each pixel would be."""
    monkeypatch.setattr(foreground, "STEEP", 0 if spread else 2)
    monkeypatch.setattr(foreground, "BATCH", 5)
    rng = np.random.default_rng(6)
    planes = [drawn(rng, 192)[:160].copy() for _ in range(3)]
    alpha = cv2.resize(rng.random((20, 24), np.float32), (192, 160))
    pixels = [foreground.as_type(torch.from_numpy(plane), kind) for plane in planes]
    image, *before = (foreground.as_floats(each).permute(2, 0, 1) for each in pixels)
    wanted = refined_plainly(image, torch.from_numpy(alpha), torch.stack(before), spread=spread)
    everywhere = torch.ones(160, 192, dtype=torch.uint8)
    made = foreground._refined(pixels[0], torch.from_numpy(alpha), everywhere, pixels[1:])
    for found, side in zip(made, wanted, strict=True):
        inner = (foreground.as_floats(found).permute(2, 0, 1) - side)[:, 32:-32, 32:-32].abs()
        assert found.dtype == kind
        assert float(inner.max()) < (1e-4 if kind == torch.float32 else 3.5 / 255)
        assert float(inner.mean()) < (1e-5 if kind == torch.float32 else 0.6 / 255)


@pytest.mark.parametrize("kind", [torch.uint8, torch.uint16, torch.float32])
@pytest.mark.parametrize("shape", [(150, 230), (64, 128), (1, 200)])
def test_large_frames_keep_their_type_and_their_solid_pixels(
    monkeypatch: pytest.MonkeyPatch, kind: torch.dtype, shape: tuple[int, int]
) -> None:
    monkeypatch.setattr(foreground, "LARGE", 40)
    rng = np.random.default_rng(8)
    rgb = foreground.as_type(torch.from_numpy(rng.random((*shape, 3), np.float32)), kind).permute(2, 0, 1)
    alpha = torch.from_numpy(cv2.GaussianBlur(np.float32(rng.random(shape) > 0.5), (0, 0), 2)).sub(0.3).mul(2.5)
    alpha = alpha.clamp(0, 1)
    (made,) = ForegroundEstimator().push(Cutout(Frame(rgb, 0, 0), alpha))
    assert made.foreground is not None and made.foreground.dtype == kind and made.foreground.shape == rgb.shape
    found, own = made.foreground.permute(1, 2, 0).numpy(), rgb.permute(1, 2, 0).numpy()
    assert np.array_equal(found[alpha.numpy() == 1], own[alpha.numpy() == 1])


def test_corrected_colours_are_the_least_squares_solution() -> None:
    """Of αF + (1 − α)B = I, √R·F = √R·F₀ and √R·B = √R·B₀, pixel by pixel; none of them to be clamped."""
    rng = torch.Generator().manual_seed(4)
    alpha, image, before = (torch.rand(*shape, generator=rng) for shape in ((1, 8, 9), (3, 8, 9), (2, 3, 8, 9)))
    image, before = image / 4 + 0.375, before / 4 + 0.375
    shares = torch.stack([alpha, 1 - alpha])
    found = foreground.corrected(image, shares, shares.square().sum(0) + foreground.RESERVE, before)
    root = foreground.RESERVE**0.5
    pulls = root * torch.eye(2).expand(8, 9, 2, 2)
    equations = torch.cat([shares[:, 0].permute(1, 2, 0)[:, :, None], pulls], 2)
    given = torch.cat([image[None], root * before]).permute(2, 3, 0, 1)
    wanted = torch.linalg.lstsq(equations, given).solution.permute(2, 3, 0, 1)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_corrected_colours_carry_no_more_noise_than_the_picture() -> None:
    """At no alpha; without a reserve it would be a fifth more."""
    alpha = torch.linspace(0, 1, 101)[None, None]
    shares = torch.stack([alpha, 1 - alpha])
    steadiness = shares.square().sum(0) + foreground.RESERVE
    before = torch.full((2, 3, 1, 101), 0.25)
    darker, lighter = (
        foreground.corrected(torch.full((3, 1, 101), level), shares, steadiness, before)[0] for level in (0.25, 0.5)
    )
    assert float((lighter - darker).max()) <= 0.25 + 1e-5


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 4), (40, 33)])
def test_pixels_of_a_picture_at_twice_its_size_are_those_of_the_whole(shape: tuple[int, int]) -> None:
    planes = torch.rand(*shape, 4, generator=torch.Generator().manual_seed(5))
    whole = F.interpolate(planes.permute(2, 0, 1)[None], scale_factor=2, mode="bilinear")[0].permute(1, 2, 0)
    torch.testing.assert_close(foreground.doubled(planes), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("shape", "radius"), [((1, 1, 1, 1), 1), ((2, 3, 7, 4), 2), ((1, 3, 40, 33), 5)])
def test_sums_over_windows_are_the_same_by_every_method(shape: tuple[int, ...], radius: int) -> None:
    """A CPU has its own; frames have their channels last."""
    planes = torch.rand(shape, generator=torch.Generator().manual_seed(7)).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(window_sums(planes, radius), sums_of_slices(planes, radius), atol=1e-4, rtol=0)


def test_any_size_and_depth() -> None:
    for shape, levels in product([(1, 1), (1, 40), (2, 3), (129, 67)], [1, 4, 20]):
        rgb, alpha = torch.rand(3, *shape), torch.rand(*shape)
        found = estimate_foreground(rgb, alpha, levels=levels)
        assert found.shape == rgb.shape and found.isfinite().all()


@pytest.mark.parametrize(
    ("rgb", "alpha", "levels"),
    [
        (torch.rand(3, 4, 5), torch.rand(5, 4), 3),
        (torch.rand(4, 4, 5), torch.rand(4, 5), 3),
        (torch.rand(3, 0, 5), torch.rand(0, 5), 3),
        (torch.zeros(3, 4, 5, dtype=torch.uint8), torch.rand(4, 5), 3),
        (torch.rand(3, 4, 5), torch.rand(4, 5), 0),
    ],
)
def test_what_does_not_fit_is_refused(rgb: Tensor, alpha: Tensor, levels: int) -> None:
    with pytest.raises(ValueError):
        estimate_foreground(rgb, alpha, levels=levels)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_stage_fills_the_foreground_and_nothing_else(dtype: torch.dtype) -> None:
    rgb = mixed(flat(0.8, 0.2, 0.1), flat(0.1, 0.7, 0.3), disc())
    rgb = (255 * rgb).to(dtype) if dtype == torch.uint8 else rgb
    stage, given = ForegroundEstimator(), Cutout(Frame(rgb, 7, 3), disc())
    (made,) = stage.push(given)
    assert made.frame is given.frame and made.alpha is given.alpha
    assert made.foreground is not None
    expected = estimate_foreground(given.frame.as_float(), given.alpha)
    assert made.foreground.dtype == rgb.dtype
    torch.testing.assert_close(made.as_float(), expected, atol=1.5 / 255, rtol=0)  # bytes are halved as bytes
    assert list(stage.flush()) == []


@pytest.mark.parametrize("background", [None, "#203040"])
def test_files_hold_the_foreground(tmp_path: Path, background: str | None) -> None:
    """Straight cut-outs store it, composites are made of it: no green is left of the old background."""
    rgb = (255 * mixed(flat(0.8, 0.2, 0.1), flat(0.1, 0.7, 0.3), disc())).to(torch.uint8)
    (cutout,) = ForegroundEstimator().push(Cutout(Frame(rgb, 0, 0), disc()))
    still = tmp_path / "still.png"
    cv2.imwrite(str(still), rgb.permute(1, 2, 0).numpy()[..., ::-1])
    with (
        open_video(still) as source,
        open_writer(tmp_path / "out.png", source.info, background=background) as writer,
    ):
        writer.write(cutout)
    stored = torch.from_numpy(cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)[..., 2::-1].copy())
    stored = stored.permute(2, 0, 1).float() / 255
    new = flat(32 / 255, 48 / 255, 64 / 255)
    wanted = flat(0.8, 0.2, 0.1) if background is None else mixed(flat(0.8, 0.2, 0.1), new, disc())
    assert (stored - wanted)[:, disc() > 0.1].abs().max() < 0.03
    assert (rgb / 255 - wanted)[:, disc() > 0.1].abs().max() > 0.3


def test_the_command_decontaminates_unless_told_not_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = tmp_path / "still.png"
    picture = np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8)
    cv2.imwrite(str(still), picture)
    common = [str(still), "--model", "birefnet-nano", "--size", "64x64", "--device", "cpu", "--offline", "--json"]
    stages, stored = [], []
    for choice in ("on", "off"):
        path = tmp_path / f"{choice}.png"
        assert main([*common, "-o", str(path), "--decontaminate", choice]) == 0
        stages.append("ForegroundEstimator" in json.loads(capsys.readouterr().out)["stages"])
        stored.append(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., :3])
    assert stages == [True, False]
    assert np.array_equal(stored[1], picture) and not np.array_equal(stored[0], picture)


@pytest.mark.parametrize("kept", [1, 2])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_a_picture_refined_at_once_is_the_one_refined_by_tiles(kept: int, kind: torch.dtype) -> None:
    """A GPU does the former."""
    side, generator = 320, torch.Generator().manual_seed(3)
    alpha = torch.maximum(disc(side, 3), disc(side, 60).roll(40, 0) * 0.7)
    picture, *colors = (torch.rand(side, side, 3, generator=generator) for _ in range(3))
    if not kind.is_floating_point:
        picture, *colors = ((255 * each).to(kind) for each in (picture, *colors))
    codes = (255 * alpha).round().byte()
    edge = ((codes > 0) & (codes < 255)).byte()
    tiled = foreground._refined(picture, alpha, edge, [each.clone() for each in colors], kept)
    some = foreground.occupied(edge, foreground.TILE)
    steep = foreground.occupied((foreground._steepness(alpha) >= 128).byte(), foreground.TILE)
    steep[[0, -1]], steep[:, [0, -1]] = False, False
    assert steep.any() and (some & ~steep).any() and not some.all()
    whole = foreground.refined_whole(picture, alpha, colors, kept, some, steep)
    tolerance = 1 if kind == torch.uint8 else 1e-4
    for one, other in zip(tiled, whole, strict=True):
        assert one.dtype == other.dtype == kind
        torch.testing.assert_close(one.float(), other.float(), atol=tolerance, rtol=0)


@pytest.mark.parametrize("kind", [torch.uint8, torch.uint16, torch.float32])
@pytest.mark.parametrize("size", [(90, 130), (750, 1401)])
def test_a_gpus_operations_give_the_same_here(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], kind: torch.dtype
) -> None:
    """Tensors that do not say that they are a CPU's take the way of a GPU's."""
    height, width = size
    colors = cv2.resize(drawn(np.random.default_rng(3), 256), (width, height)).astype(np.float32)
    rgb = torch.from_numpy(colors).clamp(0, 1).permute(2, 0, 1)
    if not kind.is_floating_point:
        rgb = (rgb * (2 ** (8 * kind.itemsize) - 1)).round().to(kind)
    cutout = Cutout(Frame(rgb, 0, 0), F.pad(disc(min(size), 12), (0, width - min(size), 0, height - min(size))))
    expected = ForegroundEstimator().better(cutout).as_float()
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    found = ForegroundEstimator().better(cutout)
    assert found.foreground is not None and found.foreground.dtype == kind
    difference = 255 * (found.as_float() - expected).abs()
    assert difference.max() < 4 and (difference > 1.5).float().mean() < 1e-3


@pytest.mark.parametrize("kind", [torch.uint8, torch.uint16])
def test_a_gpu_is_never_waited_for(kind: torch.dtype) -> None:
    """On the device that only knows shapes, whatever asks for a value fails, and so does what mixes devices."""
    picture = torch.empty(1080, 1920, 3, dtype=kind, device="meta").permute(2, 0, 1)
    for lift in (Lift(), DetailRefiner()):
        cutout = Cutout(Frame(picture, 0, 0), torch.empty(320, 320, device="meta"))
        for stage in (lift, ForegroundEstimator()):
            cutout = stage.better(cutout)
    assert cutout.foreground is not None and cutout.alpha.shape == cutout.foreground.shape[1:] == (1080, 1920)
    assert cutout.foreground.device.type == "meta" and cutout.foreground.dtype == kind


DEVICES = (None, "cuda")


@pytest.mark.gpu
def test_a_gpu_gives_the_same() -> None:
    rgb, alpha = torch.rand(3, 200, 300), disc(300, 20)[:200]
    there = estimate_foreground(rgb.cuda(), alpha.cuda()).cpu()
    torch.testing.assert_close(there, estimate_foreground(rgb, alpha), atol=1e-4, rtol=0)
    picture = (255 * torch.rand(3, 1080, 1920)).byte()
    both = [ForegroundEstimator(each).better(Cutout(Frame(picture, 0, 0), disc(1920, 9)[:1080])) for each in DEVICES]
    here, there = (each.foreground for each in both)
    assert here is not None and there is not None and there.is_cuda
    assert (there.cpu().int() - here.int()).abs().max() <= 1


def test_a_matte_alone_takes_no_time_for_colours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = write_clip(tmp_path / "clip.mp4", pts=even_pts(2))
    common = ["--model", "birefnet-nano", "--device", "cpu", "--offline", "--despill", "green", "--json"]
    assert main([str(given), "--matte", str(tmp_path / "matte.mov"), *common]) == 0
    assert json.loads(capsys.readouterr().out)["stages"] == ["ClipColors", "TemporalSmoother", "Lift"]
    both = ["--matte", str(tmp_path / "matte.mov"), "-o", str(tmp_path / "plate.mov"), "--overwrite"]
    assert main([str(given), *both, *common]) == 0
    assert json.loads(capsys.readouterr().out)["stages"][3:] == ["ForegroundEstimator", "Despill"]
