"""An interrupted run goes on to the very bytes of an unbroken one; and what cannot go on says why."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load
from support.clips import VARIABLE_PTS, even_pts, write_clip
from support.forks import End, Forks, Job, forks
from test_media_sinks import cutouts, info_for

import streammatte
from streammatte.cli.main import main
from streammatte.frame import Cutout, Frame, Stage
from streammatte.media import open_writer
from streammatte.media.write.part import Part
from streammatte.resume import packed
from streammatte.stages import ClipColors, Despill, DetailRefiner, ForegroundEstimator, TemporalSmoother

QUICK = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu", "--quiet"]
PTS = [*VARIABLE_PTS, *even_pts(32, first=13100)]
COUNT = len(PTS)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of variable durations, with sound."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", pts=PTS, audio="aac")


@pytest.fixture(scope="module")
def forked() -> Iterator[Forks]:
    with forks() as process:
        yield process


def asked(clip: Path, folder: Path, *more: str) -> list[str]:
    outputs = [each for name in ("out.mov", "out.mkv", "cut.####.png") for each in ("-o", str(folder / name))]
    return [str(clip), *outputs, *QUICK, *more]


@pytest.fixture(scope="module")
def unbroken(clip: Path, forked: Forks, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run writes that nothing interrupts."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert forked.run(Job(asked(clip, folder))).code == 0
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Of all files; hidden folders would be found, and not be readable as files."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def journal(folder: Path, name: str = "out.mov") -> Path:
    return folder / f".{name}.part" / "frames"


def interrupted(forked: Forks, clip: Path, folder: Path, lines: int, *more: str, by: int = signal.SIGKILL) -> End:
    """A run that gets a signal once so many frames have been handed to the file."""
    return forked.run(Job(asked(clip, folder, *more), when=str(journal(folder)), lines=lines, signal=by))


def test_killed_thrice_at_random_and_resumed(
    clip: Path, forked: Forks, unbroken: dict[str, bytes], tmp_path: Path
) -> None:
    chance = random.Random(1)
    reached = 0
    for _ in range(3):
        reached = chance.randrange(reached + 1, COUNT - 2)
        assert interrupted(forked, clip, tmp_path, reached, "--resume").code == -signal.SIGKILL
        assert not list(tmp_path.glob("[!.]*")), "nothing under the final name"
    end = forked.run(Job(asked(clip, tmp_path, "--resume")))
    assert end.code == 0 and "whole frames" in end.err
    assert contents(tmp_path) == unbroken


def test_batches_and_a_long_memory_resume_from_a_saved_state(clip: Path, forked: Forks, tmp_path: Path) -> None:
    options = ["--batch", "3", "--smooth", "low"]
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    assert forked.run(Job(asked(clip, tmp_path / "whole", *options))).code == 0
    assert interrupted(forked, clip, tmp_path / "broken", COUNT - 8, *options).code == -signal.SIGKILL
    assert (tmp_path / "broken" / ".out.mov.part" / "state.safetensors").exists()
    assert forked.run(Job(asked(clip, tmp_path / "broken", *options, "--resume"))).code == 0
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_an_interruption_keeps_what_is_whole_and_says_how_to_go_on(
    clip: Path, forked: Forks, unbroken: dict[str, bytes], tmp_path: Path
) -> None:
    end = interrupted(forked, clip, tmp_path, 20, by=signal.SIGTERM)
    assert end.code == 128 + signal.SIGTERM
    said = end.err.strip().splitlines()[-1]
    assert said.startswith("streammatte: interrupted; ") and said.endswith("the same command with --resume goes on")
    kept = int(said.split()[2])
    assert 0 < kept <= COUNT

    end = forked.run(Job(asked(clip, tmp_path)))
    assert end.code == 1 and "--resume" in end.err and "--overwrite" in end.err, "it is not thrown away unasked"
    end = forked.run(Job(asked(clip, tmp_path, "--resume")))
    assert end.code == 0 and f"going on after {kept} whole frames" in end.err
    assert contents(tmp_path) == unbroken


def test_other_options_and_other_footage_are_refused(clip: Path, forked: Forks, tmp_path: Path) -> None:
    copy = shutil.copy(clip, tmp_path / "clip.mp4")
    interrupted(forked, copy, tmp_path, 10)
    before = journal(tmp_path).read_bytes()
    refused = forked.run(Job(asked(copy, tmp_path, "--resume", "--smooth", "high")))
    assert refused.code == 1 and "other smooth" in refused.err.splitlines()[0]
    write_clip(tmp_path / "clip.mp4", pts=PTS, audio="aac", b_frames=0)
    refused = forked.run(Job(asked(copy, tmp_path, "--resume")))
    assert refused.code == 1 and "other source" in refused.err.splitlines()[0]
    assert journal(tmp_path).read_bytes() == before, "and is still there"
    assert forked.run(Job(asked(copy, tmp_path, "--overwrite"))).code == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_two_runs_at_once_do_not_destroy_each_other(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_writer(tmp_path / "out.mov", info_for()) as writer:
        for cutout in cutouts():
            writer.write(cutout)
        for more in ([], ["--resume"], ["--overwrite"]):
            assert main([str(clip), "-o", str(tmp_path / "out.mov"), *QUICK, *more]) == 1
            assert "another run" in capsys.readouterr().err
    assert list(contents(tmp_path)) == ["out.mov"]


def test_what_cannot_be_resumed_begins_anew_and_says_so(clip: Path, forked: Forks, tmp_path: Path) -> None:
    command = [str(clip), "-o", str(tmp_path / "out.webm"), "-o", str(tmp_path / "out.mov"), *QUICK]
    command += ["--smooth", "off"]
    end = forked.run(Job(command, when=str(journal(tmp_path)), lines=30))
    assert end.code == -signal.SIGKILL
    end = forked.run(Job([*command, "--resume"]))
    assert end.code == 0
    assert "out.webm cannot be resumed" in end.err
    resumed = contents(tmp_path)
    assert sorted(resumed) == ["out.mov", "out.webm"]
    assert forked.run(Job([*command, "--overwrite"])).code == 0
    assert contents(tmp_path)["out.mov"] == resumed["out.mov"]


def test_a_composite_over_a_clip_resumes(clip: Path, forked: Forks, tmp_path: Path) -> None:
    behind = write_clip(tmp_path / "behind.mp4", pts=even_pts(9))
    names = tmp_path / "whole.mov", tmp_path / "broken.mov"
    command = [str(clip), "--bg", str(behind), "--smooth", "off", *QUICK]
    assert forked.run(Job([*command, "-o", str(names[0])])).code == 0
    part = journal(tmp_path, "broken.mov")
    assert forked.run(Job([*command, "-o", str(names[1])], when=str(part), lines=25)).code == -signal.SIGKILL
    assert forked.run(Job([*command, "-o", str(names[1]), "--resume"])).code == 0
    assert names[0].read_bytes() == names[1].read_bytes()


def test_a_full_disk_keeps_what_is_whole(clip: Path, forked: Forks, unbroken: dict[str, bytes], tmp_path: Path) -> None:
    end = forked.run(Job(asked(clip, tmp_path), largest=len(unbroken["out.mov"]) // 2))
    assert end.code == 1
    error, hint, kept = end.err.strip().splitlines()
    assert "out.mov cannot be written" in error and "room" in hint and "--resume" in kept
    assert not list(tmp_path.glob("[!.]*"))
    assert forked.run(Job(asked(clip, tmp_path, "--resume"))).code == 0
    assert contents(tmp_path) == unbroken


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip too large to lie in a buffer."""
    path = tmp_path_factory.mktemp("noise") / "noise.mkv"
    return write_clip(path, size=(320, 256), pts=even_pts(90), codec="rawvideo", pixels="yuv420p")


