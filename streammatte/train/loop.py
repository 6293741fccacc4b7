"""The training loop; it can be stopped at any time and resumed."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from streammatte.errors import InputError, ModelError, WriteFailed
from streammatte.models.nets.birefnet import IMAGENET_MEAN, IMAGENET_STD, BiRefNet
from streammatte.models.nets.efficientnet import EfficientNetConfig
from streammatte.train.losses import matting_loss

MEAN = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
STD = torch.tensor(IMAGENET_STD).view(3, 1, 1)

Maker = Callable[[int, int], tuple[NDArray[np.uint8], NDArray[np.float32]]]
"""A picture's number and its side S → (S, S, 3) uint8 RGB and (S, S) float32 alpha."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Length, picture size and learning rate.

    Attributes:
        steps: Optimiser steps in total; ignored if ``minutes`` is set.
        minutes: Training time in total, across resumptions. Such a run anneals by time, so it always ends on schedule,
            but is not reproducible bit for bit, as one by steps is.
        batch: Pictures per step.
        sizes: Sides of the pictures in pixels, each with its share of the run, in order; the shares sum to 1. Small
            pictures teach more per second, large ones teach detail (Howard et al. 2018, progressive resizing).
        rate: Peak learning rate.
        warm_up: Steps of linear warm-up.
        decay: Weight decay of matrices; norms and biases have none.
        backbone: Learning rate of the backbone relative to the decoder's.
        ema: Decay of the moving average of the weights, which is what is exported.
    """

    steps: int = 10_000
    minutes: float | None = None
    batch: int = 16
    sizes: tuple[tuple[int, float], ...] = ((128, 0.5), (192, 0.5))
    rate: float = 1e-3
    warm_up: int = 200
    decay: float = 0.05
    backbone: float = 1.0
    ema: float = 0.998

    def progress(self, step: int, seconds: float) -> float:
        """From 0 to 1."""
        return min(1.0, step / self.steps if self.minutes is None else seconds / (60 * self.minutes))

    def size_at(self, progress: float) -> int:
        """Side of the pictures at that progress."""
        reached = 0.0
        for size, share in self.sizes:
            reached += share
            if progress < reached - 1e-9:
                return size
        return self.sizes[-1][0]

    def rate_at(self, step: int, progress: float) -> float:
        """Linear warm-up, then half a cosine down to 1 % of the peak (Loshchilov and Hutter 2017, SGDR, eq. 5)."""
        cosine = 0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2
        return self.rate * min(1.0, (step + 1) / max(1, self.warm_up)) * cosine


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """The maker's pictures at one size: (3, S, S) normalised float32, and (1, S, S) alpha in [0, 1]."""

    def __init__(self, maker: Maker, size: int) -> None:
        self.maker = maker
        self.size = size

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rgb, alpha = self.maker(index, self.size)
        return normalise(torch.from_numpy(rgb).permute(2, 0, 1)), torch.from_numpy(alpha)[None]


def normalise(rgb: Tensor) -> Tensor:
    """(…, 3, H, W) uint8 → the network's input, normalised by ImageNet's mean and standard deviation."""
    return (rgb.float() / 255 - MEAN) / STD


def parameter_groups(net: nn.Module, decay: float, backbone: float = 1.0) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels, not for biases, norms and position tables; ``share`` scales the rate."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, weight in net.named_parameters():
        plain = weight.ndim < 2 or "position" in name
        groups.setdefault((0.0 if plain else decay, backbone if name.startswith("bb.") else 1.0), []).append(weight)
    return [{"params": params, "weight_decay": decay, "share": share} for (decay, share), params in groups.items()]


