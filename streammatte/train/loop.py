"""The training loop: pictures in, checkpoints out; may be stopped at any time and goes on where it was."""

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
"""From a picture's number and its side S to (S, S, 3) uint8 RGB and (S, S) float32 alpha, as a ``Composer`` does."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long, how large and how fast.

    Attributes:
        steps: Optimiser steps in all; with ``minutes`` set, no limit but time ends the run.
        minutes: Training time in all, over every resumption. A run by time anneals on time whatever else the machine
            does, and is not reproducible to the bit; a run by steps is.
        batch: Pictures in a step.
        sizes: Side of the pictures in pixels, and the share of the run it is used for, in order; the shares sum to 1.
            Small pictures teach more per second, large ones teach detail (Howard et al. 2018, progressive resizing).
        rate: Peak learning rate.
        warm_up: Steps of linear warm-up.
        decay: Weight decay of matrices; norms and biases have none.
        backbone: The backbone's rate as a share of the decoder's.
        ema: Decay of the moving average of the weights that is exported.
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
        """How much of the run is done, 0 to 1."""
        return min(1.0, step / self.steps if self.minutes is None else seconds / (60 * self.minutes))

    def size_at(self, progress: float) -> int:
        """The side of the pictures at that point of the run."""
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
    """The maker's pictures of one size: (3, S, S) normalised float32, and alpha, (1, S, S) in [0, 1]."""

    def __init__(self, maker: Maker, size: int) -> None:
        self.maker = maker
        self.size = size

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rgb, alpha = self.maker(index, self.size)
        return normalise(torch.from_numpy(rgb).permute(2, 0, 1)), torch.from_numpy(alpha)[None]


def normalise(rgb: Tensor) -> Tensor:
    """(…, 3, H, W) uint8 to what the network expects: ImageNet's mean and deviation taken out."""
    return (rgb.float() / 255 - MEAN) / STD


def parameter_groups(net: nn.Module, decay: float, backbone: float = 1.0) -> list[dict[str, Any]]:
    """Matrices and kernels decay; biases, norms and position tables do not. ``share`` is of the schedule's rate."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, weight in net.named_parameters():
        plain = weight.ndim < 2 or "position" in name
        groups.setdefault((0.0 if plain else decay, backbone if name.startswith("bb.") else 1.0), []).append(weight)
    return [{"params": params, "weight_decay": decay, "share": share} for (decay, share), params in groups.items()]


class Trainer:
    """A network, its optimiser, its moving average, and how far they have come.

    Args:
        net: Trained in place. Its dropout is switched off: a network this small underfits.
        schedule: How long and how fast.
        bf16: Run the forward pass under bfloat16 autocast.
        cores: Threads that share each batch, for a CPU: they meet once a step, where operators of several threads meet
            at each operator and lose most of their time to whatever else the machine does.
        about: What the run is of, by name; saved with its state, and a resumed one must agree.
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
        # Convolutions alone are quicker with channels last.
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
            ModelError: The loss is no number any more; the weights are those of the step before.
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
        """Leave the gradients of a part of a batch in ``net``; returns its share of the loss."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            outputs = net.forward_training(images)
        loss = matting_loss(outputs, alphas) * share
        for weight in net.parameters():
            weight.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def _average(self) -> None:
        """Follow the weights and the batch norms' statistics; early on, faster."""
        keep = min(self.schedule.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.net.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - keep)
            else:
                self.average[name].copy_(value)

    def averaged(self) -> BiRefNet:
        """A second network in eval mode, on the CPU, that holds the averaged weights."""
        net = BiRefNet(self.net.config)
        net.load_state_dict(self.average)
        return net.eval()

    def save(self, path: Path) -> None:
        """Everything a later ``resume`` needs, written whole or not at all."""
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
        """Take up a run that ``save`` wrote.

        Raises:
            InputError: The file is not there, or is of another run: another network, or other ``about``.
        """
        anew = "leave out --resume to start anew"
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
        """The averaged weights as a checkpoint: fp16 safetensors under the released checkpoints' key names.

        Args:
            path: Replaced if it exists.
            size: (H, W) that the network should be used at, for ``input_size`` to find.
        """
        weights = {
            name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
            for name, value in self.average.items()
        }
        metadata = {"format": "pt", "config": json.dumps(asdict(self.net.config)), "steps": str(self.step)}
        if size is not None:
            metadata["size"] = f"{size[1]}x{size[0]}"
        # Not save_file: the files that it makes are for their owner's eyes only, whatever the umask says.
        write_whole(path, lambda partial: partial.write_bytes(save(weights, metadata)))


def twin(net: BiRefNet) -> BiRefNet:
    """A copy that shares the weights, and has gradients and batch statistics of its own."""
    other = copy.deepcopy(net)
    for weight, same in zip(net.parameters(), other.parameters(), strict=True):
        same.data = weight.data
    return other


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write under a temporary name beside ``path``, then rename.

    Raises:
        WriteFailed: The folder or the disk refuses.
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
    """Batches without end, starting with the pictures that the trainer's step has come to."""
    batch = trainer.schedule.batch
    indices = range(trainer.step * batch, 2**40)
    # Workers are started afresh for each size; `generator` keeps the loader off the global random state.
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
    """Run until the schedule is done or a stop is asked for.

    Args:
        trainer: Fresh or resumed.
        maker: Makes the pictures; their order depends on the trainer's step alone.
        workers: Processes that compose; 0 composes in this one.
        every_steps: How often ``log`` is called.
        every_minutes: How often ``checkpoint`` is called; it is called at the end too.
        log: Takes a line of the curve: step, progress, mean loss, rate, images per second, size.
        checkpoint: Saves, exports and evaluates as the caller likes.
        stopping: Asked after every step; a stop leaves ``checkpoint`` to the caller.
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
                tick = last_checkpoint = began = time.monotonic()  # scoring is no training
                losses = []
            if stopping():
                return
            if trainer.progress >= 1 or trainer.size != size:
                break
    checkpoint()
