"""What a live run looks like in a terminal: one line that is kept up to date, or JSON."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Self, TextIO

from rich.progress import TextColumn

from streammatte.cli.terminal import Terminal, duration

if TYPE_CHECKING:
    from streammatte.live.status import Status


class LiveDisplay:
    """Keeps ``live.session.Display``'s contract; a context manager.

    Args:
        quiet: Print warnings only.
        as_json: Print one object a second on standard output, and no line.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        line = not (quiet or as_json) and sys.stderr.isatty()
        self._terminal = Terminal(progress=line, notices=not quiet)
        self.warning = self._terminal.warning
        self._quiet, self._as_json = quiet, as_json
        self._status: Status | None = None
        self._due = 0.0
        self._fetched = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._terminal.stop()
        if kind is not None and self._as_json and self._status is not None:  # a run that fails has an end, too
            self._print(replace(self._status, state="stopped"), patience=1.0)

    def notice(self, text: str) -> None:
        if not self._quiet:
            self._terminal.warning(text)

    def fetching(self, done: int, total: int | None) -> None:
        of = "" if total is None else f" of {total / 1e6:.0f}"
        self._fetched = f"fetching weights, {done / 1e6:.0f}{of} MB (showing the background only)"

    def status(self, status: Status) -> None:
        self._status = status
        late = time.monotonic() - self._due
        if self._as_json and late >= 0:
            self._due = self._due + 1 if late < 1 else time.monotonic() + 1
            self._print(status)
        if self._terminal.progress:
            line = self._fetched if status.state == "starting" and self._fetched else status.line()
            self._terminal.show("live", TextColumn("{task.description}", markup=False))
            self._terminal.update(description=line)

    def ended(self, status: Status) -> None:
        self._status = None
        self._terminal.stop()
        if self._as_json:
            self._print(status, patience=1.0)
        else:
            self.notice(_summary(status))

    def _print(self, status: Status, patience: float = 0.0) -> None:
        if not _taken(sys.stdout, patience):  # whoever reads it does not, and the pictures go on
            return
        try:
            print(json.dumps(status.as_dict()), flush=True)
        except BrokenPipeError:  # whoever read it has gone, and the pictures go on
            self._as_json = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _summary(status: Status) -> str:
    if not status.shown:
        return "stopped before the first matte; only the background was sent"
    late = "" if status.latency_ms is None else f", {status.latency_ms:.0f} ms late (p95 {status.latency_p95_ms:.0f})"
    taken = duration(status.seconds)
    rate = (
        f"1 picture in {taken}"
        if status.shown == 1
        else f"{status.shown} pictures in {taken}, {status.rate_out:.1f} fps"
    )
    parts = [f"{rate}{late}"]
    skipped = f", {status.dropped} skipped to keep time" if status.dropped else ""
    parts.append(f"the camera gave {status.rate_in:.1f} fps{skipped}")
    if status.dropped_by_outputs:
        parts.append(f"outputs dropped {status.dropped_by_outputs}")
    if status.failed:
        parts.append(f"{status.failed} had no matte and were not shown")
    if status.damaged:
        parts.append(f"{status.damaged} arrived damaged; the picture was held")
    return "; ".join(parts)


def _taken(file: TextIO, patience: float) -> bool:
    """Whether a line can be written within ``patience`` seconds; assumed where that is unknown."""
    try:
        return bool(select.select([], [file.fileno()], [], patience)[1])
    except (OSError, ValueError):
        return True
