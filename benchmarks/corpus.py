"""Compare every picture in a folder with Pillow and print a table: python -m benchmarks.corpus DIR.

The folder should be ``Tests/images`` of Pillow's source distribution (``pip download --no-binary pillow --no-deps
pillow``), which has pictures of every kind and many broken ones. A few files at a time are read in a process of their
own, so that a crash of the interpreter is noticed; garbage is collected after each file.

Pictures are compared where Pillow reads them as 8-bit grey, palette or RGB: the first frame, upright, in 1/255.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

import streammatte
from streammatte.errors import StreammatteError

CHUNK = 40  # files per process
PATIENCE = 300  # seconds per process
COMPARED = ("1", "L", "P", "PA", "LA", "RGB", "RGBA", "RGBX")
LIMIT = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--files", nargs="+", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.files:
        for path in given.files:
            print(json.dumps({"path": str(path)} | read(path)), flush=True)
            gc.collect()
        return 0
    files = sorted(path for path in given.folder.rglob("*") if path.is_file())
    results: list[dict[str, Any]] = []
    for begin in range(0, len(files), CHUNK):
        results += in_a_process(given.folder, files[begin : begin + CHUNK])
    return report(results)


def in_a_process(folder: Path, files: list[Path]) -> list[dict[str, Any]]:
    """Results by file; after a crash, the remaining files get another process."""
    results: list[dict[str, Any]] = []
    while left := files[len(results) :]:
        command = [sys.executable, "-m", "benchmarks.corpus", str(folder), "--files", *map(str, left)]
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
            out, how = said.stdout, f"exit code {said.returncode}"
        except subprocess.TimeoutExpired as exc:
            out, how = (exc.stdout or b"").decode(), "no answer"
        found = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        results += found
        if len(found) < len(left):
            results.append({"path": str(left[len(found)]), "kind": "?", "pillow": False, "is": "crashed", "why": how})
    return results


def read(path: Path) -> dict[str, Any]:
    """Read a file with Pillow and with streammatte."""
    kind, theirs = by_pillow(path)
    result: dict[str, Any] = {"kind": kind, "pillow": theirs is not None, "difference": None}
    try:
        with streammatte.open_video(path) as source:
            ours = next(iter(source)).rgb.permute(1, 2, 0).numpy()
            result["notes"] = source.notes
    except StreammatteError as exc:
        return result | {"is": "refused", "why": str(exc)}
    except Exception as exc:
        return result | {"is": "traceback", "why": repr(exc)}
    if isinstance(theirs, np.ndarray) and ours.dtype == np.uint8:
        if theirs.shape != ours.shape:
            return result | {"is": "opened", "why": f"is {ours.shape}, Pillow's {theirs.shape}", "difference": 255.0}
        result["difference"] = float(np.abs(theirs.astype(int) - ours).mean())
    return result | {"is": "opened"}


def by_pillow(path: Path) -> tuple[str, np.ndarray[Any, Any] | bool | None]:
    """The format, and (H, W, 3) if comparable, ``True`` if Pillow opens it, ``None`` if not."""
    kind = "none of Pillow's"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as picture:
                kind = picture.format or kind
                picture.load()
                if picture.info.get("default_image"):
                    picture.seek(1)
                upright = ImageOps.exif_transpose(picture)
                if upright.mode not in COMPARED:
                    return kind, True
                return kind, np.asarray(upright.convert("RGBA"))[..., :3]
        except Exception:
            return kind, None


def report(results: list[dict[str, Any]]) -> int:
    """Print the table and all faults; returns 1 if there are any."""
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    worst: dict[str, float] = defaultdict(float)
    wrong = []
    for each in results:
        kinds[each["kind"]][each["is"]] += 1
        kinds[each["kind"]]["Pillow"] += each["pillow"]
        difference = each.get("difference")
        if difference is not None:
            kinds[each["kind"]]["compared"] += 1
            worst[each["kind"]] = max(worst[each["kind"]], difference)
        if each["is"] in ("crashed", "traceback") or (difference or 0) > LIMIT:
            wrong.append(each)
    columns = ("Pillow", "opened", "refused", "traceback", "crashed", "compared")
    print(f"{'kind':18}" + "".join(f"{column:>11}" for column in columns) + f"{'difference':>12}")
    for kind in sorted(kinds, key=lambda kind: -sum(kinds[kind].values())):
        line = "".join(f"{kinds[kind][column]:11}" for column in columns)
        print(f"{kind:18}{line}{worst[kind]:12.3f}" if kinds[kind]["compared"] else f"{kind:18}{line}")
    total = {column: sum(counts[column] for counts in kinds.values()) for column in columns}
    print(f"{'all ' + str(len(results)):18}" + "".join(f"{total[column]:11}" for column in columns))
    for each in results:
        if each["pillow"] and each["is"] == "refused":
            print(f"refused, opened by Pillow: {each['why']}")
    for each in wrong:
        print(f"wrong: {each['path']}: {each['is']} {each.get('why', '')} {each.get('difference')} {each.get('notes')}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
