"""Batches from and to addresses, and over several workers."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import fsspec
import pytest
from support.clips import even_pts, picture, write_clip

from streammatte.batch import running
from streammatte.batch.engines import LocalEngine
from streammatte.batch.inputs import items_of
from streammatte.batch.options import BatchOptions
from streammatte.cli.main import main
from streammatte.errors import InputError

pytestmark = pytest.mark.e2e

QUICK = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu"]
QUICK += ["--smooth", "off", "--colors", "off", "--decontaminate", "off"]
GIVEN = {"model": "birefnet-nano", "size": (64, 64), "device": "cpu", "smooth": "off", "colors": "off"}


class Silent:
    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def planned(self, steps: Any) -> None: ...
    def started(self, number: int, info: Any) -> None: ...
    def written(self, number: int, frames: int) -> None: ...
    def ended(self, number: int, record: Any) -> None: ...


class Deadly:
    """Work whose worker is killed when it begins one of the inputs, so many times."""

    def __init__(self, work: Any, folder: Path, deadly: dict[str, int]) -> None:
        self.work, self.folder, self.deadly = work, folder, deadly

    def __call__(self, task: Any) -> Any:
        name = Path(task.options.reading.input).name
        count = len(list(self.folder.glob(f"{name}.*")))
        (self.folder / f"{name}.{count}").touch()
        if count < self.deadly.get(name, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        return self.work(task)


class DyingEngine(LocalEngine):
    def __init__(self, folder: Path, deadly: dict[str, int]) -> None:
        super().__init__(2)
        self.folder, self.deadly = folder, deadly

    def run(self, work: Any, tasks: Any) -> Iterator[Any]:
        return super().run(Deadly(work, self.folder, self.deadly), tasks)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A store in memory, with two pictures, a clip, a sequence and a note."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    system = fsspec.filesystem("memory")
    system.store.clear()
    write_clip(tmp_path / "a.mp4", pts=even_pts(2))
    for number, name in enumerate(("p0.png", "p1.png", "sh.0001.png", "sh.0002.png")):
        system.pipe(f"/shots/{name}", cv2.imencode(".png", picture(number))[1].tobytes())
    system.pipe("/shots/a.mp4", (tmp_path / "a.mp4").read_bytes())
    system.pipe("/shots/notes.txt", b"")
    yield system
    system.store.clear()


def test_two_workers_one_of_which_dies(tmp_path: Path) -> None:
    shots, out, begun = (tmp_path / name for name in ("shots", "out", "begun"))
    shots.mkdir()
    begun.mkdir()
    for number in range(4):
        cv2.imwrite(str(shots / f"p{number}.png"), picture(number))
    asked = BatchOptions(to=str(out), inputs=(str(shots),))
    engine = DyingEngine(begun, {"p1.png": 1, "p2.png": 9})
    report = running.run_batch(asked, GIVEN, Silent(), engine=engine)
    assert (report.done, [Path(record["input"]).name for record in report.failed]) == (3, ["p2.png"])
    assert "SIGKILL" in report.failed[0]["error"] and report.failed[0]["hint"]
    beginnings = [path.stem for path in begun.iterdir()]
    assert [beginnings.count(f"p{number}.png") for number in range(4)] == [1, 2, 2, 1]
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    states = [record["state"] for record in lines]
    assert [states.count(state) for state in ("asked", "done", "failed")] == [4, 3, 1]
    assert {path.name for path in out.glob("[!.]*")} == {"p0.png", "p1.png", "p3.png", "manifest.jsonl"}
    assert running.run_batch(asked, GIVEN, Silent()).done == 1, "and in one process, what is missing"


def test_workers_need_an_engine_for_their_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["batch", str(tmp_path), "--to", str(tmp_path / "out"), "--address", "head:1"]) == 2
    assert "--engine ray" in capsys.readouterr().err


def test_inputs_at_addresses(store: Any) -> None:
    def names(*words: str) -> list[str]:
        return [item.input for item in items_of(words, None, ())]

    everything = [
        "memory://shots/a.mp4",
        "memory://shots/p0.png",
        "memory://shots/p1.png",
        "memory://shots/sh.####.png",
    ]
    assert [name.replace(":///", "://") for name in names("memory://shots")] == everything
    assert [name.replace(":///", "://") for name in names("memory://shots/")] == everything
    assert [name.replace(":///", "://") for name in names("memory://shots/p*.png")] == everything[1:3]
    assert names("memory://shots/a.mp4") == everything[:1]
    for word in ("memory://nothing", "memory://shots/*.mxf", "memory://shots/list.csv"):
        with pytest.raises(InputError):
            names(word)


def test_a_list_at_an_address(store: Any) -> None:
    """Relative names start at the list's folder; absolute ones and other addresses stay as they are."""
    rows = "input,core-matte,smooth\na.mp4,p0.png,high\nsh.####.png,,\n/plates/b.mov,,\nmemory://other/c.mov,,\n"
    store.pipe("/shots/list.csv", rows.encode())
    store.pipe("/shots/plain", b'["p1.png"]')
    items = items_of(["memory://shots/list.csv"], "memory://shots/plain", ())
    shots = "memory://shots/"
    names = [shots + "a.mp4", shots + "sh.####.png", "/plates/b.mov", "memory://other/c.mov", shots + "p1.png"]
    assert [item.input for item in items] == names
    assert items[0].given == {"core_mattes": (shots + "p0.png",), "smooth": "high"}
    store.pipe("/shots/day/list.csv", b"input,core-matte\n../a.mp4,../p0.png\n../../other/c.mov,\n")
    items = items_of(["memory://shots/day/list.csv"], None, ())
    assert [item.input for item in items] == [shots + "a.mp4", shots + "../other/c.mov"], "a bucket has no parent"
    assert items[0].given == {"core_mattes": (shots + "p0.png",)}
    store.pipe("/shots/list.csv", b'input,smooth\n"a.mp4')
    with pytest.raises(InputError) as caught:
        items_of(["memory://shots/list.csv"], None, ())
    assert "memory://shots/list.csv" in str(caught.value) and "line 2" in str(caught.value)


