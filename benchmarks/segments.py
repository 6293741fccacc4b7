"""Clips in segments: whether they equal the unbroken run, and how much time several workers save.

    python -m benchmarks.segments equal --engine local --engine ray
    python -m benchmarks.segments time CLIP --rounds 3

``equal`` makes three clips (with cuts, one long shot, variable rate) of the samples, and compares hashes of the decoded
frames and their pts. ``time`` runs one worker, two, and two on Ray in turn, since the machine may be busy with other
things, and prints the medians of their ratios. Everything after ``--`` goes to every run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

SAMPLES = Path(__file__).parent.parent / "samples"
FRAMES, SIZE, TIME_BASE = 48, (320, 180), Fraction(1, 12800)
OUTPUTS = ("out.mov", "out.mkv", "out.webm", "cut.####.png", "matte.mp4")
LOSSY = ("out.webm", "matte.mp4")  # equal in their times alone


def clips(folder: Path) -> dict[str, Path]:
    """The three clips, by name."""
    talking, walking = (_frames(SAMPLES / name) for name in ("talking.mp4", "walk.mp4"))
    third = FRAMES // 3
    even = [512 * place for place in range(FRAMES)]
    uneven = [512 * place + 137 * (place % 3) + 4000 * (place // 20) for place in range(FRAMES)]
    shown = {
        "cuts": ([*talking[:third], *walking[:third], *talking[-third:]], even),
        "long shot": (talking, even),
        "variable rate": (talking, uneven),
    }
    return {name: _written(folder / f"{name.replace(' ', '-')}.mp4", *each) for name, each in shown.items()}


def _frames(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        frames = (frame.reformat(*SIZE, "yuv420p") for frame in container.decode(video=0))
        return [frame for frame, _ in zip(frames, range(FRAMES), strict=False)]


def _written(path: Path, frames: list[av.VideoFrame], times: list[int]) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.time_base = stream.codec_context.time_base = TIME_BASE
        for frame, pts in zip(frames, times, strict=False):
            frame.pts, frame.time_base, frame.pict_type = pts, TIME_BASE, 0
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def contents(folder: Path) -> dict[str, list[tuple[int | None, str]]]:
    """pts and hash of every decoded frame, by file; of lossy ones pts alone."""
    found: dict[str, list[tuple[int | None, str]]] = {}
    for path in sorted(folder.iterdir()):
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                pixels = b"" if path.name in LOSSY else frame.to_ndarray(format="rgba64le").tobytes()
                found.setdefault(path.name, []).append((frame.pts, hashlib.sha256(pixels).hexdigest()))
    return found


def run(clip: Path, folder: Path, outputs: tuple[str, ...], more: list[str]) -> float:
    """Seconds that the summary states: without loading what the parent loads."""
    folder.mkdir(parents=True)
    given = [part for name in outputs if name != "matte.mp4" for part in ("-o", str(folder / name))]
    given += ["--matte", str(folder / "matte.mp4")] if "matte.mp4" in outputs else []
    line = [sys.executable, "-m", "streammatte", str(clip), *given, "--json", *more]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(json.loads(done.stdout)["seconds"])


def equal(engines: list[str], counts: list[int], more: list[str]) -> dict[str, bool]:
    """For each clip, engine and number of segments, whether all outputs equal those of the unbroken run."""
    found = {}
    with tempfile.TemporaryDirectory() as made:
        for name, clip in clips(Path(made)).items():
            place = Path(made) / name
            run(clip, place / "whole", OUTPUTS, more)
            whole = contents(place / "whole")
            for engine in engines:
                for count in counts:
                    folder = place / f"{engine}-{count}"
                    run(clip, folder, OUTPUTS, [*more, "--segments", str(count), "--workers", "2", "--engine", engine])
                    case = f"{name}, {engine}, {count} segments"
                    found[case] = contents(folder) == whole
                    print(f"{case}: {'equal' if found[case] else 'DIFFERENT'}", flush=True)
    return found


def timed(clip: Path, rounds: int, more: list[str]) -> dict[str, Any]:
    """Medians of ratios between runs that follow each other."""
    kinds = {
        "unbroken": [],
        "1 worker": ["--workers", "1", "--segments", "2"],
        "2 workers": ["--workers", "2", "--segments", "2"],
        "2 workers, ray": ["--workers", "2", "--segments", "2", "--engine", "ray"],
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as made:
        for number in range(rounds):
            for kind, options in kinds.items():
                start = time.perf_counter()
                inside = run(clip, Path(made) / f"{number} {kind}", ("out.mov",), [*more, *options])
                seconds[kind].append(inside)
                load = os.getloadavg()[0]
                print(f"{kind}: {inside:.1f} s, {time.perf_counter() - start:.1f} with start-up, load {load:.1f}")
    ratios = {
        f"{kind} / {base}": statistics.median(a / b for a, b in zip(seconds[kind], seconds[base], strict=True))
        for kind, base in (
            ("1 worker", "unbroken"),
            ("2 workers", "unbroken"),
            ("2 workers", "1 worker"),
            ("2 workers, ray", "2 workers"),
        )
    }
    return {"seconds": seconds, "ratios": ratios}


def main() -> None:
    arguments = sys.argv[1:]
    more = arguments[arguments.index("--") + 1 :] if "--" in arguments else []
    arguments = arguments[: arguments.index("--")] if "--" in arguments else arguments
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    same = kinds.add_parser("equal")
    same.add_argument("--engine", action="append", choices=["local", "ray"])
    same.add_argument("--segments", type=int, nargs="+", default=[1, 2, 5])
    clock = kinds.add_parser("time")
    clock.add_argument("clip", type=Path)
    clock.add_argument("--rounds", type=int, default=3)
    for each in (same, clock):
        each.add_argument("--json", type=Path, help="also write the result there")
    given = parser.parse_args(arguments)
    more = more or ["--model", "birefnet-nano", "--device", "cpu"]
    result: dict[str, Any]
    if given.kind == "equal":
        result = equal(given.engine or ["local"], given.segments, more)
    else:
        result = timed(given.clip, given.rounds, more)
        print(json.dumps(result["ratios"], indent=2))
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    if given.kind == "equal" and not all(result.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
