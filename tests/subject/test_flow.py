"""The tracker without weights, on two coloured, textured figures who pass each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from support.subjects import overlap

from streammatte.subject.claims import settled
from streammatte.subject.contracts import OTHERS, Look, Prompt, Tracked
from streammatte.subject.flow import FlowTracker
from streammatte.subject.smoothing import spread

pytestmark = pytest.mark.unit

SIZE = 72, 112  # height, width
FIGURE = 44, 20
TOP = 14
COUNT = 22
COLOURS = {"a": (190, 60, 50), "b": (60, 160, 190)}
Found = list[dict[str, Tracked]]


def textured(size: tuple[int, int], colour: Sequence[int], seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(0, 1, (*size, 3)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return np.clip(np.float32(colour) + 25 * noise / noise.std(), 0, 255)


class Scene:
    """Frames of two figures, b in front of a, as a tracker reads them; the network sees both.

    Args:
        left: Of each in every frame, in pixels.
        cut: The first frame with another background.
    """

    def __init__(self, left: dict[str, Sequence[int]], cut: int | None = None) -> None:
        self.frame_size, self.indices = SIZE, range(len(left["a"]))
        self.visible: dict[str, list[NDArray[np.float32]]] = {"a": [], "b": []}
        self.read: list[int] = []
        self._pictures: list[NDArray[np.uint8]] = []
        figures = {name: textured(FIGURE, colour, 1) for name, colour in COLOURS.items()}
        for index in self.indices:
            later = cut is not None and index >= cut
            picture = textured(SIZE, (30, 60, 20) if later else (90, 90, 90), 2 + later)
            visible = {name: np.zeros(SIZE, np.float32) for name in figures}
            for name, figure in figures.items():
                start, stop = (min(max(x, 0), SIZE[1]) for x in (left[name][index], left[name][index] + FIGURE[1]))
                where = np.s_[TOP : TOP + FIGURE[0], start:stop]
                picture[where] = figure[:, start - left[name][index] : stop - left[name][index]]
                for other in visible.values():
                    other[where] = 0
                visible[name][where] = 1
            for name, mask in visible.items():
                self.visible[name].append(mask)
            self._pictures.append(picture.astype(np.uint8))

    def between(self, start: int, stop: int) -> Iterator[Look]:
        for index in range(max(start, 0), min(stop, len(self._pictures))):
            self.read.append(index)
            matte = sum(self.visible[name][index] for name in "ab")
            yield Look(index, self._pictures[index], partial(np.copy, matte), lambda box, own=matte: box.of(own).copy())

    def box(self, whom: str, index: int, name: str = "") -> Prompt:
        rows, columns = (np.nonzero(self.visible[whom][index].any(axis))[0] for axis in (1, 0))
        return Prompt(name, "box", index, tuple(map(float, (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))))

    def scores(self, found: Found, whom: str, name: str = "") -> list[float]:
        """The overlap with one figure, in each frame."""
        masks = (cv2.resize(each[name].mask, SIZE[::-1]) for each in found)
        return [overlap(mask, true) for mask, true in zip(masks, self.visible[whom], strict=True)]


def passing(cut: int | None = None) -> Scene:
    """In the middle of the clip, a is hidden behind b."""
    return Scene({"a": range(6, 6 + 4 * COUNT, 4), "b": range(90, 90 - 4 * COUNT, -4)}, cut)


def touching() -> Scene:
    return Scene({"a": [36] * 8, "b": [56] * 8})


HIDDEN = range(7, 16)


def followed(scene: Scene, *prompts: Prompt) -> Found:
    indices, found = zip(*FlowTracker()(scene, prompts), strict=True)
    assert list(indices) == list(scene.indices)
    return [dict(each) for each in found]


def follows(scores: Sequence[float], least: float = 0.8) -> bool:
    """Whether the right one is followed, wherever it can be seen."""
    return min(score for index, score in enumerate(scores) if index not in HIDDEN) >= least


def point(name: str, x: float, y: float, index: int = 0, kind: str = "point") -> Prompt:
    return Prompt(name, kind, index, (x, y))  # type: ignore[arg-type]


@pytest.mark.parametrize("at", [(0,), (COUNT - 1,), (0, 5, COUNT - 1), (18,)])
@pytest.mark.parametrize("whom", "ab")
def test_each_of_two_who_pass_is_followed_from_its_boxes(whom: str, at: tuple[int, ...]) -> None:
    scene = passing()
    found = followed(scene, *(scene.box(whom, index) for index in at))
    assert follows(scene.scores(found, whom))
    rival = next(name for name in "ab" if name != whom)
    for index, each in enumerate(found):
        if index not in HIDDEN:
            own, other = each[""].mask, scene.visible[rival][index]
            assert (own * other).sum() <= 0.08 * other.sum()
            assert overlap(each[OTHERS].mask, other) >= 0.75, "who was not named is told"
            assert each[""].confidence > 0.5


def test_both_at_once_share_no_pixel() -> None:
    scene = passing()
    found = followed(scene, scene.box("a", 0, "anna"), scene.box("b", 0, "ben"))
    for each in found:
        assert (each["anna"].mask + each["ben"].mask + each[OTHERS].mask).max() <= 1.001
    assert follows(scene.scores(found, "a", "anna")) and follows(scene.scores(found, "b", "ben"))


@pytest.mark.parametrize("again", ["a", "b"])
def test_a_later_box_of_one_takes_nothing_from_the_other(again: str) -> None:
    """On the way back from there, the other one is somebody who was not named."""
    scene, names = passing(), {"a": "anna", "b": "ben"}
    found = followed(
        scene, scene.box("a", 0, "anna"), scene.box("b", 0, "ben"), scene.box(again, COUNT - 1, names[again])
    )
    for each in found:
        assert (each["anna"].mask + each["ben"].mask + each[OTHERS].mask).max() <= 1.001
    assert follows(scene.scores(found, "a", "anna")) and follows(scene.scores(found, "b", "ben"))


def test_who_was_named_here_gives_up_least() -> None:
    mask = np.ones((4, 6), np.float32)
    found = {name: Tracked(mask, 0.9) for name in ("anna", "ben", OTHERS)}
    told = settled(found, {"anna": 0, "ben": 24})
    assert told["anna"].mask.min() > 0.99 and told["ben"].mask.max() < 0.01 and not told[OTHERS].mask.any()
    assert [each.confidence for each in told.values()] == [0.9] * 3
    halves = settled({"anna": found["anna"], "ben": found["ben"]}, {"anna": 7, "ben": 7})
    assert np.allclose(halves["anna"].mask, 0.5) and np.allclose(halves["ben"].mask, 0.5)
    three = {name: Tracked(mask, 1) for name in ("anna", "ben", "carl")}
    claims = settled(three, {"anna": 0, "ben": 0, "carl": 9}).values()
    assert np.sum([each.mask for each in claims], axis=0).max() < 1.01, "whoever has nothing left gives no more"
    apart = {"anna": Tracked(mask * 0.4, 1), "ben": Tracked(mask * 0.5, 1)}
    assert all(np.array_equal(settled(apart, {"anna": 0, "ben": 9})[name].mask, apart[name].mask) for name in apart)


def test_what_is_hidden_is_less_sure() -> None:
    scene = passing()
    found = followed(scene, scene.box("a", 0))
    least = min(range(COUNT), key=lambda index: found[index][""].confidence)
    assert least in HIDDEN and found[least][""].confidence < 0.5


def test_nothing_is_followed_across_a_cut_without_a_prompt_behind_it() -> None:
    scene = passing(cut=5)
    found = followed(scene, scene.box("a", 0))
    assert follows(scene.scores(found, "a")[:5])
    assert all(not each[""].mask.any() and each[""].confidence == 0 for each in found[5:])
    found = followed(scene, scene.box("a", 18))
    assert not any(each[""].mask.any() for each in found[:5])
    assert follows(scene.scores(found, "a"), 0) and min(scene.scores(found, "a")[18:]) >= 0.8
    found = followed(scene, scene.box("a", 0), scene.box("a", 18))
    assert follows(scene.scores(found, "a"))


def test_one_point_means_all_of_its_figure_and_not_the_other() -> None:
    scene = passing()
    assert follows(scene.scores(followed(scene, point("", 16, 36)), "a"))
    beside = touching()
    assert max(beside.scores(followed(beside, point("", 5, 5)), "a")) < 0.1


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_points_tell_those_who_touch_apart(names: str) -> None:
    scene = touching()
    places = {"a": (46, 36), "b": (66, 36)}
    found = followed(scene, *(point(name, *places[name]) for name in names))
    for name in names:
        assert min(scene.scores(found, name, name)) >= 0.8


@pytest.mark.parametrize("kind", ["not-point", "mask"])
@pytest.mark.parametrize(("box", "at"), [(0, 19), (COUNT - 1, 2)])
def test_a_correction_far_from_the_subject_costs_nothing(kind: str, box: int, at: int) -> None:
    """It says nothing whole, so that it only corrects what comes from the box, before and behind it."""
    scene = passing()
    paint = np.full(SIZE, np.nan, np.float32)
    paint[:4] = 0
    correction = point("", 56, 3, at, kind) if kind == "not-point" else Prompt("", "mask", at, mask=paint)
    found = followed(scene, scene.box("a", box), correction)
    assert follows(scene.scores(found, "a"))


def test_a_painted_hand_is_taken_along_both_ways() -> None:
    """The upper half of the neighbour is painted white, and so belongs to the subject around that frame."""
    scene = touching()
    hand = np.s_[TOP : TOP + 22, 56 : 56 + FIGURE[1]]
    paint = np.full(SIZE, np.nan, np.float32)
    paint[hand] = 1
    found = followed(scene, scene.box("a", 0), Prompt("", "mask", 5, mask=paint))
    assert found[0][""].mask[hand].mean() < 0.2
    assert all(each[""].mask[hand].mean() > 0.8 for each in found[4:7])


def test_a_box_and_a_point_beside_the_subject_are_the_box() -> None:
    scene = passing()
    found = followed(scene, scene.box("a", 0), point("", 56, 3, 0, "not-point"))
    assert follows(scene.scores(found, "a"))


def test_the_same_prompts_give_the_same_bits() -> None:
    once, again = (followed(scene, scene.box("a", 0), scene.box("a", 16)) for scene in (passing(), passing()))
    for one, same in zip(once, again, strict=True):
        assert one.keys() == same.keys()
        assert all(np.array_equal(one[name].mask, same[name].mask) for name in one)
        assert all(one[name].confidence == same[name].confidence for name in one)


def test_frames_are_read_once_each_way() -> None:
    scene = passing()
    followed(scene, scene.box("a", 0), scene.box("a", 16))
    assert sorted(scene.read) == sorted([*range(17), *range(COUNT), *range(17)]), "and once more up to a later box"


def test_a_later_box_takes_nothing_that_was_known_to_be_somebody_else() -> None:
    """A generous box around both, once they are close: the one who was followed so far is meant."""
    scene = passing()
    both = scene.box("a", 6), scene.box("b", 6)
    around = tuple(pick(a, b) for pick, a, b in zip((min, min, max, max), *(each.at for each in both), strict=True))
    found = followed(scene, scene.box("a", 0), Prompt("", "box", 6, around))
    assert min(scene.scores(found, "a")[:7]) > 0.8
    assert max(scene.scores(found, "b")) < 0.2


def test_a_later_box_brings_back_who_was_lost() -> None:
    """Behind a cut nothing is followed, and so the box begins anew."""
    scene = passing(cut=8)
    found = followed(scene, scene.box("a", 0), scene.box("a", 16))
    assert follows(scene.scores(found, "a")[12:])


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (1, 200), (200, 3)])
def test_tiny_pictures(size: tuple[int, int]) -> None:
    class Tiny:
        frame_size, indices = size, range(3)

        def between(self, start: int, stop: int) -> Iterator[Look]:
            matte = np.ones(size, np.float32)
            for index in range(start, min(stop, 3)):
                picture = np.full((*size, 3), 90, np.uint8)
                yield Look(index, picture, partial(np.copy, matte), lambda box: box.of(matte).copy())

    tracker, box = FlowTracker(), (0.0, 0.0, float(size[1]), float(size[0]))
    found = dict(tracker(Tiny(), [Prompt("", "box", 0, box), Prompt("", "not-point", 1, (0.0, 0.0))]))
    assert [each[""].mask.shape for each in found.values()] == [size] * 3
    assert all(np.isfinite(each[""].mask).all() for each in found.values())


def test_labels_of_any_number_are_spread_in_pictures_of_any_size() -> None:
    labels = np.zeros((37, 51, 7), np.float32)
    labels[10:20, 10:20, 5] = 1
    wide = spread(labels, 8)
    assert wide.shape == labels.shape and wide[..., 5].max() > wide[0, 50, 5] and not wide[..., :5].any()
    assert np.array_equal(spread(labels[..., 5], 8), wide[..., 5])
