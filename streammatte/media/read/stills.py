"""Still pictures, read by Pillow, libheif, and libpng or libavif where samples have more than 8 bits."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from streammatte.color.codes import LINEAR, SRGB, rgb_color
from streammatte.color.profiles import is_srgb, name_of, space_of, to_srgb
from streammatte.color.ycbcr import Samples
from streammatte.errors import DecodeFailed, SourceNotFound, StreammatteError
from streammatte.frame import UNSPECIFIED, ColorSpec
from streammatte.media.read.kinds import LARGEST, WITH_FRAMES
from streammatte.media.read.orientation import EXIF, Orientation
from streammatte.media.read.pictures import Picture, finite, left_out, straight
from streammatte.media.read.stated import decode_deep, samples_of

logging.getLogger("imagecodecs").addHandler(logging.NullHandler())  # damage is raised, not logged


def read_picture(path: Path, kind: str) -> Picture:
    """Decode a picture file of a kind that :func:`~streammatte.media.read.kinds.picture_kind` gave."""
    with translating(path):
        if kind == "TIFF":
            from streammatte.media.read.tiff import read_tiff

            return read_tiff(path)
        if kind == "HEIF":
            return _by_libheif(path)
        return by_pillow(path, kind)


@contextmanager
def translating(path: Path) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into one of our errors; hide its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except StreammatteError:
        raise
    except Image.DecompressionBombError as exc:
        raise DecodeFailed(
            f"{path} is too large to be decoded", hint=f"scale it down to {LARGEST // 10**6} megapixels"
        ) from exc
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise SourceNotFound(f"cannot read {path}: {reason}", hint="check its name and permissions") from exc
    except Exception as exc:  # on damaged files, Pillow's and tifffile's parsers raise anything
        raise DecodeFailed(
            f"{path} cannot be decoded{_reason(exc)}", hint="it is cut or damaged; fetch it again"
        ) from exc


def by_pillow(path: Path, kind: str) -> Picture:
    """The picture, or an animation's first frame, by Pillow; by libpng or libavif if it has more than 8 bits."""
    with Image.open(path, formats=[kind]) as picture:
        notes = [*_further(picture)]
        bits, color = samples_of(path, picture.format)
        if bits == 8:
            picture.load()
        orientation = orientation_of(picture)
        profile = picture.info.get("icc_profile")
        if bits > 8:
            channels = _channels(decode_deep(path, picture.format, bits))
        else:
            channels, converted = channels_of(picture, path)
            if converted:
                profile = None
        if picture.format == "PNG" and color is not None and color.transfer != SRGB:
            profile = None  # cICP overrides a profile, which is for programs that do not know cICP (W3C PNG, 4.3)
    return assembled(channels, profile, orientation, color, notes)


def orientation_of(picture: Image.Image) -> Orientation:
    """How to turn it upright; Pillow turns TIFF itself."""
    try:
        return EXIF.get(picture.getexif().get(ExifTags.Base.Orientation, 1), EXIF[1])
    except Exception:  # damaged EXIF data in a picture that is whole
        return EXIF[1]


Channels = tuple[Samples, NDArray[Any] | None]
"""(H, W, 1) grey, (H, W, 3) RGB or (H, W, 4) CMYK (0 is no ink); and alpha, if there is any."""


def channels_of(picture: Image.Image, path: Path) -> tuple[Channels, bool]:
    """A loaded Pillow picture's samples, and whether they were converted to sRGB, so that its profile is void."""
    mode = picture.mode
    if mode in ("1", "L", "RGB", "P") and "transparency" in picture.info:
        mode = "PA"
    if mode == "I" or mode.startswith("I;16"):
        return _channels(np.clip(np.asarray(picture), 0, 65535).astype(np.uint16)), False
    if mode == "F":
        return _channels(finite(np.asarray(picture))), False
    if mode == "LAB":
        lab = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        converted = ImageCms.applyTransform(picture, lab)
        assert converted is not None
        return _channels(np.asarray(converted)), True
    if mode == "CMYK":
        return (np.asarray(picture), None), False
    wanted = {"1": "L", "L": "L", "RGB": "RGB", "P": "RGB", "LA": "LA", "RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB"}
    wanted |= dict.fromkeys(("PA", "RGBA", "RGBa"), "RGBA") | {"La": "LA"}
    if mode not in wanted:
        raise DecodeFailed(f"unsupported samples in {path}: {mode}", hint="save it as RGB")
    return _channels(np.asarray(picture.convert(wanted[mode]))), False


def _channels(samples: Samples) -> Channels:
    """Grey, grey and alpha, RGB or RGBA, split into colours and alpha."""
    if samples.ndim == 2:
        return samples[..., None], None
    if samples.shape[2] in (2, 4):
        return samples[..., :-1], np.ascontiguousarray(samples[..., -1])
    return samples, None


