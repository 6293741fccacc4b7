"""``streammatte train``: fine-tunes a BiRefNet checkpoint on a user's own pairs; can be stopped and resumed.

Loop and losses are those of the bundled model (top-level ``training/``). A trained network needs two things more: batch
norms keep their statistics, as batches of one or two have no useful ones; and large networks recompute the insides of
their blocks on the way back instead of keeping them, which halves the memory of a step for Swin-T at 512².
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint as recomputed

from streammatte.errors import (
    InputError,
    ModelError,
    OutOfMemory,
    OutputError,
    UnsupportedOutput,
    WriteFailed,
    refusing,
)
from streammatte.frame import Cutout, Frame
from streammatte.media.write.output import check_target
from streammatte.models.birefnet import BiRefNetModel, input_size
from streammatte.models.device import choose_device, choose_precision, is_out_of_memory
from streammatte.models.hub import resolve
from streammatte.models.nets.birefnet import BiRefNet, DecoderBlock, load_birefnet
from streammatte.models.nets.swin import SwinBlock
from streammatte.models.table import Checkpoint, find
from streammatte.quality import metrics
from streammatte.stages.detail import lifted
from streammatte.train.loop import Schedule, Trainer, train
from streammatte.train.options import TuneOptions
from streammatte.train.pairs import Pair, Pairs, find_pairs, hold_out, list_pictures, name_hash
from streammatte.train.stopping import Stop, stoppable

LARGE = 10_000_000
"""Parameters from which a network is trained at a lower rate, and its blocks are recomputed."""
MOST_SCORED = 32
"""Most pairs to hold out: on a CPU, a large network takes seconds for each, before and after."""
FEW = 5
"""With fewer held-out pairs, scores say little."""
EVERY_MINUTES = 10.0
"""Between two saved states."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Mean MAD × 1000 and IoU at 0.5."""

    mad: float
    iou: float


@dataclass(slots=True)
class TuneSummary:
    """The result of a run.

    Attributes:
        trained, held_out: Pairs trained on, and pairs kept for scoring.
        steps: Optimiser steps, including those before a resumption; ``seconds`` likewise.
        before, after: Scores of the first and the final checkpoint, on the held-out pairs if there are any.
        interrupted: The signal that stopped the run; then ``state`` holds it, and ``output`` does not exist.
    """

    output: str
    state: str
    start: str
    device: str
    size: tuple[int, int]
    trained: int
    held_out: int
    steps: int = 0
    seconds: float = 0.0
    before: Scores | None = None
    after: Scores | None = None
    interrupted: int | None = None

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=2)


class TuneDisplay(Protocol):
    """Receives notices, progress and scores."""

    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def working(self, what: str, done: int, total: int) -> None: ...
    def begins(self, what: str) -> None: ...
    def stepped(self, what: str, progress: float, loss: float) -> None: ...
    def scored(self, step: int, loss: float, scores: Scores) -> None: ...


