"""``streammatte preview``: what it shows is what a run would write, and nothing else is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from support.pages import Reader
from support.subjects import Mattes, RedModel, TruthTracker, box_of, crossing

import streammatte as sm
from streammatte.cli import previewing
from streammatte.cli.main import main
from streammatte.errors import InputError
from streammatte.media import open_video
from streammatte.media.write.composing import opacity
from streammatte.options import Options
from streammatte.quality import sheet
from streammatte.subject import following
from streammatte.subject.contracts import Prompt, Tracked

pytestmark = pytest.mark.media

FRAMES = 10


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mattes]:
    path = tmp_path_factory.mktemp("clip") / "two.mkv"
    return path, crossing(path, FRAMES)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, clip: tuple[Path, Mattes]) -> RedModel:
    """The network of every run and preview; subjects are tracked from the truth."""
    model = RedModel()
    monkeypatch.setattr(previewing, "model_of", lambda options, display: model)
    tracker = TruthTracker(clip[1])
    monkeypatch.setattr(following, "tracker_of", lambda *given, **more: ("a stand-in", tracker))
    return model


@pytest.fixture
def alphas(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str, NDArray[np.float32]]]:
    """What the preview shows of each frame."""
    seen = []
    showing = sheet.shown

    def shown(cutout: sm.Cutout, seconds: float, subject: str = "", *said: object) -> sheet.Shown:
        seen.append((cutout.frame.index, subject, opacity(cutout)))
        return showing(cutout, seconds, subject, *said)  # type: ignore[arg-type]

    monkeypatch.setattr(sheet, "shown", shown)
    return seen


def subjects(mattes: Mattes) -> list[str]:
    return [f"{name}: {box_of(matte[0])}" for name, matte in mattes.items()]


def previewed(clip: Path, to: Path, marks: Sequence[str], *more: str) -> None:
    assert main(["preview", str(clip), *marks, "-o", str(to), "--quiet", *more]) == 0


def test_it_shows_what_a_run_writes(
    clip: tuple[Path, Mattes],
    tmp_path: Path,
    model: RedModel,
    alphas: list[tuple[int, str, NDArray[np.float32]]],
) -> None:
    path, mattes = clip
    given = [part for each in subjects(mattes) for part in ("--subject", each)]
    previewed(path, tmp_path / "p.png", ["@7", "@0.08s", "@7"], *given, "--smooth", "low")
    sm.matte_video(path, tmp_path / "out.mkv", model=model, subject=subjects(mattes), smooth="low")
    assert [(index, name) for index, name, _ in alphas] == [(2, "a"), (2, "b"), (7, "a"), (7, "b")]
    for index, name, alpha in alphas:
        with open_video(tmp_path / f"out.{name}.mkv") as source:
            written = list(source.cutouts())[index].alpha.numpy()
        assert np.abs(written - alpha).max() <= 0.5 / 255 + 1e-6  # what is written has 8 bits
    picture = cv2.imread(str(tmp_path / "p.png"))
    assert picture is not None and picture.shape[0] > 4 * 180 and picture.shape[1] > 2 * 320


def test_only_what_a_frame_depends_on_is_computed(clip: tuple[Path, Mattes], tmp_path: Path, model: RedModel) -> None:
    previewed(clip[0], tmp_path / "p.png", ["@5"], "--smooth", "low")
    assert model.asked == [3, 4, 5, 6, 7]  # two frames on either side, for smoothing
    model.asked.clear()
    previewed(clip[0], tmp_path / "q.png", ["@8", "@5"], "--smooth", "off")
    assert model.asked == [5, 8]


def test_without_a_mark_it_is_the_first_frame_and_a_page_has_it_too(
    clip: tuple[Path, Mattes], tmp_path: Path, model: RedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "p.html"
    subject = ["--subject", subjects(clip[1])[0], "--in", "3"]
    assert main(["preview", str(clip[0]), "--html", str(page), *subject]) == 0
    assert "a, frame 3 at 0.12 s, confidence 1.00" in capsys.readouterr().err
    assert "a, frame 3 at 0.12 s, confidence 1.00" in Reader(page.read_text()).texts["h2"]
    assert page.read_text().count("<img") == 3 and list(tmp_path.iterdir()) == [page]


def test_prompts_are_drawn_where_they_are() -> None:
    grey, size = np.full((90, 160, 3), 128, np.uint8), (180, 320)
    mask = np.full((180, 320), np.nan, np.float32)
    mask[100:140, 200:240], mask[100:140, 260:300] = 1, 0
    prompts = [
        Prompt("", "box", 0, (20.0, 20.0, 100.0, 120.0)),
        Prompt("", "point", 0, (60.0, 60.0)),
        Prompt("", "not-point", 0, (280.0, 40.0)),
        Prompt("", "mask", 0, mask=mask),
    ]
    drawn = sheet.marked(grey, size, prompts, None)
    assert tuple(drawn[40, 10]) == tuple(drawn[30, 30]) == tuple(drawn[60, 100]) == sheet.YES
    assert tuple(drawn[20, 140]) == tuple(drawn[60, 130]) == sheet.NO
    assert (drawn[5] == 128).all()
    tracked = Tracked(np.repeat(np.float32([[0, 1]]), 2, 0), 0.5)
    tinted = sheet.marked(grey, size, [], tracked)
    assert (tinted[:, :30] == 128).all() and (tinted[:, -30:, 1] < 128).all()


@pytest.mark.parametrize("mark", ["@99", "@x", "@-1", "@", "12"])
def test_a_mark_that_is_not_in_the_clip(clip: tuple[Path, Mattes], tmp_path: Path, model: RedModel, mark: str) -> None:
    code = 0
    try:
        code = main(["preview", str(clip[0]), mark, "-o", str(tmp_path / "p.png")])
    except SystemExit as exc:
        code = int(str(exc.code))
    assert code and not list(tmp_path.iterdir()) and not model.asked


def test_refusals_come_before_the_work(clip: tuple[Path, Mattes], tmp_path: Path, model: RedModel) -> None:
    path = str(clip[0])
    with pytest.raises(SystemExit):
        main(["preview", path])
    assert main(["preview", "-", "-o", str(tmp_path / "p.png")]) in (1, 2)
    for more in (["-o", str(tmp_path / "p.jpg")], ["-o", str(tmp_path / "none/p.png")], ["-o", path]):
        assert main(["preview", path, *more]) in (1, 2)
    (tmp_path / "there.png").touch()
    assert main(["preview", path, "-o", str(tmp_path / "there.png")]) in (1, 2)
    with pytest.raises(InputError):
        previewing.preview(
            Options.of(path, subject=["point 999,9"]),
            [],
            str(tmp_path / "p.png"),
            None,  # type: ignore[arg-type]
        )
    assert not model.asked and [each.name for each in tmp_path.iterdir()] == ["there.png"]
