"""Batches: two hundred inputs, five of them damaged, killed half-way; and fifty photographs against single runs.

    python -m benchmarks.batch damaged [--count 200] [--seed 1]
    python -m benchmarks.batch photographs [--count 50] [--singles 5] -- --model birefnet-nano --size 1024x1024

Everything after ``--`` goes to every run. Results are added to benchmarks/results/batch.json; exits with 1 if the
damaged batch did not end as it must.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the tests use the same clips

from support.clips import even_pts, picture, write_clip

RESULTS = Path(__file__).parent / "results/batch.json"
SMALL = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu"]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "streammatte", "batch", *map(str, arguments)]


def inputs(folder: Path, count: int, chance: random.Random) -> set[str]:
    """So many small clips and pictures; the names of the five that are damaged, each in its own way."""
    folder.mkdir()
    kinds = (".mp4", ".mkv", ".webm", ".jpg", ".png", ".tif", ".bmp")
    codecs = {".mkv": "ffv1", ".webm": "libvpx-vp9"}
    paths = [folder / f"shot{number:03}{chance.choice(kinds)}" for number in range(count)]
    for number, path in enumerate(paths):
        if path.suffix in (".mp4", ".mkv", ".webm"):
            write_clip(path, pts=even_pts(chance.randint(2, 6)), codec=codecs.get(path.suffix, "libx264"))
        else:
            cv2.imwrite(str(path), np.roll(picture(number % 12), number, axis=1))
    damaged = chance.sample(paths, 5)
    for path, damage in zip(damaged, ("cut", "empty", "text", "noise", "gone"), strict=True):
        data = path.read_bytes()
        if damage == "gone":
            path.unlink()
            path.symlink_to("nowhere")
        else:
            noise = chance.randbytes(len(data))
            path.write_bytes(
                {"cut": data[: len(data) // 5], "empty": b"", "text": b"see mail\n" * 9, "noise": noise}[damage]
            )
    return {path.name for path in damaged}


def records(folder: Path, state: str) -> list[dict[str, Any]]:
    """Of one state; a torn line is left out."""
    found = []
    for line in (folder / "manifest.jsonl").read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [record for record in found if record["state"] == state]


def damaged(count: int, seed: int) -> dict[str, Any]:
    """Kill a batch when half of it is done, run it again, and say what came of it."""
    with tempfile.TemporaryDirectory() as scratch:
        footage, out = Path(scratch, "in"), Path(scratch, "out")
        names = inputs(footage, count, random.Random(seed))
        words = [*sorted(footage.iterdir()), "--to", out, *SMALL]
        process = subprocess.Popen(command(*words), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and not (
            (out / "manifest.jsonl").exists() and len(records(out, "done")) >= count // 2
        ):
            time.sleep(0.02)
        process.kill()
        process.wait()
        before = {path.name: path.stat().st_mtime_ns for path in out.glob("shot*")}
        start = time.perf_counter()
        done = subprocess.run(command(*words, "--json", "--quiet"), capture_output=True, text=True)
        seconds = time.perf_counter() - start
        said = json.loads(done.stdout)
        failed = {Path(each["input"]).name: each["error"] for each in said["records"] if each["state"] == "failed"}
        twice = [
            name for name, times in Counter(each["outputs"][0] for each in records(out, "done")).items() if times > 1
        ]
        again = [name for name, moment in before.items() if (out / name).stat().st_mtime_ns != moment]
        third = json.loads(subprocess.run(command(*words, "--json", "--quiet"), capture_output=True, text=True).stdout)
        result = {
            "inputs": count,
            "seed": seed,
            "outputs when killed": len(before),
            "done by the second run": said["done"],
            "outputs": len(list(out.glob("shot*"))),
            "failed": failed,
            "written twice": sorted({*twice, *again}),
            "hidden files left": len(list(out.glob(".*"))),
            "exit code": done.returncode,
            "seconds of the second run": round(seconds, 1),
            "done by a third run": third["done"],
        }
        right = set(failed) == names and not twice and not again and done.returncode == 1 and third["done"] == 0
        result["right"] = bool(right and result["outputs"] == count - 5)
        return result


def photographs(count: int, singles: int, size: tuple[int, int], more: list[str]) -> dict[str, Any]:
    """The time of a batch next to the network's own, and to single runs."""
    from streammatte.batch import running
    from streammatte.cli.main import main

    calls: list[tuple[float, float]] = []
    load = running.model_of

    def timed(*given: Any) -> Any:
        model = load(*given)
        began = threading.local()
        model._net.register_forward_pre_hook(lambda *args: setattr(began, "at", time.perf_counter()))
        model._net.register_forward_hook(lambda *args: calls.append((began.at, time.perf_counter())))
        return model

    running.model_of = timed
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "in")
        folder.mkdir()
        for number in range(count):
            base = cv2.resize(picture(number % 12), size, interpolation=cv2.INTER_CUBIC)
            grain = np.random.default_rng(number).normal(0, 6, base.shape)
            cv2.imwrite(str(folder / f"photo{number:02}.jpg"), np.clip(base + grain, 0, 255).astype(np.uint8))
        start = time.perf_counter()
        assert main(["batch", str(folder), "--to", f"{scratch}/out", "--quiet", *more]) == 0
        ended = time.perf_counter()
        whole = ended - start
        spans = sorted(calls)
        rest, network = ended - spans[0][1], sum(end - begin for begin, end in spans[1:])
        start = time.perf_counter()
        for path in sorted(folder.iterdir())[:singles]:
            single = [sys.executable, "-m", "streammatte", str(path), f"{scratch}/{path.stem}.png", "--quiet", *more]
            subprocess.run(single, check=True)
        each = (time.perf_counter() - start) / max(1, singles)
    return {
        "photographs": count,
        "size": f"{size[0]}x{size[1]}",
        "options": more,
        "batch, seconds": round(whole, 2),
        "after the first, seconds": round(rest, 2),
        "network after the first, seconds": round(network, 2),
        "ratio to the network": round(rest / network, 3),
        "a single run, seconds": round(each, 2),
        "single runs to batch": round(each * count / whole, 2),
    }


def main() -> int:
    own, more = sys.argv[1:], []
    if "--" in own:
        own, more = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("damaged", "photographs"))
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--singles", type=int, default=5, help="single runs to measure")
    parser.add_argument("--pixels", default="1600x1200", help="size of the photographs")
    asked = parser.parse_args(own)
    width, height = map(int, asked.pixels.split("x"))
    if asked.what == "damaged":
        result = damaged(asked.count or 200, asked.seed)
    else:
        result = photographs(asked.count or 50, asked.singles, (width, height), more)
    print(json.dumps(result, indent=1))
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**results, asked.what: result}, indent=1) + "\n")
    return 0 if result.get("right", True) else 1


if __name__ == "__main__":
    sys.exit(main())
