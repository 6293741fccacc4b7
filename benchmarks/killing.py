"""Kill runs at random moments, resume them, and compare the decoded pixels with those of an unbroken run.

    python -m benchmarks.killing samples/talking.mp4 --json benchmarks/results/killing.json -- --size 64x64

Everything after ``--`` goes to every run. Each run is a process of its own, killed by SIGKILL at a moment drawn evenly
from the time between the unbroken run's first kept matte and its end; then resumed once, to its end. A kill before the
first matte would show nothing: there is nothing to resume.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import av

KINDS = {"out.mov": [], "out.webm": [], "out.mp4": ["--bg", "green"], "cut.####.png": []}


def command(footage: str, folder: Path, name: str, *more: str) -> list[str]:
    """One run into a folder."""
    target = ["-o", str(folder / name), *KINDS[name]]
    return [sys.executable, "-m", "streammatte", footage, *target, "--json", *more]


def pixels(folder: Path) -> dict[str, list[str]]:
    """A hash of every decoded frame, by file."""
    return {path.name: [*_hashes(path)] for path in sorted(folder.glob("[!.]*"))}


def _hashes(path: Path) -> Iterator[str]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = stream.codec_context
        if path.suffix == ".webm":  # FFmpeg's own decoder drops the alpha
            decoder = av.CodecContext.create("libvpx-vp9", "r")
            decoder.extradata = stream.codec_context.extradata
        for packet in container.demux(stream):
            for frame in decoder.decode(packet if packet.size else None):
                yield hashlib.sha256(frame.to_ndarray(format="rgba64le").tobytes()).hexdigest()


def started(arguments: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """A run that has kept its first matte, or has ended."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not any(_has_matte(path) for path in folder.glob(".*.mattes")):
        time.sleep(0.005)
    return process


def _has_matte(path: Path) -> bool:
    *_, mattes = path.read_bytes().split(b"\n", 2)  # after two lines of header
    return mattes != b""


def killed(arguments: list[str], folder: Path, seconds: float, chance: random.Random) -> float:
    """The moment at which a run was killed, after its first matte; one that ends before it is run again."""
    while True:
        moment = chance.uniform(0, seconds)
        process = started(arguments, folder)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return moment


def measure(footage: str, name: str, times: int, chance: random.Random, more: list[str]) -> list[dict[str, object]]:
    """So many kills of runs that write one kind of output."""
    runs: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as scratch:
        unbroken = Path(scratch, "unbroken")
        unbroken.mkdir()
        process = started(command(footage, unbroken, name, *more), unbroken)
        start = time.perf_counter()
        if process.wait():
            raise SystemExit(f"the unbroken run of {name} failed")
        seconds = time.perf_counter() - start
        expected = pixels(unbroken)
        for number in range(times):
            folder = Path(scratch, str(number))
            folder.mkdir()
            moment = killed(command(footage, folder, name, *more, "--overwrite"), folder, seconds, chance)
            resume = command(footage, folder, name, *more, "--resume", "--overwrite")
            done = subprocess.run(resume, capture_output=True, text=True, check=True)
            summary = json.loads(done.stdout)
            runs.append(
                {
                    "output": name,
                    "killed_after": round(moment, 2),
                    "of_seconds": round(seconds, 2),
                    "mattes_read": summary["mattes_read"],
                    "mattes_computed": summary["mattes_computed"],
                    "equal": pixels(folder) == expected and not list(folder.glob(".*")),
                }
            )
            print(runs[-1], flush=True)
    return runs


def main() -> None:
    own, more = sys.argv[1:], []
    if "--" in own:
        own, more = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage")
    parser.add_argument("--times", type=int, default=10, help="kills of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(own)
    chance = random.Random(given.seed)
    more = more if "--model" in more else ["--model", "birefnet-nano", *more]
    runs = [run for name in KINDS for run in measure(given.footage, name, given.times, chance, more)]
    equal = sum(bool(run["equal"]) for run in runs)
    resumed = sum(bool(run["mattes_read"]) for run in runs)
    print(f"{equal} of {len(runs)} equal, {resumed} with mattes of the killed run")
    if given.json:
        given.json.write_text(json.dumps({"footage": Path(given.footage).name, "runs": runs}, indent=1) + "\n")
    if equal < len(runs):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
