"""Scores without ground truth, which frames are shown for them, and where the close-ups are."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice

import cv2
import numpy as np
import pytest
import torch
from conftest import SAMPLES
from numpy.typing import NDArray
from support.pages import Reader

import streammatte
from streammatte.frame import Cutout, Frame
from streammatte.media.lengths import Lengths
from streammatte.motion import View
from streammatte.quality.moments import CROP, SPREAD, CloseUp, Spread, look_at, thumbnail
from streammatte.quality.observer import Findings, Observer, Score
from streammatte.quality.page import small
from streammatte.quality.report import report_page
from streammatte.quality.scores import SIZE, Flicker, contamination
from streammatte.stages import TemporalSmoother
from training.flicker import flickering

pytestmark = pytest.mark.media
HEIGHT, WIDTH = 72, 96
Plane = NDArray[np.float32]


def texture(seed: int, scale: int = 1) -> NDArray[np.uint8]:
    """Something for optical flow to follow, (HEIGHT, WIDTH, 3) times ``scale``."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, (HEIGHT, WIDTH, 3)), (0, 0), 2)
    picture = np.asarray((128 + 200 * noise).clip(0, 255), np.uint8)
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale), np.uint8)


def disc(radius: float, x: float = WIDTH / 2, scale: int = 1) -> Plane:
    """An alpha with an edge 4 pixels wide, times ``scale``."""
    rows, columns = (np.mgrid[: HEIGHT * scale, : WIDTH * scale] + 0.5) / scale
    distance = np.hypot(columns - x, rows - HEIGHT / 2)
    return np.asarray(((radius - distance) / 4 + 0.5).clip(0, 1), np.float32)


def cutout_of(rgb: NDArray[np.uint8], alpha: Plane, index: int = 0) -> Cutout:
    return Cutout(Frame(torch.from_numpy(rgb).permute(2, 0, 1), index, index), torch.from_numpy(alpha))


def flickers(rgbs: list[NDArray[np.uint8]], alphas: list[Plane]) -> list[float | None]:
    measure = Flicker()
    return [measure(View.of(rgb, alpha)) for rgb, alpha in zip(rgbs, alphas, strict=True)]


def page_of(observer: Observer, findings: Findings, **more: object) -> str:
    return report_page("clip", observer, findings, **{"run": {}, "options": {}, "limits": {}, **more})  # type: ignore[arg-type]


def test_flicker_is_how_far_an_edge_jumps() -> None:
    for scale in (1, 2):
        rgb = texture(0, scale)
        first, still, out, back = flickers([rgb] * 4, [disc(radius, scale=scale) for radius in (20, 20, 22, 20)])
        assert first is None
        assert still == 0
        assert out == pytest.approx(back, rel=0.02)
        assert out == pytest.approx(1000 * 2 / WIDTH, rel=0.25), "2 pixels, less the slack for the flow's error"


def test_an_edge_that_moves_with_the_picture_does_not_flicker() -> None:
    subject, background = texture(1), texture(2)
    rgbs, alphas = [], []
    for step in range(6):
        alpha = disc(20, 36 + 2 * step)
        moved = np.roll(subject, 2 * step, axis=1)
        rgbs.append((moved * alpha[..., None] + background * (1 - alpha[..., None])).astype(np.uint8))
        alphas.append(alpha)
    carried = [value for value in flickers(rgbs, alphas) if value is not None]
    stuck = [value for value in flickers(rgbs, alphas[:1] * 6) if value is not None]
    assert len(carried) == 5
    assert np.mean(carried) < 0.5 * np.mean(stuck)


def test_cuts_are_not_compared_across() -> None:
    measure = Flicker()
    shots = [(texture(3), disc(20)), (texture(3), disc(20)), (texture(4), disc(8, 20)), (texture(4), disc(8, 20))]
    found = [(measure(View.of(*each)), measure.cut) for each in shots]
    assert found == [(None, False), (0, False), (None, True), (0, False)]


