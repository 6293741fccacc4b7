"""Pictures of all kinds: right values, upright, in the colours that their profiles say, and nothing left out unsaid."""

from __future__ import annotations

import io
import struct
import zlib
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import imagecodecs
import numpy as np
import OpenEXR
import pytest
import tifffile
import torch
from PIL import Image, ImageCms
from support import clips, footage

from streammatte.color.profiles import is_srgb, space_of, to_srgb
from streammatte.color.screen import view_of
from streammatte.errors import DecodeFailed, InputError
from streammatte.frame import ColorSpec, Cutout, Frame, StreamInfo
from streammatte.media import open_video, open_writer
from streammatte.media.read.kinds import picture_kind
from streammatte.media.read.stills import assembled

pytestmark = pytest.mark.media

HEIGHT, WIDTH = 48, 64
Y, X = np.mgrid[:HEIGHT, :WIDTH]
RAMP = np.dstack([X * 255 // (WIDTH - 1), Y * 255 // (HEIGHT - 1), np.full_like(X, 90)]).astype(np.uint8)
DEEP = RAMP.astype(np.uint16) * 257 - np.uint16(3) * (RAMP > 9)
ALPHA = (255 - X * 3).astype(np.uint8)
ORIENTATIONS = {
    1: RAMP,
    2: RAMP[:, ::-1],
    3: RAMP[::-1, ::-1],
    4: RAMP[::-1],
    5: RAMP.transpose(1, 0, 2),
    6: np.rot90(RAMP),
    7: np.rot90(RAMP.transpose(1, 0, 2), 2),
    8: np.rot90(RAMP, -1),
}
"""How a picture is stored that EXIF's orientation of that number makes upright."""


def made(space: str, white=(0.3127, 0.3290), primaries=None, gamma: float = 2.2) -> bytes:
    """A profile of those primaries."""
    if primaries is None:
        return imagecodecs.cms_profile(space, gamma=gamma)
    flat = [value for x, y in primaries for value in (x, y, 1.0)]
    return imagecodecs.cms_profile(space, whitepoint=[*white, 1.0], primaries=flat, gamma=gamma)


P3 = made("rgb", primaries=[(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)])
ADOBE = imagecodecs.cms_profile("adobergb")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = made("gray", gamma=1.8)


def opened(path: Path, **options):
    """(H, W, 3) of each frame, and the source."""
    with open_video(path, **options) as source:
        frames = [frame.rgb.permute(1, 2, 0).numpy().copy() for frame in source]
    return frames, source


def alpha_of(path: Path):
    with open_video(path) as source:
        alpha = next(source.cutouts()).alpha.numpy().copy()
    return alpha


def saved(path: Path, picture, **options) -> Path:
    Image.fromarray(np.ascontiguousarray(picture)).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["in.jpg", "in.png", "in.webp", "in.tif", "in.avif", "deep.png", "deep.tif"])
def test_all_orientations_come_out_upright_and_are_turned_once(tmp_path, name):
    for number, lying in ORIENTATIONS.items():
        exif = Image.Exif()
        exif[0x112] = number
        path, stored = tmp_path / name, np.ascontiguousarray(lying)
        if name == "deep.tif":
            tifffile.imwrite(path, stored.astype(np.uint16) * 257, photometric="rgb", extratags=[(274, "H", 1, number)])
        elif name == "deep.png":
            chunk = exif.tobytes().removeprefix(b"Exif\0\0")
            data = imagecodecs.png_encode(stored.astype(np.uint16) * 257)
            path.write_bytes(data[:33] + png_chunk(b"eXIf", chunk) + data[33:])
        else:
            lossless = {"lossless": True} if name == "in.webp" else {"quality": 95}
            Image.fromarray(stored).save(path, exif=exif, **lossless)
        (frame,), source = opened(path)
        assert (source.info.width, source.info.height) == (WIDTH, HEIGHT)
        scale = 257 if name.startswith("deep") else 1
        assert np.abs(frame.astype(int) / scale - RAMP).mean() < (3 if name in ("in.jpg", "in.avif") else 1e-9), number


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


MODES = {
    "grey": RAMP[..., 0],
    "grey and alpha": np.dstack([RAMP[..., 0], ALPHA]),
    "rgba": np.dstack([RAMP, ALPHA]),
    "1-bit": RAMP[..., 0] > 127,
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_eight_bits(tmp_path, mode):
    stored = MODES[mode]
    colors = np.dstack([RAMP[..., 0]] * 3) if mode.startswith("grey") else RAMP
    if mode == "1-bit":
        colors = np.dstack([np.where(stored, 255, 0)] * 3)
    for suffix in (".png", ".tif"):
        path = saved(tmp_path / f"in{suffix}", stored)
        (frame,), source = opened(path)
        assert np.array_equal(frame, colors)
        assert source.has_alpha == (mode in ("grey and alpha", "rgba"))
        if source.has_alpha:
            assert np.array_equal(np.rint(alpha_of(path) * 255), ALPHA)


def test_a_palette_and_its_clear_colour(tmp_path):
    indexed = Image.fromarray(RAMP).quantize(16)
    indexed.save(tmp_path / "opaque.png")
    indexed.save(tmp_path / "clear.png", transparency=3)
    expected = np.asarray(indexed.convert("RGB"))
    for name in ("opaque.png", "clear.png"):
        (frame,), source = opened(tmp_path / name)
        assert np.array_equal(frame, expected)
        assert source.has_alpha == (name == "clear.png")
    assert np.array_equal(alpha_of(tmp_path / "clear.png"), np.where(np.asarray(indexed) == 3, 0.0, 1.0))


@pytest.mark.parametrize("profile", [None, P3], ids=["plain", "P3"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_exact_with_and_without_alpha_and_profile(tmp_path, suffix, profile):
    deep_alpha = ALPHA.astype(np.uint16) * 257 + np.uint16(1) * (ALPHA < 255)
    path = tmp_path / f"in{suffix}"
    for colors, alpha in product((DEEP[..., :1], DEEP), (None, deep_alpha)):
        stored = colors if alpha is None else np.dstack([colors, alpha])
        stored = np.ascontiguousarray(stored.squeeze())
        if suffix == ".png":
            data = imagecodecs.png_encode(stored)
            extra = b"" if profile is None else png_chunk(b"iCCP", b"p\0\0" + zlib.compress(profile))
            path.write_bytes(data[:33] + extra + data[33:])
        else:
            tifffile.imwrite(
                path,
                stored,
                photometric="rgb" if colors.shape[2] == 3 else "minisblack",
                extrasamples=None if alpha is None else ["unassalpha"],
                iccprofile=profile,
                compression="lzw",
                predictor=True,
                planarconfig="contig" if stored.ndim == 3 else None,
            )
        (frame,), source = opened(path)
        assert np.array_equal(frame, np.broadcast_to(colors, DEEP.shape))
        assert source.info.color.bit_depth == 16 and source.info.profile == profile
        assert source.has_alpha == (alpha is not None)
        if alpha is not None:
            assert np.array_equal(np.rint(alpha_of(path) * 65535), alpha)


TIFFS = {
    "lzw": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "zlib", "predictor": True},
    "planar": {"planarconfig": "separate"},
    "planar lzw": {"planarconfig": "separate", "compression": "lzw"},
    "tiled": {"tile": (32, 32)},
    "tiled zstd": {"tile": (32, 32), "compression": "zstd"},
    "big-endian": {"byteorder": ">"},
    "big": {"bigtiff": True},
    "big-endian big tiled lzw": {"byteorder": ">", "bigtiff": True, "tile": (16, 16), "compression": "lzw"},
}


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_every_layout_of_tiff(tmp_path, dtype):
    stored = {"u1": RAMP, "u2": DEEP, "f4": (RAMP / np.float32(100)).astype(np.float32)}[dtype]
    path = tmp_path / "in.tif"
    for layout, options in TIFFS.items():
        if dtype == "f4" and "predictor" in options:
            options = options | {"predictor": 3}
        data = stored.transpose(2, 0, 1) if layout.startswith("planar") else stored
        tifffile.imwrite(path, np.ascontiguousarray(data), photometric="rgb", **options)
        (frame,), source = opened(path)
        assert np.array_equal(frame, stored), layout
        assert source.info.color.transfer == (8 if dtype == "f4" else 2)


def test_jpeg_in_tiff_and_pages(tmp_path):
    saved(tmp_path / "jpeg.tif", RAMP, compression="jpeg", quality=95)
    (frame,), _ = opened(tmp_path / "jpeg.tif")
    assert np.abs(frame.astype(int) - RAMP).mean() < 2
    tifffile.imwrite(tmp_path / "pages.tif", np.stack([RAMP, RAMP, RAMP]), photometric="rgb")
    (frame,), source = opened(tmp_path / "pages.tif")
    assert np.array_equal(frame, RAMP) and len(source.notes) == 1


def test_premultiplied_tiff_becomes_straight(tmp_path):
    light = (RAMP / np.float32(50)).astype(np.float32)  # with values above 1
    for colors in (RAMP, DEEP, light):
        peak = 1 if colors is light else np.iinfo(colors.dtype).max
        alpha = (ALPHA / 255 * peak).astype(colors.dtype)
        multiplied = colors * (alpha[..., None] / peak)
        multiplied = (multiplied if colors is light else np.rint(multiplied)).astype(colors.dtype)
        path = tmp_path / "in.tif"
        tifffile.imwrite(path, np.dstack([multiplied, alpha]), photometric="rgb", extrasamples=["assocalpha"])
        (frame,), source = opened(path)
        assert source.has_alpha
        assert np.abs(frame.astype(float) - colors)[alpha > peak / 2].max() <= (1e-5 if colors is light else 2)


def test_a_cut_tiff_is_one_error_and_no_more(tmp_path, capfd):
    """libtiff would print lines of its own."""
    for options in ({}, {"compression": "tiff_lzw"}, {"compression": "jpeg"}, {"compression": "tiff_deflate"}):
        noise = np.random.default_rng(1).integers(0, 255, (96, 96, 3), dtype=np.uint8)
        whole = saved(tmp_path / "whole.tif", noise, **options)
        with tifffile.TiffFile(whole) as file:
            end = file.pages.first.dataoffsets[0] + 500
        (tmp_path / "cut.tif").write_bytes(whole.read_bytes()[:end])
        with pytest.raises(DecodeFailed, match=r"cut\.tif"):
            open_video(tmp_path / "cut.tif")
    assert capfd.readouterr().err == ""


def test_damaged_lzw_is_one_error_and_no_more(tmp_path, capfd):
    """libtiff would print lines of its own."""
    chance, failed = np.random.default_rng(2), 0
    for options in ({"rowsperstrip": 10}, {"tile": (16, 16)}, {"planarconfig": "separate", "rowsperstrip": 10}):
        planes = RAMP.transpose(2, 0, 1) if "planarconfig" in options else RAMP
        tifffile.imwrite(tmp_path / "in.tif", planes, photometric="rgb", compression="lzw", **options)
        (frame,), _ = opened(tmp_path / "in.tif")
        assert np.array_equal(frame, RAMP)
        with tifffile.TiffFile(tmp_path / "in.tif") as file:
            strips = list(zip(file.pages.first.dataoffsets, file.pages.first.databytecounts, strict=True))
        whole = (tmp_path / "in.tif").read_bytes()
        for _ in range(20):
            begin, count = strips[chance.integers(len(strips))]
            place = begin + int(chance.integers(count))
            (tmp_path / "bad.tif").write_bytes(whole[:place] + chance.bytes(1) + whole[place + 1 :])
            try:
                open_video(tmp_path / "bad.tif")
            except DecodeFailed as exc:
                failed += "bad.tif" in str(exc)
    assert failed > 20 and capfd.readouterr().err == ""


def test_white_is_zero_twelve_bits_and_extra_channels(tmp_path):
    tifffile.imwrite(tmp_path / "white.tif", 65535 - DEEP[..., 0], photometric="miniswhite")
    (frame,), _ = opened(tmp_path / "white.tif")
    assert np.array_equal(frame, np.dstack([DEEP[..., 0]] * 3))
    five = np.dstack([DEEP, DEEP[..., :1], DEEP[..., 1:2]])
    tifffile.imwrite(tmp_path / "five.tif", five, photometric="rgb", extrasamples=["unspecified", "unspecified"])
    (frame,), source = opened(tmp_path / "five.tif")
    assert np.array_equal(frame, DEEP) and not source.has_alpha


def test_samples_with_a_sign_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", DEEP.astype(np.int16), photometric="rgb")
    with pytest.raises(DecodeFailed):
        open_video(tmp_path / "in.tif")


def test_a_raw_file_is_refused_and_not_its_thumbnail_read(tmp_path):
    tifffile.imwrite(tmp_path / "in.dng", RAMP, photometric="rgb", extratags=[(50706, "B", 4, (1, 4, 0, 0))])
    with pytest.raises(DecodeFailed):
        open_video(tmp_path / "in.dng")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk_without_a_profile(tmp_path, dtype):
    peak = np.iinfo(dtype).max
    inks = np.zeros((HEIGHT, WIDTH, 4), dtype)
    inks[..., 0], inks[: HEIGHT // 2, :, 3] = peak, peak // 5
    tifffile.imwrite(tmp_path / "in.tif", inks, photometric="separated")
    (frame,), source = opened(tmp_path / "in.tif")
    assert frame[-1, 0].tolist() == [0, peak, peak] and frame[0, 0].tolist() == [0, peak - peak // 5, peak - peak // 5]
    assert len(source.notes) == 1


@pytest.mark.parametrize("profile", [P3, ADOBE], ids=["P3", "Adobe RGB"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_profiles_are_converted_as_little_cms_does(profile, dtype):
    assert space_of(profile) == "rgb" and not is_srgb(profile)
    theirs = ImageCms.profileToProfile(
        Image.fromarray(RAMP), ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )  # fmt: skip
    scale = {np.uint8: 1, np.uint16: 257, np.float32: np.float32(1 / 255)}[dtype]
    ours = to_srgb((RAMP.astype(float) * scale).astype(dtype), profile)
    assert ours.dtype == dtype
    assert np.abs(ours / scale - np.asarray(theirs)).max() <= 1


def solid(frame: Frame) -> Cutout:
    return Cutout(frame, torch.ones(frame.rgb.shape[1:]))


@pytest.mark.parametrize("name", ["in.jpg", "in.tif"])
def test_outputs_that_can_carry_the_profile_and_the_pixels_and_others_are_in_srgb(tmp_path, name):
    options = {} if name == "in.tif" else {"quality": 95}
    with open_video(saved(tmp_path / name, RAMP, icc_profile=ADOBE, **options)) as source:
        frame = next(iter(source))
    info = source.info
    assert info.profile == ADOBE and any("Adobe RGB" in note for note in source.notes)
    own = frame.rgb.permute(1, 2, 0).numpy()
    srgb = to_srgb(own, ADOBE)
    assert np.abs(srgb.astype(int) - own).max() > 20
    view = view_of(None, info.profile)
    assert view is not None and np.array_equal(view(frame.rgb).permute(1, 2, 0).numpy(), srgb)
    expected = {"out.png": own, "out.tif": own, "out.mkv": srgb, "comp.png": srgb, "out.exr": srgb}
    for out, pixels in expected.items():
        with open_writer(tmp_path / out, info, background="green" if out == "comp.png" else None) as writer:
            writer.write(solid(frame))
        (found,), again = opened(tmp_path / out)
        assert again.info.profile == (ADOBE if pixels is own else None)
        if out == "out.exr":
            light = np.where(srgb / 255 <= 0.04045, srgb / 255 / 12.92, ((srgb / 255 + 0.055) / 1.055) ** 2.4)
            assert np.abs(found - light).max() < 2e-3
        else:
            scale = 257 if found.dtype == np.uint16 else 1
            assert np.abs(found / scale - pixels).max() <= 1
    for out in ("fill.jpg", "fill.webp", "fill.gif"):  # lossy, and without a profile
        with open_writer(tmp_path / out, info, content="foreground", quality="best") as writer:
            writer.write(solid(frame))
        (found,), again = opened(tmp_path / out)
        assert again.info.profile is None
        assert (
            np.abs(found.astype(int).mean((0, 1)) - srgb.mean((0, 1))).max()
            < 2
            < np.abs(srgb.mean((0, 1)) - own.mean((0, 1))).max()
        )


def test_srgb_stays_and_broken_profiles_are_ignored_with_a_line(tmp_path):
    (frame,), source = opened(saved(tmp_path / "srgb.png", RAMP, icc_profile=SRGB))
    assert np.array_equal(frame, RAMP) and source.notes == [] and source.info.profile == SRGB
    assert view_of(None, SRGB) is None
    for name, broken in {"zeros": bytes(200), "cut": P3[:300], "inks": b"\0" * 16 + b"CMYK" + bytes(200)}.items():
        (frame,), source = opened(saved(tmp_path / f"{name}.png", RAMP, icc_profile=broken))
        assert np.array_equal(frame, RAMP) and source.info.profile is None
        assert len(source.notes) == 1


def test_grey_is_converted_by_its_profile(tmp_path):
    (frame,), source = opened(saved(tmp_path / "in.png", RAMP[..., 0], icc_profile=GREY))
    assert np.array_equal(frame, to_srgb(RAMP[..., :1], GREY)) and source.info.profile is None
    assert np.abs(frame.astype(int) - RAMP[..., :1]).max() > 10


def test_a_background_with_a_profile_is_laid_in_srgb(tmp_path):
    saved(tmp_path / "behind.png", RAMP, icc_profile=ADOBE)
    saved(tmp_path / "in.png", RAMP)
    with open_video(tmp_path / "in.png") as source:
        frame = next(iter(source))
    with open_writer(tmp_path / "out.png", source.info, background=tmp_path / "behind.png") as writer:
        writer.write(Cutout(frame, torch.zeros(HEIGHT, WIDTH)))
    (found,), _ = opened(tmp_path / "out.png")
    assert np.abs(found.astype(int) - to_srgb(RAMP, ADOBE)).max() <= 1


def steps(count: int = 5) -> list[Image.Image]:
    return [Image.fromarray(np.roll(RAMP, 7 * place, 1)) for place in range(count)]


@pytest.mark.parametrize("name", ["in.png", "in.apng", "in.webp", "in.gif", "in.avif", "gif.png"])
def test_animations_are_clips_with_their_own_durations(tmp_path, name):
    durations = [100, 40, 300, 100, 60]
    first, *others = steps()
    options = {"in.webp": {"lossless": True}, "in.avif": {"quality": 100, "subsampling": "4:4:4"}}.get(name, {})
    kind = "PNG" if name in ("in.png", "in.apng") else "GIF" if name.endswith("gif.png") else None
    first.save(tmp_path / name, format=kind, save_all=True, append_images=others, duration=durations, loop=0, **options)
    frames, source = opened(tmp_path / name)
    assert len(frames) == source.info.frame_count == 5
    assert source.info.time_base == Fraction(1, 1000) and source.info.frame_rate == Fraction(25, 3)
    with open_video(tmp_path / name) as again:
        times = [(frame.pts, frame.duration, frame.index) for frame in again]
    assert times == [(sum(durations[:n]), durations[n], n) for n in range(5)]
    for found, step in zip(frames, steps(), strict=True):
        assert np.abs(found.astype(int) - np.asarray(step)).mean() < (8 if "gif" in name else 1.5)
    with open_video(tmp_path / name, first="1", last="2") as part:
        assert [(frame.index, frame.pts) for frame in part] == [(1, 100), (2, 140)]
    assert part.info.first_index == 1 and part.info.span == (Fraction(1, 10), Fraction(44, 100))


def test_an_animation_with_alpha_has_plates(tmp_path):
    pictures = [Image.fromarray(np.dstack([np.asarray(step), np.roll(ALPHA, place, 0)])) for place, step in
                enumerate(steps(3))]  # fmt: skip
    pictures[0].save(tmp_path / "in.webp", save_all=True, append_images=pictures[1:], duration=50, lossless=True)
    with open_video(tmp_path / "in.webp") as source:
        assert source.has_alpha
        alphas = [cutout.alpha.numpy() for cutout in source.cutouts()]
    for place, alpha in enumerate(alphas):
        assert np.array_equal(np.rint(alpha * 255), np.roll(ALPHA, place, 0))


def test_an_animation_keeps_its_times_and_tells_what_it_loses(tmp_path):
    frames = np.random.default_rng(1).integers(0, 65535, (3, 16, 16, 3)).astype(np.uint16)
    (tmp_path / "deep.png").write_bytes(imagecodecs.apng_encode(frames, delay=100))
    avif = imagecodecs.avif_encode(np.full((3, 48, 64, 3), 700, np.uint16), bitspersample=10, primaries=9, transfer=16)
    (tmp_path / "deep.avif").write_bytes(avif)
    for name, bits in (("deep.png", "16"), ("deep.avif", "10")):
        pictures, source = opened(tmp_path / name)
        assert len(pictures) == 3 and pictures[0].dtype == np.uint8
        assert len(source.notes) == 1 and bits in source.notes[0]
    assert source.info.color.transfer == 16
    footage.matted(tmp_path / "deep.png", tmp_path / "out.mov")
    with open_video(tmp_path / "deep.png") as source:
        times = [frame.pts * source.info.time_base for frame in source]
    assert footage.shown_times(tmp_path / "out.mov") == times


def test_content_decides_and_not_the_name(tmp_path):
    saved(tmp_path / "real.png", RAMP)
    for name in ("in.jpg", "in.mov", "in", "in.exr"):
        (tmp_path / name).write_bytes((tmp_path / "real.png").read_bytes())
        (frame,), _ = opened(tmp_path / name)
        assert np.array_equal(frame, RAMP)
    clips.write_clip(tmp_path / "film.mp4").rename(tmp_path / "film.png")
    assert len(opened(tmp_path / "film.png")[0]) == clips.FRAMES
    assert picture_kind(tmp_path / "nothing.png") is None and picture_kind("https://example.org/a.png") is None


def test_further_images_are_told(tmp_path):
    first, second, *_ = steps()
    first.save(tmp_path / "in.jpg", format="MPO", save_all=True, append_images=[second], quality=95)
    (frame,), source = opened(tmp_path / "in.jpg")
    assert np.abs(frame.astype(int) - RAMP).mean() < 3
    assert len(source.notes) == 1


def test_avif_with_alpha_and_a_wide_gamut(tmp_path):
    path = saved(tmp_path / "in.avif", np.dstack([RAMP, ALPHA]), quality=100, icc_profile=P3)
    (frame,), source = opened(path)
    assert source.has_alpha and source.info.profile == P3
    assert np.abs(frame.astype(int) - RAMP).mean() < 2 and np.abs(alpha_of(path) * 255 - ALPHA).max() <= 1


def test_what_a_png_says_of_its_curve(tmp_path):
    data = imagecodecs.png_encode(DEEP)
    (tmp_path / "pq.png").write_bytes(data[:33] + png_chunk(b"cICP", bytes([9, 16, 0, 1])) + data[33:])
    _, source = opened(tmp_path / "pq.png")
    assert (source.info.color.primaries, source.info.color.transfer) == (9, 16)


def test_avif_of_ten_bits_keeps_them_and_its_curve(tmp_path):
    planes = X * 1023 // (WIDTH - 1), Y * 1023 // (HEIGHT - 1), np.full_like(X, 363), 1023 - X
    ten = np.dstack(planes).astype(np.uint16)
    data = imagecodecs.avif_encode(ten, bitspersample=10, primaries=9, transfer=16)
    (tmp_path / "pq.avif").write_bytes(data)
    (frame,), source = opened(tmp_path / "pq.avif")
    assert (source.info.color.primaries, source.info.color.transfer, source.info.color.bit_depth) == (9, 16, 16)
    assert np.abs(frame / 65535 - ten[..., :3] / 1023).max() < 0.02 and frame.dtype == np.uint16
    assert np.abs(alpha_of(tmp_path / "pq.avif") - ten[..., 3] / 1023).max() < 0.01


def test_codes_of_a_png_go_before_its_profile(tmp_path):
    data = imagecodecs.png_encode(DEEP)
    profile = png_chunk(b"iCCP", b"P3\0\0" + zlib.compress(P3))
    (tmp_path / "in.png").write_bytes(data[:33] + png_chunk(b"cICP", bytes([9, 16, 0, 1])) + profile + data[33:])
    _, source = opened(tmp_path / "in.png")
    assert source.info.color.transfer == 16 and source.info.profile is None


def test_a_profile_goes_before_codes_otherwise():
    picture = assembled((RAMP, None), P3, color=ColorSpec(True, 0, 12, 13))
    assert picture.profile == P3 and (picture.color.primaries, picture.color.transfer) == (2, 2)


def test_sixteen_bits_of_ppm_and_jpeg_2000_stay(tmp_path):
    (tmp_path / "in.ppm").write_bytes(b"P6 # made\n64 48\n65535\n" + DEEP.astype(">u2").tobytes())
    (tmp_path / "in.jp2").write_bytes(imagecodecs.jpeg2k_encode(DEEP, level=0, codecformat="jp2"))
    (tmp_path / "in.j2k").write_bytes(imagecodecs.jpeg2k_encode(DEEP, level=0, codecformat="j2k"))
    for name in ("in.ppm", "in.jp2", "in.j2k"):
        (frame,), _ = opened(tmp_path / name)
        assert np.array_equal(frame, DEEP), name


def test_what_only_a_parser_understands_is_not_shown(tmp_path):
    (tmp_path / "in.tif").write_bytes(b"II*\0\xff\xff\xff\xff")
    with pytest.raises(DecodeFailed, match=r"in\.tif[a-z ]*$"):
        opened(tmp_path / "in.tif")


def test_a_profile_of_floats_is_ignored_and_told(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", RAMP.astype(np.float32) / 255, photometric="rgb", iccprofile=P3)
    _, source = opened(tmp_path / "in.tif")
    assert source.info.profile is None and len(source.notes) == 1


def test_an_opaque_picture_among_those_with_alpha_is_no_matte(tmp_path):
    saved(tmp_path / "a.0001.png", np.dstack([RAMP, ALPHA]))
    saved(tmp_path / "a.0002.png", np.zeros_like(RAMP))
    with open_video(tmp_path / "a.####.png") as source:
        alphas = [cutout.alpha for cutout in source.cutouts()]
    assert alphas[0].min() < 1 and alphas[1].min() == 1


def test_pictures_of_one_sequence_are_of_one_kind(tmp_path):
    tifffile.imwrite(tmp_path / "a.0001.tif", DEEP, photometric="rgb")
    tifffile.imwrite(tmp_path / "a.0002.tif", RAMP.astype(np.float32) / 255, photometric="rgb")
    saved(tmp_path / "b.0001.png", RAMP, icc_profile=P3)
    saved(tmp_path / "b.0002.png", RAMP)
    for pattern, other in (("a.####.tif", "a.0002.tif"), ("b.####.png", "b.0002.png")):
        with pytest.raises(DecodeFailed, match=other):
            opened(tmp_path / pattern)


def test_sizes_that_no_memory_holds_are_refused(tmp_path):
    window = np.array([0, 0], np.int32), np.array([900_000, 900_000], np.int32)
    channels = {name: np.zeros((8, 8), np.float32) for name in "RGB"}
    with OpenEXR.File({"displayWindow": window}, channels) as file:
        file.write(str(tmp_path / "in.exr"))
    tifffile.imwrite(tmp_path / "in.tif", DEEP, photometric="rgb")
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+b") as file:
        file.pages.first.tags["ImageLength"].overwrite(2**24)
    for name in ("in.exr", "in.tif"):
        with pytest.raises(DecodeFailed, match=name):
            opened(tmp_path / name)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".avif", ".bmp", ".tif"])
def test_damaged_pictures_are_one_line(tmp_path, suffix):
    data = saved(tmp_path / f"whole{suffix}", RAMP).read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(data[: len(data) // 2])
    with pytest.raises(DecodeFailed, match=f"cut{suffix}") as caught:
        opened(tmp_path / f"cut{suffix}")
    assert "\n" not in str(caught.value) and caught.value.hint


def exr(path: Path, *parts: OpenEXR.Part) -> Path:
    with OpenEXR.File(list(parts)) as file:
        file.write(str(path))
    return path


def part(level: float, name: str = "", *, channels: str = "{}", **header: object) -> OpenEXR.Part:
    planes = {channels.format(c): np.full((8, 12), level + k, np.float16) for k, c in enumerate("RGBA")}
    return OpenEXR.Part({"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION} | header, planes, name)


def test_parts_of_exr_are_layers(tmp_path):
    path = exr(tmp_path / "in.exr", part(1, "beauty"), part(5, "diffuse"))
    (frame,), source = opened(path)
    assert frame[0, 0].tolist() == [1, 2, 3]
    assert len(source.notes) == 2 and "beauty" in source.notes[0] and "diffuse" in source.notes[1]
    (frame,), _ = opened(path, layer="diffuse")
    assert frame[0, 0].tolist() == [5, 6, 7]
    with pytest.raises(InputError, match="specular") as caught:
        opened(path, layer="specular")
    assert "beauty, diffuse" in str(caught.value.hint)
    with pytest.raises(InputError, match=r"in\.png"):
        opened(saved(tmp_path / "in.png", RAMP), layer="diffuse")


def test_layers_of_one_part(tmp_path):
    both = part(1).channels | part(5, channels="light.key.{}").channels
    header = {"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION}
    path = exr(tmp_path / "in.exr", OpenEXR.Part(header, {name: channel.pixels for name, channel in both.items()}))
    (frame,), source = opened(path)
    assert frame[0, 0].tolist() == [1, 2, 3] and source.has_alpha
    assert len(source.notes) == 1 and "light.key" in source.notes[0]
    (frame,), source = opened(path, layer="light.key")
    assert frame[0, 0].tolist() == [5, 6, 7] and len(source.notes) == 1
    (frame,), _ = opened(exr(tmp_path / "only.exr", part(3, channels="Combined.{}")))
    assert frame[0, 0].tolist() == [3, 4, 5]


def test_the_picture_is_the_display_window(tmp_path):
    window = {"displayWindow": ((0, 0), (19, 9)), "dataWindow": ((4, -2), (15, 5))}
    (frame,), source = opened(exr(tmp_path / "in.exr", part(1, **window)))
    assert (source.info.width, source.info.height) == (20, 10)
    expected = np.zeros((10, 20))
    expected[:6, 4:16] = 1
    assert np.array_equal(frame[..., 0], expected)


def test_deep_exr_is_refused(tmp_path):
    deep = np.empty((8, 8), object)
    for at in np.ndindex(deep.shape):
        deep[at] = np.array([0.5], np.float32)
    header = {"type": OpenEXR.deepscanline, "compression": OpenEXR.ZIPS_COMPRESSION}
    with OpenEXR.File(header, {name: OpenEXR.Channel(deep) for name in "RGBA"}) as file:
        file.write(str(tmp_path / "in.exr"))
    with pytest.raises(DecodeFailed):
        opened(tmp_path / "in.exr")


def test_a_dpx_is_read_by_ffmpeg(tmp_path):
    with av.open(str(tmp_path / "in.dpx"), "w", format="image2", options={"update": "1"}) as out:
        stream = out.add_stream("dpx", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgb24"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(RAMP, "rgb24")))
        out.mux(stream.encode())
    (frame,), _ = opened(tmp_path / "in.dpx")
    assert np.array_equal(frame, RAMP)


def heif(name: str) -> Path:
    return Path(__file__).parent.parent / "data" / "heif" / name


def test_heic_with_alpha_and_with_a_second_picture():
    y, x = np.mgrid[:96, :128]
    ramp = np.dstack([x * 255 // 127, y * 255 // 95, np.full_like(x, 90)]).astype(int)
    (picture,), source = opened(heif("alpha.heic"))
    assert np.abs(picture - ramp).mean() < 1.5 and source.has_alpha
    assert np.abs(alpha_of(heif("alpha.heic")) * 255 - (255 - x)).mean() < 1.5
    (picture,), source = opened(heif("two.heic"))
    assert np.abs(picture - ramp).mean() < 1.5
    assert len(source.notes) == 1


def test_avif_of_tiles_and_turned():
    y, x = np.mgrid[:96, :128]
    ramp = np.dstack([x * 255 // 127, y * 255 // 95, np.full_like(x, 90)]).astype(int)
    (picture,), _ = opened(heif("grid.avif"))
    whole = np.vstack([np.hstack([ramp, 255 - ramp]), np.hstack([ramp[:, ::-1], ramp[::-1]])])
    assert picture.shape == (192, 256, 3) and np.abs(picture - whole).mean() < 1.5
    (picture,), source = opened(heif("irot.avif"))
    assert picture.shape == (128, 96, 3) and np.abs(picture - np.rot90(ramp)[::-1]).mean() < 1.5
    assert len(source.notes) == 1 and "90°" in source.notes[0]


def test_exr_is_read_as_premultiplied_unless_it_says_straight(tmp_path):
    """What this project writes in either way comes back as the straight colours that went in."""
    light = np.full((3, 16, 16), 0.5, np.float32)
    alpha = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    info = StreamInfo(16, 16, Fraction(1, 24), Fraction(24), 1, ColorSpec(True, 0, 2, 8, 32))
    frame = Frame(torch.from_numpy(light), 0, 0)
    for kind in ("premultiplied", "straight"):
        with open_writer(tmp_path / f"{kind}.exr", info, alpha=kind, bits=32) as writer:
            writer.write(Cutout(frame, torch.from_numpy(alpha)))
        (picture,), source = opened(tmp_path / f"{kind}.exr")
        assert len(source.notes) == (kind == "premultiplied")
        assert np.abs(picture - 0.5)[alpha > 0.01].max() < 1e-5
        assert np.abs(alpha_of(tmp_path / f"{kind}.exr") - alpha).max() < 1e-6
