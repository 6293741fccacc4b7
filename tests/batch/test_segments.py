"""A clip in segments equals the unbroken run."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import SAMPLES
from support.clips import VARIABLE_PTS, even_pts, write_clip

from streammatte import Options
from streammatte.batch.segment import Done
from streammatte.batch.segments import plan, run_in_segments
from streammatte.errors import ModelError, StreammatteError
from streammatte.refusals import check
from streammatte.run import run
from streammatte.summary import Summary

pytestmark = pytest.mark.media

QUICK = {"model": "birefnet-nano", "size": (64, 64), "device": "cpu", "smooth": "low"}
PTS = {
    "cuts": even_pts(20),
    "long": even_pts(20),
    "variable": [*VARIABLE_PTS, *even_pts(8, first=13100)],
}
KINDS = ("out.mov", "out.mkv", "out.webm", "cut.####.png")


class Inline:
    """An engine without processes; what it is given is pickled all the same."""

    def run(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        work, tasks = pickle.loads(pickle.dumps((work, list(tasks))))
        for place in reversed(range(len(tasks))):  # the order does not matter
            yield place, pickle.loads(pickle.dumps(work(tasks[place])))


class Silent:
    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def started(self, info: Any, model: Any) -> None: ...
    def keyframe(self, index: int | None) -> None: ...
    def written(self, frames: int) -> None: ...


def people(name: str, count: int) -> list[np.ndarray]:
    with av.open(str(SAMPLES / name)) as container:
        frames = (frame.reformat(96, 64, "rgb24").to_ndarray() for frame in container.decode(video=0))
        return [frame for frame, _ in zip(frames, range(count), strict=False)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """With cuts, one long shot, and frames of variable durations; all with sound."""
    folder = tmp_path_factory.mktemp("clips")
    talking, walking = people("talking.mp4", 20), people("walk.mp4", 7)
    shown = {"cuts": [*talking[:7], *walking, *talking[14:]], "long": talking, "variable": talking}
    return {
        name: write_clip(folder / f"{name}.mp4", pts=PTS[name], audio="aac", pictures=shown[name], size=(96, 64))
        for name in PTS
    }


def options(clip: Path, folder: Path, *names: str, **more: Any) -> Options:
    return Options.of(clip, [folder / name for name in names], **{**QUICK, **more})


def in_segments(asked: Options) -> Summary:
    return run_in_segments(asked, Silent(), Inline())


def packets(path: Path) -> list[tuple[Any, ...]]:
    """Times and data of the first video stream, in the order they are shown."""
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux(video=0) if packet.size]
        steps = [packet.dts for packet in found]
        assert steps == sorted(set(steps))
        return sorted((packet.pts, packet.duration, sha256(bytes(packet)).hexdigest()) for packet in found)


def pictures(path: Path) -> np.ndarray:
    """Of all frames, as decoded, alpha included."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if path.suffix != ".webm":
            return np.stack([frame.to_ndarray(format="rgba") for frame in container.decode(stream)])
        decoder = av.CodecContext.create("libvpx-vp9", "r")
        made = [
            frame for packet in container.demux(stream) for frame in decoder.decode(packet if packet.size else None)
        ]
        return np.stack([frame.to_ndarray(format="rgba") for frame in made])


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def close(one: Path, other: Path) -> bool:
    """Whether lossy encoders differ by no more than they do from what they were given."""
    difference = pictures(one).astype(float) - pictures(other)
    return bool(np.sqrt(np.square(difference).mean()) < 4)


@pytest.mark.parametrize(("name", "count"), [("cuts", 3), ("long", 2)])
def test_segments_equal_the_unbroken_run(name: str, count: int, clips: dict[str, Path], tmp_path: Path) -> None:
    run(options(clips[name], tmp_path, "whole.mov"), Silent())
    summary = in_segments(options(clips[name], tmp_path, "parts.mov", segments=count))
    assert (tmp_path / "parts.mov").read_bytes() == (tmp_path / "whole.mov").read_bytes()
    assert summary.frames == 20 and not summary.lost
    assert {path.name for path in tmp_path.iterdir()} == {"parts.mov", "whole.mov"}, "nothing else is left"


def test_every_format_at_a_variable_rate(clips: dict[str, Path], tmp_path: Path) -> None:
    unbroken, *folders = (tmp_path / name for name in ("0", "1", "5"))
    for folder in (unbroken, *folders):
        folder.mkdir()
        given = options(clips["variable"], folder, *KINDS, matte=folder / "matte.mp4")
        if folder is unbroken:
            run(given, Silent())
        else:
            in_segments(Options.of(**given.flat() | {"segments": int(folder.name)}))
    whole = files(unbroken)
    for folder in folders:
        made, alone = files(folder), folder.name == "1"
        same = [each for each in made if each.endswith((".mov", ".png")) or (alone and each.endswith(".mp4"))]
        assert [each for each in same if made[each] != whole.get(each)] == [] and made.keys() == whole.keys()
        assert packets(folder / "out.mkv") == packets(unbroken / "out.mkv")  # the file has a random name in it
        for lossy in ("out.webm", "matte.mp4"):
            exact = slice(3 if alone else 1)
            assert [each[exact] for each in packets(folder / lossy)] == [
                each[exact] for each in packets(unbroken / lossy)
            ]
            assert close(folder / lossy, unbroken / lossy)


