"""Devices, precisions and numbers of cores."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import TypeVar

import torch

from streammatte.errors import DeviceMissing, ModelError, OutOfMemory

T = TypeVar("T")

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
LARGE = 512  # input size in pixels from which a network on the CPU takes much longer than all else
TURNS = threading.BoundedSemaphore(2)
"""Whole frames that stages compute on a GPU at a time: one in 4K takes 1.5 GB meanwhile, and two keep a GPU busy."""
OTHERS = 2  # cores that a small network leaves to reading, stages, writing and other programs
SHARE = 4  # a network keeps or plans with 1 / SHARE of free memory; stages, SDMatte and other programs need theirs
MOST_WORKERS = 8  # frames that stages work on at a time; a 4K frame takes some 300 MB meanwhile


def available_devices() -> list[str]:
    """The names that ``choose_device`` takes here, the preferred one first."""
    devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def choose_device(name: str | torch.device | None = None) -> torch.device:
    """The device of that name (``cpu``, ``cuda``, ``cuda:1``, ``mps``), or the best one here.

    Raises:
        DeviceMissing: There is no such device on this machine.
    """
    here = available_devices()
    if name is None:
        return torch.device(here[0])
    name = str(name)
    if (name != "cuda" and name not in here) or (name == "cuda" and "cuda:0" not in here):
        raise DeviceMissing(
            f"no device {name!r} on this machine",
            hint=f"choose from {', '.join(here)}; `streammatte doctor` shows what torch sees",
            usage=name.partition(":")[0] not in ("cpu", "cuda", "mps"),
        )
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The type to compute in.

    ``auto`` is fp16 on CUDA, bf16 on a CPU that multiplies it (AMX or AVX-512 BF16), else fp32. With AVX-512 alone bf16
    is slower: Swin-T takes 1.35 times as long on a Xeon. On MPS, Swin and SDMatte return NaN in fp16.

    Raises:
        ModelError: An unknown name.
    """
    if name != "auto":
        if name not in PRECISIONS:
            raise ModelError(f"unknown precision {name!r}", hint=f"choose from auto, {', '.join(PRECISIONS)}")
        return PRECISIONS[name]
    if device.type == "mps":
        return torch.float32
    if device.type != "cpu":
        return torch.float16
    multiplied = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if multiplied else torch.float32


def cores_for(device: torch.device | None = None, size: tuple[int, int] = (0, 0)) -> int:
    """How many cores torch should use, whatever it is set to now.

    Torch's threads spin while they wait for each other, so one that has lost its core to another program stops them
    all: on two cores with another busy process, a 192² frame took 4.7 s with two threads and 0.046 s with one. A small
    network, and the stages after any network, therefore leave cores free; a large one on the CPU uses them all.

    Args:
        device, size: Where a network computes, and (H, W) of its input; without them, the answer is for the stages.
    """
    available = _available()
    large = device is not None and device.type == "cpu" and max(size) >= LARGE
    return available if large else max(1, available - OTHERS)


def workers() -> int:
    """How many frames stages may work on at a time: one for each core, up to as many as memory surely bears."""
    return min(MOST_WORKERS, _available())


def _available() -> int:
    """The cores that this process may use; ``OMP_NUM_THREADS`` can only lower it."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(available, int(wanted)) if wanted.isdecimal() and int(wanted) > 0 else available


def free_memory(device: torch.device) -> int:
    """Bytes on a CUDA device that nobody uses; torch holds some of them to use again."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def peak_of(device: torch.device, call: Callable[[], T]) -> tuple[T, int]:
    """The result of a call, and the most bytes of a CUDA device that it took at a time."""
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    result = call()
    return result, torch.cuda.max_memory_allocated(device) - before


def frames_at_once(free: int, per_frame: int, most: int) -> int:
    """How many frames a network should get in one call: a power of two, at least 1 and at most ``most``.

    Batches change the last bits of answers. With powers of two, a little more or less memory rarely changes the batch.

    Args:
        free: Bytes that nobody uses.
        per_frame: Bytes that the network takes for one frame.
    """
    fitting = max(1, min(most, free // SHARE // max(1, per_frame)))
    return 1 << (fitting.bit_length() - 1)


@contextmanager
def cores(count: int, before: int | None = None) -> Iterator[None]:
    """Let torch use that many cores in this thread, and in threads that start within.

    Args:
        before: What to set it to afterwards; by default the present number.
    """
    # Asked even if nobody wants it: torch sets a new thread's number at its first use, and would undo ours then.
    found = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(found if before is None else before)


@contextmanager
def turn_on(device: torch.device) -> Iterator[None]:
    """Wait until a GPU may compute another whole frame for the stages; a CPU may always."""
    with nullcontext() if device.type == "cpu" else TURNS:
        yield


_OPENCV, _FOUND = threading.Lock(), list[int]()  # the numbers that those within opencv_cores found


@contextmanager
def opencv_cores(count: int) -> Iterator[None]:
    """Let OpenCV use that many cores, in the whole process: its threads yield in a loop while they wait for work.

    Of several at a time the first one decides, and the last one to leave restores what the first one found.
    """
    import cv2

    with _OPENCV:
        _FOUND.append(cv2.getNumThreads())
        if len(_FOUND) == 1:
            cv2.setNumThreads(count)
    try:
        yield
    finally:
        with _OPENCV:
            found = _FOUND.pop()
            if not _FOUND:
                cv2.setNumThreads(found)


@contextmanager
def cores_left_to(others: int) -> Iterator[None]:
    """Let torch use all cores but ``others``, one at least, in this thread and in threads that start within."""
    with cores(max(1, torch.get_num_threads() - others)):
        yield


def computed_on(count: int, items: Generator[T]) -> Generator[T]:
    """The same items, each computed on ``count`` cores; between two of them torch has the caller's setting."""
    home, before = threading.current_thread(), torch.get_num_threads()

    def work() -> Generator[T]:
        with closing(items):
            while True:
                # Another thread begins with whatever the last one has set, which need not be the caller's.
                with cores(count, None if threading.current_thread() is home else before):
                    try:
                        item = next(items)
                    except StopIteration:
                        return
                yield item

    return work()


def stop_at_a_layer(net: torch.nn.Module, stopping: threading.Event) -> None:
    """Make the network raise ``KeyboardInterrupt`` before its next layer once ``stopping`` is set."""

    def go_on(*module_and_inputs: object) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt

    for module in net.modules():
        module.register_forward_pre_hook(go_on)


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether that is how torch says so: a GPU has a class for it, a CPU only messages, of torch or of oneDNN."""
    said = "not enough memory|allocate memory|CUDA error: out of memory|could not create a primitive$"
    known = isinstance(exc, torch.OutOfMemoryError | MemoryError)
    return known or (isinstance(exc, RuntimeError) and re.search(said, str(exc)) is not None)


@contextmanager
def memory_of(device: torch.device, hint: str, network: str = "this model") -> Iterator[None]:
    """Translate torch's out-of-memory errors; ``hint`` says what needs less."""
    try:
        yield
    except RuntimeError as exc:
        if not is_out_of_memory(exc):
            raise
        raise OutOfMemory(f"not enough memory on {device} for {network} at this size", hint=hint) from exc
