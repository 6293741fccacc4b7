"""Resuming: an interrupted run ends as an unbroken one, and no network is asked twice."""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from conftest import SAMPLES
from safetensors.torch import load_file, save_file
from support.clips import VARIABLE_PTS, blank_packets, even_pts, write_clip
from support.forks import End, Forks, Job, forks

import streammatte
from streammatte.cli.main import main
from streammatte.frame import Cutout

pytestmark = pytest.mark.e2e

QUICK = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu"]
PTS = [*VARIABLE_PTS, *even_pts(12, first=13100)]
COUNT = len(PTS)
KINDS = {"out.mov": [], "out.webm": [], "out.mp4": ["--bg", "green"], "cut.####.png": []}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of variable durations, with sound."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", pts=PTS, audio="aac")


@pytest.fixture(scope="module")
def forked() -> Iterator[Forks]:
    with forks() as process:
        yield process


def command(clip: Path, folder: Path, name: str, *more: str) -> list[str]:
    return [str(clip), "-o", str(folder / name), *QUICK, *KINDS.get(name, []), *more]


def told(end: End) -> dict:
    assert end.code == 0, end.err
    return json.loads(end.out)


def hidden(folder: Path) -> Path | None:
    return next(folder.glob(".clip.*.mattes"), None)


def pixels(path: Path) -> list[np.ndarray]:
    """Of every frame, alpha included."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if path.suffix != ".webm":
            return [frame.to_ndarray(format="rgba64le") for frame in container.decode(stream)]
        decoder = av.CodecContext.create("libvpx-vp9", "r")
        decoder.extradata = stream.codec_context.extradata
        made = [
            frame for packet in container.demux(stream) for frame in decoder.decode(packet if packet.size else None)
        ]
        return [frame.to_ndarray(format="rgba64le") for frame in made]


def contents(folder: Path, name: str) -> list[np.ndarray]:
    if "#" not in name:
        return pixels(folder / name)
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(folder.glob("cut.*.png"))]


def same(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    return len(one) == len(other) == COUNT and all(map(np.array_equal, one, other))


@pytest.mark.parametrize("name", KINDS)
def test_killed_at_random_and_resumed(name: str, clip: Path, forked: Forks, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    kept = told(forked.run(Job(command(clip, whole, name, "--keep-mattes", "--json"))))
    assert (kept["mattes_read"], kept["mattes_computed"]) == (0, COUNT)
    (mattes,) = whole.glob("*.mattes")
    size = mattes.stat().st_size
    chance = random.Random(name)
    place = broken / f".{mattes.name}"
    for least in sorted(chance.uniform(0.1, 0.9) for _ in range(2)):
        end = forked.run(Job(command(clip, broken, name, "--resume"), when=str(place), size=int(least * size)))
        assert end.code == -signal.SIGKILL
        assert not list(broken.glob("[!.]*")), "nothing lies under a final name"
    resumed = told(forked.run(Job(command(clip, broken, name, "--resume", "--json"))))
    assert resumed["mattes_read"] > 0 and resumed["mattes_read"] + resumed["mattes_computed"] == COUNT
    assert same(contents(broken, name), contents(whole, name))
    assert not list(broken.glob(".*")), "what the kills left is gone"


def test_an_interruption_says_what_is_kept_and_what_to_type(clip: Path, forked: Forks, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    told(forked.run(Job(command(clip, tmp_path / "whole", "out.mov", "--keep-mattes", "--json"))))
    (mattes,) = (tmp_path / "whole").glob("*.mattes")
    job = Job(
        command(clip, tmp_path, "out.mov"),
        when=str(tmp_path / f".{mattes.name}"),
        size=mattes.stat().st_size // 3,
        signal=signal.SIGTERM,
    )
    end = forked.run(job)
    assert end.code == 128 + signal.SIGTERM
    said = end.err.strip().splitlines()[-1]
    assert "interrupted" in said and "--resume" in said
    count = next(int(word) for word in said.split() if word.isdigit())
    resumed = told(forked.run(Job(command(clip, tmp_path, "out.mov", "--resume", "--json"))))
    assert resumed["mattes_read"] == count > 0
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "out.mov"}


def test_a_source_that_vanishes_may_come_back(forked: Forks, tmp_path: Path) -> None:
    """Frames that were read while it was going are computed again."""
    whole = tmp_path / "noise.mkv"
    write_clip(whole, size=(320, 256), pts=even_pts(90), codec="rawvideo", pixels="yuv420p")
    source = Path(shutil.copy(whole, tmp_path / "clip.mkv"))
    options = ["--smooth", "off", "--decontaminate", "off", "--colors", "off"]
    job = command(source, tmp_path, "out.mov", *options)
    kept = told(forked.run(Job([*job, "--keep-mattes", "--json"])))
    unbroken = pixels(tmp_path / "out.mov")
    (mattes,) = tmp_path.glob("*.mattes")
    size = mattes.stat().st_size
    mattes.unlink()
    place = tmp_path / f".{mattes.name}"
    end = forked.run(Job([*job, "--overwrite"], when=str(place), size=int(0.4 * size), cut=str(source)))
    assert end.code == 1 and "Traceback" not in end.err
    shutil.copy(whole, source)
    resumed = told(forked.run(Job([*job, "--overwrite", "--resume", "--json"])))
    assert 0 < resumed["mattes_read"] < kept["frames"]
    assert all(map(np.array_equal, pixels(tmp_path / "out.mov"), unbroken))


def test_a_full_disk_turns_the_cache_off_and_not_the_run(clip: Path, forked: Forks, tmp_path: Path) -> None:
    end = forked.run(Job(command(clip, tmp_path, "cut.####.png", "--keep-mattes"), largest=4_000))
    assert end.code == 0, end.err
    assert end.err.count("caching of mattes stopped") == 1
    assert len(list(tmp_path.glob("cut.*.png"))) == COUNT
    assert not list(tmp_path.glob(".*"))


@pytest.fixture
def kept(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of a run that kept its mattes."""
    assert main(command(clip, tmp_path, "out.mov", "--keep-mattes", "--json")) == 0
    capsys.readouterr()
    assert len(list(tmp_path.glob("clip.*.mattes"))) == 1 and hidden(tmp_path) is None
    return tmp_path


