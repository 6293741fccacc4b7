"""The pixels of a plate, as a sink stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from .color import Samples

if TYPE_CHECKING:
    from torch import Tensor

    from ..frame import Plate

AlphaKind = Literal["straight", "premultiplied"]
Content = Literal["plate", "matte"]


class Background(Protocol):
    """What a plate is laid over; see :func:`streammatte.media.background.open_background`."""

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
    if background is None and alpha == "straight":
        return quantised(plate.frame.rgb if plate.foreground is None else plate.foreground)
    foreground = plate.frame.as_float() if plate.foreground is None else plate.foreground
    foreground = foreground.cpu()
    opacity = plate.alpha.cpu().clamp(0, 1)
    if background is None:
        return quantised(foreground * opacity)
    # lerp is exact at both ends: alpha 0 leaves the background's own values, alpha 1 the foreground's.
    return quantised(torch.lerp(background.frame(plate), foreground, opacity))


def quantised(rgb: Tensor) -> Samples:
    """(3, H, W) as a contiguous (H, W, 3) array of integers: floats in [0, 1] become uint16, integers stay."""
    picture = rgb.detach().cpu().permute(1, 2, 0)
    if picture.is_floating_point():
        return stepped(picture.numpy(), 65535).astype(np.uint16, order="C")
    return np.ascontiguousarray(picture.numpy())


def stepped(values: NDArray[np.float32], peak: int) -> NDArray[np.float32]:
    """[0, 1] as whole numbers from 0 to ``peak``, still float32."""
    scaled = np.multiply(values, np.float32(peak))
    np.rint(scaled, out=scaled)
    return np.clip(scaled, 0, peak, out=scaled)


def opacity(plate: Plate) -> NDArray[np.float32]:
    """(H, W) alpha as an array, contiguous."""
    return np.ascontiguousarray(plate.alpha.detach().cpu().numpy(), dtype=np.float32)