def finetune(options: TuneOptions, display: TuneDisplay) -> TuneSummary:
    """Fine-tune a checkpoint, and write the result when training is done.

    Raises:
        InputError, ModelError, DeviceError, OutputError: The options cannot be satisfied, or memory ran out.
    """
    output = Path(options.output)
    state = output.parent / f"{output.name}.state"
    _check_output(options, output, state)
    pairs, backgrounds = _find(options)
    trained, held = hold_out(pairs, options.holdout, MOST_SCORED)
    device = _choose_device(options.device)
    path, known = _start(options, device, display)
    net = load_birefnet(path)
    size = options.size or input_size(net, path, known)
    summary = TuneSummary(options.output, str(state), options.start, str(device), size, len(trained), len(held))

    with _memory_of(device), stoppable() as stop:
        before = _model(copy.deepcopy(net), device, size)  # refuses a wrong size before minutes of reading
        reading = partial(display.working, "reading pairs")
        seen = Pairs(trained, size, backgrounds=backgrounds, seed=options.seed, on_read=reading)
        some = backgrounds[:: 1 + len(backgrounds) // MOST_SCORED]  # reading all of them again would take minutes
        unseen = Pairs(held or trained[:MOST_SCORED], size, backgrounds=some, seed=options.seed)
        if not held:
            display.notice("no pairs are held out: scores are measured on the training pairs")
        summary.before = score(before, unseen, partial(display.working, "scoring the start"))
        del before

        schedule = _schedule(options, net, size, device)
        about = _about(options, size, schedule, pairs, backgrounds)
        trainer = Trainer(net.to(device), schedule, bf16=_has_bf16(device), about=about)
        keep_statistics(net)
        if _is_large(net):
            recompute(net)
        if options.resume:
            trainer.resume(state)
        display.begins(_described(schedule, summary))
        stop.listening = True
        _train(trainer, seen, unseen, summary, display, stop)
        summary.steps, summary.seconds = trainer.step, round(trainer.seconds, 1)
        if stop.number is not None:
            trainer.save(state)
            summary.interrupted = stop.number
            return summary
        stop.listening = False
    trainer.export(output, size=size)
    state.unlink()
    return summary


def _train(
    trainer: Trainer, seen: Pairs, unseen: Pairs, summary: TuneSummary, display: TuneDisplay, stop: Stop
) -> None:
    """Run the loop, saving and scoring on the way."""
    schedule, device = trainer.schedule, trainer.device
    average_loss = 0.0

    def log(line: Mapping[str, float]) -> None:
        nonlocal average_loss
        average_loss = 0.95 * average_loss + 0.05 * line["loss"] if average_loss else line["loss"]
        what = f"step {trainer.step}" + ("" if schedule.minutes else f" of {schedule.steps}")
        display.stepped(what, trainer.progress, average_loss)

    def keep() -> None:
        trainer.save(Path(summary.state))
        model = _model(trainer.averaged(), device, summary.size)
        summary.after = score(model, unseen, partial(display.working, "scoring"), stop)
        if summary.after is not None:
            display.scored(trainer.step, average_loss, summary.after)

    train(
        trainer,
        seen,
        workers=0 if device.type == "cpu" else min(4, os.cpu_count() or 1),
        every_steps=1,
        every_minutes=EVERY_MINUTES,
        log=log,
        checkpoint=keep,
        stopping=stop,
    )


def score(
    model: BiRefNetModel,
    pairs: Pairs,
    on_scored: Callable[[int, int], None] = lambda done, total: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Scores | None:
    """Mean scores over ``pairs``, matted like footage; ``None`` if stopped.

    Raises:
        ModelError: The network returned NaN.
    """
    total = len(pairs.pairs)
    mad, iou = [], []
    for number in range(total):
        if stopping():
            return None
        rgb, truth = pairs.picture(number, np.random.default_rng([pairs.seed, 3, number]))
        frame = Frame(torch.from_numpy(rgb).permute(2, 0, 1), pts=number, index=number)
        (matte,) = model([frame])
        alpha = lifted(Cutout(frame, matte)).alpha.cpu().numpy()
        if not np.isfinite(alpha).all():
            raise ModelError("the network returned NaN", hint="try again with a lower --rate")
        mad.append(metrics.mad(alpha, truth / 255))
        iou.append(metrics.iou(alpha, truth / 255))
        on_scored(number + 1, total)
    return Scores(mad=round(float(np.mean(mad)), 2), iou=round(float(np.mean(iou)), 4))


def keep_statistics(net: nn.Module) -> None:
    """Freeze the statistics of batch norms; their weights are still trained."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def recompute(net: nn.Module) -> None:
    """Keep only the input of each block, and recompute the rest on the way back (Chen et al. 2016)."""
    for module in net.modules():
        if isinstance(module, SwinBlock | DecoderBlock):
            module.forward = partial(recomputed, module.forward, use_reentrant=False)  # type: ignore[method-assign]


@refusing()
def _check_output(options: TuneOptions, output: Path, state: Path) -> None:
    """Refuse a run whose result could not be written, or that would overwrite another's."""
    if output.suffix != ".safetensors":
        named = output.with_suffix(".safetensors") if output.name else "mine.safetensors"
        raise UnsupportedOutput(f"a checkpoint must end in .safetensors, got {options.output!r}", hint=f"try {named}")
    if output.exists() and Path(options.start).exists() and output.samefile(options.start):
        raise OutputError(f"{output} is the checkpoint to start from", hint="choose another name for the output")
    check_target(output, overwrite=options.overwrite)
    check_target(output.parent / f".{state.name}.partial", overwrite=True)  # the longest name of all
    if options.resume and not state.is_file():
        raise InputError(f"nothing to resume: {state} does not exist", hint="leave out --resume to start over")
    if not options.resume and not options.overwrite and state.exists():
        raise WriteFailed(
            f"{state} exists: an earlier run was stopped", hint="add --resume to continue, or --overwrite to start over"
        )


def _find(options: TuneOptions) -> tuple[list[Pair], list[Path]]:
    """The pairs, and the pictures to put cut-outs over."""
    pairs = find_pairs(Path(options.pairs))
    if not options.backgrounds:
        return pairs, []
    if pairs[0].alpha is not None:
        raise InputError(
            f"--backgrounds is for cut-outs, but {options.pairs} holds whole pictures",
            hint="leave it out",
            usage=True,
        )
    return pairs, list(list_pictures(Path(options.backgrounds)).values())


def _choose_device(name: str | None) -> torch.device:
    """By default a CUDA GPU or the CPU: training has not been tested on other devices."""
    if name is None or name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    return choose_device(name)


def _start(options: TuneOptions, device: torch.device, display: TuneDisplay) -> tuple[Path, Checkpoint | None]:
    """The file to start from, and the known checkpoint that it is, if any: ``--from`` takes either."""
    path = Path(options.start)
    if path.suffix in (".safetensors", ".pth", ".pt") or path.is_file():
        return path, None
    find(options.start)  # refuses `auto`, which may mean another checkpoint when the run is resumed
    known, path = resolve(
        options.start,
        device_type=device.type,
        offline=options.offline,
        on_progress=display.fetching,
        on_notice=display.notice,
    )
    return path, known


def _model(net: BiRefNet, device: torch.device, size: tuple[int, int]) -> BiRefNetModel:
    return BiRefNetModel(net, name="", device=device, dtype=choose_precision("auto", device), size=size)


def _is_large(net: BiRefNet) -> bool:
    return sum(weight.numel() for weight in net.parameters()) > LARGE


def _schedule(options: TuneOptions, net: BiRefNet, size: tuple[int, int], device: torch.device) -> Schedule:
    small_batch = 1 if device.type == "cpu" else 2  # what common machines have memory for
    return Schedule(
        steps=options.steps,
        minutes=options.minutes,
        batch=options.batch or (8 if size[0] * size[1] <= 256**2 else small_batch),
        sizes=((max(size), 1.0),),
        rate=options.rate or (1e-5 if _is_large(net) else 1e-4),
        warm_up=max(1, min(100, options.steps // 10)),
        decay=0.01,
    )


def _described(schedule: Schedule, summary: TuneSummary) -> str:
    height, width = summary.size
    length = f"{schedule.minutes:g} minutes" if schedule.minutes else f"{schedule.steps} steps"
    few = " (too few for reliable scores)" if 0 < summary.held_out < FEW else ""
    return (
        f"training for {length} on {summary.device}: batches of {schedule.batch} at {width}×{height}, "
        f"{summary.trained} pairs, {summary.held_out} held out{few}"
    )


def _has_bf16(device: torch.device) -> bool:
    """Whether a GPU multiplies bfloat16, which, unlike float16, needs no loss scaling.

    Never on a CPU: with AMX, torch 2.13's backward pass in bfloat16 corrupts the heap for small networks.
    """
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8


def _about(
    options: TuneOptions, size: tuple[int, int], schedule: Schedule, pairs: Sequence[Pair], backgrounds: Sequence[Path]
) -> dict[str, str]:
    """What must not change between a run and its resumption; its length may."""
    return {
        "checkpoint": Path(options.start).name,
        "size": f"{size[1]}x{size[0]}",
        "batch": str(schedule.batch),
        "rate": str(schedule.rate),
        "seed": str(options.seed),
        "holdout": str(options.holdout),
        "set of pairs": f"{len(pairs)} ({name_hash([pair.picture for pair in pairs]):08x})",
        "set of backgrounds": f"{len(backgrounds)} ({name_hash(backgrounds):08x})",
    }


@contextmanager
def _memory_of(device: torch.device) -> Iterator[None]:
    """Translate running out of memory, wherever torch notices it."""
    try:
        yield
    except (RuntimeError, MemoryError, OutOfMemory) as exc:  # the last one while scoring
        if not isinstance(exc, OutOfMemory) and not is_out_of_memory(exc):
            raise
        raise OutOfMemory(
            f"not enough memory on {device} to train this network at this size",
            hint="try --batch 1, a smaller --size, or --from birefnet-lite or birefnet-nano",
        ) from exc
