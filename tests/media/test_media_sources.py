"""Every source: frames in = frames out, in order, at their own time, in their own colours; damage is told."""

import re
import struct
import subprocess
import sys
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from support import clips

from streammatte.color.matrices import rgb_to_ycbcr
from streammatte.errors import DecodeFailed, InputError, NoVideoStream, SourceNotFound
from streammatte.media import open_video
from streammatte.media.read.numbered import NumberedName

pytestmark = pytest.mark.media

MILLISECONDS = {"time_base": Fraction(1, 1000), "pts": [40 * index for index in range(clips.FRAMES)]}

# file name, options of write_clip
CLIPS = {
    "cfr": ("cfr.mp4", {}),
    "vfr": ("vfr.mp4", {"pts": clips.VARIABLE_PTS}),
    "late": ("late.mp4", {"pts": clips.even_pts(first=5120)}),
    "ten bit": ("ten.mp4", {"pixels": "yuv420p10le"}),
    "odd": ("odd.mkv", {"size": (65, 49), "codec": "ffv1", **MILLISECONDS}),
    "with audio": ("audio.mp4", {"audio": "aac"}),
    "faststart": ("fast.mp4", {"audio": "aac", "container_options": {"movflags": "+faststart"}}),
    "webm": ("clip.webm", {"codec": "libvpx-vp9", "audio": "libopus", **MILLISECONDS}),
    "avi": ("clip.avi", {"codec": "mpeg4", "time_base": Fraction(1, 25), "pts": range(clips.FRAMES)}),
    "prores": ("clip.mov", {"codec": "prores_ks", "pixels": "yuv422p10le"}),
}


@pytest.fixture(scope="module", params=CLIPS)
def clip(request, tmp_path_factory):
    name, options = CLIPS[request.param]
    path = clips.write_clip(tmp_path_factory.mktemp("clips") / name, **options)
    return path, options


def shown(frame):
    return np.ascontiguousarray(frame.rgb.permute(1, 2, 0).numpy())


def test_every_frame_once_in_order_at_its_own_time(clip):
    path, options = clip
    with open_video(path) as source:
        frames = list(source)
    base = options.get("time_base", clips.TIME_BASE)
    expected = [stamp * base for stamp in options.get("pts", clips.even_pts())]
    assert [frame.pts * source.info.time_base for frame in frames] == expected
    assert [frame.index for frame in frames] == list(range(clips.FRAMES))
    assert [clips.index_of(shown(frame)) for frame in frames] == list(range(clips.FRAMES))
    assert source.lost is None


def test_info_is_of_the_frames(clip):
    path, options = clip
    with open_video(path) as source:
        frame = next(iter(source))
        assert frame.rgb.shape == (3, source.info.height, source.info.width)
        assert frame.rgb.dtype == (torch.uint8 if source.info.color.bit_depth == 8 else torch.uint16)
        assert (source.info.width, source.info.height) == options.get("size", clips.SIZE)
        assert source.first_number == 1
        if "pts" not in options:
            assert source.info.frame_rate == 25
            assert source.info.frame_count == clips.FRAMES


COLORS = [(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 0, 255), (200, 120, 40)]


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p12le"])
def test_tagged_colors_come_out_right(tmp_path, pixels):
    bits = av.VideoFormat(pixels).components[0].bits
    for matrix, full_range, rgb in product((1, 6, 9), (False, True), COLORS):
        affine = rgb_to_ycbcr(matrix, bits, full_range=full_range, peak=255)
        planes = np.rint(affine @ [*rgb, 1]).clip(0, 2**bits - 1).astype(int)
        path = clips.write_flat(
            tmp_path / "flat.mkv", planes, size=(32, 16), pixels=pixels, matrix=matrix, full_range=full_range
        )
        with open_video(path) as source:
            assert (source.info.color.matrix, source.info.color.full_range) == (matrix, full_range)
            found = next(iter(source)).as_float() * 255
        # What is left is the rounding of Y'CbCr itself: 2 at 8 bits, a quarter of that at 10.
        assert (found - torch.tensor(rgb)[:, None, None]).abs().max() <= 2 * 2.0 ** (8 - bits)


