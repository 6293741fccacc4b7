"""The pixels of a plate, as a sink stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.media.color import Samples

if TYPE_CHECKING:
    from torch import Tensor

    from streammatte.frame import Plate

AlphaKind = Literal["straight", "premultiplied"]
Content = Literal["plate", "matte"]


class Background(Protocol):
    """What a plate is laid over; see :func:`streammatte.media.background.open_background`."""

    @property
    def lost(self) -> str | None:
        """What of its clip could not be decoded, in one line; known once the clip has run to its end."""
        ...

    def frame(self, plate: Plate) -> Tensor:
        """(3, H, W) float32 in [0, 1], of the plate's own size. Called with plates in order."""
        ...

    def close(self) -> None:
        """Release the file behind it, if there is one."""
        ...


def colors(plate: Plate, alpha: AlphaKind, background: Background | None) -> Samples:
    """(H, W, 3) RGB to be stored: uint8 if the frame's own 8-bit colours are what is asked for, else uint16.

    Straight colours are the plate's foreground as it is; premultiplied ones are multiplied by alpha; with a background
    they are the composite ``foreground · alpha + background · (1 - alpha)``, in gamma-encoded RGB as players blend.
    """
    rgb = plate.frame.rgb if plate.foreground is None else plate.foreground
    if background is None and alpha == "straight":
        return quantised(rgb)
    if not rgb.is_floating_point():
        rgb = plate.frame.as_float()
    coverage = cv2.merge([opacity(plate)] * 3)
    if background is None:
        return quantised(pixels_of(rgb) * coverage)
    behind = pixels_of(background.frame(plate))
    mixed = cv2.subtract(pixels_of(rgb), behind)
    cv2.multiply(mixed, coverage, dst=mixed)
    return quantised(cv2.add(mixed, behind, dst=mixed))


def pixels_of(rgb: Tensor) -> NDArray[Any]:
    """(3, H, W) as a contiguous (H, W, 3) array; free for frames as they are decoded, which lie so in memory."""
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
    # One pass that scales, rounds and saturates. OpenCV's stubs leave out that it takes a scalar for each channel.
    steps: Samples = cv2.multiply(picture, (65535.0,) * 4, dtype=cv2.CV_16U)  # type: ignore[call-overload]
    return steps


def stepped(values: NDArray[np.float32], peak: int) -> NDArray[np.float32]:
    """[0, 1] as whole numbers from 0 to ``peak``, still float32."""
    scaled = np.multiply(values, np.float32(peak))
    return np.rint(scaled, out=scaled)


def opacity(plate: Plate) -> NDArray[np.float32]:
    """(H, W) alpha as an array, contiguous, in [0, 1]."""
    alpha = np.ascontiguousarray(plate.alpha.detach().cpu().numpy(), dtype=np.float32)
    return np.clip(alpha, 0, 1)
