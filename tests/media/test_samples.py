"""What is stored comes back as it was: the source's own samples, every bit of them, and their tags."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from streammatte.cli.main import main
from streammatte.color.ycbcr import RgbReader, plane_view, planes_from_rgb, upsampled
from streammatte.frame import ColorSpec, Cutout, StreamInfo
from streammatte.media import open_video, open_writer
from streammatte.media.write.composing import Contents
from streammatte.media.write.encoding import encoding_for
from streammatte.media.write.painting import CutoutPainter
from streammatte.media.write.video_writer import VideoWriter
from streammatte.stages import Despill, estimate_foreground

pytestmark = pytest.mark.media

QUICK = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu", "--smooth", "off", "--quiet"]
RAMP = np.arange(1024)


def write_planes(path, planes, pixels, *, tags=(1, 1, 1), full_range=False, rotation=0, codec="ffv1", options=None):
    """One frame with these (H, W) planes, losslessly, tagged with matrix, primaries and transfer."""
    height, width = planes[0].shape
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options or {})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        if rotation:
            stream.set_display_rotation(rotation)
        frame = av.VideoFrame(width, height, pixels)
        for each in (stream.codec_context, frame):
            each.colorspace, each.color_primaries, each.color_trc = tags
            each.color_range = 2 if full_range else 1
        for plane, samples in zip(frame.planes, planes, strict=True):
            plane_view(plane, frame.format.components[0].bits)[:] = samples
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def noise(size, bits, chroma=(1, 1), seed=5):
    """Y', Cb and Cr of every code value there is; chroma shared by so many columns and rows."""
    (width, height), (across, down), rng = size, chroma, np.random.default_rng(seed)
    small = (-(-height // down), -(-width // across))
    return [rng.integers(0, 2**bits, shape) for shape in ((height, width), small, small)]


def ramp(bits=10):
    """Every level of so many bits, a column each."""
    levels = np.arange(2**bits)
    return [
        np.tile(levels, (32, 1)),
        np.full((32, len(levels)), 2 ** (bits - 1)),
        np.full((32, len(levels)), 2**bits // 2),
    ]


def frame_of(path):
    with open_video(path) as source:
        return source.info, next(iter(source))


def decoded(path):
    """The first frame, its planes as float code values of 10 bits."""
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        bits = frame.format.components[0].bits
        planes = [plane_view(plane, bits).astype(float) * 2.0 ** (10 - bits) for plane in frame.planes]
        return frame, planes


def painted(info, cutout, name="out.mov", **options):
    """(planes as the encoder would get them, whether they are full range)."""
    encoding = encoding_for(Path(name), info, Contents())
    painter = CutoutPainter(encoding, info, (info.width, info.height), Contents(**options))
    frame = painter(cutout)
    return [plane_view(plane, frame.format.components[0].bits).copy() for plane in frame.planes], painter.full_range


def solid(frame, foreground=None):
    return Cutout(frame, torch.ones(frame.rgb.shape[-2:]), foreground)


@pytest.mark.parametrize("codec", ["ffv1", "libx265"])
def test_a_ramp_of_all_levels_comes_back_from_prores(tmp_path, codec):
    options = {"x265-params": "lossless=1:log-level=none"} if codec == "libx265" else None
    clip = write_planes(tmp_path / "ramp.mkv", ramp(), "yuv444p10le", tags=(9, 9, 14), codec=codec, options=options)
    assert main([str(clip), "-o", str(tmp_path / "out.mov"), "--decontaminate", "off", *QUICK]) == 0
    frame, planes = decoded(tmp_path / "out.mov")
    tags = (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc)
    assert tuple(int(tag) for tag in tags) == (1, 9, 9, 14)
    assert np.abs(planes[0] - RAMP).max() <= 2
    assert max(np.abs(plane - 512).max() for plane in planes[1:3]) <= 1


@pytest.mark.parametrize(("quantiser", "levels"), [(1, 1), (3, 2)], ids=["best", "default"])
def test_a_ramp_of_luma_and_alpha_by_quality(tmp_path, quantiser, levels):
    info, frame = frame_of(write_planes(tmp_path / "ramp.mkv", ramp(), "yuv444p10le"))
    encoding = encoding_for(tmp_path / "out.mov", info, Contents())
    writer = VideoWriter(
        tmp_path / "out.mov",
        info,
        replace(encoding, quantiser=quantiser),
        Contents(),
    )
    alpha = torch.from_numpy(np.tile(RAMP / 1023, (32, 1)).astype(np.float32))
    with writer:
        writer.write(Cutout(frame, alpha))
    _, planes = decoded(tmp_path / "out.mov")
    assert np.abs(planes[0] - RAMP).max() <= levels
    assert np.abs(planes[3] * (1023 / 1023.75) - RAMP).max() <= 1  # 4095 is white, where 4 · 1023 is 4092


@pytest.mark.parametrize(
    ("pixels", "chroma"), [("yuv420p10le", (2, 2)), ("yuv422p10le", (2, 1)), ("yuv444p10le", (1, 1))]
)
@pytest.mark.parametrize("size", [(64, 48), (65, 49)])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_samples_are_the_sources_own(tmp_path, pixels, chroma, size, rotation):
    planes = noise(size, 10, chroma)
    info, frame = frame_of(write_planes(tmp_path / "in.mkv", planes, pixels, rotation=rotation))
    turns = rotation // 90  # FFmpeg's sign: how far the picture is to be turned counter-clockwise
    assert (info.width, info.height) == (size if turns % 2 == 0 else size[::-1])
    (luma, *others, _), _ = painted(info, solid(frame))
    assert np.array_equal(luma, np.rot90(planes[0], turns))
    for found, plane in zip(others, planes[1:], strict=True):
        assert np.array_equal(found, np.rot90(upsampled(plane.astype(np.uint16), *size, centred=False), turns))


def test_eight_bits_go_to_eight_and_to_ten_unrounded(tmp_path):
    planes = noise((64, 48), 8, (2, 2))
    info, frame = frame_of(write_planes(tmp_path / "in.mkv", planes, "yuv420p"))
    (*same, _), _ = painted(info, solid(frame), "out.webm")
    assert all(np.array_equal(found, plane) for found, plane in zip(same, planes, strict=True))
    (luma, *_), _ = painted(info, solid(frame))
    assert np.array_equal(luma, planes[0] * 4)


@pytest.mark.parametrize("pixels", ["yuv444p12le", "yuv444p16le"])
def test_more_bits_are_rounded_once(tmp_path, pixels):
    bits = int(pixels[7:9])
    planes = noise((64, 48), bits)
    info, frame = frame_of(write_planes(tmp_path / "in.mkv", planes, pixels))
    (*found, _), _ = painted(info, solid(frame))
    for one, plane in zip(found, planes, strict=True):
        assert np.abs(one - np.minimum(plane / 2 ** (bits - 10), 1023)).max() <= 0.5


def test_only_colours_that_are_not_the_frames_are_converted(tmp_path):
    planes = noise((64, 48), 8, (2, 2))
    info, frame = frame_of(write_planes(tmp_path / "in.mkv", planes, "yuv420p"))
    own = frame.as_float()
    same, _ = painted(info, solid(frame, own.clone()), "out.webm")
    assert all(np.array_equal(found, plane) for found, plane in zip(same, planes, strict=False))
    other = own.clone()
    other[:, 10:20, 30:40] = torch.tensor([0.9, 0.2, 0.1])[:, None, None]
    mixed, _ = painted(info, solid(frame, other), "out.webm")
    converted, _ = painted(info, solid(replace(frame, samples=None), other), "out.webm")
    inside, touched = np.zeros((48, 64), bool), np.zeros((24, 32), bool)
    inside[10:20, 30:40] = True
    touched[5:10, 15:21] = True  # chroma at an even column is a mean with those beside it
    for place, where in enumerate((inside, touched, touched)):
        assert np.array_equal(mixed[place][where], converted[place][where])
        assert np.array_equal(mixed[place][~where], planes[place][~where])
        assert not np.array_equal(converted[place][~where], planes[place][~where])


def test_stages_leave_what_is_the_frames_own(tmp_path):
    planes = noise((64, 48), 10, (2, 2))
    info, frame = frame_of(write_planes(tmp_path / "in.mkv", planes, "yuv420p10le"))
    alpha = ((torch.arange(64) - 20) / 20).clamp(0, 1).expand(48, 64).contiguous()
    estimated = Cutout(frame, alpha, estimate_foreground(frame.as_float(), alpha))
    (luma, *_), _ = painted(info, estimated)
    assert np.array_equal(luma[:, 40:], planes[0][:, 40:])
    assert not np.array_equal(luma[:, 22:38], planes[0][:, 22:38])
    (despilled,) = Despill((0.0, 1.0, 0.0)).push(solid(frame))
    (luma, *_), _ = painted(info, despilled)
    spilt = (frame.rgb[1].int() > torch.maximum(frame.rgb[0].int(), frame.rgb[2].int())).numpy()
    assert spilt.any() and np.array_equal(luma[~spilt], planes[0][~spilt])


@pytest.mark.parametrize("why", ["premultiplied", "another matrix"])
def test_what_does_not_fit_comes_from_rgb(tmp_path, why):
    info, frame = frame_of(write_planes(tmp_path / "in.mkv", noise((64, 48), 8, (2, 2)), "yuv420p"))
    options = {}
    if why == "premultiplied":
        options["alpha"] = "premultiplied"
    else:
        info = replace(info, color=replace(info.color, matrix=9))
    (luma, *_), _ = painted(info, solid(frame), **options)
    matrix = 9 if why == "another matrix" else 1
    expected = planes_from_rgb(np.ascontiguousarray(frame.rgb.permute(1, 2, 0)), matrix, 10)[0]
    assert np.abs(luma.astype(int) - expected).max() <= 1
    assert luma.min() >= 64 and luma.max() <= 940


def test_a_picture_of_another_size_keeps_no_samples(tmp_path):
    write_planes(tmp_path / "in.mkv", noise((64, 48), 8, (2, 2)), "yuv420p")
    with av.open(str(tmp_path / "in.mkv")) as file:
        decoded = next(file.decode(video=0))
    rgb, samples = RgbReader(60, 40).read(decoded)
    assert rgb.shape == (40, 60, 3) and samples is None
    assert RgbReader(64, 48).read(decoded)[1] is not None


def test_planes_cannot_be_written_to(tmp_path):
    _, frame = frame_of(write_planes(tmp_path / "in.mkv", noise((64, 48), 8, (2, 2)), "yuv420p"))
    with pytest.raises(ValueError, match="read-only"):
        frame.samples.planes[0][:] = 0


@pytest.mark.parametrize("name", ["out.mov", "out.webm", "out.mp4", "out.png"])
def test_full_range_stays_what_it_means(tmp_path, name):
    rng = np.random.default_rng(1)
    colors = np.kron(rng.integers(0, 256, (3, 4, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    colors[:16, :16], colors[16:32, 16:32] = 0, 255
    planes = planes_from_rgb(colors, 1, 8, full_range=True)
    info, frame = frame_of(write_planes(tmp_path / "in.mkv", planes, "yuv444p", full_range=True))
    assert info.color == ColorSpec(True, 1, 1, 1, 8)
    options = {"background": "green"} if name.endswith("mp4") else {}
    with open_writer(tmp_path / name, info, **options) as writer:
        writer.write(solid(frame))
    again, found = frame_of(tmp_path / name)
    if not name.endswith("png"):
        spec = again.color
        assert (spec.full_range, spec.matrix, spec.primaries, spec.transfer) == (name != "out.mov", 1, 1, 1)
    assert ("full range written as studio range" in writer.description) == (name == "out.mov")
    middle = np.ix_(range(3), range(8, 48, 16), range(8, 64, 16))
    off = np.abs(found.as_float().numpy() - frame.as_float().numpy())[middle] * 255
    assert off.max() < (6 if name in ("out.webm", "out.mp4") else 1.5)


def test_jpeg_is_scaled_to_studio_range_without_rgb(tmp_path):
    planes = ramp(8)
    info, frame = frame_of(write_planes(tmp_path / "in.mkv", planes, "yuv444p", full_range=True))
    (luma, blue, _, _), full_range = painted(info, solid(frame))
    assert not full_range
    assert np.array_equal(luma, np.rint(planes[0] * (876 / 255)) + 64) and np.all(blue == 512)


DEEP = {
    "yuv420p12le": 4096,
    "yuv444p12le": 4096,
    "yuv444p16le": 65536,
    "gbrp12le": 4096,
    "gbrp16le": 65536,
    "gray10le": 1024,
    "gray12le": 4096,
    "gray16le": 65536,
}


@pytest.mark.parametrize("pixels", DEEP)
def test_deep_sources_are_read_in_every_bit(tmp_path, pixels):
    levels = np.linspace(0, DEEP[pixels] - 1, 2048).round().astype(int)
    frame = av.VideoFrame(2048, 32, pixels)
    neutral = [DEEP[pixels] // 2] * 2 if pixels.startswith("yuv") else [levels] * (len(frame.planes) - 1)
    planes = [
        np.broadcast_to(values, (plane.height, plane.width))
        for values, plane in zip([levels, *neutral], frame.planes, strict=True)
    ]
    info, found = frame_of(write_planes(tmp_path / "in.mkv", planes, pixels, tags=(0 if "gbr" in pixels else 2, 2, 2)))
    peak = DEEP[pixels] - 1
    black, white = (DEEP[pixels] / 16, DEEP[pixels] * 235 / 256) if pixels.startswith("yuv") else (0, peak)
    expected = np.clip((levels - black) / (white - black), 0, 1) * 65535
    assert info.color.bit_depth == DEEP[pixels].bit_length() - 1
    assert np.abs(found.rgb.numpy().astype(float)[:, 7] - expected).max() <= 0.51


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_of_sixteen_bits_come_back(tmp_path, channels):
    rng = np.random.default_rng(2)
    picture = rng.integers(0, 65536, (32, 48, channels)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "in.png"), picture)
    assert main([str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"), "--decontaminate", "off", *QUICK]) == 0
    found = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint16 and np.array_equal(found[..., :3], np.broadcast_to(picture[..., :3], (32, 48, 3)))


def test_prores_is_written_again_within_a_level(tmp_path):
    planes = [*ramp(), np.tile(RAMP, (32, 1))]
    options = {"profile": "4444", "alpha_bits": "16"}
    clip = write_planes(tmp_path / "in.mov", planes, "yuva444p10le", codec="prores_ks", options=options)
    info, frame = frame_of(clip)
    assert (info.color.bit_depth, frame.samples.bits) == (12, 12)
    assert main([str(clip), "-o", str(tmp_path / "out.mov"), "--decontaminate", "off", *QUICK]) == 0
    assert np.abs(decoded(tmp_path / "out.mov")[1][0] - decoded(clip)[1][0]).max() <= 2


@pytest.mark.parametrize(("size", "name"), [((64, 48), "BT.601"), ((64, 720), "BT.709")])
def test_untagged_colours_are_told(tmp_path, capsys, size, name):
    clip = write_planes(tmp_path / "in.mkv", noise(size, 8, (2, 2)), "yuv420p", tags=(2, 2, 2))
    arguments = [str(clip), "--matte", str(tmp_path / "out.mp4"), "--json", *QUICK]
    assert main(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert name in said["assumed"]
    assert main([argument for argument in arguments if argument not in ("--json", "--quiet")] + ["--overwrite"]) == 0
    assert name in capsys.readouterr().out


def test_tagged_colours_and_rgb_assume_nothing(tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "in.png"), np.full((32, 48), 9, np.uint8))
    for clip in (write_planes(tmp_path / "in.mkv", noise((64, 48), 8), "yuv444p"), tmp_path / "in.png"):
        assert main([str(clip), "--matte", str(tmp_path / "out.png"), "--overwrite", "--json", *QUICK]) == 0
        assert json.loads(capsys.readouterr().out)["assumed"] is None


def test_rgb_sources_are_written_in_studio_range(tmp_path):
    info = StreamInfo(48, 32, Fraction(1, 25), Fraction(25), None, ColorSpec(True, 0, 1, 13, 8))
    encoding = encoding_for(Path("out.webm"), info, Contents())
    painter = CutoutPainter(encoding, info, (48, 32), Contents())
    assert not painter.full_range
