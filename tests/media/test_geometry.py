"""Pictures as a player shows them: upright, in their pixels' shape, each of one moment."""

from fractions import Fraction
from itertools import product

import av
import numpy as np
import pytest
from support import clips, footage

from streammatte.cli.main import main
from streammatte.color.ycbcr import RgbReader
from streammatte.errors import InputError
from streammatte.media import open_video
from streammatte.media.read.deinterlace import deinterlaced

pytestmark = pytest.mark.media

QUICK = ["--model", "birefnet-nano", "--size", "64x64", "--smooth", "off", "--decontaminate", "off"]


def shown(frame):
    return frame.rgb.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_every_turn_and_mirror_of_a_display_matrix(tmp_path, degrees):
    for mirrored, upside_down in product((False, True), (False, True)):
        path = footage.write_footage(
            tmp_path / "clip.mp4", pts=[0], size=(66, 50), display=(degrees, mirrored, upside_down)
        )
        with av.open(str(path)) as file:  # two encodings of what swscale converts need not be the same to the bit
            stored = RgbReader(66, 50, codec="h264")(next(file.decode(video=0)))
        upright = np.rot90(stored, degrees // 90)  # the turn first, counter-clockwise, and then the mirrors
        upright = upright[:, ::-1] if mirrored else upright
        upright = upright[::-1] if upside_down else upright
        with open_video(path) as source:
            frame = shown(next(iter(source)))
            assert np.array_equal(frame, upright)
            assert (source.info.height, source.info.width) == frame.shape[:2]
            assert len(source.notes) == (not np.array_equal(stored, upright))


def test_a_phone_clip_stands_upright_in_every_output(tmp_path, capsys):
    path = footage.write_footage(
        tmp_path / "clip.mp4", size=(64, 48), display=(90, False, False), aspect=Fraction(4, 3)
    )
    outputs = [part for name in ("out.mov", "out.webm", "out.####.png") for part in ("-o", str(tmp_path / name))]
    assert main([str(path), *outputs, *QUICK]) == 0
    assert "90°" in capsys.readouterr().out
    for name in ("out.mov", "out.webm", "out.0001.png"):
        with av.open(str(tmp_path / name)) as file:
            stream = file.streams.video[0]
            frame = next(file.decode(stream))
            assert (frame.width, frame.height, frame.rotation) == (48, 64, 0)
            assert name != "out.mov" or stream.sample_aspect_ratio == Fraction(3, 4)
    with open_video(path) as source, open_video(tmp_path / "out.mov") as written:
        assert np.abs(shown(next(iter(source))).astype(int) - (shown(next(iter(written))) // 257)).mean() < 3


@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts", "clip.mov"])
def test_interlaced_footage_is_refused_deinterlaced_or_taken_as_it_is(tmp_path, name):
    options = {"codec": "prores_ks", "pixels": "yuv422p10le"} if name.endswith("mov") else {}
    if name.endswith("ts"):
        options |= {"time_base": Fraction(1, 90000), "pts": range(0, 3600 * 12, 3600)}
    path = footage.write_footage(tmp_path / name, interlaced=True, size=(64, 64), **options)
    with pytest.raises(InputError, match=name) as caught:
        open_video(path, interlaced="refuse")
    assert "--interlaced deinterlace" in str(caught.value.hint)

    with open_video(path) as source:
        taken = list(source)
        assert len(source.notes) == 1 and "12 frames" in source.notes[0]
    with open_video(path, interlaced="deinterlace") as source:
        made = list(source)
        assert len(source.notes) == 1 and "12 frames" in source.notes[0]
        assert source.lost is None
    assert [(frame.index, frame.pts) for frame in made] == [(frame.index, frame.pts) for frame in taken]
    assert len(made) == 12
    for before, after in zip(taken, made, strict=True):
        comb = [np.abs(np.diff(shown(each)[6:16, 6:16].astype(float), axis=0)).mean() for each in (before, after)]
        assert comb[1] < 0.4 * comb[0]  # the patch, of two levels in turn, has one
    with open_video(path, interlaced="deinterlace", first=4, last=8) as source:
        part = list(source)
        assert [note for note in source.notes if "5 frames" in note], "of the part alone"
    assert [frame.index for frame in part] == [4, 5, 6, 7, 8]
    assert all(one.rgb.equal(made[one.index].rgb) for one in part[1:])


def test_progressive_footage_passes_a_deinterlacer_untouched(tmp_path):
    path = footage.write_footage(tmp_path / "clip.mp4")
    with open_video(path) as source, open_video(path, interlaced="deinterlace") as made:
        assert all(one.rgb.equal(other.rgb) and one.pts == other.pts for one, other in zip(source, made, strict=True))


def end_to_end(runs, to):
    """The packets of clips of 25 frames a second in one transport stream."""
    with av.open(str(to), "w") as out, av.open(str(runs[0])) as first:
        stream = out.add_stream_from_template(first.streams.video[0])
        offset = 0
        for path in runs:
            with av.open(str(path)) as file:
                packets = [packet for packet in file.demux(video=0) if packet.size]
            begin = packets[0].dts
            for packet in packets:
                packet.pts += offset - begin
                packet.dts += offset - begin
                packet.stream = stream
                out.mux(packet)
            offset += len(packets) * 40
    return to


def test_fields_that_begin_after_a_while_are_found_or_told(tmp_path):
    options = {"codec": "mpeg2video", "time_base": Fraction(1, 25)}
    fields = footage.write_footage(tmp_path / "fields.mkv", pts=range(12), interlaced=True, **options)
    short = footage.write_footage(tmp_path / "short.mkv", pts=range(3), **options)
    long = footage.write_footage(tmp_path / "long.mkv", pts=range(24), **options)
    with pytest.raises(InputError, match=r"soon\.ts"):
        open_video(end_to_end([short, fields], tmp_path / "soon.ts"), interlaced="refuse")
    with open_video(end_to_end([long, fields], tmp_path / "late.ts"), interlaced="refuse") as source:
        assert len(list(source)) == len(footage.shown_times(tmp_path / "late.ts"))
        assert len(source.notes) == 1 and "12 frames" in source.notes[0]


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p10le", "yuva444p12le", "nv12", "uyvy422", "p010le"])
def test_a_deinterlacer_keeps_what_samples_mean(pixels):
    frames = []
    for stamp in range(3):
        frame = av.VideoFrame.from_ndarray(clips.picture(3), "rgb24").reformat(
            format=pixels, dst_colorspace=9, dst_color_range=1
        )
        frame.pts, frame.time_base = stamp, Fraction(1, 25)
        frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc = 9, 1, 9, 16
        frames.append(frame)
    taken = [RgbReader(64, 48)(frame).astype(int) for frame in frames]
    made = list(deinterlaced(frames, Fraction(1, 25)))
    assert [frame.pts for frame in made] == [0, 1, 2]
    for before, after in zip(taken, made, strict=True):
        assert (after.colorspace, after.color_range, after.color_primaries, after.color_trc) == (9, 1, 9, 16)
        assert np.abs(RgbReader(64, 48)(after).astype(int) - before).max() <= (32 if pixels == "yuva444p12le" else 0)


def test_the_command_refuses_and_deinterlaces(tmp_path, capsys):
    path = footage.write_footage(tmp_path / "clip.mp4", interlaced=True)
    command = [str(path), "-o", str(tmp_path / "out.mov"), *QUICK]
    assert main(command) == 2
    assert str(path) in capsys.readouterr().err
    assert not (tmp_path / "out.mov").exists()
    assert main([*command, "--interlaced", "deinterlace"]) == 0
    assert "12 frames" in capsys.readouterr().out
    assert footage.shown_times(tmp_path / "out.mov") == [Fraction(n, 25) for n in range(12)]


@pytest.mark.parametrize("size", [(65, 49), (63, 48), (64, 47)])
def test_odd_sizes_come_out_as_they_are(tmp_path, size):
    path = footage.write_footage(
        tmp_path / "clip.mkv",
        size=size,
        codec="ffv1",
        pixels="yuv444p",
        time_base=Fraction(1, 1000),
        pts=range(0, 200, 40),
    )
    for name, writer in (("out.mov", {}), ("out.webm", {}), ("matte.mov", {"content": "matte"})):
        footage.matted(path, tmp_path / name, writer=writer)
        with av.open(str(tmp_path / name)) as file:
            frame = next(file.decode(video=0))
            assert (frame.width, frame.height) == size
    _, writer = footage.matted(path, tmp_path / "out.mp4", writer={"background": "black"})
    even = tuple(each + each % 2 for each in size)
    assert f"{even[0]}×{even[1]}" in writer.description


def test_frames_of_another_size_are_scaled_and_told(tmp_path):
    parts = [clips.write_clip(tmp_path / f"{width}.ts", size=(width, 48)) for width in (64, 96)]
    joined = clips.end_to_end(*parts, tmp_path / "joined.ts")
    with open_video(joined) as source:
        shapes = {frame.rgb.shape for frame in source}
        assert shapes == {(3, 48, 64)}
        assert any(f"{clips.FRAMES} frames" in note for note in source.notes)