def test_a_source_that_vanishes_is_told_and_may_come_back(noise: Path, forked: Forks, tmp_path: Path) -> None:
    source = Path(shutil.copy(noise, tmp_path / "noise.mkv"))
    out = tmp_path / "out.mov"
    command = [str(source), "-o", str(out), *QUICK, "--smooth", "off", "--decontaminate", "off"]
    end = forked.run(Job(command, when=str(journal(tmp_path)), lines=36, cut=str(source)))
    assert end.code == 1
    assert "changed while it was read" in end.err.splitlines()[0] and "Traceback" not in end.err
    assert not out.exists()
    shutil.copy(noise, source)
    assert forked.run(Job([*command, "--resume"])).code == 0
    resumed = out.read_bytes()
    assert forked.run(Job([*command, "--overwrite"])).code == 0
    assert out.read_bytes() == resumed


@pytest.mark.parametrize("left", [1.0, 0.99, 0.9])
def test_a_kill_while_the_file_is_closed_loses_nothing(left: float, tmp_path: Path) -> None:
    """Closing a MOV writes over its beginning, and then an index at its end, of which any part may be there."""
    made = list(cutouts(even_pts(30)))
    with open_writer(tmp_path / "whole.mov", info_for()) as writer:
        for cutout in made:
            writer.write(cutout)

    writer = open_writer(tmp_path / "out.mov", info_for())
    writer.part.begin({"what": "this"})
    with pytest.raises(KeyboardInterrupt), writer:
        for cutout in made:
            writer.write(cutout)
        writer.finish()
        raise KeyboardInterrupt
    file = writer.part.folder / "plates.mov"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * left)])

    writer = open_writer(tmp_path / "out.mov", info_for())
    writer.part.begin(resume=True)
    with writer:
        assert writer.whole >= 30 * left - 2
        for cutout in made:
            if cutout.frame.index < writer.whole:
                writer.skip(cutout.frame)
            else:
                writer.write(cutout)
    assert (tmp_path / "out.mov").read_bytes() == (tmp_path / "whole.mov").read_bytes()


