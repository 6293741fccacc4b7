"""Which device computes, and in which type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from streammatte.errors import DeviceMissing, OutOfMemory

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def available_devices() -> list[str]:
    """What ``choose_device`` takes here, the preferred one first."""
    devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def choose_device(name: str | None = None) -> torch.device:
    """The device of that name (``cpu``, ``cuda``, ``cuda:1``, ``mps``), or the best one here.

    Raises:
        DeviceMissing: There is no such device on this machine.
    """
    here = available_devices()
    if name is None:
        return torch.device(here[0])
    if (name != "cuda" and name not in here) or (name == "cuda" and "cuda:0" not in here):
        raise DeviceMissing(
            f"there is no device {name!r} on this machine",
            hint=f"here: {', '.join(here)}; `streammatte doctor` says what torch sees",
        )
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The type to compute in.

    ``auto`` takes fp16 on CUDA, bf16 on a CPU that multiplies tiles of it (AMX), else fp32. Without AMX, AVX-512's bf16
    makes these networks slower: Swin-T takes 1.35 times as long on a Xeon. On MPS Swin and SDMatte return NaN in fp16.
    """
    if name != "auto":
        return PRECISIONS[name]
    if device.type == "mps":
        return torch.float32
    if device.type != "cpu":
        return torch.float16
    return torch.bfloat16 if torch.cpu._is_amx_tile_supported() else torch.float32


@contextmanager
def cores_left_to(others: int) -> Iterator[None]:
    """Lets torch's operators use all cores but ``others``, one at least, in threads that begin in here.

    Operators of several threads wait for each other; where these share cores with other work, they wait for that too.
    """
    with cores(max(1, torch.get_num_threads() - others)):
        yield


@contextmanager
def cores(count: int) -> Iterator[None]:
    """Lets torch's operators use so many cores, in this thread and in those that begin in here."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def memory_of(device: torch.device, hint: str, network: str = "this model") -> Iterator[None]:
    """Translates a device's lack of memory, wherever torch notices it; ``hint`` says what takes less."""
    try:
        yield
    except RuntimeError as exc:  # a GPU's lack has a class of its own below it, a CPU's has a sentence
        if not isinstance(exc, torch.OutOfMemoryError) and not re.search("not enough memory|allocate memory", str(exc)):
            raise
        raise OutOfMemory(f"{device} has too little memory for {network} at this size", hint=hint) from exc
