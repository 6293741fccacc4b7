"""Every command the README gives does what it says there."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import pytest
from conftest import SAMPLES
from support.clips import write_clip

from streammatte.cli.main import main
from streammatte.models.hub import locate
from streammatte.models.table import find

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
# Made quick, and told to take what is here; what is tested is that each line is a command that works.
QUICK = ["--size", "64x64", "--device", "cpu", "--offline"]


def commands() -> list[str]:
    """The lines that begin with the command itself, comments cut off."""
    lines = (line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines())
    return [re.split(r"  #| \| ", line)[0].strip() for line in lines if line.startswith("streammatte ")]


@pytest.fixture
def footage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README's commands name."""
    write_clip(tmp_path / "clip.mp4", audio="aac")
    write_clip(tmp_path / "office.mp4")
    grey = np.full((36, 64, 3), 128, np.uint8)
    for name in ("beach.jpg", "photo.jpg", "plate.0001.png", "plate.0002.png"):
        cv2.imwrite(str(tmp_path / name), grey)
    for name in ("plate.0001.exr", "plate.0002.exr"):
        with OpenEXR.File({"type": OpenEXR.scanlineimage}, {"RGB": grey.astype(np.float32) / 255}) as exr:
            exr.write(str(tmp_path / name))
    for name, picture in (("images/a.jpg", grey), ("alphas/a.png", grey[..., 0])):
        (tmp_path / "pairs" / name).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "pairs" / name), picture)
    for name in ("rig.png", "glass.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((48, 64), np.uint8))
    (tmp_path / "samples").symlink_to(SAMPLES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_commands_to_test() -> None:
    assert len(commands()) >= 10


@pytest.mark.parametrize("command", commands())
def test_command(command: str, footage: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = shlex.split(command)[1:]
    if arguments[0] == "doctor":
        assert main(arguments) == 0
        assert "torch" in capfd.readouterr().out
        return
    if arguments[0] == "live":  # in the tests there is no camera, no virtual one, no screen and nobody who reads
        for place in reversed(range(len(arguments))):
            if arguments[place] == "--to" and arguments[place + 1] in ("camera", "window", "-"):
                del arguments[place : place + 2]
        name = "out.webm" if "transparent" in arguments else "out.mp4"
        tried = ["--camera", "clip.mp4", "--to", name, "--model", "birefnet-nano", "--device", "cpu"]
        assert main([*arguments, *tried]) == 0
        assert (footage / name).exists()
        return
    if arguments[0] == "models":
        fetching = arguments[1:2] == ["pull"]  # there is no network in the tests; it must say so and no more
        assert main(arguments) == (1 if fetching else 0)
        said = capfd.readouterr()
        assert arguments[2] in said.err if fetching else "birefnet-nano" in said.out
        return
    if arguments[0] == "evaluate":
        (footage / "talking.mov").symlink_to(SAMPLES / "talking.alpha.mkv")  # what an earlier line makes
        assert main(arguments) == 0
        assert "IoU" in capfd.readouterr().out
        assert (footage / "talking.html").stat().st_size > 10_000
        return
    quick = [*QUICK, "--steps", "1"] if arguments[0] == "train" else QUICK
    if "--fail-on" in arguments:  # there must be something to measure
        (footage / "clip.mp4").unlink()
        (footage / "clip.mp4").symlink_to(SAMPLES / "talking.mp4")
        quick = ["--size", "160x160", *quick[2:]]  # at which there is
    before = set(footage.iterdir())
    if "--weights" in arguments:  # what an earlier line makes
        (footage / arguments[arguments.index("--weights") + 1]).symlink_to(locate(find("birefnet-nano")) or "")
    assert main([*arguments, *quick]) == 0
    pairs = itertools.pairwise(arguments)
    outputs = [value for flag, value in pairs if flag in ("-o", "--matte") and value != "-"]
    written = set(footage.iterdir()) - before
    for output in outputs:
        assert any(re.fullmatch(re.escape(output).replace(r"\#\#\#\#", r"\d{4}"), path.name) for path in written)


def test_library_example(footage: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    quicker = example.replace('"birefnet-nano")', '"birefnet-nano", device="cpu", size=(64, 64))')
    assert quicker != example
    exec(compile(quicker, "README.md", "exec"), {})
    with av.open("plate.mov") as made, av.open("samples/talking.mp4") as sample:
        assert made.streams.video[0].frames == sample.streams.video[0].frames
        assert made.streams.audio


@pytest.mark.parametrize("marker", ["<!-- ci: main job -->", "<!-- ci: tests -->"])
def test_the_two_commands_are_one_line_each(marker: str) -> None:
    block = README.split(marker)[1].split("```")[1]
    lines = block.strip().splitlines()
    assert lines[0] == "sh"
    assert len(lines) == 2
    assert lines[1].startswith("python3 -m venv .venv && ")


def test_every_picture_and_page_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
