"""Still pictures, read by libraries made for them: Pillow, libheif, and libpng where samples have 16 bits."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
import pi_heif
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from streammatte.color.linear import LINEAR, SRGB
from streammatte.color.profiles import is_srgb, name_of, space_of, to_srgb
from streammatte.color.ycbcr import RGB_MATRIX, Samples
from streammatte.errors import DecodeFailed, InputError, SourceNotFound, StreammatteError
from streammatte.frame import ColorSpec, Cutout, Frame, StreamInfo
from streammatte.media.read.alpha import is_grey
from streammatte.media.read.kinds import LARGEST, WITH_FRAMES
from streammatte.media.read.orientation import Orientation
from streammatte.media.read.stated import decode_deep, samples_of

logging.getLogger("imagecodecs").addHandler(logging.NullHandler())  # damage is an error here, not a line on the screen

_UNSPECIFIED = 2  # of H.273's codes

# EXIF's orientations (CIPA DC-008, 4.6.4): rows and columns swapped, then columns reversed, then rows.
ORIENTATIONS = {
    1: Orientation(False, False, False),
    2: Orientation(False, True, False),
    3: Orientation(False, True, True),
    4: Orientation(False, False, True),
    5: Orientation(True, False, False),
    6: Orientation(True, True, False),
    7: Orientation(True, True, True),
    8: Orientation(True, False, True),
}


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """One picture, upright.

    Attributes:
        rgb: (H, W, 3) uint8, uint16 or float32. Floats are linear light, whose values may be above 1.
        alpha: (H, W), of the same type; ``None`` if it has none.
        profile: The ICC profile that ``rgb`` is of; ``None`` for sRGB, or what ``color`` says.
        color: Of ``rgb``.
        notes: What a user should know of how it was read, a line each.
    """

    rgb: Samples
    alpha: NDArray[Any] | None
    color: ColorSpec
    profile: bytes | None = None
    notes: tuple[str, ...] = ()


class StillPicture:
    """A picture file as a source of one frame; ``cutouts()`` gives its alpha.

    Attributes:
        info: Its rate is 24; pictures state none.
        has_alpha, notes: As of :class:`~streammatte.media.read.file_source.FileSource`.

    Raises:
        SourceNotFound: The file cannot be read.
        DecodeFailed: It is damaged, or of a kind that is not read.
    """

    lost: str | None = None
    first_number = 1
    states_rate = False

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self._picture = read_picture(path, kind)
        self.has_alpha = self._picture.alpha is not None
        self.notes = list(self._picture.notes)
        height, width = self._picture.rgb.shape[:2]
        self.info = StreamInfo(
            width,
            height,
            Fraction(1, 24),
            Fraction(24),
            1,
            self._picture.color,
            profile=self._picture.profile,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held open."""

    def __iter__(self) -> Iterator[Frame]:
        yield frame_of(self._picture, 0, 0)

    def cutouts(self) -> Iterator[Cutout]:
        """The frame with its alpha; of grey without one, the grey is it.

        Raises:
            InputError: It holds neither.
        """
        yield plate_of(self._picture, 0, 0, self._path, has_alpha=self.has_alpha)


def frame_of(picture: Decoded, pts: int, index: int, duration: int = 0) -> Frame:
    """The picture as a frame without its alpha."""
    return Frame(torch.from_numpy(picture.rgb).permute(2, 0, 1), pts, index, duration)


def plate_of(
    picture: Decoded, pts: int, index: int, path: Path, *, has_alpha: bool = True, duration: int = 0
) -> Cutout:
    """The picture as a frame with its alpha: its own, that of an opaque picture, or the grey of a matte.

    Args:
        has_alpha: The footage has, be this picture of it opaque or not.

    Raises:
        InputError: The footage has no alpha, and the picture has colours.
    """
    frame = frame_of(picture, pts, index, duration)
    if picture.alpha is not None:
        return Cutout(frame, torch.from_numpy(_shares(picture.alpha)))
    if has_alpha:
        return Cutout(frame, torch.ones(frame.rgb.shape[1:]))
    if not is_grey(picture.rgb if picture.rgb.dtype != np.float32 else _in_steps(picture.rgb)):
        raise InputError(
            f"{path} has neither alpha nor a greyscale picture",
            hint="give a plate (.mov, .webm, RGBA pictures) or a matte in grey",
        )
    return Cutout(frame, torch.from_numpy(_shares(picture.rgb[..., 1])))