class Trainer:
    """A network with its optimiser, its moving average and its progress.

    Args:
        net: Trained in place, without dropout, as small networks underfit.
        schedule: Length, picture size and learning rate.
        bf16: Run the forward pass under bfloat16 autocast.
        cores: CPU threads that share each batch. They synchronise once a step, not at each operator, so they lose
            little time to other processes.
        about: Facts by name that a resumed run must agree with; saved with the state.
    """

    def __init__(
        self,
        net: BiRefNet,
        schedule: Schedule,
        *,
        bf16: bool = False,
        cores: int = 1,
        about: Mapping[str, str] | None = None,
    ) -> None:
        self.net = net.train()
        self.device = next(net.parameters()).device
        self.about = dict(about or {})
        for module in net.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        self.schedule = schedule
        self.bf16 = bf16
        # Purely convolutional networks are faster with channels last.
        convolves = isinstance(net.config.backbone, EfficientNetConfig)
        self.layout = torch.channels_last if convolves else torch.contiguous_format
        net.to(memory_format=self.layout)  # type: ignore[call-overload]  # torch's stub lacks it
        self._nets = [net, *(twin(net) for _ in range(1, cores))]
        self._pool = ThreadPoolExecutor(cores, initializer=torch.set_flush_denormal, initargs=(True,))
        self.optimiser = torch.optim.AdamW(parameter_groups(net, schedule.decay, schedule.backbone), lr=schedule.rate)
        self.average = {name: value.detach().clone() for name, value in net.state_dict().items()}
        self.step = 0
        self.seconds = 0.0

    @property
    def progress(self) -> float:
        return self.schedule.progress(self.step, self.seconds)

    @property
    def size(self) -> int:
        return self.schedule.size_at(self.progress)

    def update(self, images: Tensor, alphas: Tensor) -> float:
        """One step on (B, 3, S, S) normalised pictures and their (B, 1, S, S) alphas; returns the loss.

        Raises:
            ModelError: The loss is NaN or infinite; the weights are unchanged.
        """
        images, alphas = images.to(self.device, memory_format=self.layout), alphas.to(self.device)
        rate = self.schedule.rate_at(self.step, self.progress)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["share"]
        share = 1 / len(self._nets)
        parts = zip(self._nets, images.chunk(len(self._nets)), alphas.chunk(len(self._nets)), strict=True)
        losses = list(self._pool.map(lambda part: self._gradients(share, *part), parts))
        if not math.isfinite(loss := sum(losses)):
            raise ModelError(f"the loss at step {self.step} is {loss}", hint="try again with a lower --rate")
        for other in self._nets[1:]:
            for weight, same in zip(self.net.parameters(), other.parameters(), strict=True):
                if weight.grad is not None and same.grad is not None:
                    weight.grad.add_(same.grad)
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self._average()
        self.step += 1
        return loss

    def _gradients(self, share: float, net: BiRefNet, images: Tensor, alphas: Tensor) -> float:
        """Compute the gradients of a part of a batch in ``net``; returns its share of the loss."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            outputs = net.forward_training(images)
        loss = matting_loss(outputs, alphas) * share
        for weight in net.parameters():
            weight.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def _average(self) -> None:
        """Update the moving average of weights and batch norm statistics, faster in the beginning."""
        keep = min(self.schedule.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.net.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - keep)
            else:
                self.average[name].copy_(value)

    def averaged(self) -> BiRefNet:
        """A new network with the averaged weights, in eval mode on the CPU."""
        net = BiRefNet(self.net.config)
        net.load_state_dict(self.average)
        return net.eval()

    def save(self, path: Path) -> None:
        """Write the state for :meth:`resume`."""
        state = {
            "net": self.net.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "about": self.about,
            "rng": torch.get_rng_state(),
        }
        write_whole(path, lambda partial: torch.save(state, partial))

    def resume(self, path: Path) -> None:
        """Continue from a saved state.

        Raises:
            InputError: The file is missing, or belongs to another network or another ``about``.
        """
        anew = "to start over, give --overwrite instead of --resume"
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            stored = state.get("about", {})
            for name, value in self.about.items():
                if stored.get(name) != value:
                    raise InputError(
                        f"cannot resume from {path}: its {name} is {stored.get(name)}, not {value}", hint=anew
                    )
            self.net.load_state_dict(state["net"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.average = {name: value.to(self.device) for name, value in state["average"].items()}
            self.step, self.seconds = state["step"], state["seconds"]
            torch.set_rng_state(state["rng"])
        except (OSError, KeyError, AttributeError, RuntimeError, ValueError, EOFError, UnpicklingError) as exc:
            raise InputError(f"cannot resume from {path}: {str(exc).splitlines()[0]}", hint=anew) from exc

    def export(self, path: Path, *, size: tuple[int, int] | None = None) -> None:
        """Write the averaged weights as fp16 safetensors, with the key names of the released checkpoints.

        What fp16 cannot hold, such as a variance above 65504, stays in fp32.

        Args:
            path: Replaced if it exists.
            size: (H, W) to run the network at, stored for ``input_size``.
        """
        weights = {name: _compact(value).cpu().contiguous() for name, value in self.average.items()}
        metadata = {"format": "pt", "config": json.dumps(asdict(self.net.config)), "steps": str(self.step)}
        if size is not None:
            metadata["size"] = f"{size[1]}x{size[0]}"
        # save_file would ignore the umask and make the file readable by its owner only.
        write_whole(path, lambda partial: partial.write_bytes(save(weights, metadata)))


def _compact(value: Tensor) -> Tensor:
    """In fp16, unless that overflows."""
    if not value.is_floating_point():
        return value
    half = value.half()
    return half if bool(torch.isfinite(half).all()) else value


def twin(net: BiRefNet) -> BiRefNet:
    """A copy that shares the weights, but has its own gradients and batch statistics."""
    other = copy.deepcopy(net)
    for weight, same in zip(net.parameters(), other.parameters(), strict=True):
        same.data = weight.data
    return other


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write to a temporary name beside ``path``, then rename.

    Raises:
        WriteFailed: The file cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial)
        partial.replace(path)
    except BaseException as exc:
        partial.unlink(missing_ok=True)
        if isinstance(exc, (OSError, RuntimeError)):
            raise WriteFailed(f"cannot write {path}: {exc}") from exc
        raise


def batches(maker: Maker, trainer: Trainer, size: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches, starting at the trainer's step."""
    batch = trainer.schedule.batch
    indices = range(trainer.step * batch, 2**40)
    # A `generator` of its own leaves the global random state alone.
    loader = DataLoader(
        Pictures(maker, size),
        batch_size=batch,
        sampler=indices,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        generator=torch.Generator(),
    )
    yield from loader


