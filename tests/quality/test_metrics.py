"""Metrics against slow, plain definitions, and against what is known without computing."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from streammatte.quality import metrics

pytestmark = pytest.mark.unit
MEASURES = [metrics.mad, metrics.mse, metrics.grad, metrics.conn]
Measure = Callable[..., float]
Alpha = NDArray[np.float32]


def pair(seed: int = 0, height: int = 23, width: int = 31) -> tuple[Alpha, Alpha, NDArray[np.bool_]]:
    """A soft disc, the same with a piece torn off, a crumb and noise, and a band around its edge."""
    y, x = np.mgrid[:height, :width]
    truth = np.clip((9 - np.hypot(y - 11, x - 13)) / 4, 0, 1)
    noise = np.random.default_rng(seed).uniform(-0.3, 0.3, truth.shape)
    alpha = np.clip(truth + noise * ((truth > 0) & (truth < 1)), 0, 1)
    alpha[:, 17:19] *= 0.4
    alpha[2:5, 26:29] = 0.8
    return alpha.astype(np.float32), truth.astype(np.float32), (truth > 0) & (truth < 1)


def plain_gradient(alpha: Alpha) -> NDArray[np.float64]:
    """As the reference code does it: a square kernel in two loops, and a plain sum at every pixel."""
    sigma, epsilon = 1.4, 0.01
    half = math.ceil(sigma * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * sigma * epsilon)))

    def gauss(t: float) -> float:
        return math.exp(-(t**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))

    size = 2 * half + 1
    kernel = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            kernel[i, j] = gauss(i - half) * -(j - half) * gauss(j - half) / sigma**2
    kernel /= np.sqrt((kernel**2).sum())
    stretched = (alpha.astype(np.float64) - alpha.min()) / (alpha.max() - alpha.min())
    padded = np.pad(stretched, half, mode="edge")
    out = np.zeros(alpha.shape)
    for y in range(alpha.shape[0]):
        for x in range(alpha.shape[1]):
            window = padded[y : y + size, x : x + size]
            out[y, x] = math.hypot((window * kernel).sum(), (window * kernel.T).sum())
    return out


def plain_largest(region: NDArray[np.bool_]) -> set[tuple[int, int]]:
    """The largest 4-connected set of pixels, found by walking."""
    left = {(int(y), int(x)) for y, x in np.argwhere(region)}
    best: set[tuple[int, int]] = set()
    while left:
        edge, part = [left.pop()], set()
        while edge:
            y, x = edge.pop()
            part.add((y, x))
            for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if near in left:
                    left.remove(near)
                    edge.append(near)
        best = max(best, part, key=len)
    return best


def plain_conn(alpha: Alpha, truth: Alpha, mask: NDArray[np.bool_]) -> float:
    subjects = [plain_largest((alpha >= k / 10) & (truth >= k / 10)) for k in range(1, 11)]
    total = 0.0
    for y, x in np.argwhere(mask):
        level = 0
        while level < 10 and (y, x) in subjects[level]:
            level += 1
        phi = []
        for value in (float(alpha[y, x]), float(truth[y, x])):
            above = value - level / 10
            phi.append(1 - above * (above >= 0.15))
        total += abs(phi[0] - phi[1])
    return total / 1000


def test_plain_definitions() -> None:
    for seed, masked in product([0, 1], [False, True]):
        alpha, truth, band = pair(seed)
        mask = band if masked else np.ones_like(band)
        differences = [abs(float(alpha[y, x]) - float(truth[y, x])) for y, x in np.argwhere(mask)]
        steeper = (plain_gradient(alpha) - plain_gradient(truth))[mask]
        given = band if masked else None
        assert metrics.mad(alpha, truth, given) == pytest.approx(1000 * sum(differences) / len(differences))
        assert metrics.mse(alpha, truth, given) == pytest.approx(
            1000 * sum(d * d for d in differences) / len(differences)
        )
        assert metrics.grad(alpha, truth, given) == pytest.approx((steeper**2).sum() / 1000)
        assert metrics.conn(alpha, truth, given) == pytest.approx(plain_conn(alpha, truth, mask))


@pytest.mark.parametrize("measure", MEASURES)
def test_the_truth_scores_0_and_order_does_not_matter(measure: Measure) -> None:
    alpha, truth, band = pair()
    assert measure(truth, truth) == 0
    assert measure(alpha, truth, band) > 0
    assert measure(alpha, truth) == pytest.approx(measure(truth, alpha))
    everywhere = np.ones_like(band)
    assert measure(alpha, truth, everywhere) == measure(alpha, truth)


@pytest.mark.parametrize("measure", [*MEASURES, metrics.iou])
def test_tensors_and_turned_pictures_score_alike(measure: Measure) -> None:
    alpha, truth, band = pair()
    expected = measure(alpha, truth, band)
    assert measure(torch.from_numpy(alpha), torch.from_numpy(truth), torch.from_numpy(band)) == expected
    assert measure(alpha[::-1].T, truth[::-1].T, band[::-1].T) == pytest.approx(expected)


def test_scales() -> None:
    truth = np.zeros((10, 20), np.float32)
    assert metrics.mad(truth + 0.5, truth) == 500
    assert metrics.mse(truth + 0.5, truth) == 250
    truth[:, :10] = 1
    assert metrics.mad(1 - truth, truth) == metrics.mse(1 - truth, truth) == 1000
    assert metrics.grad(truth / 2, truth) == pytest.approx(0), "both are stretched first"
    assert metrics.grad(np.zeros_like(truth), truth) == pytest.approx((plain_gradient(truth) ** 2).sum() / 1000)


def test_conn_counts_what_floats() -> None:
    truth = np.zeros((12, 12), np.float32)
    truth[:, :5] = 1
    crumb = truth.copy()
    crumb[4:6, 8:10] = 0.7
    assert metrics.conn(crumb, truth) == pytest.approx(4 * 0.7 / 1000)
    faint = truth.copy()
    faint[4:6, 8:10] = 0.14
    assert metrics.conn(faint, truth) == 0, "below theta, nothing floats"
    island = truth.copy()
    island[6:9, 8:11] = 1
    assert metrics.conn(island, island) == 0, "floating in both is no difference"
    diagonal = truth.copy()
    diagonal[4, 6:9] = 1
    bridged = diagonal.copy()
    bridged[4, 5] = 1
    assert metrics.conn(bridged, diagonal) == pytest.approx(1 / 1000), "the bridge, as what it leads to floats in both"


def test_iou() -> None:
    truth = np.zeros((4, 10), np.float32)
    truth[:, :6] = 1
    alpha = np.roll(truth, 2, axis=1)
    assert metrics.iou(alpha, truth) == 4 / 8
    assert metrics.iou(alpha, truth, truth > 0) == 4 / 6
    assert metrics.iou(truth * 0, truth * 0) == 1


@pytest.mark.parametrize("measure", [*MEASURES, metrics.iou])
def test_wrong_input_is_refused(measure: Measure) -> None:
    alpha, truth, mask = pair()
    for wrong in (
        (alpha[1:], truth, mask),
        (alpha[None], truth[None], mask[None]),
        (alpha, truth, mask[:, 1:]),
        (alpha, truth, mask.astype(np.uint8)),
        (alpha, truth, mask & False),
        (alpha + 0.5, truth, mask),
        (alpha, truth * np.nan, mask),
    ):
        with pytest.raises(ValueError):
            measure(*wrong)


def clip(frames: int = 5) -> tuple[list[Alpha], list[Alpha]]:
    """A disc on the move, and a matte of it with noise in its edge and a piece missing from every other frame."""
    y, x = np.mgrid[:40, :48]
    truths = [np.clip((9 - np.hypot(y - 18 - t, x - 17 - 3 * t)) / 3, 0, 1) for t in range(frames)]
    noise = np.random.default_rng(5)
    alphas = [np.clip(truth + noise.uniform(-0.2, 0.2, truth.shape) * (truth % 1 > 0), 0, 1) for truth in truths]
    for t in range(0, frames, 2):
        alphas[t][12:17, 14 + 3 * t : 19 + 3 * t] *= 0.5
    return [alpha.astype(np.float32) for alpha in alphas], [truth.astype(np.float32) for truth in truths]


def plain_sample(picture: Alpha, x: float, y: float) -> float:
    """Between the four pixels around a place, linearly; from the border on outside."""
    height, width = picture.shape
    x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    left, up = min(int(x), width - 2), min(int(y), height - 2)
    right, down = x - left, y - up
    above = picture[up, left] * (1 - right) + picture[up, left + 1] * right
    below = picture[up + 1, left] * (1 - right) + picture[up + 1, left + 1] * right
    return float(above * (1 - down) + below * down)


def test_dtssd_is_the_plain_definition() -> None:
    alphas, truths = clip()
    pairs = []
    for t in range(1, len(alphas)):
        squares = []
        for y, x in np.ndindex(*truths[t].shape):
            ours = float(alphas[t][y, x]) - float(alphas[t - 1][y, x])
            theirs = float(truths[t][y, x]) - float(truths[t - 1][y, x])
            squares.append((ours - theirs) ** 2)
        pairs.append(100 * math.sqrt(sum(squares) / len(squares)))
    assert metrics.dtssd(alphas, truths) == pytest.approx(sum(pairs) / 4)
    assert metrics.dtssd(alphas, truths, count_first=True) == pytest.approx(sum([0, *pairs]) / 5)


def test_messddt_is_the_plain_definition_along_the_flow_of_the_truth() -> None:
    alphas, truths = clip(3)
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    pairs = []
    for t in range(2):
        one, other = (np.rint(truth * 255).astype(np.uint8) for truth in truths[t : t + 2])
        flow = finder.calc(one, other, None)
        errors = [alphas[t + i].astype(float) - truths[t + i] for i in (0, 1)]
        changes = []
        for y, x in np.ndindex(*one.shape):
            later = plain_sample(errors[1], x + flow[y, x, 0], y + flow[y, x, 1])
            changes.append(abs(errors[0][y, x] ** 2 - later**2))
        pairs.append(1000 * sum(changes) / len(changes))
    assert metrics.messddt(alphas, truths) == pytest.approx(sum(pairs) / 2, rel=0.01)  # OpenCV steps by 1/32 pixel


def test_messddt_without_motion_is_exact() -> None:
    _, (truth, *_) = clip()
    alphas = [truth * share for share in (1, 0.8, 0.9)]
    errors = [(alpha.astype(float) - truth) ** 2 for alpha in alphas]
    expected = [1000 * np.abs(errors[t] - errors[t + 1]).mean() for t in (0, 1)]
    assert metrics.messddt(alphas, [truth] * 3) == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("measure", [metrics.dtssd, metrics.messddt])
def test_only_change_over_time_counts(measure: Measure) -> None:
    alphas, truths = clip()
    assert measure(truths, truths) == 0
    assert measure(alphas, truths) > 1
    still = truths[:1] * 3
    assert measure([still[0] * 0.7] * 3, still) == 0, "a steady error"
    assert measure((alpha for alpha in alphas), iter(truths)) == measure(alphas, truths)
    assert measure(torch.from_numpy(np.stack(alphas)), np.stack(truths)) == measure(alphas, truths)
    assert measure(np.stack(alphas)[:, :3, :2], np.stack(truths)[:, :3, :2]) >= 0, "frames of a few pixels"


def test_an_error_that_travels_with_the_subject_is_steady_for_messddt_only() -> None:
    y, x = np.mgrid[:64, :96]

    def disc(t: int, radius: float, beside: float = 0) -> Alpha:
        shape = (radius - np.hypot(y - 24 - 2 * t, x - 30 - 3.5 * t - beside)) / 4 + 0.5
        return np.clip(shape, 0, 1).astype(np.float32)

    truths = [disc(t, 18) for t in range(5)]
    bitten = [truth * (1 - 0.8 * disc(t, 5, beside=14)) for t, truth in enumerate(truths)]
    flickering = [bite if t % 2 else truth for t, (bite, truth) in enumerate(zip(bitten, truths, strict=True))]
    assert metrics.messddt(bitten, truths) < 0.05 * metrics.messddt(flickering, truths)
    assert metrics.dtssd(bitten, truths) > 0.5 * metrics.dtssd(flickering, truths)


@pytest.mark.parametrize(("measure", "whole"), [(metrics.DtSSD, metrics.dtssd), (metrics.MESSDdt, metrics.messddt)])
def test_a_frame_at_a_time(measure: Callable[[], Measure], whole: Measure) -> None:
    alphas, truths = clip()
    push = measure()
    figures = [push(alpha, truth) for alpha, truth in zip(alphas, truths, strict=True)]
    assert figures[0] is None
    assert np.mean(figures[1:]) == pytest.approx(whole(alphas, truths))


@pytest.mark.parametrize("measure", [metrics.dtssd, metrics.messddt])
def test_wrong_clips_are_refused(measure: Measure) -> None:
    alphas, truths = clip(3)
    for wrong in (
        (alphas[:1], truths[:1]),
        ([], []),
        (alphas, truths[:2]),
        ([alphas[0], alphas[1][1:]], [truths[0], truths[1][1:]]),
        (alphas, [truth + 1 for truth in truths]),
    ):
        with pytest.raises(ValueError):
            measure(*wrong)


def test_foreground_mse_is_the_plain_definition() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = rng.random((2, 3, 6, 7), np.float32)
    truth = rng.random((6, 7)).astype(np.float32) * (rng.random((6, 7)) > 0.4)
    squares = []
    for y, x in np.argwhere(truth > 0):
        squares += [(float(ours[c, y, x]) - float(theirs[c, y, x])) ** 2 for c in range(3)]
    assert metrics.foreground_mse(ours, theirs, truth) == pytest.approx(1000 * sum(squares) / len(squares))
    assert metrics.foreground_mse(torch.from_numpy(ours), theirs, truth) == metrics.foreground_mse(ours, theirs, truth)
    assert metrics.foreground_mse(np.where(truth > 0, theirs, ours), theirs, truth) == 0, "outside nothing counts"
    assert metrics.foreground_mse(np.ones((3, 6, 7)), np.zeros((3, 6, 7)), truth) == 1000


def test_wrong_colours_are_refused() -> None:
    colors, truth = np.ones((3, 4, 5)), np.ones((4, 5))
    for wrong in ((colors, colors, truth * 0), (colors[:2], colors[:2], truth), (colors, colors, truth[1:])):
        with pytest.raises(ValueError):
            metrics.foreground_mse(*wrong)
