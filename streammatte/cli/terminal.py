"""What every command shows on standard error: notices, and one bar."""

from __future__ import annotations

import gc
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, ProgressColumn, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft


class Terminal:
    """A context manager.

    Args:
        progress: Show bars.
        notices: Print notices; warnings are printed all the same.
    """

    def __init__(self, *, progress: bool, notices: bool) -> None:
        if not gc.isenabled():  # `process` put it off, since imports make objects that stay, and a million of them
            gc.freeze()
            gc.enable()
        self.console = Console(stderr=True, highlight=False)
        self.progress = progress
        self._notices = notices
        self._said: set[str] = set()
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._what = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def notice(self, text: str) -> None:
        """A line, once."""
        if self._notices and text not in self._said:
            self._said.add(text)
            self.warning(text)

    def has_said(self, text: str) -> bool:
        """Whether a notice contained this."""
        return any(text in each for each in self._said)

    def warning(self, text: str) -> None:
        self.console.print(f"streammatte: {text}", markup=False, soft_wrap=True)

    def fetching(self, done: int, total: int | None) -> None:
        """Bytes of weights that have been downloaded."""
        self.show("fetching weights", TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeLeft())
        self.update(completed=done, total=total)

    def working(self, what: str, done: int, total: int | None) -> None:
        """``done`` of ``total`` frames or pairs, if that is known."""
        description = TextColumn("{task.description}", style="bold", markup=False)
        self.show(what, description, BarColumn(bar_width=None), MofNCompleteColumn(), TimeLeft())
        self.update(completed=done, total=total)

    def show(self, what: str, *columns: ProgressColumn, **fields: Any) -> None:
        """Show this bar unless it is shown already; a log has none."""
        if not self.progress or self._what == what or not self.console.is_interactive:
            return
        self.stop()
        self._what = what
        self._bar = Progress(*columns, console=self.console, transient=True)
        self._task = self._bar.add_task(what, total=None, **fields)
        self._bar.start()

    def update(self, **fields: Any) -> None:
        """Change the bar, if there is one. From any thread."""
        if self._bar is not None:
            self._bar.update(self._task, **fields)

    def stop(self) -> None:
        """Remove the bar."""
        bar, self._bar, self._what = self._bar, None, ""
        if bar is not None:
            bar.stop()


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
