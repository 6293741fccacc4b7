"""A cut-out's pixels, as writers store them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.color.codes import SRGB, is_light
from streammatte.color.linear import from_linear
from streammatte.color.ycbcr import Samples, strips

if TYPE_CHECKING:
    from torch import Tensor

    from streammatte.frame import Cutout, StreamInfo

AlphaKind = Literal["straight", "premultiplied"]
Content = Literal["plate", "matte", "foreground", "above", "beside"]
"""The stored part of a cut-out: colours with alpha (or over a background), the alpha alone in grey, the straight
colours alone (the fill), or both in one picture, the fill above its matte or to the left of it."""


class Background(Protocol):
    """A background for cut-outs; see :func:`streammatte.media.background.open_background`."""

    @property
    def lost(self) -> str | None:
        """The damage of its clip, in one line; known at the clip's end."""
        ...

    @property
    def has_alpha(self) -> bool:
        """Its picture or clip has an alpha, which is ignored."""
        ...

    def frame(self, cutout: Cutout) -> Tensor:
        """(3, H, W) float32 in [0, 1], of the cut-out's own size. Called with cut-outs in order."""
        ...

    def close(self) -> None:
        """Release the file behind it, if there is one."""
        ...


@dataclass(frozen=True, slots=True)
class Contents:
    """What of a cut-out an output holds.

    Attributes:
        part: The part that is stored.
        alpha: What its colours are beside an alpha or a matte.
        composite: They are over a background.
        background: That background; ``None`` while it is not open, and where the cut-outs are composites already.
    """

    part: Content = "plate"
    alpha: AlphaKind = "straight"
    composite: bool = False
    background: Background | None = None

    @property
    def has_alpha(self) -> bool:
        """Whether an alpha is stored as such."""
        return self.part == "plate" and not self.composite

    @property
    def says(self) -> str:
        """The contents in words, as files and summaries state them."""
        if self.part == "matte":
            return "matte"
        if self.composite:
            return "composite"
        if self.part == "foreground":
            return "fill, straight colours without their alpha"
        if self.part == "plate":
            return f"{self.alpha} alpha"
        return f"fill {self.part} its matte, {self.alpha}"

    @property
    def told(self) -> str:
        """What the description of a finished output adds: the background's damage, and that its alpha is ignored."""
        if self.background is None:
            return ""
        damage = f" (the background is damaged: {self.background.lost})" if self.background.lost else ""
        return damage + (" (the background's own alpha was ignored)" if self.background.has_alpha else "")

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of what is stored of cut-outs of that size."""
        if self.part not in ("above", "beside"):
            return width, height
        width, height = width + width % 2, height + height % 2
        return (width, 2 * height) if self.part == "above" else (2 * width, height)

    def close(self) -> None:
        """Release the background."""
        if self.background is not None:
            self.background.close()


def alpha_of(suffix: str, asked: AlphaKind | None, content: Content, *, composite: bool) -> AlphaKind | None:
    """The kind of alpha, or of colours beside a matte, that an output holds; ``None`` where it holds no alpha."""
    if content in ("matte", "foreground") or composite:
        return None
    return asked or default_alpha(suffix)


def default_alpha(suffix: str) -> AlphaKind:
    """What programs expect of files with that suffix."""
    return "premultiplied" if suffix.lower() == ".exr" else "straight"


class IntegerPictures:
    """A cut-out as samples of 8 or 16 bits: (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA.

    Args:
        curve: Linear light is stored by this curve (H.273).
        keeps_profile: The file can hold an ICC profile. Colours become sRGB if it cannot.

    Attributes:
        kind: "grey", "RGB" or "RGBA".
        what: The contents, for people.
        says: The same, and what of the stream they cannot hold.
        profile: The ICC profile to store: the source's own, unless the picture is a composite or a matte.
    """

    def __init__(
        self,
        info: StreamInfo,
        contents: Contents,
        *,
        bits: int,
        curve: int = SRGB,
        keeps_profile: bool = True,
    ) -> None:
        self.contents = contents
        self.bits = bits
        self._curve = curve if is_light(info.color) else None
        keeps = keeps_profile and not contents.composite and contents.part != "matte"
        self.profile = info.profile if keeps else None
        self._converts_from = None if keeps else info.profile
        self.kind = "grey" if contents.part == "matte" else "RGBA" if contents.has_alpha else "RGB"
        self.what = f"{self.kind} {bits} bit, {contents.says}"
        self.says = self.what + ("" if info.timecode is None else f", timecode {info.timecode} left out")

    def __call__(self, cutout: Cutout) -> Samples:
        dtype: type[np.uint8] | type[np.uint16] = np.uint8 if self.bits == 8 else np.uint16
        matte: Samples = stepped(opacity(cutout), 2**self.bits - 1).astype(dtype)
        if self.kind == "grey":
            return matte
        from streammatte.color.profiles import in_srgb  # imports a library of codecs

        cutout = in_srgb(cutout, self._converts_from)
        rgb = at_depth(picture(cutout, self.contents, curve=self._curve), self.bits)
        if self.kind != "RGBA":
            return rgb
        rgba: Samples = np.empty((*matte.shape, 4), dtype)
        for rows in strips(len(matte)):
            cv2.merge([*cv2.split(rgb[rows]), matte[rows]], rgba[rows])
        return rgba


def picture(cutout: Cutout, contents: Contents, *, curve: int | None = None) -> Samples:
    """(H, W, 3) RGB to be stored: uint8 if its colours have 8 bits and are not computed here, else uint16.

    A pair is twice as high or as wide, with both halves of even size.

    Args:
        contents: Anything but a matte alone.
        curve: H.273 curve for a cut-out in linear light; ``None`` stores it unchanged.
    """
    if curve is not None:
        cutout = encoded(cutout, curve)
    if contents.part == "foreground":
        return colors(cutout, "straight", None)
    rgb = colors(cutout, contents.alpha, contents.background)
    return rgb if contents.part == "plate" else _paired(rgb, opacity(cutout), contents.part)


def colors(cutout: Cutout, alpha: AlphaKind, background: Background | None) -> Samples:
    """:func:`blended` in integers: uint8 if these are colours of 8 bits, else uint16."""
    return quantised(blended(cutout, alpha, background))


def blended(cutout: Cutout, alpha: AlphaKind, background: Background | None) -> NDArray[Any]:
    """(H, W, 3) RGB: the colours' own type or, if computed here, float32.

    Straight colours are the cut-out's foreground; premultiplied ones are multiplied by alpha; with a background they
    are the composite ``foreground · alpha + background · (1 - alpha)``, in gamma-encoded RGB as players blend.
    """
    rgb = cutout.frame.rgb if cutout.foreground is None else cutout.foreground
    if background is None and alpha == "straight":
        return pixels_of(rgb)
    rgb = cutout.as_float()
    coverage = cv2.merge([opacity(cutout)] * 3)
    if background is None:
        return pixels_of(rgb) * coverage
    behind = pixels_of(background.frame(cutout))
    mixed = cv2.subtract(pixels_of(rgb), behind)
    cv2.multiply(mixed, coverage, dst=mixed)
    return cv2.add(mixed, behind, dst=mixed)


def encoded(cutout: Cutout, curve: int) -> Cutout:
    """A cut-out in linear light, gamma-encoded for video and integer pictures."""
    import torch

    def by_curve(rgb: Tensor) -> Tensor:
        return torch.from_numpy(from_linear(pixels_of(rgb), curve)).permute(2, 0, 1)

    frame = replace(cutout.frame, rgb=by_curve(cutout.frame.as_float()))
    return replace(cutout, frame=frame, foreground=None if cutout.foreground is None else by_curve(cutout.as_float()))


def _paired(rgb: Samples, alpha: NDArray[np.float32], layout: Content) -> Samples:
    """Fill and matte in one uint16 picture, an odd edge repeated once, so that no chroma sample spans both."""
    fill = at_depth(rgb, 16)
    matte: Samples = cv2.merge([stepped(alpha, 65535).astype(np.uint16)] * 3)
    height, width = alpha.shape
    halves = [cv2.copyMakeBorder(half, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE) for half in (fill, matte)]
    return np.concatenate(halves, axis=0 if layout == "above" else 1)


def at_depth(rgb: Samples, bits: int) -> Samples:
    """In 8 or 16 bits, white staying white: a factor of 257."""
    if bits == 8 and rgb.dtype == np.uint16:
        return np.asarray(cv2.convertScaleAbs(rgb, alpha=1 / 257), np.uint8)
    if bits == 16 and rgb.dtype == np.uint8:
        return rgb.astype(np.uint16) * np.uint16(257)
    return rgb


def pixels_of(rgb: Tensor) -> NDArray[Any]:
    """(3, H, W) as a contiguous (H, W, 3) array; free for decoded frames, which have that layout in memory."""
    rgb = rgb.detach().cpu()
    picture: NDArray[Any] = rgb.permute(1, 2, 0).numpy()
    if picture.flags.c_contiguous:
        return picture
    return cv2.merge([np.ascontiguousarray(channel.numpy()) for channel in rgb])


def quantised(rgb: Tensor | NDArray[Any]) -> Samples:
    """A contiguous (H, W, 3) array of integers: floats in [0, 1] become uint16, rounded; integers stay."""
    picture = rgb if isinstance(rgb, np.ndarray) else pixels_of(rgb)
    if np.issubdtype(picture.dtype, np.integer):
        return picture
    # One pass that scales, rounds and saturates, in half the time of OpenCV's multiplication by a scalar.
    steps: Samples = cv2.addWeighted(picture, 65535.0, picture, 0, 0, dtype=cv2.CV_16U)
    return steps


def stepped(values: NDArray[np.float32], peak: int) -> NDArray[np.float32]:
    """[0, 1] as whole numbers from 0 to ``peak``, still float32."""
    scaled = np.multiply(values, np.float32(peak))
    return np.rint(scaled, out=scaled)


def opacity(cutout: Cutout, rows: slice = slice(None)) -> NDArray[np.float32]:
    """(H, W) alpha, or some of its rows, as an array, contiguous, in [0, 1]."""
    alpha = np.ascontiguousarray(cutout.alpha[rows].detach().cpu().numpy(), dtype=np.float32)
    return np.clip(alpha, 0, 1)
