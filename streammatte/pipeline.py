"""Source → matter → stages, composed in one function; and the thread that lets any two of them overlap."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from streammatte.errors import ModelError
from streammatte.frame import Cutout, Frame, Model, Stage

T = TypeVar("T")


def matte(
    source: Iterable[Frame], matter: Model, stages: Iterable[Stage] = (), *, batch: int = 1, ahead: int = 0
) -> Iterator[Cutout]:
    """Run frames through: each gains its alpha, and then passes every stage in turn.

    Lazy: a cut-out is computed when it is asked for, and no more frames are held than the batch and the stages need;
    unless ``ahead`` is given.

    Args:
        source: Any iterable of frames; a ``Source`` is one.
        matter: Any callable that keeps ``Model``'s contract.
        stages: Applied in order; fresh ones for every run, since they remember frames.
        batch: Frames handed to the matter at once.
        ahead: Cut-outs that each may be ahead of the stage after it, in a thread of its own; 0 starts none.

    Yields:
        As many cut-outs as there were frames, in their order.

    Raises:
        ModelError: The matter broke its contract.
    """
    cutouts = _matted(source, matter, batch)
    for stage in stages:
        cutouts = _staged(prefetch(cutouts, ahead) if ahead else cutouts, stage)
    return cutouts


def _matted(source: Iterable[Frame], matter: Model, batch: int) -> Generator[Cutout]:
    with _ending(iter(source)) as frames:
        while group := list(islice(frames, batch)):
            alphas = matter(group)
            if len(alphas) != len(group):
                raise ModelError(f"the matter gave {len(alphas)} alphas for {len(group)} frames")
            for frame, alpha in zip(group, alphas, strict=True):
                if alpha.shape != frame.rgb.shape[-2:]:
                    raise ModelError(
                        f"the matter gave an alpha of {tuple(alpha.shape)} for a frame of {tuple(frame.rgb.shape[-2:])}"
                    )
                if not alpha.isfinite().all():  # what looks at neighbours would carry it on from frame to frame
                    raise ModelError(
                        f"the matte of frame {frame.index} is no numbers", hint="try again with --precision fp32"
                    )
                yield Cutout(frame, alpha.detach())  # stages compute outside of torch, too


def _staged(cutouts: Iterator[Cutout], stage: Stage) -> Generator[Cutout]:
    with _ending(cutouts):
        for cutout in cutouts:
            yield from stage.push(cutout)
        yield from stage.flush()


@contextmanager
def _ending(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """Closes ``items`` when its reader ends, whether by itself, by an exception or by being closed.

    Left to the garbage collector, a generator lives as long as a traceback that mentions it; and with it the thread
    that reads a file which has been closed meanwhile.
    """
    try:
        yield items
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


def prefetch(items: Iterable[T], depth: int = 4, *, stopped: Callable[[], None] | None = None) -> Generator[T]:
    """Iterate ``items`` in a thread of its own, at most ``depth`` of them ahead.

    ``stopped`` is called when nobody wants more, before the thread is waited for: what takes minutes can end at once.

    What goes wrong in the thread is raised here, after the items that came before it. Closing this generator (or an
    exception in it) stops the thread and closes ``items`` before it returns, so that no file is used after its release.
    """
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
            with _ending(iter(items)) as iterator:  # here: a generator can only be closed by the thread that runs it
                for item in iterator:
                    put(item, last=False)
                    if stop.is_set():
                        return
            put(None, last=True)
        except BaseException as exc:  # carried over, whatever it is: it is the consumer's to handle
            put(None, exc, last=True)
        finally:
            ended.set()

    thread = threading.Thread(target=work, name="streammatte-prefetch", daemon=True)
    try:
        thread.start()
        while True:
            item, exc, last = ahead.get()
            if exc is not None:
                raise exc
            if last:
                return
            yield item  # type: ignore[misc]  # None stands for "no item" in the last entry only
    finally:
        stop.set()
        if stopped is not None:
            stopped()
        if thread.ident is None:  # a signal came while it was starting, which ends the wait for it and not the thread
            ended.wait(1)
        if thread.ident is not None:
            thread.join()
