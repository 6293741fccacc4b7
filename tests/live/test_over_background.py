"""A live picture: exact where alpha is solid, without the room, in a light that does not flicker."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from support import clips

from streammatte.errors import InputError
from streammatte.frame import ColorSpec, Cutout, Frame, StreamInfo
from streammatte.live.contracts import Controls
from streammatte.live.over_background import Look, rounds

pytestmark = pytest.mark.unit

WIDTH, HEIGHT = 320, 180
INFO = StreamInfo(WIDTH, HEIGHT, Fraction(1, 1000), Fraction(30), None, ColorSpec())
RANDOM = np.random.default_rng(7)
ROOM = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
BEACH = np.clip(clips.picture(9, (WIDTH, HEIGHT)).astype(int) + np.array([70, 30, -20]), 0, 255).astype(np.uint8)


def disc(radius: int = 50, soft: float = 3.0) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    far = np.hypot(y - HEIGHT / 2, x - WIDTH / 2)
    return np.clip((radius - far) / (2 * soft) + 0.5, 0, 1).astype(np.float32)


def cutout(rgb: np.ndarray = ROOM, alpha: np.ndarray | None = None, index: int = 0) -> Cutout:
    alpha = disc() if alpha is None else alpha
    return Cutout(Frame(torch.from_numpy(rgb).permute(2, 0, 1), index, index), torch.from_numpy(alpha))


def shown(look: Look, which: Cutout, at: float = 1.0) -> np.ndarray:
    return look(which, at).rgb


@pytest.fixture
def beach(tmp_path) -> str:
    cv2.imwrite(str(tmp_path / "beach.png"), BEACH[..., ::-1])
    return str(tmp_path / "beach.png")


@pytest.fixture
def opened():
    """Makes looks, and closes them."""
    looks = []

    def make(*backgrounds: str, controls: Controls | None = None, **options) -> Look:
        looks.append(Look(INFO, backgrounds, controls or Controls(), **options))
        return looks[-1]

    yield make
    for look in looks:
        look.close()


def test_alpha_decides_exactly(opened, beach):
    picture = shown(opened(beach, light_wrap=False, match=False), cutout())
    alpha = disc()
    assert np.array_equal(picture[alpha == 1], ROOM[alpha == 1])
    assert np.array_equal(picture[alpha == 0], BEACH[alpha == 0])
    between = (alpha > 0.3) & (alpha < 0.7)
    assert between.any() and not np.array_equal(picture[between], BEACH[between])


def test_nothing_of_the_room_is_left_with_everything_on(opened, beach):
    alpha = disc()
    options = {"light_wrap": True, "match": True, "feather": 6}
    one = shown(opened(beach, **options), cutout())
    assert np.array_equal(one[alpha == 0], BEACH[alpha == 0])
    # Another room of the same mean, behind the same subject, changes nothing but where both are mixed.
    other = ROOM.copy()
    away = alpha < 0.08
    other[away] = RANDOM.permutation(other[away])
    two = shown(opened(beach, light_wrap=True, match=False), cutout(other))
    same = shown(opened(beach, light_wrap=True, match=False), cutout())
    assert np.array_equal(two[away], same[away])
    assert np.array_equal(two[alpha == 1], same[alpha == 1])


def test_a_haze_of_the_room_is_removed(opened):
    picture = shown(opened("0,0,0"), cutout(alpha=np.full((HEIGHT, WIDTH), 0.05, np.float32)))
    assert not picture.any()


def test_colours_shed_no_light(opened):
    for color in ("#00b140", "white", "checker"):
        lit, plain = opened(color), opened(color, light_wrap=False, match=False)
        assert np.array_equal(shown(lit, cutout()), shown(plain, cutout()))


def test_wrapped_light_stays_about_the_edge(opened, beach):
    alpha = disc(70)
    subject = np.full_like(ROOM, 60)
    with_it = shown(opened(beach, match=False), cutout(subject, alpha)).astype(int)
    without = shown(opened(beach, match=False, light_wrap=False), cutout(subject, alpha)).astype(int)
    assert (with_it >= without).all() and (with_it - without).max() > 20
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    deep = np.hypot(y - HEIGHT / 2, x - WIDTH / 2) < 70 - 6 * HEIGHT / 60
    assert deep.any()
    assert np.array_equal(with_it[deep], without[deep])
    assert np.array_equal(with_it[alpha == 0], without[alpha == 0])


def test_the_light_of_a_still_clip_is_one(opened, beach):
    look = opened(beach)
    grain = [np.clip(ROOM // 2 + 60 + RANDOM.normal(0, 4, ROOM.shape), 0, 255).astype(np.uint8) for _ in range(3)]
    pictures = [shown(look, cutout(grain[index % 3]), 1 + index / 30) for index in range(30)]
    for index in range(3, 30):
        assert np.array_equal(pictures[index], pictures[index - 3])


def test_light_follows_slowly_and_settles(opened, beach):
    dark, bright = cutout(ROOM // 4), cutout(ROOM // 4 + 160)
    look = opened(beach, light_wrap=False)
    solid = disc() == 1
    shown(look, dark)
    steps = [shown(look, bright, 1 + index / 10)[solid].mean() for index in range(1, 100)]
    assert np.diff(steps).min() < -0.1 and np.diff(steps).max() <= 0
    assert np.diff(steps).min() > -4
    assert len(set(steps[-20:])) == 1
    assert steps[-1] == shown(opened(beach, light_wrap=False), bright)[solid].mean()


def test_no_face_turns_green(opened, tmp_path):
    cv2.imwrite(str(tmp_path / "wood.png"), np.full((HEIGHT, WIDTH, 3), (40, 160, 50), np.uint8))
    skin = np.full_like(ROOM, (205, 160, 135))
    skin[disc() < 0.01] = (120, 118, 116)
    found = shown(opened(str(tmp_path / "wood.png"), light_wrap=False), cutout(skin))[HEIGHT // 2, WIDTH // 2]
    assert found[0] > found[1] > found[2]
    assert abs(int(found[1]) / int(found[0]) - 160 / 205) < 0.04


def test_black_and_white_keep_their_places(opened, beach):
    half = np.zeros_like(ROOM)
    half[:, WIDTH // 2 :] = 255
    picture = shown(opened(beach, light_wrap=False), cutout(half))
    solid = disc() == 1
    assert np.array_equal(picture[solid], half[solid])


def test_edges_have_the_subjects_own_colours(opened):
    alpha = disc(60, soft=8)[..., None]
    subject, room = np.array([200, 60, 40]), np.array([20, 220, 240])
    mixed = np.rint(alpha * subject + (1 - alpha) * room).astype(np.uint8)
    picture = shown(opened("black"), cutout(mixed, alpha[..., 0])).astype(float)
    edge = (alpha[..., 0] > 0.5) & (alpha[..., 0] < 0.9)
    share = picture[edge] / picture[edge].sum(-1, keepdims=True)
    assert np.abs(share - subject / subject.sum()).max() < 0.13  # of 0.39 as it is mixed


def test_feather_softens_inwards_only(opened):
    alpha = disc(60, soft=1)
    white = np.full_like(ROOM, 255)
    sharp, soft = (shown(opened("black", feather=width), cutout(white, alpha)) for width in (0, 8))
    assert (soft <= sharp).all()
    assert np.mean((soft > 0) & (soft < 255)) > 2 * np.mean((sharp > 0) & (sharp < 255))


def test_mirrored_is_the_frame_turned_and_not_its_background(opened, beach):
    turned = cutout(np.ascontiguousarray(ROOM[:, ::-1]), np.ascontiguousarray(disc()[:, ::-1]))
    mirrored = shown(opened(beach, controls=Controls(mirror=True)), cutout())
    assert np.array_equal(mirrored, shown(opened(beach), turned))
    away = (disc() == 0) & (disc()[:, ::-1] == 0)
    assert np.array_equal(mirrored[away], BEACH[away])


def test_blur_has_no_ghost_of_the_subject_from_the_first_frame_on(opened):
    room = np.full_like(ROOM, 128)
    room[disc(50, soft=0.1) > 0] = 0
    near = disc(53, soft=0.1)  # the matte is 3 pixels too wide, as networks' are
    picture = shown(opened("blur:6"), cutout(room, near))
    assert np.abs(picture[near == 0].astype(int) - 128).max() <= 2


def test_blur_shows_no_detail(opened):
    picture = shown(opened("blur"), cutout(alpha=np.zeros((HEIGHT, WIDTH), np.float32)))
    assert picture.std() < 0.1 * ROOM.std()


def test_clear_pictures_have_the_alpha_and_nothing_of_the_room(opened):
    look = opened("transparent")
    assert look.alpha
    picture = shown(look, cutout())
    alpha = disc()
    assert picture.shape == (HEIGHT, WIDTH, 4)
    assert not picture[alpha == 0].any()
    assert np.array_equal(picture[alpha == 1][:, :3], ROOM[alpha == 1]) and (picture[alpha == 1][:, 3] == 255).all()
    assert set(np.unique(picture[..., 3])) > {0, 255}


def test_opaque_beside_clear_has_four_channels(opened):
    controls = Controls()
    look = opened("transparent", "navy", controls=controls)
    controls.background = 1
    picture = shown(look, cutout())
    assert (picture[..., 3] == 255).all()
    assert np.array_equal(picture[0, 0], [0, 0, 128, 255])


def test_a_clip_is_behind_and_goes_round(opened, tmp_path):
    path = clips.write_clip(tmp_path / "loop.mp4", pts=clips.even_pts(5), size=(WIDTH, HEIGHT))  # 25 frames a second
    look = opened(str(path), match=False, light_wrap=False)
    clear = cutout(alpha=np.zeros((HEIGHT, WIDTH), np.float32))
    assert clips.index_of(look.empty(0.0)) == 0
    seen = []
    for step in range(16):
        for _ in range(300):  # the clip is decoded beside it, and nobody waits for it
            picture = shown(look, clear, 5 + step * 0.04)
            if clips.index_of(picture) == step % 5:
                break
            time.sleep(0.01)
        seen.append(clips.index_of(picture))
    assert seen == [step % 5 for step in range(16)]


def test_before_the_first_matte_nothing_of_the_room_is_shown(opened, beach):
    controls = Controls()
    look = opened(beach, "blur", "green", controls=controls)
    assert np.array_equal(look.empty(0.0), BEACH)
    controls.background = 1
    shown(look, cutout())
    assert len(np.unique(look.empty(0.0))) == 1
    controls.background = 2
    assert np.array_equal(look.empty(0.0)[3, 4], [0, 128, 0])
    assert not opened("transparent").empty(0.0).any()


def test_frozen_stays(opened, beach):
    controls = Controls()
    look = opened(beach, controls=controls)
    first = look(cutout(), 1.0)
    controls.frozen = True
    moved = cutout(255 - ROOM, index=1)
    held = look(moved, 2.0)
    assert np.array_equal(held.rgb, first.rgb)
    assert (held.held, held.index, held.at) == (True, 0, 2.0)
    controls.frozen = False
    assert look(moved, 3.0).index == 1


def test_sixteen_bits_are_shown_in_eight(opened):
    wide = replace(cutout().frame, rgb=torch.from_numpy(ROOM.astype(np.uint16) * 257).permute(2, 0, 1))
    picture = opened("black")(Cutout(wide, torch.ones(HEIGHT, WIDTH)), 1.0).rgb
    assert picture.dtype == np.uint8 and np.array_equal(picture, ROOM)


def test_the_key_cycles_through_two_backgrounds_at_least():
    assert rounds(["a.png", "b.png"]) == ("a.png", "b.png")
    assert len(rounds(["a.png"])) == 2 and "blur" not in rounds(["a.png"])


def test_what_is_not_a_background_is_refused():
    for name in ("nowhere.png", "#12", "blur:x", "blurr"):
        with pytest.raises(InputError, match=name):
            Look(INFO, [name], Controls())
