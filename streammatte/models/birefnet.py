"""BiRefNet as a model: frames in, alphas out, at the network's own input size."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from streammatte.errors import ModelError, OutOfMemory, refusing
from streammatte.frame import Frame
from streammatte.models.device import (
    PRECISIONS,
    choose_device,
    choose_precision,
    cores,
    cores_for,
    frames_at_once,
    free_memory,
    memory_of,
    peak_of,
    stop_at_a_layer,
)
from streammatte.models.graphs import CudaGraphs, Replayed
from streammatte.models.hub import resolve
from streammatte.models.nets.birefnet import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    NANO,
    BiRefNet,
    fold_batch_norms,
    load_birefnet,
)
from streammatte.models.nets.checkpoint import read_size
from streammatte.models.nets.efficientnet import EfficientNetConfig
from streammatte.models.nets.packed import pack
from streammatte.models.table import NANO_SIZE, Checkpoint, find

RELEASED_SIZE = (1024, 1024)  # of most checkpoints
MULTIPLE = 32  # the network's deepest features are at this stride
LARGEST = 4096  # the family was trained at up to 2560; a typing error would use up all memory
AT_ONCE = 8  # frames in one call, unless more are asked for; each of them is held, at its own size, too
_HINT = "try a smaller --size, --precision fp16 or --batch 1"


class BiRefNetModel:
    """Mattes each frame by itself. Calls from several threads take turns.

    Attributes:
        name: The checkpoint's name or file name.
        device: Where it computes.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        size: (H, W) that frames are squashed to for the network, as in training; may be changed at any time.
        weights: The checkpoint file, if it came from one.
    """

    def __init__(
        self,
        net: BiRefNet,
        *,
        name: str,
        device: torch.device,
        dtype: torch.dtype,
        size: tuple[int, int],
        weights: Path | None = None,
    ) -> None:
        check_size(size, "--size ")
        self.name, self.device, self.size, self.weights = name, device, size, weights
        self.precision = next(name for name, value in PRECISIONS.items() if value is dtype)
        self._dtype = dtype
        self._turn = threading.Lock()
        self._most: int | None = None  # frames at a time, once more than that were too many
        self._measured: tuple[tuple[int, int], int] | None = None  # as many as memory has room for, at that size
        # Channels last speeds up convolutions, but not the linear layers of attention.
        convolves = isinstance(net.config.backbone, EfficientNetConfig)
        self._layout = torch.channels_last if convolves else torch.contiguous_format
        self._hint = _HINT if net.config == NANO else f"{_HINT}, or a smaller --model"
        with memory_of(device, self._hint):
            net = net.to(device, dtype).to(memory_format=self._layout)  # type: ignore[call-overload]  # torch's stub lacks it
            if device.type == "cpu" and convolves:
                pack(net)
            self._net = Replayed(net, CudaGraphs(device) if device.type == "cuda" else None)
        self._mean = torch.tensor(IMAGENET_MEAN, device=device).view(3, 1, 1)
        self._std = torch.tensor(IMAGENET_STD, device=device).view(3, 1, 1)

    def __repr__(self) -> str:
        height, width = self.size
        return f"BiRefNetModel({self.name!r}, {width}×{height}, {self.precision} on {self.device})"

    def obey(self, stopping: threading.Event) -> None:
        """Once that is set, a call raises ``KeyboardInterrupt`` before the network's next layer."""
        stop_at_a_layer(self._net, stopping)

    @torch.inference_mode()
    def __call__(self, frames: Sequence[Frame]) -> list[Tensor]:
        """Alphas of ``frames``: (H, W) float32 in [0, 1], each of ``size``, on ``device``.

        Frames that do not fit the device's memory together are halved, for this call and later ones.

        Raises:
            OutOfMemory: Not even one frame fits the device at this size and precision.
        """
        alphas: list[Tensor] = []
        while left := frames[len(alphas) :]:
            most = self._most or len(left)
            if self._measured is not None and self._measured[0] == self.size:
                most = min(most, self._measured[1])
            several = left[:most]
            try:
                alphas += self._together(several)
            except OutOfMemory:
                if len(several) == 1:
                    raise
                self._most = len(several) // 2
        return alphas

    @torch.inference_mode()
    def at_once(self) -> int:
        """Frames to hand over in one call: as many as a CUDA device's free memory holds, up to ``AT_ONCE``; else 1.

        It measures a blank frame there, which also loads CUDA's libraries.

        Raises:
            OutOfMemory: Not even one frame fits the device at this size and precision.
        """
        if self.device.type != "cuda":
            return 1
        with self._turn, memory_of(self.device, self._hint):
            blank = torch.zeros(1, 3, *self.size, device=self.device, dtype=self._dtype)
            blank = blank.contiguous(memory_format=self._layout)
            _, per_frame = peak_of(self.device, partial(self._net.net, blank))  # a replay would hide what it takes
            count = frames_at_once(free_memory(self.device), per_frame, AT_ONCE)
            # Subjects that are followed ask for several crops of each frame.
            self._measured = self.size, count
        return count if self._most is None else min(count, self._most)

    def _together(self, frames: Sequence[Frame]) -> list[Tensor]:
        with self._turn, memory_of(self.device, self._hint), cores(cores_for(self.device, self.size)):
            batch = torch.stack([self._prepare(frame) for frame in frames])
            alphas = self._net(batch.contiguous(memory_format=self._layout)).float().sigmoid()
            return list(alphas[:, 0])

    def _prepare(self, frame: Frame) -> Tensor:
        seen = frame.seen_on(self.device, self.size)  # a GPU scales a frame faster than a CPU, upload included
        return ((seen - self._mean) / self._std).to(self._dtype)


