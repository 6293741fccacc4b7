"""Backgrounds for composites: a colour, a picture, a clip, or the frame itself out of focus."""

from __future__ import annotations

import re
from collections.abc import Generator
from fractions import Fraction
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import ImageColor
from torch import Tensor

from streammatte.color.codes import SRGB
from streammatte.color.linear import from_linear
from streammatte.color.ycbcr import Samples
from streammatte.errors import InputError
from streammatte.frame import Cutout, Frame, StreamInfo
from streammatte.media.write.composing import Background, opacity, pixels_of

_SCREENS = {"greenscreen": "#00b140", "bluescreen": "#0047bb"}

# The default blur as a share of the height: about what a fast portrait lens does to a room.
_DEFAULT_BLUR = 1 / 36


def open_background(spec: str | PathLike[str], info: StreamInfo) -> Background:
    """Open a background at the size of ``info``.

    Args:
        spec: A colour (``green``, ``#00b140``, ``0,177,64``), a picture, a clip (by time; cut to length or looped),
            ``checker`` (the usual pattern for transparency), ``blur`` or ``blur:RADIUS``: the frame's own surroundings,
            blurred by a Gaussian of that standard deviation in pixels; by default a 36th of the height. Pictures and
            clips are scaled to cover the frame and cropped about their centre.
        info: The stream that will be composited over it.

    Raises:
        InputError: It is none of these, or cannot be read.
    """
    text = str(spec).strip()
    if text == "blur" or text.startswith("blur:"):
        return _BlurredSelf(blur_radius(text, info))
    if text == "checker":
        return Still(_checkerboard(info.width, info.height))
    rgb = parse_color(text)
    if rgb is not None:
        return Still(torch.tensor(rgb, dtype=torch.float32)[:, None, None].expand(3, info.height, info.width) / 255)
    try:
        is_file = bool(Path(text).suffix) or "://" in text or Path(text).exists()
    except OSError as exc:
        raise InputError(
            f"cannot read the background {text}: {exc.strerror}", hint="check its folders and their permissions"
        ) from exc
    if not is_file:
        raise InputError(
            f"{text!r} is not a background",
            hint="give a colour (green, #00b140, 0,177,64), a file, checker, or blur[:RADIUS]",
        )
    return _from_footage(text, info)


def _from_footage(url: str, info: StreamInfo) -> Background:
    from streammatte.media.read.opening import open_video

    with open_video(url) as source:
        frames = iter(source)
        first = next(frames)
        moving = next(frames, None) is not None
    if moving:
        return Clip(url, info, has_alpha=source.has_alpha)
    picture = _cover(first, info.width, info.height, source.info.profile)
    return Still(picture, source.lost, has_alpha=source.has_alpha)


def blur_radius(text: str, info: StreamInfo) -> float:
    """The standard deviation in pixels of ``blur`` or ``blur:RADIUS``."""
    _, _, value = text.partition(":")
    try:
        radius = float(value) if value or text.endswith(":") else info.height * _DEFAULT_BLUR
    except ValueError as exc:
        raise InputError(f"{text!r}: {value!r} is not a radius", hint="give pixels, such as blur:20") from exc
    if not 0 < radius <= info.width + info.height:
        raise InputError(
            f"{text!r}: the radius must be positive and within the frame", hint="give pixels, such as blur:20"
        )
    return radius


def parse_color(text: str) -> tuple[int, int, int] | None:
    """``green``, ``#00b140`` or ``0,177,64`` as (R, G, B) from 0 to 255; ``None`` if it does not look like a colour.

    Raises:
        InputError: It looks like a colour, but is not one.
    """
    text = _SCREENS.get(text.lower(), text)
    if match := re.fullmatch(r"(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})", text):
        text = f"rgb({','.join(match.groups())})"
        if max(map(int, match.groups())) > 255:
            raise InputError(f"not a colour: {match[0]!r} has a component above 255", hint="write R,G,B: 0,177,64")
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError as exc:
        if text.startswith("#"):
            raise InputError(f"{text!r} is not a colour", hint="write #rgb or #rrggbb in hexadecimal") from exc
        return None
    return red, green, blue