def train(
    trainer: Trainer,
    maker: Maker,
    *,
    workers: int = 1,
    every_steps: int = 50,
    every_minutes: float = 10,
    log: Callable[[Mapping[str, float]], None] = lambda _: None,
    checkpoint: Callable[[], None] = lambda: None,
    stopping: Callable[[], bool] = lambda: False,
) -> None:
    """Train until the schedule is done or ``stopping`` returns true.

    Args:
        trainer: New or resumed.
        maker: Makes the pictures, in an order that only depends on the trainer's step.
        workers: Processes that make pictures; 0 makes them in this one.
        every_steps: Between calls of ``log``.
        every_minutes: Between calls of ``checkpoint``, which is also called at the end.
        log: Receives step, progress, mean loss, rate, images per second and size.
        checkpoint: Saves, exports and evaluates.
        stopping: Called after every step; ``checkpoint`` is not called after a stop.
    """
    schedule = trainer.schedule
    last_checkpoint = tick = time.monotonic()
    while trainer.progress < 1:
        size = trainer.size
        losses: list[float] = []
        began = time.monotonic()
        for images, alphas in batches(maker, trainer, size, workers):
            losses.append(trainer.update(images, alphas))
            tick, last = time.monotonic(), tick
            trainer.seconds += tick - last
            if trainer.step % every_steps == 0:
                elapsed = time.monotonic() - began
                log(
                    {
                        "step": trainer.step,
                        "progress": round(trainer.progress, 4),
                        "loss": round(sum(losses) / len(losses), 4),
                        "rate": schedule.rate_at(trainer.step, trainer.progress),
                        "images_per_second": round(len(losses) * schedule.batch / elapsed, 2),
                        "size": size,
                    }
                )
                losses, began = [], time.monotonic()
            if time.monotonic() - last_checkpoint > 60 * every_minutes:
                checkpoint()
                tick = last_checkpoint = began = time.monotonic()  # scoring does not count as training time
                losses = []
            if stopping():
                return
            if trainer.progress >= 1 or trainer.size != size:
                break
    checkpoint()
