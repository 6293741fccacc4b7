"""SDMatte as a model: a frame and its transparent region in, the alpha there out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from streammatte.errors import ModelError
from streammatte.frame import Frame
from streammatte.models.device import (
    PRECISIONS,
    choose_device,
    choose_precision,
    cores,
    cores_for,
    memory_of,
    stop_at_a_layer,
)
from streammatte.models.graphs import CudaGraphs, Replayed
from streammatte.models.hub import resolve
from streammatte.models.table import CHECKPOINTS

if TYPE_CHECKING:
    from streammatte.models.nets.sdmatte import SDMatte

SIZE = 1024  # the side of the square; nothing else matters as much for quality
MULTIPLE = 64  # the network's deepest grid is at this stride
LARGEST = 2048
MARGIN = 0.25  # of the region's longer side, on all sides: what is behind the glass continues beside it
_HINT = "try a smaller --sdmatte-size, or --sdmatte sdmatte-lite"


@dataclass(frozen=True, slots=True)
class Crop:
    """A rectangle of a frame: rows [top, bottom), columns [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def rows_columns(self) -> tuple[slice, slice]:
        """Indices for the last two axes of an image."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


class SDMatteRefiner:
    """Mattes the transparent objects of one frame.

    Attributes:
        name: The checkpoint's name or file name.
        device: Where it computes.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        size: The side, in pixels, of the square that the crop is resized to for the network.
    """

    def __init__(self, net: SDMatte, *, name: str, device: torch.device, dtype: torch.dtype, size: int = SIZE) -> None:
        if size % MULTIPLE or not MULTIPLE <= size <= LARGEST:
            allowed = min(LARGEST, max(MULTIPLE, round(size / MULTIPLE) * MULTIPLE))
            raise ModelError(
                f"SDMatte's input cannot be {size} pixels wide: it must be a multiple of {MULTIPLE} up to {LARGEST}",
                hint=f"try {allowed}",
                usage=True,
            )
        self.name, self.device, self.size = name, device, size
        self.precision = next(name for name, value in PRECISIONS.items() if value is dtype)
        self._stopping = threading.Event()
        with memory_of(device, _HINT, "SDMatte"):
            # Channels last speeds up its convolutions, but copies weights, which in fp32 are the file itself on a CPU.
            quick = device.type == "cuda" or (device.type == "cpu" and dtype is not torch.float32)
            layout = torch.channels_last if quick else torch.contiguous_format
            net = net.cast(dtype).to(device).to(memory_format=layout)  # type: ignore[call-overload]  # torch's stub lacks it
            self._net = Replayed(net, CudaGraphs(device) if device.type == "cuda" else None)
        stop_at_a_layer(self._net, self._stopping)

    def stop(self) -> None:
        """Make a call in another thread raise ``KeyboardInterrupt`` at the network's next layer."""
        self._stopping.set()

    @torch.inference_mode()
    def __call__(self, frame: Frame, region: Tensor) -> Tensor:
        """The alpha of a frame's transparent objects.

        The network sees only a crop around the region, at ``size``². Its prompt is the region as a mask, the corners of
        the box around it, and the flag for a transparent object.

        Args:
            frame: In the colours that a screen shows.
            region: (H, W) bool, the transparent area; at least one pixel.

        Returns:
            (H, W) float32 in [0, 1], on the refiner's device; 0 outside the crop.

        Raises:
            OutOfMemory: The network does not fit the device at this size and precision.
        """
        height, width = region.shape
        crop = crop_around(region)
        rows, columns = crop.rows_columns
        with memory_of(self.device, _HINT, "SDMatte"), cores(cores_for(self.device, (self.size, self.size))):
            picture = replace(frame, rgb=frame.rgb[:, rows, columns].to(self.device), samples=None).shown()
            image = (
                F.interpolate(picture[None].clamp(0, 1), (self.size, self.size), mode="bilinear", antialias=True) * 2
                - 1
            )
            prompt = at_size(region[rows, columns].to(self.device), self.size)
            alpha = self._net(
                image, prompt[None, None] * 2 - 1, corners(prompt), torch.ones(1, device=self.device)
            ).float()
            shape = (crop.bottom - crop.top, crop.right - crop.left)
            inside = F.interpolate(alpha, shape, mode="bilinear", antialias=True)[0, 0].clamp(0, 1)
            return F.pad(inside, (crop.left, width - crop.right, crop.top, height - crop.bottom))


def crop_around(region: Tensor) -> Crop:
    """The square around a region with a margin, or as much of it as the frame has.

    It is moved if it would reach beyond the frame, and narrower only where the frame is. The network then sees it
    squashed, as it was trained on whole pictures of every shape; cropping or padding the surroundings is worse.

    Raises:
        ValueError: The region is empty.
    """
    rows, columns = region.any(dim=1).nonzero()[:, 0].tolist(), region.any(dim=0).nonzero()[:, 0].tolist()
    if not rows:
        raise ValueError("the region is empty")
    height, width = region.shape
    longer = max(rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0])
    side = max(longer + 2 * round(MARGIN * longer), MULTIPLE)  # even around a single pixel
    top, bottom = _span(rows[0], rows[-1] + 1, side, height)
    left, right = _span(columns[0], columns[-1] + 1, side, width)
    return Crop(top, bottom, left, right)