def _checkerboard(width: int, height: int) -> Tensor:
    """(3, height, width): squares of two greys, about forty to the height."""
    side = max(2, height // 40)
    y, x = torch.arange(height)[:, None] // side, torch.arange(width) // side
    return torch.where((x + y) % 2 == 0, 0.6, 0.4).expand(3, height, width)


def _cover(frame: Frame, width: int, height: int, profile: bytes | None) -> Tensor:
    """(3, height, width) float32 in sRGB: the frame scaled to cover that size and cropped about its centre."""
    if profile is not None:
        from streammatte.color.profiles import frame_in_srgb

        frame = frame_in_srgb(frame, profile)
    picture = pixels_of(frame.rgb)
    if frame.rgb.is_floating_point():  # linear light, as a screen shows it
        picture = np.clip(from_linear(picture, SRGB), 0, 1)
    picture = covering(picture, width, height, enlarged_by=cv2.INTER_CUBIC)
    peak = 1.0 if frame.rgb.is_floating_point() else float(np.iinfo(picture.dtype).max)
    return torch.from_numpy(picture.astype(np.float32) / np.float32(peak)).permute(2, 0, 1)


def covering(picture: Samples, width: int, height: int, *, enlarged_by: int) -> Samples:
    """Scaled to cover that size, and cropped about its centre."""
    rows, columns = picture.shape[:2]
    keep_x, keep_y = covered(columns, rows, width, height)
    x, y = (columns - keep_x) // 2, (rows - keep_y) // 2
    picture = picture[y : y + keep_y, x : x + keep_x]
    if picture.shape[:2] == (height, width):
        return picture
    smaller = max(width / columns, height / rows) < 1
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else enlarged_by)


def covered(columns: int, rows: int, width: int, height: int) -> tuple[int, int]:
    """(W, H) of the part of a picture that covers ``width × height``."""
    scale = max(width / columns, height / rows)
    return min(columns, round(width / scale)), min(rows, round(height / scale))


class Still:
    """The same picture behind every frame."""

    def __init__(self, picture: Tensor, lost: str | None = None, *, has_alpha: bool = False) -> None:
        self.lost, self.has_alpha = lost, has_alpha
        self._picture = picture

    def frame(self, cutout: Cutout) -> Tensor:
        return self._picture

    def close(self) -> None:
        """Nothing is held open."""


class Clip:
    """A looped clip: behind each cut-out the frame shown at its time, counted from the first cut-out."""

    def __init__(self, url: str, info: StreamInfo, *, has_alpha: bool = False) -> None:
        self.lost: str | None = None
        self.has_alpha = has_alpha
        self._url = url
        self._info = info
        self._profile: bytes | None = None
        self._begin: int | None = None
        self._timeline = self._loop()
        self._shown = next(self._timeline)
        self._next = next(self._timeline)
        self._picture: tuple[Frame, Tensor] | None = None

    def frame(self, cutout: Cutout) -> Tensor:
        if self._begin is None:
            self._begin = cutout.frame.pts
        now = (cutout.frame.pts - self._begin) * self._info.time_base
        while self._next[0] <= now:
            self._shown, self._next = self._next, next(self._timeline)
        frame = self._shown[1]
        if self._picture is None or self._picture[0] is not frame:
            self._picture = frame, _cover(frame, self._info.width, self._info.height, self._profile)
        return self._picture[1]

    def close(self) -> None:
        self._timeline.close()

    def _loop(self) -> Generator[tuple[Fraction, Frame]]:
        """(seconds from the start, frame), endlessly."""
        from streammatte.media.read.opening import open_video

        begin = Fraction(0)
        with open_video(self._url, interlaced="deinterlace") as source:
            self._profile = source.info.profile
            while True:
                end = begin
                first: int | None = None
                for frame in source:
                    first = frame.pts if first is None else first
                    time = begin + (frame.pts - first) * source.info.time_base
                    end = time + (frame.duration * source.info.time_base or 1 / source.info.frame_rate)
                    yield time, frame
                begin = end
                self.lost = source.lost


class _BlurredSelf:
    """The frame's own surroundings, out of focus.

    Pixels count by how much background they show, so that no ghost surrounds the subject (normalised convolution,
    Knutsson and Westin 1993).
    """

    lost = None
    has_alpha = False

    def __init__(self, radius: float) -> None:
        self._radius = radius

    def frame(self, cutout: Cutout) -> Tensor:
        picture = pixels_of(cutout.frame.as_float())
        height, width = picture.shape[:2]
        # Squared, since a pixel that is half subject has half its colour, too. The floor fills what no background
        # reaches.
        weight: Samples = np.square(1 - opacity(cutout)) + np.float32(1e-4)
        # At a fraction of the size, a wide Gaussian is as good and hundreds of times quicker.
        step = max(1, int(self._radius // 4))
        size = max(1, width // step), max(1, height // step)
        weighted: Samples = cv2.resize(picture * cv2.merge([weight] * 3), size, interpolation=cv2.INTER_AREA)
        weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
        sigma = self._radius * size[0] / width
        weighted = cv2.GaussianBlur(weighted, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        weight = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        blurred = cv2.resize(
            cv2.divide(weighted, cv2.merge([weight] * 3)), (width, height), interpolation=cv2.INTER_LINEAR
        )
        return torch.from_numpy(blurred).permute(2, 0, 1)

    def close(self) -> None:
        """Nothing is held open."""
