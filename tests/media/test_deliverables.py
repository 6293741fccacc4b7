"""What each next program wants: lossless video, pairs, EXR and TIFF, the alpha's convention, the whole set at once."""

import itertools
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import OpenEXR
import pytest
import tifffile
import torch
from support import clips
from support.writing import alpha_for, cutouts, decoded, info_for, plane, rgb_of, write

from streammatte.cli.main import main
from streammatte.color.codes import BT709, LINEAR, SRGB
from streammatte.color.linear import from_linear, to_linear
from streammatte.errors import DecodeFailed, InputError, UnsupportedOutput
from streammatte.frame import ColorSpec, Cutout, Frame, StreamInfo
from streammatte.media import open_video, open_writer
from streammatte.stages import estimate_foreground

pytestmark = pytest.mark.media

RGB = info_for(color=ColorSpec(True, 0, 2, 2, 8))
LIGHT = info_for(color=ColorSpec(True, 0, 9, LINEAR, 32))
QUICK = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu", "--offline", "--smooth", "off", "--quiet"]


def light(seed=0, peak=12.0):
    """A picture in linear light, mostly in [0, 1], with highlights up to ``peak``."""
    rng = np.random.default_rng(seed)
    rgb = rng.random((48, 64, 3), np.float32)
    rgb[10:20, 30:40] *= peak
    return rgb


def lit_cutouts(alpha=None):
    for index in range(3):
        rgb = torch.from_numpy(light(index)).permute(2, 0, 1)
        yield Cutout(Frame(rgb, index, index), alpha_for(index) if alpha is None else alpha)


def exr(path):
    with OpenEXR.File(str(path)) as file:
        return dict(file.header()), {name: channel.pixels for name, channel in file.channels().items()}


# Lossless video


