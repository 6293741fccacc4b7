"""Ray: two nodes on this machine, of which a worker and then a node is lost."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.clips import write_clip
from support.working import Counted, square

from streammatte import Options
from streammatte.batch.segments import run_in_segments
from streammatte.run import run

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore")]  # Ray's own

QUICK = {"model": "birefnet-nano", "size": (64, 64), "device": "cpu", "smooth": "low"}


class Silent:
    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def started(self, info: Any, model: Any) -> None: ...
    def keyframe(self, index: int | None) -> None: ...
    def written(self, frames: int) -> None: ...


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # of the workers

    for attempt in range(3):
        try:
            made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
            break
        except Exception:  # Ray gives a node 30 seconds to start, which a busy machine exceeds
            if attempt == 2:
                raise
    made.lost = made.add_node(num_cpus=1)
    made.connect()
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_worker_is_lost_and_then_a_node(cluster: Any, tmp_path: Path) -> None:
    from streammatte.batch.ray_engine import RayEngine

    class WithCount(RayEngine):
        """Its work notes every beginning, and one worker is killed."""

        def run(self, work: Any, tasks: Any) -> Iterator[Any]:
            return super().run(Counted(work, begun, {tasks[1].name: 1}), tasks)

    clip = write_clip(tmp_path / "clip.mp4", audio="aac")
    begun, whole, parts = (tmp_path / name for name in ("begun", "whole.mov", "parts.mov"))
    begun.mkdir()
    run(Options.of(clip, whole, **QUICK), Silent())
    assert RayEngine().workers == 2
    asked = Options.of(clip, parts, **QUICK, segments=4, engine="ray")
    run_in_segments(asked, Silent(), WithCount())
    assert parts.read_bytes() == whole.read_bytes()
    beginnings = [path.stem for path in begun.iterdir()]
    assert sorted(beginnings.count(name) for name in set(beginnings)) == [1, 1, 1, 2]

    work = Counted(square, tmp_path, seconds=0.5)
    tasks = list(range(10))
    results = RayEngine().run(work, tasks)
    found = dict([next(results) for _ in range(2)])  # both nodes have workers by now
    deadline = time.monotonic() + 100
    while len(list(tmp_path.glob("[0-9].*"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    cluster.remove_node(cluster.lost, allow_graceful=False)
    found.update(results)
    assert found == {place: square(task) for place, task in enumerate(tasks)}
    assert max(work.begun(task) for task in tasks) <= 2
