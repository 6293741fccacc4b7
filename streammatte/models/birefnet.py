"""BiRefNet as a model: frames in, alphas out, at the network's own input size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from streammatte.errors import ModelError
from streammatte.frame import Frame
from streammatte.models.device import PRECISIONS, choose_device, choose_precision, memory_of
from streammatte.models.nets.birefnet import IMAGENET_MEAN, IMAGENET_STD, NANO, BiRefNet, load_birefnet
from streammatte.models.nets.checkpoint import read_size
from streammatte.models.nets.efficientnet import EfficientNetConfig
from streammatte.models.nets.folding import fold_batch_norms
from streammatte.models.store import find, licence_notice, resolve
from streammatte.models.table import NANO_SIZE

if TYPE_CHECKING:
    from streammatte.models.table import Checkpoint

RELEASED_SIZE = (1024, 1024)  # what a checkpoint of unknown origin is most likely trained at
MULTIPLE = 32  # of the network's input: its deepest features are at this stride
_HINT = "try a smaller --size, --precision fp16, --batch 1, or --model birefnet-lite"
LARGEST = 4096  # the family was trained at up to 2560; a slip of the finger beyond this would take all memory


class BiRefNetModel:
    """Mattes each frame by itself.

    Attributes:
        name: What the user knows the checkpoint by.
        device: Where it computes.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        size: (H, W) that frames are resized to (squashed, as in training) for the network; may be changed at any time.
    """

    def __init__(
        self, net: BiRefNet, *, name: str, device: torch.device, dtype: torch.dtype, size: tuple[int, int]
    ) -> None:
        check_size(size, "--size ")
        self.name, self.device, self.size = name, device, size
        self.precision = next(name for name, value in PRECISIONS.items() if value is dtype)
        self._dtype = dtype
        # Convolutions alone are quicker with channels last; attention's linear layers are not.
        convolves = isinstance(net.config.backbone, EfficientNetConfig)
        self._layout = torch.channels_last if convolves else torch.contiguous_format
        with memory_of(device, _HINT):
            self._net = net.to(device, dtype).to(memory_format=self._layout)  # type: ignore[call-overload]  # torch's stub lacks it
        self._mean = torch.tensor(IMAGENET_MEAN, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(IMAGENET_STD, device=device).view(1, 3, 1, 1)

    @torch.inference_mode()
    def __call__(self, frames: Sequence[Frame]) -> list[Tensor]:
        """Alphas of ``frames``, float32 in [0, 1] at ``size``, on the model's device.

        Raises:
            OutOfMemory: The batch does not fit the device at this size and precision.
        """
        with memory_of(self.device, _HINT):
            batch = torch.cat([self._prepare(frame) for frame in frames])
            logits = self._net(batch.contiguous(memory_format=self._layout)).float()
            return list(logits.sigmoid()[:, 0])

    def _prepare(self, frame: Frame) -> Tensor:
        if frame.rgb.device != self.device:  # what a GPU scales in no time takes a CPU longer than the upload
            frame = replace(frame, rgb=frame.rgb.to(self.device))
        return ((frame.seen(self.size)[None] - self._mean) / self._std).to(self._dtype)


def load_model(
    model: str = "auto",
    *,
    weights: str | PathLike[str] | None = None,
    device: str | None = None,
    precision: str = "auto",
    size: tuple[int, int] | None = None,
    offline: bool = False,
    on_progress: Callable[[int, int | None], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> BiRefNetModel:
    """Make a matter ready.

    Args:
        model: A name that ``streammatte models`` lists, or ``auto``: the best one that is here or can be fetched.
        weights: A checkpoint file to take in its place; ``model`` then says which one it is, if it is a known one.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; the best one here by default.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``.
        size: (H, W) of the network's input, multiples of 32; by default what the checkpoint was trained at.
        offline: Take what is here; ask no hub.
        on_progress: Told bytes done and in all (if known) while weights are fetched.
        on_notice: Told what the user ought to know: a fallback, a licence that forbids commercial use.

    Raises:
        ModelError, WeightsMissing, WeightsMismatch: No such model, no weights, or none that fit.
        DeviceMissing, OutOfMemory: The machine lacks what was asked for.
    """
    if precision != "auto" and precision not in PRECISIONS:
        raise ModelError(f"unknown precision {precision!r}", hint=f"one of auto, {', '.join(PRECISIONS)}")
    chosen = choose_device(device)
    checkpoint: Checkpoint | None = None
    if weights is None:
        checkpoint, path = resolve(
            model, device_type=chosen.type, offline=offline, on_progress=on_progress, on_notice=on_notice
        )
    else:
        path = Path(weights)
        if model != "auto":
            checkpoint = find(model, "birefnet")
            if not checkpoint.commercial and on_notice is not None:
                on_notice(licence_notice(checkpoint))
    net = load_birefnet(path)
    return BiRefNetModel(
        fold_batch_norms(net),
        name=checkpoint.name if checkpoint and weights is None else path.name,
        device=chosen,
        dtype=choose_precision(precision, chosen),
        size=size or input_size(net, path, checkpoint),
    )


def input_size(net: BiRefNet, path: Path, checkpoint: Checkpoint | None = None) -> tuple[int, int]:
    """(H, W) that a checkpoint's network is meant for: as its file says, as the table says, or by its kind."""
    if stated := read_size(path):
        return stated
    return checkpoint.size if checkpoint else NANO_SIZE if net.config == NANO else RELEASED_SIZE


def check_size(size: tuple[int, int], option: str = "") -> None:
    """Raise ``ModelError`` unless a network's input can have that (H, W); the hint says what would do."""
    if any(side % MULTIPLE or not MULTIPLE <= side <= LARGEST for side in size):
        height, width = size
        raise ModelError(
            f"the input cannot be {width}×{height}: its sides are multiples of {MULTIPLE} up to {LARGEST}",
            hint=f"try {option}{_allowed(width)}x{_allowed(height)}",
        )


def _allowed(side: int) -> int:
    return min(LARGEST, max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE))
