"""``streammatte train``: any BiRefNet checkpoint, trained on with a user's own pairs; may be stopped and resumed.

The loop and the losses are those that made the embedded checkpoint. What differs is what a trained network needs: batch
norms keep their statistics (a batch of one or two has none worth the name), and large networks compute the insides
of their blocks a second time rather than keep them: for Swin-T at 512² that halves what a step adds to the memory.
"""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import threading
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

from streammatte.errors import InputError, ModelError, OutOfMemory, OutputError, UnsupportedOutput, WriteFailed
from streammatte.frame import Cutout, Frame
from streammatte.media.write.output import check_target
from streammatte.models.birefnet import BiRefNetModel, input_size
from streammatte.models.device import choose_device, choose_precision
from streammatte.models.nets.birefnet import BiRefNet, DecoderBlock, load_birefnet
from streammatte.models.nets.swin import SwinBlock
from streammatte.models.store import find, resolve
from streammatte.models.table import Checkpoint
from streammatte.quality import metrics
from streammatte.stages.detail import lifted
from streammatte.train.loop import Schedule, Trainer, train
from streammatte.train.options import TuneOptions
from streammatte.train.pairs import (
    Pair,
    Pairs,
    find_pairs,
    hold_out,
    list_pictures,
    name_hash,
)

LARGE = 10_000_000
"""Parameters from which on a network is trained more slowly, and its blocks' insides are computed twice."""
MOST_SCORED = 32
"""Pairs that are held out at most: on a CPU a large network takes seconds for each, before and after."""
FEW = 5
"""Pairs held out, below which their scores say little."""
EVERY_MINUTES = 10.0
"""Between two saved states."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How far mattes are from their pairs' alphas: mean absolute difference × 1000, and overlap of both cut at 0.5."""

    mad: float
    iou: float


