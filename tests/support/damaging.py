"""Files of many formats, ways to damage them, and how the command has to end then."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import tifffile
from PIL import Image

from support.clips import RATE, even_pts, picture, write_clip, write_sound
from support.forks import End, Job, forks

SIZE = (48, 32)
PTS = even_pts(5)
QUICK = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu", "--quiet", "--interlaced", "as-is"]
QUICK += ["--smooth", "off", "--colors", "off", "--decontaminate", "off"]
DAMAGES = ("cut", "flipped", "another's head", "another's suffix", "a hole", "a number", "twice")
TIME = 30  # seconds that a run may take


@dataclass(frozen=True)
class Run:
    """What the command was given, and how it ended."""

    kind: str
    damage: str
    given: str
    out: Path
    end: End


def clean(folder: Path) -> dict[str, Path]:
    """Small files by their format, all whole; the last of them is not footage."""
    folder.mkdir(parents=True, exist_ok=True)
    return {**_clips(folder), **_pictures(folder), "sound": write_sound(folder / "sound.wav")}


def _clips(folder: Path) -> dict[str, Path]:
    quiet = {"x265-params": "log-level=none"}
    clips = {
        "mp4": write_clip(folder / "h264.mp4", size=SIZE, pts=PTS, audio="aac"),
        "mp4, index first": write_clip(
            folder / "front.mp4", size=SIZE, pts=PTS, container_options={"movflags": "faststart"}
        ),
        "mp4, turned": write_clip(folder / "turned.mp4", size=SIZE, pts=PTS, rotation=90),
        "mov, ProRes": write_clip(folder / "prores.mov", size=SIZE, pts=PTS, codec="prores_ks", pixels="yuv422p10le"),
        "mov, JPEG": write_clip(
            folder / "pcm.mov", size=SIZE, pts=PTS, codec="mjpeg", pixels="yuvj420p", audio="pcm_s16le"
        ),
        "mkv, FFV1": write_clip(folder / "ffv1.mkv", size=SIZE, pts=PTS, codec="ffv1", audio="flac"),
        "mkv, HEVC": write_clip(folder / "hevc.mkv", size=(64, 64), pts=PTS, codec="libx265", options=quiet),
        "webm": write_clip(folder / "vp9.webm", size=SIZE, pts=PTS, codec="libvpx-vp9", audio="libopus"),
        "avi": write_clip(folder / "mpeg4.avi", size=SIZE, pts=PTS, codec="mpeg4", audio="mp2"),
        "ts, MPEG-2": write_clip(
            folder / "mpeg2.ts", size=SIZE, pts=range(5), time_base=1 / RATE, codec="mpeg2video", audio="mp2"
        ),
        "ts": write_clip(folder / "h264.ts", size=SIZE, pts=PTS, audio="aac"),
    }
    for name, codec, size, pixels in (
        ("dv", "dvvideo", (720, 576), "yuv420p"),
        ("mxf", "mpeg2video", (64, 48), "yuv422p"),
    ):
        clips[name] = write_clip(
            folder / f"clip.{name}", size=size, pts=range(2), time_base=1 / RATE, codec=codec, pixels=pixels
        )
    return clips


def _pictures(folder: Path) -> dict[str, Path]:
    rgb = picture(0, SIZE)
    for index in range(3):
        cv2.imwrite(str(folder / f"shot.{index:04}.png"), picture(index, SIZE))
    made = {"numbered png": folder / "shot.0001.png"}
    stills = [Image.fromarray(picture(index, SIZE)) for index in range(3)]
    alpha = Image.fromarray(np.dstack([rgb, rgb[..., 0]]))
    for kind, still in (("jpg", stills[0]), ("png", alpha), ("webp", alpha), ("bmp", stills[0]), ("avif", stills[0])):
        made[kind] = folder / f"photo.{kind}"
        still.save(made[kind])
    for kind in ("gif", "apng", "webp"):
        made[f"{kind}, moving"] = folder / f"moving.{kind}"
        stills[0].save(
            folder / f"moving.{kind}",
            format="PNG" if kind == "apng" else None,
            save_all=True,
            append_images=stills[1:],
            duration=40,
        )
    made["tif"] = folder / "photo.tif"
    tifffile.imwrite(made["tif"], rgb, photometric="rgb", compression="zlib", predictor=True)
    made["tif, tiled"] = folder / "tiled.tif"
    tifffile.imwrite(made["tif, tiled"], np.tile(rgb, (1, 1, 1)), photometric="rgb", tile=(16, 16))
    made["png, 16 bit"] = folder / "deep.png"
    cv2.imwrite(str(made["png, 16 bit"]), rgb.astype(np.uint16) * 257)
    made["dpx"] = folder / "film.dpx"
    with av.open(str(made["dpx"]), "w", format="image2", options={"update": "1"}) as out:
        stream = out.add_stream("dpx", rate=24)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "gbrp10be"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="gbrp10be")))
        out.mux(stream.encode(None))
    made["exr"] = folder / "light.exr"
    header = {"type": OpenEXR.scanlineimage, "compression": OpenEXR.PIZ_COMPRESSION}
    with OpenEXR.File(header, {"RGB": (rgb / 255).astype(np.float16)}) as file:
        file.write(str(made["exr"]))
    return made


def damaged(kind: str, files: dict[str, Path], folder: Path, chance: random.Random) -> tuple[str, str]:
    """Make a damaged copy in a folder; returns the kind of damage, and the name to pass to the command."""
    path = files[kind]
    data = bytearray(path.read_bytes())
    damage = chance.choice(DAMAGES)
    suffix = path.suffix
    others = list(files.values())
    if damage == "cut":
        del data[chance.randrange(len(data)) :]
    elif damage == "flipped":
        for _ in range(2 ** chance.randrange(8)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif damage == "another's head":
        length = min(len(data), 2 ** chance.randrange(2, 12))
        data[:length] = chance.choice(others).read_bytes()[:length].ljust(length, b"\0")
    elif damage == "another's suffix":
        suffix = chance.choice(others).suffix
    elif damage == "a hole":
        start = chance.randrange(len(data))
        data[start : start + chance.randrange(2000)] = bytes(chance.randrange(2000))
    elif damage == "a number":  # sizes, counts and lengths are mostly at the beginning
        start = chance.randrange(min(len(data), 512))
        data[start : start + 4] = chance.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\0\1\0"))
    else:
        start = chance.randrange(len(data))
        data[start:start] = data[chance.randrange(len(data)) :]
    if kind == "numbered png" and suffix == ".png":
        for other in path.parent.glob("shot.*.png"):
            shutil.copy(other, folder)
        (folder / path.name).write_bytes(data)
        return damage, str(folder / "shot.####.png")
    (folder / f"in{suffix}").write_bytes(data)
    return damage, str(folder / f"in{suffix}")


def complaints(run: Run) -> Iterator[str]:
    """What is wrong with how it ended."""
    end, written = run.end, run.out.parent
    if end.code is None:
        yield f"hung for {TIME} s"
    elif end.code not in (0, 1):
        yield f"exit code {end.code}"
    # OpenEXR's own library writes past Python what it finds; there is no way to ask it not to.
    lines = [line for line in end.err.split("\n")[:-1] if not line.startswith("<python_buffer>: (EXR_ERR_")]
    # What was computed before the damage is kept.
    kept = bool(lines) and lines[-1].endswith((" kept", "run the same command with --resume to continue"))
    lines = lines[:-1] if kept else lines
    if "Traceback" in end.err or not all(line.startswith(("streammatte: ", "  hint: ")) for line in lines):
        yield "more than a clear line"
    if end.code and "streammatte: error: " not in end.err:
        yield "nothing is said"
    left = [path for path in written.iterdir() if not (kept and path.suffix == ".mattes")]
    if end.code and left:
        yield f"left: {left}"
    if end.code == 0:
        files = [run.out] if run.out.suffix == ".mov" else sorted(written.glob("out.*.png"))
        if sorted(left) != files or not files:
            yield f"written: {left}"
        for file in files:
            with av.open(str(file)) as whole:
                stream = whole.streams.video[0]
                if sum(1 for _ in whole.decode(stream)) != max(1, stream.frames):
                    yield f"{file} does not decode to its end"


def runs(folder: Path, each: int, *, seed: int, processes: int, kinds: Sequence[str] = ()) -> list[Run]:
    """Run the real command on damaged files of every format, collecting garbage early and often."""
    files = clean(folder / "clean")
    chance = random.Random(seed)
    jobs = []
    for number, kind in enumerate(kind for kind in kinds or files for _ in range(each)):
        place = folder / f"{number:03}"
        (place / "written").mkdir(parents=True)
        out = place / "written" / ("out.####.png" if number % 4 == 0 else "out.mov")
        jobs.append((kind, *damaged(kind, files, place, chance), out))
    done: list[Run] = []

    def work(mine: list[tuple[str, str, str, Path]]) -> None:
        with forks() as forked:
            for kind, damage, given, out in mine:
                end = forked.run(Job([given, "-o", str(out), *QUICK], timeout=TIME, collect=True))
                done.append(Run(kind, damage, given, out, end))

    with ThreadPoolExecutor(processes) as pool:
        for part in [pool.submit(work, jobs[place::processes]) for place in range(processes)]:
            part.result()
    return done
