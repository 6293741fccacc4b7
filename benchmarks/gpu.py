"""Measurements that need a GPU: correctness first, then speed. ``gpu.sh`` runs all sections in order; see README.md."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.footage import figures, run_command, write_clip
from benchmarks.networks import (
    DTYPES,
    PARITY,
    SIZES,
    checkpoint,
    fill,
    forget_peak,
    median_seconds,
    network,
    peak_mib,
    picture,
    strict_fp32,
)
from benchmarks.report import CheckFailed, Report, machine, output_of, require
from streammatte.models.birefnet import AT_ONCE, BiRefNetModel
from streammatte.models.graphs import CudaGraphs, Recording
from streammatte.models.nets.birefnet import BiRefNet
from streammatte.models.nets.deform import deform_conv2d, kernel_may_run, plain_deform_conv2d

GOLDENS = (("swin_t", "a", (1, 3, 256, 256)), ("swin_t", "b", (2, 3, 192, 320)), ("swin_l", "a", (1, 3, 256, 256)))
LIMIT_FP32 = 1e-4  # largest |Δ sigmoid|
LIMIT_HALF = 0.05  # mean |Δ sigmoid| / the matte's standard deviation; on a CPU bf16 gives 0.011, fp16 0.0015
LIMIT_MIB = 11_000  # device memory of SDMatte at 1024²: a 12 GB card reserves some
LIMIT_DEFORM = 1e-3  # largest |Δ| / largest |value|, in fp32
LIMIT_KERNEL = {"fp32": 1e-4, "fp16": 2e-3, "bf16": 1.6e-2}  # the same; in 16 bits both round
FILLED = "filled from names, not trained: the matte is noise, the work is the same"


@dataclass(frozen=True)
class Run:
    """Device, sizes and time limit.

    Attributes:
        device: As torch names it.
        small: Tiny pictures and few networks, to test the benchmark itself.
        folder: For checkpoints and clips.
        until: ``time.monotonic()`` after which nothing new starts.
    """

    device: str
    small: bool
    folder: Path
    until: float

    @property
    def names(self) -> tuple[str, ...]:
        return ("nano",) if self.small else ("nano", "swin_t", "swin_l")

    @property
    def seconds(self) -> float:
        """Seconds per timing."""
        return 0.01 if self.small else 1.0

    def shape(self, name: str, batch: int = 1) -> tuple[int, int, int, int]:
        height, width = (64, 64) if self.small else SIZES[name]
        return batch, 3, height, width

    @property
    def left(self) -> float:
        return self.until - time.monotonic()


def main() -> int:
    """Run one section; returns 1 if anything in it failed."""
    sections: dict[str, Callable[[Run, Report], None]] = {
        "correctness": correctness,
        "speed": speed,
        "graphs": graphs,
        "compiled": compiled,
        "sdmatte": sdmatte,
        "footage": footage,
        "trace": trace,
        "live": live,
    }
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    parser.add_argument("section", choices=sections)
    parser.add_argument("--json", type=Path, required=True, help="the report; extended if it exists")
    parser.add_argument("--folder", type=Path, required=True, help="folder for checkpoints and clips, 1 GB")
    parser.add_argument("--seconds", type=float, default=120, help="start nothing new after this time (%(default)s)")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to test the benchmark itself")
    given = parser.parse_args()
    if given.device != "cpu" and not torch.cuda.is_available():
        print("benchmarks: error: torch sees no CUDA device; --device cpu --small tries the code", file=sys.stderr)
        return 2
    report = Report(given.json)
    given.folder.mkdir(parents=True, exist_ok=True)
    report.facts(**machine(), **gpu(given.device), small=given.small)
    sections[given.section](Run(given.device, given.small, given.folder, time.monotonic() + given.seconds), report)
    for failure in report.failures:
        print(f"benchmarks: failed: {failure}", file=sys.stderr)
    return 1 if report.failures else 0


def gpu(device: str) -> dict[str, object]:
    """Device name, memory, driver and libraries."""
    if device == "cpu":
        return {"device": "cpu"}
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": device,
        "gpu": properties.name,
        "gpu_mib": properties.total_memory // 2**20,
        "capability": f"{properties.major}.{properties.minor}",
        "driver": output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }


# --- correctness -----------------------------------------------------------------------------------------------------


@torch.inference_mode()
def correctness(run: Run, report: Report) -> None:
    """Networks against goldens, CPU and lower precision; deformable convolution against torchvision and plain form."""
    strict_fp32(run.device)
    for name, golden, shape in GOLDENS:
        with report.entry("fp32", f"{name} {golden}") as entry:
            expected = np.load(PARITY / f"birefnet_swin_v1_{name[-1]}_{golden}.npz")["logits"]
            image = torch.from_numpy(fill.image(f"birefnet-{golden}", shape, 0))
            net = network(name, run.folder)
            on_cpu = net(image)
            on_device = net.to(run.device)(image.to(run.device)).cpu()
            entry["max_to_golden"] = distance(on_device, torch.from_numpy(expected))[0]
            entry["max_to_cpu"] = distance(on_device, on_cpu)[0]
            require(entry["max_to_golden"], LIMIT_FP32, "|Δ sigmoid| to the golden")
            require(entry["max_to_cpu"], LIMIT_FP32, "|Δ sigmoid| to the CPU")
    for name in run.names:
        precision(run, report, name)
    for kernel in (1, 3, 7):
        deformable(run, report, kernel)


def precision(run: Run, report: Report, name: str) -> None:
    """Error of fp16, bf16 and TF32 at the network's own size: 16-bit coordinates only show at large sizes."""
    with report.entry("precision", name) as entry:
        image = picture(run.shape(name), run.device)
        net = network(name, run.folder, run.device)
        exact = net(image)
        entry["sigmoid_std"] = exact.sigmoid().std().item()
        if run.device != "cpu":
            strict_fp32(run.device, False)
            entry["tf32_max"], entry["tf32_mean"] = distance(net(image), exact)
            strict_fp32(run.device)
        for half in ("fp16", "bf16"):
            net = network(name, run.folder, run.device, DTYPES[half])
            entry[f"{half}_max"], entry[f"{half}_mean"] = distance(net(image.to(DTYPES[half])), exact)
        for half in ("fp16", "bf16"):
            require(entry[f"{half}_mean"], LIMIT_HALF * entry["sigmoid_std"], f"mean |Δ sigmoid| of {half} to fp32")


