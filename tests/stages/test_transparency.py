"""A transparent matte is asked for in few frames, carried to all others, and joined where it belongs alone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from streammatte.errors import InputError, OutOfMemory
from streammatte.frame import Cutout, Frame
from streammatte.motion import Motion
from streammatte.quality.metrics import dtssd
from streammatte.stages.motion_links import Linker
from streammatte.stages.transparent.blending import joined
from streammatte.stages.transparent.carrying import Crop, Step, step
from streammatte.stages.transparent.refiner import TransparencyRefiner
from streammatte.stages.transparent.regions import BoxRegion, Finder, checked_box
from training.flicker import solid_or_nothing
from training.see_through import SEE_THROUGH, SeeThroughClip, make_see_through

pytestmark = pytest.mark.unit

HEIGHT, WIDTH = 72, 128
Planes = NDArray[np.float32]
Masks = NDArray[np.bool_]


@dataclass
class Known:
    """A keyframe model that answers from the truth."""

    alpha: Planes
    regions: dict[int, Masks] = field(default_factory=dict)

    def __call__(self, frame: Frame, region: torch.Tensor) -> torch.Tensor:
        self.regions[frame.index] = region.numpy()
        return torch.from_numpy(self.alpha[frame.index])


@dataclass
class Drawn:
    """A guide of a mask for each frame."""

    planes: Masks

    def at(self, frame: Frame) -> torch.Tensor:
        return torch.from_numpy(self.planes[frame.index].astype(np.float32))


@cache
def clip_of(name: str) -> SeeThroughClip:
    return make_see_through(name, WIDTH, HEIGHT, 26, seed=1)


@cache
def mask_of(name: str) -> Masks:
    return np.stack([cv2.dilate(each.astype(np.uint8), np.ones((3, 3))) > 0 for each in clip_of(name).region])


def cutouts_of(rgb: NDArray[np.uint8], alpha: Planes) -> list[Cutout]:
    pairs = enumerate(zip(rgb, alpha, strict=True))
    return [
        Cutout(Frame(torch.from_numpy(picture).permute(2, 0, 1), at, at), torch.from_numpy(matte))
        for at, (picture, matte) in pairs
    ]


def through(stage: TransparencyRefiner, cutouts: Iterable[Cutout]) -> list[Cutout]:
    return [after for each in cutouts for after in stage.push(each)] + list(stage.flush())


def alphas(cutouts: Sequence[Cutout]) -> Planes:
    return np.stack([each.alpha.numpy() for each in cutouts])


def texture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)
    return np.asarray(cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.5), None, 0, 255, cv2.NORM_MINMAX), np.uint8)


def still(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.stack([texture(seed)] * count)


def square(count: int, x: int = 40) -> Masks:
    mask = np.zeros((count, HEIGHT, WIDTH), np.bool_)
    mask[:, 20:52, x : x + 40] = True
    return mask


def glassy(count: int) -> Planes:
    """0.4 in the square, and a solid bar within it."""
    alpha = 0.4 * square(count).astype(np.float32)
    alpha[:, 30:40, 40:80] = 1
    return alpha


@pytest.mark.parametrize("name", SEE_THROUGH)
def test_a_known_matte_is_carried_to_the_frames_between(name: str) -> None:
    clip, mask = clip_of(name), mask_of(name)
    raw = solid_or_nothing(clip.alpha, clip.region)
    after = alphas(through(TransparencyRefiner(Known(clip.alpha), region=Drawn(mask)), cutouts_of(clip.rgb, raw)))
    inside = [np.abs(each - clip.alpha)[clip.region].mean() for each in (after, raw)]
    assert inside[0] <= 0.35 * inside[1] and dtssd(after, clip.alpha) <= dtssd(raw, clip.alpha)
    assert np.array_equal(after[~mask], raw[~mask])


@pytest.mark.parametrize("count", [0, 1, 2, 7, 15])
def test_every_cutout_leaves_once_in_order_with_its_own_frame(count: int) -> None:
    cutouts = cutouts_of(still(count), np.zeros((count, HEIGHT, WIDTH), np.float32)) if count else []
    stage = TransparencyRefiner(Known(glassy(count)), every=6, region=Drawn(square(count)))
    assert [each.frame for each in through(stage, cutouts)] == [each.frame for each in cutouts]


def test_without_a_region_an_alpha_stays_as_it_is() -> None:
    cutouts = cutouts_of(still(4), glassy(4))
    stage = TransparencyRefiner(Known(glassy(4)), region=Drawn(np.zeros((4, HEIGHT, WIDTH), np.bool_)))
    assert all(after.alpha is before.alpha for before, after in zip(cutouts, through(stage, cutouts), strict=True))
    assert stage.keyframes == []


def test_in_a_still_shot_all_frames_are_as_the_keyframe() -> None:
    cutouts = cutouts_of(still(14), np.zeros((14, HEIGHT, WIDTH), np.float32))
    after = alphas(through(TransparencyRefiner(Known(glassy(14)), region=Drawn(square(14))), cutouts))
    assert np.abs(after - after[0]).max() < 1e-3 and after[0, 45, 60] == np.float32(0.4)


def test_what_both_call_solid_or_nothing_stays_bit_for_bit() -> None:
    truth, mask = glassy(14), square(14)
    raw = np.where(truth > 0.9, np.float32(0.9931), np.float32(0.0041))
    after = alphas(through(TransparencyRefiner(Known(truth), region=Drawn(mask)), cutouts_of(still(14), raw)))
    solid = np.zeros_like(mask)
    solid[:, 32:38, 42:78] = True
    assert np.array_equal(after[solid], raw[solid]) and np.array_equal(after[~mask], raw[~mask])
    assert np.abs(after[:, 45, 60] - 0.4).max() < 1e-3


def test_where_one_is_solid_and_the_other_not_there_is_no_step() -> None:
    """The new matte rises from nothing to solid, the old one is solid: the sum rises evenly, too."""
    mask = np.ones((HEIGHT, WIDTH), np.bool_)
    ramp = np.linspace(0, 1, WIDTH, dtype=np.float32)[None].repeat(HEIGHT, 0)
    cutout = cutouts_of(still(1), np.ones((1, HEIGHT, WIDTH), np.float32))[0]
    after = joined(cutout, mask, ramp, Crop.around(mask, mask.shape)).alpha.numpy()
    assert np.diff(after, axis=1).min() >= 0 and np.diff(after, axis=1).max() < 3 / WIDTH


def test_a_keyframe_comes_every_so_many_frames_and_last() -> None:
    cutouts = cutouts_of(still(24), np.zeros((24, HEIGHT, WIDTH), np.float32))
    known = Known(glassy(24))
    stage = TransparencyRefiner(known, every=6, region=Drawn(square(24)))
    through(stage, cutouts)
    assert stage.keyframes == list(known.regions) == [0, 6, 12, 18, 23]
    assert np.array_equal(known.regions[6], square(1)[0])


def test_a_shot_begins_with_a_keyframe_and_nothing_crosses_the_cut() -> None:
    rgb = np.concatenate([still(5), still(5, 7)])
    truth = np.concatenate([glassy(5), 0.9 * glassy(5)])
    raw = np.zeros_like(truth)
    stage = TransparencyRefiner(Known(truth), every=8, region=Drawn(square(10)))
    after = alphas(through(stage, cutouts_of(rgb, raw)))
    assert stage.keyframes == [0, 5, 8]
    assert np.abs(after[:5, 45, 60] - 0.4).max() < 1e-3 and np.abs(after[5:, 45, 60] - 0.36).max() < 1e-3


def test_where_the_picture_is_another_one_a_keyframe_is_due() -> None:
    """Within the square all changes at frame 5, and the shot goes on."""
    rgb = still(12)
    rgb[5:, 20:52, 40:80] = texture(9)[20:52, 40:80]
    cutouts = cutouts_of(rgb, np.zeros((12, HEIGHT, WIDTH), np.float32))
    stage = TransparencyRefiner(Known(glassy(12)), every=12, region=Drawn(square(12)))
    through(stage, cutouts)
    assert stage.keyframes[:2] == [0, 5]


def test_what_joins_the_region_is_matted_soon() -> None:
    mask = square(12)
    mask[6:, 10:60, 90:120] = True
    stage = TransparencyRefiner(Known(glassy(12)), every=12, region=Drawn(mask))
    through(stage, cutouts_of(still(12), np.zeros((12, HEIGHT, WIDTH), np.float32)))
    assert stage.keyframes[:2] == [0, 6]


def test_fewer_cutouts_wait_than_lie_between_keyframes() -> None:
    """Nor is anything of the others kept."""
    alive: list[weakref.ref[torch.Tensor]] = []
    stage = TransparencyRefiner(Known(glassy(30)), every=5, region=Drawn(square(30)))
    frame = cutouts_of(still(1), np.zeros((1, HEIGHT, WIDTH), np.float32))[0].frame
    for index in range(30):
        each = Cutout(Frame(frame.rgb, index, index), torch.zeros(HEIGHT, WIDTH))
        alive.append(weakref.ref(each.alpha))
        for after in stage.push(each):
            del after
        del each
        if index % 7 == 6:
            gc.collect()
            assert sum(reference() is not None for reference in alive) <= 5


@pytest.mark.parametrize("kind", ["mask", "found"])
def test_where_a_run_begins_has_no_say_beyond_the_stages_reach(kind: str) -> None:
    clip, mask = clip_of("bottle"), mask_of("bottle")
    raw = np.where(clip.region, np.float32(0.5), clip.alpha) if kind == "found" else clip.alpha * (1 - clip.region)
    cutouts = cutouts_of(clip.rgb, raw.astype(np.float32))
    regions: dict[str, Any] = {"mask": Drawn(mask), "found": None}

    def made(given: Sequence[Cutout]) -> tuple[dict[int, Planes], TransparencyRefiner]:
        stage = TransparencyRefiner(Known(clip.alpha), every=3, region=regions[kind])
        return {each.frame.index: each.alpha.numpy() for each in through(stage, given)}, stage

    whole, stage = made(cutouts)
    for start in (1, 4, 6):
        part, _ = made(cutouts[start:])
        assert stage.keyframes and stage.ahead == 3 and start + stage.behind < len(cutouts)
        for index in range(start + stage.behind, len(cutouts)):
            assert np.array_equal(whole[index], part[index]), (start, index)


def test_what_the_model_raises_passes_through() -> None:
    def full(frame: Frame, region: torch.Tensor) -> torch.Tensor:
        raise OutOfMemory("no room")

    with pytest.raises(OutOfMemory, match="no room"):
        through(TransparencyRefiner(full, region=Drawn(square(1))), cutouts_of(still(1), glassy(1)))


@pytest.mark.parametrize(
    "box", [(0, 0, 129, 72), (-1, 0, 10, 10), (200, 10, 240, 20), (10, 10, 10, 20), (30, 10, 20, 20)]
)
def test_a_box_that_is_not_within_the_frame_is_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="--transparent") as raised:
        through(TransparencyRefiner(Known(glassy(1)), region=box), cutouts_of(still(1), glassy(1)))
    assert raised.value.hint is not None
    assert checked_box((0, 0, WIDTH, HEIGHT), WIDTH, HEIGHT) == (0, 0, WIDTH, HEIGHT)


def test_a_box_goes_along_with_what_is_in_it() -> None:
    """A textured square moves by 2 pixels a frame over another texture, which stands still."""
    rgb, mask = still(14), np.stack([square(1, 20 + 2 * at)[0] for at in range(14)])
    for at in range(14):
        rgb[at][mask[at]] = texture(5)[20:52, 40:80].reshape(-1, 3)
    known = Known(0.5 * mask.astype(np.float32))
    stage = TransparencyRefiner(known, every=12, region=(16, 16, 64, 56))
    after = alphas(through(stage, cutouts_of(rgb, np.zeros_like(known.alpha))))
    last, region = max(known.regions.items())
    assert last > 9 and abs(np.flatnonzero(region.any(0))[0] - (16 + 2 * last)) <= 2
    assert np.abs(after - known.alpha)[mask].mean() < 0.02


def test_a_box_ends_with_its_shot() -> None:
    rgb = np.concatenate([still(3), still(3, 7)])
    cutouts = cutouts_of(rgb, np.zeros((6, HEIGHT, WIDTH), np.float32))
    after = through(TransparencyRefiner(Known(glassy(6)), region=(30, 10, 90, 60)), cutouts)
    assert [each.alpha is before.alpha for each, before in zip(after, cutouts, strict=True)] == 3 * [False] + 3 * [True]


def found_in(mattes: Sequence[Planes], every: int = 100) -> list[bool]:
    finder, link = Finder(Motion(), every), Linker()
    cutouts = cutouts_of(still(len(mattes)), np.stack(mattes))
    return [finder.at(each.frame.index, each.alpha.numpy(), link.of(each)) is not None for each in cutouts]


def test_doubt_over_an_area_is_found_and_an_edge_is_not() -> None:
    solid = np.zeros((HEIGHT, WIDTH), np.float32)
    solid[10:, 50:90] = 1
    soft = np.asarray(cv2.GaussianBlur(solid, (0, 0), 1.5), np.float32)
    assert not any(found_in([soft] * 8))
    doubtful = np.where(square(1)[0], np.float32(0.5), solid)
    assert all(found_in([doubtful] * 4))  # from the first frame on
    assert found_in([soft] * 3 + [doubtful] * 5) == [False] * 5 + [True] * 3


def test_what_turns_while_the_picture_stays_is_found_and_one_pop_is_not() -> None:
    on, off = square(1)[0].astype(np.float32), np.zeros((HEIGHT, WIDTH), np.float32)
    assert any(found_in([on, off, on, off, on, off]))
    assert not any(found_in([on, on, on, off, off, off]))


def test_what_was_found_long_ago_has_gone_by_the_block_after_the_next() -> None:
    doubtful, nothing = 0.5 * square(1)[0].astype(np.float32), np.zeros((HEIGHT, WIDTH), np.float32)
    assert found_in([doubtful] * 4 + [nothing] * 12, every=4)[8:] == [False] * 8


def test_a_region_moves_as_its_rim_does() -> None:
    """A shift, a turn and a scale come back; a half of it that moves otherwise does not change that."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    turn = np.array([[1.01, -0.03, 2.5], [0.03, 1.01, -1.5]])
    flow = np.dstack(
        [turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] - x, turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] - y]
    )
    flow[30:44, 50:70] += 6
    found = step(np.asarray(flow, np.float32), square(1)[0])
    np.testing.assert_allclose(found.piece, turn, atol=0.05)
    np.testing.assert_allclose(found.along("piece")[square(1)[0]][:5], flow[square(1)[0]][:5], atol=0.3)
    assert not found.along("still").any()


