"""Where tasks are computed: in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from streammatte.errors import DeviceError
from streammatte.options import Spreading

Task = TypeVar("Task")
Result = TypeVar("Result")

TRIES = 2
"""How often a task is begun, at most, if its workers die."""

_MEMORY = 3 << 30  # bytes that a worker needs besides its weights, at 1080p
_END = 5  # seconds for a worker to end after it was told to


class Engine(Protocol):
    """Computes independent tasks."""

    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result | Exception]]:
        """Yield each task's place and its result, or the exception that it raised, in the order they end.

        Closing the iterator ends the workers at once. In other processes, ``work``, tasks and results are pickled,
        ``work`` once for each worker, so that it can keep what it loads. A task whose worker dies is begun again in
        another, once.
        """
        ...


def engine_for(asked: Spreading, device: str | None, weights: int) -> Engine:
    """The engine that the options name, for several workers.

    Args:
        device: As it was asked for; all workers share one that is named by its number.
        weights: Bytes of the checkpoint.
    """
    import torch

    from streammatte.models.device import choose_device

    cuda = device in (None, "cuda") and choose_device(device).type == "cuda"
    gpus = torch.cuda.device_count() if cuda else 0
    if asked.engine == "ray":
        from streammatte.batch.ray_engine import RayEngine

        return RayEngine(asked.address, asked.workers, gpu=gpus > 0)
    return LocalEngine(asked.workers, gpus=gpus, weights=weights)


class LocalEngine:
    """Processes of this machine.

    Args:
        workers: How many; by default one for each GPU, or as many as memory and cores allow.
        gpus: How many there are to share; each worker sees one of them.
        weights: Bytes of the checkpoint, from which the memory of a worker is estimated.
    """

    def __init__(self, workers: int | None = None, *, gpus: int = 0, weights: int = 0) -> None:
        self.gpus = gpus
        self.workers = workers or gpus or workers_for(weights)

    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result | Exception]]:
        pickled = pickle.dumps(work)
        waiting = deque(range(len(tasks)))
        begun = [0] * len(tasks)
        count = min(self.workers, len(tasks))
        workers = [self._started(pickled, place, count) for place in range(count)]
        try:
            ended: list[tuple[int, Any]] = []
            while waiting or ended or any(worker.task is not None for worker in workers):
                for worker in workers:
                    if worker.task is None and waiting:
                        place = waiting.popleft()
                        begun[place] += 1
                        worker.begin(place, tasks[place])
                yield from ended  # while the workers go on
                ended = []
                busy = {worker.connection: worker for worker in workers if worker.task is not None}
                for connection in wait(list(busy)) if busy else ():
                    worker = busy[connection]  # type: ignore[index]
                    task, worker.task = worker.task, None
                    assert task is not None
                    try:
                        result = worker.connection.recv()
                    except (EOFError, OSError):
                        result = worker_died(worker.died())
                        workers[workers.index(worker)] = self._started(pickled, worker.place, count)
                        if begun[task] < TRIES:
                            waiting.appendleft(task)
                            continue
                    ended.append((task, result))
        finally:
            for worker in workers:
                worker.tell()
            for worker in workers:
                worker.end()

    def _started(self, pickled: bytes, place: int, count: int) -> _Worker:
        settings = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(max(1, cores_here() // count))}
        if self.gpus:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            names = visible.split(",") if visible else [str(gpu) for gpu in range(self.gpus)]
            settings["CUDA_VISIBLE_DEVICES"] = names[place % len(names)]
        with _environment(settings):
            return _Worker(pickled, place)


class _Worker:
    """One process, and the task that it computes.

    Attributes:
        task: Its place in the list; ``None`` if the worker is idle.
    """

    def __init__(self, work: bytes, place: int) -> None:
        context = multiprocessing.get_context("spawn")  # a forked process cannot use a GPU or torch's threads
        self.place = place
        self.task: int | None = None
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, work), name=f"streammatte-worker-{place}")
        self._process.start()
        theirs.close()  # so that reading from a dead worker ends

    def begin(self, place: int, task: Any) -> None:
        self.task = place
        with suppress(OSError):  # it is dead, which reading will tell
            self.connection.send(task)

    def died(self) -> str:
        """How it ended."""
        self.end()
        code = self._process.exitcode or 0
        if code >= 0:
            return f"exit code {code}"
        with suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"

    def tell(self) -> None:
        """Tell it to end, so that it clears what it has begun."""
        self._process.terminate()

    def end(self) -> None:
        """End it, whatever it does."""
        self.connection.close()
        self.tell()
        self._process.join(_END)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(connection: Connection, pickled: bytes) -> None:
    """A worker process: it computes what it is sent until nothing more comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides: a terminal sends Ctrl-C to all processes
    signal.signal(signal.SIGTERM, _ended)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    work = pickle.loads(pickled)
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            return
        connection.send_bytes(pickled_result(work, task))


def _ended(number: int, frame: object) -> NoReturn:
    """Once: what is left to be cleared is not to be interrupted."""
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def pickled_result(work: Callable[[Any], Any], task: Any) -> bytes:
    """The result of a task, or its exception."""
    try:
        return pickle.dumps(work(task))
    except Exception as exc:
        try:
            pickle.loads(pickled := pickle.dumps(exc))
        except Exception:  # an exception of another library may hold anything, and its constructor ask for more
            return pickle.dumps(RuntimeError(f"{type(exc).__name__}: {exc}"))
        return pickled


def worker_died(how: str) -> DeviceError:
    """The error of a task whose workers died each time."""
    return DeviceError(
        f"{TRIES} workers died on it, the last one by {how}", hint="it may need too much memory: try fewer --workers"
    )


def workers_for(weights: int) -> int:
    """How many workers memory and cores allow, one at least.

    Args:
        weights: Bytes of the checkpoint.
    """
    return max(1, min(cores_here(), memory_here() // (_MEMORY + 2 * weights)))


def cores_here() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_here() -> int:
    """Bytes that are free, or could be; all of the machine's where the system does not say."""
    with suppress(OSError, ValueError, StopIteration), Path("/proc/meminfo").open() as lines:
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    with suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 8 << 30


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """The variables, set while a process is started: torch reads them when it is imported."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
