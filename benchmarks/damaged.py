"""Five hundred damaged and mutated inputs in all formats, each through the real command.

    python -m benchmarks.damaged [--each 19] [--seed 1] [--processes 1] [--kinds exr avif]

The command must not crash, show a traceback, hang, or leave a partial file. Writes a table by format and all faults to
benchmarks/results/damaged.json; exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the tests use the same mutations

from support.damaging import complaints, runs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=19, help="files per format (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--kinds", nargs="*", default=(), help="formats (default: all)")
    parser.add_argument("-o", type=Path, default=Path("benchmarks/results/damaged.json"))
    asked = parser.parse_args()
    table: dict[str, Counter[str]] = {}
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for run in runs(Path(folder), asked.each, seed=asked.seed, processes=asked.processes, kinds=asked.kinds):
            found = list(complaints(run))
            wrong += [f"{run.kind}, {run.damage}: {each}: {run.end.err.strip()}" for each in found]
            ended = "wrong" if found else "read" if run.end.code == 0 else "refused"
            table.setdefault(run.kind, Counter())[ended] += 1
    for kind, counts in sorted(table.items()):
        print(f"{kind:18} " + "  ".join(f"{ended} {counts[ended]:3}" for ended in ("read", "refused", "wrong")))
    total = sum(sum(counts.values()) for counts in table.values())
    print(f"{total} inputs, {len(wrong)} complaints", *wrong, sep="\n")
    asked.o.parent.mkdir(parents=True, exist_ok=True)
    asked.o.write_text(json.dumps({"inputs": total, "seed": asked.seed, "by format": table, "wrong": wrong}, indent=2))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
