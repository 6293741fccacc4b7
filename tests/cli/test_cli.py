"""The command, as a user runs it: on real files, and on everything that is not one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from conftest import SAMPLES, unless
from safetensors.torch import save_file
from support.clips import FRAMES, SIZE, VARIABLE_PTS, cut, even_pts, write_clip, write_sound

import streammatte
from streammatte.cli.main import main
from streammatte.frame import Frame
from streammatte.stages import TemporalSmoother

pytestmark = pytest.mark.e2e

# The embedded model at a quarter of its size: every part of a run is real, and quick.
QUICK = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu"]
PLAIN = ["--smooth", "off", "--colors", "off"]
OWN_COLORS = ["--decontaminate", "off"]  # so that what is stored can be compared with the frame itself


WIDTH, HEIGHT = SIZE


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames at 25 a second with AAC."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", audio="aac")


@pytest.fixture(scope="module")
def sample() -> Path:
    return SAMPLES / "talking.mp4"


def planes(path: Path, codec: str | None = None) -> list[av.VideoFrame]:
    """The decoded frames of a file, by a decoder of choice."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        if codec is None:
            return list(file.decode(stream))
        decoder = av.CodecContext.create(codec, "r")
        frames = [frame for packet in file.demux(stream) for frame in decoder.decode(packet)]
        for frame in frames:
            frame.time_base = stream.time_base
        return frames


def seconds(frames: list[av.VideoFrame]) -> list[Fraction]:
    return [frame.pts * frame.time_base for frame in frames]


def audio_packets(path: Path) -> list[tuple[bytes, Fraction]]:
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        return [
            (bytes(packet), packet.pts * packet.time_base) for packet in file.demux(stream) if packet.pts is not None
        ]


def computed_alphas(path: Path) -> list[np.ndarray]:
    """What the library computes for the same footage with the same settings."""
    matter = streammatte.load_model("birefnet-nano", device="cpu", size=(64, 64))
    with streammatte.open_video(path) as source:
        return [cutout.alpha.numpy() for cutout in streammatte.matte(source, matter, [TemporalSmoother()])]


def plane_of(frame: av.VideoFrame, index: int, dtype: type) -> np.ndarray:
    plane = frame.planes[index]
    width = plane.line_size // np.dtype(dtype).itemsize
    return np.frombuffer(plane, dtype).reshape(plane.height, width)[:, : plane.width]


