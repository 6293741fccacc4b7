"""A clip in segments equals the unbroken run."""

from __future__ import annotations

import pickle
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
from streammatte.batch.segments import run_in_segments
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
    """Times and data of the first video stream."""
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux(video=0) if packet.size]
        return [(packet.pts, packet.dts, packet.duration, sha256(bytes(packet)).hexdigest()) for packet in found]


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


@pytest.mark.parametrize("name", PTS)
def test_segments_equal_the_unbroken_run(name: str, clips: dict[str, Path], tmp_path: Path) -> None:
    folders = {count: tmp_path / str(count) for count in (0, 5, 1 if name == "long" else 2)}
    for count, folder in folders.items():
        folder.mkdir()
        given = options(clips[name], folder, *KINDS, matte=folder / "matte.mp4", segments=count or None)
        summary = in_segments(given) if count else run(given, Silent())
        assert summary.frames == 20 and not summary.lost
    unbroken = folders.pop(0)
    whole = files(unbroken)
    for count, folder in folders.items():
        made = files(folder)
        assert made.keys() == whole.keys(), "nothing else is left"
        same = [each for each in made if each.endswith((".mov", ".png")) or (count == 1 and each.endswith(".mp4"))]
        assert [each for each in same if made[each] != whole[each]] == []
        assert packets(folder / "out.mkv") == packets(unbroken / "out.mkv")  # the file has a random name in it
        for lossy in ("out.webm", "matte.mp4"):
            exact, times = slice(0, None if count == 1 else 3), packets(unbroken / lossy)
            assert [packet[exact] for packet in packets(folder / lossy)] == [packet[exact] for packet in times]
            assert close(folder / lossy, unbroken / lossy)
