"""Tasks on a Ray cluster: an actor is a worker, and Ray places it, starts it again and watches its node."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from streammatte.batch.engines import TRIES, Result, Task, cores_here, pickled_result, worker_died
from streammatte.errors import DeviceError, StreammatteError


class RayEngine:
    """Actors of a Ray cluster. Every node needs streammatte, and the same paths.

    Args:
        address: The cluster; ``None`` is that of ``RAY_ADDRESS``, or else a new one on this machine.
        workers: How many actors; by default one for each GPU of the cluster, or for each core where there is none.
        gpu: Every actor has a GPU of its own.

    Raises:
        StreammatteError: Ray is not installed.
        DeviceError: There is no such cluster.
    """

    def __init__(self, address: str | None = None, workers: int | None = None, *, gpu: bool = False) -> None:
        self._ray = _ray()
        self._address, self._gpu = address, gpu
        self._owned = not self._ray.is_initialized()
        if self._owned:
            self._connect()
        has = self._ray.cluster_resources()
        self.workers = workers or max(1, int(has.get("GPU" if gpu else "CPU", 1)))

    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result | Exception]]:
        ray = self._ray
        try:
            shared = ray.put(work)  # once in the object store, and from there once to each node
            make = self._actor_class()
            waiting, begun, unreached = deque(range(len(tasks))), [0] * len(tasks), [0] * len(tasks)
            actors = [make.remote(shared, str(Path.cwd())) for _ in range(min(self.workers, len(tasks)))]
            # An actor gets a task once Ray has placed it; one that cannot be placed again after its node was lost holds
            # nothing up.
            running: dict[Any, tuple[Any, int | None]] = {_ready(actor): (actor, None) for actor in actors}
            idle: list[Any] = []
            ended: list[tuple[int, Any]] = []
            left, lost = len(tasks), None
            while left or ended:
                while idle and waiting:
                    actor, task = idle.pop(), waiting.popleft()
                    begun[task] += 1
                    running[actor.run.remote(tasks[task])] = actor, task
                yield from ended  # while the actors go on
                ended = []
                if not left:
                    break
                if not running:
                    why = f": {str(lost).splitlines()[-1].strip()}" if lost is not None else ""
                    raise DeviceError(f"no worker is left on the Ray cluster{why}", hint="see `ray status`") from lost
                (ref,), _ = ray.wait(list(running), num_returns=1)
                actor, done = running.pop(ref)
                try:
                    result = ray.get(ref)
                except ray.exceptions.RayError as exc:
                    if done is None:
                        lost = exc
                        continue  # it will not come back
                    running[_ready(actor)] = actor, None
                    # A node that is lost is not the task's fault, unless that happens with every one.
                    unreached[done] += isinstance(exc, ray.exceptions.ActorUnavailableError)
                    if begun[done] < TRIES + min(unreached[done], TRIES):
                        waiting.appendleft(done)
                        continue
                    result = pickle.dumps(worker_died(type(exc).__name__))
                else:
                    idle.append(actor)
                if done is not None:
                    left -= 1
                    ended.append((done, pickle.loads(result)))
        finally:
            self.close()

    def close(self) -> None:
        """Leave the cluster, which ends the actors."""
        if self._owned and self._ray.is_initialized():
            self._ray.shutdown()

    def _actor_class(self) -> Any:
        cores = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores_here() // self.workers))
        return self._ray.remote(_Actor).options(
            num_cpus=1,
            num_gpus=1 if self._gpu else 0,
            max_restarts=-1,  # it is the tasks whose tries are counted
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {"OMP_NUM_THREADS": cores}},  # Ray's own default would be 1
        )

    def _connect(self) -> None:
        new = {} if self._address or "RAY_ADDRESS" in os.environ else {"include_dashboard": False}
        handler = signal.getsignal(signal.SIGTERM)
        try:
            self._ray.init(address=self._address, logging_level=logging.ERROR, log_to_driver=False, **new)
        except Exception as exc:  # Ray raises a bare one, too
            raise DeviceError(
                f"cannot join Ray{'' if new else f' at {self._address}'}: {(str(exc).splitlines() or [''])[0]}",
                hint="start one with `ray start --head`, or leave out --address",
            ) from exc
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)  # Ray's own would end the process without cleaning up


class _Actor:
    """A worker, which keeps what its work has loaded."""

    def __init__(self, work: Any, folder: str) -> None:
        self._work = work
        with suppress(OSError):  # whole names work all the same
            os.chdir(folder)  # names are relative to where the run was started

    def ready(self) -> None:
        """Answers once the actor has been placed."""

    def run(self, task: Any) -> bytes:
        return pickled_result(self._work, task)


def _ready(actor: Any) -> Any:
    """A call that ends once the actor runs, however often it has to be started."""
    return actor.ready.options(max_task_retries=-1).remote()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as exc:
        raise StreammatteError("Ray is not installed", hint="pip install 'streammatte[ray]'") from exc
    return ray