def test_a_part_of_a_clip_with_a_background_and_a_pair(clips: dict[str, Path], tmp_path: Path) -> None:
    folders = tmp_path / "whole", tmp_path / "parts"
    asked = {"mark_in": "4", "mark_out": "14", "handles": 1, "background": clips["cuts"], "codec": "png"}
    for folder in folders:
        folder.mkdir()
    run(options(clips["variable"], folders[0], "out.mov", "cut.####.png", **asked), Silent())
    in_segments(options(clips["variable"], folders[1], "out.mov", "cut.####.png", **asked, segments=2))
    assert files(folders[0]) == files(folders[1])


def test_segments_end_at_a_cut_and_look_no_further(clips: dict[str, Path], tmp_path: Path) -> None:
    found = plan(options(clips["cuts"], tmp_path, "out.mov", segments=3), range(20), 0, (64, 64))
    assert [segment.frames for segment in found] == [range(7), range(7, 14), range(14, 20)]
    assert [segment.read for segment in found] == [range(7), range(6, 14), range(13, 20)]
    (first, second) = plan(options(clips["long"], tmp_path, "out.mov", segments=2, batch=4), range(20), 0, (64, 64))
    assert (first.frames, second.frames) == (range(10), range(10, 20))
    assert (first.read, second.read) == (range(12), range(4, 20)), "whole batches, and what smoothing looks at"


def test_mattes_are_read_and_kept(clips: dict[str, Path], tmp_path: Path) -> None:
    kept = in_segments(options(clips["long"], tmp_path, "one.mov", segments=2, keep_mattes=True))
    assert kept.mattes_read == 0 and kept.mattes_computed > 20
    again = run(options(clips["long"], tmp_path, "two.mov"), Silent())
    assert (again.mattes_read, again.mattes_computed) == (20, 0)
    third = in_segments(options(clips["long"], tmp_path, "three.mov", segments=4))
    assert third.mattes_computed == 0
    assert len({(tmp_path / f"{name}.mov").read_bytes() for name in ("one", "two", "three")}) == 1
    assert {path.suffix for path in tmp_path.iterdir()} == {".mov", ".mattes"}


def test_a_segment_that_fails_ends_the_run_and_the_others_are_kept(
    clips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = options(clips["long"], tmp_path, "out.mov", segments=4)
    whole = Inline.run

    def failing(self: Inline, work: Any, tasks: Any) -> Iterator[tuple[int, Any]]:
        yield from list(whole(self, work, tasks[:3]))
        yield 3, ModelError("NaN")

    monkeypatch.setattr(Inline, "run", failing)
    with pytest.raises(ModelError) as failed:
        in_segments(asked)
    assert "3 segments are kept" in failed.value.__notes__[-1]
    assert [path.name for path in tmp_path.iterdir()] == [".out.mov.segments"]
    given: list[int] = []

    def counted(self: Inline, work: Any, tasks: Any) -> Iterator[tuple[int, Any]]:
        given.append(len(tasks))
        return whole(self, work, tasks)

    monkeypatch.setattr(Inline, "run", counted)
    in_segments(asked)
    assert given == [1] and [path.name for path in tmp_path.iterdir()] == ["out.mov"]


@pytest.mark.parametrize(
    ("output", "more"),
    [
        ("-", {"segments": 2}),
        ("out.gif", {"workers": 2}),
        ("out.mov", {"workers": 2, "report": "page.html"}),
        ("out.mov", {"engine": "ray", "limits": {"flicker": 0.5}}),
        ("out.mov", {"segments": 2, "transparent": (1, 2, 3, 4)}),
        ("out.mov", {"address": "head:6379"}),
    ],
)
def test_what_cannot_be_joined_is_refused(output: str, more: dict[str, Any], clips: dict[str, Path]) -> None:
    with pytest.raises(StreammatteError) as refused:
        check(Options.of(clips["long"], output, **more))
    assert any(flag in str(refused.value) for flag in ("--segments", "--workers", "--engine"))


def test_a_run_that_is_interrupted_goes_on(clips: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.mov"
    line = [sys.executable, "-m", "streammatte", str(clips["long"]), str(out), "--segments", "5", "--workers", "1"]
    line += ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu", "--smooth", "low"]
    first = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(".out.mov.segments/[0-9]*")):
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate()
    assert first.returncode == 128 + signal.SIGINT, said
    assert "kept; run the same command to continue" in said and not out.exists()
    second = subprocess.run([*line, "--json"], capture_output=True, text=True, check=True)
    assert "continuing with" in second.stderr and json.loads(second.stdout)["frames"] == 20
    run(options(clips["long"], tmp_path, "whole.mov"), Silent())
    assert out.read_bytes() == (tmp_path / "whole.mov").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"out.mov", "whole.mov"}


def test_what_is_kept_of_a_segment_is_data(clips: dict[str, Path], tmp_path: Path) -> None:
    """Whoever can write beside the output must not be able to have code run."""
    given: list[Done] = []

    class Noting(Inline):
        def run(self, work: Any, tasks: Any) -> Iterator[tuple[int, Any]]:
            planted = work.folder / tasks[0].name
            planted.mkdir()
            (planted / "done").write_bytes(pickle.dumps(Planted(tmp_path / "planted")))
            for place, done in super().run(work, tasks):
                given.append(done)
                assert Done.of_json(done.as_json()).as_json() == done.as_json()
                kept = (work.folder / tasks[place].name / "done").read_text()
                assert kept == done.as_json()
                yield place, done

    run_in_segments(options(clips["long"], tmp_path, "out.mov", segments=2), Silent(), Noting())
    assert len(given) == 2 and not (tmp_path / "planted").exists()


class Planted:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)