def deformable(run: Run, report: Report, kernel: int) -> None:
    """Our deformable convolution against torchvision's, and its kernel against its plain form.

    At the size and widths of the decoder's last block.
    """
    side = 24 if run.small else 256
    draw = torch.Generator().manual_seed(kernel)
    x = torch.randn(1, 64, side, side, generator=draw)
    offset = 4 * torch.randn(1, 2 * kernel**2, side, side, generator=draw)
    modulator = 2 * torch.randn(1, kernel**2, side, side, generator=draw).sigmoid()
    weight = torch.randn(256, 64, kernel, kernel, generator=draw) / (8 * kernel)
    arguments = [tensor.to(run.device) for tensor in (x, offset, modulator, weight)]
    theirs, why_not = torchvision_deform()
    for dtype, kind in DTYPES.items():
        with report.entry("deform_conv2d", f"{kernel}x{kernel} {dtype}") as entry:
            rounded = [tensor.to(kind) for tensor in arguments]
            ours = measure(run, entry, "ours", partial(deform_conv2d, *rounded))
            if dtype == "fp32":
                entry["max_to_cpu"] = relative(ours.cpu(), deform_conv2d(x, offset, modulator, weight))
            else:
                # Offsets are rounded, too, as in the network: that is most of the error, not the sampling.
                entry["max_to_fp32"] = relative(ours, deform_conv2d(*arguments))
            if theirs is None or dtype == "bf16":
                entry["torchvision"] = why_not or "has no bf16 kernel"
            else:
                reference = measure(run, entry, "torchvision", partial(theirs, *rounded))
                entry["max_to_torchvision"] = relative(ours, reference)
            if dtype == "fp32":
                require(entry["max_to_cpu"], LIMIT_DEFORM, "relative |Δ| to the CPU")
                require(entry.get("max_to_torchvision", 0), LIMIT_DEFORM, "relative |Δ| to torchvision")
        with report.entry("deform_kernel", f"{kernel}x{kernel} {dtype}") as entry:
            if not kernel_may_run(*rounded):
                entry["skipped"] = "needs an NVIDIA GPU of compute capability 8.0"
                continue
            from streammatte.models.nets.deform_triton import fused_deform_conv2d  # a CPU may lack Triton

            plain = measure(run, entry, "plain", partial(plain_deform_conv2d, *rounded))
            fused = measure(run, entry, "fused", partial(fused_deform_conv2d, *rounded))
            entry["max_to_plain"] = relative(fused, plain)
            require(entry["max_to_plain"], LIMIT_KERNEL[dtype], "relative |Δ| of the kernel to the plain form")


