"""A batch by the real command: what is done, what is not done again, and what a kill leaves."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import pytest
from support.clips import cut, even_pts, picture, write_clip
from support.forks import Forks, Job, forks
from support.sdmatte_folder import make_folder

from streammatte.batch import running
from streammatte.cli.main import main
from streammatte.models import sdmatte
from streammatte.options import Options

pytestmark = pytest.mark.e2e

QUICK = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu"]
QUICK += ["--smooth", "off", "--colors", "off", "--decontaminate", "off"]
DAMAGED = {"bad.mp4", "short.png"}


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures, two clips, a sequence, and two damaged files."""
    folder = tmp_path_factory.mktemp("footage")
    for number in range(3):
        cv2.imwrite(str(folder / f"p{number}.png"), picture(number))
    for number in (1, 2):
        cv2.imwrite(str(folder / f"sh.{number:04}.png"), picture(number))
    write_clip(folder / "a.mp4", pts=even_pts(3), audio="aac")
    write_clip(folder / "b.mkv", pts=even_pts(3), codec="ffv1")
    cut(folder / "a.mp4", folder / "bad.mp4", keep=0.2)
    cut(folder / "p0.png", folder / "short.png")
    return folder


@pytest.fixture
def photos(footage: Path, tmp_path: Path) -> Path:
    """Two pictures that a test may change."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("p0.png", "p1.png"):
        shutil.copy(footage / name, folder)
    return folder


@pytest.fixture(scope="module")
def forked() -> Iterator[Forks]:
    with forks() as process:
        yield process


def records(folder: Path, state: str = "done") -> list[dict[str, Any]]:
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    return [record for line in lines if (record := json.loads(line))["state"] == state]


def done_by(command: list[str], folder: Path, *, code: int = 0) -> set[str]:
    """The outputs that a run of the command wrote, as the manifest says."""
    before = len(records(folder)) if (folder / "manifest.jsonl").exists() else 0
    assert main(command) == code
    return {record["outputs"][0] for record in records(folder)[before:]}


def test_a_folder(footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new/out"
    command = [str(footage), "--to", str(out), *QUICK, "--json"]
    assert main(command) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["done"], said["unchanged"], said["failed"]) == (6, 0, 2)
    visible = {path.name for path in out.glob("*")}
    pictures = {"p0.png", "p1.png", "p2.png", "sh.0001.png", "sh.0002.png"}
    assert visible == {"a.mov", "b.mov", "manifest.jsonl", *pictures}, "nothing hidden is left either"
    with av.open(str(out / "a.mov")) as made:
        assert made.streams.video[0].frames == 3 and made.streams.audio
    assert cv2.imread(str(out / "p0.png"), cv2.IMREAD_UNCHANGED).shape == (48, 64, 4)
    for record in said["records"]:
        name = Path(record["input"]).name
        assert record["state"] == ("failed" if name in DAMAGED else "done")
        assert record["error"] if name in DAMAGED else record["written"][record["outputs"][0]]["sha256"]
    main([*command[:-1], "--quiet"])
    printed = capsys.readouterr()
    assert not printed.out and all(name in printed.err for name in DAMAGED)
    assert len(printed.err.splitlines()) == 2, "under --quiet, failures only"
    assert len(records(out)) == 6 and len(records(out, "failed")) == 4, "only what failed was tried again"


def test_killed_and_run_again(footage: Path, forked: Forks, tmp_path: Path) -> None:
    chance = random.Random(7)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    manifest = broken / "manifest.jsonl"
    command = ["batch", str(footage), *QUICK, "--to"]
    assert forked.run(Job([*command, str(whole)])).code == 1
    lines = (whole / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    asked, ended = sum(map(len, lines[:8])), sum(map(len, lines[8:]))
    before: dict[str, int] = {}
    for number, more in [
        (signal.SIGKILL, 1),  # while it writes what is asked for
        (signal.SIGINT, asked + 10),  # after the first input
        (signal.SIGKILL, 0.8 * asked + chance.uniform(0, 0.3) * ended),
    ]:
        size = int(more) + (manifest.stat().st_size if manifest.exists() else 0)
        end = forked.run(Job([*command, str(broken)], when=str(manifest), size=size, signal=number))
        assert end.code == (130 if number == signal.SIGINT else -number)
        assert end.code != 130 or "run the same command to continue" in end.err
        kept = {path.name: path.stat().st_mtime_ns for path in broken.glob("[!.m]*")}
        assert before.items() <= kept.items(), "what was done stays as it is"
        before = {name: time for name, time in kept.items() if "sh." not in name}
        with manifest.open("ab") as file:
            file.write(b'{"version": 1, "state": "do')
    end = forked.run(Job([*command, str(broken)]))
    assert end.code == 1 and all(name in end.err for name in DAMAGED)
    text = (broken / "manifest.jsonl").read_text()
    done = Counter(
        line.split('"outputs": ')[1].split("]")[0] for line in text.splitlines() if '"state": "done"' in line
    )
    assert len(done) == 6 and set(done.values()) == {1}, "nothing is missing, and nothing was done twice"
    assert before and all((broken / name).stat().st_mtime_ns == time for name, time in before.items())
    for path in whole.glob("[!m]*"):
        assert path.suffix == ".mov" or (broken / path.name).read_bytes() == path.read_bytes()
    assert {path.name for path in broken.glob("*")} == {path.name for path in whole.glob("*")}


def test_what_auto_stood_for_is_not_a_change(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As most people type it, without a model."""
    out = tmp_path / "out"
    command = [str(photos), "--to", str(out), "--device", "cpu", "--offline"]
    assert done_by(command, out) == {"p0.png", "p1.png"}
    assert done_by(command, out) == set()
    assert done_by([*command, "--model", "birefnet-nano"], out) == set(), "the same network by its name"