def test_the_matrices_are_those_of_the_standards():
    # ITU-T H.273 and EBU bars, rounded to 8 bits: red is 63, 102, 240 in BT.709 and 81, 90, 240 in BT.601.
    assert np.rint(rgb_to_ycbcr(1, 8, full_range=False, peak=255) @ [255, 0, 0, 1]).tolist() == [63, 102, 240]
    assert np.rint(rgb_to_ycbcr(6, 8, full_range=False, peak=255) @ [255, 0, 0, 1]).tolist() == [81, 90, 240]
    assert np.rint(rgb_to_ycbcr(6, 8, full_range=True, peak=255) @ [255, 255, 255, 1]).tolist() == [255, 128, 128]


@pytest.mark.parametrize(("size", "matrix"), [((64, 48), 6), ((1280, 32), 1), ((32, 720), 1)])
def test_an_untagged_matrix_follows_the_size(tmp_path, size, matrix):
    planes = np.rint(rgb_to_ycbcr(matrix, 8, full_range=False, peak=255) @ [200, 40, 90, 1]).astype(int)
    path = clips.write_flat(tmp_path / "flat.mkv", planes, size=size, pixels="yuv444p", matrix=2, full_range=False)
    with open_video(path) as source:
        assert source.info.color.matrix == 2
        found = next(iter(source)).rgb.float()
    assert (found - torch.tensor([200.0, 40, 90])[:, None, None]).abs().max() <= 2


@pytest.mark.parametrize("name", ["fast.mp4", "clip.mkv"])
def test_half_a_file_is_delivered_and_the_loss_stated(tmp_path, name):
    options = {"movflags": "+faststart"} if name.endswith("mp4") else {}
    whole = clips.write_clip(tmp_path / name, pts=clips.even_pts(60), audio="aac", container_options=options)
    half = clips.cut(whole, tmp_path / f"half-{name}")
    with open_video(half) as source:
        frames = list(source)
    assert 0 < len(frames) < 60
    assert source.lost is not None
    assert f"{len(frames)} " in source.lost
    with open_video(half, strict=True) as source, pytest.raises(DecodeFailed, match="half"):
        list(source)


def test_damage_in_the_middle_is_counted(tmp_path):
    path = clips.write_clip(tmp_path / "clip.mp4", pts=clips.even_pts(60))
    data = bytearray(path.read_bytes())
    start = len(data) // 3
    data[start : start + 400] = bytes(400)
    path.write_bytes(data)
    with open_video(path) as source:
        frames = list(source)
    assert 30 < len(frames) < 60
    assert source.lost is not None
    assert f"{len(frames)} of 60" in source.lost
    with open_video(path, strict=True) as source, pytest.raises(DecodeFailed):
        list(source)


def test_frames_that_the_decoder_skips_in_silence_are_counted(tmp_path):
    whole = clips.write_clip(
        tmp_path / "clip.mkv", codec="libx265", options={"x265-params": "log-level=none"}, pts=clips.even_pts(40)
    )
    path = clips.blank_packets(whole, tmp_path / "damaged.mkv", range(20, 21), skip=6)
    with open_video(path) as source:
        frames = list(source)
    assert 20 <= len(frames) < 40
    assert source.lost is not None
    with open_video(path, strict=True) as source, pytest.raises(DecodeFailed):
        list(source)


