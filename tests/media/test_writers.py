"""Every writer: cut-outs in = frames out, at their own time, with their own alpha; a failure leaves nothing behind."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from support import clips
from support.writing import alpha_for, cutouts, decoded, info_for, plane, rgb_of, write

from streammatte.errors import UnsupportedOutput, WriteFailed
from streammatte.frame import ColorSpec, Cutout, Frame
from streammatte.media import open_video, open_writer

pytestmark = pytest.mark.media

VIDEO = ["out.mov", "out.webm"]


def times(path):
    with av.open(str(path)) as file:
        return [frame.pts * frame.time_base for frame in file.decode(video=0)]


WRITERS = {
    "prores": ("out.mov", {}),
    "prores premultiplied": ("out.mov", {"alpha": "premultiplied"}),
    "prores composite": ("out.mov", {"background": "white"}),
    "prores matte": ("out.mov", {"content": "matte"}),
    "vp9": ("out.webm", {}),
    "vp9 composite": ("out.webm", {"background": "white"}),
    "vp9 matte": ("out.webm", {"content": "matte"}),
    "h264 composite": ("out.mp4", {"background": "white"}),
    "h264 matte": ("out.mp4", {"content": "matte"}),
    "png": ("out.####.png", {}),
    "png 16": ("out.####.png", {"bits": 16}),
    "png composite": ("out.####.png", {"background": "white"}),
    "png matte": ("out.####.png", {"content": "matte"}),
    "prores xq": ("out.mov", {"codec": "prores4444xq"}),
    "png in mov": ("out.mov", {"codec": "png"}),
    "ffv1": ("out.mkv", {}),
    "ffv1 matte": ("out.mkv", {"content": "matte"}),
    "prores fill": ("out.mov", {"content": "foreground"}),
    "h264 pair": ("out.mp4", {"content": "above"}),
    "tiff": ("out.####.tif", {}),
    "exr matte": ("out.####.exr", {"content": "matte"}),
}
PICTURES = (".png", ".tif", ".exr")


@pytest.mark.parametrize("kind", WRITERS)
def test_cutouts_in_frames_out_in_order(tmp_path, kind):
    name, options = WRITERS[kind]
    writer = write(tmp_path / name, **options)
    with open_video(tmp_path / name) as source:
        frames = list(source)
    assert len(frames) == clips.FRAMES
    assert source.lost is None
    if not name.endswith(PICTURES):
        assert [f.pts * source.info.time_base for f in frames] == [n * Fraction(1, 25) for n in range(clips.FRAMES)]
    if (
        options.get("content", "foreground") == "foreground"
        and options.get("alpha") != "premultiplied"
        and "background" not in options
    ):
        shown = [np.ascontiguousarray(frame.rgb.permute(1, 2, 0)) for frame in frames]
        assert [clips.index_of(rgb) for rgb in shown] == list(range(clips.FRAMES))
    assert writer.path == tmp_path / name
    assert writer.description
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize("size", [(64, 48), (65, 49)])
def test_prores_alpha_is_exact_to_a_ten_bit_step(tmp_path, size):
    write(tmp_path / "out.mov", info_for(size), cutouts(size=size))
    frames = decoded(tmp_path / "out.mov")
    assert {frame.format.name for frame in frames} == {"yuva444p12le"}
    for index, frame in enumerate(frames):
        found = plane(frame, 3) / 4095
        assert np.abs(found - alpha_for(index, size).numpy()).max() <= 1 / 1023


def test_vp9_alpha_is_read_back(tmp_path):
    write(tmp_path / "out.webm")
    frames = decoded(tmp_path / "out.webm", "libvpx-vp9")
    assert len(frames) == clips.FRAMES
    for index, frame in enumerate(frames):
        assert len(frame.planes) == 4
        assert np.abs(plane(frame, 3) / 255 - alpha_for(index).numpy()).mean() < 0.02


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("foreground", [False, True])
def test_png_is_exact(tmp_path, bits, foreground):
    write(tmp_path / "out.####.png", made=cutouts(foreground=foreground), bits=bits)
    peak = 2**bits - 1
    for index in range(clips.FRAMES):
        found = cv2.imread(str(tmp_path / f"out.{index + 1:04d}.png"), cv2.IMREAD_UNCHANGED)
        assert found.dtype == (np.uint8 if bits == 8 else np.uint16)
        assert np.array_equal(found[..., 2::-1], clips.picture(index).astype(np.uint16) * (peak // 255))
        assert np.array_equal(found[..., 3], np.rint(alpha_for(index).numpy() * np.float32(peak)))


def test_png_depth_follows_the_source_and_numbers_continue_it(tmp_path):
    deep = info_for(color=ColorSpec(bit_depth=10))
    rgb = torch.full((3, 48, 64), 40000, dtype=torch.uint16)
    made = [Cutout(Frame(rgb, index, index), alpha_for(0)) for index in range(2)]
    writer = write(tmp_path / "out.###.png", deep, made, first_number=1001)
    assert "16 bit" in writer.description
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.1001.png", "out.1002.png"]
    assert np.all(cv2.imread(str(tmp_path / "out.1001.png"), cv2.IMREAD_UNCHANGED)[..., :3] == 40000)


def test_premultiplied_is_multiplied_once(tmp_path):
    write(tmp_path / "out.####.png", alpha="premultiplied", bits=16)
    found = cv2.imread(str(tmp_path / "out.0003.png"), cv2.IMREAD_UNCHANGED).astype(np.float64)
    expected = clips.picture(2) / 255 * alpha_for(2).double().numpy()[..., None]
    assert np.abs(found[..., 2::-1] / 65535 - expected).max() <= 1 / 65535


@pytest.mark.parametrize("name", ["out.mov", "out.webm", "out.mp4", "out.####.png"])
def test_a_solid_plate_composites_to_itself(tmp_path, name):
    made = [Cutout(cutout.frame, torch.ones(48, 64)) for cutout in cutouts()]
    write(tmp_path / name, made=made, background="red")
    for index, rgb in enumerate(rgb_of(tmp_path / name)):
        error = np.abs(rgb * (255 / np.iinfo(rgb.dtype).max) - clips.picture(index))
        assert error.max() == 0 if name.endswith("png") else error.mean() < 3


@pytest.mark.parametrize(("name", "codec"), [("out.mov", None), ("out.mp4", None), ("out.webm", None)])
def test_a_matte_is_white_where_solid_and_black_where_clear(tmp_path, name, codec):
    made = [Cutout(cutout.frame, torch.cat([torch.ones(48, 32), torch.zeros(48, 32)], 1)) for cutout in cutouts()]
    write(tmp_path / name, made=made, content="matte")
    frame = decoded(tmp_path / name, codec)[5]
    unit = 2 ** (frame.format.components[0].bits - 8)
    luma = plane(frame, 0) / unit
    assert np.abs(luma[:, 4:24] - 235).max() <= 1
    assert np.abs(luma[:, 40:60] - 16).max() <= 1
    assert np.abs(plane(frame, 1) / unit - 128).max() <= 1
    solid, clear = rgb_of(tmp_path / name)[5][24, [14, 50]].astype(float)
    peak = 2.0**8 if unit == 1 else 2.0**16
    assert solid.min() > 0.99 * peak and clear.max() < 0.01 * peak


@pytest.mark.parametrize("kind", ["prores", "vp9 composite", "h264 composite"])
@pytest.mark.parametrize("pts", [clips.VARIABLE_PTS, clips.even_pts(first=5120)], ids=["variable", "late"])
def test_times_are_kept(tmp_path, kind, pts):
    name, options = WRITERS[kind]
    write(tmp_path / name, made=cutouts(pts), **options)
    expected = [stamp * clips.TIME_BASE for stamp in pts]
    found = times(tmp_path / name)
    exactness = Fraction(1, 2000) if name.endswith("webm") else 0
    assert all(abs(one - other) <= exactness for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("time_base", [Fraction(1, 25), Fraction(1001, 30000), Fraction(1, 90000), Fraction(1, 1000)])
def test_any_time_base_is_exact_in_mov(tmp_path, time_base):
    pts = [0, 1, 2, 4, 7, 8]
    write(tmp_path / "out.mov", info_for(time_base=time_base), cutouts(pts))
    assert times(tmp_path / "out.mov") == [stamp * time_base for stamp in pts]


@pytest.mark.parametrize("first", [-1024, 12800 * 3600 * 20], ids=["negative", "broadcast clock"])
@pytest.mark.parametrize("name", VIDEO)
def test_a_clock_that_cannot_be_kept_begins_at_zero(tmp_path, name, first):
    write(tmp_path / name, made=cutouts(clips.even_pts(first=first)))
    assert times(tmp_path / name) == [stamp * clips.TIME_BASE for stamp in clips.even_pts()]


@pytest.mark.parametrize("kind", ["prores", "prores composite", "vp9", "h264 composite"])
def test_color_tags_are_carried(tmp_path, kind):
    name, options = WRITERS[kind]
    write(tmp_path / name, info_for(color=ColorSpec(True, 9, 9, 14, 10)), **options)
    frame = decoded(tmp_path / name)[0]
    found = (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc)
    whole_range = 1 if name.endswith(".mov") else 2  # ProRes has no way to say it
    assert tuple(int(value) for value in found) == (whole_range, 9, 9, 14)


@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_colors_survive_prores(tmp_path, matrix):
    rng = np.random.default_rng(3)
    blocks = np.kron(rng.integers(0, 256, (3, 3, 4), dtype=np.uint8), np.ones((1, 16, 16), np.uint8))
    made = [Cutout(Frame(torch.from_numpy(blocks), 0, 0), torch.ones(48, 64))]
    write(tmp_path / "out.mov", info_for(color=ColorSpec(matrix=matrix)), made)
    found = rgb_of(tmp_path / "out.mov")[0] / 257
    assert np.abs(found - blocks.transpose(1, 2, 0)).max() <= 2


def test_odd_sizes(tmp_path):
    size = (65, 49)
    for name in ("out.mov", "out.webm", "out.####.png"):
        write(tmp_path / name, info_for(size), cutouts(size=size))
        assert rgb_of(tmp_path / name)[0].shape == (49, 65, 3)
    writer = write(tmp_path / "out.mp4", info_for(size), cutouts(size=size), background="blue")
    assert "padded from 65×49 to 66×50" in writer.description
    assert rgb_of(tmp_path / "out.mp4")[0].shape == (50, 66, 3)


@pytest.mark.parametrize("kind", WRITERS)
def test_an_exception_leaves_nothing(tmp_path, kind):
    name, options = WRITERS[kind]
    with pytest.raises(KeyboardInterrupt), open_writer(tmp_path / name, info_for(), **options) as writer:
        for cutout in cutouts():
            writer.write(cutout)
            if cutout.frame.index == 5:
                raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["prores", "vp9", "h264 composite", "png"])
def test_no_cutouts_is_an_error_that_leaves_nothing(tmp_path, kind):
    name, options = WRITERS[kind]
    with pytest.raises(WriteFailed):
        write(tmp_path / name, made=[], **options)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    kinds = [*(WRITERS[kind] for kind in ("prores", "vp9", "png")), ("out.webp", {})]
    code = f"""
