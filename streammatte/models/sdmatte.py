"""SDMatte as a model of regions: a frame and the area where its subject is transparent in, the alpha there out."""

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
from streammatte.models.device import PRECISIONS, choose_device, choose_precision, memory_of
from streammatte.models.store import resolve
from streammatte.models.table import CHECKPOINTS

if TYPE_CHECKING:
    from streammatte.models.nets.sdmatte import SDMatte

SIZE = 1024  # the side of the square that the network was tested with; nothing else matters as much
MULTIPLE = 64  # of that side: the network's deepest grid is at this stride
LARGEST = 2048
MARGIN = 0.25  # of the region's longer side, on every side of it: what is behind the glass goes on beside it
_HINT = "try a smaller --sdmatte-size, or --sdmatte sdmatte-lite; with either, --resume goes on where it can"


@dataclass(frozen=True, slots=True)
class Crop:
    """A rectangle of a frame: rows ``top`` to ``bottom``, columns ``left`` to ``right``, the last of each excluded."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def rows_columns(self) -> tuple[slice, slice]:
        """For the last two axes of a picture."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


class SDMatteRefiner:
    """Mattes what is transparent in one frame.

    Attributes:
        name: What the user knows the checkpoint by.
        device: Where it computes.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        size: The side, in pixels, of the square that the crop is resized to for the network.
    """

    def __init__(self, net: SDMatte, *, name: str, device: torch.device, dtype: torch.dtype, size: int = SIZE) -> None:
        if size % MULTIPLE or not MULTIPLE <= size <= LARGEST:
            allowed = min(LARGEST, max(MULTIPLE, round(size / MULTIPLE) * MULTIPLE))
            raise ModelError(
                f"SDMatte's input cannot be {size} pixels wide: it is a multiple of {MULTIPLE} up to {LARGEST}",
                hint=f"try {allowed}",
            )
        self.name, self.device, self.size = name, device, size
        self.precision = next(name for name, value in PRECISIONS.items() if value is dtype)
        self._stopping = threading.Event()
        with memory_of(device, _HINT, "SDMatte"):
            self._net = net.cast(dtype).to(device)
        for module in self._net.modules():
            module.register_forward_pre_hook(self._go_on)

    def stop(self) -> None:
        """End a call that another thread is in, within a layer of the network: it raises ``KeyboardInterrupt``."""
        self._stopping.set()

    def _go_on(self, *module_and_inputs: object) -> None:
        if self._stopping.is_set():
            raise KeyboardInterrupt

    @torch.inference_mode()
    def __call__(self, frame: Frame, region: Tensor) -> Tensor:
        """The alpha of a frame's transparent subject.

        The network sees a crop around the region alone, at ``size``², is told that its subject is transparent, and
        is prompted with the region as a mask and with the corners of the box around it.

        Args:
            frame: Seen as a screen shows it.
            region: (H, W) bool: where the subject is transparent, one pixel at least.

        Returns:
            (H, W) float32 in [0, 1], on the refiner's device; 0 outside of the crop, where nobody looked.

        Raises:
            OutOfMemory: The network does not fit the device at this size and precision.
        """
        height, width = region.shape
        crop = crop_around(region)
        rows, columns = crop.rows_columns
        with memory_of(self.device, _HINT, "SDMatte"):
            picture = replace(frame, rgb=frame.rgb[:, rows, columns].to(self.device), samples=None).shown()
            image = (
                F.interpolate(picture[None].clamp(0, 1), (self.size, self.size), mode="bilinear", antialias=True) * 2
                - 1
            )
            prompt = _at_size(region[rows, columns].to(self.device), self.size)
            alpha = self._net(
                image, prompt[None, None] * 2 - 1, _corners(prompt), torch.ones(1, device=self.device)
            ).float()
            shape = (crop.bottom - crop.top, crop.right - crop.left)
            inside = F.interpolate(alpha, shape, mode="bilinear", antialias=True)[0, 0].clamp(0, 1)
            return F.pad(inside, (crop.left, width - crop.right, crop.top, height - crop.bottom))