@dataclass(slots=True)
class TuneSummary:
    """What was done.

    Attributes:
        trained, held_out: Pairs that were learnt from, and pairs that were kept for scoring.
        steps: Optimiser steps, those before a resumption included; ``seconds`` likewise.
        before, after: Scores of the checkpoint begun with and of the result, on the held-out pairs if there are any.
        interrupted: The signal that stopped the run; nothing is at ``output`` then, and all is in ``state``.
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
    """What a run tells whoever is watching."""

    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def working(self, what: str, done: int, total: int) -> None: ...
    def begins(self, what: str) -> None: ...
    def stepped(self, what: str, progress: float, loss: float) -> None: ...
    def scored(self, step: int, loss: float, scores: Scores) -> None: ...


def finetune(options: TuneOptions, display: TuneDisplay) -> TuneSummary:
    """Train on from a checkpoint, and write the result when all is done.

    Raises:
        InputError, ModelError, DeviceError, OutputError: What was asked for cannot be done, or memory ran out.
    """
    output = Path(options.output)
    state = output.parent / f"{output.name}.state"
    _check_output(options, output, state)
    pairs = find_pairs(Path(options.pairs))
    if options.backgrounds and pairs[0].alpha is not None:
        raise InputError(f"--backgrounds is for cut-outs, and {options.pairs} has whole pictures", hint="leave it out")
    backgrounds = list(list_pictures(Path(options.backgrounds)).values()) if options.backgrounds else []
    trained, held = hold_out(pairs, options.holdout, MOST_SCORED)

    device = _choose_device(options.device)
    path, known = _start(options, device, display)
    net = load_birefnet(path)
    large = sum(weight.numel() for weight in net.parameters()) > LARGE
    size = options.size or input_size(net, path, known)
    summary = TuneSummary(options.output, str(state), options.start, str(device), size, len(trained), len(held))

    with _memory_of(device), _stoppable() as stop:
        before = _matter(copy.deepcopy(net), device, size)  # refuses a size that cannot be, before minutes of reading
        reading = partial(display.working, "reading pairs")
        seen = Pairs(trained, size, backgrounds=backgrounds, seed=options.seed, on_read=reading)
        some = backgrounds[:: 1 + len(backgrounds) // MOST_SCORED]  # reading all of them a second time takes minutes
        unseen = Pairs(held or trained[:MOST_SCORED], size, backgrounds=some, seed=options.seed)
        if not held:
            display.notice("no pair is held out: the scores are of pairs that were trained on")
        scoring = partial(display.working, "scoring the start")
        summary.before = score(before, unseen, scoring)
        del before

        schedule = Schedule(
            steps=options.steps,
            minutes=options.minutes,
            batch=options.batch or _batch(size, device),
            sizes=((max(size), 1.0),),
            rate=options.rate or (1e-5 if large else 1e-4),
            warm_up=max(1, min(100, options.steps // 10)),
            decay=0.01,
        )
        trainer = Trainer(
            net.to(device), schedule, bf16=_has_bf16(device), about=_about(options, size, schedule, pairs, backgrounds)
        )
        keep_statistics(net)
        if large:
            recompute(net)
        if options.resume:
            trainer.resume(state)
        average_loss = 0.0

        def log(line: Mapping[str, float]) -> None:
            nonlocal average_loss
            average_loss = 0.95 * average_loss + 0.05 * line["loss"] if average_loss else line["loss"]
            what = f"step {trainer.step}" + ("" if schedule.minutes else f" of {schedule.steps}")
            display.stepped(what, trainer.progress, average_loss)

        def keep() -> None:
            trainer.save(state)
            matter = _matter(trainer.averaged(), device, size)
            summary.after = score(matter, unseen, partial(display.working, "scoring"), stop)
            if summary.after is not None:
                display.scored(trainer.step, average_loss, summary.after)

        length = f"{schedule.minutes:g} minutes" if schedule.minutes else f"{schedule.steps} steps"
        display.begins(
            f"{length} of {schedule.batch} pictures at {size[1]}×{size[0]} on {device}, from {len(trained)} pairs; "
            f"{len(held)} held out" + (": too few to tell much" if 0 < len(held) < FEW else "")
        )
        stop.listening = True
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
        summary.steps, summary.seconds = trainer.step, round(trainer.seconds, 1)
        if stop.number is not None:
            trainer.save(state)
            summary.interrupted = stop.number
            return summary
        stop.listening = False
    trainer.export(output, size=size)
    state.unlink()
    if summary.before and summary.after and summary.after.mad > summary.before.mad:
        display.notice("it came out worse than it began: more pairs, fewer --steps or a lower --rate may help")
    return summary


def score(
    matter: BiRefNetModel,
    pairs: Pairs,
    on_scored: Callable[[int, int], None] = lambda done, total: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Scores | None:
    """The mean scores over ``pairs``, matted as footage would be; ``None`` if stopped.

    Raises:
        ModelError: The network's weights make no numbers any more.
    """
    total = len(pairs.pairs)
    mad, iou = [], []
    for number in range(total):
        if stopping():
            return None
        rgb, truth = pairs.picture(number, np.random.default_rng([pairs.seed, 3, number]))
        frame = Frame(torch.from_numpy(rgb).permute(2, 0, 1), pts=number, index=number)
        (matte,) = matter([frame])
        alpha = lifted(Cutout(frame, matte)).alpha.cpu().numpy()
        if not np.isfinite(alpha).all():
            raise ModelError("the network's mattes are no numbers", hint="try again with a lower --rate")
        mad.append(metrics.mad(alpha, truth / 255))
        iou.append(metrics.iou(alpha, truth / 255))
        on_scored(number + 1, total)
    return Scores(mad=round(float(np.mean(mad)), 2), iou=round(float(np.mean(iou)), 4))


def keep_statistics(net: nn.Module) -> None:
    """Batch norms use the statistics that they came with; their weights are trained like all others."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def recompute(net: nn.Module) -> None:
    """Keep of each block its input alone, and compute the rest again on the way back (Chen et al. 2016)."""
    for module in net.modules():
        if isinstance(module, SwinBlock | DecoderBlock):
            module.forward = partial(recomputed, module.forward, use_reentrant=False)  # type: ignore[method-assign]


