"""SAM 2 as a tracker, with a small network of random weights: what depends on what, and what is remembered."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from support.sam2_folder import make_folder

from streammatte.errors import ModelError, WeightsMismatch, WeightsMissing
from streammatte.models.nets.sam2 import load_sam2
from streammatte.subject import sam2
from streammatte.subject.contracts import Look, Prompt, Tracked
from streammatte.subject.sam2 import Sam2Tracker, load_sam2_tracker
from streammatte.subject.sam2_prompts import points_of

pytestmark = pytest.mark.unit

SIZE = 48, 64
BOX = Prompt("", "box", 0, (8.0, 8.0, 30.0, 40.0))


class Clip:
    """A textured picture that drifts, with cuts; says which parts of it were read."""

    def __init__(self, frames: int, *, cuts: Sequence[int] = (), wanted: range | None = None) -> None:
        self.frame_size, self.indices = (2 * SIZE[0], 2 * SIZE[1]), wanted or range(frames)
        self.read: list[range] = []
        self._frames, self._cuts = frames, cuts

    def between(self, start: int, stop: int) -> Iterable[Look]:
        assert 0 <= start < stop <= self._frames
        self.read.append(range(start, stop))
        for index in range(start, stop):
            yield Look(index, self.picture(index), self.unasked, self.unasked)

    def unasked(self, *given: object) -> NDArray[np.float32]:
        raise AssertionError("the network's matte is not needed")

    def picture(self, index: int) -> NDArray[np.uint8]:
        shot = sum(cut <= index for cut in self._cuts)
        texture = np.random.default_rng(shot).integers(0, 256, (SIZE[0], SIZE[1] + self._frames, 3)).astype(np.uint8)
        return np.ascontiguousarray(cv2.GaussianBlur(texture, (0, 0), 2)[:, index : index + SIZE[1]])


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Sam2Tracker:
    return load_sam2_tracker(make_folder(tmp_path_factory.mktemp("sam2")), device="cpu")


def tracked(tracker: Sam2Tracker, clip: Clip, prompts: Sequence[Prompt]) -> list[dict[str, Tracked]]:
    found = dict(tracker(clip, prompts))
    assert list(found) == list(clip.indices)
    return [dict(each) for each in found.values()]


def equal(one: Tracked, other: Tracked) -> bool:
    return np.array_equal(one.mask, other.mask) and one.confidence == other.confidence


def test_every_frame_is_tracked_from_one_prompt_in_both_directions(tracker: Sam2Tracker) -> None:
    clip = Clip(30)
    found = tracked(tracker, clip, [Prompt("ann", "point", 20, (40.0, 40.0))])
    for each in found:
        mask, confidence = each["ann"].mask, each["ann"].confidence
        assert mask.shape == (16, 16) and mask.dtype == np.float32 and 0 <= mask.min() <= mask.max() <= 1
        assert 0 < confidence <= 1
    assert len({each["ann"].mask.tobytes() for each in found}) > 20
    assert all(len(part) <= 16 for part in clip.read[1:-1]) and clip.read[-1] == range(21, 30)


def test_a_correction_changes_what_lies_between_its_neighbours_and_nothing_else(tracker: Sam2Tracker) -> None:
    ends = [BOX, Prompt("", "box", 20, (60.0, 10.0, 120.0, 90.0))]
    before = tracked(tracker, Clip(26), ends)
    after = tracked(tracker, Clip(26), [*ends, Prompt("", "box", 10, (30.0, 8.0, 70.0, 60.0))])
    same = [equal(one[""], other[""]) for one, other in zip(before, after, strict=True)]
    assert all(same[:1]) and all(same[20:]) and not any(same[1:20])


def test_a_part_is_as_in_the_whole(tracker: Sam2Tracker) -> None:
    prompts = [BOX, Prompt("", "box", 16, (60.0, 10.0, 120.0, 90.0))]
    whole = tracked(tracker, Clip(24, cuts=[20]), prompts)
    part = tracked(tracker, Clip(24, cuts=[20], wanted=range(6, 10)), prompts)
    assert all(equal(one[""], other[""]) for one, other in zip(whole[6:10], part, strict=True))


def test_nothing_is_followed_across_a_cut_unless_a_prompt_lies_behind_it(tracker: Sam2Tracker) -> None:
    prompts = [BOX, Prompt("", "box", 29, (60.0, 10.0, 120.0, 90.0))]
    found = [each[""] for each in tracked(tracker, Clip(30, cuts=[10, 20]), prompts)]
    assert [each.confidence > 0 for each in found] == [True] * 10 + [False] * 10 + [True] * 10
    assert not any(each.mask.any() for each in found[10:20])
    alone = [each[""] for each in tracked(tracker, Clip(30, cuts=[10, 20]), prompts[1:])]
    assert all(equal(*pair) for pair in zip(found[20:], alone[20:], strict=True))


def test_subjects_are_followed_each_for_itself(tracker: Sam2Tracker) -> None:
    ann, bob = Prompt("ann", "box", 4, (8.0, 8.0, 30.0, 40.0)), Prompt("bob", "box", 9, (60.0, 10.0, 120.0, 90.0))
    both = tracked(tracker, Clip(14), [ann, bob])
    for prompt in (ann, bob):
        alone = tracked(tracker, Clip(14), [prompt])
        assert all(equal(one[prompt.subject], other[prompt.subject]) for one, other in zip(both, alone, strict=True))


def test_a_mask_is_taken_as_it_is(tracker: Sam2Tracker) -> None:
    mask = np.zeros(SIZE, np.float32)
    mask[:, :32] = 1
    seen = tracked(tracker, Clip(3), [Prompt("", "mask", 1, mask=mask)])[1][""]
    assert seen.confidence == 1
    assert seen.mask[:, :7].min() > 0.99 and seen.mask[:, 9:].max() < 0.01
    assert tracked(tracker, Clip(3), [Prompt("", "mask", 1, mask=np.zeros(SIZE, np.float32))])[1][""].confidence == 0


def test_a_mask_leaves_areas_as_they_are(tracker: Sam2Tracker) -> None:
    mask = np.full(SIZE, np.nan, np.float32)
    mask[:, :16], mask[:, -16:] = 1, 0
    seen = tracked(tracker, Clip(3), [Prompt("", "mask", 1, mask=mask)])[1][""]
    assert seen.mask[:, :3].min() > 0.99 and seen.mask[:, -3:].max() < 0.01
    assert seen.mask[:, 5:-5].std() > 0 and np.isfinite(seen.mask).all()
    nothing = Prompt("", "mask", 1, mask=np.full(SIZE, np.nan, np.float32))
    assert not tracked(tracker, Clip(3), [nothing])[1][""].mask.round().any()


def test_points_and_boxes_at_one_frame_count_together(tracker: Sam2Tracker) -> None:
    point, other = Prompt("", "point", 0, (20.0, 20.0)), Prompt("", "not-point", 0, (90.0, 72.0))
    corners = [(4.0, 8 / 96 * 64, 2), (15.0, 40 / 96 * 64, 3)]  # the network's picture is square
    wanted = [*corners, (10.0, 20 / 96 * 64, 1), (45.0, 48.0, 0)]
    assert np.allclose(points_of([point, BOX, other], (96, 128), 64), wanted)
    confidences = [tracked(tracker, Clip(1), given)[0][""].confidence for given in ([BOX], [BOX, point])]
    assert confidences[0] != confidences[1]


def test_a_later_point_is_seen_with_the_box_in_mind(tracker: Sam2Tracker) -> None:
    away = Prompt("", "not-point", 6, (90.0, 70.0))
    plain, corrected = tracked(tracker, Clip(9), [BOX]), tracked(tracker, Clip(9), [BOX, away])
    assert not equal(plain[6][""], corrected[6][""]) and corrected[6][""].confidence > 0
    assert tracked(tracker, Clip(9), [away])[6][""].confidence == 0  # of nobody


def test_what_is_remembered_does_not_grow(tracker: Sam2Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions: list[Any] = []
    making = sam2._session
    monkeypatch.setattr(sam2, "_session", lambda *given: sessions.append(making(*given)) or sessions[-1])
    most = 0
    for _ in tracker(Clip(40), [BOX, Prompt("", "point", 0, (20.0, 20.0))]):
        outputs = sessions[-1].output_dict_per_obj[0]
        most = max(most, len(outputs["non_cond_frame_outputs"]))
        assert sum("maskmem_features" in each for each in outputs["non_cond_frame_outputs"].values()) <= 7
        assert not sessions[-1].processed_frames and list(outputs["cond_frame_outputs"]) == [0]
    assert 0 < most <= 16


# Weights


def test_a_file_with_its_configuration_beside_it(tmp_path: Path, tracker: Sam2Tracker) -> None:
    folder = make_folder(tmp_path)
    again = load_sam2_tracker(folder / "model.safetensors", device="cpu")
    assert again.size == 64 and again.name == "model.safetensors"
    assert equal(*(tracked(each, Clip(2), [BOX])[1][""] for each in (tracker, again)))


def test_a_shared_tensor_may_be_saved_once(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["prompt_encoder.shared_embedding.positional_embedding"]
    save_file(tensors, folder / "model.safetensors")
    load_sam2(folder)


def test_what_is_not_sam2_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    name = "memory_temporal_positional_encoding"
    save_file({key: value for key, value in tensors.items() if key != name}, folder / "model.safetensors")
    with pytest.raises(WeightsMismatch, match=name):
        load_sam2(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "sam2"}))
    with pytest.raises(ModelError, match=r"config\.json"):
        load_sam2(folder)
    (folder / "config.json").unlink()
    with pytest.raises(WeightsMismatch, match=r"model\.safetensors"):  # of no released size
        load_sam2(folder)
    with pytest.raises(WeightsMissing):
        load_sam2(tmp_path / "none.safetensors")
    (folder / "model.pth").touch()
    with pytest.raises(ModelError, match=r"model\.pth"):
        load_sam2(folder / "model.pth")
    with pytest.raises(ModelError, match="sam3"):
        load_sam2_tracker("sam3", device="cpu", offline=True)
    with pytest.raises(ModelError, match="birefnet"):
        load_sam2_tracker("birefnet", device="cpu", offline=True)


@pytest.mark.parametrize("size", ["tiny", "small", "base-plus", "large"])
def test_released_sizes_are_told_from_their_tensors(size: str) -> None:
    """The widths and numbers of blocks that Meta's repository states for each."""
    import torch
    from transformers import Sam2VideoConfig, Sam2VideoModel

    from streammatte.models.nets.sam2 import BLOCK, FIRST, _released

    width, blocks = {"tiny": (96, 12), "small": (96, 16), "base-plus": (112, 24), "large": (144, 48)}[size]
    tensors = {FIRST: torch.empty(width)} | {f"{BLOCK}{block}.x": torch.empty(0) for block in range(blocks)}
    with torch.device("meta"):
        own = Sam2VideoModel(Sam2VideoConfig.from_dict(_released(tensors, Path("x")))).state_dict()
    assert own[FIRST].shape[0] == width
    assert len({name.removeprefix(BLOCK).split(".")[0] for name in own if name.startswith(BLOCK)}) == blocks
