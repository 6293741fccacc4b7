"""Kill runs at random moments, resume them, and compare what comes out with an unbroken run, byte for byte.

    python -m benchmarks.killing samples/talking.mp4 --json benchmarks/results/killing.json -- --size 64x64

What follows ``--`` is handed to every run. Each run is a process of its own, killed by SIGKILL at a moment drawn evenly
from the time that the unbroken run took, which includes start and end; then resumed once, to its end.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OUTPUTS = ("out.mov", "out.mkv", "cut.####.png")


def command(footage: str, folder: Path, *more: str) -> list[str]:
    """One run into a folder."""
    outputs = [argument for name in OUTPUTS for argument in ("-o", str(folder / name))]
    return [sys.executable, "-m", "streammatte", footage, *outputs, "--json", *more]


def contents(folder: Path) -> dict[str, bytes]:
    """Of everything that a run left."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def main() -> None:
    own, more = sys.argv[1:], []
    if "--" in own:
        own, more = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(own)
    chance = random.Random(given.seed)
    more = more if "--model" in more else ["--model", "birefnet-nano", *more]

    with tempfile.TemporaryDirectory() as scratch:
        unbroken = Path(scratch, "unbroken")
        unbroken.mkdir()
        start = time.perf_counter()
        subprocess.run(command(given.footage, unbroken, *more), check=True, capture_output=True)
        seconds = time.perf_counter() - start
        expected = contents(unbroken)
        print(f"unbroken: {seconds:.1f} s, {len(expected)} files, {sum(map(len, expected.values()))} bytes")
        runs = []
        for number in range(given.times):
            folder = Path(scratch, str(number))
            folder.mkdir()
            killed = False
            while not killed:  # a run that ends before its moment, because others left the machine to it, is run again
                moment = chance.uniform(0, seconds)
                process = subprocess.Popen(
                    command(given.footage, folder, *more, "--overwrite"),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                try:
                    process.wait(moment)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    killed = True
            for name in [name for name in contents(folder) if not name.startswith(".")]:
                (folder / name).unlink()
            start = time.perf_counter()
            done = subprocess.run(
                command(given.footage, folder, *more, "--resume"), capture_output=True, text=True, check=True
            )
            told = json.loads(done.stdout)
            same = contents(folder) == expected
            runs.append(
                {
                    "killed_after": round(moment, 2),
                    "whole_frames": told["resumed"],
                    "frames": told["frames"],
                    "seconds_to_resume": round(time.perf_counter() - start, 2),
                    "equal": same,
                }
            )
            print(runs[-1], flush=True)
    equal = sum(bool(run["equal"]) for run in runs)
    print(f"{equal} of {len(runs)} equal, bit for bit")
    if given.json:
        given.json.write_text(
            json.dumps({"footage": Path(given.footage).name, "seconds": seconds, "runs": runs}, indent=1)
        )
    if equal < len(runs):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