@pytest.mark.parametrize("name", ["talking", "glass"])
def test_a_true_matte_is_steady_and_a_boiling_one_is_not(name: str) -> None:
    with (
        streammatte.open_video(SAMPLES / f"{name}.mp4") as footage,
        streammatte.open_video(SAMPLES / f"{name}.alpha.mkv") as mattes,
    ):
        rgbs = [thumbnail(frame, SIZE) for frame in islice(footage, 8)]
        truth = [np.ascontiguousarray(small(cutout.alpha.numpy(), SIZE)) for cutout in islice(mattes.cutouts(), 8)]
    steady, boiling = (
        [value for value in flickers(rgbs, alphas) if value is not None]
        for alphas in (truth, list(flickering(np.stack(truth))))
    )
    assert max(steady) < 0.4 < np.mean(boiling)
    assert np.median(boiling) > 3 * np.median(steady)


def test_contamination_is_the_share_of_the_background_that_is_left() -> None:
    alpha = disc(20)
    subject, background = (np.broadcast_to(np.float32(color), (HEIGHT, WIDTH, 3)) for color in ([0.8, 0.2, 0.1], 0.1))
    frame = np.asarray(alpha[..., None] * subject + (1 - alpha[..., None]) * background, np.float32)
    for left in (0.0, 0.5, 1.0):
        found, where = contamination(frame, np.asarray((1 - left) * subject + left * frame, np.float32), alpha)
        assert found == pytest.approx(left, abs=0.01)
        assert not where[(alpha == 0) | (alpha == 1)].any()
    assert contamination(np.ascontiguousarray(subject), np.ascontiguousarray(subject), alpha)[0] is None, "one colour"
    assert contamination(frame, frame, np.ones_like(alpha))[0] is None, "no edge"


def test_smoothing_reports_what_it_mended() -> None:
    smoother = TemporalSmoother()
    for index in range(12):
        alpha = disc(20)
        if index == 5:
            alpha = np.zeros_like(alpha)
        if index == 8:
            alpha[30:38, 44:52] = 0
        list(smoother.push(cutout_of(texture(5), alpha, index)))
    list(smoother.flush())
    assert list(smoother.mended) == [5, 8]
    assert smoother.mended[5] == pytest.approx(1, abs=0.1)
    assert smoother.mended[8] == pytest.approx(64 / (np.pi * 20**2), abs=0.01)


