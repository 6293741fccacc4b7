"""One contract, every source: passes without end, a length, and no crash however early a reader leaves."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
import torch
from PIL import Image
from support import clips, footage

from streammatte.errors import DecodeFailed, StreammatteError
from streammatte.media import open_video

pytestmark = pytest.mark.media

RGBA = np.dstack([clips.picture(3), np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))])


def rgba(path: Path) -> Path:
    assert cv2.imwrite(str(path), cv2.cvtColor(RGBA, cv2.COLOR_RGBA2BGRA))
    return path


def numbered(folder: Path) -> Path:
    for number in (7, 8, 9):
        rgba(folder / f"plate.{number:04}.png")
    return folder / "plate.####.png"


def exr(folder: Path) -> Path:
    header = {"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION}
    with OpenEXR.File(header, {"RGBA": (RGBA / 255).astype(np.float16)}) as file:
        file.write(str(folder / "one.exr"))
    return folder / "one.exr"


def animation(folder: Path) -> Path:
    pictures = [Image.fromarray(np.roll(RGBA, 9 * place, 1)) for place in range(4)]
    path = folder / "moving.webp"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40, lossless=True)
    return path


# How each is made, how it is opened, how many frames it has, and whether it has alpha.
Source = tuple[Callable[[Path], Path], dict[str, object], int, bool]
SOURCES: dict[str, Source] = {
    "clip": (lambda folder: clips.write_clip(folder / "clip.mp4"), {}, 12, False),
    "part": (lambda folder: clips.write_clip(folder / "clip.mp4"), {"first": 4, "last": 6, "handles": 1}, 5, False),
    "undecoded": (
        lambda folder: clips.write_clip(folder / "c.avi", codec="mpeg4", time_base=1 / clips.RATE, pts=range(6)),
        {"first": 2},
        4,
        False,
    ),
    "turned": (lambda folder: footage.write_footage(folder / "t.mp4", display=(90, True, False)), {}, 12, False),
    "timed": (lambda folder: footage.write_footage(folder / "t.mov", timecode="01:00:00:00"), {}, 12, False),
    "fields": (
        lambda folder: footage.write_footage(folder / "i.mp4", interlaced=True),
        {"interlaced": "deinterlace"},
        12,
        False,
    ),
    "picture": (lambda folder: rgba(folder / "one.png"), {}, 1, True),
    "numbered": (numbered, {}, 3, True),
    "numbered part": (numbered, {"first": 8}, 2, True),
    "exr": (exr, {}, 1, True),
    "animation": (animation, {}, 4, True),
}


@pytest.fixture(scope="module", params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    make, options, count, alpha = SOURCES[request.param]
    return make(tmp_path_factory.mktemp("source")), options, count, alpha


def test_passes_are_alike_and_may_run_beside_each_other(source) -> None:
    path, options, count, alpha = source
    with open_video(path, **options) as video:
        assert len(video) == video.info.frame_count == count and video.has_alpha == alpha
        first = next(iter(video))  # and leaves
        frames, notes = list(video), video.notes
        again = [(one, other) for one, other in zip(video, video, strict=True)]
        assert video.lost is None and video.notes == notes
    assert first.rgb.equal(frames[0].rgb) and len(frames) == count
    for frame, (one, other) in zip(frames, again, strict=True):
        assert frame.rgb.equal(one.rgb) and frame.rgb.equal(other.rgb)
        assert (frame.pts, frame.index, frame.duration) == (one.pts, one.index, one.duration)
    assert frames[0].rgb.shape == (3, video.info.height, video.info.width)
    assert all(frame.duration == after.pts - frame.pts for frame, after in pairwise(frames))
    assert [frame.index for frame in frames] == [video.info.first_index + place for place in range(count)]


def test_cutouts_come_as_often(source) -> None:
    path, options, count, alpha = source
    with open_video(path, **options) as video:
        if not alpha:
            with pytest.raises(StreammatteError):
                next(video.cutouts())
            assert len(list(video)) == count
            return
        once, twice = list(video.cutouts()), list(video.cutouts())
        frames = list(video)
    for cutout, other, frame in zip(once, twice, frames, strict=True):
        assert cutout.alpha.equal(other.alpha) and cutout.frame.rgb.equal(frame.rgb)
        assert cutout.alpha.dtype == torch.float32 and cutout.alpha.shape == frame.rgb.shape[1:]


def test_closing_between_two_frames_is_an_error_at_worst(source) -> None:
    path, options, count, _ = source
    with open_video(path, **options) as video:
        frames = iter(video)
        kept = next(frames)
    copy = kept.rgb.clone()
    with suppress(DecodeFailed):  # FFmpeg itself would read freed memory
        list(frames)
    gc.collect()
    assert kept.rgb.equal(copy)
    assert len(list(video)) == count  # it opens the file once more


def test_sources_may_be_dropped_at_any_moment(tmp_path: Path) -> None:
    """In a process of its own, which must neither crash nor warn."""
    arguments = []
    for name, (make, options, _, _) in SOURCES.items():
        folder = tmp_path / name
        folder.mkdir()
        arguments.append((str(make(folder)), options))
    script = (
        "import gc\n"
        "from streammatte.media import open_video\n"
        f"sources = {arguments!r}\n"
        "for path, options in sources: open_video(path, **options)\n"  # imports are not what is looked at
        "gc.collect(); gc.freeze(); gc.set_threshold(20)\n"
        "for path, options in sources:\n"
        "    for frames in (0, 1, 3):\n"
        "        video = open_video(path, **options)\n"
        "        passes = [iter(video), iter(video)]\n"
        "        kept = [next(each, None) for _ in range(frames) for each in passes]\n"
        "        del video, passes\n"
        "        gc.collect()\n"
        "        assert all(each is None or each.rgb.sum() for each in kept)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_standard_input_has_one_pass(tmp_path: Path) -> None:
    path = clips.write_clip(tmp_path / "clip.mkv")
    script = (
        "from streammatte.errors import StreammatteError\n"
        "from streammatte.media import open_video\n"
        "with open_video('-') as video:\n"
        "    print(sum(1 for _ in video))\n"
        "    try: next(iter(video))\n"
        "    except StreammatteError as exc: print('refused')\n"
    )
    with path.open("rb") as pipe:
        done = subprocess.run([sys.executable, "-c", script], stdin=pipe, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(clips.FRAMES), "refused"]