def test_a_power_cut_that_leaves_a_hole_costs_what_follows_it(tmp_path: Path) -> None:
    made = list(cutouts(even_pts(20)))
    writer = open_writer(tmp_path / "out.mov", info_for())
    writer.part.begin({"what": "this"})
    with pytest.raises(KeyboardInterrupt), writer:
        for cutout in made:
            writer.write(cutout)
        raise KeyboardInterrupt
    file = writer.part.folder / "plates.mov"
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 8] = bytes(8)
    file.write_bytes(data)
    writer = open_writer(tmp_path / "out.mov", info_for())
    writer.part.begin(resume=True)
    with pytest.raises(KeyboardInterrupt), writer:
        assert 0 < writer.whole < 12
        raise KeyboardInterrupt


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_plates_and_an_interruption(count: int, tmp_path: Path) -> None:
    """The encoder's threads hold the first packets back; a file without any is ended nonetheless."""
    with pytest.raises(KeyboardInterrupt), open_writer(tmp_path / "out.mov", info_for()) as writer:
        for cutout in list(cutouts())[:count]:
            writer.write(cutout)
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_the_longest_name_has_a_part(tmp_path: Path) -> None:
    part = Part(tmp_path / (251 * "x" + ".mov"))
    part.claim()
    assert part.folder.is_dir()
    part.leave()
    assert not list(tmp_path.iterdir())


def moving(count: int = 30) -> list[Cutout]:
    """A ball over a ramp, its matte unsure and flickering; a cut in the middle."""
    chance = np.random.default_rng(0)
    y, x = np.mgrid[:96, :128]
    made = []
    for index in range(count):
        distance = np.hypot(y - 48, x - 30 - 2 * index)
        alpha = (1 / (1 + np.exp((distance - 22) / 3)) + chance.normal(0, 0.05, y.shape)).clip(0, 1)
        behind = np.stack([x, y + 60, 255 - x]) if index < count // 2 else np.stack([255 - y, x, x // 2])
        ball = np.array([200, 60, 40])[:, None, None]
        rgb = np.where(distance < 22, ball, behind) + chance.integers(-4, 5, (3, *y.shape))
        pixels = np.ascontiguousarray(rgb.transpose(1, 2, 0).clip(0, 255).astype(np.uint8))  # as sources have them
        frame = Frame(torch.from_numpy(pixels).permute(2, 0, 1), index, index)
        made.append(Cutout(frame, torch.from_numpy(alpha.astype(np.float32))))
    return made


def through(stage: Stage, made: Sequence[Cutout]) -> list[Cutout]:
    return [*(after for cutout in made for after in stage.push(cutout)), *stage.flush()]


def equal(one: Sequence[Cutout], other: Sequence[Cutout]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a.alpha, b.alpha)
        and (a.foreground is None or b.foreground is None or torch.equal(a.foreground, b.foreground))
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("first", [3, 11])
@pytest.mark.parametrize(
    "stage",
    [
        lambda: TemporalSmoother("low"),
        lambda: TemporalSmoother("medium", 0),
        lambda: DetailRefiner((48, 64)),
        lambda: ForegroundEstimator(),
        lambda: Despill((0.0, 1.0, 0.0)),
    ],
    ids=["smoother", "looking back", "detail", "foreground", "despill"],
)
def test_a_stage_remembers_no_more_plates_than_it_says(stage, first: int) -> None:
    made = moving(22)
    memory = stage().memory
    assert equal(through(stage(), made)[first + memory :], through(stage(), made[first:])[memory:])


@pytest.mark.parametrize("first", [5, 20, 28])
def test_the_clips_colours_go_on_from_their_state(first: int) -> None:
    made = moving()
    whole = through(ClipColors((48, 64)), made)
    known = ClipColors((48, 64))
    through(known, made[:first])
    state = known.state()
    through(known, made[first:])  # which does not change what was taken
    again = ClipColors((48, 64))
    again.restore({name.partition("/")[2]: value for name, value in load(packed({first: state})).items()})
    assert equal(through(again, made[first:]), whole[first:])
    assert not equal(through(ClipColors((48, 64)), made[first:]), whole[first:]), "it is needed"


def test_the_library_removes_what_is_left_only_of_its_own(tmp_path: Path) -> None:
    with streammatte.open_writer(tmp_path / "out.mov", info_for()) as writer:
        writer.write(next(iter(cutouts())))
    assert list(contents(tmp_path)) == ["out.mov"]