def read_picture(path: Path, kind: str) -> Decoded:
    """Decode a picture file.

    Args:
        kind: As :func:`~streammatte.media.read.kinds.picture_kind` tells it.

    Raises:
        SourceNotFound: The file cannot be read.
        DecodeFailed: It is damaged, too large, or of a kind that is not read.
    """
    with decoding(path):
        if kind == "TIFF":
            from streammatte.media.read.tiff import read_tiff

            return read_tiff(path)
        if kind == "HEIF":
            return _by_libheif(path)
        return by_pillow(path, kind)


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """What a library raises on a damaged file, translated; its warnings are not shown."""
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
        raise SourceNotFound(f"{path} cannot be read: {reason}", hint="check its name and permissions") from exc
    except Exception as exc:  # of damaged files, Pillow's and tifffile's parsers raise whatever Python has
        raise DecodeFailed(
            f"{path} cannot be decoded{_reason(exc)}", hint="it is cut or damaged; fetch it again"
        ) from exc


def by_pillow(path: Path, kind: str) -> Decoded:
    """The picture, or an animation's first frame, as Pillow reads it; of more than 8 bits as libpng and libavif do."""
    with Image.open(path, formats=[kind]) as picture:
        notes = [*_left_out(picture)]
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
            profile = None  # cICP goes before a profile, which is for programs that do not know it (W3C PNG, 4.3)
    return assembled(channels, profile, orientation, color, notes)


def orientation_of(picture: Image.Image) -> Orientation:
    """What makes it stand upright; of TIFF, which Pillow turns itself, nothing."""
    try:
        return ORIENTATIONS.get(picture.getexif().get(ExifTags.Base.Orientation, 1), ORIENTATIONS[1])
    except Exception:  # damaged EXIF data say nothing, and the picture is whole
        return ORIENTATIONS[1]


Channels = tuple[Samples, NDArray[Any] | None]
"""(H, W, 1), (H, W, 3) or (H, W, 4) of grey, RGB or CMYK (0 is no ink); and alpha, if there is any."""


def channels_of(picture: Image.Image, path: Path) -> tuple[Channels, bool]:
    """A loaded Pillow picture's samples; and whether they are in sRGB now, whatever its profile says.

    Raises:
        DecodeFailed: Nothing is known of its mode.
    """
    mode = picture.mode
    if mode in ("1", "L", "RGB", "P") and "transparency" in picture.info:
        mode = "PA"
    if mode == "I" or mode.startswith("I;16"):
        return _channels(np.clip(np.asarray(picture), 0, 65535).astype(np.uint16)), False
    if mode == "F":
        return _channels(np.nan_to_num(np.asarray(picture, np.float32))), False
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
        raise DecodeFailed(f"{path} has samples of a kind that is not read: {mode}", hint="save it as RGB")
    return _channels(np.asarray(picture.convert(wanted[mode]))), False


def _channels(samples: Samples) -> Channels:
    """Grey, grey and alpha, RGB or RGBA, taken apart."""
    if samples.ndim == 2:
        return samples[..., None], None
    if samples.shape[2] in (2, 4):
        return samples[..., :-1], np.ascontiguousarray(samples[..., -1])
    return samples, None


def assembled(
    channels: Channels,
    profile: bytes | None,
    orientation: Orientation = ORIENTATIONS[1],
    color: ColorSpec | None = None,
    notes: list[str] | None = None,
) -> Decoded:
    """RGB of grey, RGB or CMYK samples. A profile stays with RGB; grey and CMYK are converted to sRGB by theirs."""
    samples, alpha = channels
    notes = list(notes or ())
    count = samples.shape[2]
    if profile is not None:
        fits = {1: ("gray", "rgb"), 3: ("rgb",), 4: ("cmyk",)}[count]
        space = space_of(profile)
        if space not in fits:
            notes.append("its ICC profile is broken or of other colours, and is ignored")
            profile = None
        elif samples.dtype == np.float32:
            notes.append(f"its ICC profile {name_of(profile)} is ignored: floats are read as linear light")
            profile = None
        elif space == "rgb" and not is_srgb(profile):
            notes.append(f"ICC profile {name_of(profile)}: kept in PNG and TIFF, converted to sRGB for other outputs")
        elif space == "cmyk":
            notes.append(f"CMYK converted to sRGB by its profile {name_of(profile)}")
        if space in ("gray", "cmyk") and profile is not None:
            samples, profile = to_srgb(samples, profile), None
    elif count == 4:
        notes.append("CMYK without a profile: converted by the plain rule")
    if samples.shape[2] == 4:
        samples = _from_inks(samples)
    rgb = cv2.merge([np.ascontiguousarray(samples[..., 0])] * 3) if samples.shape[2] == 1 else samples
    if orientation.says:
        notes.append(f"{orientation.says}, as the file asks for")
    if rgb.dtype == np.float32:
        color = ColorSpec(True, RGB_MATRIX, _UNSPECIFIED, LINEAR)
    if color is None or profile is not None:  # both at once would be converted by the one and tagged by the other
        color = ColorSpec(True, RGB_MATRIX)
    color = replace(color, bit_depth=8 * rgb.dtype.itemsize)
    upright = None if alpha is None else orientation(alpha)
    return Decoded(_owned(orientation(rgb)), None if upright is None else _owned(upright), color, profile, tuple(notes))


