"""Two hundred files that something happened to, each through the real command: every end is a clear one."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import cv2
from clips import RATE, even_pts, picture, write_clip, write_sound
from forks import End, Forks, Job, forks

COUNT = 200
SEED = 5
SIZE = (48, 32)
PTS = even_pts(5)
QUIET_X265 = {"x265-params": "log-level=none"}
QUICK = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu", "--quiet"]
QUICK += ["--smooth", "off", "--colors", "off", "--decontaminate", "off"]


def clean(folder: Path) -> list[Path]:
    """Small files of many kinds, all whole; the last is no footage."""
    clips = [
        write_clip(folder / "h264.mp4", size=SIZE, pts=PTS, audio="aac"),
        write_clip(folder / "front.mp4", size=SIZE, pts=PTS, container_options={"movflags": "faststart"}),
        write_clip(folder / "prores.mov", size=SIZE, pts=PTS, codec="prores_ks", pixels="yuv422p10le"),
        write_clip(folder / "pcm.mov", size=SIZE, pts=PTS, codec="mjpeg", pixels="yuvj420p", audio="pcm_s16le"),
        write_clip(folder / "ffv1.mkv", size=SIZE, pts=PTS, codec="ffv1", audio="flac"),
        write_clip(folder / "hevc.mkv", size=(64, 64), pts=PTS, codec="libx265", options=QUIET_X265),
        write_clip(folder / "vp9.webm", size=SIZE, pts=PTS, codec="libvpx-vp9", audio="libopus"),
        write_clip(folder / "mpeg4.avi", size=SIZE, pts=PTS, codec="mpeg4", audio="mp2"),
        write_clip(folder / "mpeg2.ts", size=SIZE, pts=range(5), time_base=1 / RATE, codec="mpeg2video", audio="mp2"),
        write_clip(folder / "h264.ts", size=SIZE, pts=PTS, audio="aac"),
    ]
    for index in range(3):
        cv2.imwrite(str(folder / f"shot.{index:04}.png"), picture(index, SIZE))
    cv2.imwrite(str(folder / "photo.jpg"), picture(0, SIZE))
    return [*clips, folder / "shot.0001.png", folder / "photo.jpg", write_sound(folder / "sound.wav")]


def damaged(clips: list[Path], folder: Path, chance: random.Random) -> str:
    """Make one damaged copy in a folder; returns the name to give to the command."""
    path = chance.choice(clips)
    data = bytearray(path.read_bytes())
    kind = chance.choice(("cut", "flipped", "another's head", "another's suffix", "a hole"))
    suffix = path.suffix
    if kind == "cut":
        del data[chance.randrange(len(data)) :]
    elif kind == "flipped":
        for _ in range(2 ** chance.randrange(8)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == "another's head":
        length = min(len(data), 2 ** chance.randrange(2, 12))
        data[:length] = chance.choice(clips).read_bytes()[:length].ljust(length, b"\0")
    elif kind == "another's suffix":
        suffix = chance.choice(clips).suffix
    else:
        start = chance.randrange(len(data))
        data[start : start + chance.randrange(2000)] = bytes(chance.randrange(2000))
    if path.stem == "shot.0001" and suffix == ".png":
        for other in path.parent.glob("shot.*.png"):
            shutil.copy(other, folder)
        (folder / path.name).write_bytes(data)
        return str(folder / "shot.####.png")
    (folder / f"in{suffix}").write_bytes(data)
    return str(folder / f"in{suffix}")


def complaints(end: End, out: Path, written: Path) -> Iterator[str]:
    """What is wrong about how a run ended."""
    if end.code not in (0, 1):
        yield f"exit code {end.code}"
    if "Traceback" in end.err or not all(
        line.startswith(("streammatte: ", "  hint: ")) for line in end.err.split("\n")[:-1]
    ):
        yield "more than a clear line"
    if end.code and "streammatte: error: " not in end.err:
        yield "nothing is said"
    left = list(written.iterdir())
    if end.code and left:
        yield f"left: {left}"
    if end.code == 0:
        files = [out] if out.suffix == ".mov" else sorted(written.glob("out.*.png"))
        if sorted(left) != files or not files:
            yield f"written: {left}"
        for file in files:
            with av.open(str(file)) as whole:
                stream = whole.streams.video[0]
                if sum(1 for _ in whole.decode(stream)) != max(1, stream.frames):
                    yield f"{file} does not decode to its end"


def test_every_damaged_input_ends_clearly(tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    clips = clean(tmp_path / "clean")
    chance = random.Random(SEED)
    jobs = []
    for number in range(COUNT):
        folder = tmp_path / f"{number:03}"
        (folder / "written").mkdir(parents=True)
        out = folder / "written" / ("out.####.png" if number % 4 == 0 else "out.mov")
        jobs.append((damaged(clips, folder, chance), out))
    ends: dict[str, End] = {}

    def run(forked: Forks, mine: list[tuple[str, Path]]) -> None:
        for name, out in mine:
            ends[name] = forked.run(Job([name, "-o", str(out), *QUICK], timeout=20))

    with forks() as one, forks() as other, ThreadPoolExecutor(2) as pool:
        for done in (pool.submit(run, one, jobs[::2]), pool.submit(run, other, jobs[1::2])):
            done.result()
    wrong = [
        f"{name}: {complaint}\n{ends[name].err}"
        for name, out in jobs
        for complaint in complaints(ends[name], out, out.parent)
    ]
    assert not wrong, "\n".join(wrong)
    codes = [end.code for end in ends.values()]
    assert min(codes.count(0), codes.count(1)) > COUNT / 10, "some are refused, and of some what is whole is kept"