def answers(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, int]:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    return summary["mattes_read"], summary["mattes_computed"]


def test_kept_mattes_serve_another_background_choke_codec_and_smoothing(
    clip: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = {"comp.mp4": ["--choke", "1"], "png.mov": ["--codec", "png", "--smooth", "off"]}
    for name, more in others.items():
        more = [*more, "--bg", "blue"]
        assert answers(capsys, *command(clip, kept, name, *more)) == (COUNT, 0)
        (kept / "anew").mkdir(exist_ok=True)
        assert answers(capsys, *command(clip, kept / "anew", name, *more)) == (0, COUNT)
        assert same(pixels(kept / name), pixels(kept / "anew" / name))
    assert len(list(kept.glob("*.mattes"))) == 1, "it stays until it is removed"
    assert not list((kept / "anew").glob("*.mattes")) and not list(kept.rglob(".*"))
    # A part of the clip finds its frames, and others are added.
    assert answers(capsys, *command(clip, kept, "part.mov", "--in", "3", "--out", "6")) == (4, 0)


def test_other_sizes_weights_and_footage_do_not_match(
    clip: Path, kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundled = Path(streammatte.__file__).parent / "models" / "birefnet-nano.safetensors"
    tensors = load_file(bundled)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name] = tensors[name] * 1.01
    save_file(tensors, tmp_path / "mine.safetensors")
    own = [part for part in QUICK if part not in ("--model", "birefnet-nano")]
    footage = write_clip(tmp_path / "other" / "clip.mp4" if (tmp_path / "other").mkdir() is None else clip, pts=PTS[:5])
    short = ["--out", "1", "--overwrite"]
    target = str(kept / "two.mov")
    size = ["96x96" if part == "64x64" else part for part in QUICK]
    assert answers(capsys, str(clip), "-o", target, *size, *short) == (0, 2)
    weights = ["--weights", str(tmp_path / "mine.safetensors")]
    assert answers(capsys, str(clip), "-o", target, *own, *weights, *short) == (0, 2)
    assert answers(capsys, str(footage), "-o", target, *QUICK, *short) == (0, 2)
    assert answers(capsys, str(clip), "-o", target, *QUICK, *short) == (2, 0)


def test_no_cache_of_a_single_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), np.full((48, 64, 3), 90, np.uint8))
    assert main([str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"), *QUICK, "--keep-mattes"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"in.png", "out.png"}


def test_two_runs_with_one_output_do_not_mix(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with streammatte.open_video(clip) as video, streammatte.open_writer(tmp_path / "out.mov", video.info) as writer:
        for frame in video:
            writer.write(Cutout(frame, torch.ones(frame.rgb.shape[1:])))
        for more in ([], ["--resume"], ["--overwrite"]):
            assert main(command(clip, tmp_path, "out.mov", *more)) == 1
            assert "out.mov" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["out.mov"]
    assert len(pixels(tmp_path / "out.mov")) == COUNT


def test_a_part_of_damaged_footage_gets_no_other_frames_mattes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the whole, frames after the damage are counted without what was lost; in a part, with it."""
    bad = blank_packets(SAMPLES / "talking.mp4", tmp_path / "bad.mp4", range(3, 5), skip=0)
    target, (kept, anew) = "cut.####.png", (tmp_path / name for name in ("kept", "anew"))
    for folder in (kept, anew):
        folder.mkdir()
    whole = [str(bad), "-o", str(kept / "whole.mov"), *QUICK, "--out", "11", "--keep-mattes"]
    assert answers(capsys, *whole)[1] > 0
    part = ["--in", "6", "--out", "8"]
    for folder in (kept, anew):
        answers(capsys, str(bad), "-o", str(folder / target), *QUICK, *part)
    pictures = [[path.read_bytes() for path in sorted(folder.glob("cut.*.png"))] for folder in (kept, anew)]
    assert pictures[0] == pictures[1] and len(pictures[0]) == 3
