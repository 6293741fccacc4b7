"""Named subjects through a run: what is cropped, limited and joined loses nothing, and a correction stays local."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import SAMPLES
from PIL import Image
from support.subjects import Mattes, NearestBox, RedModel, TruthTracker, box_of, crossing

import streammatte as sm
from streammatte.cli.main import main
from streammatte.media import open_video
from streammatte.subject import following
from streammatte.subject.contracts import Looks, Prompt, Tracked, Tracker
from streammatte.summary import Summary

pytestmark = pytest.mark.media

NETWORK = (128, 128)
NOWHERE = Tracked(np.zeros((4, 4), np.float32), 0.0)
PLAIN = {"smooth": "off", "decontaminate": "off", "colors": "off", "detail": "off"}


Use = Callable[[Tracker], None]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mattes]:
    path = tmp_path_factory.mktemp("clip") / "two.mkv"
    return path, crossing(path)


@pytest.fixture
def tracked_by(monkeypatch: pytest.MonkeyPatch) -> Use:
    def use(tracker: Tracker) -> None:
        monkeypatch.setattr(following, "tracker_of", lambda *given, **more: ("a stand-in", tracker))

    return use


def alphas(path: Path) -> list[np.ndarray]:
    with open_video(path) as source:
        return [cutout.alpha.numpy() for cutout in source.cutouts()]


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two mattes at the network's size."""
    sure = [
        cv2.resize(np.ascontiguousarray(each), NETWORK, interpolation=cv2.INTER_AREA) > 0.5 for each in (one, other)
    ]
    return float((sure[0] & sure[1]).sum() / (sure[0] | sure[1]).sum())


def named(mattes: Mattes) -> list[str]:
    return [f"{name}: {box_of(mattes[name][0])}" for name in mattes]


def test_each_of_two_is_their_own_matte(clip: tuple[Path, Mattes], tmp_path: Path, tracked_by: Use) -> None:
    path, mattes = clip
    tracked_by(TruthTracker(mattes))
    sm.matte_video(path, tmp_path / "out.mkv", model=RedModel(), subject=named(mattes), **PLAIN)
    assert {each.name for each in tmp_path.iterdir()} == {"out.a.mkv", "out.b.mkv"}
    found = {name: alphas(tmp_path / f"out.{name}.mkv") for name in mattes}
    for name in mattes:
        assert min(map(agreement, found[name], mattes[name])) >= 0.98, name
    assert max((one + other).max() for one, other in zip(*found.values(), strict=True)) <= 1.005, (
        "a pixel has one owner"
    )


def test_joined_they_are_both(clip: tuple[Path, Mattes], tmp_path: Path, tracked_by: Use) -> None:
    path, mattes = clip
    tracked_by(TruthTracker(mattes))
    sm.matte_video(path, tmp_path / "out.mkv", model=RedModel(), subject=named(mattes), join=True, **PLAIN)
    assert [each.name for each in tmp_path.iterdir()] == ["out.mkv"]
    for found, *both in zip(alphas(tmp_path / "out.mkv"), *mattes.values(), strict=True):
        assert agreement(found, sum(both)) >= 0.98


def test_one_subject_has_the_outputs_own_name(clip: tuple[Path, Mattes], tmp_path: Path, tracked_by: Use) -> None:
    """Through the usual stages, too; and the passer-by, who is not named, is kept out unless he touches."""
    path, mattes = clip
    tracked_by(TruthTracker(mattes))
    outputs = {"matte": tmp_path / "matte.####.png", "report": tmp_path / "out.html"}
    summary = sm.matte_video(path, tmp_path / "out.mkv", model=RedModel(), subject=[box_of(mattes["a"][0])], **outputs)
    assert len(list(tmp_path.glob("matte.*.png"))) == 8 and (tmp_path / "out.html").exists()
    assert "not found" not in " ".join(summary.notes)
    found = alphas(tmp_path / "out.mkv")
    for index in (0, 1, 6, 7):
        assert agreement(found[index], mattes["a"][index]) >= 0.95


