"""What a batch is given: folders, globs and lists; what its outputs are called; and what is refused before any work."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from streammatte.batch.inputs import Item, items_of
from streammatte.batch.jobs import jobs_of
from streammatte.batch.options import BatchOptions
from streammatte.cli import batch
from streammatte.cli.main import main
from streammatte.cli.parser import parse
from streammatte.errors import InputError, OutputError, StreammatteError

pytestmark = pytest.mark.unit


@pytest.fixture
def shots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of names; two of the files are pictures, since their kind is looked at."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "shots"
    folder.mkdir()
    for name in ("a.mp4", "B.MOV", "notes.txt", ".hidden.mp4", ".out.mov.part", "IMG_0001.jpg", "IMG_0002.jpg"):
        (folder / name).write_bytes(b"")
    for number in (998, 999, 1000):
        cv2.imwrite(str(folder / f"sh.{number:04}.png"), np.zeros((4, 4, 3), np.uint8))
    (folder / "below").mkdir()
    (folder / "below/c.mp4").write_bytes(b"")
    return folder


FOUND = ["B.MOV", "IMG_0001.jpg", "IMG_0002.jpg", "a.mp4", "sh.####.png"]


def names(*words: str, ours: tuple[str, ...] = ()) -> list[str]:
    return [Path(item.input).name for item in items_of(words, None, ours)]


def test_a_folder_means_its_footage(shots: Path) -> None:
    assert names("shots") == FOUND
    assert names("shots", "shots/a.mp4") == FOUND, "each input once"
    assert names("shots", ours=("shots/B.MOV",)) == FOUND[1:], "outputs of earlier runs are not inputs"


def test_globs(shots: Path) -> None:
    assert names("shots/*.mp4") == ["a.mp4"]
    assert names("shots/**/*.mp4") == ["a.mp4", "c.mp4"]
    assert names("shots/sh.*.png") == ["sh.####.png"]
    assert names(*map(str, sorted(shots.glob("sh.*.png")))) == ["sh.####.png"], "the shell's globs, too"
    assert names("shots/sh.0998.png", "shots/sh.0999.png") == ["sh.0998.png", "sh.0999.png"], "not all of a sequence"
    with pytest.raises(InputError, match=r"nothing matches shots/\*\.mxf"):
        names("shots/*.mxf")
    with pytest.raises(InputError, match="no inputs"):
        names()


def test_a_list_that_is_not_utf8(shots: Path) -> None:
    (shots / "list.csv").write_text("input\na.mp4\n", encoding="utf-16")
    with pytest.raises(InputError, match=r"list\.csv is not UTF-8"):
        items_of(["shots/list.csv"], None, ())


def test_lists(shots: Path) -> None:
    (shots / "list.csv").write_text(
        "input;output;smooth;in;no-audio;core-matte;bg\n"
        "a.mp4;x.mov;high;3;yes;sh.0998.png;#00b140\n\n"
        "a.mp4;y.mov;;;no;;sh.0999.png\n",
        encoding="utf-8-sig",
    )
    entries = [
        {"input": "a.mp4", "output": "x.mov", "smooth": "high", "in": 3, "no-audio": True}
        | {"core-matte": ["sh.0998.png"], "bg": "#00b140"},
        {"input": "a.mp4", "output": "y.mov", "no-audio": False, "bg": "sh.0999.png"},
    ]
    (shots / "list.json").write_text(json.dumps(entries))
    first = {"smooth": "high", "mark_in": "3", "no_audio": True, "background": "#00b140"}
    expected = [
        ("shots/a.mp4", "x.mov", first | {"core_mattes": ("shots/sh.0998.png",)}),
        ("shots/a.mp4", "y.mov", {"no_audio": False, "background": "shots/sh.0999.png"}),
    ]
    for name in ("list.csv", "list.json"):
        items = items_of([f"shots/{name}"], None, ())
        assert [(item.input, item.output, item.given) for item in items] == expected
    (shots / "plain.txt").write_text('["a.mp4", "B.MOV"]')
    assert [item.input for item in items_of([], "shots/plain.txt", ())] == ["shots/a.mp4", "shots/B.MOV"]


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("l.csv", "input,smoth\na.mp4,high\n", "l.csv, first line, column 2: unknown option 'smoth'"),
        ("l.csv", "input,smooth\na.mp4,high\nb.mp4,highest\n", "line 3, column 2: smooth: "),
        ("l.csv", 'input,smooth\n"a.mp4,high\n', "line 2: "),
        ("l.csv", "input,smooth\na.mp4,high,low\n", "line 2, column 3: 'low'"),
        ("l.csv", "output,smooth\na.mov,high\n", "line 2: no input"),
        ("l.csv", "input\n", "lists nothing"),
        ("l.json", '[{"input": "a.mp4",\n "smooth" "high"}]', "line 2, column 11: "),
        ("l.json", '[{"input": "a.mp4"}, {"input": "b.mp4", "smoth": "high"}]', "entry 2: unknown option 'smoth'"),
        ("l.json", '{"input": "a.mp4"}', "is not a list"),
        ("l.json", "[3]", "entry 1 is neither"),
    ],
)
def test_broken_lists(name: str, text: str, where: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as raised:
        items_of([str(tmp_path / name)], None, ())
    assert where in str(raised.value) and name in str(raised.value)
    assert raised.value.hint


def outputs(shots: Path, *typed: str) -> list[str]:
    given = parse(batch.COMMAND, typed)
    asked = BatchOptions(to="out", **{key: given[key] for key in ("name", "suffix") if key in given})
    run = {key: value for key, value in given.items() if key in ("matte", "background")}
    jobs = jobs_of(asked, run, items_of(given["inputs"], None, ()))
    return [output.removeprefix("out/") for job in jobs for output in job.outputs]


def test_names_of_outputs(shots: Path) -> None:
    pictures = ["IMG_0001", "IMG_0002"]
    to = ("shots", "--to", "out")
    assert outputs(shots, *to) == ["B.mov", *(f"{name}.png" for name in pictures), "a.mov", "sh.####.png"]
    assert outputs(shots, *to, "--format", "webm")[:3] == ["B.webm", *(f"{name}.png" for name in pictures)]
    assert outputs(shots, *to, "--format", "tif")[:3] == ["B.####.tif", *(f"{name}.tif" for name in pictures)]
    named = outputs(shots, "shots/a.mp4", "--to", "out", "--name", "{folder}/{number}_{stem}_cut{suffix}")
    assert named == ["shots/0001_a_cut.mov"]
    mattes = outputs(shots, "shots/a.mp4", "--to", "out", "--matte", "{stem}.matte.mov")
    assert mattes == ["a.mov", "a.matte.mov"]


def test_names_are_refused(shots: Path) -> None:
    (shots / "a.mkv").write_bytes(b"")
    for typed, naming in (
        (("shots", "--to", "out"), "a.mp4"),
        (("shots/a.mp4", "shots/B.MOV", "--to", "out", "--name", "x.mov"), "x.mov"),
        (("shots/a.mp4", "--to", "out", "--name", "{what}.mov"), "{what}"),
        (("shots/a.mp4", "shots/B.MOV", "--to", "out", "--matte", "m.mov"), "m.mov"),
    ):
        with pytest.raises(OutputError) as raised:
            outputs(shots, *typed)
        assert naming in str(raised.value) and "--name" in (raised.value.hint or "")
    asked = BatchOptions(to="shots")
    with pytest.raises(OutputError, match=r"shots/IMG_0001\.png, a file that is read"):
        jobs_of(asked, {"background": "shots/IMG_0001.png"}, _with_file(shots / "IMG_0001.png"))
    with pytest.raises(OutputError, match="an input"):
        jobs_of(asked, {}, [Item("shots/IMG_0001.png"), Item("shots/a.mp4")])
    with pytest.raises(StreammatteError, match=r"^l\.csv, line 2: --pair cannot be combined with --bg"):
        jobs_of(asked, {"background": "green"}, [Item("shots/a.mp4", "x.mp4", {"pair": "above"}, "l.csv, line 2")])


def _with_file(path: Path) -> list[Item]:
    path.write_bytes(b"")
    return [Item("shots/IMG_0001.jpg")]


def test_wrong_usage(shots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["batch", "shots"])
    assert "--to" in capsys.readouterr().err
    assert main(["batch", "-", "--to", "out"]) == 1
    assert "pipe" in capsys.readouterr().err
    assert not Path("out").exists()


def test_several_inputs_on_the_main_command(shots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = ["shots/sh.0998.png", "shots/sh.0999.png"]
    assert main(pictures) == 1
    assert f"streammatte batch {' '.join(pictures)} --to cutouts" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*pictures, "shots/sh.1000.png"])
    assert f"streammatte batch {' '.join(pictures)} shots/sh.1000.png --to cutouts" in capsys.readouterr().err