def test_checksums_of_ffv1_are_looked_at(tmp_path):
    whole = clips.write_clip(tmp_path / "clip.mkv", codec="ffv1", options={"level": "3", "slicecrc": "1"})
    path = clips.blank_packets(whole, tmp_path / "damaged.mkv", range(7, 8), skip=100)
    with open_video(path) as source:
        assert len(list(source)) == clips.FRAMES
    assert source.lost is not None
    with open_video(path, strict=True) as source, pytest.raises(DecodeFailed):
        list(source)
    for options in ({"level": "3", "slicecrc": "1"}, {"level": "3", "slicecrc": "0"}, {"level": "1"}):
        path = clips.write_clip(tmp_path / "whole.mkv", codec="ffv1", options=options)
        with open_video(path, strict=True) as source:
            assert len(list(source)) == clips.FRAMES
        assert source.lost is None


def test_packets_that_the_index_knows_and_the_file_lacks_are_counted(tmp_path):
    whole = clips.write_clip(tmp_path / "clip.mp4", pts=clips.even_pts(60), audio="aac")
    # All sound comes first here, so that the file seems to reach to its end.
    fast = clips.remux(whole, tmp_path / "fast.mp4", options={"movflags": "+faststart"}, first="audio")
    with av.open(str(fast)) as file:
        places = sorted(packet.pos for packet in file.demux(file.streams.video[0]) if packet.size)
    short = tmp_path / "short.mp4"
    short.write_bytes(fast.read_bytes()[: places[-3]])
    with open_video(short) as source:
        frames = list(source)
    assert 56 <= len(frames) <= 57
    assert source.lost is not None and f"{len(frames)} of 60" in source.lost
    with open_video(short, strict=True) as source, pytest.raises(DecodeFailed):
        list(source)


def test_what_was_decoded_before_a_cut_packet_is_delivered(tmp_path):
    whole = clips.write_clip(
        tmp_path / "clip.mp4", pts=clips.even_pts(60), container_options={"movflags": "+faststart"}
    )
    with av.open(str(whole)) as file:
        packets = [packet for packet in file.demux() if packet.size]
        place, size = packets[30].pos, packets[30].size
        shown = sorted(packet.pts for packet in packets[:30])
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[: place + size // 2])
    with open_video(path) as source:
        frames = list(source)
    assert [frame.pts for frame in frames] == shown
    assert source.lost is not None and "30 of 60" in source.lost


@pytest.mark.parametrize("which", [57, 58, 59])
def test_one_bad_packet_near_the_end_costs_one_frame(tmp_path, which):
    options = {"bf": "0", "x264-params": "keyint=1"}
    whole = clips.write_clip(tmp_path / "clip.mkv", pts=clips.even_pts(60), options=options, b_frames=0)
    path = clips.blank_packets(whole, tmp_path / "damaged.mkv", range(which, which + 1), skip=5)
    with open_video(path) as source:
        stamps = [frame.pts for frame in source]
    assert source.lost is not None and "59 frames" in source.lost
    with open_video(whole) as source:
        expected = [frame.pts for frame in source]
    assert stamps == expected[:which] + expected[which + 1 :]


@pytest.mark.parametrize("keep", [0.4, 0.7])
def test_an_edit_list_that_hides_frames_loses_none(tmp_path, keep):
    path = clips.write_clip(tmp_path / "clip.mp4", pts=clips.even_pts(40))
    data = bytearray(path.read_bytes())
    place = data.index(b"elst") + 12
    length = struct.unpack_from(">I", data, place)[0]
    struct.pack_into(">I", data, place, round(keep * length))
    path.write_bytes(data)
    with open_video(path, strict=True) as source:
        assert len(list(source)) == round(40 * keep)
    assert source.lost is None


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mov", "clip.flv"])
def test_a_clip_that_begins_late_has_lost_nothing(tmp_path, name):
    whole = clips.write_clip(tmp_path / "clip.mp4", audio="aac")
    late = clips.remux(whole, tmp_path / f"late-{name}", delay=10)
    with open_video(late) as source:
        frames = list(source)
    assert len(frames) == clips.FRAMES
    assert float(frames[0].pts * source.info.time_base) == pytest.approx(10, abs=0.1)
    assert source.lost is None
    assert source.info.frame_count / source.info.frame_rate < 1


def test_pictures_of_a_container_without_presentation_times_are_evenly_spaced(tmp_path):
    path = clips.write_clip(tmp_path / "clip.avi", pts=range(30), time_base=Fraction(1, 25), b_frames=3)
    with open_video(path) as source:
        stamps = [frame.pts for frame in source]
    assert np.diff(stamps).tolist() == [1] * 29


def test_the_shape_of_a_pixel_is_told(tmp_path):
    path = clips.write_clip(tmp_path / "square.mp4")
    with open_video(path) as source:
        assert source.info.pixel_aspect == 1
    for rotation, aspect in ((0, Fraction(16, 9)), (90, Fraction(9, 16))):
        path = clips.write_clip(tmp_path / f"wide{rotation}.mp4", options={"aspect": "16:9"}, rotation=rotation)
        with open_video(path) as source:
            assert source.info.pixel_aspect == aspect


def test_a_file_without_its_index_is_refused(tmp_path):
    half = clips.cut(clips.write_clip(tmp_path / "whole.mp4"), tmp_path / "half.mp4")
    with pytest.raises(DecodeFailed) as caught:
        open_video(half)
    assert "moov" in str(caught.value.hint)  # the box's name


def _empty(path):
    path.touch()


def _text(path):
    path.write_text("not a clip\n" * 50)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: None, SourceNotFound),
        (Path.mkdir, SourceNotFound),
        (_empty, DecodeFailed),
        (_text, DecodeFailed),
        (clips.write_sound, NoVideoStream),
    ],
    ids=["missing", "folder", "empty", "text", "sound"],
)
def test_bad_input_is_one_line_and_a_hint(tmp_path, make, error):
    path = tmp_path / "clip.mp4"
    make(path)
    with pytest.raises(error) as caught:
        open_video(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    "name",
    [
        "take:3.mp4",
        "http:x.mp4",
        "data:x.mp4",
        "concat:a|b.mp4",
        "100%d.mp4",
        "a b%20#[1].mp4",
        "-dash.mp4",
        "take #3.mp4",
    ],
)
def test_a_name_is_a_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    clips.write_clip(tmp_path / "clip.mp4").rename(tmp_path / name)
    with open_video(name) as source:
        assert len(list(source)) == clips.FRAMES


