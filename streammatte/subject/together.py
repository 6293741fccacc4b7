"""Several subjects side by side: a chain each over shared frames, which together fill no pixel twice."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import tee
from typing import TypeVar

import torch

from streammatte.frame import Cutout

T = TypeVar("T")


def shared(items: Iterable[T], readers: int) -> list[Generator[T]]:
    """The same items for several readers, in any threads.

    Each is read once, and kept until every reader has it: no longer than one reader is ahead of another.
    """
    taking = threading.Lock()

    def read(own: Iterator[T]) -> Generator[T]:
        while True:
            with taking:
                try:
                    item = next(own)
                except StopIteration:
                    return
            yield item

    return [read(own) for own in tee(items, readers)]


def together(subjects: Sequence[Generator[Cutout]], frames: Generator[object] | None = None) -> Generator[list[Cutout]]:
    """The cut-outs of every subject, a frame at a time.

    Args:
        frames: What they share, closed after them.
    """
    with ExitStack() as ending:
        for each in subjects if frames is None else (frames, *subjects):
            ending.enter_context(closing(each))
        for cutouts in zip(*subjects, strict=True):
            yield filling_once(cutouts)


def filling_once(cutouts: Sequence[Cutout]) -> list[Cutout]:
    """Cut-outs of one frame, (H, W) each, whose alphas add up to 1 at most: where it is more, each has its share.

    Alone, a subject keeps its alpha as it is; and so do all within the core matte, which they have in common.
    """
    total = torch.stack([cutout.alpha for cutout in cutouts]).sum(0)
    if len(cutouts) == 1 or total.max() <= 1:
        return list(cutouts)
    excess = total.sub_(1).clamp_(min=0)
    core = cutouts[0].core
    excess = excess if core is None else excess * (1 - core.to(excess))
    return [replace(cutout, alpha=cutout.alpha / (1 + excess)) for cutout in cutouts]
