"""Source → motion → model → stages in one function, and the thread that lets any two of them overlap."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from typing import Any, TypeVar

import torch
from torch import Tensor

from streammatte.errors import ModelError, StreammatteError
from streammatte.frame import Cutout, Frame, Model, Stage
from streammatte.models.device import computed_on, cores, cores_for, workers
from streammatte.stages import stages_for
from streammatte.stages.detail import lifted
from streammatte.stages.motion_links import Linker
from streammatte.stride import Stride

T = TypeVar("T")

_WORKER, _STAGES = "streammatte-prefetch", "streammatte-stages"
Batch = int | Callable[[], int]
"""Frames per call of a model, or what finds it out."""
STEPS = 65535  # alphas are rounded to 16 bits, as the cache stores them, so that a second run equals the first


def matte(
    source: Iterable[Frame],
    model: Model,
    stages: Iterable[Stage] | None = None,
    *,
    batch: Batch = 1,
    stride: int | Stride = 1,
    ahead: int = 0,
    chains: int = 1,
    floats: bool = True,
    fetch: bool = True,
    **wanted: Any,
) -> Generator[Cutout]:
    """Cut the subject out of frames: each gains an alpha, passes every stage in turn, and leaves at its own size.

    Lazy; holds no more frames than the batch, the stages and ``ahead`` need.

    Args:
        source: Any iterable of frames.
        model: A loaded model, or any callable from a list of frames to their alphas, of any size.
        stages: Applied in order; fresh ones for every run, since they hold frames. By default the command's own.
        batch: Frames per call of the model; a function is called for it once two frames were read.
        stride: Run the model on every n-th frame, and where motion does not predict its alpha; the others carry the
            alphas of their neighbours. See :mod:`streammatte.stride`.
        ahead: Cut-outs that the model may be ahead of the stages, in its own thread; 0 starts none. With more, stages
            that look at each frame by itself work on several at a time, one on each core.
        chains: How many such chains share the cores.
        floats: Foreground colours leave as floats in [0, 1]; otherwise in the frame's own type, as stages made them.
        fetch: Alphas and colours leave on their frame's device, wherever stages computed them.
        wanted: Options of the default stages, as for :func:`streammatte.stages.stages_for`: ``smooth="off"``.

    Yields:
        One cut-out per frame, in order.

    Raises:
        ModelError: The model broke its contract.
        StreammatteError: A stage did.
        TypeError: Both stages and their options are given, or an option is unknown.
        ValueError: ``batch`` or ``stride`` is below 1.
    """
    size = getattr(model, "size", None)
    if stages is None:
        stages = stages_for(size, **wanted)
    elif wanted:
        raise TypeError(f"{', '.join(wanted)}: options of the default stages, but stages are given")
    if isinstance(batch, int) and batch < 1:
        raise ValueError(f"batch={batch}: must be 1 or more")
    strider = stride if isinstance(stride, Stride) else Stride(stride)
    stages = list(stages)
    looks_around = strider.every > 1 or any(getattr(each, "behind", 1) or getattr(each, "ahead", 1) for each in stages)
    linker = Linker(size) if looks_around else None
    cutouts = _matted(source, _Asked(model, torch.get_num_threads()), batch, linker, strider)
    if ahead:
        cutouts = prefetch(computed_on(cores_for(), cutouts), ahead)
    for ordered, alike in groupby(stages, lambda stage: bool(getattr(stage, "ordered", True))):
        if ahead and not ordered and finishers(chains) > 1:
            cutouts = _side_by_side(cutouts, list(alike), finishers(chains), fetch)
        else:
            for stage in alike:
                cutouts = _staged(cutouts, stage)
    return computed_on(cores_for(), _leaving(cutouts, floats, fetch, alone=chains == 1))


def finishers(chains: int = 1) -> int:
    """How many frames a chain's last stages may work on at a time, if several chains share the cores."""
    return max(1, workers() // chains)


def _matted(
    source: Iterable[Frame], asked: _Asked, batch: Batch, linker: Linker | None, strider: Stride
) -> Generator[Cutout]:
    with _ending(iter(source)) as frames:
        if strider.every > 1 and linker is not None:
            for frame, link, alpha in strider(((frame, linker(frame)) for frame in frames), asked.one):
                yield Cutout(frame, alpha, link=link)
            return
        for group in _grouped(frames, batch):
            for frame, alpha in zip(group, asked(group), strict=True):
                yield Cutout(frame, alpha, link=None if linker is None else linker(frame))


def _grouped(frames: Iterator[Frame], batch: Batch) -> Iterator[list[Frame]]:
    """``batch`` frames at a time; it is found out only if there are two, while a reader in another thread goes on."""
    if not isinstance(batch, int):
        first = list(islice(frames, 2))
        frames, batch = chain(first, frames), batch() if len(first) == 2 else 1
        if batch < 1:
            raise ValueError(f"batch: {batch} frames: must be 1 or more")
    while group := list(islice(frames, batch)):
        yield group


@dataclass(frozen=True, slots=True)
class _Asked:
    """A model whose answers are checked, on as many cores as its caller had; a loaded one chooses its number itself."""

    model: Model
    cores: int

    def __call__(self, frames: Sequence[Frame]) -> list[Tensor]:
        with torch.no_grad(), cores(self.cores):
            alphas = self.model(frames)
        if len(alphas) != len(frames):
            raise ModelError(f"the model returned {len(alphas)} alphas for {len(frames)} frames")
        return [_checked(alpha, frame) for alpha, frame in zip(alphas, frames, strict=True)]

    def one(self, frame: Frame) -> Tensor:
        return self([frame])[0]


def _checked(alpha: Tensor, frame: Frame) -> Tensor:
    """The alpha in 16 bits, on its frame's device, without a gradient, since stages compute outside of torch, too."""
    if not isinstance(alpha, Tensor) or not (alpha.is_floating_point() or alpha.dtype == torch.bool):
        kind = str(alpha.dtype) if isinstance(alpha, Tensor) else type(alpha).__name__
        raise ModelError(f"the model returned an alpha of type {kind}; expected a float tensor in [0, 1]")
    if alpha.ndim != 2 or not alpha.numel():
        raise ModelError(f"the model returned an alpha of shape {tuple(alpha.shape)}; expected (height, width)")
    if not alpha.isfinite().all():  # smoothing would spread it from frame to frame
        raise ModelError(f"the model returned NaN for frame {frame.index}", hint="try --precision fp32")
    alpha = alpha.detach().to(frame.rgb.device, torch.float32)
    return alpha.clamp(0, 1).mul(STEPS).round_().div_(STEPS)


def _staged(cutouts: Iterator[Cutout], stage: Stage) -> Generator[Cutout]:
    try:
        with _ending(cutouts):
            for cutout in cutouts:
                yield from _given_back(stage, "push", stage.push(cutout))
            yield from _given_back(stage, "flush", stage.flush())
    finally:
        _close(stage)


def _side_by_side(cutouts: Iterator[Cutout], stages: Sequence[Stage], count: int, fetch: bool) -> Generator[Cutout]:
    """As if each stage were passed in turn, but with ``count`` cut-outs at a time."""

    def better(cutout: Cutout) -> list[Cutout]:
        several = [cutout]
        for stage in stages:
            several = [each for one in several for each in _given_back(stage, "push", stage.push(one))]
        return [each.home() if fetch else each for each in several]  # here, since it waits for the device

    pool = ThreadPoolExecutor(count, _STAGES, torch.set_num_threads, (1,))
    waiting: deque[Future[list[Cutout]]] = deque()
    try:
        with _ending(cutouts):
            for cutout in cutouts:
                waiting.append(pool.submit(better, cutout))
                if len(waiting) > count:
                    yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
        for stage in stages:
            yield from _given_back(stage, "flush", stage.flush())
    finally:
        pool.shutdown(wait=not _in_stages(), cancel_futures=True)
        for stage in stages:
            _close(stage)


def _close(stage: Stage) -> None:
    close = getattr(stage, "close", None)
    if close is not None:
        close()


def _in_stages() -> bool:
    """Whether this is a thread of stages: only the garbage collector ends anything here, and must not wait for it."""
    return threading.current_thread().name.startswith(_STAGES)


def _given_back(stage: Stage, method: str, cutouts: object) -> Iterator[Cutout]:
    """The cut-outs that a stage returned; refuses anything else."""
    wrong: object = cutouts
    if isinstance(cutouts, Iterable):
        for cutout in cutouts:
            if not isinstance(cutout, Cutout):
                wrong = cutout
                break
            yield cutout
        else:
            return
    raise StreammatteError(
        f"{type(stage).__name__}.{method} returned {type(wrong).__name__}; expected an iterable of Cutout",
        hint="yield a Cutout: `yield dataclasses.replace(cutout, alpha=...)`",
    )


def _leaving(cutouts: Iterator[Cutout], floats: bool, fetch: bool, *, alone: bool) -> Generator[Cutout]:
    """At the frame's size."""
    with _ending(cutouts):
        for cutout in cutouts:
            cutout = cutout if cutout.alpha.shape == cutout.frame.size else lifted(cutout)
            if fetch:
                cutout = cutout.home()
                if alone:  # other chains may still need the copies
                    cutout.frame.forget()
            if floats and cutout.foreground is not None:
                cutout = replace(cutout, foreground=cutout.as_float())
            yield cutout


@contextmanager
def _ending(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """Close ``items`` when their reader ends, by itself, by an exception or by being closed.

    The garbage collector would keep a generator as long as a traceback that mentions it, and its thread would go on
    reading a file that is closed by then.
    """
    try:
        yield items
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


def prefetch(items: Iterable[T], depth: int = 4, *, stopped: Callable[[], None] | None = None) -> Generator[T]:
    """Iterate ``items`` in another thread, at most ``depth`` of them ahead.

    The thread's exceptions are raised here, after the items that came before. Closing this generator stops the thread
    and closes ``items`` before it returns, so that no file is used after its release.

    Args:
        stopped: Called at the end, before the thread is awaited: it can interrupt what takes minutes.
    """
    consumer = threading.current_thread()
    ahead: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(maxsize=depth)
    stop, ended = threading.Event(), threading.Event()

    def put(item: T | None, exc: BaseException | None = None, *, last: bool) -> None:
        while not stop.is_set():
            try:
                return ahead.put((item, exc, last), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            with _ending(iter(items)) as iterator:  # only the thread that runs a generator can close it
                for item in iterator:
                    put(item, last=False)
                    if stop.is_set():
                        return
            put(None, last=True)
        except BaseException as exc:  # the consumer's to handle
            put(None, exc, last=True)
        finally:
            ended.set()

    thread = threading.Thread(target=work, name=_WORKER, daemon=True)
    try:
        thread.start()
        while True:
            consumer = threading.current_thread()
            item, exc, last = ahead.get()
            if exc is not None:
                raise exc
            if last:
                return
            yield item  # type: ignore[misc]  # only the last entry has no item
    finally:
        stop.set()
        if stopped is not None:
            stopped()
        if thread.ident is None:  # a signal interrupted start(), not the thread
            ended.wait(1)
        # The garbage collector may run in any thread, even in one that this one waits for.
        worker = threading.current_thread() is not consumer and threading.current_thread().name == _WORKER
        collected = worker or _in_stages()
        if thread.ident is not None and not collected:
            thread.join()