def load_model(
    name: str = "auto",
    *,
    weights: str | PathLike[str] | None = None,
    device: str | None = None,
    precision: str = "auto",
    size: tuple[int, int] | None = None,
    offline: bool = False,
    on_progress: Callable[[int, int | None], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> BiRefNetModel:
    """Load a model, downloading its weights if necessary.

    Args:
        name: One that ``available_models()`` lists, or ``auto``: the best one that is here or can be downloaded.
        weights: A checkpoint file to use instead; ``name`` then says which model it is, if it is a known one.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; the best one here by default.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``.
        size: (H, W) of the network's input, multiples of 32; by default what the checkpoint was trained at.
        offline: Use only what is here.
        on_progress: Called with the bytes done and the total (if known) during a download.
        on_notice: Called with a line for the user: a fallback, a licence that forbids commercial use.

    Raises:
        ModelError, WeightsMissing, WeightsMismatch: There is no such model, or no weights that fit.
        DeviceMissing, OutOfMemory: This machine has no such device, or too little memory.
    """
    if size is not None:
        check_size(size, "--size ")
    chosen = choose_device(device)
    dtype = choose_precision(precision, chosen)
    checkpoint: Checkpoint | None = None
    if weights is None:
        checkpoint, path = resolve(
            name, device_type=chosen.type, offline=offline, on_progress=on_progress, on_notice=on_notice
        )
    else:
        path = Path(weights)
        if name != "auto":
            checkpoint = find(name, "birefnet")
            if checkpoint.licence_notice and on_notice is not None:
                on_notice(checkpoint.licence_notice)
    net = load_birefnet(path)
    return BiRefNetModel(
        fold_batch_norms(net),
        name=checkpoint.name if checkpoint and weights is None else path.name,
        device=chosen,
        dtype=dtype,
        size=size or input_size(net, path, checkpoint),
        weights=path,
    )


def input_size(net: BiRefNet, path: Path, checkpoint: Checkpoint | None = None) -> tuple[int, int]:
    """(H, W) of a network's input: from its file, the table, or its kind."""
    if stated := read_size(path):
        return stated
    return checkpoint.size if checkpoint else NANO_SIZE if net.config == NANO else RELEASED_SIZE


@refusing()
def check_size(size: tuple[int, int], option: str = "") -> None:
    """Raise ``ModelError`` unless a network's input can have that (H, W); the hint suggests the nearest one."""
    try:
        height, width = map(operator.index, size)
    except (TypeError, ValueError) as exc:
        raise ModelError(
            f"the input size must be two whole numbers, not {size!r}", hint="give height and width: (320, 320)"
        ) from exc
    if any(side % MULTIPLE or not MULTIPLE <= side <= LARGEST for side in (height, width)):
        raise ModelError(
            f"the input cannot be {width}×{height}: its sides must be multiples of {MULTIPLE} up to {LARGEST}",
            hint=f"try {option}{_allowed(width)}x{_allowed(height)}",
        )


def _allowed(side: int) -> int:
    return min(LARGEST, max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE))
