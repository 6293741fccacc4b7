"""A live model settles on what its machine keeps up with, whatever the load does, and stays there."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from streammatte.live.pace_keeper import PaceKeeper, Setting, ladder, settings_for
from streammatte.options.values import live_quality as quality

pytestmark = pytest.mark.unit

INTERVAL = 1 / 30
NANO = ladder((192, 192))


def run(
    keeper: PaceKeeper,
    frames: int,
    network: Callable[[int], float],
    *,
    between: float = 0.007,
    noise: float = 0.0,
    seed: int = 0,
) -> list[Setting]:
    """The setting of each frame on a machine where the network at 192² takes ``network(frame)`` seconds."""
    luck = np.exp(np.random.default_rng(seed).normal(0, noise, frames)).tolist()
    since, used = 10**9, []
    for frame in range(frames):
        setting = keeper.setting
        since += 1
        ran = since >= setting.every
        since = 0 if ran else since
        # Of small inputs most of the cost stays, as measured: 128² takes three quarters of 192².
        busy = between + ran * network(frame) * (0.5 + 0.5 * setting.size[0] / 192)
        keeper.took(busy * luck[frame], ran=ran)
        used.append(setting)
    return used


def changes(used: list[Setting]) -> int:
    return sum(before != after for before, after in pairwise(used))


def test_a_quick_machine_keeps_the_best() -> None:
    assert changes(run(PaceKeeper(NANO, INTERVAL), 2000, lambda frame: 0.02)) == 0


def test_a_slower_one_goes_down_at_once_and_finds_what_fits() -> None:
    used = run(PaceKeeper(NANO, INTERVAL), 3000, lambda frame: 0.06)
    assert used[-1] == NANO[2]  # 7 + 60 / 3 ms of 33
    assert NANO[2] in used[: 4 * 12]  # within one and a half seconds
    assert all(setting.every >= 2 for setting in used[48:])
    assert used.count(NANO[2]) > 0.8 * len(used)


class Hopeful(PaceKeeper):
    """Always expects the step above to fit."""

    def expected(self, other: Setting) -> float:
        return 0.0


def test_a_setting_that_nearly_fits_is_tried_ever_less_often_but_never_given_up() -> None:
    # 7 + 60 / 2 ms does not fit 33.
    used = run(Hopeful(NANO, INTERVAL), 30 * 900, lambda frame: 0.06)
    assert changes(used[: 30 * 600]) < 30  # in ten minutes
    assert 1 <= changes(used[-30 * 300 :]) <= 5
    assert used.count(NANO[2]) > 0.9 * len(used)


def test_noise_does_not_make_it_swing() -> None:
    for seed in range(3):
        for network in (0.03, 0.05, 0.06, 0.1):
            used = run(PaceKeeper(NANO, INTERVAL), 30 * 300, lambda frame, took=network: took, noise=0.4, seed=seed)
            assert changes(used) < 25  # in five minutes
            assert changes(used[-30 * 60 :]) <= 4


@pytest.mark.parametrize("seed", range(3))
def test_it_lives_with_a_machine_whose_load_wanders(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wander = 0.05 * np.exp(np.repeat(np.cumsum(rng.normal(0, 0.1, 30)), 300).clip(-1, 1))
    used = run(PaceKeeper(NANO, INTERVAL), len(wander), lambda frame: float(wander[frame]), noise=0.2, seed=seed)
    assert changes(used) < 40
    load = [
        (0.007 + wander[frame] * (0.5 + 0.5 * setting.size[0] / 192) / setting.every) / INTERVAL
        for frame, setting in enumerate(used)
    ]
    assert np.mean(np.array(load) > 1.1) < 0.15  # hardly ever late for long


def test_a_load_that_comes_and_goes_is_followed_down_quickly_and_up_slowly() -> None:
    used = run(PaceKeeper(NANO, INTERVAL), 3000, lambda frame: 0.075 if 1000 <= frame < 2000 else 0.02)
    assert used[999] == NANO[0]
    assert used[1100].every >= 3
    assert used[2030] != NANO[0]
    assert used[-1] == NANO[0]
    assert changes(used) <= 10


def test_it_says_when_nothing_cheaper_is_left_and_takes_it_back() -> None:
    keeper = PaceKeeper(NANO, INTERVAL)
    run(keeper, 200, lambda frame: 0.4)
    assert keeper.exhausted
    assert keeper.setting == NANO[-1]
    run(keeper, 200, lambda frame: 0.01)
    assert not keeper.exhausted


def test_a_network_of_seconds_is_found_out_within_a_handful_of_frames() -> None:
    keeper = PaceKeeper(ladder((1024, 1024)), INTERVAL)
    for _ in range(6):
        keeper.took(5.0, ran=True)
    assert keeper.exhausted


def test_a_pinned_setting_stays_and_says_that_it_is_late() -> None:
    pinned = Setting((160, 160), 2)
    keeper = PaceKeeper(settings_for(((160, 160), 2), (192, 192)), INTERVAL)
    assert set(run(keeper, 500, lambda frame: 0.2)) == {pinned}
    assert keeper.exhausted


def test_every_step_down_is_cheaper_and_one_that_networks_take() -> None:
    for own in ((192, 192), (512, 512), (1024, 1024), (1440, 2560), (2048, 2048)):
        steps = ladder(own)
        assert steps[0] == Setting(own, 1)
        costs = [step.size[0] * step.size[1] / step.every for step in steps]
        assert costs == sorted(set(costs), reverse=True)
        assert all(side % 32 == 0 for step in steps for side in step.size)


def test_names_stand_for_steps() -> None:
    assert settings_for("auto", (192, 192)) == NANO
    assert settings_for("high", (192, 192)) == (NANO[0],)
    assert settings_for("medium", (192, 192)) == (Setting((192, 192), 2),)
    assert settings_for("low", (192, 192)) == (NANO[-1],)
    assert [str(step) for step in NANO[:4]] == [
        "192×192, every frame",
        "192×192, every 2nd frame",
        "192×192, every 3rd frame",
        "192×192, every 4th frame",
    ]


def test_a_quality_is_a_name_or_a_size_and_how_often() -> None:
    assert [quality(name) for name in ("auto", "high", "medium", "low")] == ["auto", "high", "medium", "low"]
    assert quality("256x192") == ((192, 256), 1)
    assert quality("160x160/3") == ((160, 160), 3)


def test_other_words_are_refused() -> None:
    for text in ("best", "", "192", "192x", "192x192/", "192x192/0", "192x192/x", "192x192/2/2", "/2"):
        with pytest.raises(ValueError, match="auto, high, medium, low"):
            quality(text)
