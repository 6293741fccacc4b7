"""The composed pictures that train the bundled model: seeded, with exact alpha."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from streammatte.errors import DecodeFailed, SourceNotFound
from training.backgrounds import (
    VIEW_SIZE,
    background,
    drawn,
    panorama_views,
    perspective_view,
    read_panorama,
    tone_map,
)
from training.compose import Composer
from training.cutouts import (
    SUFFIXES,
    crop_to_subject,
    furry_figure,
    is_held_out,
    list_files,
    read_cutout,
)
from training.land import country

pytestmark = pytest.mark.unit


def disc(size: int = 96, *, bottom: bool = False) -> np.ndarray:
    """A soft orange disc, straight RGBA, optionally cut off at the lower edge."""
    y, x = np.mgrid[:size, :size]
    radius = np.hypot(x - size / 2, y - (size if bottom else size / 2))
    alpha = np.clip((size * 0.35 - radius) / 4 + 0.5, 0, 1)
    color = np.broadcast_to(np.array([230, 120, 30.0]), (size, size, 3))
    return np.dstack([color, alpha * 255]).round().astype(np.uint8)


@pytest.fixture(scope="session")
def composer() -> Composer:
    rng = np.random.default_rng(0)
    cutouts = [crop_to_subject(disc()), crop_to_subject(disc(bottom=True))]
    views = rng.integers(0, 256, (3, VIEW_SIZE, VIEW_SIZE, 3), dtype=np.uint8)
    return Composer([cutout for cutout in cutouts if cutout is not None], views, seed=3)


@pytest.fixture(scope="session")
def panoramas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("panoramas")
    rng = np.random.default_rng(1)
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.hdr"), rng.uniform(0, 2, (32, 64, 3)).astype(np.float32))
    return folder


def test_a_picture_is_its_seed_and_index_and_nothing_else(composer: Composer) -> None:
    again = Composer(composer.cutouts, composer.views, composer.seed)
    for index in (11, 4, 11):
        (rgb, alpha), (rgb_again, alpha_again) = composer(index, 64), again(index, 64)
        assert np.array_equal(rgb, rgb_again)
        assert np.array_equal(alpha, alpha_again)
    other = Composer(composer.cutouts, composer.views, composer.seed + 1)
    assert not np.array_equal(composer(4, 64)[0], other(4, 64)[0])


def test_pictures_keep_their_contract(composer: Composer) -> None:
    covered = []
    for index in range(60):
        rgb, alpha = composer(index, 64)
        assert rgb.shape == (64, 64, 3) and rgb.dtype == np.uint8
        assert alpha.shape == (64, 64) and alpha.dtype == np.float32
        assert alpha.min() >= 0 and alpha.max() <= 1
        covered.append(float(alpha.mean()))
    assert 0.05 < np.mean(covered) < 0.6


def test_the_composite_is_the_background_outside_and_the_subject_inside(composer: Composer) -> None:
    seen_soft = False
    for index in range(12):
        layers = composer.layers(np.random.default_rng(index), 64)
        picture, alpha = layers.over(), layers.alpha
        assert np.array_equal(picture[alpha == 0], layers.background[alpha == 0])
        np.testing.assert_allclose(picture[alpha == 1], layers.foreground[alpha == 1], atol=1e-6)
        assert (layers.foreground <= alpha[..., None] + 1e-3).all(), "premultiplied: no brighter than it is opaque"
        seen_soft |= bool(((alpha > 0.1) & (alpha < 0.9)).any())
    assert seen_soft


def test_a_subject_cut_off_below_stays_at_the_lower_edge() -> None:
    cutout = crop_to_subject(disc(bottom=True))
    assert cutout is not None and cutout.bottom and not cutout.left
    composer = Composer([cutout], np.empty((0, 1, 1, 3), np.uint8), seed=0, figures=0)
    for index in range(40):
        alpha = composer.layers(np.random.default_rng(index), 64).alpha
        if alpha.max() > 0.9:
            assert alpha[-2:].max() > 0.5


def test_an_empty_cutout_is_no_subject() -> None:
    assert crop_to_subject(np.zeros((32, 32, 4), np.uint8)) is None


def test_drawn_things_are_in_range_and_seeded() -> None:
    for seed in range(24):
        picture = drawn(np.random.default_rng(seed), 64)
        assert picture.shape == (64, 64, 3) and picture.min() >= 0 and picture.max() <= 1
        assert np.array_equal(picture, drawn(np.random.default_rng(seed), 64))
    figure = furry_figure(np.random.default_rng(0))
    assert (figure.rgba[..., 3] > 200).mean() > 0.2
    assert np.array_equal(figure.rgba, furry_figure(np.random.default_rng(0)).rgba)


def test_a_view_of_a_panorama_looks_where_it_is_told() -> None:
    longitude = np.linspace(-180, 180, 256, endpoint=False, dtype=np.float32) + 180 / 256
    latitude = np.linspace(90, -90, 128, endpoint=False, dtype=np.float32) - 90 / 128
    panorama = np.dstack([*np.meshgrid(longitude, latitude), np.zeros((128, 256), np.float32)])
    view = perspective_view(panorama, np.radians(30), 0, np.radians(60), 65)
    assert view[32, 32, :2] == pytest.approx([30, 0], abs=0.8)
    assert view[32, 0, 0] == pytest.approx(0, abs=0.8)  # the left edge of 60° around 30°
    assert view[0, 32, 1] == pytest.approx(30, abs=0.8)  # up is up
    assert perspective_view(panorama, 0, np.radians(40), 1, 65)[32, 32, 1] == pytest.approx(40, abs=0.8)


def test_tone_mapping_is_monotonic_and_in_range() -> None:
    ramp = np.repeat(np.linspace(0, 50, 64, dtype=np.float32)[None, :, None], 3, axis=2)
    mapped = tone_map(ramp, 0.3)
    assert mapped.min() == 0 and mapped.max() <= 1
    assert (np.diff(mapped[0, :, 0]) >= 0).all()


def test_views_are_seeded(panoramas: Path) -> None:
    paths = list_files([panoramas], ".hdr")
    views = panorama_views(paths, 4, seed=5)
    assert views.shape == (4, VIEW_SIZE, VIEW_SIZE, 3)
    assert np.array_equal(views, panorama_views(paths, 4, seed=5))


def test_bad_files_are_named(tmp_path: Path) -> None:
    text = tmp_path / "not.png"
    text.write_text("no picture")
    with pytest.raises(DecodeFailed, match=r"not\.png"):
        read_cutout(text)
    with pytest.raises(DecodeFailed, match=r"not\.png"):
        read_panorama(text)
    with pytest.raises(SourceNotFound):
        list_files([tmp_path / "nowhere"], ".png")
    with pytest.raises(SourceNotFound):
        list_files([tmp_path], ".hdr")


def test_a_cutout_is_the_same_as_webp(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rgba = np.zeros((80, 64, 4), np.uint8)
    cv2.circle(rgba, (30, 40), 25, (40, 90, 200, 255), -1, cv2.LINE_AA)
    rgba[..., 3] = np.where(rgba[..., 3] > 0, rng.integers(1, 256, (80, 64)), 0)
    for suffix in SUFFIXES:
        cv2.imwrite(str(tmp_path / f"7{suffix}"), rgba, [cv2.IMWRITE_WEBP_QUALITY, 80])
    one, other = (read_cutout(path) for path in list_files([tmp_path], *SUFFIXES))
    assert one is not None and other is not None
    assert np.array_equal(one.rgba[..., 3], other.rgba[..., 3])
    assert np.abs(one.rgba.astype(int) - other.rgba)[one.rgba[..., 3] > 128][:, :3].mean() < 12
    assert all(is_held_out(Path(f"{n}.png")) == is_held_out(Path(f"{n}.webp")) for n in range(100))


def test_a_share_is_held_out_by_name() -> None:
    held = [is_held_out(Path(f"{index:06}.png")) for index in range(1200)]
    assert 60 < sum(held) < 140


def test_a_landscape_is_seeded_and_hides_its_photograph_only_in_part() -> None:
    sky = np.full((VIEW_SIZE, VIEW_SIZE, 3), 200, np.uint8)
    for seed in range(4):
        land = country(np.random.default_rng(seed), [sky], 96)
        assert land.shape == (96, 96, 3) and land.dtype == np.uint8
        assert np.array_equal(land, country(np.random.default_rng(seed), [sky], 96))
        assert land.std() > 10, "a ground in front of a distance"


def test_backgrounds_are_views_where_nothing_is_drawn() -> None:
    views = np.full((1, VIEW_SIZE, VIEW_SIZE, 3), (250, 10, 10), np.uint8)

    def even(drawn_share: float) -> float:
        seen = [background(np.random.default_rng(seed), views, 32, 1.0, drawn_share) for seed in range(20)]
        return float(np.mean([np.ptp(picture, axis=(0, 1)).max() < 0.3 for picture in seen]))

    assert even(0.0) > 0.4 > even(1.0)
