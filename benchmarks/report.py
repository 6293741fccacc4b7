"""Benchmark results as a JSON file that is complete at every moment, whatever fails while it is filled."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
UNFINISHED = "did not finish: killed, or out of time"


class CheckFailed(Exception):  # noqa: N818 - reads as what happened
    """A measured value exceeds its limit."""


class Report:
    """Entries by section and name, saved immediately.

    Args:
        path: The JSON file; extended if it exists, so that several processes can share it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failures: list[str] = []
        self._data: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}

    def facts(self, **facts: object) -> None:
        """Record the machine and versions."""
        self._data.setdefault("facts", {}).update(facts)
        self._save()

    @contextmanager
    def entry(self, section: str, name: str) -> Iterator[dict[str, Any]]:
        """A dictionary to fill. An exception is recorded under ``error`` and does not stop the benchmark.

        An error is on file before the entry starts, so a killed process leaves a trace.
        """
        entry: dict[str, Any] = {"error": UNFINISHED}
        self._data.setdefault(section, {})[name] = entry
        self._save()
        del entry["error"]
        try:
            yield entry
        except Exception as exc:  # one failed part must not stop the others
            frames = traceback.extract_tb(exc.__traceback__)
            own = [frame for frame in frames if ROOT in Path(frame.filename).parents and frame.filename != __file__]
            last = (own or frames)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}: {last.line}"
            message = str(exc).strip().splitlines()
            entry["error"] = f"{type(exc).__name__}: {message[0] if message else ''} ({where})"
            self.failures.append(f"{section}, {name}")
        self._save()
        print(f"{section:12} {name:28} {json.dumps(entry)}", flush=True)

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self._data, indent=2) + "\n")
        part.replace(self.path)


def require(value: float, limit: float, what: str) -> None:
    """Raise ``CheckFailed`` unless ``value <= limit``, which NaN never is."""
    if not value <= limit:
        raise CheckFailed(f"{what} is {value:.3g}, more than {limit:.3g}")


def machine() -> dict[str, object]:
    """Date, commit, versions, processor and load. Imports nothing heavy."""
    versions: dict[str, str | None] = {}
    for package in (
        "torch",
        "torchvision",
        "triton",
        "av",
        "numpy",
        "opencv-python",
        "opencv-python-headless",
        "diffusers",
        "transformers",
    ):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": output_of("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40")
        or os.environ.get("GIT_COMMIT"),
        "python": platform.python_version(),
        "versions": versions,
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
    }


def output_of(*command: str) -> str | None:
    """The first line a program prints; ``None`` if it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