import resource, sys
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parent.parent)!r}]
import support.writing as t
from streammatte.errors import WriteFailed
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
noise = t.torch.randint(0, 256, (3, 48, 64), dtype=t.torch.uint8)
for name, options in {kinds!r}:
    made = [t.Cutout(t.Frame(noise.roll(n, 1), 512 * n, n), t.torch.rand(48, 64)) for n in range(60)]
    try:
        t.write(Path({str(tmp_path)!r}) / name, made=made, **options)
    except WriteFailed as failure:
        print(failure, "|", failure.hint)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(told.stdout.splitlines()) == len(kinds) == told.stdout.count("room")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out.mov", "out.png", "out.0004.png"])
def test_what_exists_is_replaced_only_when_asked(tmp_path, name):
    there = tmp_path / name
    there.write_text("mine")
    asked = tmp_path / ("out.####.png" if "0004" in name else name)
    made = list(cutouts())[:1]
    with pytest.raises(WriteFailed, match=name) as caught:
        open_writer(asked, info_for())
    assert "--overwrite" in str(caught.value.hint)
    assert there.read_text() == "mine"
    write(asked, made=made, overwrite=True, first_number=4)
    assert there.read_bytes()[:4] != b"mine"


@pytest.mark.parametrize(
    ("name", "options", "error", "hint"),
    [
        ("nowhere/out.mov", {}, WriteFailed, "mkdir"),
        ("out.avi", {}, UnsupportedOutput, ".mov"),
        ("out", {}, UnsupportedOutput, ".mov"),
        ("out.mp4", {}, UnsupportedOutput, "--bg"),
        ("out.####.png", {"bits": 12}, UnsupportedOutput, "8 or 16"),
    ],
)
def test_outputs_that_cannot_be(tmp_path, name, options, error, hint):
    with pytest.raises(error) as caught:
        open_writer(tmp_path / name, info_for(), **options)
    assert hint in str(caught.value.hint)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_no_output(tmp_path):
    (tmp_path / "out.mov").mkdir()
    with pytest.raises(UnsupportedOutput, match=r"out\.mov"):
        open_writer(tmp_path / "out.mov", info_for(), overwrite=True)


