"""The sound that goes along: the same packets where the container takes them, in time with the picture always."""

from fractions import Fraction

import av
import clips
import numpy as np
import pytest
import torch

from streammatte.errors import SourceNotFound
from streammatte.frame import Plate
from streammatte.media import open_sink, open_source


def matted(source_path, out, **options):
    """Every frame of a clip with a constant alpha, its sound along."""
    with open_source(source_path) as source, open_sink(out, source.info, audio=source_path, **options) as sink:
        for frame in source:
            sink.write(Plate(frame, torch.full(frame.rgb.shape[1:], 0.5)))
    return sink


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
    ],
)
def test_packets_are_copied_untouched(tmp_path, name, audio, out, said):
    source = clips.write_clip(tmp_path / name, audio=audio)
    sink = matted(source, tmp_path / out, background="black" if out.endswith("mp4") else None)
    before, after = packets(source), packets(tmp_path / out)
    assert [data for data, _ in after] == [data for data, _ in before]
    exactness = Fraction(1, 1000) if "mkv" in name or "webm" in out else 0
    assert all(abs(one[1] - other[1]) <= exactness for one, other in zip(before, after, strict=True))
    assert said in sink.description


@pytest.mark.parametrize(
    ("audio", "out", "codec"),
    [("aac", "out.webm", "opus"), ("pcm_s16le", "out.mp4", "aac"), ("pcm_s16le", "out.webm", "opus")],
)
def test_what_the_container_does_not_take_is_reencoded_in_time(tmp_path, audio, out, codec):
    source = clips.write_clip(tmp_path / "clip.mov", audio=audio, audio_start=0.2, audio_seconds=0.25)
    sink = matted(source, tmp_path / out, background="black")
    with av.open(str(tmp_path / out)) as file:
        assert file.streams.audio[0].codec_context.name == codec
    assert "re-encoded" in sink.description
    assert abs(onset(tmp_path / out) - 0.2) < 0.03


def test_adts_from_a_transport_stream_goes_into_mov(tmp_path):
    source = clips.write_clip(
        tmp_path / "clip.ts", audio="aac", time_base=Fraction(1, 90000), pts=range(0, 43200, 3600)
    )
    sink = matted(source, tmp_path / "out.mov")
    assert "AAC copied" in sink.description
    assert len(packets(tmp_path / "out.mov")) == len(packets(source))
    assert sound(tmp_path / "out.mov")[0].size >= 0.4 * 48000


def test_the_first_of_two_audio_streams_is_taken_and_none_is_fine(tmp_path):
    silent = clips.write_clip(tmp_path / "silent.mp4")
    sink = matted(silent, tmp_path / "out.mov")
    assert sink.description == "ProRes 4444, straight alpha"
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
        open_source(source) as opened,
        pytest.raises(SourceNotFound, match=r"gone\.wav"),
        open_sink(tmp_path / "out.mov", opened.info, audio=tmp_path / "gone.wav"),
    ):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]