@pytest.mark.parametrize(
    "name", ["concat:clip.mp4|clip.mp4", "data:video/mp4;base64,AAAA", "subfile,,start,0,end,9,,:clip.mp4"]
)
def test_a_path_reaches_no_protocol(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    clips.write_clip(tmp_path / "clip.mp4")
    with pytest.raises(SourceNotFound):
        open_video(name)


def _loop(folder):
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


@pytest.mark.parametrize(
    "make",
    [
        _loop,
        lambda folder: _loop(folder) / "plate.####.png",
        lambda folder: folder / ("n" * 300 + ".mp4"),
        lambda folder: folder / ("n" * 300 + ".####.png"),
        lambda folder: folder / ("n" * 300) / "plate.####.png",
        lambda folder: folder / "nul\0.mp4",
        lambda folder: "nosuch://host/clip.mp4",
        lambda folder: "http://127.0.0.1:1/clip.mp4",
    ],
    ids=["loop", "in loop", "long", "long pattern", "long folder", "nul", "protocol", "refused"],
)
def test_what_cannot_be_opened_is_one_line_and_a_hint(tmp_path, make):
    with pytest.raises(SourceNotFound) as caught:
        open_video(make(tmp_path))
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def numbered(folder, numbers, suffix=".png", picture=clips.picture):
    for number in numbers:
        assert cv2.imwrite(str(folder / f"plate.{number:04d}{suffix}"), picture(number % 10)[..., ::-1])


def test_a_sequence_is_a_clip(tmp_path):
    (tmp_path / "plate.note.txt").write_text("not of it")
    for suffix in (".png", ".tif", ".bmp", ".jpg"):
        pattern = "plate.%04d" if suffix == ".tif" else "plate.####"
        numbered(tmp_path, range(1001, 1006), suffix)
        with open_video(tmp_path / f"{pattern}{suffix}") as source:
            frames = list(source)
        assert (source.info.frame_count, source.info.frame_rate, source.first_number) == (5, 24, 1001)
        assert [frame.pts * source.info.time_base for frame in frames] == [Fraction(n, 24) for n in range(5)]
        for index, frame in enumerate(frames):
            error = np.abs(shown(frame).astype(int) - clips.picture(index + 1))
            assert error.max() == 0 if suffix != ".jpg" else error.mean() < 3


def test_only_pictures_take_a_rate(tmp_path):
    numbered(tmp_path, [1, 2])
    rate = Fraction(30000, 1001)
    with open_video(tmp_path / "plate.####.png", frame_rate=rate) as source:
        assert (source.info.frame_rate, source.info.time_base) == (rate, 1 / rate)
    path = clips.write_clip(tmp_path / "clip.mp4")
    open_video(path, frame_rate=Fraction(25)).__exit__(None, None, None)
    with pytest.raises(InputError, match=re.escape(str(path))):
        open_video(path, frame_rate=rate)
    with pytest.raises(InputError) as caught:
        open_video(f"file://me:secret@{path}", frame_rate=rate)
    assert "secret" not in str(caught.value)


def test_a_gap_names_the_first_missing_picture(tmp_path):
    numbered(tmp_path, [1, 2, 5, 7])
    with pytest.raises(SourceNotFound, match=r"plate\.0003\.png"):
        open_video(tmp_path / "plate.####.png")


def test_a_sequence_that_is_not_there(tmp_path):
    for path in (tmp_path / "plate.####.png", tmp_path / "nowhere" / "plate.####.png", tmp_path / "one.png"):
        with pytest.raises(SourceNotFound):
            open_video(path)


def test_pictures_that_do_not_match(tmp_path):
    numbered(tmp_path, [1])
    assert cv2.imwrite(str(tmp_path / "plate.0002.png"), clips.picture(0, (32, 32)))
    with open_video(tmp_path / "plate.####.png") as source, pytest.raises(DecodeFailed):
        list(source)
    assert cv2.imwrite(str(tmp_path / "plate.0002.png"), clips.picture(0).astype(np.uint16))
    with open_video(tmp_path / "plate.####.png") as source, pytest.raises(DecodeFailed):
        list(source)


def test_a_damaged_picture_is_an_error_even_unasked(tmp_path):
    numbered(tmp_path, [1, 2])
    clips.cut(tmp_path / "plate.0002.png", tmp_path / "plate.0003.png")
    with open_video(tmp_path / "plate.####.png") as source, pytest.raises(DecodeFailed, match=r"plate\.0003\.png"):
        list(source)


@pytest.mark.parametrize("name", ["50%discount.png", "photo #2.png", "a%dx.png", "100%4.png"])
def test_a_picture_whose_name_has_a_sign_in_it(tmp_path, name):
    assert NumberedName.parse(tmp_path / name) is None
    assert cv2.imwrite(str(tmp_path / "picture.png"), clips.picture(3)[..., ::-1])
    (tmp_path / "picture.png").rename(tmp_path / name)
    with open_video(tmp_path / name) as source:
        assert len(list(source)) == 1


@pytest.mark.parametrize(
    ("name", "digits"), [("a.#.png", 1), ("a##.png", 2), ("a_#.png", 1), ("a.%d.png", 1), ("a%05d_x.png", 5)]
)
def test_what_is_a_pattern(name, digits):
    found = NumberedName.parse(name)
    assert found is not None and found.digits == digits


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, streammatte.media; print([m for m in ('torch', 'av', 'cv2', 'numpy') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