def test_a_single_picture_takes_one_frame(tmp_path):
    write(tmp_path / "out.png", made=list(cutouts())[:1])
    assert clips.index_of(rgb_of(tmp_path / "out.png")[0]) == 0
    with pytest.raises(UnsupportedOutput) as caught:
        write(tmp_path / "more.png")
    assert "more.####.png" in str(caught.value.hint)
    assert [file.name for file in tmp_path.iterdir()] == ["out.png"]


def test_cutouts_are_taken_inside_the_with_statement_only(tmp_path):
    writer = open_writer(tmp_path / "out.mov", info_for())
    with pytest.raises(RuntimeError):
        writer.write(next(cutouts()))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "options"),
    [("out.mov", {}), ("out.mov", {"content": "matte"}), ("out.mp4", {"background": "black"})],
)
def test_the_pixel_aspect_is_carried(tmp_path, name, options):
    info = replace(info_for(), pixel_aspect=Fraction(16, 15))
    write(tmp_path / name, info, **options)
    with av.open(str(tmp_path / name)) as file:
        assert file.streams.video[0].sample_aspect_ratio == Fraction(16, 15)
    if shutil.which("ffprobe"):  # another reader, where there is one
        command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(tmp_path / name)]
        told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        assert told["streams"][0]["sample_aspect_ratio"] == "16:15"