def test_main_job_every_deliverable_in_one_pass(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["out.mov", "out.webm", "cut.####.png"]
    outputs = [argument for name in names for argument in ("-o", str(tmp_path / name))]
    assert main([str(clip), *outputs, "--matte", str(tmp_path / "matte.mov"), *QUICK, *OWN_COLORS, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["frames"] == FRAMES
    assert [Path(output["path"]).name for output in summary["outputs"]] == [*names, "matte.mov"]
    assert summary["lost"] is None

    alphas = computed_alphas(clip)
    source = seconds(planes(clip))

    mov = planes(tmp_path / "out.mov")
    assert seconds(mov) == source
    assert {frame.format.name for frame in mov} == {"yuva444p12le"}
    for frame, alpha in zip(mov, alphas, strict=True):
        difference = plane_of(frame, 3, np.uint16) / 4095 - alpha
        assert np.abs(difference).max() <= 1.0 / 1023
    assert audio_packets(tmp_path / "out.mov") == audio_packets(clip)

    webm = planes(tmp_path / "out.webm", "libvpx-vp9")
    assert [round(time * 1000) for time in seconds(webm)] == [round(time * 1000) for time in source]
    assert {frame.format.name for frame in webm} == {"yuva420p"}
    for frame, alpha in zip(webm, alphas, strict=True):
        assert np.abs(plane_of(frame, 3, np.uint8) / 255 - alpha).mean() < 0.02
    assert audio_packets(tmp_path / "out.webm")

    pictures = sorted(tmp_path.glob("cut.*.png"))
    assert len(pictures) == FRAMES
    with streammatte.open_video(clip) as frames:
        for picture, alpha, frame in zip(pictures, alphas, frames, strict=True):
            bgra = cv2.imread(str(picture), cv2.IMREAD_UNCHANGED)
            assert np.array_equal(bgra[..., 3], np.rint(alpha * 255).astype(np.uint8))
            assert np.array_equal(bgra[..., 2::-1], frame.rgb.permute(1, 2, 0).numpy())

    for frame, alpha in zip(planes(tmp_path / "matte.mov"), alphas, strict=True):
        grey = frame.reformat(format="gray16le").to_ndarray().astype(np.float32) / 65535
        assert np.abs(grey - alpha).mean() < 0.01


def test_a_composite_over_a_colour_shows_the_colour_where_there_is_no_subject(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "comp.mp4"
    assert main([str(clip), "-o", str(out), "--bg", "#0000ff", "--quiet", *QUICK]) == 0
    composed = planes(out)
    assert seconds(composed) == seconds(planes(clip))
    assert composed[0].format.name == "yuv420p"
    alphas = computed_alphas(clip)
    with streammatte.open_video(clip) as frames:
        for shown, frame, alpha in zip(composed, frames, alphas, strict=True):
            expected = frame.as_float().permute(1, 2, 0).numpy() * alpha[..., None]
            expected[..., 2] += 1 - alpha
            assert np.abs(shown.to_ndarray(format="rgb24") / 255 - expected).mean() < 0.06
    assert audio_packets(out) == audio_packets(clip)


def test_variable_frame_rate_stays_variable(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "vfr.mp4", pts=VARIABLE_PTS)
    assert main([str(clip), "-o", str(tmp_path / "out.mov"), "--quiet", *QUICK]) == 0
    assert seconds(planes(tmp_path / "out.mov")) == seconds(planes(clip))


def test_a_picture_in_a_picture_out(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), rgb)
    assert main([str(tmp_path / "photo.png"), "-o", str(tmp_path / "cut.png"), "--quiet", *QUICK, *OWN_COLORS]) == 0
    cut_out = cv2.imread(str(tmp_path / "cut.png"), cv2.IMREAD_UNCHANGED)
    assert cut_out.shape == (50, 70, 4)
    assert np.array_equal(cut_out[..., :3], rgb)


def test_a_sequence_in_a_sequence_out(tmp_path: Path) -> None:
    for number in range(1001, 1006):
        cv2.imwrite(str(tmp_path / f"plate.{number}.png"), np.full((40, 60, 3), number % 256, np.uint8))
    given = [str(tmp_path / "plate.####.png"), "-o", str(tmp_path / "matte.####.png"), "--bits", "16"]
    assert main([*given, "--quiet", *QUICK]) == 0
    written = sorted(tmp_path.glob("matte.*.png"))
    assert len(written) == 5
    assert cv2.imread(str(written[0]), cv2.IMREAD_UNCHANGED).dtype == np.uint16


def test_the_summary_says_what_was_done(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, flags, parts in (("a.mov", [], ()), ("b.mov", ["--timings"], ("decode", "network", "encode"))):
        out = tmp_path / name
        assert main([str(clip), str(out), *QUICK, *flags]) == 0
        said = capsys.readouterr()
        assert str(out) in said.out and "straight" in said.out and f"{FRAMES} frames" in said.out
        assert all(part in said.out for part in parts)
    assert main([str(clip), str(tmp_path / "c.mov"), *QUICK, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_garbage_is_collected_once_a_command_has_imported_what_it_needs() -> None:
    code = (
        "import gc, sys\n"
        "from streammatte.cli import main, matte, terminal\n"
        "def command(arguments):\n"
        "    assert not gc.isenabled()\n"
        "    terminal.Terminal(progress=False, notices=False)\n"
        "    return 3 if gc.isenabled() else 4\n"
        "matte.main = command\n"
        "main.process()\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 3


def test_auto_takes_the_bundled_model_and_says_so_once(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    usual = [str(clip), "--overwrite", "--offline", "--size", "64x64", "--device", "cpu", str(tmp_path / "out.mov")]
    assert main([*usual, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["model"] == "birefnet-nano"
    assert sum("bundled" in line for line in said.err.splitlines()) == 1
    assert main([*usual, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_several_mattes_of_a_kind_are_their_union(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exactly: the largest of them at each pixel, of a still and of a clip with a matte for every frame."""
    clip = write_clip(tmp_path / "clip.mp4", pts=even_pts(3))
    columns = np.repeat(np.array([[0, 51, 102, 255]], np.uint8), WIDTH // 4, axis=1).repeat(HEIGHT, axis=0)
    cv2.imwrite(str(tmp_path / "columns.png"), columns)
    rows = [np.full((HEIGHT, WIDTH), 0, np.uint8) for _ in range(3)]
    for number, picture in enumerate(rows, 1):
        picture[: 8 * number] = 153
        cv2.imwrite(str(tmp_path / f"rows.{number:04d}.png"), picture)
    white = np.full((HEIGHT, WIDTH), 255, np.uint8)
    cv2.imwrite(str(tmp_path / "white.png"), white)

    def made(*given: str) -> np.ndarray:
        out = tmp_path / "out.####.png"
        assert main([str(clip), "-o", str(out), "--bits", "16", "--overwrite", *QUICK, *PLAIN, "--json", *given]) == 0
        with streammatte.open_video(out) as source:
            return np.stack([cutout.alpha.numpy() for cutout in source.cutouts()])

    union = np.stack([np.maximum(columns, each) for each in rows]) / np.float32(255)
    one, other = str(tmp_path / "columns.png"), str(tmp_path / "rows.####.png")
    step = 1.01 / 65535
    bare = made()
    capsys.readouterr()
    assert np.abs(made("--core-matte", one, "--core-matte", other) - np.maximum(bare, union)).max() < step
    assert [(Path(each["path"]).name, each["as"]) for each in json.loads(capsys.readouterr().out)["mattes"]] == [
        ("columns.png", "core"),
        ("rows.####.png", "core"),
    ]
    whole = ["--core-matte", str(tmp_path / "white.png")]
    for kind in ("--garbage-matte", "--holdout-matte"):
        assert np.abs(made(*whole, kind, one, kind, other) - (1 - union)).max() < step


def folder_is(folder: Path, *names: str) -> bool:
    """These names and no other; the mattes that a run keeps to be resumed are hidden."""
    return sorted(path.name for path in folder.iterdir() if not path.match(".*.mattes")) == sorted(names)


BAD_INPUTS = {
    "nothing": lambda folder: None,
    "folder": lambda folder: (folder / "in.mp4").mkdir(),
    "empty": lambda folder: (folder / "in.mp4").write_bytes(b""),
    "text": lambda folder: (folder / "in.mp4").write_text("This is a letter, not a film.\n" * 100),
    "audio only": lambda folder: write_sound(folder / "in.mp4"),
    "cut before its index": lambda folder: cut(write_clip(folder / "in.mp4"), folder / "in.mp4"),
}


@pytest.mark.parametrize("kind", BAD_INPUTS)
def test_bad_input_is_one_clear_line(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    BAD_INPUTS[kind](tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main([str(tmp_path / "in.mp4"), "-o", str(tmp_path / "out.mov"), *QUICK]) == 1
    refused(capsys.readouterr().err, naming="in.mp4")
    assert sorted(tmp_path.iterdir()) == before


def refused(err: str, *, naming: str) -> None:
    """One line that names the culprit, one hint, no traceback; maybe what is kept."""
    lines = err.strip().splitlines()
    assert len(lines) == 2 or (len(lines) == 3 and "kept" in lines[2]), err
    assert lines[0].startswith("streammatte: error: ")
    assert naming in lines[0]
    assert lines[1].startswith("  hint: ")


def no_checkpoint(path: Path) -> Path:
    path.write_text("words")
    return path


def of_other_shapes(path: Path) -> Path:
    tensors = {"bb.patch_embed.proj.weight": torch.zeros(1, 2, 3)}
    save_file(tensors, path)
    return path


@pytest.mark.parametrize(
    ("arguments", "naming", "code"),
    [
        (["-o", "{folder}/nowhere/out.mov"], "nowhere", 1),
        (["-o", "{folder}/out.avi"], "out.avi", 2),
        (["-o", "{folder}/out"], "out", 2),
        (["-o", "{folder}/out.mp4"], "out.mp4", 2),
        (["-o", "{folder}/clip.mp4", "--bg", "green", "--overwrite"], "the input", 2),
        (["-o", "{folder}/there.mov"], "there.mov", 1),
        (["-o", "{folder}/out.mov", "-o", "{folder}/out.mov"], "out.mov", 2),
        (["-o", "{folder}/out.mov", "--model", "birefnet-lit"], "birefnet-lit", 2),
        (["-o", "{folder}/out.mov", "--weights", "{folder}/none.safetensors"], "none.safetensors", 1),
        (["-o", "{folder}/out.mov", "--weights", "{words}"], "words.pth", 1),
        (["-o", "{folder}/out.mov", "--weights", "{other}"], "other.safetensors", 1),
        (["-o", "{folder}/out.mov", "--device", "cuda:7"], "cuda:7", 1),
        (["-o", "{folder}/out.mov", "--device", "tpu"], "tpu", 2),
        (["-o", "{folder}/out.mov", "--in", "500"], "500", 2),
        (["-o", "{folder}/out.mov", "--layer", "beauty"], "clip.mp4", 2),
        (["-o", "{folder}/out.mov", "--size", "100x64"], "100×64", 2),
        (["-o", "{folder}/out.mov", "--size", "32000x32000"], "32000×32000", 2),
        (["-o", "{folder}/out.mov", "--bg", ""], "name is empty", 1),
        (["-o", "{folder}/out.mov", "--bg", "no-such-colour"], "no-such-colour", 2),
        (["-o", "{folder}/out.mov", "--bg", "{folder}/beach.jpg"], "beach.jpg", 1),
        (["-o", "{folder}/cut.png"], "cut.png", 2),
        (["-o", "{folder}/out.mov", "--fps", "30"], "clip.mp4", 2),
        (["-o", "{folder}/there.mov", "--bg", "{folder}/there.mov", "--overwrite"], "there.mov", 2),
        (["-o", "{folder}/hard.mov", "--overwrite"], "the input", 2),
        (["-o", "{folder}/a.####.png", "-o", "{folder}/a.%04d.png"], "a.%04d.png", 2),
        (["-o", "{folder}/out.mov", "--model", "nonsense", "--weights", "{other}"], "nonsense", 2),
        ([], "no output", 2),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(
    arguments: list[str], naming: str, code: int, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong usage exits with 2; what happened to a file or is lacking here, with 1."""
    folder = tmp_path / "work"
    folder.mkdir()
    shutil.copy(clip, folder / "clip.mp4")
    (folder / "there.mov").write_text("kept")
    os.link(folder / "clip.mp4", folder / "hard.mov")
    places = {
        "folder": folder,
        "words": no_checkpoint(tmp_path / "words.pth"),
        "other": of_other_shapes(tmp_path / "other.safetensors"),
    }
    given = [argument.format(**places) for argument in arguments]
    assert main([str(folder / "clip.mp4"), *unless(given, QUICK), *given]) == code
    refused(capsys.readouterr().err, naming=naming)
    assert folder_is(folder, "clip.mp4", "hard.mov", "there.mov")
    assert (folder / "there.mov").read_text() == "kept"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    assert main([str(clip), "-o", str(locked / "out.mov"), *QUICK]) == 1
    refused(capsys.readouterr().err, naming="locked")


def test_an_existing_output_is_replaced_when_asked(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mov"
    out.write_text("old")
    assert main([str(clip), "-o", str(out), "--overwrite", "--quiet", *QUICK]) == 0
    assert len(planes(out)) == FRAMES
    assert folder_is(tmp_path, "out.mov")


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """The first part of a file whose index is at its front."""
    whole = write_clip(
        tmp_path / "whole.mp4", pts=even_pts(48), container_options={"movflags": "faststart"}, audio="aac"
    )
    half = cut(whole, tmp_path / "half.mp4")
    whole.unlink()
    return half


def test_a_file_cut_in_half_gives_its_half_and_says_so(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = half.with_name("out.mov")
    assert main([str(half), "-o", str(out), "--json", *QUICK]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert 0 < summary["frames"] < 48
    assert len(planes(out)) == summary["frames"]
    assert "48" in summary["lost"]


def test_strict_refuses_a_file_cut_in_half(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(half), "-o", str(half.with_name("out.mov")), "--strict", "--quiet", *QUICK]) == 1
    error = capsys.readouterr().err
    refused(error, naming="half.mp4")
    assert "kept" in error and "--resume" not in error, "it would end there again"
    assert folder_is(half.parent, "half.mp4")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_leaves_nothing(number: signal.Signals, sample: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streammatte", str(sample), "-o", str(tmp_path / "out.webm"), *QUICK]
    before = signal.signal(number, signal.SIG_DFL)  # the tests may run under nohup, and a child begins as we are
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(number, before)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob(".out.webm.part/*"))) < 2:  # the lock, and the file being written
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert any(line.startswith("streammatte: interrupted") for line in err.splitlines())
    assert "Traceback" not in err
    assert all(path.match(".*.mattes") for path in tmp_path.iterdir()), "mattes may be kept for --resume"


def test_an_interruption_in_a_callback_of_native_code_is_not_lost() -> None:
    """FFmpeg calls ``read``, and cannot pass on what a signal's handler raises there."""
    program = """
import os, signal, sys, time
import av
from streammatte.cli import main

class Pipe:
    def __init__(self):
        self.signals = [signal.SIGTERM]

    def read(self, size):
        while self.signals:
            os.kill(os.getpid(), self.signals.pop())
        return b""

def run(arguments):
    try:
        av.open(Pipe(), "r", format="nut")
    except av.FFmpegError:
        pass
    time.sleep(60)

main.matte.main = run
sys.exit(main.main([]))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert run.returncode == 128 + signal.SIGTERM
    assert run.stderr == "streammatte: interrupted; nothing was written\n"


def test_debug_shows_the_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.mp4"), "-o", str(tmp_path / "out.mov"), "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_error_prints_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name is data: square brackets in it are not rich's."""
    assert main([str(tmp_path / "[red]none[/].mp4"), "-o", str(tmp_path / "out.mov")]) == 1
    assert "[red]none[/].mp4" in capsys.readouterr().err


def test_the_library_takes_any_frames_and_any_matter() -> None:
    frames = [Frame(torch.zeros(3, 8, 8, dtype=torch.uint8), pts=i, index=i) for i in range(3)]
    cutouts = list(streammatte.matte(frames, lambda batch: [torch.ones(8, 8) for _ in batch]))
    assert [cutout.frame.pts for cutout in cutouts] == [0, 1, 2]


def test_a_network_left_behind_in_its_thread_does_not_abort_the_process() -> None:
    program = """
import sys, threading, torch
from streammatte.cli.main import main

def work():
    while True:
        torch.nn.functional.conv2d(torch.zeros(1, 64, 128, 128), torch.zeros(64, 64, 3, 3))
        begun.set()

begun = threading.Event()
threading.Thread(target=work, name="streammatte-model", daemon=True).start()
begun.wait()
sys.argv = ["streammatte", "models"]
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "birefnet-nano" in done.stdout