def test_frames_are_spread_evenly_over_a_clip_of_any_length() -> None:
    for count in (1, 7, 100, 1001):
        spread = Spread()
        for index in range(count):
            spread.offer(index, index / 25, list)
        kept = [moment.index for moment in spread.kept]
        assert min(count, SPREAD // 2) <= len(kept) <= SPREAD
        assert len(set(np.diff(kept))) <= 1
        assert kept[0] == 0 and count - kept[-1] <= max(1, count // 4)


def test_a_close_up_is_where_the_strength_is_and_large_enough_to_judge() -> None:
    for width, height, scale in ((1920, 1080, 1), (1080, 1920, 1), (640, 360, 2), (96, 72, 8), (4000, 2, 1)):
        for x, y in ((0.1, 0.2), (0.9, 0.9), (0.5, 0.5)):
            strength = np.zeros((90, 160), np.float32)
            strength[int(90 * y), int(160 * x)] = 1
            part = CloseUp.around(strength, (height, width))
            assert part.enlarged == scale
            assert 0 <= part.rows.start <= y * height < part.rows.stop + 2 <= height + 2
            assert 0 <= part.columns.start <= x * width < part.columns.stop + 2 <= width + 2
            shown = part.of(np.zeros((height, width, 3), np.uint8))
            assert shown.shape[1] == CROP[0] and shown.shape[0] == min(CROP[1], height * scale)


def test_the_close_up_shows_the_frames_own_pixels() -> None:
    alpha = disc(20, scale=20)
    rgb = np.ascontiguousarray(np.broadcast_to(np.uint8([200, 40, 90]), (*alpha.shape, 3)))
    where = np.zeros((72, 96), np.float32)
    where[36, 28] = 1  # the left edge of the disc
    _, close = look_at(cutout_of(rgb, alpha), where, before=alpha)
    assert list(close) == [
        *("frame, 1:1", "matte of the frame before, 1:1", "matte, 1:1", "over black, 1:1", "over white, 1:1")
    ]
    part = CloseUp.around(where, alpha.shape)
    crop = alpha[part.rows, part.columns][..., None]
    assert crop.min() == 0 and crop.max() == 1, "the edge runs through it"
    for name, expected in (("over black", 0), ("over white", 255)):
        assert np.abs(close[f"{name}, 1:1"] - (crop * [200, 40, 90] + (1 - crop) * expected)).max() <= 1


def observed(width: int, height: int, mended: dict[int, float] | None, *, colors: bool) -> Observer:
    observer = Observer(Fraction(1, 25), mended, colors=colors)
    rgb, alpha = (cv2.resize(each, (width, height)) for each in (texture(7), disc(20)))
    for index in range(3):
        observer.write(cutout_of(rgb, alpha, index))
    return observer


def test_the_page_tells_the_share_of_frames_from_that_of_a_matte() -> None:
    observer = observed(WIDTH, HEIGHT, {1: 0.25}, colors=False)
    findings = observer.findings({})
    assert findings.scores["mended"] == Score(1 / 3, 0.25, 1, 0.04)
    limits = {"mended": 0.0, "flicker": 9.0, "audio": 1.0}
    assert [findings.verdict(*each) for each in limits.items()] == ["FAIL", "pass", "not measured"]
    assert [line.split()[0] for line in findings.crossed(limits)] == ["mended", "audio"]
    seen = Reader(page_of(observer, findings, limits=limits))
    assert all(word in seen.texts["td"] for word in ("0.3333", "0.25", "FAIL", "pass", "not measured"))


def test_a_strip_is_scored_and_shown_like_any_other_picture() -> None:
    for width, height in ((4000, 2), (2, 4000), (640, 360), (20, 20000)):
        observer = observed(width, height, {}, colors=True)
        assert observer.flicker.total is not None
        assert max(observer.flicker.total.shape) == SIZE
        assert page_of(observer, observer.findings({})).startswith("<!DOCTYPE html>")


def test_samples_above_white_are_white() -> None:
    rgb = torch.tensor([-0.2, 0.5, 1.2]).expand(3, 2, 3)
    assert thumbnail(Frame(rgb, 0, 0))[0, :, 0].tolist() == [0, 128, 255]


def test_a_limit_is_not_exceeded_by_itself() -> None:
    findings = Findings({"audio": Score(0.5)}, [], {})
    assert findings.crossed({"audio": 0.5}) == []
    assert len(findings.crossed({"audio": 0.4999})) == 1


def test_without_a_soft_edge_contamination_cannot_keep_a_limit() -> None:
    observer = Observer(Fraction(1, 25), None, colors=True)
    for index in range(2):
        observer.write(cutout_of(texture(5), np.ones((HEIGHT, WIDTH), np.float32), index))
    findings = observer.findings({})
    assert findings.verdict("contamination", 1) == "not measured" and findings.verdict("flicker", 0) == "pass"


def test_a_limit_on_audio_needs_audio() -> None:
    observer = Observer(Fraction(1, 25), None, colors=True)
    silent, sounding = Lengths(1.0, None), Lengths(1.0, 1.0)
    unstated = Lengths(None, None, audible=True)
    for lengths, expected in (
        ([silent, silent], None),
        ([sounding, Lengths(1.0, 0.7), silent], 1),
        ([sounding, unstated], None),
        ([sounding, unstated, sounding], 0),
    ):
        score = observer.findings(dict(zip("abc", lengths, strict=False))).scores.get("audio")
        assert score == (None if expected is None else Score(expected))
    lengths = {"a": sounding, "b": unstated}
    assert "strong" not in Reader(page_of(observer, Findings({}, [], {}, lengths))).texts


def test_footage_is_shown_as_on_a_screen() -> None:
    rgb = torch.full((3, HEIGHT, WIDTH), 0.2)
    log = Frame(rgb, 0, 0, view=lambda each: each * 2)
    whole, close = look_at(Cutout(log, torch.from_numpy(disc(20))))
    assert thumbnail(log)[0, 0].tolist() == whole["frame"][2, 2].tolist() == [102] * 3
    assert close["frame, 8:1"].max() == 102 == close["over black, 8:1"].max()
