"""What a batch looks like in a terminal, and in a log."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from streammatte.batch.estimate import Forecast
from streammatte.batch.manifest import Record
from streammatte.batch.planning import Step
from streammatte.batch.running import Report
from streammatte.cli.terminal import Terminal, duration
from streammatte.frame import StreamInfo


class Display:
    """Keeps ``BatchDisplay``'s contract: a row for the batch and one for each input at work, or lines in a log."""

    def __init__(self, terminal: Terminal) -> None:
        self.notice, self.fetching = terminal.notice, terminal.fetching
        self._terminal = terminal
        self._rows: dict[int, TaskID] = {}
        self._progress: Progress | None = None
        self._whole = TaskID(0)
        self._steps: Sequence[Step] = ()
        self._ended = self._failed = 0
        self._since = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def planned(self, steps: Sequence[Step]) -> None:
        self._terminal.stop()
        self._steps = steps
        self.fetching = lambda done, total: None  # SDMatte's weights, while inputs are at work
        if self._terminal.progress and self._terminal.console.is_interactive:
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self._terminal.console,
                transient=True,
            )
            self._whole = self._progress.add_task("inputs", total=self._left)
            self._progress.start()

    @property
    def _left(self) -> int:
        return sum(step.to_do for step in self._steps)

    def started(self, number: int, info: StreamInfo) -> None:
        if self._progress is not None:
            name = Path(self._steps[number].job.input).name
            self._rows[number] = self._progress.add_task(f"  {name}", total=info.frame_count)

    def written(self, number: int, frames: int) -> None:
        if self._progress is not None and number in self._rows:
            self._progress.update(self._rows[number], completed=frames)

    def ended(self, number: int, record: Record) -> None:
        self._ended += 1
        self._failed += record["state"] == "failed"
        if self._progress is not None:
            if (row := self._rows.pop(number, None)) is not None:
                self._progress.remove_task(row)
            failed = f", {self._failed} failed" if self._failed else ""
            self._progress.update(self._whole, completed=self._ended, description=f"inputs{failed}")
        elif self._terminal.progress:
            line = f"[{self._ended}/{self._left}] {_result(record)}"
            self._terminal.console.print(line, markup=False, soft_wrap=True)
        for warning in record.get("warnings", ()):
            self._terminal.warning(f"warning: {record['input']}: {warning}")
        if record.get("doubt"):
            self._terminal.notice(f"{record['input']}: look at the matte: {record['doubt']}")

    def reported(self, report: Report, *, as_json: bool) -> None:
        """Print how it ended: failures by their names, also under ``--quiet``."""
        self._stop()
        failed, crossed = report.failed, report.crossed
        unchanged = len(report.records) - report.done - len(failed)
        counts = {"done": report.done, "unchanged": unchanged, "failed": len(failed)}
        if as_json:
            print(json.dumps({**counts, "records": report.records}, indent=2))
        if not self._terminal.progress or not Console().is_terminal:
            for record in failed:
                self._terminal.warning(f"failed: {_reason(record)}")
                if record.get("hint") and self._terminal.progress:
                    self._terminal.console.print(f"  hint: {record['hint']}", markup=False, soft_wrap=True)
        elif failed:
            table = Table("failed", "why", "hint", box=None, pad_edge=False)
            for record in failed:
                table.add_row(record["input"], record["error"], record.get("hint") or "")
            Console(highlight=False).print(table)
        for record in crossed:
            for line in record["crossed"]:
                self._terminal.warning(f"{record['input']}: {line}")
        if self._terminal.progress:
            said = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "done")
            Console(highlight=False).print(f"{said}, in {duration(time.perf_counter() - self._since)}")

    def forecast(self, forecast: Forecast, *, as_json: bool) -> None:
        """Print what would be done with each input, and how long and large it would be."""
        self._terminal.stop()
        rows: list[dict[str, Any]] = [
            {
                "input": step.job.input,
                "outputs": step.job.outputs,
                "state": step.state,
                "why": forecast.unreadable.get(step.job.input, step.why),
            }
            for step in forecast.steps
        ]
        if as_json:
            sizes = {"seconds": forecast.seconds, "bytes": forecast.bytes, "free": forecast.free}
            print(json.dumps({**sizes, "measured": forecast.measured, "inputs": rows}, indent=2))
            return
        out = Console(highlight=False)
        for row in rows:
            doing = {"unchanged": "unchanged", "finished": "unchanged"}.get(row["state"], row["why"] or row["state"])
            if row["input"] in forecast.unreadable:
                doing = f"cannot be read: {row['why']}"
            out.print(f"{row['input']} → {', '.join(row['outputs'])}  ({doing})", markup=False, soft_wrap=True)
        for line in _forecast_lines(forecast):
            out.print(line, markup=False, soft_wrap=True)

    def _stop(self) -> None:
        progress, self._progress = self._progress, None
        if progress is not None:
            progress.stop()


def _reason(record: Record) -> str:
    """Which input failed, and why; most errors name it."""
    name, error = record["input"], str(record["error"])
    return error if Path(name).name in error else f"{name}: {error}"


def _result(record: Record) -> str:
    """One input's end, in a line."""
    if record["state"] == "failed":
        return f"failed: {_reason(record)}"
    frames = f"{record['frames']} frame{'s' * (record['frames'] != 1)}"
    return f"{record['input']} → {', '.join(record['outputs'])}  ({frames}, {duration(record['seconds'])})"


def _forecast_lines(forecast: Forecast) -> Iterator[str]:
    to_do = sum(step.to_do for step in forecast.steps)
    counts = f"{to_do} of {len(forecast.steps)} to do"
    if forecast.seconds is None:
        yield f"{counts}; none could be measured"
    else:
        takes = f"about {duration(forecast.seconds)} and {_size(forecast.bytes)}"
        takes += f"; {_size(forecast.free)} are free" if forecast.free is not None else ""
        yield f"{counts}: {takes}" if to_do else counts
    if forecast.measured:
        yield f"measured on {len(forecast.measured)} of them"
    if forecast.free is not None and forecast.bytes > forecast.free:
        yield "the disk has too little room"
    if forecast.uncounted:
        yield f"not in the estimate, since they do not state their length: {', '.join(forecast.uncounted)}"


def _size(count: int) -> str:
    scale, unit = next(each for each in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if count >= each[0] or each[0] == 1e3)
    return f"{count / scale:.1f} {unit}"
