"""The sound that goes along: the same packets where the container takes them, in time with the picture always."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from support import clips

from streammatte.errors import SourceNotFound
from streammatte.frame import Cutout
from streammatte.media import open_video, open_writer
from streammatte.media.write.audio import open_sounds

pytestmark = pytest.mark.media


def matted(source_path, out, **options):
    """Every frame of a clip with a constant alpha, its sound along."""
    with open_video(source_path) as source, open_writer(out, source.info, audio=source_path, **options) as writer:
        for frame in source:
            writer.write(Cutout(frame, torch.full(frame.rgb.shape[1:], 0.5)))
    return writer


def packets(path):
    """(bytes, seconds) of every packet of the first audio stream."""
    with av.open(str(path)) as file:
        return [
            (bytes(packet), packet.pts * packet.time_base)
            for packet in file.demux(file.streams.audio[0])
            if packet.pts is not None
        ]


def sound(path):
    """Mono samples, and the second the first of them is heard."""
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=0))
    samples = [frame.to_ndarray().astype(np.float32) for frame in frames]
    mono = np.concatenate([part[0] if part.shape[0] > 1 else part[0, ::2] for part in samples])
    return mono, float(frames[0].pts * frames[0].time_base)


def onset(path):
    """The second at which the tone begins."""
    mono, start = sound(path)
    loud = np.abs(mono) > 0.2 * np.abs(mono).max()
    return start + int(np.argmax(loud)) / 48000


def span(path):
    """First and last pts of the picture, in seconds."""
    with av.open(str(path)) as file:
        times = [frame.pts * frame.time_base for frame in file.decode(video=0)]
    return times[0], times[-1]


@pytest.mark.parametrize(
    ("name", "audio", "out", "said"),
    [
        ("clip.mp4", "aac", "out.mov", "AAC copied"),
        ("clip.mp4", "aac", "out.mp4", "AAC copied"),
        ("clip.mov", "pcm_s16le", "out.mov", "PCM copied"),
        ("clip.mkv", "libopus", "out.webm", "Opus copied"),
        ("clip.mkv", "libopus", "out.mp4", "Opus copied"),
        ("clip.mp4", "aac", "out.mkv", "AAC copied"),
        ("clip.mov", "pcm_s16le", "out.mkv", "PCM copied"),
    ],
)
def test_packets_are_copied_untouched(tmp_path, name, audio, out, said):
    source = clips.write_clip(tmp_path / name, audio=audio)
    writer = matted(source, tmp_path / out, background="black" if out.endswith("mp4") else None)
    before, after = packets(source), packets(tmp_path / out)
    assert [data for data, _ in after] == [data for data, _ in before]
    exactness = Fraction(1, 1000) if "mkv" in name or out.endswith(("webm", "mkv")) else 0
    assert all(abs(one[1] - other[1]) <= exactness for one, other in zip(before, after, strict=True))
    assert said in writer.description


@pytest.mark.parametrize(
    ("audio", "out", "codec"),
    [
        ("aac", "out.webm", "opus"),
        ("pcm_s16le", "out.mp4", "aac"),
        ("pcm_s16le", "out.webm", "opus"),
        ("pcm_alaw", "out.mkv", "flac"),
    ],
)
def test_what_the_container_does_not_take_is_reencoded_in_time(tmp_path, audio, out, codec):
    source = clips.write_clip(tmp_path / "clip.mov", audio=audio, audio_start=0.2, audio_seconds=0.25)
    writer = matted(source, tmp_path / out, background="black")
    with av.open(str(tmp_path / out)) as file:
        assert file.streams.audio[0].codec_context.name == codec
    assert "re-encoded" in writer.description
    assert abs(onset(tmp_path / out) - 0.2) < 0.03


def test_adts_from_a_transport_stream_goes_into_mov(tmp_path):
    source = clips.write_clip(
        tmp_path / "clip.ts", audio="aac", time_base=Fraction(1, 90000), pts=range(0, 43200, 3600)
    )
    writer = matted(source, tmp_path / "out.mov")
    assert "AAC copied" in writer.description
    assert len(packets(tmp_path / "out.mov")) == len(packets(source))
    assert sound(tmp_path / "out.mov")[0].size >= 0.4 * 48000


def test_the_first_of_two_audio_streams_is_taken_and_none_is_fine(tmp_path):
    silent = clips.write_clip(tmp_path / "silent.mp4")
    writer = matted(silent, tmp_path / "out.mov")
    assert writer.description == "ProRes 4444, straight alpha"
    with av.open(str(tmp_path / "out.mov")) as file:
        assert not file.streams.audio


def test_sound_is_moved_with_a_picture_that_is_moved(tmp_path):
    # Both begin an hour into a broadcast's clock; a file that began there would show nothing for an hour.
    hour = 3600 * 90000
    source = clips.write_clip(
        tmp_path / "clip.ts",
        audio="aac",
        time_base=Fraction(1, 90000),
        pts=range(hour, hour + 43200, 3600),
        audio_start=3600.12,
        audio_seconds=0.3,
    )
    matted(source, tmp_path / "out.mov")
    assert span(tmp_path / "out.mov") == (0, Fraction(11, 25))
    assert abs(onset(tmp_path / "out.mov") - (onset(source) - float(span(source)[0]))) < 0.001


@pytest.mark.parametrize("seconds", [0.1, 2.0])
@pytest.mark.parametrize("out", ["out.mov", "out.webm"])
def test_sound_shorter_and_longer_than_the_picture(tmp_path, seconds, out):
    source = clips.write_clip(tmp_path / "clip.mp4", audio="aac", audio_seconds=seconds)
    matted(source, tmp_path / out)
    assert span(tmp_path / out) == (0, Fraction(11, 25))
    assert abs(sound(tmp_path / out)[0].size / 48000 - seconds) < 0.1


def test_packets_are_interleaved_by_time(tmp_path):
    source = clips.write_clip(tmp_path / "clip.mp4", audio="aac", pts=clips.even_pts(100))
    matted(source, tmp_path / "out.mov")
    with av.open(str(tmp_path / "out.mov")) as file:
        placed = sorted(
            (packet.pos, float(packet.pts * packet.time_base)) for packet in file.demux() if packet.pts is not None
        )
    stamps = np.array([time for _, time in placed])
    assert np.all(np.diff(stamps) > -1.1)


def test_pictures_have_no_sound(tmp_path):
    source = clips.write_clip(tmp_path / "clip.mp4", audio="aac")
    matted(source, tmp_path / "out.####.png")
    matted(tmp_path / "out.####.png", tmp_path / "back.mov")
    with av.open(str(tmp_path / "back.mov")) as file:
        assert not file.streams.audio


def test_sound_that_is_not_there_is_an_error(tmp_path):
    source = clips.write_clip(tmp_path / "clip.mp4")
    with (
        open_video(source) as opened,
        pytest.raises(SourceNotFound, match=r"gone\.wav"),
        open_writer(tmp_path / "out.mov", opened.info, audio=tmp_path / "gone.wav"),
    ):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


TRANSPORT = {"time_base": Fraction(1, 90000)}


def heard(path):
    """Seconds from the first loud sample to the last, and the second that one is heard."""
    mono, start = sound(path)
    loud = np.flatnonzero(np.abs(mono) > 0.2 * np.abs(mono).max())
    return (loud[-1] - loud[0]) / 48000, start + loud[-1] / 48000


@pytest.mark.parametrize("out", ["out.mov", "out.webm"])
def test_sound_goes_on_where_the_clock_jumps_back(tmp_path, out):
    pts = range(0, 43200 * 2, 3600)
    one = clips.write_clip(tmp_path / "one.ts", audio="aac", pts=pts, **TRANSPORT)
    both = clips.end_to_end(one, one, tmp_path / "both.ts")
    matted(both, tmp_path / out)
    with av.open(str(tmp_path / out)) as file:
        stamps = [packet.dts for packet in file.demux(file.streams.audio[0]) if packet.dts is not None]
    assert np.all(np.diff(stamps) > 0)
    assert abs(sound(tmp_path / out)[0].size / 48000 - 2 * 0.96) < 0.15
    assert abs(heard(tmp_path / out)[1] - float(span(tmp_path / out)[1])) < 0.2


def test_mp3_in_avi_is_copied(tmp_path):
    source = clips.write_clip(
        tmp_path / "clip.avi", codec="mpeg4", audio="libmp3lame", time_base=Fraction(1, 25), pts=range(25)
    )
    writer = matted(source, tmp_path / "out.mov")
    assert "MP3 copied" in writer.description
    assert [data for data, _ in packets(tmp_path / "out.mov")] == [data for data, _ in packets(source)]


def test_pcm_that_mov_has_no_tag_for_is_reencoded(tmp_path):
    source = clips.write_clip(tmp_path / "clip.m2ts", audio="pcm_bluray", pts=range(0, 43200, 3600), **TRANSPORT)
    writer = matted(source, tmp_path / "out.mov")
    assert "PCM re-encoded as AAC" in writer.description


def test_sound_that_changes_its_channels_midway(tmp_path):
    pts = range(0, 43200, 3600)
    stereo = clips.write_clip(tmp_path / "stereo.ts", audio="mp2", pts=pts, **TRANSPORT)
    mono = clips.write_clip(tmp_path / "mono.ts", audio="mp2", layout="mono", pts=pts, **TRANSPORT)
    both = clips.end_to_end(stereo, mono, tmp_path / "both.ts")
    matted(both, tmp_path / "out.mov")
    with av.open(str(tmp_path / "out.mov")) as file:
        loudest = [float(np.abs(frame.to_ndarray()).max()) for frame in file.decode(audio=0)]
    assert abs(len(loudest) * 1024 / 48000 - 2 * 0.48) < 0.1
    assert all(0.25 < peak < 0.7 for peak in loudest[2:-1])  # each half is a tone, the mixed one louder


@pytest.mark.parametrize("out", ["out.mov", "out.webm"])
def test_sound_before_a_picture_that_is_moved_to_0_is_left_out_in_step(tmp_path, out):
    hour = 3600 * 90000
    source = clips.write_clip(
        tmp_path / "clip.ts",
        audio="aac",
        pts=range(hour, hour + 43200, 3600),
        audio_start=3599.5,
        audio_seconds=0.8,
        **TRANSPORT,
    )
    matted(source, tmp_path / out)
    assert min(time for _, time in packets(tmp_path / out)) >= -0.05  # two packets, which the edit list hides
    expected = heard(source)[1] - float(span(source)[0])
    assert abs(heard(tmp_path / out)[1] - expected) < 0.03


def test_damaged_sound_is_counted(tmp_path):
    whole = clips.write_clip(tmp_path / "clip.mkv", audio="ac3", pts=clips.even_pts(40))
    damaged = clips.blank_packets(whole, tmp_path / "damaged.mkv", range(5, 15), kind="audio")
    for path, lost in ((whole, None), (damaged, "10 packets of sound")):
        with av.open(str(tmp_path / "out.webm"), "w", format="webm") as out:
            (track,) = open_sounds(str(path), out)
            track.finish(Fraction(0))
            track.close()
        assert track.lost == lost


def test_sound_that_was_cut_off_is_counted(tmp_path):
    whole = clips.write_clip(tmp_path / "clip.mp4", audio="aac", container_options={"movflags": "+faststart"})
    fast = clips.remux(whole, tmp_path / "fast.mp4", options={"movflags": "+faststart"}, first="video")
    with av.open(str(fast)) as file:
        places = sorted(packet.pos for packet in file.demux(file.streams.audio[0]) if packet.size)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(fast.read_bytes()[: places[-5]])
    with av.open(str(tmp_path / "out.mov"), "w") as out:
        (track,) = open_sounds(str(cut), out)
        track.finish(Fraction(0))
        track.close()
    assert track.lost == "5 packets of sound"