def load_refiner(
    model: str | PathLike[str] = "sdmatte",
    *,
    device: str | None = None,
    precision: str = "auto",
    size: int = SIZE,
    offline: bool = False,
    on_progress: Callable[[int, int | None], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> SDMatteRefiner:
    """Load SDMatte, downloading its weights if necessary.

    Args:
        model: A name that ``streammatte models`` lists for ``--sdmatte``, a checkpoint file, or a folder laid out as on
            the hub. A file uses the configurations beside it, or else the released ones.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; the best one here by default.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``, of the U-Net; the autoencoder never runs in fp16.
        size: The side of the square that crops are resized to, a multiple of 64.
        offline: Use only what is here.
        on_progress: Called with the bytes done and the total (if known) during a download.
        on_notice: Called with a line for the user.

    Raises:
        ModelError, WeightsMissing, WeightsMismatch: There is no such model, or no weights that fit.
        DeviceMissing, OutOfMemory: This machine has no such device, or too little memory.
    """
    chosen = choose_device(device)
    dtype = _precision(precision, chosen)
    path = Path(model)
    known = None
    named = str(model) in (each.name for each in CHECKPOINTS)  # even if the working directory has a file of that name
    if named or (path.suffix not in (".safetensors", ".pth") and not path.exists()):
        checkpoint, path = resolve(
            str(model),
            device_type=chosen.type,
            offline=offline,
            network="sdmatte",
            on_progress=on_progress,
            on_notice=on_notice,
        )
        known = checkpoint.name

    try:
        from streammatte.models.nets.sdmatte import load_sdmatte
        from streammatte.models.nets.sdmatte_config import LITE_SDMATTE, SDMATTE
    except ImportError as exc:
        raise ModelError(
            f"cannot import diffusers and transformers, which SDMatte needs: {exc}",
            hint="`streammatte doctor` shows which is missing; reinstall streammatte in a fresh environment",
        ) from exc

    config = None if known is None else LITE_SDMATTE if known == "sdmatte-lite" else SDMATTE
    with memory_of(chosen, _HINT, "SDMatte"):
        net = load_sdmatte(path, config)
    return SDMatteRefiner(net, name=known or path.name, device=chosen, dtype=dtype, size=size)


def _precision(name: str, device: torch.device) -> torch.dtype:
    """As :func:`choose_precision`, but ``auto`` prefers bf16, since Stable Diffusion 2 overflows fp16.

    On a CPU with AVX-512's bf16 a keyframe takes two thirds of the time and half the memory.
    """
    cuda = device.type == "cuda" and torch.cuda.is_bf16_supported()
    cpu = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    if name == "auto" and (cuda or cpu):
        return torch.bfloat16
    return choose_precision(name, device)


def _span(first: int, end: int, side: int, whole: int) -> tuple[int, int]:
    """``side`` pixels centred on ``first`` to ``end``, moved and cut to lie within ``whole``."""
    begin = min(max(0, (first + end - side) // 2), max(0, whole - side))
    return begin, min(whole, begin + side)


def at_size(region: Tensor, size: int) -> Tensor:
    """(size, size) float32: 1 wherever any of the region's pixels falls, so that no detail is lost."""
    shape = region.shape
    region = region.float()[None, None]
    if max(shape) > size:
        region = F.adaptive_max_pool2d(region, (min(shape[0], size), min(shape[1], size)))
    return F.interpolate(region, (size, size), mode="nearest-exact")[0, 0]


def corners(prompt: Tensor) -> Tensor:
    """(1, 4): x0, y0, x1, y1 of the box around a prompt, as fractions of its sides."""
    rows, columns = prompt.any(dim=1).nonzero()[:, 0], prompt.any(dim=0).nonzero()[:, 0]
    ends = torch.stack((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return (ends / len(prompt))[None]