def test_a_lost_limb_is_filled_where_the_tracker_is_sure(
    clip: tuple[Path, Mattes], tmp_path: Path, tracked_by: Use
) -> None:
    path, mattes = clip

    class Blind(RedModel):
        def __call__(self, frames: Sequence[sm.Frame]) -> list[torch.Tensor]:
            return [alpha * (torch.arange(128) < 90)[:, None] for alpha in super().__call__(frames)]

    scores = {}
    for confidence in (1.0, 0.5):
        tracked_by(TruthTracker(mattes, confidence))
        folder = tmp_path / str(confidence)
        folder.mkdir()
        box = box_of(mattes["a"][0])
        sm.matte_video(path, folder / "out.mkv", model=Blind(), subject=[box], mark_out="0", **PLAIN)
        scores[confidence] = agreement(alphas(folder / "out.mkv")[0], mattes["a"][0])
    assert scores[1.0] > scores[0.5] + 0.1


def test_a_tracker_that_loses_its_subject_is_told_with_the_frames(
    clip: tuple[Path, Mattes], tmp_path: Path, tracked_by: Use
) -> None:
    path, mattes = clip

    class Losing(TruthTracker):
        def __call__(self, looks: Looks, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Mapping[str, Tracked]]]:
            for index, found in super().__call__(looks, prompts):
                yield index, {} if index > 9 else found if index < 5 else dict.fromkeys(found, NOWHERE)

    tracked_by(Losing(mattes))
    summary = sm.matte_video(path, tmp_path / "out.mkv", model=RedModel(), subject=named(mattes)[0], **PLAIN)
    assert any("lost a from frame 5 to 7" in note for note in summary.notes)
    assert max(alpha.max() for alpha in alphas(tmp_path / "out.a.mkv")[5:]) == 0


def written(folder: Path, *, clip: Path, model: RedModel, subject: Sequence[str]) -> tuple[Summary, list[np.ndarray]]:
    summary = sm.matte_video(
        clip, folder / "out.mkv", model=model, subject=subject, keep_mattes=True, overwrite=True, **PLAIN
    )
    return summary, alphas(folder / "out.mkv")


def test_a_correction_changes_its_surroundings_only(tmp_path: Path, tracked_by: Use) -> None:
    clip, count = tmp_path / "clip.mkv", 300
    crossing(clip, count, (64, 48))
    weights = tmp_path / "weights"
    weights.write_text("red")
    boxes = [f"box {10 + index // 10},5,{40 + index // 10},45 @{index}" for index in (0, 100, 200)]
    tracker, model = NearestBox(), RedModel((32, 32), weights)
    tracked_by(tracker)
    _, before = written(tmp_path, clip=clip, model=model, subject=boxes)
    assert len(before) == count and sorted(tracker.asked) == sorted([*range(count), 100, 200])

    tracker.asked.clear()
    model.asked.clear()
    again, same = written(tmp_path, clip=clip, model=model, subject=boxes)
    assert not tracker.asked and not model.asked and again.mattes_read == count
    assert all(map(np.array_equal, before, same))

    corrected, after = written(tmp_path, clip=clip, model=model, subject=[*boxes, "box 2,2,62,20 @150"])
    changed = {index for index in range(count) if not np.array_equal(before[index], after[index])}
    assert changed and changed <= set(range(101, 200))
    assert set(tracker.asked) == set(range(100, 201))
    assert set(model.asked) <= set(range(101, 200)) and corrected.mattes_computed == len(model.asked) < 100


def test_of_a_photograph_the_one_pointed_at(clip: tuple[Path, Mattes], tmp_path: Path, tracked_by: Use) -> None:
    path, mattes = clip
    tracked_by(TruthTracker(mattes))
    with open_video(path) as source:
        rgb = next(iter(source)).rgb.permute(1, 2, 0).numpy()
    Image.fromarray(rgb).save(tmp_path / "photo.png")
    ys, xs = np.nonzero(mattes["a"][0] > 0.9)
    point = f"point {xs[0]},{ys[0]}"
    sm.matte_video(tmp_path / "photo.png", tmp_path / "cut.png", model=RedModel(), subject=[point], **PLAIN)
    (found,) = alphas(tmp_path / "cut.png")
    assert agreement(found, mattes["a"][0]) >= 0.98
    for prompt in (point, sm.Prompt("", "point", 0, (xs[0], ys[0]))):
        cut = sm.remove(rgb, RedModel(), subject=[prompt])
        assert agreement(cut[..., 3] / np.float32(255), mattes["a"][0]) >= 0.95
    with pytest.raises(sm.InputError):
        sm.remove(rgb, RedModel(), subject=["point 1,2 @3"])
    with pytest.raises(sm.InputError):
        sm.remove([rgb], RedModel(), subject=[point])


