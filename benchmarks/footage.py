"""Generated clips, and the command in a process of its own. Imports neither torch nor the networks."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

# The system counts what the parent held at the fork toward a process's peak, so the command gets an empty parent.
LAUNCHER = """
import pathlib, resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
pathlib.Path(sys.argv[1]).write_text(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


def write_clip(path: Path, size: tuple[int, int], frames: int, *, pixels: str = "yuv420p") -> Path:
    """An H.264 clip of ``size`` (width, height) at 25 fps: a disc over a moving texture with camera noise."""
    import av
    import numpy as np

    width, height = size
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 200, (-(-height // 16), -(-width // 16), 3), dtype=np.uint8)
    texture = coarse.repeat(16, 0).repeat(16, 1)[:height, :width]
    noise = rng.integers(0, 16, (height, width, 3), dtype=np.uint8)
    y, x = np.ogrid[:height, :width]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "20"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.time_base = Fraction(1, 25)
        for index in range(frames):
            rgb = np.roll(texture, 4 * index, axis=1) + np.roll(noise, 37 * index, axis=(0, 1))
            middle = width // 2 + width // 4 * np.sin(index / 10)
            rgb[(x - middle) ** 2 + (y - height // 2) ** 2 < (height // 4) ** 2] = (230, 180, 150)
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def run_command(*arguments: str, timeout: float = 1800) -> dict[str, Any]:
    """Run ``streammatte`` with these arguments.

    Returns:
        What ``--json`` prints, with ``wall_seconds`` (including the start of Python and loading the model) and
        ``peak_mib``, the peak of main memory.

    Raises:
        RuntimeError: It failed; with its error message, or the last line of its traceback.
    """
    with tempfile.TemporaryDirectory() as folder:
        peak = Path(folder) / "peak"
        command = [sys.executable, "-m", "streammatte", *arguments, "--json"]
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", LAUNCHER, str(peak), *command], capture_output=True, text=True, timeout=timeout
        )
        wall = time.perf_counter() - start
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"no message, exit code {done.returncode}"]
            raise RuntimeError(next((line for line in lines if line.startswith("streammatte: error")), lines[-1]))
        summary: dict[str, Any] = json.loads(done.stdout)
        summary["wall_seconds"] = wall
        summary["peak_mib"] = int(peak.read_text()) * MAXRSS_UNIT / 2**20
    return summary


def figures(summary: dict[str, Any]) -> dict[str, object]:
    """The part of ``run_command``'s result to report, rounded."""
    kept = {key: summary[key] for key in ("model", "device", "precision", "size", "frames")}
    kept["file"] = [output["description"] for output in summary["outputs"]]
    kept["fps"] = round(summary["frames"] / summary["seconds"], 2)
    kept["timings"] = {name: round(rate, 2) for name, rate in summary["timings"].items()}
    for key in ("seconds", "wall_seconds", "peak_mib"):
        kept[key] = round(summary[key], 2)
    return kept
