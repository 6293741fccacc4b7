"""Smoothing over time mends what one frame gets wrong, and leaves alone what moves, what is new and what is right."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.clips import even_pts, write_clip

from streammatte.cli.main import main
from streammatte.frame import Cutout, Frame
from streammatte.motion import SLACK, Link, Motion, Picture, View, relit, same_shot
from streammatte.pipeline import matte
from streammatte.quality.metrics import dtssd, grad, mad
from streammatte.stages import TemporalSmoother, TransparencyRefiner
from streammatte.stages.motion_links import Linker, picture_of
from streammatte.stages.temporal import heard, middle
from training.clips import NAMES, make_clip
from training.flicker import flickering

pytestmark = pytest.mark.unit

HEIGHT, WIDTH = 72, 96
Planes = NDArray[np.float32]


def texture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Something for motion to be told by, (height, width, 3)."""
    noise = np.random.default_rng(seed).normal(0, 1, (height, width, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.asarray((128 + 200 * soft).clip(0, 255), np.uint8)


def disc(x: float, y: float = HEIGHT / 2, radius: float = 20) -> Planes:
    """An alpha with a soft edge."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.asarray((radius + 0.5 - np.hypot(columns - x, rows - y)).clip(0, 1), np.float32)


def still(seed: int, count: int) -> list[Cutout]:
    """A disc that stays where it is."""
    alpha = disc(WIDTH / 2)
    rgb = np.where(alpha[..., None] > 0.5, texture(seed), texture(seed + 1))
    return [cutout(rgb, alpha, index) for index in range(count)]


def moving(count: int, step: float = 3.0) -> list[Cutout]:
    """A textured disc that crosses another texture; its alpha is right."""
    behind, cloth, cutouts = texture(1), texture(2), []
    for index in range(count):
        alpha = disc(24 + step * index)
        shift = np.array([[1, 0, step * index], [0, 1, 0]], np.float64)
        front = cv2.warpAffine(cloth, shift, (WIDTH, HEIGHT), borderMode=cv2.BORDER_WRAP)
        rgb = np.rint(front * alpha[..., None] + behind * (1 - alpha[..., None]))
        cutouts.append(cutout(rgb.astype(np.uint8), alpha, index))
    return cutouts


def cutout(rgb: NDArray[Any], alpha: Planes, index: int = 0) -> Cutout:
    planes = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)
    return Cutout(Frame(planes, 10 * index, index), torch.from_numpy(alpha))


def spoilt(cutouts: Sequence[Cutout], index: int, change: Planes | float) -> list[Cutout]:
    """The same cut-outs, one alpha multiplied by ``change``."""
    worse = Cutout(cutouts[index].frame, cutouts[index].alpha * torch.as_tensor(change))
    return [*cutouts[:index], worse, *cutouts[index + 1 :]]


def through(stage: TemporalSmoother, cutouts: Sequence[Cutout]) -> list[Cutout]:
    return [after for each in cutouts for after in stage.push(each)] + list(stage.flush())


def alphas(cutouts: Sequence[Cutout]) -> Planes:
    return np.stack([each.alpha.numpy() for each in cutouts])


def test_every_cutout_leaves_once_in_order_with_its_own_frame() -> None:
    for lookahead, count in product([0, 1, 4, None], [0, 1, 2, 12]):
        cutouts = moving(count)
        after = through(TemporalSmoother(lookahead=lookahead), cutouts)
        assert [each.frame for each in after] == [each.frame for each in cutouts]


@pytest.mark.parametrize("lookahead", [0, 2])
def test_no_more_cutouts_wait_than_it_looks_ahead(lookahead: int) -> None:
    stage = TemporalSmoother(lookahead=lookahead)
    leaving = [len(list(stage.push(each))) for each in still(0, 8)]
    assert leaving == [0] * lookahead + [1] * (8 - lookahead)
    assert len(list(stage.flush())) == lookahead


def test_several_frames_at_a_time_are_steadied_as_one_after_the_other() -> None:
    """Also across a cut."""
    cutouts = [*spoilt(moving(14), 5, 1 - disc(45, radius=8)), *still(7, 9)]
    alone, beside = TemporalSmoother(), TemporalSmoother(hands=3)
    expected, found = through(alone, cutouts), through(beside, cutouts)
    assert [each.frame for each in found] == [each.frame for each in cutouts]
    assert np.array_equal(alphas(found), alphas(expected))
    assert beside.mended == alone.mended and alone.mended


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_constant_matte_stays_as_it_is(value: float) -> None:
    alpha = torch.full((HEIGHT, WIDTH), value)
    cutouts = [Cutout(each.frame, alpha) for each in moving(6)]
    assert all(torch.equal(after.alpha, alpha) for after in through(TemporalSmoother(), cutouts))


def test_a_right_matte_of_a_still_shot_stays_as_it_is() -> None:
    cutouts = still(0, 6)
    assert all(torch.equal(after.alpha, cutouts[0].alpha) for after in through(TemporalSmoother(), cutouts))


@pytest.mark.parametrize("lookahead", [0, None])
@pytest.mark.parametrize("make", [lambda: still(0, 12), lambda: moving(12)], ids=["still", "moving"])
@pytest.mark.parametrize("change", [1 - disc(45, radius=8), 0.0], ids=["hole", "dropout"])
def test_what_one_frame_drops_is_mended(change: Planes | float, make: Any, lookahead: int | None) -> None:
    cutouts = make()
    after = through(TemporalSmoother(lookahead=lookahead), spoilt(cutouts, 7, change))
    whole, broken = cutouts[7].alpha.numpy(), (cutouts[7].alpha * torch.as_tensor(change)).numpy()
    assert mad(after[7].alpha.numpy(), whole) < (0.15 if lookahead == 0 else 0.1) * mad(broken, whole)


def test_a_right_matte_that_moves_neither_lags_nor_softens() -> None:
    cutouts = moving(14, step=4.0)
    for before, after in zip(cutouts, through(TemporalSmoother(), cutouts), strict=True):
        truth, ours = before.alpha.numpy(), after.alpha.numpy()
        assert mad(ours, truth) < 3  # a lag of one frame costs some 50
        assert grad(ours, truth) < 0.05


def test_a_thin_part_that_moves_fast_is_not_eaten() -> None:
    """A rod that jumps by many times its width, so that no flow follows it."""
    behind, cutouts = texture(3), []
    for index in range(8):
        alpha = np.zeros((HEIGHT, WIDTH), np.float32)
        alpha[10:60, 8 + 10 * index : 10 + 10 * index] = 1
        rgb = np.where(alpha[..., None] > 0, np.array([250, 40, 30]), behind).astype(np.uint8)
        cutouts.append(cutout(rgb, alpha, index))
    for before, after in zip(cutouts, through(TemporalSmoother(), cutouts), strict=True):
        rod = before.alpha.numpy() > 0
        assert after.alpha.numpy()[rod].mean() > 0.95
        assert after.alpha.numpy()[~rod].mean() < 0.005


@pytest.mark.parametrize("lookahead", [0, None])
def test_nothing_crosses_a_cut(lookahead: int | None) -> None:
    """Frames beside a cut are what each shot alone would give; their alphas say the opposite of each other."""
    first = spoilt(still(0, 6), 4, 0.5)
    second = spoilt([Cutout(each.frame, 1 - each.alpha) for each in still(7, 6)], 1, 0.5)
    together = through(TemporalSmoother(lookahead=lookahead), [*first, *second])
    apart = [after for shot in (first, second) for after in through(TemporalSmoother(lookahead=lookahead), shot)]
    assert np.array_equal(alphas(together), alphas(apart))


def in_light(cutouts: Sequence[Cutout], gains: Sequence[float]) -> list[Cutout]:
    """The same cut-outs, each in a light of its own."""
    return [
        Cutout(Frame((each.frame.rgb.float() * gain).clamp(0, 255).to(torch.uint8), 0, index), each.alpha)
        for index, (each, gain) in enumerate(zip(cutouts, gains, strict=True))
    ]


@pytest.mark.parametrize("gains", [[1.04, 0.96] * 4 + [1], [1.2, 0.8] * 4 + [1], [1] * 4 + [1.5] + [1] * 4])
def test_a_change_of_light_is_no_cut(gains: Sequence[float]) -> None:
    """A lamp that flickers, a flash: the frames around still mend a hole."""
    cutouts = in_light(still(0, 9), gains)
    after = through(TemporalSmoother(), spoilt(cutouts, 4, 0.0))
    assert mad(after[4].alpha.numpy(), cutouts[4].alpha.numpy()) < 10


@pytest.mark.parametrize("shade", [0, 250])
def test_a_cut_before_the_same_plain_wall_is_one(shade: int) -> None:
    """Most of the picture stays as it is; what has texture tells."""
    shots = []
    for x, seed in ((30, 0), (66, 3)):
        alpha = disc(x, radius=14)
        rgb = np.where(alpha[..., None] > 0.5, texture(seed), np.uint8(shade))
        shots.append(View.of(rgb.astype(np.uint8), alpha))
    motion = Motion()
    trust = motion.trust(shots[1], shots[0], motion.between(*shots)[1])
    assert trust.mean() > 0.5 and not same_shot(shots[1], shots[0], trust)
    assert same_shot(shots[0], shots[0], motion.trust(shots[0], shots[0], np.zeros((HEIGHT, WIDTH, 2), np.float32)))
    pictures = [Picture.of_rgb(np.ascontiguousarray(shot.rgba[..., :3])) for shot in shots]
    assert not Link(pictures[0], lambda: pictures[1]).one_shot and Link(pictures[0], lambda: pictures[0]).one_shot


@pytest.mark.parametrize("lookahead", [0, None])
def test_what_turns_and_stays_leaves_no_ghost(lookahead: int | None) -> None:
    """The network takes half of a disc for background from frame 8 on: every frame has it whole, or not at all."""
    cutouts, gone = still(0, 18), np.ones((HEIGHT, WIDTH), np.float32)
    gone[:, WIDTH // 2 :] = 0.02
    for index in range(8, 18):
        cutouts = spoilt(cutouts, index, gone)
    half = disc(WIDTH / 2)[:, WIDTH // 2 :] == 1
    after = alphas(through(TemporalSmoother(lookahead=lookahead), cutouts))[:, :, WIDTH // 2 :][:, half]
    assert ((after > 0.95) | (after < 0.05)).mean(axis=1).min() > 0.98
    turned = after.mean(axis=1) < 0.5
    assert turned[-1] and not turned[0] and np.count_nonzero(np.diff(turned.astype(int))) == 1


def test_grain_is_not_taken_for_change() -> None:
    rng, cutouts = np.random.default_rng(5), still(0, 9)
    for index, each in enumerate(cutouts):
        noisy = each.frame.rgb.float() + torch.from_numpy(rng.normal(0, 10, (3, HEIGHT, WIDTH)))
        cutouts[index] = Cutout(Frame(noisy.clamp(0, 255).to(torch.uint8), index, index), each.alpha)
    after = through(TemporalSmoother(), spoilt(cutouts, 4, 0.0))
    assert mad(after[4].alpha.numpy(), cutouts[4].alpha.numpy()) < 5  # of some 180 without


def test_no_more_is_held_than_the_window_needs() -> None:
    stage, alive = TemporalSmoother("low"), []
    for each in still(0, 1) * 20:
        mine = Cutout(each.frame, each.alpha.clone())
        alive.append(weakref.ref(mine.alpha))
        for after in stage.push(mine):
            del after
        del mine
    gc.collect()
    assert sum(reference() is not None for reference in alive) <= 2 * 2 + 1


def test_what_is_finer_than_it_works_at_stays() -> None:
    """A matte of 1600 pixels keeps its fine detail, and a dropout in it is mended all the same."""
    fine = (np.indices((64, 1600)).sum(0) % 2).astype(np.float32)
    rgb = cv2.resize(texture(4, 32, 800), (1600, 64), interpolation=cv2.INTER_CUBIC)
    cutouts = [cutout(rgb, fine, index) for index in range(5)]
    assert all(torch.equal(after.alpha, cutouts[0].alpha) for after in through(TemporalSmoother(), cutouts))
    solid = [cutout(rgb, np.ones_like(fine), index) for index in range(5)]
    assert through(TemporalSmoother(), spoilt(solid, 2, 0.0))[2].alpha.min() > 0.98


def test_frames_of_any_size_and_depth() -> None:
    for shape, kind in product([(1, 1), (2, 2), (3, 500), (37, 53)], [np.uint8, np.uint16, np.float32]):
        largest = 1 if kind is np.float32 else np.iinfo(kind).max  # type: ignore[type-var]
        rgb = (texture(0, *shape) / 255 * largest).astype(kind)
        cutouts = [
            cutout(rgb, np.full(shape, value, np.float32), index) for index, value in enumerate((1, 1, 0.2, 1, 1))
        ]
        after = through(TemporalSmoother(), cutouts)
        assert all(each.alpha.shape == shape and each.alpha.dtype == torch.float32 for each in after)
        assert alphas(after).min() > 0.98


@pytest.mark.parametrize("size", [(36, 36), (150, 200)])
def test_a_matte_of_another_size_than_its_frame_keeps_it(size: tuple[int, int]) -> None:
    """As a network's answer is: smaller or larger, and squashed."""
    alpha = torch.from_numpy(cv2.resize(disc(WIDTH / 2), size[::-1]))
    cutouts = [replace(each, alpha=alpha) for each in still(0, 9)]
    after = through(TemporalSmoother(), spoilt(cutouts, 4, 0.0))
    assert all(each.alpha.shape == size for each in after)
    assert mad(after[4].alpha.numpy(), alpha.numpy()) < 20  # of some 180 without
    assert torch.allclose(after[0].alpha, cutouts[0].alpha, atol=1e-5)


@pytest.mark.parametrize("lookahead", [0, 1, None])
def test_where_a_run_begins_has_no_say_beyond_the_stages_reach(lookahead: int | None) -> None:
    clip = make_clip("articulated", 96, 72, 14)
    cutouts = [cutout(*pair, index) for index, pair in enumerate(zip(clip.rgb, flickering(clip.alpha), strict=True))]
    stage = TemporalSmoother("low", lookahead)
    whole, start = alphas(through(stage, cutouts)), 3
    part = alphas(through(TemporalSmoother("low", lookahead), cutouts[start:]))
    assert np.array_equal(whole[start + stage.behind :], part[stage.behind :])
    end = len(cutouts) - 4
    assert np.array_equal(
        alphas(through(TemporalSmoother("low", lookahead), cutouts[:end]))[: end - stage.ahead],
        whole[: end - stage.ahead],
    )


def test_motion_is_told_once_a_pair_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stages that look at motion, and another who asks from many threads."""
    told: list[Any] = []
    flow = Motion.flow
    monkeypatch.setattr(Motion, "flow", lambda self, *pair: (told.append(pair), flow(self, *pair))[1])
    frames = [each.frame for each in still(0, 6)]
    refiner = TransparencyRefiner(lambda frame, region: torch.ones(frame.size), every=2, region=(8, 8, 60, 60))
    cutouts = list(matte(frames, lambda batch: [torch.ones(32, 32) for _ in batch], [refiner, TemporalSmoother()]))
    assert len(told) == 2 * 5, "there and back for each of five pairs"
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda each: each.link.one_shot, cutouts[1:] * 8))
    assert len(told) == 2 * 5 and not cutouts[0].link.one_shot


def test_a_link_holds_no_frame_but_its_own_and_that_until_it_has_looked() -> None:
    frames = [replace(each.frame, rgb=each.frame.rgb.clone()) for each in still(0, 3)]
    alive = [weakref.ref(frame.rgb) for frame in frames]
    linker = Linker()
    links = [linker(frame) for frame in frames]
    del frames
    gc.collect()
    assert [reference() is not None for reference in alive] == [False, False, True]
    assert links[2].one_shot
    gc.collect()
    assert alive[2]() is None


def test_frames_of_another_size_begin_anew() -> None:
    cutouts = [*still(0, 3), cutout(texture(0, 40, 50), np.ones((40, 50), np.float32), 3)]
    after = through(TemporalSmoother(), cutouts)
    assert np.array_equal(alphas(after[:3]), alphas(cutouts[:3])) and torch.equal(after[3].alpha, cutouts[3].alpha)


def test_trust_is_what_its_definition_says() -> None:
    """The plain formula, pixel by pixel and channel by channel."""
    here, there = (View.of(texture(seed), disc(40 + seed)) for seed in (1, 2))
    flow = cv2.GaussianBlur(texture(3)[..., :2].astype(np.float32) / 16 - 8, (0, 0), 4)
    motion = Motion()
    moved = relit(motion.moved(there.rgba, flow), here.rgba)[..., :3]
    excess = np.square((moved.astype(np.float64) - here.rgba[..., :3]) / 255).sum(2) / here.tolerance
    weight = np.square(here.alpha) + np.float32(1e-3)

    def mean(values: Planes) -> Planes:
        return np.asarray(cv2.GaussianBlur(values * weight, (0, 0), 1) / cv2.GaussianBlur(weight, (0, 0), 1))

    apart = [flow[..., axis] - mean(flow[..., axis]) for axis in (0, 1)]
    excess = mean(excess.astype(np.float32)) + sum(np.square(each / SLACK) for each in apart)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    within = (x >= -0.5) & (x <= WIDTH - 0.5) & (y >= -0.5) & (y <= HEIGHT - 0.5)
    assert not within.all()
    np.testing.assert_allclose(motion.trust(here, there, flow), np.exp(-excess / 2) * within, atol=1e-5)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_motion_is_told_from_a_small_picture_of_any_depth(kind: type[np.generic]) -> None:
    largest = 1 if kind is np.float32 else np.iinfo(kind).max  # type: ignore[type-var]
    rgb = (texture(6, 100, 1280) / 255 * largest).astype(kind)
    found = picture_of(Frame(torch.from_numpy(rgb).permute(2, 0, 1), 0, 0), 640)
    means = np.asarray(rgb / largest * 255, np.float64).reshape(50, 2, 640, 2, 3).mean((1, 3))
    assert found.size == (50, 640) and np.abs(found.rgba[..., :3] - means).mean() < 3


def test_the_middle_of_what_is_said() -> None:
    values = np.array([[0.1, 0.2, 0.3, 0.4, 9.0]], np.float32).T
    assert middle(values, np.ones_like(values)) == pytest.approx((0.2 * 0.75 + 0.3 + 0.4 * 0.75) / 2.5)
    assert middle(values, np.array([[1, 0, 0, 0, 0]], np.float32).T) == pytest.approx(0.1)
    assert middle(values, np.array([[1, 1, 1, 1, 0.01]], np.float32).T) < 0.4
    assert middle(values[:1], np.ones((1, 1), np.float32)) == pytest.approx(0.1)


def test_where_frames_are_divided_the_neighbourhood_decides() -> None:
    """Five of nine say 1 where this frame has 0, but for a spray of pixels at which four do: all are told the same."""
    alpha, where = np.zeros((40, 40), np.float32), np.ones((40, 40), bool)
    votes = np.where(np.random.default_rng(0).random((40, 40)) < 0.2, 4, 5)[where]
    values = (np.arange(9)[:, None] >= 9 - votes).astype(np.float32)
    weights = np.ones_like(values)
    alone, together = middle(values, weights), middle(values, weights * heard(alpha, values, weights, where))
    assert 0.1 < (alone == 0).mean() < 0.3 and (together == 1).all()


def test_a_few_divided_pixels_are_an_edge() -> None:
    alpha, where = np.zeros((40, 40), np.float32), np.zeros((40, 40), bool)
    where[:, 20] = True
    values = (np.arange(9)[:, None] >= 4).astype(np.float32).repeat(40, axis=1)
    assert heard(alpha, values, np.ones_like(values), where).all()


@pytest.mark.parametrize("name", ["articulated", "fast", "still"])
def test_a_networks_flicker_goes(name: str) -> None:
    clip = make_clip(name, 128, 72, 12)
    raw = flickering(clip.alpha)
    cutouts = [cutout(*pair, index) for index, pair in enumerate(zip(clip.rgb, raw, strict=True))]
    ours, causal = (alphas(through(TemporalSmoother(lookahead=lookahead), cutouts)) for lookahead in (None, 0))
    # Where a frame has 128 pixels, one of them is much; benchmarks/temporal.py has three times as many.
    assert dtssd(ours, clip.alpha) < 0.7 * dtssd(raw, clip.alpha)
    assert dtssd(causal, clip.alpha) < 0.8 * dtssd(raw, clip.alpha)
    assert np.abs(ours - clip.alpha).mean() < 0.9 * np.abs(raw - clip.alpha).mean()


@pytest.mark.parametrize("name", NAMES)
def test_clips_are_whole_and_decided_by_their_seed(name: str) -> None:
    clip, again, other = (make_clip(name, 64, 36, 4, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(clip.rgb, again.rgb) and np.array_equal(clip.alpha, again.alpha)
    assert not np.array_equal(clip.rgb, other.rgb)
    assert clip.rgb.shape == (4, 36, 64, 3) and clip.foreground.shape == (4, 36, 64, 3)
    assert clip.alpha.shape == (4, 36, 64) and clip.alpha.min() >= 0 and clip.alpha.max() > 0.9
    assert np.abs(clip.rgb / 255 - clip.foreground)[clip.alpha == 1].mean() < 0.02
    assert clip.cuts == ((2,) if name == "cut" else ())
    assert (np.ptp(clip.alpha, axis=0).max() == 0) == (name == "still")


@pytest.mark.parametrize(
    ("arguments", "stages"),
    [
        ([], ["TemporalSmoother", "Lift"]),
        (["--smooth", "off"], ["Lift"]),
        (["--smooth", "high", "--lookahead", "0"], ["TemporalSmoother", "Lift"]),
    ],
)
def test_the_command_smooths_unless_told_not_to(
    arguments: list[str], stages: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = write_clip(tmp_path / "clip.mp4", pts=even_pts(3))
    common = ["--model", "birefnet-nano", "--device", "cpu", "--offline", "--colors", "off"]
    common += ["--decontaminate", "off", "--json"]
    assert main([str(given), "-o", str(tmp_path / "out.mov"), *common, *arguments]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["stages"], summary["frames"]) == (stages, 3)


def test_a_lookahead_that_cannot_be_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = write_clip(tmp_path / "clip.mp4", pts=even_pts(3))
    for smooth, lookahead in (("medium", "9"), ("low", "5"), ("off", "0")):
        asked = ["--smooth", smooth, "--lookahead", lookahead]
        assert main([str(given), "-o", str(tmp_path / "out.mov"), *asked]) == 2
        error = capsys.readouterr().err.splitlines()[0]
        assert "--lookahead" in error
    assert not (tmp_path / "out.mov").exists()


def test_a_part_is_moved_and_trusted_as_in_the_whole() -> None:
    first, second = (View.of(np.roll(texture(1), step, 1), disc(40 + step)) for step in (0, 2))
    motion = Motion()
    _, back = motion.between(first, second)
    part = slice(10, 60), slice(15, 80)
    moved = motion.moved(first.alpha, back[part], sharp=True, part=part)
    np.testing.assert_allclose(moved, motion.moved(first.alpha, back, sharp=True)[part], atol=1e-6)
    trust = motion.trust(second.part(part), first, back[part], part)
    inner = slice(5, -5), slice(5, -5)  # a mean over the neighbourhood ends at the part's border
    np.testing.assert_allclose(trust[inner], motion.trust(second, first, back)[part][inner], atol=1e-5)


def test_what_differs_in_a_corner_is_steadied_there_and_nothing_elsewhere() -> None:
    alpha = disc(20, 20, 10)
    cutouts = [cutout(texture(1), alpha, index) for index in range(9)]
    cutouts = spoilt(cutouts, 4, np.float32(0))
    steadied = list(matte_of(cutouts))
    assert np.abs(steadied[4] - alpha).max() < 0.05
    assert not steadied[4][:, 60:].any()


def matte_of(cutouts: Sequence[Cutout]) -> list[Planes]:
    stage = TemporalSmoother()
    return [each.alpha.numpy() for one in cutouts for each in stage.push(one)] + [
        each.alpha.numpy() for each in stage.flush()
    ]
