"""What a run looks like in a terminal: progress, notices, the closing summary."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from streammatte.frame import StreamInfo
from streammatte.media.addresses import PIPE
from streammatte.summary import Summary, duration

if TYPE_CHECKING:
    from streammatte.live.status import Status
    from streammatte.models.birefnet import BiRefNetModel
    from streammatte.quality.evaluate import Evaluation
    from streammatte.train.finetune import Scores, TuneSummary

# The first frame carries warm-up; an estimate is worth saying once a few more have followed it.
ESTIMATE_AFTER_FRAMES = 4
# Where some frames take much longer than others, a few of these have to be among them.
ESTIMATE_AFTER_KEYFRAMES = 30
# Between two lines about training where no bar is seen: in a log, a pipe.
SECONDS_BETWEEN_LINES = 30


class TerminalDisplay:
    """A context manager that keeps ``job.Display``'s contract with rich, on standard error.

    Args:
        quiet: No progress and no summary.
        silent: No notices either. Warnings about damage and crossed limits remain.
    """

    def __init__(self, *, quiet: bool = False, silent: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False)
        self._quiet, self._silent = quiet, silent
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._fetch: TaskID | None = None
        self._total: int | None = None
        self._first_written = 0.0
        self._what = self._rate = self._doing = ""
        self._running = False
        self._estimate_after = ESTIMATE_AFTER_FRAMES

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def notice(self, text: str) -> None:
        if not self._silent:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Print a line even where notices are silent."""
        self.console.print(f"streammatte: {text}", markup=False, soft_wrap=True)

    def fetching(self, done: int, total: int | None) -> None:
        if self._quiet:
            return
        if self._running:  # of a keyframe's network, in the middle of a run: there is one bar only
            size = "" if total is None else f" of {total / 1e9:.1f}"
            self._doing = f"fetching weights, {done / 1e9:.1f}{size} GB"
            self._say_rate()
            return
        if self._fetch is None:
            self._start(TextColumn("fetching weights"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
            assert self._progress is not None
            self._fetch = self._progress.add_task("", total=total)
        assert self._progress is not None
        self._progress.update(self._fetch, completed=done, total=total)

    def started(self, info: StreamInfo, matter: BiRefNetModel) -> None:
        self._stop()
        self._total = info.frame_count
        if self._quiet:
            return
        height, width = matter.size
        self._start(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        assert self._progress is not None
        self._running = True
        self._task = self._progress.add_task(
            f"{matter.name} {width}×{height} {matter.precision} on {matter.device}", total=self._total, rate=""
        )

    def keyframe(self, index: int | None) -> None:
        """SDMatte is at work on a frame, or is done with it. From any thread."""
        self._estimate_after = ESTIMATE_AFTER_KEYFRAMES
        self._doing = "" if index is None else f"SDMatte on frame {index}"
        self._say_rate()

    def _say_rate(self) -> None:
        if self._progress is not None and self._running:
            self._progress.update(self._task, rate=self._doing or self._rate)

    def written(self, frames: int) -> None:
        now = time.perf_counter()
        if frames == 1:
            self._first_written = now
        if self._progress is None:
            return
        rate = (frames - 1) / (now - self._first_written) if frames > 1 else 0.0
        self._rate = f"{rate:.1f} fps" if rate else ""
        self._progress.update(self._task, completed=frames, rate=self._doing or self._rate)
        if frames == self._estimate_after and self._total and self._total > frames:
            left = duration((self._total - frames) / rate)
            self.notice(f"{self._total} frames at {rate:.1f} a second: about {left} to go")

    def working(self, what: str, done: int, total: int | None) -> None:
        """``done`` of ``total`` frames or pairs, if that is known."""
        if self._quiet:
            return
        if self._what != what:
            self._begin(what, MofNCompleteColumn())
        assert self._progress is not None
        self._progress.update(self._task, completed=done, total=total)

    def summary(self, summary: Summary, *, timings: bool = False) -> None:
        """Print what was written, how long it took and what was noticed."""
        self._stop()
        for line in summary.damaged():
            self.warn(line)
        if self._quiet:
            return
        piped = any(output["path"] == PIPE for output in summary.outputs)  # standard output is taken
        out = self.console if piped else Console(highlight=False)
        lines = [f"{output['path']}  ({output['description']})" for output in summary.outputs]
        lines.append(summary.took())
        if noticed := summary.noticed():
            lines.append(f"noticed: {'; '.join(noticed)}")
        for line in lines:
            out.print(line, markup=False, soft_wrap=True)
        if timings:
            table = Table(box=None, pad_edge=False)
            table.add_column("part")
            table.add_column("fps alone", justify="right")
            for name, rate in summary.timings.items():
                table.add_row(name, f"{rate:.1f}")
            out.print(table)

    def _begin(self, what: str, column: TextColumn | MofNCompleteColumn) -> None:
        self._stop()
        self._what = what
        self._start(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=None),
            column,
            TimeRemainingColumn(),
        )
        assert self._progress is not None
        self._task = self._progress.add_task(what, total=None)

    def _start(
        self, *columns: TextColumn | BarColumn | DownloadColumn | MofNCompleteColumn | TimeRemainingColumn
    ) -> None:
        self._progress = Progress(*columns, console=self.console, transient=True)
        self._progress.start()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class EvaluationDisplay(TerminalDisplay):
    """The same for ``evaluate.Display``'s contract."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """Print the figures."""
        from streammatte.quality.evaluate import MEASURES

        self._stop()
        if self._quiet:
            return
        figures = Table(box=None, pad_edge=False)
        figures.add_column("")
        for name in ("mean", "worst", "at frame"):
            figures.add_column(name, justify="right")
        for name, score in evaluation.scores().items():
            index, value = evaluation.worst_frame(name) or ("", None)
            figures.add_row(MEASURES[name], _figure(score), _figure(value), str(index))
        Console(highlight=False).print(figures)


class TrainingDisplay(TerminalDisplay):
    """The same for ``finetune.TuneDisplay``'s contract."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._said = 0.0

    def begins(self, what: str) -> None:
        """Training starts now, ``what`` saying on how much."""
        if not self._quiet:
            self.notice(what)

    def stepped(self, what: str, progress: float, loss: float) -> None:
        """A step was taken, ``what`` being its number; ``progress`` is from 0 to 1."""
        if self._quiet:
            return
        if self._what != "training":
            self._begin("training", TextColumn("{task.percentage:.0f} %"))
        assert self._progress is not None
        self._progress.update(self._task, description=f"{what}, loss {loss:.3f}", completed=progress, total=1)
        if not self.console.is_terminal and time.monotonic() - self._said > SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            self.notice(f"{what}, loss {loss:.3f}")

    def scored(self, step: int, loss: float, scores: Scores) -> None:
        """The state at ``step`` was saved and scored: a line that stays, also in a log."""
        if not self._quiet:
            self.notice(f"step {step}: loss {loss:.3f}, MAD {scores.mad:.1f}, IoU {scores.iou:.3f}")

    def trained(self, summary: TuneSummary) -> None:
        """Print what was written and how good it is, or how to go on with a run that was stopped."""
        self._stop()
        if summary.interrupted is not None:
            self.notice(
                f"interrupted at step {summary.steps}; {summary.state} holds all of it: the same command with --resume "
                "goes on"
            )
            return
        if self._quiet:
            return
        out = Console(highlight=False)
        out.print(
            f"{summary.output}  ({summary.start} after {summary.steps} steps on {summary.trained} pairs, "
            f"{duration(summary.seconds)})",
            markup=False,
            soft_wrap=True,
        )
        if summary.before and summary.after:
            on = f"pairs held out ({summary.held_out})" if summary.held_out else "the pairs themselves"
            out.print(
                f"on {on}: MAD {summary.before.mad:.1f} before, {summary.after.mad:.1f} after (× 1000); "
                f"IoU {summary.before.iou:.3f} before, {summary.after.iou:.3f} after",
                soft_wrap=True,
            )
        if not (summary.before and summary.after and summary.after.mad > summary.before.mad):
            out.print(
                f"use it: streammatte clip.mp4 --weights {summary.output} -o out.mov", markup=False, soft_wrap=True
            )


class LiveDisplay(TerminalDisplay):
    """The same for ``live.session.Display``'s contract: one line, kept up to date, where there is a terminal.

    Args:
        quiet: Say notices only.
        as_json: One object a second on standard output, and no line.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        super().__init__(quiet=quiet or as_json or not sys.stderr.isatty())
        self._as_json = as_json
        self._status: Status | None = None
        self._untold = quiet
        self._due = 0.0
        self._fetched = ""

    def fetching(self, done: int, total: int | None) -> None:
        of = "" if total is None else f" of {total / 1e6:.0f}"
        self._fetched = f"fetching weights, {done / 1e6:.0f}{of} MB; what is shown has nothing of the room"

    def status(self, status: Status) -> None:
        """How it goes."""
        self._status = status
        late = time.monotonic() - self._due
        if self._as_json and late >= 0:
            self._due = self._due + 1 if late < 1 else time.monotonic() + 1
            self._print(status)
        if self._quiet:
            return
        if self._what != "live":
            self._what = "live"
            self._stop()
            self._start(TextColumn("{task.description}", markup=False))
            assert self._progress is not None
            self._task = self._progress.add_task("", total=None)
        assert self._progress is not None
        line = self._fetched if status.state == "starting" and self._fetched else status.line()
        self._progress.update(self._task, description=line)

    def ended(self, status: Status) -> None:
        """How it went."""
        self._status = None
        self._stop()
        if self._as_json:
            self._print(status, patience=1.0)
            return
        if self._untold:
            return
        late = (
            "" if status.latency_ms is None else f", {status.latency_ms:.0f} ms late (p95 {status.latency_p95_ms:.0f})"
        )
        if not status.shown:
            self.notice("it ended before the first picture of anybody: what was sent is the background alone")
            return
        parts = [f"{status.shown} pictures in {duration(status.seconds)}, {status.rate_out:.1f} a second{late}"]
        skipped = f", of which {status.dropped} were skipped to stay in time" if status.dropped else ""
        parts.append(f"the camera gave {status.rate_in:.1f} a second{skipped}")
        if status.dropped_by_outputs:
            parts.append(f"outputs had no room for {status.dropped_by_outputs}")
        if status.failed:
            parts.append(f"{status.failed} had no matte and were not shown")
        if status.damaged:
            parts.append(f"{status.damaged} came damaged, after which the picture was held")
        self.notice("; ".join(parts))

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, exc, trace)
        if kind is not None and self._as_json and self._status is not None:  # a run that fails has an end, too
            self._print(replace(self._status, state="stopped"), patience=1.0)

    def _print(self, status: Status, patience: float = 0.0) -> None:
        if not _taken(sys.stdout, patience):  # who reads it does not, and the pictures go on
            return
        try:
            print(json.dumps(status.as_dict()), flush=True)
        except BrokenPipeError:  # who read it has gone, and the pictures go on
            self._as_json = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _taken(file: TextIO, patience: float) -> bool:
    """Whether a line can be written within ``patience`` seconds; where that cannot be told, it can."""
    try:
        return bool(select.select([], [file.fileno()], [], patience)[1])
    except (OSError, ValueError):
        return True


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
