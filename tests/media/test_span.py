"""--in, --out and --handles: the frames that are meant, the same as in the whole, and their sound in step."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from support import clips, footage

from streammatte.cli.main import main
from streammatte.errors import InputError
from streammatte.media import open_video

FRAMES = 40
MILLISECONDS = {"time_base": Fraction(1, 1000), "pts": [40 * index for index in range(FRAMES)]}
TRANSPORT = {"time_base": Fraction(1, 90000), "pts": [3600 * index for index in range(FRAMES)]}
VARIABLE = footage.random_times(FRAMES, seed=5)

pytestmark = pytest.mark.media

KINDS = {
    "b frames": ("clip.mp4", {"pts": clips.even_pts(FRAMES)}),
    "variable": ("clip.mp4", {"pts": VARIABLE[0], "lasts": VARIABLE[1]}),
    "matroska": ("clip.mkv", MILLISECONDS),
    "webm": ("clip.webm", {"codec": "libvpx-vp9", **MILLISECONDS}),
    "vp8": ("clip.webm", {"codec": "libvpx", **MILLISECONDS}),
    "transport": ("clip.ts", TRANSPORT),
    "open gops": ("clip.ts", {"codec": "mpeg2video", "time_base": Fraction(1, 25), "pts": range(FRAMES)}),
    "avi": ("clip.avi", {"codec": "mpeg4", "time_base": Fraction(1, 25), "pts": range(FRAMES)}),
    "prores": ("clip.mov", {"codec": "prores_ks", "pixels": "yuv422p10le", "pts": clips.even_pts(FRAMES)}),
    "interlaced": ("clip.mp4", {"pts": clips.even_pts(FRAMES), "interlaced": True}),
}


@pytest.fixture(scope="module", params=KINDS)
def clip(request, tmp_path_factory):
    name, options = KINDS[request.param]
    return footage.write_footage(tmp_path_factory.mktemp("span") / name, **options)


def test_a_part_is_what_the_whole_has_there(clip):
    with open_video(clip) as source:
        whole = list(source)
    assert len(whole) == FRAMES
    for first, last, handles in [
        (0, 39, 0),
        (7, 7, 0),
        (11, 30, 0),
        (13, 20, 4),
        (2, 38, 10),
        (39, 39, 0),
        (25, None, 0),
    ]:
        with open_video(clip, first=first, last=last, handles=handles) as source:
            part = list(source)
        expected = whole[max(0, first - handles) : (FRAMES if last is None else last + handles + 1)]
        assert [(frame.index, frame.pts) for frame in part] == [(frame.index, frame.pts) for frame in expected]
        assert all(one.rgb.equal(other.rgb) for one, other in zip(part, expected, strict=True))
        assert [frame.duration for frame in part[:-1]] == [frame.duration for frame in expected[:-1]]
        assert source.info.frame_count == len(part)
        assert source.lost is None


def test_timecode_marks_the_frames_that_editors_mean(tmp_path):
    rate = Fraction(30000, 1001)
    times = {"rate": rate, "time_base": 1 / rate, "pts": range(FRAMES)}
    own = footage.write_footage(tmp_path / "own.mov", timecode="00:00:59;28", **times)
    with open_video(own, first="00:01:00;02", last="00:01:00:09") as source:
        assert [frame.index for frame in source] == list(range(2, 10))
        assert source.info.timecode == "00:01:00;02"
    none = footage.write_footage(tmp_path / "none.mov", **times)
    with open_video(none, first="00:00:00:10", last="00:00:01;00") as source:
        assert [frame.index for frame in source] == list(range(10, 31))
    midnight = footage.write_footage(tmp_path / "midnight.mov", timecode="23:59:59:20", **times)
    with open_video(midnight, first="00:00:00:00", handles=1) as source:
        assert next(iter(source)).index == 9
        assert source.info.timecode == "23:59:59:29"


def test_timecode_in_footage_of_variable_rate_is_the_clock(tmp_path):
    pts = [0, 512, 5 * 512, 6 * 512, 20 * 512, 21 * 512]
    path = footage.write_footage(
        tmp_path / "clip.mov", pts=pts, lasts=[512, 2048, 512, 7168, 512, 512], codec="prores_ks", pixels="yuv422p10le"
    )
    with open_video(path) as source:
        rate = source.info.frame_rate
    assert round(rate) == 7
    with open_video(path, first="00:00:00:02", last="00:00:00:06") as source:  # 0.29 s to 0.88 s
        assert [frame.index for frame in source] == [3, 4, 5]


def test_times_mark_the_frame_on_screen_then(tmp_path):
    rate = Fraction(24000, 1001)
    times = {"rate": rate, "time_base": 1 / rate, "pts": range(FRAMES)}
    clip = footage.write_footage(tmp_path / "clip.mov", timecode="01:00:00:00", **times)
    for first, last, frames in (
        ("0s", "1s", range(0, 25)),  # from the clip's start, whatever its timecode
        ("0.5s", "1.25s", range(12, 31)),
        ("0:01", "0:01.042", range(24, 26)),  # a frame's time, rounded to a millisecond, is that frame
        ("0:00:01", "01:00:01:06", range(24, 31)),
    ):
        with open_video(clip, first=first, last=last) as source:
            assert [frame.index for frame in source] == list(frames), (first, last)
    for mark in ("2s", "0:02.5", "1:00:00", "half", "1:75"):
        with pytest.raises(InputError, match=mark), open_video(clip, first=mark):
            pass


def test_pictures_go_by_their_numbers(tmp_path):
    for number in range(1001, 1011):
        assert cv2.imwrite(str(tmp_path / f"plate.{number}.png"), clips.picture(number - 1001)[..., ::-1])
    with open_video(tmp_path / "plate.####.png", first=1004, last=1006, handles=1) as source:
        frames = list(source)
        assert (source.first_number, source.info.frame_count) == (1001, 5)
        assert "1003 to 1007" in source.notes[0]
    assert [frame.index for frame in frames] == [2, 3, 4, 5, 6]
    assert [clips.index_of(frame.rgb.permute(1, 2, 0).numpy()) for frame in frames] == [2, 3, 4, 5, 6]
    footage.matted(
        tmp_path / "plate.####.png",
        tmp_path / "cut.####.png",
        first=1004,
        last="00:00:00:04",
        writer={"first_number": 1001},
    )
    assert sorted(path.name for path in tmp_path.glob("cut.*")) == ["cut.1004.png", "cut.1005.png"]
    footage.matted(tmp_path / "plate.####.png", tmp_path / "cut.mov", first=1004, last=1006)
    assert footage.shown_times(tmp_path / "cut.mov") == [Fraction(n, 24) for n in range(3)]


@pytest.mark.parametrize(
    "marks",
    [
        {"first": 8, "last": 5},
        {"first": 12},
        {"last": 400},
        {"first": "00:00:01:00"},
        {"first": "00:00:00;05"},
        {"first": "soon"},
        {"first": "-3"},
        {"first": "00:00:00:30"},
    ],
)
def test_bad_spans_are_refused(tmp_path, marks):
    with pytest.raises(InputError, match=str(next(iter(marks.values())))):
        open_video(clips.write_clip(tmp_path / "clip.mp4"), **marks)


def test_the_command_cuts_picture_sound_and_timecode(tmp_path, capsys):
    path = footage.write_footage(
        tmp_path / "clip.mov", timecode="10:00:00:00", sounds=[("pcm_s16le", {}, True)], pts=clips.even_pts(30)
    )
    quick = ["--model", "birefnet-nano", "--size", "64x64", "--smooth", "off", "--decontaminate", "off"]
    outputs = ["-o", str(tmp_path / "out.mov"), "-o", str(tmp_path / "out.####.png")]
    assert main([str(path), *outputs, "--in", "10:00:00:10", "--out", "19", "--handles", "2", *quick]) == 0
    told = capsys.readouterr().out
    assert "10:00:00:08" in told
    with av.open(str(tmp_path / "out.mov")) as file:
        assert file.streams.video[0].metadata["timecode"] == "10:00:00:08"
    assert footage.shown_times(tmp_path / "out.mov") == [Fraction(n, 25) for n in range(14)]
    names = sorted(file.name for file in tmp_path.glob("out.*.png"))
    assert (names[0], names[-1], len(names)) == ("out.0009.png", "out.0022.png", 14)
    samples, start = footage.heard(tmp_path / "out.mov")
    assert start == 0
    assert np.array_equal(samples, footage.ramp(8 * 1920, 14 * 1920))


@pytest.mark.parametrize("name", ["clip.mov", "clip.mkv"])
def test_pcm_is_cut_to_the_sample(tmp_path, name):
    rate = Fraction(30000, 1001)
    times = {"rate": rate, "time_base": 1 / rate if name.endswith("mov") else Fraction(1, 1000)}
    pts = range(60) if name.endswith("mov") else [round(n / rate * 1000) for n in range(60)]
    path = footage.write_footage(tmp_path / name, pts=pts, sounds=[("pcm_s16le", {}, True)], samples=96096, **times)
    source, _ = footage.matted(path, tmp_path / "out.mov", first=17, last=40)
    begin, end = source.info.span
    samples, start = footage.heard(tmp_path / "out.mov")
    assert start == 0
    assert samples.size == round((end - begin) * 48000)
    assert np.array_equal(samples, footage.ramp(round(begin * 48000), samples.size))


@pytest.mark.parametrize("out", ["out.webm", "out.mp4"])
def test_what_is_reencoded_is_cut_to_the_sample(tmp_path, out):
    path = footage.write_footage(tmp_path / "clip.mov", pts=clips.even_pts(50), sounds=[("pcm_s16le", {}, True)])
    footage.matted(path, tmp_path / out, first=10, last=29, writer={"background": "black"})
    samples, start = footage.heard(tmp_path / out)
    assert start == 0
    assert samples.size == 20 * 1920 if out.endswith("webm") else 0 <= samples.size - 20 * 1920 < 1024
    # The ramp's own fall, from 29999 to 0, tells where it is.
    fall = int(np.argmin(np.diff(samples.astype(float))))
    assert abs(fall - (30000 - 1 - 10 * 1920)) <= 8


def test_copied_packets_stay_in_step_to_the_sample(tmp_path):
    path = footage.write_footage(tmp_path / "clip.mp4", pts=clips.even_pts(60), sounds=[("aac", {}, True)])
    whole, begin = footage.heard(path)
    assert begin == 0
    footage.matted(path, tmp_path / "out.mov", first=20, last=44)
    samples, start = footage.heard(tmp_path / "out.mov")
    assert start == 0
    assert 0 <= samples.size - 25 * 1920 < 1024
    assert footage.lag(samples, whole[20 * 1920 :]) == 0
    assert set(footage.sound_packets(tmp_path / "out.mov")) <= set(footage.sound_packets(path))


def test_sound_far_into_a_file_is_found_without_reading_all_of_it(tmp_path):
    pts = [512 * 25 * index for index in range(12)]  # one a second
    path = footage.write_footage(tmp_path / "clip.mp4", pts=pts, sounds=[("aac", {}, True)])
    whole, _ = footage.heard(path)
    footage.matted(path, tmp_path / "out.mov", first=10, last=10)
    samples, start = footage.heard(tmp_path / "out.mov")
    assert start == 0
    assert footage.lag(samples, whole[10 * 48000 :]) == 0
    assert abs(samples.size - 48000) < 1024


def test_strict_bears_damage_outside_of_the_span_only(tmp_path):
    whole = footage.write_footage(
        tmp_path / "clip.mov", codec="prores_ks", pixels="yuv422p10le", pts=clips.even_pts(30)
    )
    damaged = clips.blank_packets(whole, tmp_path / "damaged.mov", range(20, 22), skip=8)
    with open_video(damaged, strict=True, first=3, last=12) as source:
        assert len(list(source)) == 10
    assert source.lost is None
    with open_video(damaged, first=15, last=25) as source:
        frames = list(source)
    assert source.lost is not None
    assert all(15 <= frame.index <= 25 for frame in frames)
