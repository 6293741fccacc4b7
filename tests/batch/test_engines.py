"""Engines: every task is computed, once unless its worker dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.working import Counted, Loading, square

from streammatte.batch.engines import TRIES, LocalEngine, workers_for
from streammatte.errors import DeviceError

pytestmark = pytest.mark.e2e


def test_results_exceptions_and_a_worker_that_dies(tmp_path: Path) -> None:
    work = Counted(square, tmp_path, deadly={"3": 1, "4": TRIES})
    results = dict(LocalEngine(2).run(work, [3, -1, 4, 5]))
    assert results[0] == 9 and results[3] == 25
    assert isinstance(results[1], ValueError) and "-1" in str(results[1])
    assert isinstance(results[2], DeviceError) and "SIGKILL" in str(results[2])
    assert [work.begun(task) for task in (3, -1, 4, 5)] == [2, 1, TRIES, 1]


def test_work_is_loaded_once_a_worker_and_closing_ends_all() -> None:
    results = LocalEngine(2).run(Loading(), list(range(50)))
    seen = [next(results)[1] for _ in range(20)]
    assert {loaded for _, loaded in seen} == {1} and len({process for process, _ in seen}) <= 2
    results.close()
    assert not multiprocessing.active_children()


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from support.working import Counted, square\n"
        "from streammatte.batch.engines import LocalEngine\n"
        "if __name__ == '__main__':\n"
        f"    list(LocalEngine(1).run(Counted(square, Path({str(tmp_path)!r}), seconds=300), [1]))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    parent = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": paths})
    deadline = time.monotonic() + 120
    while not (tmp_path / "1.0").exists():
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    pids = children.read_text().split() if children.exists() else []
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_at_least_one_worker_whatever_the_memory() -> None:
    assert workers_for(1 << 50) == 1
