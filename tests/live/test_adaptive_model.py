"""A live alpha is its own picture's, whoever made it: the network, or the picture's motion since the network ran."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from streammatte.errors import ModelError
from streammatte.frame import ColorSpec, Cutout, Frame, StreamInfo
from streammatte.live.adaptive_model import LOOK, PUT_OFF, AdaptiveModel, load_live_model
from streammatte.live.contracts import Controls
from streammatte.live.live_options import LiveOptions
from streammatte.live.over_background import Look
from streammatte.quality.metrics import mad

pytestmark = pytest.mark.unit

HEIGHT, WIDTH = 180, 320
Picture = NDArray[np.uint8]
Mask = NDArray[np.float32]


class Reddish:
    """Stands in for a network: what is redder than green is subject, in any part of the picture and any light."""

    def __init__(self, size: tuple[int, int] = (512, 512)) -> None:
        self.size = size
        self.sizes: list[tuple[int, int]] = []
        self.broken = False

    def __call__(self, frames: Sequence[Frame]) -> list[torch.Tensor]:
        self.sizes.append(self.size)
        alphas = [((f.as_float()[0] / (f.as_float()[1] + 0.02) - 1) * 4).clamp(0, 1) for f in frames]
        return [alpha * float("nan") if self.broken else alpha for alpha in alphas]


def texture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(0, 1, (height, width))
    soft = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return np.asarray((0.5 + 0.8 * soft).clip(0.1, 1), np.float32)


ROOM, CLOTH = texture(1), texture(2)


def scene(*places: tuple[float, float, float], room: NDArray[np.float32] = ROOM) -> tuple[Picture, Mask]:
    """Reddish discs (x, y, radius) with a texture that goes along, over a greenish room; and their alpha."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    picture = room[..., None] * np.float32([0.5, 0.9, 0.8])
    alpha = np.zeros((HEIGHT, WIDTH), np.float32)
    for x, y, radius in places:
        mine = (radius + 0.5 - np.hypot(columns - x, rows - y)).clip(0, 1)
        shift = np.array([[1, 0, x], [0, 1, y]], np.float64)
        cloth = cv2.warpAffine(CLOTH, shift, (WIDTH, HEIGHT), borderMode=cv2.BORDER_WRAP)
        picture = mine[..., None] * cloth[..., None] * np.float32([0.9, 0.5, 0.4]) + (1 - mine[..., None]) * picture
        alpha = np.maximum(alpha, mine)
    return np.rint(255 * picture).astype(np.uint8), alpha


def frame_of(picture: NDArray[np.generic], index: int = 0) -> Frame:
    return Frame(torch.from_numpy(picture).permute(2, 0, 1), index, index)


def pinned(every: int, model: Reddish | None = None) -> AdaptiveModel:
    return AdaptiveModel(model or Reddish(), ((512, 512), every))


def alpha_of(live: AdaptiveModel, picture: NDArray[np.generic], index: int = 0) -> Mask:
    (alpha,) = live([frame_of(picture, index)])
    return alpha.numpy()


def alphas(live: AdaptiveModel, pictures: Sequence[Picture]) -> list[Mask]:
    return [alpha_of(live, picture, index) for index, picture in enumerate(pictures)]