def test_a_painted_mask_is_the_matte_of_its_frame_and_garbage_wins(
    clip: tuple[Path, Mattes], tmp_path: Path, tracked_by: Use
) -> None:
    path, mattes = clip
    tracked_by(TruthTracker(mattes))
    painted = np.full((180, 320), 128, np.uint8)
    painted[:30, :60], painted[150:] = 255, 0
    Image.fromarray(painted).save(tmp_path / "painted.png")
    garbage = np.zeros((180, 320), np.uint8)
    garbage[:, :10] = 255
    Image.fromarray(garbage).save(tmp_path / "garbage.png")
    prompts = [*named(mattes), f"a: mask {tmp_path / 'painted.png'} @2"]
    options = {"mark_out": "3", "garbage_mattes": [tmp_path / "garbage.png"], **PLAIN}
    sm.matte_video(path, tmp_path / "out.mkv", model=RedModel(), subject=prompts, **options)
    found = alphas(tmp_path / "out.a.mkv")
    assert (found[2][:28, 12:58] > 0.99).all() and (found[2][152:] == 0).all()
    assert all((alpha[:, :10] == 0).all() for alpha in found)
    assert agreement(found[3], mattes["a"][3]) >= 0.95, "which nothing was painted for"


def test_a_stranger_is_kept_out(clip: tuple[Path, Mattes], tmp_path: Path, tracked_by: Use) -> None:
    """One of two is named, and in the middle of the clip they touch."""
    path, mattes = clip
    tracked_by(TruthTracker({"a": mattes["b"]}))
    sm.matte_video(path, tmp_path / "out.mkv", model=RedModel(), subject=[box_of(mattes["b"][0])], **PLAIN)
    for found, other, true in zip(alphas(tmp_path / "out.mkv"), *mattes.values(), strict=True):
        assert agreement(found, true) >= 0.94
        assert (found * other).sum() <= 0.08 * other.sum()


def test_the_command_follows_a_box_and_a_file_of_prompts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shot.json").write_text(
        json.dumps({"version": 1, "prompts": [{"subject": "anna", "box": [140, 10, 520, 360], "time": 2}]})
    )
    usual = ["--model", "birefnet-nano", "--device", "cpu", "--offline", "--out", "3", "--json"]
    clip, matte = str(SAMPLES / "talking.mp4"), str(tmp_path / "matte.mkv")
    assert main([clip, "--matte", matte, *usual, "--subject", "box 140,10,520,360"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 4
    assert main([clip, "--matte", matte, *usual, "--prompts", str(tmp_path / "shot.json")]) == 0
    assert {each.name for each in tmp_path.iterdir()} == {"shot.json", "matte.mkv", "matte.anna.mkv"}
    with open_video(SAMPLES / "talking.alpha.mkv") as truth:
        true = [cutout.alpha.numpy() for cutout in truth.cutouts()]
    for name in ("matte.mkv", "matte.anna.mkv"):
        for found, expected in zip(alphas(tmp_path / name), true, strict=False):
            assert agreement(found, expected) >= 0.9


def test_every_output_has_the_subjects_name_in_it(clip: tuple[Path, Mattes], tmp_path: Path, tracked_by: Use) -> None:
    path, mattes = clip
    tracked_by(TruthTracker(mattes))
    asked = {"deliver": tmp_path / "set", "matte": tmp_path / "matte####.png", "report": tmp_path / "page.html"}
    options = {"mark_out": "1", "start_number": 1001, **asked, **PLAIN}
    summary = sm.matte_video(path, tmp_path / "cut.####.png", model=RedModel(), subject=named(mattes), **options)
    found = {str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if each.is_file()}
    kinds = ("two.{}.mov", "two.{}.webm", "two.fill.{}.mov", "two.matte.{}.mov", "two.comp.{}.mp4")
    delivered = {f"set/{kind.format(name)}" for kind in kinds for name in "ab"}
    numbered = {
        f"{start}.{name}.{number}.png" for start in ("cut", "matte") for name in "ab" for number in (1001, 1002)
    }
    assert found == {*delivered, *numbered, "set/two.txt", "page.a.html", "page.b.html"}
    assert summary.frames == 2 and len(summary.outputs) == 2 * 8 + 1
    with pytest.raises(sm.WriteFailed, match=r"cut\.a"):
        sm.matte_video(path, tmp_path / "cut.####.png", model=RedModel(), subject=named(mattes), mark_out="1", **PLAIN)
