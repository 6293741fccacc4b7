"""Stops a long run by a signal, after the step it is in."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stop:
    """Truthy when called once a signal has arrived; signals only count while ``listening`` is set."""

    def __init__(self) -> None:
        self.listening = False
        self.number: int | None = None

    def __call__(self) -> bool:
        return self.number is not None


@contextmanager
def stoppable() -> Iterator[Stop]:
    """While the stop is listening, a first signal sets it; a second one takes its usual effect at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # other threads receive no signals
        yield stop
        return
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [int(getattr(signal, name)) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}  # as under nohup
    here = os.getpid()

    def heard(number: int, frame: object) -> None:
        if os.getpid() != here:  # a data-loading process receives Ctrl-C too, but this process ends it
            return
        handler = before[number]
        if stop.listening and stop.number is None:
            stop.number = number
            os.write(2, b"\nstreammatte: stopping after this step; press again to quit at once\n")
        elif callable(handler):
            handler(number, None)
        else:
            raise KeyboardInterrupt

    for number in before:
        signal.signal(number, heard)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
