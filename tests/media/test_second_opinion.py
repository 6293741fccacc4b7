"""Files that FFmpeg opens and describes wrongly, or not at all: read as they are, or told in a line."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import OpenEXR
import pytest
from support import clips, footage

import streammatte
from streammatte.cli.main import main
from streammatte.errors import InputError
from streammatte.media import open_video

pytestmark = pytest.mark.media

BARE = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu"]
BARE += ["--smooth", "off", "--colors", "off", "--decontaminate", "off"]
QUICK = [*BARE, "--quiet"]


def encode(out: av.container.OutputContainer, stream: Any, *frames: av.VideoFrame) -> None:
    for index, frame in enumerate(frames):
        frame.pts, frame.time_base = index, 1 / stream.codec_context.framerate
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def pictures(size: tuple[int, int], count: int = 12) -> list[av.VideoFrame]:
    return [av.VideoFrame.from_ndarray(clips.picture(index, size), "rgb24") for index in range(count)]


def add(
    out: av.container.OutputContainer, codec: str, size: tuple[int, int], *, rate: Any = 25, pixels: str = "yuv420p"
) -> Any:
    stream: Any = out.add_stream(codec, rate=rate)
    stream.width, stream.height, stream.pix_fmt = *size, pixels
    return stream


def write_dv(path: Path, *, ntsc: bool) -> Path:
    size, rate, pixels = ((720, 480), Fraction(30000, 1001), "yuv411p") if ntsc else ((720, 576), 25, "yuv420p")
    with av.open(str(path), "w", format="dv") as out:
        encode(out, add(out, "dvvideo", size, rate=rate, pixels=pixels), *pictures(size))
    return path


def write_pair(path: Path, *sizes: tuple[int, int], names: dict[int, str] | None = None) -> Path:
    """A video stream of each size; ``names`` are their handlers or titles."""
    with av.open(str(path), "w") as out:
        streams = [add(out, "libx264", size) for size in sizes]
        for place, name in (names or {}).items():
            streams[place].metadata["handler_name" if path.suffix in (".mov", ".mp4") else "title"] = name
        for stream, size in zip(streams, sizes, strict=True):
            encode(out, stream, *pictures(size, 5))
    return path


def told(path: Path | str, **options: Any) -> tuple[Any, str]:
    """What a source is once it has been read, and its notes."""
    with open_video(path, **options) as source:
        frames = list(source)
        return (source, len(frames), frames[0].rgb.permute(1, 2, 0).numpy()), " | ".join(source.notes)


# What takes the process down


def test_nothing_touches_the_side_data_of_frames():
    for file in Path(streammatte.__file__).parent.rglob("*.py"):
        code = "\n".join(
            line for line in file.read_text(encoding="utf-8").splitlines() if "PyAV has one way" not in line
        )
        assert ".side_data" not in code, file


def test_a_matrix_that_shows_nothing_turns_nothing(tmp_path: Path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as out:
        stream = add(out, "libx264", clips.SIZE)
        stream.set_display_matrix([0] * 8 + [1 << 30])
        encode(out, stream, *pictures(clips.SIZE, 3))
    (_, count, first), notes = told(path)
    assert (count, notes) == (3, "") and clips.index_of(first) == 0


# Rates and sizes


@pytest.mark.parametrize("ntsc", [False, True])
def test_raw_dv_has_the_rate_of_its_frames(tmp_path: Path, ntsc: bool):
    path = write_dv(tmp_path / "camcorder.dv", ntsc=ntsc)
    rate = Fraction(30000, 1001) if ntsc else Fraction(25)
    (source, count, _), notes = told(path)
    assert (source.info.frame_rate, source.info.frame_count, count) == (rate, 12, 12)
    assert "60000" in notes and f"{float(rate):.6g}" in notes
    for name in ("out.mov", "out.mp4"):
        footage.matted(path, tmp_path / name, writer={"background": "green"})
        with av.open(str(tmp_path / name)) as file:
            stream = file.streams.video[0]
            assert abs(stream.average_rate - rate) < Fraction(1, 100)
            assert sum(1 for _ in file.decode(stream)) == 12


def test_a_rate_that_even_packets_contradict_is_not_believed(tmp_path: Path):
    path = tmp_path / "clip.mkv"
    clips.write_clip(path, pts=[256 * index for index in range(40)], b_frames=0)  # DefaultDuration says 25
    (source, _, _), notes = told(path)
    assert source.info.frame_rate == 50 and "25" in notes and "50" in notes


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_frames_at_times_of_their_own_are_no_contradiction(tmp_path: Path, suffix: str):
    path = clips.write_clip(tmp_path / f"clip.{suffix}", pts=clips.VARIABLE_PTS)
    (source, count, _), notes = told(path)
    assert count == 12 and not notes and source.info.frame_rate <= 25


def test_one_colour_is_told_of_data_that_are_not_small(tmp_path: Path):
    flat = np.full((144, 176, 3), 77, np.uint8)
    for codec, suffix, pixels in (("rawvideo", "avi", "yuv420p"), ("libx264", "mp4", "yuv420p")):
        path = tmp_path / f"flat.{suffix}"
        with av.open(str(path), "w") as out:
            frames = [av.VideoFrame.from_ndarray(flat, "rgb24") for _ in range(3)]
            encode(out, add(out, codec, (176, 144), pixels=pixels), *frames)
        _, notes = told(path)
        assert bool(notes) == (codec == "rawvideo")


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_a_time_half_a_day_ahead_is_damage(tmp_path: Path, kind: str):
    """One flipped bit of a transport stream's clock; FFmpeg's MOV muxer aborts over it."""
    whole = clips.write_clip(
        tmp_path / "whole.ts", pts=range(12), time_base=Fraction(1, 25), codec="mpeg2video", audio="mp2"
    )
    data = bytearray(whole.read_bytes())
    begins = [
        at for at in range(len(data)) if data.startswith(b"\0\0\1" + (b"\xe0" if kind == "video" else b"\xc0"), at)
    ]
    data[begins[len(begins) // 2] + 9] ^= 0x08  # the clock's highest bit
    path, out = tmp_path / "clip.ts", tmp_path / "out.mov"
    path.write_bytes(data)
    footage.matted(path, out)
    with av.open(str(out)) as file:
        assert file.duration is not None and file.duration < 1e6
        assert sum(1 for _ in file.decode(video=0)) == 12


# Which stream is the picture


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("name", ["Depth.mov", "alpha channel.mkv"])
def test_alpha_and_depth_by_name_never_win(tmp_path: Path, place: int, name: str):
    title, suffix = name.split(".")
    path = write_pair(tmp_path / f"clip.{suffix}", (64, 48), (64, 48), names={place: title})
    (source, _, _), notes = told(path)
    assert f"stream {1 - place} " in notes and f"{place} (64×48" in notes
    assert source.info.width == 64


@pytest.mark.parametrize("place", [0, 1])
def test_an_auxiliary_track_never_wins(tmp_path: Path, place: int):
    path = write_pair(tmp_path / "clip.mov", (64, 48), (48, 32))
    data = path.read_bytes()
    handlers = [at for at in range(len(data)) if data.startswith(b"mhlrvide", at)]
    at = handlers[place]
    path.write_bytes(data[:at] + b"mhlrauxv" + data[at + 8 :])
    (source, _, _), notes = told(path)
    assert source.info.width == (48 if place == 0 else 64) and notes


@pytest.mark.parametrize("sizes", [((64, 48), (16, 16)), ((16, 16), (64, 48))])
def test_a_preview_never_wins(tmp_path: Path, sizes: tuple[tuple[int, int], tuple[int, int]]):
    path = write_pair(tmp_path / "clip.mp4", *sizes)
    (source, _, _), notes = told(path)
    assert source.info.width == 64 and "16×16" in notes


def test_a_cover_is_left_out_and_told(tmp_path: Path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as out:
        main_stream = add(out, "libx264", (64, 48))
        cover = add(out, "mjpeg", (640, 480), pixels="yuvj420p")
        cover.disposition = av.stream.Disposition.attached_pic
        encode(out, main_stream, *pictures((64, 48), 5))
        encode(out, cover, *pictures((640, 480), 1))
    (source, count, _), notes = told(path)
    assert (source.info.width, count) == (64, 5) and "1 cover" in notes


# Tags and tracks that do not matter

ALPHABETS = {"cp1251": "Привет", "shift-jis": "日本語", "latin-1": "Größe é"}


@pytest.mark.parametrize(
    ("suffix", "encoding"), [("mp4", "cp1251"), ("mov", "shift-jis"), ("mkv", "latin-1"), ("avi", "cp1251")]
)
def test_tags_in_any_alphabet_open(tmp_path: Path, suffix: str, encoding: str):
    path = tmp_path / f"clip.{suffix}"
    word = ALPHABETS[encoding].encode(encoding)
    mark, mark_of_sound = "T" * len(word), "U" * len(word)
    options = {"write_crc32": "0"} if suffix == "mkv" else {}
    with av.open(str(path), "w", container_options=options) as out:
        out.metadata["title"] = mark
        video = add(out, "mpeg4" if suffix == "avi" else "libx264", (64, 48))
        sound: Any = out.add_stream("mp3" if suffix == "avi" else "aac", rate=48000, layout="stereo")
        video.metadata["title"] = video.metadata["handler_name"] = mark
        sound.metadata["title"] = sound.metadata["handler_name"] = mark_of_sound
        sound.metadata["language"] = "ger"
        encode(out, video, *pictures((64, 48), 5))
        for frame in clips.tone(0.2, sound):
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    data = path.read_bytes()
    assert data.count(mark.encode())
    path.write_bytes(data.replace(mark.encode(), word).replace(mark_of_sound.encode(), word))
    with pytest.raises(UnicodeDecodeError), av.open(str(path)):
        pass  # as PyAV is by itself
    for out in ("out.mov", "out.webm", "out.mkv"):
        footage.matted(path, tmp_path / out)
        with av.open(str(tmp_path / out)) as file:
            assert sum(1 for _ in file.decode(video=0)) == 5 and len(file.streams.audio) == 1


def test_data_tracks_are_left_out_and_told(tmp_path: Path):
    path = footage.write_footage(tmp_path / "clip.mov", timecode="01:00:00:00")
    whole = path.read_bytes().replace(b"mhlrtmcd", b"mhlrmeta").replace(b"TimeCodeHandler", b"GoPro MET      ")
    for kind in (b"gpmd", b"camm", b"xyz1"):
        path.write_bytes(whole.replace(b"tmcd", kind))
        (source, count, _), notes = told(path)
        assert count == 12 and source.info.timecode is None and "GoPro MET" in notes
    footage.matted(path, tmp_path / "out.mov")


def test_a_timecode_track_is_carried_and_not_called_left_out(tmp_path: Path):
    _, notes = told(footage.write_footage(tmp_path / "clip.mov", timecode="01:00:00:00"))
    assert "01:00:00:00" in notes and "|" not in notes


# Timecode of EXR

CODES = [
    (Fraction(25), "01:00:00:23", ["01:00:00:23", "01:00:00:24", "01:00:01:00"]),
    (Fraction(30000, 1001), "00:00:59;28", ["00:00:59;28", "00:00:59;29", "00:01:00;02"]),
    (Fraction(50), "10:00:00:48", ["10:00:00:48", "10:00:00:49", "10:00:01:00"]),
    (Fraction(60000, 1001), "00:00:59;58", ["00:00:59;58", "00:00:59;59", "00:01:00;04"]),
]


@pytest.mark.parametrize(("rate", "start", "expected"), CODES)
def test_timecode_goes_into_exr_and_comes_back(tmp_path: Path, rate: Fraction, start: str, expected: list[str]):
    base = Fraction(rate.denominator, rate.numerator)
    path = footage.write_footage(
        tmp_path / "clip.mov", timecode=start, rate=rate, time_base=base, pts=range(3), lasts=[1, 1, 1]
    )
    footage.matted(path, tmp_path / "out.####.exr")
    found = []
    for number in (1, 2, 3):
        (source, _, _), _ = told(tmp_path / f"out.{number:04}.exr")
        found.append(source.info.timecode)
        assert source.info.frame_rate == rate
    assert found == expected
    footage.matted(tmp_path / "out.####.exr", tmp_path / "back.mov", first=expected[1])
    (source, count, _), _ = told(tmp_path / "back.mov")
    assert (source.info.timecode, count) == (expected[1], 2)


def test_exr_of_more_than_60_frames_says_that_it_has_no_timecode(tmp_path: Path):
    path = footage.write_footage(
        tmp_path / "clip.mov",
        timecode="01:00:00:00",
        rate=Fraction(120),
        time_base=Fraction(1, 120),
        pts=[0],
        lasts=[1],
    )
    _, writer = footage.matted(path, tmp_path / "out.####.exr")
    assert "01:00:00:00" in writer.description
    (source, _, _), _ = told(tmp_path / "out.0001.exr")
    assert source.info.timecode is None


# Alpha of the input and of the background


def rgba(index: int) -> np.ndarray:
    """(H, W, 4): white alpha at the left, grey in the middle, black at the right."""
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:, :24], alpha[:, 24:40] = 255, 128
    return np.dstack([clips.picture(index), alpha])


def video(codec: str, pixels: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with av.open(str(path), "w") as out:
            stream = add(out, codec, clips.SIZE, pixels=pixels)
            if codec == "libvpx-vp9":
                stream.options = {"auto-alt-ref": "0", "crf": "10"}
            frames = [av.VideoFrame.from_ndarray(rgba(index), "rgba").reformat(format=pixels) for index in range(2)]
            encode(out, stream, *frames)

    return write


def write_png(path: Path) -> None:
    deep = cv2.cvtColor(rgba(0), cv2.COLOR_RGBA2BGRA).astype(np.uint16) * 257
    cv2.imwrite(str(path), deep)


def write_exr(path: Path) -> None:
    header = {"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION}
    with OpenEXR.File(header, {"RGBA": (rgba(0) / 255).astype(np.float16)}) as file:
        file.write(str(path))


WITH_ALPHA = {
    "a.mov": video("prores_ks", "yuva444p10le"),
    "a.webm": video("libvpx-vp9", "yuva420p"),
    "a.png": write_png,
    "a.exr": write_exr,
}


@pytest.mark.parametrize("name", WITH_ALPHA)
def test_alpha_of_the_input_is_told_or_used(tmp_path: Path, name: str, capsys: Any):
    path = tmp_path / name
    WITH_ALPHA[name](path)

    def matte(use: str) -> np.ndarray:
        given = [str(path), "--matte", str(tmp_path / "m.####.png"), "--overwrite", "--input-alpha", use]
        assert main([*given, *BARE]) == 0
        picture = cv2.imread(str(tmp_path / "m.0001.png"), cv2.IMREAD_UNCHANGED)
        return picture / np.iinfo(picture.dtype).max

    bare = matte("ignore")
    told_of_it = "alpha" in capsys.readouterr().out.replace(str(tmp_path), "")
    core, garbage = matte("core"), matte("garbage")
    assert told_of_it
    assert bare.max() < 0.5
    assert (core[:, :24] == 1).all() and np.abs(core[:, 26:38] - 0.5).max() < 0.02
    assert np.array_equal(core[:, 42:], bare[:, 42:])
    assert (garbage[:, 42:] == 0).all() and np.array_equal(garbage[:, :22], bare[:, :22])
    assert np.abs(garbage[:, 26:38] - bare[:, 26:38] / 2).max() < 0.02


def test_alpha_that_is_not_there_cannot_be_used(tmp_path: Path, capsys: Any):
    path = clips.write_clip(tmp_path / "clip.mp4")
    assert main([str(path), "-o", str(tmp_path / "out.mov"), "--input-alpha", "core", *QUICK]) == 2
    said = capsys.readouterr().err
    assert "--input-alpha" in said and str(path) in said
    assert not (tmp_path / "out.mov").exists()


# Numbers that do not fit


def write_numbers(folder: Path, *names: str) -> Path:
    for name in names:
        cv2.imwrite(str(folder / f"shot.{name}.png"), clips.picture(int(name) % 14))
    return folder / "shot.####.png"


def test_numbers_without_padding_are_one_sequence(tmp_path: Path):
    (source, count, first), notes = told(write_numbers(tmp_path, "998", "999", "1000", "1001"))
    assert (count, source.first_number, notes) == (4, 998, "")
    assert clips.index_of(first) == 998 % 14


def test_a_number_padded_otherwise_is_left_out_and_told(tmp_path: Path):
    (_, count, _), notes = told(write_numbers(tmp_path, "0001", "0002", "3", "00004"))
    assert count == 2 and "shot.3.png and 1 more" in notes


def test_a_gap_and_a_pattern_that_nothing_fits_are_errors(tmp_path: Path):
    pattern = write_numbers(tmp_path, "998", "1000")
    with pytest.raises(InputError, match=r"shot\.0999\.png"):
        told(pattern)
    with pytest.raises(InputError, match="######") as found:
        told(tmp_path / "shot.######.png")
    assert found.value.hint is not None and "shot.998.png" in found.value.hint


# Other kinds


def test_interlaced_mpeg_2_is_refused_or_deinterlaced(tmp_path: Path):
    path = footage.write_footage(
        tmp_path / "clip.mpg", codec="mpeg2video", time_base=Fraction(1, 25), pts=range(6), interlaced=True
    )
    with pytest.raises(InputError, match=r"clip\.mpg"):
        told(path, interlaced="refuse")
    (source, count, _), notes = told(path, interlaced="deinterlace")
    assert (count, source.info.frame_rate) == (6, 25) and "6 frames" in notes


def test_mxf(tmp_path: Path):
    path = tmp_path / "clip.mxf"
    with av.open(str(path), "w") as out:
        encode(out, add(out, "mpeg2video", (64, 48), pixels="yuv422p"), *pictures((64, 48)))
    (source, count, first), _ = told(path)
    assert (count, source.info.frame_rate, source.info.frame_count) == (12, 25, 12)
    assert clips.index_of(first) == 0


def test_sound_first_at_48_khz(tmp_path: Path):
    path = tmp_path / "clip.mov"
    with av.open(str(path), "w") as out:
        sound: Any = out.add_stream("pcm_s16le", rate=48000, layout="stereo")
        stream = add(out, "libx264", (64, 48))
        for frame in clips.tone(0.48, sound):
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
        encode(out, stream, *pictures((64, 48)))
    (source, count, _), notes = told(path)
    assert (count, source.info.frame_rate, source.lost, notes) == (12, 25, None, "")
    footage.matted(path, tmp_path / "out.mov")
    with av.open(str(tmp_path / "out.mov")) as file:
        assert sum(frame.samples for frame in file.decode(audio=0)) == 23040


def test_one_frame(tmp_path: Path):
    path = clips.write_clip(tmp_path / "clip.mp4", pts=[0])
    (source, count, _), notes = told(path)
    assert (count, source.info.frame_count, source.info.frame_rate, notes) == (1, 1, 25, "")
    for out in ("out.mov", "out.png"):
        footage.matted(path, tmp_path / out)


def test_an_edit_list_hides_frames(tmp_path: Path):
    whole = clips.write_clip(tmp_path / "whole.mp4", b_frames=0)
    path = tmp_path / "clip.mp4"
    with av.open(str(whole)) as file, av.open(str(path), "w", options={"use_editlist": "1"}) as out:
        stream = out.add_stream_from_template(file.streams.video[0])
        for packet in file.demux(video=0):
            if packet.size:
                packet.pts -= 2 * 512
                packet.dts -= 2 * 512
                packet.stream = stream
                out.mux(packet)
    (source, count, first), notes = told(path)
    assert source.lost is None and not notes
    assert clips.index_of(first) == 12 - count


NAMES = ["100% sure", "take #2", "take:3", 'it\'s "quoted"', "back\\slash", "-dash", "new\nline 🔥 שלום", "x" * 200]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_an_input_an_output_a_background_and_a_matte(tmp_path: Path, name: str, monkeypatch: Any):
    made = clips.write_clip(tmp_path / "made.mp4", pts=clips.even_pts(3))
    folder = tmp_path / "names"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path(f"{name}.mp4").write_bytes(made.read_bytes())
    _, png = cv2.imencode(".png", np.full((48, 64, 3), 255, np.uint8))
    Path(f"{name}.png").write_bytes(png.tobytes())
    here = f"./{name}" if name.startswith("-") else name
    given = [f"{here}.mp4", "-o", f"{here}.mov", "-o", f"{here} over.mp4", "--bg", f"{here}.png"]
    assert main([*given, "--core-matte", f"{here}.png", *QUICK]) == 0
    for out in (f"{name}.mov", f"{name} over.mp4"):
        with Path(out).open("rb") as data, av.open(data) as file:
            assert sum(1 for _ in file.decode(video=0)) == 3


def test_the_alpha_of_the_layer_that_is_read_is_the_one_that_counts(tmp_path: Path) -> None:
    clear, solid = np.zeros((96, 128), np.float32), np.ones((96, 128), np.float32)
    colors = {name: np.full((96, 128), 0.2, np.float32) for name in "RGB"}
    key = {f"key.{name}": plane for name, plane in (*colors.items(), ("A", solid))}
    with OpenEXR.File({}, {**colors, "A": clear, **key}) as file:
        file.write(str(tmp_path / "in.exr"))
    given = [str(tmp_path / "in.exr"), "--matte", str(tmp_path / "out.png"), "--layer", "key"]
    assert main([*given, "--input-alpha", "core", *QUICK]) == 0
    matte = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert matte.min() == np.iinfo(matte.dtype).max


def test_notes_are_known_after_closing(tmp_path: Path) -> None:
    path = write_pair(tmp_path / "two.mkv", (128, 96), (64, 48))
    with open_video(path) as source:
        before = source.notes
    assert source.notes == before and len(before) == 1


def test_a_picture_that_ffmpeg_reads_from_an_address_is_told(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), clips.picture(1))
    with open_video(f"file://{tmp_path / 'in.png'}") as source:
        assert len(source.notes) == 1
