"""Speed and memory on a CPU, as quoted in the README: ``python -m benchmarks.speed``. See README.md."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.footage import figures, run_command, write_clip
from benchmarks.networks import SIZES, checkpoint, median_seconds, picture, plain
from benchmarks.report import ROOT, Report, machine, require
from streammatte.frame import Frame
from streammatte.models.birefnet import load_model
from streammatte.models.hub import locate
from streammatte.models.nets.birefnet import load_birefnet
from streammatte.models.table import BUNDLED, find

LIMIT_GROWTH = 5  # percent, of peak memory for a clip ten times as long


@dataclass(frozen=True)
class Run:
    """Sizes and folder.

    Attributes:
        small: Tiny pictures and few frames, to test the benchmark itself.
        folder: For checkpoints and clips.
    """

    small: bool
    folder: Path

    def weights(self, name: str) -> Path:
        """A checkpoint of that shape: the bundled one for "nano" if it exists, otherwise a filled one."""
        return (locate(find(BUNDLED)) if name == "nano" else None) or checkpoint(name, self.folder)


def main() -> int:
    """Run everything; returns 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="benchmarks.speed", description=__doc__)
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "speed.json", help="the report")
    parser.add_argument("--skip-large", action="store_true", help="leave out Swin-T at 1024x1024, which takes minutes")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to test the benchmark itself")
    parser.add_argument("--only", choices=("memory", "footage", "network"), help="one part; choose another --json")
    given = parser.parse_args()
    given.json.unlink(missing_ok=True)
    report = Report(given.json)
    report.facts(**machine(), command=["python", *sys.orig_argv[1:]], small=given.small)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(given.small, Path(folder))
        if given.only in (None, "memory"):
            memory(run, report)
        if given.only in (None, "footage"):
            footage(run, report)
        if given.only in (None, "network"):
            network(run, report, "nano")
        if given.only in (None, "network") and not given.skip_large:
            network(run, report, "swin_t")
    for failure in report.failures:
        print(f"benchmarks: failed: {failure}", file=sys.stderr)
    return 1 if report.failures else 0


def memory(run: Run, report: Report) -> None:
    """Peak memory of the command for a clip, and for one ten times as long."""
    frames = 8 if run.small else 60
    size = (128, 96) if run.small else (640, 360)
    for output in ("out.mov", "out.webm", "out.mp4"):
        with report.entry("memory", output) as entry:
            peaks = {}
            for count in (frames, 10 * frames):
                clip = run.folder / f"memory-{count}.mp4"
                if not clip.is_file():
                    write_clip(clip, size, count)
                arguments = (*command(run, clip, output), "--size", "64x64")  # the network's memory cannot grow
                peaks[count] = run_command(*arguments, *(("--bg", "green") if output == "out.mp4" else ()))["peak_mib"]
            growth = 100 * (peaks[10 * frames] / peaks[frames] - 1)
            entry.update(size=size, peak_mib=peaks, growth_percent=growth)
            require(growth, LIMIT_GROWTH, "the growth in percent")


def footage(run: Run, report: Report) -> None:
    """The whole command with the bundled weights on a generated 720p clip."""
    size, frames = ((128, 96), 5) if run.small else ((1280, 720), 75)
    clip = run.folder / "clip.mp4"
    for output, more in (("out.mov", ()), ("out.webm", ()), ("out.mp4", ("--bg", "green")), ("out.####.png", ())):
        with report.entry("footage", output) as entry:
            if not clip.is_file():
                write_clip(clip, size, frames)
            entry["input"] = {"size": size, "frames": frames}
            entry.update(figures(run_command(*command(run, clip, output), *more)))


def command(run: Run, clip: Path, output: str) -> tuple[str, ...]:
    """The command's arguments, whether or not the bundled weights exist."""
    if locate(find(BUNDLED)):
        model: tuple[str, ...] = ("--model", BUNDLED, "--offline")
    else:
        height, width = SIZES["nano"]
        model = ("--weights", str(run.weights("nano")), "--size", f"{width}x{height}")
    return str(clip), "-o", str(run.folder / output), "--overwrite", "--device", "cpu", *model


@torch.inference_mode()
def network(run: Run, report: Report, name: str) -> None:
    """One network at its own size, with one thread and with two, in the published form and as the command runs it."""
    size = (64, 64) if run.small else SIZES[name]
    threads_before = torch.get_num_threads()

    def measure(form: str, call: Callable[[], object]) -> None:
        for threads in (1, 2):
            with report.entry("network", f"{name} {form} {threads} threads") as entry:
                torch.set_num_threads(threads)
                os.environ["OMP_NUM_THREADS"] = str(threads)  # at most so many, says the command's form
                # Large networks are timed three times; small ones until the figure is steady.
                seconds = median_seconds(call, "cpu", 0.01 if run.small else 5.0)
                entry.update(size=size, ms=1000 * seconds, fps=1 / seconds)

    if name != "nano":
        net, image = load_birefnet(run.weights(name)), picture((1, 3, *size))
        with plain(), torch.inference_mode():
            measure("plain fp32", partial(net, image))
        del net
    for precision in ("fp32", "bf16"):
        model = load_model(weights=run.weights(name), device="cpu", precision=precision, size=size)
        frame = Frame(torch.zeros(3, *size, dtype=torch.uint8), 0, 0)
        measure(precision, partial(model, [frame]))
    torch.set_num_threads(threads_before)
    os.environ.pop("OMP_NUM_THREADS")


if __name__ == "__main__":
    sys.exit(main())
