"""Picture, sound, subtitles and timecode: each at the time it had."""

from fractions import Fraction

import av
import numpy as np
import pytest
from support import clips, footage

from streammatte.cli.main import main
from streammatte.media import open_video

pytestmark = pytest.mark.media

PRORES = {"codec": "prores_ks", "pixels": "yuv422p10le"}
QUICK = ["--model", "birefnet-nano", "--size", "64x64", "--smooth", "off", "--decontaminate", "off"]


def end_of(path):
    """Seconds at which the last frame ends."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        if stream.duration is not None:
            return (stream.start_time + stream.duration) * stream.time_base
        last = list(file.decode(stream))[-1]
        return (last.pts + last.duration) * stream.time_base


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("out", ["out.mov", "out.mp4", "out.webm"])
def test_random_durations_are_kept_the_last_one_too(tmp_path, seed, out):
    pts, lasts = footage.random_times(30, seed=seed)
    path = footage.write_footage(
        tmp_path / "clip.mov", pts=pts, lasts=lasts, sounds=[("pcm_s16le", {}, True)], **PRORES
    )
    footage.matted(path, tmp_path / out, writer={"background": "black"} if out.endswith("mp4") else {})
    slack = Fraction(1, 2000) if out.endswith("webm") else 0
    found = footage.shown_times(tmp_path / out)
    assert len(found) == 30
    assert all(abs(one - stamp * clips.TIME_BASE) <= slack for one, stamp in zip(found, pts, strict=True))
    if not out.endswith("mp4"):  # x264 shows other frames last than it writes last, and MP4 states that one's length
        assert abs(end_of(tmp_path / out) - (pts[-1] + lasts[-1]) * clips.TIME_BASE) <= 2 * slack
    samples, start = footage.heard(tmp_path / out)
    before, _ = footage.heard(path)
    assert start == 0
    if out.endswith("mov"):
        assert np.array_equal(samples, before)
    else:
        assert samples.size == before.size if out.endswith("webm") else 0 <= samples.size - before.size < 1024


@pytest.mark.parametrize("first", [-700, -51200, 512 * 3])
@pytest.mark.parametrize("sound", ["pcm_s16le", "aac"])
def test_wherever_the_first_frame_is_sound_and_picture_stay_in_step(tmp_path, first, sound):
    """Sound begins at 0 of a clock on which the picture begins earlier or later."""
    pts, _ = footage.random_times(20, seed=1, first=first)
    path = footage.write_footage(
        tmp_path / "clip.mkv",
        codec="ffv1",
        time_base=Fraction(1, 1000),
        pts=[stamp * 1000 // 12800 for stamp in pts],
        sounds=[(sound, {}, True)],
        samples=70000,
    )
    before, heard_at = footage.heard(path)
    seen_at = footage.shown_times(path)[0]
    footage.matted(path, tmp_path / "out.mov")
    after, start = footage.heard(tmp_path / "out.mov")
    moved = footage.shown_times(tmp_path / "out.mov")[0] - seen_at
    lead = round((heard_at + moved - start) * 48000)
    if sound == "pcm_s16le":
        assert lead == 0
        assert np.array_equal(after, before)
    else:  # what a codec begins with is heard where its packet begins before the picture, and is next to silence
        assert 0 <= lead < 1024
        assert abs(footage.lag(after[lead:], before, reach=100)) < 48  # Matroska's millisecond
        assert np.abs(after[: max(0, lead - 48)]).max(initial=0) < 0.02


def test_sound_and_picture_trimmed_by_edit_lists(tmp_path):
    """What a cut clip hides at its beginning stays hidden, also when it is copied once more."""
    path = footage.write_footage(tmp_path / "clip.mp4", pts=clips.even_pts(40), sounds=[("aac", {}, True)])
    footage.matted(path, tmp_path / "once.mov", first=10, last=30)
    footage.matted(tmp_path / "once.mov", tmp_path / "twice.mov")
    once, start = footage.heard(tmp_path / "once.mov")
    twice, again = footage.heard(tmp_path / "twice.mov")
    assert (start, again) == (0, 0)
    assert once.size == twice.size
    assert footage.lag(once, twice) == 0
    assert footage.sound_packets(tmp_path / "once.mov") == footage.sound_packets(tmp_path / "twice.mov")


def test_a_picture_trimmed_by_an_edit_list(tmp_path):
    path = footage.write_footage(
        tmp_path / "clip.mov", pts=clips.even_pts(20), sounds=[("pcm_s16le", {}, True)], **PRORES
    )
    data = bytearray(path.read_bytes())
    place = data.index(b"elst") + 16  # the first entry's media time: frames before it are hidden
    data[place : place + 4] = (3 * 512).to_bytes(4, "big")
    trimmed = tmp_path / "trimmed.mov"
    trimmed.write_bytes(data)
    for options in ({}, {"first": 2, "last": 9}):
        source, _ = footage.matted(trimmed, tmp_path / "out.mov", **options)
        assert source.lost is None
        with open_video(tmp_path / "out.mov") as again:
            pictures = [clips.index_of(frame.rgb.permute(1, 2, 0).numpy()) for frame in again]
        skipped = options.get("first", 0)
        assert pictures[0] == 3 + skipped
        samples, start = footage.heard(tmp_path / "out.mov")
        assert start == 0
        assert samples[0] == 1920 * skipped  # sound has no edit: it begins with the first frame that is shown


def test_every_sound_goes_along_with_its_tags(tmp_path):
    sounds = [
        ("aac", {"language": "fra", "title": "boom"}, False),
        ("aac", {"language": "ger", "title": "lavalier"}, True),
        ("pcm_s16le", {"language": "eng"}, False),
    ]
    path = footage.write_footage(tmp_path / "clip.mov", sounds=sounds[:2] + sounds[2:])
    for out, said in [
        ("out.mov", "2 × AAC copied, PCM copied"),
        ("out.mp4", "2 × AAC copied, PCM re-encoded as AAC"),
        ("out.webm", "2 × AAC re-encoded as Opus, PCM re-encoded as Opus"),
    ]:
        _, writer = footage.matted(path, tmp_path / out, writer={"background": "black"} if out.endswith("mp4") else {})
        assert said in writer.description
        with av.open(str(tmp_path / out)) as file:
            found = file.streams.audio
            assert len(found) == 3
            assert [bool(stream.disposition & av.stream.Disposition.default) for stream in found] == [
                False,
                True,
                False,
            ]
            assert [stream.metadata.get("title", stream.metadata.get("name")) for stream in found][:2] == [
                "boom",
                "lavalier",
            ]
            assert found[0].language in ("fra", "fre")
            assert found[1].language == "ger"
        if out == "out.mov":
            for stream in range(3):
                assert footage.sound_packets(tmp_path / out, stream) == footage.sound_packets(path, stream)


def test_sound_is_left_out_on_request(tmp_path, capsys):
    path = footage.write_footage(tmp_path / "clip.mov", sounds=[("aac", {}, True)])
    assert main([str(path), "-o", str(tmp_path / "out.mov"), "--no-audio", *QUICK]) == 0
    assert "AAC" not in capsys.readouterr().out
    with av.open(str(tmp_path / "out.mov")) as file:
        assert not file.streams.audio


def test_subtitles_go_along_where_they_can_and_are_cut_with_the_picture(tmp_path):
    texts = [(0.0, 0.4, "one"), (0.5, 1.0, "two"), (1.2, 1.4, "three")]
    path = footage.write_footage(tmp_path / "clip.mov", pts=clips.even_pts(40), subtitles=texts)
    _, writer = footage.matted(path, tmp_path / "out.mov", first=5, last=19)  # 0.2 s to 0.8 s
    assert "subtitles copied" in writer.description
    with av.open(str(tmp_path / "out.mov")) as file:
        stream = file.streams.subtitles[0]
        found = [
            (float(packet.pts * packet.time_base), float(packet.duration * packet.time_base), bytes(packet)[2:])
            for packet in file.demux(stream)
            if packet.size > 2
        ]
    assert found == [(0.0, pytest.approx(0.2), b"one"), (pytest.approx(0.3), pytest.approx(0.3), b"two")]
    _, writer = footage.matted(path, tmp_path / "out.webm")
    assert "timed text subtitles left out" in writer.description


@pytest.mark.parametrize("out", ["out.mov", "out.mp4"])
@pytest.mark.parametrize(
    "texts",
    [
        [(0.0, 0.4, "one"), (0.5, 1.0, "two")],
        [(2.2, 2.4, "late")],
        [(0.0, 0.1, "one"), (0.1, 0.2, "two"), (2.5, 9.0, "long")],
    ],
    ids=["early", "late", "pause"],
)
def test_subtitles_with_pauses_come_when_they_came(tmp_path, texts, out):
    path = footage.write_footage(
        tmp_path / "clip.mov", pts=clips.even_pts(75), subtitles=texts, sounds=[("aac", {}, True)]
    )
    footage.matted(path, tmp_path / out, writer={"background": "black"} if out.endswith("mp4") else {})
    with av.open(str(tmp_path / out)) as file:
        found = [
            (float(packet.pts * packet.time_base), bytes(packet)[2:].decode())
            for packet in file.demux(file.streams.subtitles[0])
            if packet.size > 2
        ]
    assert found == [(pytest.approx(begin), text) for begin, _, text in texts]


@pytest.mark.parametrize(
    ("rate", "code", "first", "expected"),
    [
        (Fraction(30000, 1001), "00:00:59;28", 2, "00:01:00;02"),
        (Fraction(30000, 1001), "00:00:59:28", 2, "00:01:00:00"),
        (Fraction(60000, 1001), "00:00:59;58", 2, "00:01:00;04"),
        (Fraction(24000, 1001), "23:59:59:22", 3, "00:00:00:01"),
        (Fraction(25), "10:00:00:00", None, "10:00:00:00"),
        (Fraction(50), "10:00:00:49", 1, "10:00:01:00"),
    ],
)
@pytest.mark.parametrize("out", ["out.mov", "out.mp4"])
def test_timecode_goes_along(tmp_path, rate, code, first, expected, out):
    path = footage.write_footage(
        tmp_path / "clip.mov", rate=rate, time_base=1 / rate, pts=range(8), timecode=code, **PRORES
    )
    footage.matted(path, tmp_path / out, first=first, writer={"background": "black"} if out.endswith("mp4") else {})
    with av.open(str(tmp_path / out)) as file:
        assert file.streams.video[0].metadata["timecode"] == expected
        tracks = [stream for stream in file.streams if stream.type == "data"]
        assert [track.metadata["timecode"] for track in tracks] == [expected]


def test_timecode_of_other_containers_and_what_webm_cannot(tmp_path):
    path = footage.write_footage(
        tmp_path / "clip.mxf", codec="mpeg2video", time_base=Fraction(1, 25), pts=range(8), timecode="01:02:03:04"
    )
    with open_video(path) as source:
        assert source.info.timecode == "01:02:03:04"
    _, writer = footage.matted(path, tmp_path / "out.webm")
    assert "timecode 01:02:03:04 left out" in writer.description
    _, writer = footage.matted(footage.write_footage(tmp_path / "clip.mp4"), tmp_path / "out.webm")
    assert "timecode" not in writer.description
