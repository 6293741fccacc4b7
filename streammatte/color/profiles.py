"""ICC profiles: what the colours of a photograph mean, and the same colours in sRGB."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ImageCms

if TYPE_CHECKING:
    from torch import Tensor

    from streammatte.frame import Cutout, Frame

Samples = NDArray[Any]
"""(H, W, C) of uint8, uint16 or float32."""

_SPACE = slice(16, 20)  # where a profile says which colours it is of (ICC.1:2022, 7.2)
_SPACES = {b"RGB ": "rgb", b"GRAY": "gray", b"CMYK": "cmyk"}


@cache
def srgb() -> bytes:
    """sRGB's own profile."""
    profile: bytes = imagecodecs.cms_profile("srgb")
    return profile


def space_of(profile: bytes) -> str | None:
    """``"rgb"``, ``"gray"`` or ``"cmyk"``; ``None`` if nothing can be made of the profile."""
    space = _SPACES.get(profile[_SPACE])
    if space is None:
        return None
    channels = {"rgb": 3, "gray": 1, "cmyk": 4}[space]
    try:
        to_srgb(np.zeros((1, 1, channels), np.uint8), profile)
    except ValueError:
        return None
    return space


def to_srgb(samples: Samples, profile: bytes) -> Samples:
    """(H, W, 3) in sRGB, of the samples' own type, by the profile's relative colorimetry.

    Args:
        samples: (H, W, C) uint8, uint16, or float32 in [0, 1]; C as many as the profile's space has.

    Raises:
        ValueError: The profile is broken, or of something else.
    """
    space = _SPACES.get(profile[_SPACE])
    if space is None:
        raise ValueError("a profile of unknown colours")
    if space == "gray":
        samples = samples[..., 0]
    stored = samples.dtype
    if (
        stored == np.uint16
    ):  # in 16 bits lcms2 interpolates in a coarse table, and is off by up to 15/255 in the shadows
        samples = samples.astype(np.float32) / np.float32(65535)
    if space == "cmyk" and samples.dtype == np.float32:
        samples = samples * np.float32(100)  # percent of ink
    try:
        converted: Samples = imagecodecs.cms_transform(
            np.ascontiguousarray(samples),
            profile,
            srgb(),
            colorspace=space,
            outcolorspace="rgb",
            intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
        )
    except (imagecodecs.CmsError, ValueError) as exc:
        raise ValueError(f"a profile that cannot be used: {exc}") from exc
    if converted.dtype == np.float32:
        np.clip(converted, 0, 1, out=converted)
    return np.rint(converted * np.float32(65535)).astype(np.uint16) if stored == np.uint16 else converted


@cache
def is_srgb(profile: bytes) -> bool:
    """Whether an RGB profile says what pictures without one are taken for, to a step of 8 bits."""
    levels = np.linspace(0, 255, 16).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(64, 64, 3)
    difference = np.abs(to_srgb(cube, profile).astype(int) - cube)
    return bool(difference.max() <= 1)


def frame_in_srgb(frame: Frame, profile: bytes) -> Frame:
    """The frame with its colours in sRGB."""
    return replace(frame, rgb=rgb_in_srgb(frame.rgb, profile), samples=None, view=None)


def in_srgb(cutout: Cutout, profile: bytes | None) -> Cutout:
    """The cut-out in sRGB, for files that carry no profile; itself if it has none, or is sRGB already."""
    if profile is None or is_srgb(profile):
        return cutout
    foreground = None if cutout.foreground is None else rgb_in_srgb(cutout.foreground, profile)
    return replace(cutout, frame=frame_in_srgb(cutout.frame, profile), foreground=foreground)


def rgb_in_srgb(rgb: Tensor, profile: bytes) -> Tensor:
    """(3, H, W) in sRGB, of the same type."""
    pixels = np.ascontiguousarray(rgb.detach().permute(1, 2, 0).cpu().numpy())
    return torch.from_numpy(to_srgb(pixels, profile)).permute(2, 0, 1).to(rgb.device)


def name_of(profile: bytes) -> str:
    """What it is called: "Display P3"."""
    try:
        said = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (OSError, ImageCms.PyCMSError):
        return "without a name"
    return " ".join("".join(each for each in said if each.isprintable() or each == " ").split()) or "without a name"
