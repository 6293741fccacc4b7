"""The whole command with SDMatte: from a folder laid out as on the hub to a cut-out, and what goes wrong on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES
from safetensors.torch import save_file
from support.clips import write_grey
from support.sdmatte_folder import UNET, make_folder, random_tensors, write_configs

from streammatte.cli.main import main
from streammatte.media import open_video

pytestmark = pytest.mark.e2e

GLASS = str(SAMPLES / "glass.mp4")
BOX = (200, 60, 360, 320)
SHOWN = ",".join(map(str, BOX))
QUICK = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu", "--smooth", "off", "--colors", "off"]
QUICK += ["--decontaminate", "off", "--no-audio", "--precision", "fp32"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with random weights."""
    return make_folder(tmp_path_factory.mktemp("hub") / "SDMatte")


def run(out: Path, *arguments: str, last: int = 7) -> int:
    return main([GLASS, "-o", str(out), "--bits", "16", "--out", str(last), *QUICK, *arguments])


def alphas(path: Path) -> np.ndarray:
    with open_video(path) as source:
        return np.stack([cutout.alpha.numpy() for cutout in source.cutouts()])


@pytest.fixture
def one_thread() -> Iterator[None]:
    """How many threads a run leaves to the network depends on its stages, and the last bits of sums on that."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_the_whole_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_it, without = tmp_path / "with.mkv", tmp_path / "without.mkv"
    small = ["--sdmatte", str(folder), "--sdmatte-size", "256"]
    assert run(with_it, *small, "--transparent", SHOWN, "--keyframe-every", "4", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["keyframes"] == [0, 4, 7]
    assert told["keyframe_seconds"] > 0
    assert "TransparencyRefiner" in told["stages"]
    assert run(without, "--transparency", "off") == 0

    first, second = alphas(with_it), alphas(without)
    assert len(first) == len(second) == 8
    left, top, right, bottom = BOX
    assert np.array_equal(first[0, :, right:], second[0, :, right:])
    assert np.array_equal(first[0, :, :left], second[0, :, :left])
    assert np.abs(first[:, top:bottom, left:right] - second[:, top:bottom, left:right]).mean() > 0.05


def test_a_mask_tells_where(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = write_grey(tmp_path / "mask.mkv", [0, 0, 255, 255, 255, 0, 0, 0], size=(320, 180))
    out = tmp_path / "out.mkv"
    small = ["--sdmatte", str(folder), "--sdmatte-size", "256", "--keyframe-every", "2", "--json"]
    assert run(out, *small, "--transparent-mask", str(mask)) == 0
    assert json.loads(capsys.readouterr().out)["keyframes"] == [2, 4]


def test_a_mask_of_another_shape(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = write_grey(tmp_path / "mask.mkv", [255] * 8, size=(360, 360))
    assert run(tmp_path / "out.mkv", "--sdmatte", str(folder), "--transparent-mask", str(mask)) == 1
    assert str(mask) in capsys.readouterr().err
    assert not list(tmp_path.glob("*out*"))


def test_a_report_names_the_box(folder: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "out.webm", tmp_path / "out.html"
    small = ["--sdmatte", str(folder), "--sdmatte-size", "256"]
    assert run(out, *small, "--transparent", SHOWN, "--report", str(page), last=1) == 0
    assert SHOWN in page.read_text()


def test_a_keyframe_is_not_waited_for(folder: Path, tmp_path: Path) -> None:
    """At 2048² on a CPU this small network takes a minute and more for one."""
    out = tmp_path / "out.mkv"
    command = [sys.executable, "-m", "streammatte", GLASS, "-o", str(out), "--out", "7", *QUICK, "--transparent", SHOWN]
    running = subprocess.Popen([*command, "--sdmatte", str(folder), "--sdmatte-size", "2048"], stderr=subprocess.PIPE)
    while not list(tmp_path.glob(".glass.*.mattes")):  # the model is loaded
        time.sleep(0.1)
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said.decode()
    assert b"interrupted" in said
    assert b"Traceback" not in said


def test_a_mask_of_another_length(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = write_grey(tmp_path / "mask.mkv", [255] * 3)
    small = ["--sdmatte", str(folder), "--sdmatte-size", "256"]
    assert run(tmp_path / "out.webm", *small, "--transparent-mask", str(mask)) == 1
    assert "mask.mkv" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_without_weights_auto_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "auto.mkv", "--transparent", SHOWN) == 0
    told = capsys.readouterr()
    assert (told.err + told.out).count("without SDMatte") == 1
    assert "streammatte models pull sdmatte" in told.err
    assert run(tmp_path / "off.mkv", "--transparency", "off") == 0
    assert np.array_equal(alphas(tmp_path / "auto.mkv"), alphas(tmp_path / "off.mkv"))


def test_without_weights_on_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "out.mkv", "--transparency", "on") == 1
    said = capsys.readouterr().err
    assert "sdmatte" in said and "hint:" in said
    assert not list(tmp_path.iterdir())


def test_on_says_that_it_found_nothing(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "out.mkv", "--transparency", "on", "--sdmatte", str(folder), "--json", last=1) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["keyframes"] == []
    assert any("transparent" in note for note in told["notes"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--transparent", "0,0,641,360"], "--transparent"),
        (["--transparent", SHOWN, "--transparency", "off"], "--transparency"),
        (["--transparent", SHOWN, "--transparent-mask", GLASS], "--transparent-mask"),
        (["--transparent", SHOWN, "--transparency", "on", "--sdmatte", "birefnet-lite"], "birefnet-lite"),
        (
            ["--transparent", SHOWN, "--transparency", "on", "--sdmatte", "nowhere.safetensors"],
            "nowhere.safetensors",
        ),
        (["--transparent", SHOWN, "--sdmatte", "nowhere.pth"], "nowhere.pth"),
        (["--transparent", SHOWN, "--sdmatte", "sdmate"], "sdmate"),
        (["--transparent-mask", "nowhere.mov"], "nowhere.mov"),
    ],
)
def test_refused(arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "out.mkv", *arguments) == (1 if says.startswith("nowhere") else 2)
    said = capsys.readouterr().err
    assert says in said
    assert "hint:" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("box", ["1,2,3", "a,b,c,d", "10,10,10,20", "-1,0,5,5"])
def test_no_box(box: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path / "out.mkv", f"--transparent={box}")
    assert "--transparent" in capsys.readouterr().err


def test_a_truncated_checkpoint(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = tmp_path / "hub" / "SDMatte.safetensors"
    cut.parent.mkdir()
    cut.write_bytes((folder / "SDMatte.safetensors").read_bytes()[:100_000])
    assert run(tmp_path / "out.mkv", "--transparent", SHOWN, "--sdmatte", str(cut)) == 1
    assert str(cut) in capsys.readouterr().err
    assert not list(tmp_path.glob("*.mkv"))


def test_a_configuration_of_another_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path / "hub")
    write_configs(folder, {"unet": {name: value for name, value in UNET.items() if name != "bbox_time_embed_dim"}})
    assert run(tmp_path / "out.mkv", "--transparency", "on", "--sdmatte", str(folder)) == 1
    assert "bbox_time_embed_dim" in capsys.readouterr().err


def test_a_missing_tensor_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = random_tensors(folder)
    del tensors["unet.aux_conv_in.weight"]
    write_configs(tmp_path, {each: json.loads((folder / each / "config.json").read_text()) for each in PARTS})
    save_file(tensors, tmp_path / "SDMatte.safetensors")
    assert run(tmp_path / "out.mkv", "--transparency", "on", "--sdmatte", str(tmp_path)) == 1
    assert "unet.aux_conv_in.weight" in capsys.readouterr().err


PARTS = ("unet", "vae", "text_encoder")

LITTLE_MEMORY = """
import resource, sys
import av, cv2, torch, diffusers, transformers
import streammatte.models.nets.sdmatte, streammatte.run, streammatte.cli.run_display
torch.set_num_threads(1)
used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {room} * 2**20,) * 2)
from streammatte.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does")
def test_too_little_memory_keeps_what_is_finished(folder: Path, tmp_path: Path) -> None:
    mask = write_grey(tmp_path / "mask.mkv", [0] * 4 + [255] * 4, size=(320, 180))
    out = tmp_path / "out.mkv"
    command = [GLASS, "-o", str(out), "--out", "7", *QUICK, "--sdmatte", str(folder), "--transparent-mask", str(mask)]
    starved = [sys.executable, "-c", LITTLE_MEMORY.format(room=1800), *command, "--sdmatte-size", "2048"]
    done = subprocess.run(starved, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "--sdmatte-size" in done.stderr
    assert "Traceback" not in done.stderr
    assert "--resume" in done.stderr
    assert not out.exists()
    assert main([*command, "--sdmatte-size", "256", "--resume", "--json"]) == 0
    assert len(alphas(out)) == 8


def test_who_looks(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unasked, a network of a small input looks for nothing; one of a large input does, and loads nothing before."""
    for side, looks in ((64, False), (512, True)):
        quick = [f"{side}x{side}" if option == "64x64" else option for option in [*QUICK, "--json"]]
        assert main([GLASS, "-o", str(tmp_path / f"{side}.mkv"), "--out", "0", *quick]) == 0
        told = json.loads(capsys.readouterr().out)
        assert ("TransparencyRefiner" in told["stages"]) is looks
    assert run(tmp_path / "none.mkv", "--sdmatte", str(folder), last=0) == 0
    assert "SDMatte skipped" in capsys.readouterr().err


def test_killed_with_a_box_and_resumed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same alpha as an unbroken run's, and SDMatte is not asked again about a keyframe of the same region."""
    whole, out = tmp_path / "whole" / "out.mkv", tmp_path / "out.mkv"
    whole.parent.mkdir()
    seen = ["--transparent", SHOWN, "--sdmatte", str(folder), "--sdmatte-size", "256", "--keyframe-every", "3"]
    assert run(whole, *seen, "--json", "--keep-mattes", last=11) == 0
    unbroken = json.loads(capsys.readouterr().out)
    assert unbroken["mattes_computed"] == 12 + len(unbroken["keyframes"])
    (mattes,) = whole.parent.glob("*.mattes")
    command = [sys.executable, "-m", "streammatte", GLASS, "-o", str(out), "--bits", "16", "--out", "11", *QUICK]
    running = subprocess.Popen([*command, *seen], stderr=subprocess.DEVNULL)
    left = tmp_path / f".{mattes.name}"
    while running.poll() is None and not (left.exists() and left.stat().st_size > mattes.stat().st_size // 2):
        time.sleep(0.02)
    running.kill()
    running.wait()
    assert not out.exists()
    assert run(out, *seen, "--resume", "--json", last=11) == 0
    resumed = json.loads(capsys.readouterr().out)
    assert resumed["mattes_read"] > 0
    assert resumed["keyframes"] == unbroken["keyframes"]
    assert np.array_equal(alphas(out), alphas(whole))
    assert run(whole.parent / "again.mkv", *seen, "--json", "--choke", "1", last=11) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["mattes_read"], again["mattes_computed"]) == (unbroken["mattes_computed"], 0)
    assert again["keyframe_seconds"] == 0


def test_a_folder_does_not_take_a_networks_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sdmatte").mkdir()
    assert run(tmp_path / "out.mkv", "--transparent", SHOWN, last=0) == 0  # goes on without, as it is not here


def test_a_matte_that_is_no_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path / "hub")
    tensors = random_tensors(folder)
    tensors["unet.conv_out.bias"][:] = float("nan")
    save_file(tensors, folder / "SDMatte.safetensors")
    small = ["--sdmatte", str(folder), "--sdmatte-size", "256"]
    assert run(tmp_path / "out.webm", *small, "--transparent", SHOWN, last=0) == 1
    said = capsys.readouterr().err
    assert "NaN" in said
    assert "--precision fp32" in said
    assert not list(tmp_path.glob("*out*"))
