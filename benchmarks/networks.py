"""Networks to measure: the released shapes with weights derived from their names, so that no download is needed."""

from __future__ import annotations

import gc
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.report import ROOT
from streammatte.models.nets.birefnet import NANO, SWIN_L, SWIN_T, BiRefNet, Decoder, load_birefnet, resize
from streammatte.models.nets.deform import DeformableConv2d
from streammatte.models.table import NANO_SIZE

PARITY = ROOT / "tests" / "data" / "parity"
CONFIGS = {"nano": NANO, "swin_t": SWIN_T, "swin_l": SWIN_L}
SIZES = {"nano": NANO_SIZE, "swin_t": (1024, 1024), "swin_l": (1024, 1024)}
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def _fill() -> ModuleType:
    """``tests/data/parity/fill.py``, which made the goldens and is not in a package."""
    spec = importlib.util.spec_from_file_location("fill", PARITY / "fill.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fill = _fill()


def checkpoint(name: str, folder: Path) -> Path:
    """An fp32 checkpoint of that shape, the one behind the goldens; written once."""
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        fresh = BiRefNet(CONFIGS[name]).state_dict()
        filled = {
            key: torch.from_numpy(fill.tensor(key, tuple(value.shape))) if value.is_floating_point() else value
            for key, value in fresh.items()
        }
        part = path.with_suffix(".part")
        save_file(filled, part)
        part.replace(path)
    return path


def network(name: str, folder: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> BiRefNet:
    return load_birefnet(checkpoint(name, folder)).to(device, dtype)


def picture(shape: tuple[int, ...], device: str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """A smooth (B, 3, H, W) test picture in [-1, 1]."""
    return torch.from_numpy(fill.image("benchmark", shape)).to(device, dtype)


@contextmanager
def plain() -> Iterator[None]:
    """Networks in their published form, to compare with: every tap at once, offsets and modulators apart,
    full-size maps.

    Only their products, which torch computes, are the same. Batch norms are not folded by ``load_birefnet``.
    """

    def deform(x: Tensor, offset: Tensor, modulator: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        B, C, H, W = x.shape
        k = weight.shape[-1]
        y, x_ = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
        tap_y, tap_x = torch.meshgrid(torch.arange(k) - k // 2, torch.arange(k) - k // 2, indexing="ij")
        places = offset.view(B, k * k, 2, H, W).float()
        row = places[:, :, 0] + y + tap_y.reshape(-1, 1, 1)
        column = places[:, :, 1] + x_ + tap_x.reshape(-1, 1, 1)
        grid = torch.stack((2 * column / (W - 1) - 1, 2 * row / (H - 1) - 1), -1).view(B, -1, W, 2)
        taps = F.grid_sample(x.float(), grid, align_corners=True).view(B, C, k * k, H, W).to(x.dtype)
        taps = (taps * modulator[:, None]).view(B, C * k * k, H, W)
        return F.conv2d(taps, weight.reshape(len(weight), -1, 1, 1), bias)

    def twice(conv: DeformableConv2d, x: Tensor) -> Tensor:
        modulator = 2 * conv.modulator_conv(x).sigmoid()
        return deform(x, conv.offset_conv(x), modulator, conv.regular_conv.weight)

    def predict(decoder: Decoder, image: Tensor, p1: Tensor) -> Tensor:
        wide = torch.cat((resize(p1, image.shape[-2:]), decoder.ipt_blk1(image)), dim=1)
        return decoder.conv_out1(wide)  # type: ignore[no-any-return]

    with patch.object(DeformableConv2d, "forward", twice), patch.object(Decoder, "predict", predict):
        yield


def strict_fp32(device: str, strict: bool = True) -> None:
    """Forbid or allow TF32 in matrix products and convolutions."""
    if device != "cpu":
        torch.backends.cuda.matmul.allow_tf32 = not strict
        torch.backends.cudnn.allow_tf32 = not strict


def median_seconds(call: Callable[[], object], device: str, seconds: float) -> float:
    """Median time of one call, over about that many seconds and at least three calls, after a warm-up.

    Waits for each call, as the command does for each batch: a queue would hide the time Python takes to launch kernels.
    """
    once = _cuda_seconds if device != "cpu" else _cpu_seconds
    start = time.perf_counter()
    warm = 0
    while warm < 2 or time.perf_counter() - start < seconds / 4:
        once(call)
        warm += 1
    start = time.perf_counter()
    times: list[float] = []
    while len(times) < 3 or time.perf_counter() - start < seconds:
        times.append(once(call))
    return statistics.median(times)


def _cpu_seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _cuda_seconds(call: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000


def forget_peak(device: str) -> None:
    """Start a new measurement for ``peak_mib``."""
    if device != "cpu":
        gc.collect()  # frees earlier networks in reference cycles
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_mib(device: str) -> float | None:
    """Peak device memory of tensors since ``forget_peak``, including weights; ``None`` on a CPU."""
    return round(torch.cuda.max_memory_allocated() / 2**20, 1) if device != "cpu" else None
