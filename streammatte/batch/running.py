"""A batch, run: the work of one job, and the engine that does the jobs in this process."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from streammatte.batch.engines import Engine, engine_for
from streammatte.batch.inputs import items_of
from streammatte.batch.jobs import jobs_of
from streammatte.batch.manifest import Manifest, Record, folder_of, written_of
from streammatte.batch.options import BatchOptions
from streammatte.batch.planning import Notices, Step, missing_folders, planned
from streammatte.chain import Display
from streammatte.errors import DeviceMissing, InputError, StreammatteError, WeightsMismatch, WeightsMissing
from streammatte.frame import StreamInfo
from streammatte.options import Network, Options, Spreading
from streammatte.run import model_of, run
from streammatte.stages.transparent.sdmatte_on_demand import Refiners
from streammatte.summary import Summary

if TYPE_CHECKING:
    from streammatte.models.birefnet import BiRefNetModel

PICTURES = 3
"""Pictures at a time: one is read, one in the network, one written."""

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """A job as an engine hands it to a worker; it can be pickled."""

    number: int
    options: Options
    picture: bool
    outputs: tuple[str, ...]


class BatchDisplay(Notices, Protocol):
    """What a batch reports while it lasts."""

    def planned(self, steps: Sequence[Step]) -> None: ...
    def started(self, number: int, info: StreamInfo) -> None: ...
    def written(self, number: int, frames: int) -> None: ...
    def ended(self, number: int, record: Record) -> None: ...


class Worker:
    """Does tasks, from any thread; each network, SDMatte too, is loaded once. Pickled, it starts without any.

    Args:
        display: Is shown the progress of each task; it stays behind when the worker is pickled.
    """

    def __init__(self, display: BatchDisplay | None = None) -> None:
        self._display = display
        self._stopping = threading.Event()
        self._loading = threading.Lock()
        self._models: dict[Network, BiRefNetModel] = {}
        self._refiners = Refiners()

    def __reduce__(self) -> tuple[type[Worker], tuple[()]]:
        return Worker, ()

    def __call__(self, task: Task) -> Facts:
        """Run a task, and say what came of it."""
        display = _JobDisplay(task.number, self._display, self._stopping)
        missing_folders(task.options)
        summary = run(task.options, display, self._model(task.options, display), refiners=self._refiners)
        return _facts(summary, display.notices, task.outputs)

    def stop(self) -> None:
        """Make every task end at the network's next layer, or after its next frame."""
        self._stopping.set()
        self._refiners.stop()

    def _model(self, options: Options, display: Display) -> BiRefNetModel:
        key = replace(options.network, batch=1, stride=1)
        with self._loading:
            if key not in self._models:
                self._models[key] = model_of(options, display)
                self._models[key].obey(self._stopping)
            return self._models[key]


class InProcess:
    """Does the tasks here: pictures in a few threads, clips, whose steps overlap by themselves, one after the other.

    Args:
        stop: Called when it is interrupted, before it waits for its threads.
    """

    def __init__(self, stop: Callable[[], None], pictures: int = PICTURES) -> None:
        self._stop, self._pictures = stop, pictures

    def run(self, work: Callable[[Task], Facts], tasks: Sequence[Task]) -> Iterator[tuple[int, Facts | Exception]]:
        with ThreadPoolExecutor(self._pictures, thread_name_prefix="streammatte-batch") as pool:
            try:
                yield from self._each(pool, work, tasks)
            except BaseException:
                self._stop()
                raise

    def _each(
        self, pool: ThreadPoolExecutor, work: Callable[[Task], Facts], tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Facts | Exception]]:
        places: dict[Future[Facts], int] = {}

        def ended(futures: Iterable[Future[Facts]]) -> Iterator[tuple[int, Facts | Exception]]:
            for future in futures:
                yield places.pop(future), _tried(future.result)

        for place, task in enumerate(tasks):
            if not task.picture:
                yield from ended(as_completed(list(places)))
                yield place, _tried(lambda task=task: work(task))  # type: ignore[misc]  # its default is its type
                continue
            places[pool.submit(work, task)] = place
            if len(places) == self._pictures:
                yield from ended(wait(places, return_when=FIRST_COMPLETED).done)
        yield from ended(as_completed(list(places)))


@dataclass(slots=True)
class Report:
    """How a batch ended.

    Attributes:
        records: Of every input, in order; of those that needed no work, the one that an earlier run left.
        done: How many were done now.
    """

    records: list[Record] = field(default_factory=list)
    done: int = 0

    @property
    def failed(self) -> list[Record]:
        return [record for record in self.records if record.get("state") == "failed"]

    @property
    def crossed(self) -> list[Record]:
        """Those whose scores exceed a limit."""
        return [record for record in self.records if record.get("crossed")]


def steps_of(asked: BatchOptions, given: Mapping[str, Any], manifest: Manifest, notices: Notices) -> list[Step]:
    """What a batch has to do. Raises what :func:`jobs_of` and :func:`planned` raise."""
    items = items_of(asked.inputs, asked.listed, manifest.outputs())
    return planned(jobs_of(asked, given, items), manifest, notices)


