"""Shared by the parts of ``benchmarks.live``: a watched session, and a room of one colour."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

import streammatte
from benchmarks.live_scene import ROOM, Picture
from streammatte.frame import Frame
from streammatte.live.contracts import Controls, LiveModel, Shown
from streammatte.live.over_background import Look
from streammatte.live.reconnecting import Capture
from streammatte.live.session import Session
from streammatte.live.source import LiveSource
from streammatte.live.status import Status
from streammatte.live.targets import Outputs
from streammatte.models.birefnet import BiRefNetModel


class Log:
    """Prints the status every ten seconds, and records memory."""

    def __init__(self) -> None:
        self._begin = self._said = time.monotonic()
        self.memory: list[tuple[float, float]] = []

    def notice(self, text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)

    warning = notice

    def fetching(self, done: int, total: int | None) -> None: ...

    def ended(self, status: Status) -> None: ...

    def status(self, status: Status) -> None:
        now = time.monotonic()
        if now - self._said >= 10:
            self._said = now
            self.memory.append((now - self._begin, resident_mib()))
            print(
                f"  {now - self._begin:5.0f} s  {status.line()}, {self.memory[-1][1]:.0f} MiB",
                file=sys.stderr,
                flush=True,
            )


class Watched:
    """Outputs that inspect each picture before passing it on."""

    def __init__(self, look_at: Callable[[Shown], None], outputs: Outputs | None = None) -> None:
        self._look_at, self._outputs = look_at, outputs
        self.failures: list[Any] = [] if outputs is None else outputs.failures
        self.notes: list[str] = [] if outputs is None else outputs.notes

    @property
    def ended(self) -> bool:
        return self._outputs is not None and self._outputs.ended

    @property
    def dropped(self) -> int:
        return 0 if self._outputs is None else self._outputs.dropped

    def before(self, frame: Frame) -> None: ...

    def show(self, shown: Shown) -> None:
        self._look_at(shown)
        if self._outputs is not None:
            self._outputs.show(shown)


class Keyed:
    """A model that knows the room's only colour: any of it that is shown is the session's fault."""

    exhausted = False
    setting = "by colour"

    def __call__(self, frames: Sequence[Frame]) -> list[torch.Tensor]:
        room = torch.tensor(ROOM)[:, None, None]
        return [((frame.rgb.int() - room).abs().amax(0) > 120).float() for frame in frames]

    def took(self, seconds: float) -> None: ...


def of_room(rgb: Picture) -> int:
    return int((np.abs(rgb[..., :3].astype(int) - ROOM).max(axis=-1) < 90).sum())


def played(
    source: LiveSource,
    load: Callable[[], LiveModel],
    look_at: Callable[[Shown], None],
    stopped: Callable[[], bool] = lambda: False,
    *,
    background: str = "0,177,64",
    script_of: Callable[[Session], bool] | None = None,
) -> Session:
    """A session over a background until the source ends, or it is stopped."""
    with closing(Capture(source)) as capture, closing(Look(source.info, [background], Controls())) as look:
        watched = cast(Outputs, Watched(look_at))
        session = Session(capture, load, look, watched, Log(), float(source.info.frame_rate))
        with closing(session):
            session.run(seconds=None, stopped=stopped if script_of is None else lambda: script_of(session))
        return session


def nano() -> BiRefNetModel:
    return streammatte.load_model("birefnet-nano", device="cpu")


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def resident_mib() -> float:
    """Of this process and its children, such as a window's."""
    numbers, pages = [str(os.getpid())], 0
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has ended meanwhile
            numbers += (thread / "children").read_text().split()
    for number in numbers:
        with suppress(OSError):
            pages += int(Path(f"/proc/{number}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
