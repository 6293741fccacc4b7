"""A point means the one who is there, and nobody who stands apart or has been named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from streammatte.subject.contracts import Look, Prompt
from streammatte.subject.flow import FlowTracker

pytestmark = pytest.mark.unit

LEFT, RIGHT = (slice(20, 84), slice(16, 48)), (slice(20, 84), slice(96, 128))
AT_LEFT, AT_RIGHT = (30.0, 50.0), (110.0, 50.0)


@dataclass
class TwoPeople:
    """Two who stand apart, or touch; the network sees both."""

    apart: bool = True
    frame_size: tuple[int, int] = (96, 144)
    indices: range = range(1)

    def between(self, start: int, stop: int) -> Iterator[Look]:
        picture = np.full((*self.frame_size, 3), 128, np.uint8)
        picture[LEFT], picture[RIGHT] = (200, 60, 40), (40, 60, 200)
        matte = np.zeros(self.frame_size, np.float32)
        matte[LEFT] = matte[RIGHT] = 1
        if not self.apart:
            matte[76:84, 48:96] = 1
        yield Look(0, picture, matte.copy, lambda box: box.of(matte))


def shares(people: TwoPeople, *prompts: Prompt) -> dict[str, tuple[float, float]]:
    """How much of the one at the left, and of the one at the right, each name got."""
    ((_, seen),) = FlowTracker()(people, prompts)
    return {name: (float(each.mask[LEFT].mean()), float(each.mask[RIGHT].mean())) for name, each in seen.items()}


def test_of_two_who_stand_apart_a_point_means_one() -> None:
    left, right = shares(TwoPeople(), Prompt("", "point", 0, AT_RIGHT))[""]
    assert left < 0.01 and right > 0.95


@pytest.mark.parametrize("box_first", [True, False])
@pytest.mark.parametrize("apart", [True, False])
def test_a_point_takes_nothing_from_the_box_of_another(apart: bool, box_first: bool) -> None:
    prompts = [Prompt("anna", "box", 0, (16, 20, 48, 84)), Prompt("ben", "point", 0, AT_RIGHT)]
    found = shares(TwoPeople(apart), *(prompts if box_first else prompts[::-1]))
    assert found["anna"][0] > 0.9 and found["anna"][1] < 0.05
    assert found["ben"][0] < 0.1 and found["ben"][1] > 0.9


def test_points_on_two_who_touch_divide_them() -> None:
    found = shares(TwoPeople(apart=False), Prompt("anna", "point", 0, AT_LEFT), Prompt("ben", "point", 0, AT_RIGHT))
    assert found["anna"][0] > 0.9 and found["anna"][1] < 0.05
    assert found["ben"][0] < 0.05 and found["ben"][1] > 0.9


SMALL = slice(60, 72), slice(30, 36)


@dataclass
class OneFarAway:
    """Somebody whom the network sees only in a part of the picture, and a thing beside him."""

    frame_size: tuple[int, int] = (96, 144)
    indices: range = range(1)

    def between(self, start: int, stop: int) -> Iterator[Look]:
        picture = np.full((*self.frame_size, 3), 128, np.uint8)
        picture[SMALL] = (200, 60, 40)
        near = np.zeros(self.frame_size, np.float32)
        near[SMALL] = near[60:72, 40:46] = 1
        nothing = np.zeros(self.frame_size, np.float32)
        yield Look(0, picture, nothing.copy, lambda box: box.of(near).copy() if box.area < 2000 else box.of(nothing))


def mask_of(point: tuple[float, float]) -> np.ndarray:
    ((_, seen),) = FlowTracker()(OneFarAway(), [Prompt("", "point", 0, point)])
    return seen[""].mask


def test_around_a_point_where_the_network_sees_nothing_it_looks_closer() -> None:
    mask = mask_of((33.0, 66.0))
    assert mask[SMALL].mean() > 0.95 and mask.sum() < 1.1 * mask[SMALL].sum()


def test_what_is_found_beside_the_point_is_not_taken() -> None:
    assert mask_of((50.0, 66.0))[SMALL].max() < 0.1
