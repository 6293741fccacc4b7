"""SAM 2 through a run, with a small network of random weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from support.sam2_folder import make_folder
from support.subjects import Mattes, RedModel, box_of, crossing

import streammatte as sm
from streammatte.cli.main import main
from streammatte.errors import WeightsMissing
from streammatte.media import open_video
from streammatte.options import Options
from streammatte.subject.flow import FlowTracker
from streammatte.subject.following import tracker_of
from streammatte.subject.sam2 import load_sam2_tracker

pytestmark = pytest.mark.media


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mattes]:
    path = tmp_path_factory.mktemp("clip") / "two.mkv"
    return path, crossing(path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("sam2"))


class Display:
    """Keeps the notices."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def fetching(self, done: int, total: int | None) -> None: ...
    def finding(self, whom: str, done: int, total: int) -> None: ...


def alphas(path: Path) -> np.ndarray:
    with open_video(path) as source:
        return np.stack([cutout.alpha.numpy() for cutout in source.cutouts()])


def test_from_start_to_end_with_a_prompt_added_later(clip: tuple[Path, Mattes], weights: Path, tmp_path: Path) -> None:
    path, mattes = clip
    given = [f"{name}: {box_of(mattes[name][3])} @3" for name in mattes]

    def run(*subject: str) -> tuple[sm.Summary, dict[str, np.ndarray]]:  # type: ignore[name-defined]
        summary = sm.matte_video(
            path,
            [tmp_path / "out.mkv", tmp_path / "out.####.png"],
            matte=tmp_path / "m.mkv",
            report=tmp_path / "r.html",
            model=RedModel(weights=weights / "model.safetensors"),
            subject=[*given, *subject],
            tracker=weights,
            keep_mattes=True,
            overwrite=True,
            smooth="off",
        )
        return summary, {name: alphas(tmp_path / f"out.{name}.mkv") for name in mattes}

    summary, first = run()
    assert {path.name for path in tmp_path.glob("*a.*")} >= {"out.a.mkv", "m.a.mkv", "r.a.html"}
    assert len(list(tmp_path.glob("out.b.*.png"))) == 8
    assert summary.subjects["a"]["prompts"] == [3] and summary.frames == 8
    page = (tmp_path / "r.a.html").read_text()
    assert "confidence in a" in page and "Prompts for a at frames: 3." in page and "confidence in b" not in page
    again, second = run()
    assert again.mattes_computed == 0 and all((first[name] == second[name]).all() for name in mattes)
    _, third = run(f"a: {box_of(mattes['b'][6])} @6")
    assert (third["a"][6] != first["a"][6]).any()


def test_auto_is_flow_where_there_are_no_weights(clip: tuple[Path, Mattes]) -> None:
    display = Display()
    options = Options.of(clip[0], subject=["point 9,9"])
    identity, tracker = tracker_of(options, display, "cpu", offline=True)
    assert isinstance(tracker, FlowTracker) and "flow" in identity
    assert len(display.notices) == 1 and "streammatte models pull sam2-tiny" in display.notices[0]
    with pytest.raises(WeightsMissing):
        tracker_of(Options.of(clip[0], subject=["point 9,9"], tracker="sam2"), display, "cpu", offline=True)


def test_auto_and_sam2_are_what_is_here(
    clip: tuple[Path, Mattes], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the hub's library leaves it: one size that was fetched earlier, its file named by its hash."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    data = (weights / "model.safetensors").read_bytes()
    folder, commit = tmp_path / "models--facebook--sam2.1-hiera-small", "0" * 40
    snapshot, blob = folder / "snapshots" / commit, folder / "blobs" / hashlib.sha256(data).hexdigest()
    for path in (snapshot, blob.parent, folder / "refs"):
        path.mkdir(parents=True)
    blob.write_bytes(data)
    (snapshot / "model.safetensors").symlink_to(blob)
    (snapshot / "config.json").write_text((weights / "config.json").read_text())
    (folder / "refs" / "main").write_text(commit)
    for name in ("auto", "sam2", "sam2-small"):
        options = Options.of(clip[0], subject=["point 9,9"], tracker=name)
        identity, _ = tracker_of(options, Display(), "cpu", offline=True)
        assert blob.name in identity
    assert load_sam2_tracker(weights, device="cpu").identity == identity


@pytest.mark.parametrize("tracker", ["sam3", "none/model.safetensors", "birefnet"])
def test_an_unknown_tracker_is_refused_before_the_work(
    clip: tuple[Path, Mattes], tmp_path: Path, capsys: pytest.CaptureFixture[str], tracker: str
) -> None:
    given = ["--subject", "point 9,9", "--tracker", tracker, "--json"]
    assert main([str(clip[0]), str(tmp_path / "out.mov"), *given]) in (1, 2)
    shown = capsys.readouterr()
    assert tracker in shown.err and "Traceback" not in shown.err and not list(tmp_path.iterdir())
    assert not shown.out or json.loads(shown.out)