def _check_output(options: TuneOptions, output: Path, state: Path) -> None:
    """Refuse a run whose result could not be put in its place, or that would lose another's."""
    if output.suffix != ".safetensors":
        named = output.with_suffix(".safetensors") if output.name else "mine.safetensors"
        raise UnsupportedOutput(f"{options.output!r} is no name for a checkpoint", hint=f"name it {named}")
    if output.exists() and Path(options.start).exists() and output.samefile(options.start):
        raise OutputError(f"{output} is the checkpoint to begin with", hint="choose another name for the output")
    check_target(output, overwrite=options.overwrite)
    check_target(output.parent / f".{state.name}.partial", overwrite=True)  # the longest name of all
    if options.resume and not state.is_file():
        raise InputError(f"there is nothing to resume: no {state}", hint="leave out --resume to start anew")
    if not options.resume and not options.overwrite and state.exists():
        raise WriteFailed(
            f"{state} exists: a run was stopped there", hint="go on with --resume, or start anew with --overwrite"
        )


def _choose_device(name: str | None) -> torch.device:
    """As asked for; of itself, a CUDA GPU or the CPU: nothing here has been trained on another kind yet."""
    if name is None or name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    return choose_device(name)


def _start(options: TuneOptions, device: torch.device, display: TuneDisplay) -> tuple[Path, Checkpoint | None]:
    """The file to begin with, and which known checkpoint it is, if it is one: ``--from`` takes either."""
    path = Path(options.start)
    if path.suffix in (".safetensors", ".pth", ".pt") or path.is_file():
        return path, None
    find(options.start)  # `auto` is no answer: what it stands for may be another one at the resumption
    known, path = resolve(
        options.start,
        device_type=device.type,
        offline=options.offline,
        on_progress=display.fetching,
        on_notice=display.notice,
    )
    return path, known


def _matter(net: BiRefNet, device: torch.device, size: tuple[int, int]) -> BiRefNetModel:
    return BiRefNetModel(net, name="", device=device, dtype=choose_precision("auto", device), size=size)


def _batch(size: tuple[int, int], device: torch.device) -> int:
    """Pictures a step, unless the user says: what common machines have memory for."""
    if size[0] * size[1] <= 256**2:
        return 8
    return 1 if device.type == "cpu" else 2


def _has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; it needs no scaling of the loss, as float16 would."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return device.type == "cpu" and torch.cpu._is_amx_tile_supported()


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


class _Stop:
    """Asked whether to stop; a signal sets it while it is listening."""

    def __init__(self) -> None:
        self.listening = False
        self.number: int | None = None

    def __call__(self) -> bool:
        return self.number is not None


@contextmanager
def _stoppable() -> Iterator[_Stop]:
    """While the stop is listening, a first signal lets the step end and the state be saved; a second does not wait."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():  # no signal reaches another one
        yield stop
        return
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    here = os.getpid()
    numbers = [int(getattr(signal, name)) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}  # nohup's stay

    def heard(number: int, frame: object) -> None:
        if os.getpid() != here:  # a process that makes pictures hears a Ctrl-C too; this one tells it when to end
            return
        handler = before[number]
        if stop.listening and stop.number is None:
            stop.number = number
            os.write(2, b"\nstreammatte: ending this step and saving; once more to leave at once\n")
        elif callable(handler):
            handler(number, None)
        else:
            raise KeyboardInterrupt

    for number in before:
        signal.signal(number, heard)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _memory_of(device: torch.device) -> Iterator[None]:
    """Translates a device's lack of memory, wherever torch notices it."""
    try:
        yield
    except (RuntimeError, MemoryError, OutOfMemory) as exc:  # a GPU's lack has a class of its own, a CPU's a sentence
        known = isinstance(exc, torch.OutOfMemoryError | MemoryError | OutOfMemory)  # the last one: met while scoring
        if not known and not re.search("not enough memory|allocate memory", str(exc)):
            raise
        raise OutOfMemory(
            f"{device} has too little memory to train this network at this size",
            hint="try --batch 1, a smaller --size, or --from birefnet-lite or birefnet-nano",
        ) from exc