@pytest.mark.parametrize(("every", "step"), [(1, 7), (2, 16), (3, 2), (4, 2), (4, 7)])
def test_the_alpha_shown_is_the_pictures_own(every: int, step: int) -> None:
    """The subject's place tells the number of the frame; its alpha must tell the same one."""
    scenes = [scene((50 + step * index, 90 + 8 * np.sin(index), 30)) for index in range(min(16, 240 // step))]
    live = pinned(every)
    for index, alpha in enumerate(alphas(live, [picture for picture, _ in scenes])):
        errors = [mad(alpha, truth) for _, truth in scenes]
        assert int(np.argmin(errors)) == index
        assert errors[index] < 9  # a step of two pixels: 8 to 10; of sixteen: 60 and more


@pytest.mark.parametrize("every", [2, 4])
def test_the_network_rests_between_where_motion_explains_the_picture(every: int) -> None:
    live = pinned(every)
    alphas(live, [scene((60 + index, 90, 35))[0] for index in range(36)])
    looks = 36 // LOOK
    assert live.runs <= 2 + 36 // every + looks + 2


@pytest.mark.parametrize("every", [1, 4])
def test_a_subject_that_jumps_is_found_where_it_is_at_once(every: int) -> None:
    places = [80, 81, 82, 230, 231, 60, 61]
    scenes = [scene((x, 90, 35)) for x in places]
    for alpha, (_, truth) in zip(alphas(pinned(every), [picture for picture, _ in scenes]), scenes, strict=True):
        assert mad(alpha, truth) < 12  # a disc that is elsewhere: 130


@pytest.mark.parametrize("every", [1, 4])
def test_nothing_of_the_last_shot_is_in_the_next(every: int) -> None:
    live = pinned(every)
    alphas(live, [scene((70 + index, 90, 35))[0] for index in range(6)])
    picture, truth = scene((240, 60, 30), room=texture(7))
    alpha = alpha_of(live, picture)
    assert alpha[:, :150].max() == 0
    assert mad(alpha, truth) < 6


def test_lights_that_go_out_leave_the_subject() -> None:
    live = pinned(4)
    pictures = [scene((100 + index, 90, 35)) for index in range(10)]
    dark = [picture if index < 5 else (0.3 * picture).astype(np.uint8) for index, (picture, _) in enumerate(pictures)]
    for alpha, (_, truth) in zip(alphas(live, dark), pictures, strict=True):
        assert mad(alpha, truth) < 12


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("fading", [False, True], ids=["walks in", "grows out of the room"])
def test_who_comes_in_far_from_the_subject_is_found_in_time(every: int, fading: bool) -> None:
    """Also who does so unnoticed, in small steps that no change of the picture tells of."""
    live, found = pinned(every), None
    for index in range(36):
        after = index - 8
        radius = 0.0 if after < 0 else min(24.0, 2.0 * after if fading else 24.0)
        places = [(60 + 0.2 * index, 90.0, 30.0)] + [(270 - 0.3 * after, 60.0, radius)] * (radius > 0)
        alpha = alpha_of(live, scene(*places)[0], index)
        if after >= 0 and found is None and alpha[40:80, 250:290].mean() > 0.3:
            found = after
    assert found is not None
    assert found <= LOOK + PUT_OFF + 6 * fading  # frames; the six that it takes to become half a percent of the picture


def test_far_from_the_subject_the_network_does_not_look() -> None:
    shapes = []

    class Watched(Reddish):
        def __call__(self, frames: Sequence[Frame]) -> list[torch.Tensor]:
            shapes.append(tuple(frames[0].rgb.shape[1:]))
            return super().__call__(frames)

    alphas(pinned(1, Watched()), [scene((60 + index, 90, 30))[0] for index in range(9)])
    assert max(width for _, width in shapes[2:]) < 120


@pytest.mark.parametrize("every", [1, 3])
def test_the_same_picture_has_the_same_alpha(every: int) -> None:
    model = load_live_model(LiveOptions(model="birefnet-nano", device="cpu"))
    live = AdaptiveModel(model, ((96, 96), every))
    picture, _ = scene((120, 90, 50))
    first, *others = alphas(live, [picture.copy() for _ in range(5)])
    assert all(np.array_equal(first, other) for other in others)


def test_a_still_scene_is_as_the_network_has_it() -> None:
    grain = np.random.default_rng(0).integers(-2, 3, (12, HEIGHT, WIDTH, 3))
    picture, truth = scene((120, 90, 50))
    pictures = [(picture + noise).clip(0, 255).astype(np.uint8) for noise in grain]
    own = [Reddish()([frame_of(each)])[0].numpy() for each in pictures]
    for alpha, said in zip(alphas(pinned(1), pictures), own, strict=True):
        assert mad(alpha, said) < 2
    assert mad(own[0], truth) < 12


def test_steadying_takes_half_of_a_still_scenes_flicker() -> None:
    class Nervous(Reddish):
        def __call__(self, frames: Sequence[Frame]) -> list[torch.Tensor]:
            trembling = 0.12 * (-1) ** len(self.sizes)
            return [(alpha - trembling).clamp(0, 1) for alpha in super().__call__(frames)]

    picture, _ = scene((160, 90, 60))
    pictures = [(picture.astype(int) + index % 2).clip(0, 255).astype(np.uint8) for index in range(12)]
    shown = np.stack(alphas(AdaptiveModel(Nervous(), ((512, 512), 1)), pictures))
    inside = shown[4:, 80:100, 150:170]
    assert np.abs(np.diff(inside, axis=0)).mean() < 0.5 * 0.12


def test_a_network_that_breaks_is_told_of_and_its_frame_leaves_no_trace() -> None:
    model = Reddish()
    live = pinned(1, model)
    alphas(live, [scene((100, 90, 40))[0]])
    model.broken = True
    with pytest.raises(ModelError):
        alpha_of(live, scene((110, 90, 40))[0])
    model.broken = False
    picture, truth = scene((220, 90, 40))
    assert mad(alpha_of(live, picture), truth) < 6


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_frames_of_any_size_and_depth_have_alphas_of_their_size(kind: type[np.unsignedinteger]) -> None:
    picture, _ = scene((160, 90, 50))
    large = cv2.resize(picture, (1921, 1081), interpolation=cv2.INTER_CUBIC)
    if kind is np.uint16:
        large = large.astype(np.uint16) * 257
    live = AdaptiveModel(Reddish((128, 128)), ((128, 128), 2), Fraction(25))
    for index in range(3):
        alpha = alpha_of(live, np.roll(large, 2 * index, 1), index)
        assert alpha.shape == (1081, 1921) and alpha.dtype == np.float32
        assert 0 <= alpha.min() <= alpha.max() <= 1


def test_a_size_that_changes_on_the_way_begins_anew() -> None:
    live = pinned(2)
    alphas(live, [scene((100 + index, 90, 40))[0] for index in range(3)])
    picture, truth = scene((160, 90, 40))
    small = alpha_of(live, np.ascontiguousarray(picture[20:160, 60:300]))
    assert mad(small, truth[20:160, 60:300]) < 8


def test_a_pinned_size_is_kept_to_and_a_wrong_one_refused() -> None:
    model = Reddish()
    live = AdaptiveModel(model, ((128, 160), 2))
    alphas(live, [scene((100 + index, 90, 40))[0] for index in range(4)])
    assert set(model.sizes) == {(128, 160)}
    assert live.setting == "160×128, every 2nd frame"
    with pytest.raises(ModelError, match="100×100") as caught:
        AdaptiveModel(Reddish(), ((100, 100), 1))
    assert caught.value.hint == "try --quality 96x96"


def test_on_a_cpu_auto_is_the_embedded_model() -> None:
    assert load_live_model(LiveOptions(device="cpu")).name == "birefnet-nano"


@pytest.mark.parametrize("every", [2, 4])
def test_what_a_quick_subject_bares_is_not_shown(every: int) -> None:
    """Shown are only those pixels of the room that lie at the subject's edge, at any setting."""
    scenes = [scene((40 + 6 * index, 90 + 4 * np.sin(index), 30)) for index in range(36)]
    for alpha, (_, truth) in zip(alphas(pinned(every), [picture for picture, _ in scenes]), scenes, strict=True):
        beyond = cv2.dilate(truth, np.ones((7, 7), np.uint8)) == 0
        assert 1000 * float((alpha * beyond).mean()) < 0.1


@pytest.mark.parametrize("every", [1, 4])
def test_what_is_shown_of_a_moving_subject_has_nothing_of_the_room(every: int) -> None:
    """Through the look, to the last pixel: the room beyond the edge is the background."""
    live = pinned(every)
    info = StreamInfo(WIDTH, HEIGHT, Fraction(1, 30), Fraction(30), None, ColorSpec())
    with closing(Look(info, ["0,0,255"], Controls())) as look:
        for index in range(24):
            picture, truth = scene((60 + 7 * index, 90, 30))
            frame = frame_of(picture, index)
            shown = look(Cutout(frame, live([frame])[0]), 0.0).rgb
            beyond = cv2.dilate(truth, np.ones((9, 9), np.uint8)) == 0
            assert (shown[beyond] == (0, 0, 255)).all(axis=-1).mean() > 0.9999
            assert (shown[truth == 1] != (0, 0, 255)).any(axis=-1).mean() > 0.8


def test_outside_of_the_region_alpha_is_zero() -> None:
    """Steadying must not bring the frame before back there: something too faint to be subject, which is left behind."""
    live, shares = pinned(1), []
    rows, columns = slice(54, 64), slice(37, 45)
    for index in range(12):
        picture, _ = scene((70 + 5 * index, 90, 30))
        picture[rows, columns, 0] = np.rint(1.06 * (picture[rows, columns, 1].astype(np.float32) + 5)).clip(0, 255)
        alpha = alpha_of(live, picture, index)
        region = live.region
        assert region is not None
        shares.append(float(alpha[rows, columns].max()) if region.x0 < columns.start else None)
        if region.x0 >= columns.stop:
            assert alpha[rows, columns].max() == 0
    assert max(share for share in shares if share is not None) > 0.1
    assert shares[-1] is None


def test_a_run_that_is_late_for_whatever_reason_goes_down() -> None:
    live = AdaptiveModel(Reddish(), rate=Fraction(30))
    begin = live.setting
    for index in range(40):
        alpha_of(live, scene((100 + index, 90, 30))[0], index)
        live.took(0.2)
    assert live.setting != begin
    assert live.exhausted


def test_the_network_of_a_run_that_ends_stops_at_the_next_layer() -> None:
    stopping = threading.Event()
    model = load_live_model(LiveOptions(model="birefnet-nano", device="cpu"), stopping=stopping)
    frame = Frame(torch.zeros(3, 64, 64, dtype=torch.uint8), 0, 0)
    assert len(model([frame])) == 1
    stopping.set()
    with pytest.raises(KeyboardInterrupt):
        model([frame])