def test_only_what_changed(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["batch", str(photos), "--to", str(out), *QUICK]
    both = {"p0.png", "p1.png"}
    assert done_by(command, out) == both
    assert done_by(command, out) == set()
    (photos / "p0.png").touch()
    assert done_by(command, out) == set(), "the contents are the same"
    cv2.imwrite(str(photos / "p0.png"), picture(5))
    assert done_by(command, out) == {"p0.png"}
    (out / "p1.png").unlink()
    assert done_by(command, out) == {"p1.png"}
    assert done_by([*command, "--choke", "1"], out) == both
    assert done_by([*command, "--choke", "1", "--keep-mattes", "--overwrite"], out) == set(), "the result is the same"
    back = tmp_path / "back.png"
    cv2.imwrite(str(back), picture(1))
    assert done_by([*command, "--bg", str(back)], out) == both
    cv2.imwrite(str(back), picture(2))
    assert done_by([*command, "--bg", str(back)], out) == both
    moved = tmp_path / "moved"
    shutil.copytree(out, moved)
    command[command.index(str(out))] = str(moved)
    assert done_by([*command, "--bg", str(back)], moved) == set(), "the folder may be moved"
    capsys.readouterr()
    assert main([*command, "--dry-run", "--choke", "2"]) == 0
    assert "options changed" in capsys.readouterr().out


def test_killed_before_the_manifest_knew(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["batch", str(photos), "--to", str(out), *QUICK]
    assert main(command) == 0
    lines = (out / "manifest.jsonl").read_text().splitlines(keepends=True)
    (out / "manifest.jsonl").write_text("".join(line for line in lines if '"asked"' in line))
    (out / "p1.png").unlink()
    before = (out / "p0.png").stat().st_mtime_ns
    assert done_by(command, out) == {"p0.png", "p1.png"}
    assert (out / "p0.png").stat().st_mtime_ns == before, "it was complete"
    assert done_by(command, out) == set()


def test_another_file_of_that_name_is_kept(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "p1.png").write_text("mine")
    command = ["batch", str(photos), "--to", str(out), *QUICK]
    assert main(command) == 1
    assert f"{out / 'p1.png'} exists" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["p1.png"]
    assert done_by([*command, "--overwrite"], out) == {"p0.png", "p1.png"}
    (out / "p1.png").write_text("mine again")
    assert main(command) == 1
    assert (out / "p1.png").read_text() == "mine again"


def test_a_list_with_options_of_each(footage: Path, tmp_path: Path) -> None:
    for name in ("p0.png", "a.mp4"):
        shutil.copy(footage / name, tmp_path)
    (tmp_path / "shots.csv").write_text(
        "input,output,out,bg,fail-on\na.mp4,first.webm,1,,audio=0\na.mp4,sub/second.mp4,,green,\np0.png,,,,\n"
    )
    out = tmp_path / "out"
    assert main(["batch", str(tmp_path / "shots.csv"), "--to", str(out), *QUICK]) == 1, "a limit was crossed"
    assert not records(out, "failed")
    frames = {record["outputs"][0]: record["frames"] for record in records(out)}
    assert frames == {"first.webm": 2, "sub/second.mp4": 3, "p0.png": 1}
    with av.open(str(out / "sub/second.mp4")) as made:
        assert made.streams.video[0].codec_context.name == "h264"


def test_what_engines_hand_to_processes() -> None:
    task = running.Task(3, Options.of("a.mp4", "a.mov", frame_rate="30000/1001"), False, ("a.mov",))
    worker, same = pickle.loads(pickle.dumps((running.Worker(), task)))
    assert same == task and isinstance(worker, running.Worker)


def test_deliveries_and_reports(footage: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["batch", str(footage / "a.mp4"), "--to", str(out), *QUICK, "--name", ""]
    command += ["--deliver", "sets/{stem}", "--report", "pages/{stem}.html"]
    assert main(command) == 0
    assert (out / "pages/a.html").exists()
    assert {path.name for path in (out / "sets/a").iterdir()} >= {"a.mov", "a.webm", "a.comp.mp4", "a.txt"}
    assert done_by(command, out) == set()


def test_models_are_loaded_once(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    load = running.model_of
    monkeypatch.setattr(running, "model_of", lambda *given: loaded.append(1) or load(*given))
    assert main(["batch", str(photos), "--to", str(tmp_path / "out"), *QUICK]) == 0
    assert len(loaded) == 1


def test_sdmatte_is_loaded_once(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    load = sdmatte.load_refiner
    monkeypatch.setattr(sdmatte, "load_refiner", lambda *given, **more: loaded.append(1) or load(*given, **more))
    small = ["--sdmatte", str(make_folder(tmp_path / "SDMatte")), "--sdmatte-size", "256", "--precision", "fp32"]
    out = tmp_path / "out"
    command = ["batch", str(photos), "--to", str(out), *QUICK, *small, "--transparent", "16,16,40,40"]
    assert main([*command, "--quiet"]) == 0
    assert len(loaded) == 1 and len(records(out)) == 2


def test_a_broken_model_ends_the_batch(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "broken.safetensors"
    weights.write_bytes(b"no")
    assert (
        main(["batch", str(photos), "--to", str(tmp_path / "out"), "--weights", str(weights), "--device", "cpu"]) == 1
    )
    lines = capsys.readouterr().err.splitlines()
    assert sum(str(weights) in line for line in lines) == 1 and lines[0].startswith("streammatte: error: ")


def test_a_dry_run(footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["batch", str(footage), "--to", str(out), *QUICK, "--dry-run", "--json"]
    assert main(command) == 1
    said = json.loads(capsys.readouterr().out)
    assert not out.exists() and said["seconds"] > 0 and said["bytes"] > 5_000 and said["free"] > 0
    assert {Path(each["input"]).name for each in said["inputs"] if each["why"]} == DAMAGED
    assert main(command[:-1]) == 1
    assert "8 of 8 to do" in capsys.readouterr().out