def test_steps_follow_each_other() -> None:
    region = square(1)[0]
    one = step(np.full((HEIGHT, WIDTH, 2), 1.5, np.float32), region)
    two: Step = one.then(one, Motion())
    for way in ("flow", "piece"):
        np.testing.assert_allclose(two.along(way), 3, atol=1e-4)


def test_frames_of_any_size_and_depth() -> None:
    for shape, kind in product([(1, 1), (3, 50), (37, 53)], [np.uint8, np.uint16, np.float32]):
        largest = 1 if kind is np.float32 else np.iinfo(kind).max
        rgb = np.stack([(texture(0, *shape) / 255 * largest).astype(kind)] * 5)
        stage = TransparencyRefiner(
            lambda frame, region: region.float() / 2, every=3, region=Drawn(np.ones((5, *shape), bool))
        )
        after = through(stage, cutouts_of(rgb, np.ones((5, *shape), np.float32)))
        assert all(each.alpha.shape == shape and each.alpha.dtype == torch.float32 for each in after)
        assert alphas(after).max() <= 0.5


def test_mattes_of_every_size_come_to_one_grid() -> None:
    """So does the model's answer, whose detail is kept, and so do frames without a region."""
    fine = (np.indices((64, 1024)).sum(0) // 2 % 2).astype(np.float32) * 0.5 + 0.2
    rgb = np.stack([cv2.resize(texture(4, 64, 1024), (2048, 128), interpolation=cv2.INTER_CUBIC)] * 8)
    masks = np.zeros((8, 128, 2048), np.bool_)
    masks[:4] = True
    stage = TransparencyRefiner(lambda frame, region: torch.from_numpy(fine), every=12, region=Drawn(masks))
    after = alphas(through(stage, cutouts_of(rgb, np.zeros((8, 16, 16), np.float32))))
    assert after.shape == (8, 64, 1024)
    assert np.abs(after[:4] - fine)[:, 8:-8, 8:-8].max() < 1e-3 and not after[4:].any()


def test_other_sizes_begin_anew() -> None:
    cutouts = cutouts_of(still(3), np.zeros((3, HEIGHT, WIDTH), np.float32))
    other = Cutout(Frame(torch.zeros(3, 40, 50, dtype=torch.uint8), 3, 3), torch.zeros(40, 50))
    regions: Callable[[Frame], torch.Tensor] = lambda frame: torch.ones(frame.rgb.shape[1:])  # noqa: E731

    class Whole:
        at = staticmethod(regions)

    stage = TransparencyRefiner(lambda frame, region: region.float() / 2, region=Whole())
    assert [float(each.alpha.max()) for each in through(stage, [*cutouts, other])] == [0.5] * 4
    assert stage.keyframes == [0, 3]


@pytest.mark.parametrize("name", SEE_THROUGH)
def test_see_through_clips_are_whole_and_decided_by_their_seed(name: str) -> None:
    clip, again, other = (make_see_through(name, 64, 36, 2, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(clip.rgb, again.rgb) and np.array_equal(clip.alpha, again.alpha)
    assert not np.array_equal(clip.rgb, other.rgb)
    assert clip.region.shape == clip.alpha.shape == (2, 36, 64) and clip.foreground.shape == (2, 36, 64, 3)
    assert 0.02 < clip.region.mean() < 0.9 and 0.05 < clip.alpha[clip.region].mean() < 0.8
    assert np.array_equal(solid_or_nothing(clip.alpha, clip.region)[~clip.region], clip.alpha[~clip.region])


def test_what_a_keyframe_sees_through_beside_a_found_region_joins_it() -> None:
    truth = 0.5 * square(10).astype(np.float32)
    raw = np.where(np.arange(WIDTH) < 70, truth, 0).astype(np.float32)  # the right quarter is taken for nothing
    after = alphas(through(TransparencyRefiner(Known(truth), every=4, region=None), cutouts_of(still(10), raw)))
    assert after[0, 30, 76] > 0.3 and after[9, 30, 76] > 0.3


def test_a_box_on_the_border_stays_there() -> None:
    """What stands in it is cut off by the frame; when it rises, more of it comes in from below."""
    box = BoxRegion((20, 30, 50, HEIGHT))
    box.shift = np.array([3.0, -7.0])
    mask = box.mask(HEIGHT, WIDTH)
    assert mask[23:, 23:53].all() and np.count_nonzero(mask) == (HEIGHT - 23) * 30


def test_where_a_box_ends_is_known() -> None:
    rgb = np.concatenate([still(5), still(5, 7)])
    truth = np.concatenate([glassy(5), glassy(5)])
    stage = TransparencyRefiner(Known(truth), every=8, region=(40, 30, 80, 60))
    through(stage, cutouts_of(rgb, np.zeros_like(truth)))
    assert stage.left == 5


def test_nobody_who_answers_leaves_all_as_it_is() -> None:
    cutouts = cutouts_of(still(9), np.zeros((9, HEIGHT, WIDTH), np.float32))
    stage = TransparencyRefiner(lambda frame, region: None, every=4, region=Drawn(square(9)))
    after = through(stage, cutouts)
    assert [each.alpha is before.alpha for each, before in zip(after, cutouts, strict=True)] == [True] * 9
    assert stage.keyframes == []


def test_frames_of_another_size_begin_anew_whatever_they_are_reduced_to() -> None:
    small, large = still(3), np.repeat(np.repeat(still(3), 2, axis=1), 2, axis=2)
    masks = [square(3), np.repeat(np.repeat(square(3), 2, axis=1), 2, axis=2)]
    truths = [glassy(3), np.repeat(np.repeat(glassy(3), 2, axis=1), 2, axis=2)]
    asked: list[tuple[int, ...]] = []

    def answer(frame: Frame, region: torch.Tensor) -> torch.Tensor:
        asked.append(tuple(region.shape))
        return torch.from_numpy(truths[len(asked) - 1][0])

    class Both:
        def at(self, frame: Frame) -> torch.Tensor:
            return torch.from_numpy(masks[frame.rgb.shape[1] > HEIGHT][0].astype(np.float32))

    stage = TransparencyRefiner(answer, every=8, region=Both())
    first, second = cutouts_of(small, np.zeros_like(truths[0])), cutouts_of(large, np.zeros_like(truths[1]))
    second = [replace(cutout, frame=replace(cutout.frame, index=3 + place)) for place, cutout in enumerate(second)]
    after = through(stage, [*first, *second])
    assert asked == [(HEIGHT, WIDTH), (2 * HEIGHT, 2 * WIDTH)]
    assert [cutout.alpha.shape[0] for cutout in after] == [HEIGHT] * 3 + [2 * HEIGHT] * 3


def test_a_region_begins_without_a_seam() -> None:
    mask = np.zeros((100, 1000), np.bool_)
    mask[10:90, 100:900] = True
    cutout = Cutout(Frame(torch.zeros(3, 100, 1000, dtype=torch.uint8), 0, 0), torch.zeros(100, 1000))
    crop = Crop.around(mask, mask.shape)
    after = joined(cutout, mask, np.full((82, 802), 0.5, np.float32), crop).alpha.numpy()
    rise = after[50, 99:106]
    assert rise[0] == 0 and rise[-1] == pytest.approx(0.5) and np.diff(rise).max() < 0.2