@pytest.mark.parametrize(("bits", "pixels"), [(None, "rgba"), (8, "rgba"), (16, "rgba64be")])
def test_png_in_mov_is_exact(tmp_path, bits, pixels):
    write(tmp_path / "out.mov", codec="png", bits=bits)
    frames = decoded(tmp_path / "out.mov")
    assert len(frames) == clips.FRAMES
    for index, frame in enumerate(frames):
        assert frame.format.name == pixels
        found = frame.to_ndarray().astype(int)
        peak = 2 ** (bits or 8) - 1
        assert np.array_equal(found[..., :3], clips.picture(index).astype(int) * (peak // 255))
        assert np.array_equal(found[..., 3], np.rint(alpha_for(index).numpy() * np.float32(peak)))


def test_ffv1_of_an_rgb_source_is_exact(tmp_path):
    write(tmp_path / "out.mkv", RGB)
    for index, frame in enumerate(decoded(tmp_path / "out.mkv")):
        found = frame.to_ndarray()
        assert frame.format.name == "gbrap16le"
        assert np.array_equal(found[..., :3], clips.picture(index).astype(np.uint16) * 257)
        assert np.array_equal(found[..., 3], np.rint(alpha_for(index).numpy() * np.float32(65535)))


@pytest.mark.parametrize(
    ("depth", "bits", "pixels"), [(8, None, 10), (10, None, 10), (12, None, 12), (14, None, 16), (8, 8, 8)]
)
def test_ffv1_has_the_depth_and_the_tags_of_its_source(tmp_path, depth, bits, pixels):
    write(
        tmp_path / "out.mkv", info_for(color=ColorSpec(matrix=9, primaries=9, transfer=14, bit_depth=depth)), bits=bits
    )
    frame = decoded(tmp_path / "out.mkv")[4]
    assert frame.format.name == ("yuva444p" if pixels == 8 else f"yuva444p{pixels}le")
    assert (int(frame.color_range), int(frame.colorspace), int(frame.color_primaries), int(frame.color_trc)) == (
        1,
        9,
        9,
        14,
    )
    peak = 2**pixels - 1
    assert np.array_equal(plane(frame, 3), np.rint(alpha_for(4).numpy() * np.float32(peak)))


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_an_ffv1_matte_is_the_alpha_to_half_a_step(tmp_path, bits):
    write(tmp_path / "out.mkv", content="matte", bits=bits)
    with open_video(tmp_path / "out.mkv") as source:
        for index, cutout in enumerate(source.cutouts()):
            assert (cutout.alpha - alpha_for(index)).abs().max() <= 0.501 / (2**bits - 1)


@pytest.mark.parametrize(("name", "bits"), [("out.mp4", 8), ("out.mov", 10)])
def test_a_lossy_matte_has_the_depth_of_its_codec(tmp_path, name, bits):
    write(tmp_path / name, content="matte", quality="best")
    frame = decoded(tmp_path / name)[3]
    assert frame.format.components[0].bits == bits
    with open_video(tmp_path / name) as source:
        worst = max(float((cutout.alpha - alpha_for(n)).abs().max()) for n, cutout in enumerate(source.cutouts()))
    assert worst < 0.02


# Quality


@pytest.mark.parametrize(
    ("name", "options"),
    [("o.mov", {}), ("o.mov", {"codec": "prores4444xq"}), ("o.webm", {}), ("o.mp4", {"background": "red"})],
)
def test_quality_is_better_pictures_for_more_bytes(tmp_path, name, options):
    rng = np.random.default_rng(1)
    noise = cv2.GaussianBlur(rng.integers(0, 256, (96, 128, 3), np.uint8), (0, 0), 1)
    made = [
        Cutout(Frame(torch.from_numpy(np.roll(noise, n, 0)).permute(2, 0, 1), 512 * n, n), torch.ones(96, 128))
        for n in range(4)
    ]
    sizes, errors = [], []
    for quality in ("draft", "standard", "best"):
        write(tmp_path / name, info_for((128, 96)), made, quality=quality, overwrite=True, **options)
        sizes.append((tmp_path / name).stat().st_size)
        found = rgb_of(tmp_path / name)[3]
        errors.append(np.abs(found * (255 / np.iinfo(found.dtype).max) - np.roll(noise, 3, 0)).mean())
    assert sizes == sorted(set(sizes))
    assert errors == sorted(set(errors), reverse=True)


@pytest.mark.parametrize("codec", ["prores4444", "prores4444xq"])
def test_prores_keeps_alpha_exactly_even_as_a_draft(tmp_path, codec):
    write(tmp_path / "out.mov", quality="draft", codec=codec)
    with av.open(str(tmp_path / "out.mov")) as file:
        assert file.streams.video[0].codec_context.codec_tag == {"prores4444": "ap4h", "prores4444xq": "ap4x"}[codec]
    for index, frame in enumerate(decoded(tmp_path / "out.mov")):
        assert np.abs(plane(frame, 3) / 4095 * 1023 - np.rint(alpha_for(index).numpy() * 1023)).max() < 0.5


# Fill and matte


@pytest.mark.parametrize("name", ["out.mov", "out.mkv", "out.####.png", "out.####.exr"])
def test_the_fill_is_the_straight_colours_without_alpha(tmp_path, name):
    made = [replace(cutout, foreground=torch.full((3, 48, 64), 0.5)) for cutout in cutouts()]
    write(tmp_path / name, made=made, content="foreground", alpha="premultiplied")
    with open_video(tmp_path / name) as source:
        assert not source.has_alpha
        for frame in source:
            expected = to_linear(np.float32([0.5]), BT709)[0] if name.endswith("exr") else 0.5
            assert (frame.as_float() - float(expected)).abs().max() < 0.003


@pytest.mark.parametrize("size", [(64, 48), (65, 49)])
@pytest.mark.parametrize("layout", ["above", "beside"])
@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.####.png"])
def test_a_pair_is_fill_and_matte_in_halves_of_even_size(tmp_path, name, layout, size):
    width, height = size
    half = torch.cat([torch.ones(height, 32), torch.zeros(height, width - 32)], 1)
    made = [Cutout(cutout.frame, half) for cutout in cutouts(size=size)]
    write(tmp_path / name, info_for(size), made, content=layout, quality="best")
    rows, columns = height + height % 2, width + width % 2
    shapes, second = (2 * rows, columns) if layout == "above" else (rows, 2 * columns), (rows, 0)
    top, left = second if layout == "above" else (0, columns)
    for index, rgb in enumerate(rgb_of(tmp_path / name)):
        assert rgb.shape[:2] == shapes
        fill = rgb[:height, :width] * (255 / np.iinfo(rgb.dtype).max)
        assert np.abs(fill - clips.picture(index, size)).mean() < 3
    if name.endswith("png"):
        greys = [rgb[..., 1].astype(float) for rgb in rgb_of(tmp_path / name)]
    else:  # of its luma: players interpolate chroma over the seam
        frames = decoded(tmp_path / name)
        unit = 2 ** (frames[0].format.components[0].bits - 8)
        greys = [(plane(frame, 0) / unit - 16) * 255 / 219 for frame in frames]
    for grey in greys:
        matte = grey[top : top + height, left : left + width]
        assert np.abs(matte[:, :28] - 255).max() <= 3
        assert np.abs(matte[:, 36:]).max() <= 3


# EXR


@pytest.mark.parametrize("compression", ["zip", "piz"])
def test_exr_in_float_gives_back_every_bit_of_the_light(tmp_path, compression):
    write(tmp_path / "out.####.exr", LIGHT, lit_cutouts(), bits=32, alpha="straight", compression=compression)
    with open_video(tmp_path / "out.####.exr") as source:
        assert source.info.color == LIGHT.color
        for index, cutout in enumerate(source.cutouts()):
            assert cutout.frame.rgb.dtype == torch.float32
            assert np.array_equal(cutout.frame.rgb.permute(1, 2, 0).numpy(), light(index))
            assert torch.equal(cutout.alpha, alpha_for(index))


@pytest.mark.parametrize("compression", ["zip", "dwaa", "dwab"])
def test_exr_is_premultiplied_in_linear_light_by_itself(tmp_path, compression):
    writer = write(tmp_path / "out.####.exr", LIGHT, lit_cutouts(), compression=compression)
    assert "half" in writer.description and "premultiplied" in writer.description
    header, channels = exr(tmp_path / "out.0002.exr")
    rgba = channels["RGBA"]
    assert rgba.dtype == np.float16
    assert np.array_equal(rgba[..., 3], alpha_for(1).numpy().astype(np.float16))
    expected = light(1) * alpha_for(1).numpy()[..., None]
    close = 0.001 if compression == "zip" else 0.1
    assert np.abs(rgba[..., :3].astype(np.float32) - expected).max() <= close * expected.max()
    assert header["comments"] == "premultiplied alpha"
    assert header["framesPerSecond"] == clips.RATE
    assert header["chromaticities"] == pytest.approx(
        (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290), abs=1e-4
    )


def test_exr_of_video_is_made_linear_by_the_videos_own_curve(tmp_path):
    write(tmp_path / "out.####.exr", info_for(color=ColorSpec(matrix=1, transfer=1)), bits=32, alpha="straight")
    _, channels = exr(tmp_path / "out.0006.exr")
    signal = from_linear(channels["RGBA"][..., :3], BT709)
    assert np.abs(signal * 255 - clips.picture(5)).max() < 1e-3


def test_a_matte_in_exr_is_luminance_alone(tmp_path):
    write(tmp_path / "out.####.exr", content="matte", bits=32)
    _, channels = exr(tmp_path / "out.0003.exr")
    assert list(channels) == ["Y"]
    assert np.array_equal(channels["Y"], alpha_for(2).numpy())


def test_light_is_written_to_video_and_png_as_screens_show_it(tmp_path):
    made = list(lit_cutouts(torch.ones(48, 64)))
    write(tmp_path / "out.####.png", LIGHT, made, bits=16)
    write(tmp_path / "out.mov", LIGHT, made, quality="best")
    found = cv2.imread(str(tmp_path / "out.0002.png"), cv2.IMREAD_UNCHANGED)[..., 2::-1] / 65535
    assert np.abs(found - from_linear(light(1), SRGB).clip(0, 1)).max() < 1e-4  # above 1 it is white, and wraps nowhere
    frame = decoded(tmp_path / "out.mov")[1]
    assert int(frame.color_trc) == BT709
    shown = from_linear(light(1), BT709).clip(0, 1)[12:18, 32:38]
    assert np.abs(rgb_of(tmp_path / "out.mov")[1][12:18, 32:38] / 65535 - shown).mean() < 0.03


def test_a_comp_in_exr_is_the_comp_that_players_show(tmp_path):
    write(tmp_path / "out.####.png", background="white", bits=16)
    write(tmp_path / "out.####.exr", background="white", bits=32)
    _, channels = exr(tmp_path / "out.0004.exr")
    shown = cv2.imread(str(tmp_path / "out.0004.png"), cv2.IMREAD_UNCHANGED)[..., ::-1] / 65535
    assert np.abs(from_linear(channels["RGB"], BT709) - shown).max() < 1e-4


def test_a_curve_that_is_named_decides_over_a_tag(tmp_path):
    source = clips.write_clip(tmp_path / "clip.mp4", pts=clips.even_pts(1), b_frames=0)
    for named, transfer in (("linear", LINEAR), ("srgb", SRGB)):
        asked = ["-o", str(tmp_path / f"{named}.####.exr"), "--alpha", "straight", "--bits", "32"]
        assert main([str(source), *asked, "--decontaminate", "off", "--input-transfer", named, *QUICK]) == 0
        _, channels = exr(tmp_path / f"{named}.0001.exr")
        shown = from_linear(channels["RGBA"][..., :3], transfer)
        assert np.abs(shown * 255 - rgb_of(source)[0]).max() < 1e-3


def save(path, channels, **header):
    with OpenEXR.File(
        {"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION, **header}, channels
    ) as file:
        file.write(str(path))


def test_the_data_window_lies_in_the_display_window(tmp_path):
    part = np.full((4, 6, 4), 0.5, np.float32)
    corners = {"dataWindow": ((-2, 3), (3, 6)), "displayWindow": ((0, 0), (9, 7)), "pixelAspectRatio": 2.0}
    save(tmp_path / "a.exr", {"RGBA": part}, framesPerSecond=Fraction(25), **{k: v for k, v in corners.items()})
    with open_video(tmp_path / "a.exr") as source:
        cutout = next(source.cutouts())
        info = source.info
    assert (info.width, info.height, info.pixel_aspect, info.frame_rate) == (10, 8, 2, 25)
    expected = torch.zeros(8, 10)
    expected[3:7, :4] = 0.5
    assert torch.equal(cutout.alpha, expected)
    assert torch.equal(cutout.frame.rgb, (2 * expected).expand(3, 8, 10))  # premultiplied as stored, straight as read


def test_what_is_no_number_in_an_exr_does_not_spread(tmp_path):
    rgb = light()
    rgb[5, 5], rgb[6, 6] = np.nan, np.inf
    save(tmp_path / "a.exr", {"RGB": rgb})
    with open_video(tmp_path / "a.exr") as source:
        found = next(iter(source)).rgb
    assert bool(found.isfinite().all())
    assert float(found[0, 5, 5]) == 0 and float(found[0, 6, 6]) == 65504


def test_exr_files_that_cannot_be_read(tmp_path):
    save(tmp_path / "depth.exr", {"Z": np.ones((4, 4), np.float32)})
    save(tmp_path / "whole.exr", {"RGB": light()})
    data = (tmp_path / "whole.exr").read_bytes()
    (tmp_path / "cut.exr").write_bytes(data[: len(data) // 2])
    (tmp_path / "none.exr").write_bytes(b"")
    for name in ("depth", "cut", "none"):
        with pytest.raises(DecodeFailed, match=name) as caught:
            open_video(tmp_path / f"{name}.exr")
        assert caught.value.hint
    with open_video(tmp_path / "whole.exr") as source, pytest.raises(InputError, match="whole"):
        next(source.cutouts())


def test_highlights_pass_the_whole_command(tmp_path):
    for number in (1001, 1002):
        save(tmp_path / f"plate.{number}.exr", {"RGB": light(number)}, framesPerSecond=Fraction(24000, 1001))
    assert (
        main(
            [
                str(tmp_path / "plate.####.exr"),
                "-o",
                str(tmp_path / "cut.####.exr"),
                "--bits",
                "32",
                "--alpha",
                "straight",
                *QUICK,
            ]
        )
        == 0
    )
    for number in (1001, 1002):
        header, channels = exr(tmp_path / f"cut.{number}.exr")
        solid = channels["RGBA"][..., 3] == 1
        assert np.array_equal(channels["RGBA"][solid][:, :3], light(number)[solid])
        assert np.isfinite(channels["RGBA"]).all()
        assert header["framesPerSecond"] == Fraction(24000, 1001)


def test_the_foreground_of_light_is_not_cut_off_at_one():
    rgb = torch.full((3, 64, 64), 5.0)
    alpha = (torch.arange(64) / 63).expand(64, 64).contiguous()
    mixed = rgb * alpha  # over black
    assert (estimate_foreground(mixed, alpha)[:, :, 32:] - 5).abs().max() < 0.5


def test_curves_have_inverses():
    for transfer in [1, 4, 5, 6, 8, 13, 14, 15, 16, 18]:
        signal = np.linspace(0, 1, 1001, dtype=np.float32)
        there = to_linear(signal, transfer)
        assert bool((np.diff(there) >= 0).all())
        assert np.abs(from_linear(there, transfer) - signal).max() < 2e-4


def test_curves_are_those_of_their_standards():
    for transfer, signal, expected in [
        (13, 0.5, 0.21404),  # IEC 61966-2-1
        (1, 0.5, 0.25972),  # BT.709, item 1.2: ((0.5 + 0.099) / 1.099) ** (1 / 0.45)
        (16, 0.58069, 1.0),  # BT.2408: 203 cd/m² are 58 %
        (18, 0.75, 1.0),  # BT.2408: 75 %
    ]:
        assert float(to_linear(np.float32([signal]), transfer)[0]) == pytest.approx(expected, rel=2e-3)


# TIFF


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("alpha", ["straight", "premultiplied"])
def test_tiff_says_what_its_alpha_is(tmp_path, bits, alpha):
    write(tmp_path / "out.####.tif", bits=bits, alpha=alpha)
    peak = 2**bits - 1
    with tifffile.TiffFile(tmp_path / "out.0004.tif") as file:
        page = file.pages[0]
        assert page.tags["ExtraSamples"].value == ((2,) if alpha == "straight" else (1,))
        found = page.asarray().astype(int)
    assert np.array_equal(found[..., 3], np.rint(alpha_for(3).numpy() * np.float32(peak)))
    colour = clips.picture(3) / 255 * (1 if alpha == "straight" else alpha_for(3).double().numpy()[..., None])
    assert np.abs(found[..., :3] / peak - colour).max() <= 1 / peak
    with open_video(tmp_path / "out.####.tif") as source:
        assert source.has_alpha and source.info.color.bit_depth == bits


# The alpha's convention


@pytest.mark.parametrize("alpha", ["straight", "premultiplied"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("out.mov", {}),
        ("out.mov", {"codec": "png"}),
        ("out.webm", {"quality": "best"}),
        ("out.mkv", {}),
        ("out.####.png", {}),
        ("out.####.tif", {}),
        ("out.####.exr", {}),
    ],
)
def test_the_alpha_is_what_the_file_says_it_is(tmp_path, name, options, alpha):
    white = torch.full((3, 48, 64), 0.9)
    made = [replace(cutout, foreground=white) for cutout in cutouts()]
    write(tmp_path / name, made=made, alpha=alpha, **options)
    assert f"{alpha} alpha" in stated(tmp_path, name)
    with open_video(tmp_path / name) as source:
        cutout = next(itertools.islice(source.cutouts(), 3, None))
    colour, coverage = cutout.frame.as_float(), cutout.alpha
    if name.endswith("exr"):  # in light
        colour = torch.from_numpy(from_linear(colour.numpy(), 13)).float()
    if name.endswith(("tif", "exr")):  # its own tag tells which it is, and reading makes both straight
        assert float((colour[:, coverage > 0.1] - 0.9).abs().max()) < 0.02
    elif alpha == "premultiplied":
        lossy = 0.08 if name.endswith("webm") else 0.02
        assert float((colour - coverage).max()) <= lossy
        assert float(colour[:, coverage == 0].max()) <= lossy
    else:
        assert float(colour[:, coverage == 0].min()) > 0.7  # it goes on beyond the edge


def stated(folder, name):
    """What a file says of its alpha."""
    if "#" not in name:
        with av.open(str(folder / name)) as file:
            return {key.lower(): value for key, value in file.metadata.items()}["comment"]
    path = folder / name.replace("####", "0001")
    if path.suffix == ".exr":
        return exr(path)[0]["comments"]
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as file:
            return file.pages[0].description
    data = path.read_bytes()
    start = data.index(b"tEXt")
    return data[start + 4 : start + 4 + int.from_bytes(data[start - 4 : start], "big")].decode("latin-1")


# The whole set


SET = ["clip.comp.mp4", "clip.fill.mov", "clip.matte.mov", "clip.mov", "clip.txt", "clip.webm"]


def test_a_delivery_is_the_whole_set(tmp_path):
    clips.write_clip(tmp_path / "clip.mp4", audio="aac")
    assert main([str(tmp_path / "clip.mp4"), "--deliver", str(tmp_path / "out"), *QUICK]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == SET
    for name in SET:
        if not name.endswith("txt"):
            with av.open(str(tmp_path / "out" / name)) as file:
                assert len(list(file.decode(video=0))) == clips.FRAMES
                assert len(file.streams.audio) == 1
    assert decoded(tmp_path / "out" / "clip.mov")[0].format.name == "yuva444p12le"
    note = (tmp_path / "out" / "clip.txt").read_text(encoding="utf-8")
    for said in (*SET[:4], SET[5], "64×48", f"{clips.FRAMES} frames at 25 fps", "straight", "BT.601", "Safari"):
        assert said in note
    assert main([str(tmp_path / "clip.mp4"), "--deliver", str(tmp_path / "out"), *QUICK]) == 1  # it is there


def test_nothing_of_a_delivery_is_left_by_a_run_that_fails(tmp_path, capsys):
    whole = clips.write_clip(tmp_path / "whole.mp4", container_options={"movflags": "+faststart"}, b_frames=0)
    clips.cut(whole, tmp_path / "cut.mp4", keep=0.7)
    assert main([str(tmp_path / "cut.mp4"), "--deliver", str(tmp_path / "out"), "--strict", *QUICK]) == 1
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "whole.txt").write_text("mine")
    assert main([str(whole), "--deliver", str(tmp_path / "mine"), *QUICK]) == 1
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["whole.txt"]
    assert "whole.txt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "error", "hint"),
    [
        (["--pair", "above"], "output", "streammatte clip.mp4"),
        (["--pair", "above", "-o", "a.mp4", "--bg", "red"], "--pair", "a.mp4"),
        (["--pair", "above", "-o", "a.####.exr"], "a.####.exr", "--pair"),
        (["-o", "a.exr", "--input-transfer", "slog3"], "--input-transfer", ".mov"),
        (["-o", "a.mp4"], "a.mp4", "--pair"),
        (["-o", "a.####.png", "--bits", "10"], "10 bits", "8 or 16"),
        (["-o", "a.####.exr", "--bits", "8"], "8 bits", "16 or 32"),
        (["-o", "a.mov", "--codec", "png", "--bits", "12"], "12 bits", "8 or 16"),
        (["-o", "a.mkv", "--bits", "32"], "32 bits", "FFV1"),
        (["-o", "a.mkv", "--codec", "prores4444xq"], "--codec", ".mov"),
        (["-o", "a.mkv", "--exr-compression", "piz"], "--exr-compression", ".exr"),
        (["-o", "a.mp4", "--bg", "red", "--alpha", "premultiplied"], "--alpha", "a.mp4"),
        (["-o", "a.mov", "-o", "still.png"], "still.png", "still.####.png"),
        (["--deliver", "no/where"], "no", "mkdir"),
        (["--deliver", "clip.mp4"], "clip.mp4", ""),
    ],
)
def test_what_cannot_be_delivered(tmp_path, monkeypatch, capsys, asked, error, hint):
    monkeypatch.chdir(tmp_path)
    clips.write_clip(tmp_path / "clip.mp4")
    assert main(["clip.mp4", *asked, *QUICK]) == (1 if "--deliver" in asked else 2)
    said = capsys.readouterr().err
    assert error in said and hint in said
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("option", ["--matte", "--foreground"])
def test_a_second_one_is_not_dropped_in_silence(tmp_path, capsys, option):
    with pytest.raises(SystemExit):
        main(["clip.mp4", option, str(tmp_path / "a.mov"), option, str(tmp_path / "b.mov")])
    assert option in capsys.readouterr().err


def test_a_fill_over_a_background_makes_no_sense(tmp_path):
    with pytest.raises(UnsupportedOutput):
        open_writer(tmp_path / "a.mov", info_for(), content="foreground", background="red")


def test_a_checkerboard_is_two_greys(tmp_path):
    info = StreamInfo(160, 120, Fraction(1, 25), Fraction(25), None, ColorSpec(matrix=6))
    clear = Cutout(Frame(torch.zeros(3, 120, 160, dtype=torch.uint8), 0, 0), torch.zeros(120, 160))
    write(tmp_path / "a.png", info, [clear], background="checker")
    found = cv2.imread(str(tmp_path / "a.png"))
    assert np.array_equal(np.unique(found), [102, 153])
    assert np.array_equal(found[0, :6, 0], [153, 153, 153, 102, 102, 102])