def test_where_the_pixel_aspect_is_lost_it_is_told(tmp_path):
    assert "16:15" in write(tmp_path / "out.webm", replace(info_for(), pixel_aspect=Fraction(16, 15))).description
    assert "aspect" not in write(tmp_path / "square.webm").description


@pytest.mark.parametrize("kind", WRITERS)
def test_finish_completes_before_the_name_is_given(tmp_path, kind):
    name, options = WRITERS[kind]
    with open_writer(tmp_path / name, info_for(), **options) as writer:
        for cutout in cutouts():
            writer.write(cutout)
        writer.finish()
        (hidden,) = tmp_path.iterdir()
        assert hidden.name.startswith(".")
        if hidden.is_file():
            assert len(times(hidden)) == clips.FRAMES
        with pytest.raises(RuntimeError):
            writer.write(next(cutouts()))
    with open_video(tmp_path / name) as source:
        assert len(list(source)) == clips.FRAMES
    assert not hidden.exists()


@pytest.mark.parametrize("kind", ["prores", "png"])
def test_an_exception_after_finish_leaves_nothing(tmp_path, kind):
    name, options = WRITERS[kind]
    with pytest.raises(KeyboardInterrupt), open_writer(tmp_path / name, info_for(), **options) as writer:
        writer.write(next(cutouts()))
        writer.finish()
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["take:3.mov", "take:3.mp4", "take:3.webm", "take:3.####.png", "a%20b #1.mov", "é?*.mov"]
)
def test_names_that_look_like_something_else(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(name, background="black")
    files = [file.name for file in tmp_path.iterdir()]
    assert files == [name] if not name.endswith(".png") else len(files) == clips.FRAMES


@pytest.mark.parametrize(
    "name",
    [60 * "🎬" + ".mov", 59 * "🎬" + ".####.png", 251 * "x" + ".mov"],
    ids=["wide", "wide pictures", "narrow"],
)
def test_the_longest_names_are_written(tmp_path, name):
    write(tmp_path / name, made=list(cutouts())[:1])
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "name",
    [252 * "x" + ".mov", 63 * "🎬" + ".mov", 300 * "x" + "/out.mov", 250 * "x" + ".####.png"],
    ids=["narrow", "wide", "folder", "pictures"],
)
def test_names_too_long_are_refused(tmp_path, name):
    with pytest.raises(WriteFailed) as caught:
        open_writer(tmp_path / name, info_for())
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_loops_of_links_are_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "out.mov").symlink_to("out.mov")
    for name in ("loop/out.mov", "loop/out.####.png", "out.mov"):
        with pytest.raises(WriteFailed) as caught:
            open_writer(tmp_path / name, info_for())
        assert caught.value.hint
    write(tmp_path / "out.mov", made=list(cutouts())[:1], overwrite=True)
    assert not (tmp_path / "out.mov").is_symlink()


