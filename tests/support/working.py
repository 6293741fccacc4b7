"""Work for engines that keeps count, and dies where it is asked to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Counted:
    """Notes every beginning of a task in a folder.

    Args:
        deadly: By task, how many times its worker is killed; tasks with a name or number go by it.
        seconds: How long each takes.
    """

    work: Callable[[Any], Any]
    folder: Path
    deadly: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def __call__(self, task: Any) -> Any:
        name = _name(task)
        count = self.begun(task)
        (self.folder / f"{name}.{count}").touch()
        if count < self.deadly.get(name, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds)
        return self.work(task)

    def begun(self, task: Any) -> int:
        """How often it was begun."""
        return len(list(self.folder.glob(f"{_name(task)}.*")))


def _name(task: Any) -> str:
    return str(getattr(task, "name", getattr(task, "number", task)))


def square(number: int) -> int:
    """The square; a negative number is an error."""
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number * number


@dataclass
class Loading:
    """Loads something once a worker; the result says in which process, and how often."""

    loaded: int = 0

    def __call__(self, task: int) -> tuple[int, int]:
        self.loaded += self.loaded == 0
        return os.getpid(), self.loaded