def run_batch(
    asked: BatchOptions,
    given: Mapping[str, Any],
    display: BatchDisplay,
    spreading: Spreading | None = None,
    engine: Engine | None = None,
) -> Report:
    """Matte every input into the folder. An input that fails does not stop the others.

    Args:
        given: The runs' options, by name.
        spreading: The workers that do whole inputs; by default they are done in this process.
        engine: Where the work is done instead.

    Raises:
        StreammatteError: Before any work: the options cannot be met. Later: the manifest cannot be written, or the
            network that all share cannot be loaded.
    """
    if spreading is not None and spreading.address is not None and spreading.engine != "ray":
        raise InputError("--address needs --engine ray", hint="add --engine ray", usage=True)
    manifest = Manifest(folder_of(asked.to))
    steps = steps_of(asked, given, manifest, display)
    worker = Worker(display)
    report = Report([step.known or {} for step in steps])
    tasks = [
        Task(number, step.job.options, step.job.picture, step.job.outputs)
        for number, step in enumerate(steps)
        if step.to_do
    ]
    if engine is None and spreading is not None and spreading.asked and tasks:
        weights = max(steps[task.number].read["weights"]["size"] for task in tasks)
        engine = engine_for(spreading, tasks[0].options.network.device, weights)
    # In this process, no other tasks than a batch's can be done.
    doing: Engine = engine or InProcess(worker.stop)  # type: ignore[assignment]
    with manifest:
        for number, step in enumerate(steps):
            if step.state == "finished":
                written = {manifest.name(output): written_of(output) for output in step.job.outputs}
                report.records[number] = manifest.record(step.job, "done", read=step.read, written=written)
                manifest.append([report.records[number]])
        asking = (steps[task.number] for task in tasks)
        manifest.append([manifest.record(step.job, "asked", read=step.read, before=step.before) for step in asking])
        display.planned(steps)
        alone = len({task.options.network for task in tasks}) == 1
        ending: Iterator[tuple[int, Facts | Exception]] = doing.run(worker, tasks)
        try:
            with closing(ending):  # type: ignore[type-var]  # engines are generators
                for place, result in ending:
                    number = tasks[place].number
                    record = _record(manifest, steps[number], result, alone=alone)
                    manifest.append([record])
                    report.records[number] = record
                    report.done += record["state"] == "done"
                    display.ended(number, record)
        except KeyboardInterrupt as exc:
            left = len(tasks) - report.done
            exc.__notes__ = [f"{len(steps) - left} of {len(steps)} are done; run the same command to continue"]
            raise
    return report


def _record(manifest: Manifest, step: Step, result: Facts | Exception, *, alone: bool) -> Record:
    """The record of a job that has ended."""
    if not isinstance(result, Exception):
        written = {manifest.name(output): facts for output, facts in result.pop("written").items()}
        return manifest.record(step.job, "done", read=step.read, written=written, **result)
    if alone and isinstance(result, WeightsMissing | WeightsMismatch | DeviceMissing):
        raise result  # no other job would fare better
    error, hint = str(result), getattr(result, "hint", None)
    if not isinstance(result, StreammatteError):
        where = traceback.extract_tb(result.__traceback__)[-1:]
        error = f"{type(result).__name__}: {error}".strip(": ")
        hint = "a fault of streammatte" + "".join(f", at {Path(at.filename).name}:{at.lineno}" for at in where)
    return manifest.record(step.job, "failed", read=step.read, before=step.before, error=error, hint=hint)


def _facts(summary: Summary, notices: Sequence[str], outputs: Sequence[str]) -> Facts:
    """What the manifest says of a run."""
    lost = [summary.lost, *(f"{matte['path']}: {matte['lost']}" for matte in summary.mattes if matte["lost"])]
    return {
        "model": summary.model,
        "device": summary.device,
        "precision": summary.precision,
        "frames": summary.frames,
        "seconds": round(summary.seconds, 3),
        "timings": {name: round(rate, 2) for name, rate in summary.timings.items()},
        "warnings": [each for each in lost if each],
        "doubt": summary.doubt,
        "notes": [*notices, *summary.notes],
        "crossed": summary.crossed,
        "written": {output: written_of(output) for output in outputs},
    }


def _tried(call: Callable[[], Facts]) -> Facts | Exception:
    try:
        return call()
    except Exception as exc:  # reported with its input; the others go on
        return exc


class _JobDisplay:
    """Keeps ``run.Display``'s contract for one job."""

    def __init__(self, number: int, display: BatchDisplay | None, stopping: threading.Event) -> None:
        self.notices: list[str] = []
        self._number, self._display, self._stopping = number, display, stopping

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def fetching(self, done: int, total: int | None) -> None:
        if self._display is not None:
            self._display.fetching(done, total)

    def started(self, info: StreamInfo, model: BiRefNetModel) -> None:
        if self._display is not None:
            self._display.started(self._number, info)

    def keyframe(self, index: int | None) -> None: ...

    def finding(self, whom: str, done: int, total: int) -> None:
        if self._stopping.is_set():
            raise KeyboardInterrupt

    def written(self, frames: int) -> None:
        if self._stopping.is_set():
            raise KeyboardInterrupt
        if self._display is not None:
            self._display.written(self._number, frames)
