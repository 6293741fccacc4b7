"""``streammatte bench``, as a user runs it, on clips that take a moment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.clips import FRAMES, write_clip
from support.pages import Reader

from streammatte.cli.main import main
from streammatte.summary import Clock

pytestmark = pytest.mark.e2e

QUICK = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu"]
STEPS = ["decode", "network", "colors", "smooth", "lift", "decontaminate", "encode", "check"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", audio="aac")


@pytest.fixture(autouse=True)
def leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files are in a folder of their own, so that tests see what is left of them."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))


def test_the_table_the_figures_and_the_page(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page, figures = tmp_path / "bench.html", tmp_path / "bench.json"
    assert main(["bench", str(clip), "-o", str(page), "--json", str(figures), *QUICK]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    first_words = [line.split()[0] for line in said.splitlines() if line]
    assert [word for word in first_words if word in STEPS] == STEPS

    found = json.loads(figures.read_text())
    assert [step["name"] for step in found["steps"]] == STEPS
    assert all(step[key] > 0 for step in found["steps"] for key in ("alone", "alone_core", "run", "run_core"))
    assert found["frames"] == FRAMES and "64×48" in found["setup"]["clip"]
    assert sum(found["links"].values()) == pytest.approx(sum(step["run"] for step in found["steps"]))
    assert found["whole"]["run"] >= max(found["links"].values()) * 0.99  # no link is busy for longer than the run
    assert found["whole"]["run_core"] >= sum(step["run_core"] for step in found["steps"]) * 0.99
    assert found["memory"] > 50 and found["setup"]["cores"] >= 1 and found["media"] > 0 and found["load"] > 0
    assert found["ratios"]["media"] == pytest.approx(found["media"] / found["whole"]["run"])

    text = page.read_text()
    seen = Reader(text)
    assert not seen.open and "script" not in seen.texts
    assert not [name for name, _ in seen.attributes if name in ("src", "href")], "it needs no network"
    assert text.count("<rect") == 2 * (len(STEPS) + 1)
    assert not list((tmp_path / "temporary").iterdir())
    assert sorted(tmp_path.iterdir()) == [page, figures, tmp_path / "temporary"]


def test_without_footage_a_clip_is_generated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = ["--smooth", "off", "--colors", "off", "--decontaminate", "off"]
    small = ["--clip-size", "96x64", "--frames", "4", "--format", "png"]
    assert main(["bench", *small, *plain, "--json", "-", *QUICK]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["frames"] == 4 and "96×64" in found["setup"]["clip"] and "PNG" in found["setup"]["output"]
    assert [step["name"] for step in found["steps"]] == ["decode", "network", "lift", "encode", "check"]
    assert not list((tmp_path / "temporary").iterdir())


def test_only_the_first_frames_are_measured(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for frames in (1, FRAMES - 1):
        assert main(["bench", str(clip), "--frames", str(frames), "--json", "-", *QUICK]) == 0
        assert json.loads(capsys.readouterr().out)["frames"] == frames


@pytest.mark.parametrize(
    "arguments",
    [
        ["clip.mp4", "--clip-size", "64x64"],
        ["-"],
        ["--clip-size", "65x64"],
        ["--clip-size", "32x32"],
        ["--frames", "0"],
        ["--format", "mpeg"],
        ["--smoth", "off"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_answered_in_two_lines(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["bench", *arguments])
    assert leaving.value.code == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 2 and "hint: " in said.err


def test_what_cannot_be_read_or_written_is_an_error_before_the_work(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "bench.html"
    taken.write_text("mine")
    for arguments, code in (
        (["missing.mp4"], 1),
        ([str(clip), "-o", str(taken)], 1),
        ([str(clip), "--json", "figures.txt"], 2),
        ([str(clip), "--format", "mp4", "--weights", "not-looked-for.safetensors"], 2),
    ):
        assert main(["bench", *arguments, *QUICK]) == code
        said = capsys.readouterr()
        assert said.out == "" and len(said.err.splitlines()) == 2 and "hint: " in said.err
    assert taken.read_text() == "mine"
    assert main(["bench", str(clip), "-o", str(taken), "--overwrite", "--quiet", *QUICK]) == 0
    assert taken.read_text().startswith("<!DOCTYPE html>") and capsys.readouterr().out == ""


def test_a_clock_tells_computing_from_waiting() -> None:
    import time

    settled: list[bool] = []
    clock = Clock(settle=lambda: settled.append(True))
    with clock:
        time.sleep(0.05)
    assert settled == [True] and clock.wall >= 0.05 > clock.thread
    waited = clock.wall
    with clock:
        sum(range(10**6))
    assert clock.wall > waited and 0 < clock.thread <= clock.process + 1e-3