def test_folders_that_may_not_be_looked_into(tmp_path):
    asks = [
        "open_writer('locked/x/out.####.png', info)",
        "open_writer('locked/out.mov', info)",
        "open_writer('written only/out.####.png', info)",
        "open_writer('locked/x/out.mov', info)",
        "open_video('locked/x/in.####.png')",
        "open_background('locked/b', info)",
    ]
    (tmp_path / "locked" / "x").mkdir(parents=True)
    (tmp_path / "locked").chmod(0)
    (tmp_path / "written only").mkdir()
    (tmp_path / "written only").chmod(0o333)
    # Nothing is locked for root: become somebody else, once everything is imported.
    code = f"""
import os
from fractions import Fraction
from streammatte.errors import StreammatteError
from streammatte.frame import ColorSpec, StreamInfo
from streammatte.media import open_writer, open_video
from streammatte.media.background import open_background
import importlib, pkgutil, filelock, imagecodecs, tifffile, PIL.Image, streammatte.color, streammatte.media
PIL.Image.init()
for room in (streammatte.color, streammatte.media):
    for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
        importlib.import_module(module.name)
info = StreamInfo(64, 48, Fraction(1, 25), Fraction(25), None, ColorSpec())
os.chdir({str(tmp_path)!r})
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
for ask in {asks!r}:
    try:
        eval(ask)
    except StreammatteError as failure:
        print(type(failure).__name__, failure, "|", failure.hint)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    for folder in tmp_path.iterdir():
        folder.chmod(0o700)
    for ask, line in zip(asks, told, strict=True):
        assert ask.split("'")[1].split("/")[0] in line and "ermission" in line
        assert ("open_writer" in ask) == line.startswith("WriteFailed ")


def test_a_shorter_sequence_replaces_all_of_a_longer_one(tmp_path):
    others = ["out.0003.jpg", "out.txt", "out.a0003.png", "in.0004.png"]
    for name in others:
        (tmp_path / name).write_text("mine")
    asked = tmp_path / "out.####.png"
    write(asked)
    write(asked, made=list(cutouts())[:2], overwrite=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*others, "out.0001.png", "out.0002.png"])


@pytest.mark.parametrize("kind", ["prores", "vp9", "png"])
def test_a_file_that_appears_meanwhile_is_kept(tmp_path, kind):
    name, options = WRITERS[kind]
    appearing = tmp_path / name.replace("####", "0007")
    with (
        pytest.raises(WriteFailed, match=appearing.name),
        open_writer(tmp_path / name, info_for(), **options) as writer,
    ):
        for cutout in cutouts():
            writer.write(cutout)
        appearing.write_text("mine")
    assert [file.name for file in tmp_path.iterdir()] == [appearing.name]
    assert appearing.read_text() == "mine"


def test_a_file_that_appears_is_kept_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)  # as FAT does, which no test can mount
    write(tmp_path / "out.mov")
    assert [file.name for file in tmp_path.iterdir()] == ["out.mov"]
    with pytest.raises(WriteFailed, match=r"more\.mov"), open_writer(tmp_path / "more.mov", info_for()) as writer:
        writer.write(next(cutouts()))
        (tmp_path / "more.mov").write_text("mine")
    assert (tmp_path / "more.mov").read_text() == "mine"


def test_what_the_encoder_refuses_is_not_blamed_on_the_disk(tmp_path):
    huge = info_for(size=(70000, 16))  # VP9 ends at 65535
    with pytest.raises(WriteFailed) as caught:
        write(tmp_path / "out.webm", huge)
    assert "room" not in str(caught.value.hint) and "format" in str(caught.value.hint)
    assert not list(tmp_path.iterdir())


def test_bits_are_for_pictures_and_ignored_by_video(tmp_path):
    write(tmp_path / "out.mov", bits=16)
    assert len(times(tmp_path / "out.mov")) == clips.FRAMES


def test_webm_times_strictly_increase(tmp_path):
    pts = [0, 1, 3, 430, 435, 436, 2000, 2001]  # of 12800 a second; a millisecond is 12.8
    write(tmp_path / "out.webm", made=cutouts(pts))
    assert [round(time * 1000) for time in times(tmp_path / "out.webm")] == [0, 1, 2, 34, 35, 36, 156, 157]