def measure(run: Run, entry: dict[str, Any], whose: str, call: Callable[[], Tensor]) -> Tensor:
    """Record time and memory of a call; returns its result."""
    forget_peak(run.device)
    out = call()
    entry[f"{whose}_mib"] = peak_mib(run.device)
    entry[f"{whose}_ms"] = 1000 * median_seconds(call, run.device, run.seconds / 4)
    return out


def torchvision_deform() -> tuple[Callable[..., Tensor] | None, str | None]:
    """torchvision's operator with our arguments, or why it is missing."""
    try:
        from torchvision.ops import deform_conv2d as operator  # type: ignore[import-not-found]  # not a dependency
    except ImportError:
        return None, "not installed"
    except RuntimeError as exc:  # built for another torch
        return None, f"does not load: {exc}"

    def call(x: Tensor, offset: Tensor, modulator: Tensor, weight: Tensor) -> Tensor:
        return operator(x, offset, weight, padding=weight.shape[-1] // 2, mask=modulator)  # type: ignore[no-any-return]

    return call, None


def distance(logits: Tensor, expected: Tensor) -> tuple[float, float]:
    """Largest and mean |Δ sigmoid|."""
    difference = (logits.float().sigmoid() - expected.float().sigmoid()).abs()
    return difference.max().item(), difference.mean().item()


def relative(value: Tensor, expected: Tensor) -> float:
    """Largest |Δ| over the largest |expected|."""
    return ((value.float() - expected.float()).abs().max() / expected.float().abs().max()).item()


# --- speed -----------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def speed(run: Run, report: Report) -> None:
    """Eager networks: frames per second and device memory."""
    for name in run.names:
        for dtype in ("fp16", "bf16", "fp32", "tf32"):
            kind = DTYPES.get(dtype, torch.float32)
            strict_fp32(run.device, dtype != "tf32")
            net = network(name, run.folder, run.device, kind)
            for batch in (1, 4):
                with report.entry("eager", f"{name} {dtype} batch {batch}") as entry:
                    if run.left < 10 * run.seconds:
                        entry["skipped"] = "out of time"
                        continue
                    image = picture(run.shape(name, batch), run.device, kind)
                    forget_peak(run.device)
                    seconds = median_seconds(partial(net, image), run.device, run.seconds)
                    entry.update(ms=1000 * seconds, fps=batch / seconds, mib=peak_mib(run.device))
    strict_fp32(run.device)


@torch.inference_mode()
def graphs(run: Run, report: Report) -> None:
    """CUDA graphs against eager: equality of outputs, time of recording, speed and memory, at growing batches."""
    strict_fp32(run.device)
    for name in run.names:
        for dtype, batches in (("fp16", (1, 4, AT_ONCE)), ("fp32", (1,))):
            net = network(name, run.folder, run.device, DTYPES[dtype])
            for batch in batches:
                with report.entry("graphs", f"{name} {dtype} batch {batch}") as entry:
                    if run.left < 10 * run.seconds:
                        entry["skipped"] = "out of time"
                        continue
                    image = picture(run.shape(name, batch), run.device, DTYPES[dtype])
                    graph_one(run, entry, net, image, exact=dtype == "fp32")
        with report.entry("graphs", f"{name} at once") as entry:
            at_once(run, entry, name)


def graph_one(run: Run, entry: dict[str, Any], net: BiRefNet, image: Tensor, *, exact: bool) -> None:
    """Fill the entry for one shape."""
    forget_peak(run.device)
    expected = net(image)
    entry["eager_mib"] = peak_mib(run.device)
    seconds = median_seconds(partial(net, image), run.device, run.seconds)
    entry.update(eager_ms=1000 * seconds, eager_fps=len(image) / seconds)
    forget_peak(run.device)
    start = time.perf_counter()
    recorded = CudaGraphs(torch.device(run.device))(net, image) if run.device != "cpu" else stand_in(net, image)
    if recorded is None:
        entry["skipped"] = "a graph would keep too much memory"
        return
    entry.update(record_seconds=time.perf_counter() - start, reserved_mib=reserved_mib(run.device))
    other = image.flip(-1)
    for given, answer in ((image, expected), (other, net(other)), (image, expected)):
        entry["max_to_eager"], entry["mean_to_eager"] = largest, mean = distance(recorded(given), answer)
        if exact:
            require(largest, LIMIT_FP32, "|Δ sigmoid| to eager")
        require(mean, LIMIT_HALF * answer.float().sigmoid().std().item(), "mean |Δ sigmoid| to eager")
    seconds = median_seconds(partial(recorded, image), run.device, run.seconds)
    entry.update(ms=1000 * seconds, fps=len(image) / seconds)


def stand_in(net: nn.Module, batch: Tensor) -> Recording:
    """What a CPU can do instead, to test the section."""
    given, answer = batch.clone(), net(batch)
    return Recording((given,), answer, lambda: answer.copy_(net(given)))


def at_once(run: Run, entry: dict[str, Any], name: str) -> None:
    """The batch that the command would choose, and how long finding it out takes."""
    height, width = run.shape(name)[2:]
    net, device = network(name, run.folder), torch.device(run.device)
    model = BiRefNetModel(net, name=name, device=device, dtype=torch.float16, size=(height, width))
    start = time.perf_counter()
    entry["frames"] = model.at_once()
    entry["seconds"] = time.perf_counter() - start


def reserved_mib(device: str) -> float | None:
    """Device memory that torch holds, including what a graph keeps; ``None`` on a CPU."""
    return round(torch.cuda.memory_reserved() / 2**20, 1) if device != "cpu" else None


@torch.inference_mode()
def compiled(run: Run, report: Report) -> None:
    """``torch.compile``: equality of outputs, graph breaks, compile time and speed.

    The most informative comes first, as compiling is slow; what is skipped for lack of time is recorded.
    """
    strict_fp32(run.device)
    plan = [("nano", "fp32", 1, "default"), ("nano", "fp16", 1, "default")]
    if not run.small:
        plan += [("swin_t", "fp16", 1, "default"), ("swin_l", "fp16", 1, "default")]
        plan += [(name, "fp16", 1, "reduce-overhead") for name in ("nano", "swin_t")]
        plan += [("swin_l", "fp16", 4, "default"), ("swin_t", "fp32", 1, "default"), ("swin_l", "bf16", 1, "default")]
    longest = 0.0
    for name, dtype, batch, mode in plan:
        with report.entry("compiled", f"{name} {dtype} batch {batch} {mode}") as entry:
            if run.left < 1.5 * longest:
                entry["skipped"] = "out of time"
                continue
            net = network(name, run.folder, run.device, DTYPES[dtype])
            image = picture(run.shape(name, batch), run.device, DTYPES[dtype])
            longest = max(longest, compile_one(run, entry, net, image, mode, exact=dtype == "fp32"))


def compile_one(run: Run, entry: dict[str, Any], net: BiRefNet, image: Tensor, mode: str, *, exact: bool) -> float:
    """Fill the entry; returns the compile time in seconds."""
    from torch._dynamo.utils import counters

    expected = net(image)  # eager, and first: it leaves the shift masks behind, which a compiled graph takes as given
    torch.compiler.reset()
    counters.clear()
    # Inductor's C++ takes ten minutes on a CPU; its input and the graph breaks are known without it.
    quick = torch.compile(net, backend="aot_eager") if run.small else torch.compile(net, mode=mode)
    start = time.perf_counter()
    out = quick(image).clone()
    if run.device != "cpu":
        torch.cuda.synchronize()
    took = time.perf_counter() - start
    breaks = counters["graph_break"]
    entry.update(compile_seconds=took, graphs=counters["stats"]["unique_graphs"], graph_breaks=sum(breaks.values()))
    if breaks:
        entry["break_reasons"] = [reason.splitlines()[0] for reason in list(breaks)[:5]]
    entry["max_to_eager"], entry["mean_to_eager"] = largest, mean = distance(out, expected)
    forget_peak(run.device)
    seconds = median_seconds(partial(quick, image), run.device, run.seconds)
    entry.update(ms=1000 * seconds, fps=len(image) / seconds, mib=peak_mib(run.device))
    if exact:
        require(largest, LIMIT_FP32, "|Δ sigmoid| to eager")
    require(mean, LIMIT_HALF * expected.float().sigmoid().std().item(), "mean |Δ sigmoid| to eager")
    return took


# --- sdmatte ---------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def sdmatte(run: Run, report: Report) -> None:
    """SDMatte against its goldens, then a keyframe at 1024² in each type: seconds, memory, distance from fp32."""
    from benchmarks import sdmatte as own
    from streammatte.models.nets.sdmatte import load_sdmatte
    from streammatte.models.nets.sdmatte_config import read_config
    from streammatte.models.sdmatte import SDMatteRefiner

    strict_fp32(run.device)
    own.parity(report, PARITY, run.folder, run.device)
    small = read_config(PARITY / "sdmatte_small")
    path = own.checkpoint(run.folder, small, "sdmatte-small") if run.small else own.checkpoint(run.folder)
    frame, region = own.scene()
    exact = None
    for dtype, kind in DTYPES.items():
        with report.entry("sdmatte_keyframe", dtype) as entry:
            if run.left < 10 * run.seconds:
                entry["skipped"] = "out of time"
                continue
            net = load_sdmatte(path, small if run.small else None)
            size = 128 if run.small else 1024
            refiner = SDMatteRefiner(net, name="filled", device=torch.device(run.device), dtype=kind, size=size)
            forget_peak(run.device)
            alpha = refiner(frame, region).cpu()
            entry["mib"] = peak_mib(run.device)
            entry["seconds"] = median_seconds(partial(refiner, frame, region), run.device, 3 * run.seconds)
            if exact is None:
                exact = alpha
                continue
            difference = (alpha - exact).abs()[region]
            entry.update(max_to_fp32=difference.max().item(), mean_to_fp32=difference.mean().item())
            require(entry["mean_to_fp32"], LIMIT_HALF * exact[region].std().item(), "mean |Δ alpha| to fp32")
            if entry["mib"] is not None:
                require(entry["mib"], LIMIT_MIB, "device memory in MiB")


# --- footage ---------------------------------------------------------------------------------------------------------


def footage(run: Run, report: Report) -> None:
    """The whole command on a generated 1080p clip."""
    from streammatte.models.hub import locate
    from streammatte.models.table import BUNDLED, find

    clip = run.folder / "clip.mp4"
    size, frames = ((128, 96), 6) if run.small else ((1920, 1080), 100)
    with report.entry("footage", "clip") as entry:
        try:
            write_clip(clip, size, frames)
        except ImportError as exc:
            entry["skipped"] = f"{exc}: see README.md for how to carry PyAV along"
            return
        entry.update(size=size, frames=frames, weights=FILLED)
    nano = ("--model", BUNDLED, "--offline") if locate(find(BUNDLED)) else weights(run, "nano")
    green = ("--bg", "green")
    plans = [("nano, .mov", nano, "nano.mov", ()), ("nano, .mp4 on green", nano, "nano.mp4", green)]
    plans += [("nano, .mp4 on green, NVDEC and NVENC", nano, "own.mp4", (*green, "--hwaccel", "cuda"))]
    if not run.small:
        large = weights(run, "swin_l")
        plans += [
            ("swin_l, .mov", large, "large.mov", ()),
            ("swin_l, .mov, batch 1", large, "single.mov", ("--batch", "1")),
            ("swin_t, .mov", weights(run, "swin_t"), "lite.mov", ()),
        ]
    for name, model, output, more in plans:
        with report.entry("footage", name) as entry:
            if run.left < 10 * run.seconds:
                entry["skipped"] = "out of time"
                continue
            target = str(run.folder / output)
            done = run_command(
                str(clip), "-o", target, "--overwrite", "--device", run.device, *model, *more, timeout=run.left
            )
            entry.update(figures(done))


# --- trace -----------------------------------------------------------------------------------------------------------


def trace(run: Run, report: Report) -> None:
    """What crosses the bus, and who waits for the GPU, on the clip of ``footage``."""
    from streammatte.models.birefnet import load_model

    clip = run.folder / "clip.mp4"
    for name in run.names:
        with report.entry("trace", name) as entry:
            if run.left < 10 * run.seconds or not clip.exists():
                entry["skipped"] = "out of time" if clip.exists() else "no clip: footage makes it"
                continue
            from benchmarks.gpu_trace import traced

            height, width = run.shape(name)[2:]
            model = load_model(weights=checkpoint(name, run.folder), device=run.device, size=(height, width))
            entry.update(traced(clip, model, 4 if run.small else 48, run.folder))


# --- live ------------------------------------------------------------------------------------------------------------


def live(run: Run, report: Report) -> None:
    """A generated 1080p camera at 30 fps over a colour, encoded to a file."""
    width, height = (128, 96) if run.small else (1920, 1080)
    for name in ("nano",) if run.small else ("swin_t", "swin_l"):
        with report.entry("live", name) as entry:
            if run.left < 20 * run.seconds:
                entry["skipped"] = "out of time"
                continue
            command = [sys.executable, "-m", "streammatte", "live", "--json", "--overwrite", "--device", run.device]
            command += ["--camera", f"lavfi:testsrc2=size={width}x{height}:rate=30", "--bg", "green"]
            command += ["--to", str(run.folder / "live.mp4"), "--weights", str(checkpoint(name, run.folder))]
            command += ["--seconds", "4" if run.small else "15"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=run.left, check=False)
            if done.returncode:
                raise CheckFailed(done.stderr.strip().splitlines()[-1])
            *_, late, over_all = (json.loads(line) for line in done.stdout.splitlines())
            entry.update(weights=FILLED, size=(width, height), late=late, over_all=over_all)


def weights(run: Run, name: str) -> tuple[str, ...]:
    """Arguments for the command to use a filled checkpoint at its size."""
    height, width = run.shape(name)[2:]
    return "--weights", str(checkpoint(name, run.folder)), "--size", f"{width}x{height}"


if __name__ == "__main__":
    sys.exit(main())
