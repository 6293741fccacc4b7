"""CUDA graphs: a network's launches, recorded once for each shape of its input and then replayed as one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from streammatte.models.device import SHARE, free_memory, peak_of

SHAPES = 4  # whole batches, a clip's last one, and those of subjects that are followed


@dataclass(frozen=True)
class Recording:
    """``replay`` computes ``output`` from ``inputs``, each always in the same memory."""

    inputs: tuple[Tensor, ...]
    output: Tensor
    replay: Callable[[], None]

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The network's answer, in memory of its own."""
        for place, given in zip(self.inputs, inputs, strict=True):
            place.copy_(given)
        self.replay()
        return self.output.clone()


Record = Callable[..., Recording | None]
"""Records a network, its first argument, for inputs like the others; ``None`` if that would keep too much memory."""


class Replayed(nn.Module):
    """A network in eval mode, without gradients, that replays each shape of its inputs that comes a second time.

    The first call of a shape computes as usual, since recording would not pay for a single picture. If recording fails,
    nothing is recorded from then on. One thread at a time may call it, always on
    the same stream.

    Args:
        record: How to record on the network's device; ``None`` if it cannot be done there.
    """

    def __init__(self, net: nn.Module, record: Record | None) -> None:
        super().__init__()
        self.net = net
        self._record = record
        # What computes each of the last shapes, the latest at the end; None for a shape that came once.
        self._known: dict[object, Callable[..., Tensor] | None] = {}
        self._given_up: set[object] = set()  # recordings that were dropped: shapes change too often

    def forward(self, *inputs: Tensor) -> Tensor:
        if self._record is None:
            return self.net(*inputs)  # type: ignore[no-any-return]
        shape = tuple((each.shape, each.stride(), each.dtype) for each in inputs)
        if shape in self._given_up:
            return self.net(*inputs)  # type: ignore[no-any-return]
        if shape not in self._known:
            answer: Tensor = self.net(*inputs)
            self._remember(shape, None)
            return answer
        compute = self._known.pop(shape) or self._recorded(*inputs)
        self._remember(shape, compute)
        return compute(*inputs)

    def _recorded(self, *inputs: Tensor) -> Callable[..., Tensor]:
        assert self._record is not None
        try:
            return self._record(self.net, *inputs) or self.net
        except RuntimeError as exc:  # an operation that cannot be recorded, or too little memory
            logging.getLogger(__name__).info("computing without CUDA graphs: %s", exc)
            self._record = None
            self._known.clear()
            return self.net

    def _remember(self, shape: object, compute: Callable[..., Tensor] | None) -> None:
        self._known[shape] = compute
        while len(self._known) > SHAPES:
            oldest = next(iter(self._known))
            if self._known.pop(oldest) is not None:
                self._given_up.add(oldest)


class CudaGraphs:
    """Records CUDA graphs.

    All share one pool of memory: they never run at the same time, and an answer is copied before the next replay.
    """

    _turn = threading.Lock()  # a process can record one at a time

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        with torch.cuda.device(device):
            self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, net: nn.Module, *inputs: Tensor) -> Recording | None:
        given = tuple(each.clone() for each in inputs)
        with self._turn, torch.cuda.device(self._device):
            outside = torch.cuda.current_stream()
            self._stream.wait_stream(outside)
            try:
                with torch.cuda.stream(self._stream):
                    # CUDA's libraries allocate at their first call on a stream, which cannot be recorded.
                    _, size = peak_of(self._device, partial(net, *given))
                    if size * SHARE > free_memory(self._device):
                        return None
                    graph = torch.cuda.CUDAGraph()
                    # Reader, stages and writer may use the device meanwhile.
                    with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                        answer = net(*given)
            except RuntimeError:
                # Before 2.12, torch would believe for good that it records; a later one may not have this.
                with suppress(RuntimeError, AttributeError):
                    torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), self._pool)
                raise
            finally:
                outside.wait_stream(self._stream)
        return Recording(given, answer, graph.replay)
