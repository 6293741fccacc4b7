"""SDMatte: distance from the published network, and the cost of a keyframe. See README.md.

The network has the released shape with weights derived from tensor names: 5.2 GB in fp32, written once into
``--folder``.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.networks import DTYPES, fill, forget_peak, peak_mib
from benchmarks.report import Report, machine, require
from streammatte.frame import Frame
from streammatte.models.nets.sdmatte import SDMatte, load_sdmatte, published_name
from streammatte.models.nets.sdmatte_config import SDMATTE, SDMatteConfig, read_config
from streammatte.models.sdmatte import SDMatteRefiner

LIMIT = 1e-3  # largest |Δ alpha| in fp32
GOLDENS = tuple((network, golden) for network in ("small", "full") for golden in "ab")


def main() -> int:
    """Run the benchmark; returns 1 if a limit was exceeded."""
    parser = argparse.ArgumentParser(prog="benchmarks.sdmatte", description=__doc__)
    parser.add_argument("--parity", type=Path, metavar="FOLDER", help="only compare with the goldens in this folder")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/sdmatte.json"), help="the report")
    parser.add_argument("--folder", type=Path, help="folder for the checkpoint (default: a temporary one)")
    parser.add_argument("--size", type=int, default=1024, help="side of the network's input (%(default)s)")
    parser.add_argument("--precisions", nargs="+", choices=DTYPES, default=["fp32", "bf16"])
    parser.add_argument("--repeat", type=int, default=2, help="timings each (%(default)s)")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(keyframe(given.folder, given.measure, given.size, given.repeat, "cpu")))
        return 0
    report = Report(given.json)
    report.facts(**machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if given.parity is not None:
            parity(report, given.parity, folder, "cpu")
        else:
            for precision in given.precisions:
                measured(report, folder, precision, given.size, given.repeat)
    return 1 if report.failures else 0


def checkpoint(folder: Path, config: SDMatteConfig = SDMATTE, name: str = "sdmatte") -> Path:
    """A checkpoint with weights derived from names; written once."""
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        with torch.device("meta"):
            shapes = {published_name(key): tuple(value.shape) for key, value in SDMatte(config).state_dict().items()}
        part = path.with_suffix(".part")
        save_file({key: torch.from_numpy(fill.tensor(key, shape)) for key, shape in shapes.items()}, part)
        part.replace(path)
    return path


@torch.inference_mode()
def parity(report: Report, goldens: Path, folder: Path, device: str) -> None:
    """The small network and the full one against the published one's outputs, in fp32."""
    for network, golden in GOLDENS:
        if not (goldens / f"sdmatte_{network}_{golden}.npz").is_file():
            continue
        with report.entry("sdmatte_parity", f"{network} {golden}") as entry:
            config = read_config(goldens / f"sdmatte_{network}")
            path = checkpoint(folder, config, f"sdmatte-{network}")
            net = load_sdmatte(path, config).to(device)
            expected = np.load(goldens / f"sdmatte_{network}_{golden}.npz")
            alpha = net(*(x.to(device) for x in inputs(golden, expected))).cpu()
            entry["side"] = alpha.shape[-1]
            entry["max_to_golden"] = (alpha - torch.from_numpy(expected["alpha"])).abs().max().item()
            require(entry["max_to_golden"], LIMIT, "|Δ alpha| to the golden")


def inputs(golden: str, expected: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The inputs of a golden: picture, box mask, box, and whether it is transparent."""
    side, box = expected["alpha"].shape[-1], expected["box"]
    image = torch.from_numpy(fill.image(f"sdmatte-{golden}", (1, 3, side, side)))
    x0, y0, x1, y1 = (round(float(bound) * side) for bound in box)
    mask = torch.full((1, 1, side, side), -1.0)
    mask[..., y0:y1, x0:x1] = 1
    return image, mask, torch.from_numpy(box)[None], torch.tensor([int(expected["is_trans"])])


def measured(report: Report, folder: Path, precision: str, size: int, repeat: int) -> None:
    """One precision, in a process of its own for its own memory peak."""
    checkpoint(folder)
    with report.entry("sdmatte_keyframe", f"{precision} {size}x{size}") as entry:
        command = [sys.executable, "-m", "benchmarks.sdmatte", "--measure", precision, "--folder", str(folder)]
        command += ["--size", str(size), "--repeat", str(repeat)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        entry.update(json.loads(done.stdout))


def keyframe(folder: Path, precision: str, size: int, repeat: int, device: str) -> dict[str, float | int | None]:
    """Seconds for a keyframe of 1080p footage, including preparation, and peak memory.

    In fp32 on a CPU the weights are mapped from the file, and only pages that were read count.
    """
    start = time.perf_counter()
    net = load_sdmatte(checkpoint(folder))
    loaded = time.perf_counter() - start
    refiner = SDMatteRefiner(net, name="filled", device=torch.device(device), dtype=DTYPES[precision], size=size)
    loading = _resident_mib()
    del net
    gc.collect()
    _forget_resident()
    forget_peak(device)
    before = _resident_mib()
    frame, region = scene()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        alpha = refiner(frame, region).cpu()
        times.append(time.perf_counter() - start)
    assert alpha.isfinite().all()
    return {
        "seconds": min(times),
        "load_seconds": loaded,
        "threads": torch.get_num_threads(),
        "mib_loading": loading,
        "mib_before": before,
        "mib_peak": _resident_mib(),
        "device_mib_peak": peak_mib(device),
    }


def scene() -> tuple[Frame, Tensor]:
    """A 1080p frame and a region of 900×900 pixels."""
    frame = Frame(torch.from_numpy(fill.image("benchmark", (1, 3, 1080, 1920))[0] / 2 + 0.5), pts=0, index=0)
    region = torch.zeros(1080, 1920, dtype=torch.bool)
    region[300:900, 700:1200] = True
    return frame, region


def _forget_resident() -> None:
    """Start a new measurement for ``_resident_mib``, where Linux allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _resident_mib() -> int:
    """Peak memory of this process since then, or since its start if unknown."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    sys.exit(main())
