"""Several subjects of one run: each frame is read once, and no pixel is filled twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from support.subjects import Mattes, RedModel, TruthTracker, box_of, crossing

import streammatte as sm
from streammatte.frame import Cutout, Frame
from streammatte.media import open_video
from streammatte.media.read.video import Video
from streammatte.subject import following, together
from streammatte.subject.together import filling_once, shared

pytestmark = pytest.mark.media


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mattes]:
    path = tmp_path_factory.mktemp("clip") / "two.mkv"
    return path, crossing(path, 16)


@pytest.fixture(autouse=True)
def tracked(clip: tuple[Path, Mattes], monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = TruthTracker(clip[1])
    monkeypatch.setattr(following, "tracker_of", lambda *given, **more: ("a stand-in", tracker))


def both(clip: tuple[Path, Mattes], folder: Path, model: RedModel | None = None) -> tuple[np.ndarray, ...]:
    """(frames, H, W) of a and b, with the usual stages."""
    path, mattes = clip
    folder.mkdir()
    subject = [f"{name}: {box_of(mattes[name][0])}" for name in "ab"]
    sm.matte_video(path, folder / "out.mkv", model=model or RedModel(), subject=subject)
    found = []
    for name in "ab":
        with open_video(folder / f"out.{name}.mkv") as source:
            found.append(np.stack([cutout.alpha.numpy() for cutout in source.cutouts()]))
    return tuple(found)


def test_no_pixel_is_filled_twice_and_nothing_else_changes(
    clip: tuple[Path, Mattes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = both(clip, tmp_path / "together")
    monkeypatch.setattr(together, "filling_once", list)
    alone = both(clip, tmp_path / "apart")
    total = alone[0] + alone[1]
    assert total.max() > 1.05, "each by itself, they overlap after smoothing"
    assert (a + b).max() <= 1.002
    fits = total <= 0.999  # by more than files round
    for found, before in ((a, alone[0]), (b, alone[1])):
        assert np.array_equal(found[fits], before[fits])


def test_the_clip_is_decoded_once_for_all(
    clip: tuple[Path, Mattes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    frames = Video.__iter__

    def counted(self: Video) -> Iterator[Frame]:
        for frame in frames(self):
            read.append(frame.index)
            yield frame

    monkeypatch.setattr(Video, "__iter__", counted)
    a, _ = both(clip, tmp_path / "out")
    assert read == list(range(16)) and len(a) == 16


def test_an_error_in_one_chain_ends_all_and_leaves_nothing(clip: tuple[Path, Mattes], tmp_path: Path) -> None:
    class Failing(RedModel):
        def __call__(self, frames: Sequence[Frame]) -> list[torch.Tensor]:
            if len(self.asked) >= 20:
                raise sm.DeviceError("the device is gone")
            return super().__call__(frames)

    with pytest.raises(sm.DeviceError, match="the device is gone"):
        both(clip, tmp_path / "out", Failing())
    assert not [each for each in (tmp_path / "out").iterdir() if not each.name.startswith(".")]


def test_what_several_read_is_read_once_and_let_go() -> None:
    taken: list[int] = []
    one, other = shared((taken.append(n) or n for n in range(6)), 2)
    assert [next(one), next(one), next(other), next(one)] == [0, 1, 0, 2]
    assert taken == [0, 1, 2]
    assert [*one] == [3, 4, 5] and [*other] == [1, 2, 3, 4, 5] and taken == list(range(6))


def test_of_a_core_matte_each_keeps_all() -> None:
    frame = Frame(torch.zeros(3, 1, 4), 0, 0)
    core = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    alphas = [torch.tensor([[0.3, 0.9, 0.6, 1.0]]), torch.tensor([[0.7, 0.0, 0.9, 1.0]])]
    one, other = filling_once([Cutout(frame, alpha, core=core) for alpha in alphas])
    assert one.alpha.tolist()[0] == pytest.approx([0.3, 0.9, 0.4, 1.0])
    assert other.alpha.tolist()[0] == pytest.approx([0.7, 0.0, 0.6, 1.0])
