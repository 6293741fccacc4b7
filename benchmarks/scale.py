"""What many clips or a long one cost on N workers: python -m benchmarks.scale [--measure CLIP]

A simulation from measured stage times, drawn as docs/scale.svg; its figures go to benchmarks/results/scale.json.
``--measure CLIP`` checks it against one process over a clip and two over its halves, in turns. docs/scale.md says what
is measured and what is assumed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "scale.json"
PLOT = HERE.parent / "docs" / "scale.svg"

FILM = 2 * 60 * 60 * 24  # frames of a feature film
WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Footage:
    """A frame's costs that its size decides.

    Attributes:
        decode, stages, encode: Core-seconds.
        read, write: Bytes in the source and in the cut-out.
    """

    decode: float
    stages: float
    encode: float
    read: float
    write: float


@dataclass(frozen=True)
class Farm:
    """Machines and what they share.

    Attributes:
        cores: Of a worker.
        network: Seconds of a worker's GPU for a frame; 0 where ``network_cores`` counts.
        network_cores: Core-seconds of the network on a CPU.
        start: Seconds before a segment's first frame: imports, loading the model, opening.
        segment: Frames.
        context: Frames on either side that are computed and thrown away.
        link: Bytes a second of one worker's network card.
        store_read, store_write: Bytes a second that the store gives and takes in all.
        joining: Bytes a second at which one machine joins the segments without encoding.
    """

    cores: float
    network: float
    network_cores: float
    start: float = 15.0
    segment: int = 1000
    context: int = 8
    link: float = 1.25e9
    store_read: float = 5e9
    store_write: float = 5e9
    joining: float = 1e9


def limits(footage: Footage, farm: Farm, active: int) -> dict[str, float]:
    """Frames a second that each part allows one of so many workers at once; reading, computing and writing overlap."""
    cores = footage.decode + footage.stages + footage.encode + farm.network_cores
    return {
        "cores": farm.cores / cores,
        "GPU": 1 / farm.network if farm.network else float("inf"),
        "network card": farm.link / (footage.read + footage.write),
        "storage": min(farm.store_read / footage.read, farm.store_write / footage.write) / active,
    }


def simulate(footage: Footage, farm: Farm, workers: int, frames: int = FILM) -> dict[str, Any]:
    """Seconds until the film is joined, and the part that holds it up.

    Segments wait in one queue. Each starts with a fixed time, then runs at the rate that its slowest part allows, which
    changes with the number of workers that share the store.
    """
    work = [min(farm.segment, frames - at) for at in range(0, frames, farm.segment)]
    extra = 2 * farm.context if len(work) > 1 else 0
    queue = [float(each + extra) for each in reversed(work)]
    starting: list[float] = []  # seconds left
    running: list[float] = []  # frames left
    clock = computing = idle = 0.0
    held = {name: 0.0 for name in limits(footage, farm, 1)}
    waiting: list[float] = []  # frames of the segments that are starting
    while queue or starting or running:
        while queue and len(starting) + len(running) < workers:
            starting.append(farm.start)
            waiting.append(queue.pop())
        allowed = limits(footage, farm, max(1, len(running)))
        slowest = min(allowed, key=lambda name: allowed[name])
        rate = allowed[slowest]
        step = min([*starting, *(left / rate for left in running)])
        clock += step
        held[slowest] += step * len(running)
        computing += step * len(running)
        idle += step * (workers - len(running) - len(starting))
        running = [left - step * rate for left in running]
        starting = [left - step for left in starting]
        running = [left for left in running if left > 1e-6]
        for place in reversed(range(len(starting))):
            if starting[place] <= 1e-9:
                del starting[place]
                running.append(waiting.pop(place))
    joining = frames * footage.write / farm.joining if len(work) > 1 else 0.0
    parts = {**{name: seconds / workers for name, seconds in held.items()}, "joining": joining}
    parts |= {"starting": farm.start * len(work) / workers, "too few segments": idle / workers}
    return {
        "workers": workers,
        "seconds": clock + joining,
        "held up by": max(parts, key=lambda name: parts[name]),
        "worker-hours": workers * clock / 3600,
        "busy": computing / (workers * clock),
        "joining": joining,
    }


def measure(clip: str, rounds: int) -> dict[str, Any]:
    """One process over a clip and two over its halves, in turns: seconds, and core-seconds of all processes."""
    import av

    with av.open(clip) as container:
        frames = container.streams.video[0].frames
    half = frames // 2
    plans = {"start": [(0, 0)], "one": [(0, frames - 1)], "two": [(0, half - 1), (half, frames - 1)]}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in plans}
    for _ in range(rounds):
        for name, parts in plans.items():
            with tempfile.TemporaryDirectory() as folder:
                begin, before = time.perf_counter(), os.times()
                handles = "8" if len(parts) > 1 else "0"
                command = [sys.executable, "-m", "streammatte", clip, "--model", "birefnet-nano"]
                command += ["--device", "cpu"]
                command += ["--quiet", "--handles", handles]
                running = [
                    subprocess.Popen([*command, "-o", f"{folder}/{first}.mov", "--in", str(first), "--out", str(last)])
                    for first, last in parts
                ]
                if any(process.wait() for process in running):
                    raise SystemExit("a run failed")
                after = os.times()
                cores = after.children_user + after.children_system - before.children_user - before.children_system
                found[name].append({"seconds": time.perf_counter() - begin, "core_seconds": cores})
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"clip": Path(clip).name, "frames": frames, "cores": os.cpu_count(), "load": load, "runs": found}


def draw(curves: dict[str, Sequence[dict[str, Any]]], path: Path) -> None:
    """Hours of a film over workers, both logarithmic; the colour of a point says what holds it up."""
    from math import log10

    width, height, left, top, right, bottom = 860, 520, 70, 40, 230, 60
    colors = {"GPU": "#7b3294", "cores": "#0571b0", "storage": "#ca0020", "joining": "#e6820e"}
    colors |= {"network card": "#008837", "starting": "#777777", "too few segments": "#e7298a"}
    hours = [point["seconds"] / 3600 for points in curves.values() for point in points]
    low, high = log10(min(hours)) - 0.1, log10(max(hours)) + 0.1
    most = log10(max(WORKERS))

    def x(workers: int) -> float:
        return left + (width - left - right) * log10(workers) / most

    def y(value: float) -> float:
        return top + (height - top - bottom) * (high - log10(value)) / (high - low)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="22" font-size="16">A two-hour film at 24 fps: hours until it is joined</text>',
    ]
    for workers in WORKERS:
        lines.append(f'<path d="M{x(workers):.1f} {top}V{height - bottom}" stroke="#e4e4e4"/>')
        lines.append(f'<text x="{x(workers):.1f}" y="{height - bottom + 18}" text-anchor="middle">{workers}</text>')
    for power in range(-2, 5):
        for factor in (1, 3):
            value = factor * 10**power
            if low <= log10(value) <= high:
                lines.append(f'<path d="M{left} {y(value):.1f}H{width - right}" stroke="#e4e4e4"/>')
                lines.append(f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g} h</text>')
    middle = (left + width - right) / 2
    lines.append(f'<text x="{middle:.0f}" y="{height - 18}" text-anchor="middle">workers</text>')
    ends: list[float] = []
    for name, points in sorted(curves.items(), key=lambda each: -each[1][-1]["seconds"]):
        places = [(x(point["workers"]), y(point["seconds"] / 3600)) for point in points]
        lines.append(
            f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in places)}" fill="none" stroke="#999"/>'
        )
        lines += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="5" fill="{colors[point["held up by"]]}"/>'
            for (a, b), point in zip(places, points, strict=True)
        ]
        end = max([places[-1][1], *(other + 17 for other in ends)])
        ends.append(end)
        lines.append(f'<text x="{width - right + 12}" y="{end + 4:.1f}">{name}</text>')
    seen = {point["held up by"] for points in curves.values() for point in points}
    for place, (name, color) in enumerate((name, color) for name, color in colors.items() if name in seen):
        lines.append(f'<circle cx="{width - right + 18}" cy="{top + 6 + 18 * place}" r="5" fill="{color}"/>')
        lines.append(f'<text x="{width - right + 30}" y="{top + 10 + 18 * place}">{name}</text>')
    path.write_text("\n".join([*lines, "</svg>"]) + "\n", encoding="utf-8")


def measured(name: str, read: float, write: float) -> tuple[Footage, float]:
    """A footage's costs and the bundled network's core-seconds, from what ``streammatte bench --json`` wrote."""
    figures = json.loads((HERE / "results" / name).read_text())
    core = {step["name"]: step["alone_core"] / 1000 for step in figures["steps"]}
    # What no step accounts for, such as carrying frames from one to the next, is counted with the stages.
    rest = max(0.0, figures["whole"]["alone_core"] / 1000 - sum(core.values()))
    decode, network, encode = core.pop("decode"), core.pop("network"), core.pop("encode")
    return Footage(decode, sum(core.values()) + rest, encode, read, write), network


# Bytes of a frame: Apple's target rates for ProRes 422 HQ in and 4444 out at 24 fps (ProRes white paper, 2022).
HD = measured("bench-1080p.json", read=176e6 / 8 / 24, write=264e6 / 8 / 24)
UHD = measured("bench-2160p.json", read=707e6 / 8 / 24, write=1061e6 / 8 / 24)
LITE_CORES = 5.1 * 2  # core-seconds at 1024², bf16: 5.1 s on two cores (benchmarks.speed)
SDMATTE_CORES = 102 * 2 / 12  # a keyframe of 102 s on two cores (benchmarks.sdmatte) for every 12th frame
PUBLISHED_GPU = 0.0694  # seconds at 1024², fp16, A100: BiRefNet's own README; not measured here

CASES: dict[str, tuple[Footage, Farm]] = {
    "1080p, nano, 8 cores": (HD[0], Farm(8, 0, HD[1])),
    "4K, nano, 8 cores": (UHD[0], Farm(8, 0, UHD[1])),
    "1080p, lite, 8 cores": (HD[0], Farm(8, 0, LITE_CORES)),
    "1080p, GPU*, 8 cores": (HD[0], Farm(8, PUBLISHED_GPU, 0)),
    "4K, GPU*, 8 cores": (UHD[0], Farm(8, PUBLISHED_GPU, 0)),
    "4K, GPU*, 32 cores": (UHD[0], Farm(32, PUBLISHED_GPU, 0)),
}


def costs() -> dict[str, dict[str, float]]:
    """Core-seconds, and GPU-seconds where published, of a minute at 24 fps."""
    minute = 60 * 24
    sizes = {"1080p": HD, "4K": UHD}
    found: dict[str, dict[str, float]] = {}
    for size, (footage, nano) in sizes.items():
        without = footage.decode + footage.stages + footage.encode
        found[size] = {
            "without the network": minute * without,
            "birefnet-nano": minute * (without + nano),
            "birefnet-lite": minute * (without + LITE_CORES),
            "SDMatte besides, where needed": minute * SDMATTE_CORES,
            "birefnet on a GPU, GPU-seconds*": minute * PUBLISHED_GPU,
        }
    return found


def predicted(found: dict[str, Any]) -> dict[str, float]:
    """Core-seconds of two processes over those of one: as measured, and by the model from one process and its start."""
    frames, context = found["frames"], 8
    start, one, two = (min(run["core_seconds"] for run in found["runs"][name]) for name in ("start", "one", "two"))
    frame = (one - start) / (frames - 1)
    start -= frame
    return {"measured": two / one, "predicted": (2 * start + (frames + 2 * context) * frame) / one}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", metavar="CLIP", help="run one and two processes over this clip, in turns")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    figures = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if given.measure:
        figures["measured"] = measure(given.measure, given.rounds)
        figures["measured"]["two over one"] = predicted(figures["measured"])
    curves = {
        name: [simulate(footage, farm, workers) for workers in WORKERS] for name, (footage, farm) in CASES.items()
    }
    figures["core-seconds a minute"] = costs()
    figures["cases"] = {
        name: {"footage": asdict(footage), "farm": asdict(farm), "points": curves[name]}
        for name, (footage, farm) in CASES.items()
    }
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    draw(curves, PLOT)
    for name, points in curves.items():
        print(name)
        for point in points:
            hours, held = point["seconds"] / 3600, point["held up by"]
            print(f"  {point['workers']:4} workers {hours:9.2f} h  held up by {held}, busy {point['busy']:.0%}")
    print(json.dumps(figures["core-seconds a minute"], indent=2))
    print(json.dumps(figures.get("measured"), indent=2))


if __name__ == "__main__":
    main()