def test_a_list_where_only_ffmpeg_reads_is_refused() -> None:
    with pytest.raises(InputError, match=r"https://host/list\.csv"):
        items_of([], "https://host/list.csv", ())


def test_from_and_to_addresses(store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["batch", "memory://shots", "--to", "memory://cut", *QUICK, "--json"]

    def counts() -> tuple[int, int, int]:
        assert main(command) == 0
        said = json.loads(capsys.readouterr().out)
        return said["done"], said["unchanged"], said["failed"]

    assert counts() == (4, 0, 0)
    names = {name.rpartition("/")[2] for name in store.find("/cut")}
    assert names == {"a.mov", "p0.png", "p1.png", "sh.0001.png", "sh.0002.png", "manifest.jsonl"}
    assert counts() == (0, 4, 0)
    store.pipe("/shots/p0.png", cv2.imencode(".png", picture(7))[1].tobytes())
    store.rm("/cut/p1.png")
    assert counts() == (2, 2, 0)
    done = [json.loads(line) for line in store.cat("/cut/manifest.jsonl").splitlines() if b'"done"' in line]
    assert len(done) == 6 and all(record["written"][record["outputs"][0]]["mark"] for record in done)
    assert main([*command[:-1], "--dry-run"]) == 0
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a.mp4", "cache"}, "no folder is called memory:"
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize("to", ["nowhere://bucket/cut", "rtmp://host/live"])
def test_what_cannot_be_written_to_is_refused(to: str, store: Any, tmp_path: Path) -> None:
    assert main(["batch", "a.mp4", "--to", to, *QUICK]) != 0
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4"}
