"""What training looks like in a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from streammatte.cli.terminal import Terminal, duration

if TYPE_CHECKING:
    from streammatte.train.finetune import Scores, TuneSummary

# Between two lines about training in a log, which has no bar.
SECONDS_BETWEEN_LINES = 30


class TrainDisplay:
    """Keeps ``finetune.TuneDisplay``'s contract."""

    def __init__(self, terminal: Terminal) -> None:
        self.notice, self.fetching, self.working = terminal.notice, terminal.fetching, terminal.working
        self._terminal = terminal
        self._printed = 0.0

    def begins(self, what: str) -> None:
        """Training starts now."""
        if self._terminal.progress:
            self.notice(what)

    def stepped(self, what: str, progress: float, loss: float) -> None:
        """A step was taken; ``what`` names it, ``progress`` is from 0 to 1."""
        terminal = self._terminal
        if not terminal.progress:
            return
        description = TextColumn("{task.description}", style="bold", markup=False)
        percent = TextColumn("{task.percentage:.0f} %")
        terminal.show("training", description, BarColumn(bar_width=None), percent, TimeRemainingColumn())
        terminal.update(description=f"{what}, loss {loss:.3f}", completed=progress, total=1)
        if not terminal.console.is_terminal and time.monotonic() - self._printed > SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            self.notice(f"{what}, loss {loss:.3f}")

    def scored(self, step: int, loss: float, scores: Scores) -> None:
        """The state at ``step`` was saved and scored: a line that stays, also in a log."""
        if self._terminal.progress:
            lost = f"loss {loss:.3f}, " if loss else ""  # no step was taken since it was resumed
            self.notice(f"step {step}: {lost}MAD {scores.mad:.1f}, IoU {scores.iou:.3f}")

    def trained(self, summary: TuneSummary) -> None:
        """Print what was written and how good it is, or how to continue a run that was stopped."""
        self._terminal.stop()
        if summary.interrupted is not None:
            self._terminal.warning(
                f"interrupted at step {summary.steps}, saved in {summary.state}; --resume continues from there"
            )
            return
        before, after = summary.before, summary.after
        worse = before is not None and after is not None and after.mad > before.mad
        if worse:
            self._terminal.warning(
                "the result scores worse than the start: try more pairs, fewer --steps or a lower --rate"
            )
        if not self._terminal.progress:
            return
        out = Console(highlight=False)
        took = f"{summary.start} after {summary.steps} steps on {summary.trained} pairs, {duration(summary.seconds)}"
        out.print(f"{summary.output}  ({took})", markup=False, soft_wrap=True)
        if before and after:
            held = f"{summary.held_out} held-out pair{'s' * (summary.held_out != 1)}"
            on = held if summary.held_out else "the training pairs"
            out.print(
                f"on {on}: MAD × 1000 {before.mad:.1f} before, {after.mad:.1f} after; "
                f"IoU {before.iou:.3f} before, {after.iou:.3f} after",
                soft_wrap=True,
            )
        if not worse:
            out.print(f"use it: streammatte clip.mp4 out.mov --weights {summary.output}", markup=False, soft_wrap=True)
