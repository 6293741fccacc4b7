"""Every command the README gives does what it says there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import pytest
from conftest import unless
from support.clips import even_pts, write_clip

from streammatte.cli import matte
from streammatte.cli.main import COMMANDS, main
from streammatte.cli.parser import instance, parse
from streammatte.options import Options

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
BUNDLED = ROOT / "streammatte/models/birefnet-nano.safetensors"
# Made quick, and told to take what is here; what is tested is that each line is a command that works.
QUICK = ["--size", "64x64", "--device", "cpu", "--model", "birefnet-nano"]


def commands() -> list[list[str]]:
    """The lines that begin with the command itself, as its arguments; comments and pipes are cut off."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("streammatte ")]
    return [shlex.split(re.split(r" +# | \| ", line)[0])[1:] for line in lines]


@pytest.fixture
def footage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README's commands name."""
    write_clip(tmp_path / "clip.mp4", audio="aac")
    grey = np.full((36, 64, 3), 128, np.uint8)
    for name in ("beach.jpg", "photo.jpg"):
        cv2.imwrite(str(tmp_path / name), grey)
    cv2.imwrite(str(tmp_path / "rig.png"), np.zeros((48, 64), np.uint8))
    for name in ("plate.0001.exr", "plate.0002.exr"):
        with OpenEXR.File({"type": OpenEXR.scanlineimage}, {"RGB": grey.astype(np.float32) / 255}) as exr:
            exr.write(str(tmp_path / name))
    (tmp_path / "mine.safetensors").symlink_to(BUNDLED)
    (tmp_path / "samples").mkdir()  # short stand-ins
    write_clip(tmp_path / "samples/talking.mp4", size=(320, 180), audio="aac")
    write_clip(tmp_path / "samples/glass.mp4", size=(640, 360), pts=even_pts(6))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_commands_to_test() -> None:
    assert len([arguments for arguments in commands() if arguments[0] not in COMMANDS]) >= 15
    assert {arguments[0] for arguments in commands()} >= {"live", "models", "doctor", "batch"}


@pytest.mark.parametrize("arguments", [a for a in commands() if a[0] not in COMMANDS], ids=" ".join)
def test_matting(arguments: list[str], footage: Path) -> None:
    if "--in" in arguments:
        write_clip(footage / "clip.mp4", pts=even_pts(50), audio="aac")
    if "--subject" in arguments:  # the point has to lie in the frame
        write_clip(footage / "clip.mp4", size=(640, 360), audio="aac")
    writing = instance(Options, parse(matte.COMMAND, arguments)).writing
    before = set(footage.iterdir())
    quick = QUICK[:-2] if "--weights" in arguments else QUICK
    assert main([*arguments, *unless(arguments, quick), "--offline"]) == 0
    written = {path.name for path in set(footage.iterdir()) - before}
    outputs = [*writing.outputs, *filter(None, (writing.matte, writing.deliver))]
    for output in set(outputs) - {"-"}:
        pattern = re.escape(output).replace(r"\#\#\#\#", r"\d{4}")
        assert any(re.fullmatch(pattern, name) for name in written), (output, written)


@pytest.mark.parametrize("arguments", [a for a in commands() if a[0] == "live"], ids=" ".join)
def test_live(arguments: list[str], footage: Path) -> None:
    here = shlex.join(arguments).replace("--to window", "")  # in the tests there is no camera and no screen
    name = "out.webm" if "transparent" in arguments else "out.mp4"
    tried = ["--camera", "clip.mp4", "--to", name, *QUICK[2:]]
    assert main([*shlex.split(here), *tried]) == 0
    assert (footage / name).exists()


@pytest.mark.parametrize("arguments", [a for a in commands() if a[0] == "batch"], ids=" ".join)
def test_batches(arguments: list[str], footage: Path) -> None:
    (footage / "photos").mkdir()
    (footage / "photo.jpg").rename("photos/photo.jpg")
    assert main([*arguments, *QUICK]) == 0
    assert (footage / "cutouts/photo.png").exists()


def test_other_commands(footage: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (a for a in commands() if a[0] in ("models", "doctor")):
        fetching = arguments[1:2] == ["pull"]  # there is no network in the tests; it must say so and no more
        assert main(arguments) == (1 if fetching else 0)
        printed = capfd.readouterr()
        if fetching:
            assert arguments[2] in printed.err
        else:
            assert "birefnet-nano" in printed.out


def test_library_example(footage: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    quicker = example.replace('"birefnet-nano")', '"birefnet-nano", device="cpu", size=(64, 64))')
    assert quicker != example
    exec(compile(quicker, "README.md", "exec"), {})
    picture = cv2.imread("cut.png", cv2.IMREAD_UNCHANGED)
    assert picture is not None
    assert picture.shape == (36, 64, 4)
    for name in ("speaker.mov", "frames.mov"):
        with av.open(name) as made, av.open("samples/talking.mp4") as sample:
            assert made.streams.video[0].frames == sample.streams.video[0].frames
            assert made.streams.audio


@pytest.mark.parametrize("marker", ["<!-- ci: main job -->", "<!-- ci: tests -->"])
def test_the_two_commands_are_one_line_each(marker: str) -> None:
    block = README.split(marker)[1].split("```")[1]
    lines = block.strip().splitlines()
    assert lines[0] == "sh"
    assert len(lines) == 2
    assert lines[1].startswith("python3 -m venv .venv && ")
