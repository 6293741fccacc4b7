"""What a run on a file looks like in a terminal."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from streammatte.cli.terminal import Terminal, duration
from streammatte.frame import StreamInfo
from streammatte.media.addresses import PIPE
from streammatte.summary import Summary

if TYPE_CHECKING:
    from streammatte.models.birefnet import BiRefNetModel

# The first frame carries warm-up; an estimate is worth printing once a few more have followed it.
ESTIMATE_AFTER_FRAMES = 4
# Where some frames take much longer than others, a few of these have to be among them.
ESTIMATE_AFTER_KEYFRAMES = 30


class RunDisplay:
    """Keeps ``run.Display``'s contract."""

    def __init__(self, terminal: Terminal) -> None:
        self.notice = terminal.notice
        self._terminal = terminal
        self._total: int | None = None
        self._first: tuple[int, float] | None = None  # frames, and when they had been written
        self._rate = self._doing = ""
        self._running = False
        self._estimate_after = ESTIMATE_AFTER_FRAMES

    def fetching(self, done: int, total: int | None) -> None:
        if not self._running:
            self._terminal.fetching(done, total)
            return
        size = "" if total is None else f" of {total / 1e9:.1f}"  # of SDMatte's weights: there is one bar only
        self._doing = f"fetching weights, {done / 1e9:.1f}{size} GB"
        self._show_rate()

    def started(self, info: StreamInfo, model: BiRefNetModel) -> None:
        self._total, self._running = info.frame_count, True
        height, width = model.size
        self._terminal.show(
            f"{model.name} {width}×{height} {model.precision} on {model.device}",
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            rate="",
        )
        self._terminal.update(total=self._total)

    def keyframe(self, index: int | None) -> None:
        """SDMatte has begun this frame, or with ``None`` finished it. From any thread."""
        self._estimate_after = ESTIMATE_AFTER_KEYFRAMES
        self._doing = "" if index is None else f"SDMatte on frame {index}"
        self._show_rate()

    def finding(self, whom: str, done: int, total: int) -> None:
        """That many frames were searched for somebody."""
        self._terminal.working(f"finding {whom}", done, total)

    def written(self, frames: int) -> None:
        now = time.perf_counter()
        if self._first is None:
            self._first = frames, now
        if not self._terminal.progress:
            return
        before, since = self._first
        rate = (frames - before) / (now - since) if frames > before else 0.0
        self._rate = f"{rate:.1f} fps" if rate else ""
        self._terminal.update(completed=frames)
        self._show_rate()
        if rate and frames == self._estimate_after and self._total and self._total > frames:
            left = duration((self._total - frames) / rate)
            self.notice(f"{self._total} frames at {rate:.1f} fps: about {left} to go")

    def summary(self, summary: Summary, *, timings: bool) -> None:
        """Print what was written where, how long it took, and what was noticed."""
        self._terminal.stop()
        if not self._terminal.progress:
            return
        piped = any(output["path"] == PIPE for output in summary.outputs)  # standard output is taken
        out = self._terminal.console if piped else Console(highlight=False)
        told = replace(summary, notes=[note for note in summary.notes if not self._terminal.has_said(note)])
        for line in _lines(told):
            out.print(line, markup=False, soft_wrap=True)
        if timings:
            table = Table("part", "fps alone", box=None, pad_edge=False)
            for name, rate in summary.timings.items():
                table.add_row(name, f"{rate:.1f}")
            out.print(table)

    def warnings(self, summary: Summary) -> None:
        """Print what is damaged and which limits were crossed, also under ``--quiet``."""
        self._terminal.stop()
        lost = [summary.lost] if summary.lost else []
        lost += [f"{matte['path']}: {matte['lost']}" for matte in summary.mattes if matte["lost"]]
        for line in [*(f"warning: {each}" for each in lost), *summary.crossed]:
            self._terminal.warning(line)

    def _show_rate(self) -> None:
        if self._running:
            self._terminal.update(rate=self._doing or self._rate)


def _lines(summary: Summary) -> list[str]:
    """What was written where, a line a file; how long it took; what was noticed."""
    lines = [f"{output['path']}  ({output['description']})" for output in summary.outputs]
    frames = f"{summary.frames} frame{'s' * (summary.frames != 1)}"
    lines.append(f"{frames} in {duration(summary.seconds)}, {summary.rate:.1f} fps")
    if summary.mattes_read:
        lines[-1] += f"; mattes read from the cache: {summary.mattes_read}, computed: {summary.mattes_computed}"
    noticed = _noticed(summary)
    return [*lines, f"noticed: {'; '.join(noticed)}"] if noticed else lines


def _noticed(summary: Summary) -> list[str]:
    said = [summary.assumed] if summary.assumed else []
    if summary.input_transfer:
        said.append(f"the network saw {summary.input_transfer} as a screen shows it")
    said += summary.notes
    if count := len(summary.keyframes):
        said.append(f"SDMatte: {count} keyframe{'s' * (count > 1)}, {duration(summary.keyframe_seconds / count)} each")
    if summary.doubt:
        said.append(f"look at the matte: {summary.doubt}")
    if summary.findings is not None:
        said += [f"{name} {found.score:.3g}" for name, found in summary.findings.scores.items()]
    return said