def assembled(
    channels: Channels,
    profile: bytes | None,
    orientation: Orientation = EXIF[1],
    color: ColorSpec | None = None,
    notes: list[str] | None = None,
) -> Picture:
    """RGB of grey, RGB or CMYK samples. A profile stays with RGB; grey and CMYK are converted to sRGB by theirs."""
    samples, alpha = channels
    notes = list(notes or ())
    if profile is not None:
        samples, profile = _by_profile(samples, profile, notes)
    elif samples.shape[2] == 4:
        notes.append("CMYK without a profile: converted by the plain rule")
    if samples.shape[2] == 4:
        samples = _from_inks(samples)
    rgb = cv2.merge([np.ascontiguousarray(samples[..., 0])] * 3) if samples.shape[2] == 1 else samples
    if orientation.says:
        notes.append(f"{orientation.says}, as the file asks for")
    if rgb.dtype == np.float32:
        color = rgb_color(transfer=LINEAR)
    if color is None or profile is not None:  # both would convert by the one and tag by the other
        color = rgb_color()
    color = replace(color, bit_depth=8 * rgb.dtype.itemsize)
    upright = None if alpha is None else _owned(orientation(alpha))
    return Picture(_owned(orientation(rgb)), upright, color, profile, tuple(notes))


def _by_profile(samples: Samples, profile: bytes, notes: list[str]) -> tuple[Samples, bytes | None]:
    """The samples, and the profile they have now."""
    space = space_of(profile)
    if space not in {1: ("gray", "rgb"), 3: ("rgb",), 4: ("cmyk",)}[samples.shape[2]]:
        notes.append("its ICC profile is broken or for other colours, and is ignored")
        return samples, None
    if samples.dtype == np.float32:
        notes.append(f"its ICC profile {name_of(profile)} is ignored: floats are read as linear light")
        return samples, None
    if space == "rgb":
        if not is_srgb(profile):
            notes.append(f"ICC profile {name_of(profile)}: kept in PNG and TIFF, converted to sRGB for other outputs")
        return samples, profile
    if space == "cmyk":
        notes.append(f"CMYK converted to sRGB by its profile {name_of(profile)}")
    return to_srgb(samples, profile), None


def _owned(samples: NDArray[Any]) -> NDArray[Any]:
    """Contiguous and writable, as torch wants it; Pillow's memory may be neither."""
    return samples if samples.flags.c_contiguous and samples.flags.writeable else samples.copy()


def _from_inks(inks: Samples) -> Samples:
    """CMYK of unknown inks as RGB: (1 − C)(1 − K)."""
    peak = np.iinfo(inks.dtype).max
    paper = (peak - inks.astype(np.float64)) / peak
    return np.rint(paper[..., :3] * paper[..., 3:] * peak).astype(inks.dtype)


def _by_libheif(path: Path) -> Picture:
    """HEIC's primary image; libheif joins its tiles and turns it."""
    import pi_heif

    file = pi_heif.open_heif(path, convert_hdr_to_8bit=False)
    picture = file[file.primary_index]
    premultiplied = "a" in picture.mode
    samples = np.asarray(picture)
    if samples.dtype == np.uint16:  # 10 or 12 bits shifted up: white has to become white
        bits = int(picture.info.get("bit_depth") or 16)
        samples = np.rint((samples >> (16 - bits)) * (65535 / (2**bits - 1))).astype(np.uint16)
    color = None
    codes = picture.info.get("nclx_profile")
    if isinstance(codes, dict):
        keys = ("color_primaries", "transfer_characteristics")
        color = rgb_color(*(int(codes.get(key, UNSPECIFIED)) for key in keys))
    notes = []
    if len(file) > 1:
        notes.append(left_out(len(file) - 1, "image"))
    if picture.info.get("depth_images"):
        notes.append("its depth image is left out")
    if any("hdrgainmap" in kind for kind in picture.info.get("aux", ())):
        notes.append("its HDR gain map is left out: read as the SDR picture")
    color_part, alpha = _channels(samples)
    if premultiplied and alpha is not None:
        color_part = straight(color_part, alpha)
    return assembled((color_part, alpha), picture.info.get("icc_profile"), color=color, notes=notes)


def _further(picture: Image.Image) -> Iterator[str]:
    frames = getattr(picture, "n_frames", 1)
    if picture.format == "MPO":
        if b"hdrgm:" in picture.info.get("xmp", b""):
            yield "its HDR gain map is left out: read as the SDR picture"
        elif frames > 1:
            yield left_out(frames - 1, "image")
    elif picture.format in WITH_FRAMES and frames > 1:
        yield left_out(frames - 1, "frame")


def _reason(exc: Exception) -> str:
    """What the library says, unless that is only the number of a missing key or tag."""
    said = str(exc).strip().splitlines()
    return f": {said[0]}" if said and not isinstance(exc, LookupError | AssertionError) else ""