def crop_around(region: Tensor) -> Crop:
    """The square around a region with a margin, or as much of that as the frame has.

    It is moved where it would reach beyond the frame, and made narrower only where the frame itself is: then the
    network sees it squashed, as it was trained with whole pictures of every shape, and the subject keeps all of its
    surroundings; to leave some out, or to make some up, would be worse.

    Raises:
        ValueError: The region is empty.
    """
    rows, columns = region.any(dim=1).nonzero()[:, 0].tolist(), region.any(dim=0).nonzero()[:, 0].tolist()
    if not rows:
        raise ValueError("the region is empty")
    height, width = region.shape
    longer = max(rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0])
    side = max(longer + 2 * round(MARGIN * longer), MULTIPLE)  # of a dot of a region, too, something can be seen
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
    """Make SDMatte ready.

    Args:
        model: A name that ``streammatte models`` lists as one for ``--sdmatte``, a checkpoint file, or a folder laid
            out as on the hub. A file takes the configurations that lie beside it; where none do, the released ones.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; the best one here by default.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``, of the U-Net; the autoencoder is never in fp16.
        size: The side of the square that crops are resized to, a multiple of 64.
        offline: Take what is here; ask no hub.
        on_progress: Told bytes done and in all (if known) while weights are fetched.
        on_notice: Told what the user ought to know.

    Raises:
        ModelError, WeightsMissing, WeightsMismatch: No such model, no weights, or none that fit.
        DeviceMissing, OutOfMemory: The machine lacks what was asked for.
    """
    if precision != "auto" and precision not in PRECISIONS:
        raise ModelError(f"unknown precision {precision!r}", hint=f"one of auto, {', '.join(PRECISIONS)}")
    chosen = choose_device(device)
    path = Path(model)
    known = None
    named = str(model) in (each.name for each in CHECKPOINTS)  # whatever lies in the working directory
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
            f"SDMatte needs diffusers and transformers, and one of them cannot be imported: {exc}",
            hint="`streammatte doctor` says which; install streammatte again into a fresh environment",
        ) from exc

    config = None if known is None else LITE_SDMATTE if known == "sdmatte-lite" else SDMATTE
    with memory_of(chosen, _HINT, "SDMatte"):
        net = load_sdmatte(path, config)
    return SDMatteRefiner(net, name=known or path.name, device=chosen, dtype=_precision(precision, chosen), size=size)


def _precision(name: str, device: torch.device) -> torch.dtype:
    """As :func:`choose_precision`; of its own choice bf16 where there is any: Stable Diffusion 2 overflows fp16.

    On a CPU with AVX-512's bf16 a keyframe takes two thirds of the time and half of the memory.
    """
    cuda = device.type == "cuda" and torch.cuda.is_bf16_supported()
    cpu = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    if name == "auto" and (cuda or cpu):
        return torch.bfloat16
    return choose_precision(name, device)


def _span(first: int, end: int, side: int, whole: int) -> tuple[int, int]:
    """``side`` pixels around those from ``first`` to ``end``, moved and cut to lie within ``whole``."""
    begin = min(max(0, (first + end - side) // 2), max(0, whole - side))
    return begin, min(whole, begin + side)


def _at_size(region: Tensor, size: int) -> Tensor:
    """(size, size) float32: 1 where any of the region's pixels falls, so that none of it is lost however small."""
    shape = region.shape
    region = region.float()[None, None]
    if max(shape) > size:
        region = F.adaptive_max_pool2d(region, (min(shape[0], size), min(shape[1], size)))
    return F.interpolate(region, (size, size), mode="nearest-exact")[0, 0]


def _corners(prompt: Tensor) -> Tensor:
    """(1, 4), x0, y0, x1, y1 of the box around a prompt, in [0, 1] of its sides."""
    rows, columns = prompt.any(dim=1).nonzero()[:, 0], prompt.any(dim=0).nonzero()[:, 0]
    ends = torch.stack((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return (ends / len(prompt))[None]