def _owned(samples: NDArray[Any]) -> NDArray[Any]:
    """Contiguous and writable, as torch wants it; Pillow's own memory is neither always."""
    return samples if samples.flags.c_contiguous and samples.flags.writeable else samples.copy()


def _from_inks(inks: Samples) -> Samples:
    """CMYK of unknown inks as RGB: (1 − C)(1 − K)."""
    peak = np.iinfo(inks.dtype).max
    paper = (peak - inks.astype(np.float64)) / peak
    rgb: Samples = np.rint(paper[..., :3] * paper[..., 3:] * peak).astype(inks.dtype)
    return rgb


def _by_libheif(path: Path) -> Decoded:
    """HEIC's primary image; libheif itself joins its tiles and turns it."""
    file = pi_heif.open_heif(path, convert_hdr_to_8bit=False)
    picture = file[file.primary_index]
    premultiplied = "a" in picture.mode
    samples = np.asarray(picture)
    if samples.dtype == np.uint16:  # libheif's 10 or 12 bits, shifted up: white has to be white
        bits = int(picture.info.get("bit_depth") or 16)
        samples = np.rint((samples >> (16 - bits)) * (65535 / (2**bits - 1))).astype(np.uint16)
    color = None
    codes = picture.info.get("nclx_profile")
    if isinstance(codes, dict):
        primaries, transfer = (int(codes.get(f"{what}", 2)) for what in ("color_primaries", "transfer_characteristics"))
        color = ColorSpec(True, RGB_MATRIX, primaries, transfer)
    notes = []
    if len(file) > 1:
        notes.append(more(len(file) - 1, "image"))
    if picture.info.get("depth_images"):
        notes.append("its depth image is left out")
    if any("hdrgainmap" in kind for kind in picture.info.get("aux", ())):
        notes.append("its HDR gain map is left out: read as the SDR picture")
    color_part, alpha = _channels(samples)
    if premultiplied and alpha is not None:
        color_part = straight(color_part, alpha)
    return assembled((color_part, alpha), picture.info.get("icc_profile"), color=color, notes=notes)


def straight(colors: Samples, alpha: NDArray[Any]) -> Samples:
    """(H, W, C) integers that were multiplied by ``alpha``, divided by it again; 0 where it is 0."""
    peak = np.iinfo(colors.dtype).max
    divided = colors.astype(np.float64) * peak / np.maximum(alpha, 1)[..., None]
    result: Samples = np.rint(np.minimum(divided, peak)).astype(colors.dtype)
    return result


def more(count: int, what: str) -> str:
    """The line on what a file holds beside the picture that was read."""
    return f"1 more {what} in the file is left out" if count == 1 else f"{count} more {what}s in the file are left out"


def _left_out(picture: Image.Image) -> Iterator[str]:
    frames = getattr(picture, "n_frames", 1)
    if picture.format == "MPO":
        if b"hdrgm:" in picture.info.get("xmp", b""):
            yield "its HDR gain map is left out: read as the SDR picture"
        elif frames > 1:
            yield more(frames - 1, "image")
    elif picture.format in WITH_FRAMES and frames > 1:
        yield more(frames - 1, "frame")


def _shares(samples: NDArray[Any]) -> NDArray[np.float32]:
    if samples.dtype == np.float32:
        shares: NDArray[np.float32] = np.clip(samples, 0, 1)
    else:
        shares = samples.astype(np.float32) / np.float32(np.iinfo(samples.dtype).max)
    return shares


def _in_steps(light: Samples) -> Samples:
    steps: Samples = np.rint(np.clip(light, 0, 1) * 65535).astype(np.uint16)
    return steps


def _reason(exc: Exception) -> str:
    """What a library says, where it says anything to people: of a missing key or tag there is only its number."""
    said = str(exc).strip().splitlines()
    return f": {said[0]}" if said and not isinstance(exc, LookupError | AssertionError) else ""
