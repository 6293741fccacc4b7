"""Where live pictures go, several places at once, and what happens when one of them does not take them."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from streammatte.errors import OutputError, UnsupportedOutput, WriteFailed
from streammatte.frame import ColorSpec, Frame, StreamInfo
from streammatte.live.contracts import Output, Shown
from streammatte.live.controls import Controls
from streammatte.live.virtual_camera import VirtualCamera
from streammatte.live.window import Window
from streammatte.live.writer import (
    CLOCK,
    STDOUT,
    ReaderLeft,
    Recording,
    StreamWriter,
    check_address,
    recorded,
    scheme_of,
)
from streammatte.media.addresses import without_secrets
from streammatte.media.write.output import check_apart, check_target, through_links
from streammatte.media.write.part import Part

_WINDOW, _CAMERA = "window", "camera"
_HELD = 2  # pictures that wait for a stream, or a virtual camera: late ones are worth nothing there
_HELD_FOR_FILE = 30
_ANY = StreamInfo(640, 360, CLOCK, Fraction(30), None, ColorSpec())  # no name is refused for the camera it is of
_PATIENCE = 0.9  # seconds for an output to take what is left, at the end: for all of them, not for each
_PATIENCE_FOR_FILES = 30.0


def check_outputs(
    targets: Sequence[str],
    *,
    alpha: bool,
    overwrite: bool,
    json: bool,
    read: Sequence[tuple[str, str]],
) -> None:
    """Refuse outputs that cannot be, before a camera is opened.

    Args:
        targets: As ``--to`` names them.
        alpha: A background is ``transparent``.
        overwrite: Files may be replaced.
        json: The status goes to standard output.
        read: Names of what is read, each with what it is.

    Raises:
        OutputError: One of them is refused.
    """
    files = []
    for place, target in enumerate(targets):
        if target in targets[:place]:
            shown = target if target == STDOUT else without_secrets(target)
            raise OutputError(f"--to {shown} may be given only once", hint="name each target once")
        if _is_file(target):
            recorded(Path(target), _ANY, alpha=alpha)
            check_target(through_links(Path(target)), overwrite=overwrite)
            files.append(target)
            continue
        if scheme_of(target) is not None:
            check_address(target)
        if target == STDOUT and json:
            raise OutputError("--to - and --json both write to standard output", hint="leave one of the two out")
        if target == STDOUT and sys.stdout.isatty():
            raise OutputError("--to - would fill the terminal", hint="pipe it: streammatte live --to - | ffplay -")
        if alpha and target not in (STDOUT, _WINDOW):
            raise UnsupportedOutput(
                f"--to {without_secrets(target)} cannot be transparent",
                hint="give another --bg, or write .mov, .webm, .mkv or -",
            )
    check_apart(files, read)


def _is_file(target: str) -> bool:
    device, _, _ = target.partition(":")
    return target not in (STDOUT, _WINDOW) and device != _CAMERA and scheme_of(target) is None


def _takes_even_sizes(target: str) -> bool:
    mp4 = _is_file(target) and Path(target).suffix.lower() == ".mp4"
    return mp4 or scheme_of(target) is not None or target.partition(":")[0] == _CAMERA


class Outputs:
    """All outputs of a run as one; a context manager.

    One that fails is left, and told in ``failures``; the others go on, and at the end the first failure is raised. If
    none is left it is raised at once. A run that an error ends before anybody was shown leaves no files.

    Args:
        targets: As ``--to`` names them: ``camera``, ``camera:NAME``, ``window``, an address, a file, ``-``.
        info: Of the pictures.
        controls: What keys in a window set.
        alpha: Pictures have four channels.
        overwrite: Files may be replaced.
        backgrounds: How many there are to go round by key.

    Attributes:
        failures: What has failed so far.
        lost: The targets that have.
        notes: What else is to be told, a line each.
    """

    def __init__(
        self,
        targets: Sequence[str],
        info: StreamInfo,
        controls: Controls,
        *,
        alpha: bool = False,
        overwrite: bool = False,
        backgrounds: int = 1,
    ) -> None:
        self.failures: list[OutputError] = []
        self.lost: list[str] = []
        self.notes: list[str] = []
        self._shown = False
        self._targets: dict[Output, str] = {}
        self._controls = controls
        self._windows: list[Window] = []
        self._outputs: list[Apart | Window] = []
        self._open: list[Apart | Window] = []
        for target in targets:
            output: Output
            if target == _WINDOW:
                output = window = Window(info, controls, backgrounds)
                self._windows.append(window)
            else:
                output = _open_output(target, info, alpha=alpha, overwrite=overwrite)
            self._outputs.append(output)
            self._targets[output] = target
        padded = [target for target in targets if _takes_even_sizes(target)]
        if padded and (info.width % 2 or info.height % 2):
            even = f"{info.width + info.width % 2}×{info.height + info.height % 2}"
            self.notes.append(f"{', '.join(padded)} takes even sizes: {even}, an edge repeated")

    @property
    def ended(self) -> bool:
        """A key asked for the end, or nobody is left who takes pictures."""
        return self._controls.quit or not self._open

    @property
    def dropped(self) -> int:
        """Pictures that an output had no room for, of all outputs."""
        return sum(output.dropped for output in self._outputs if isinstance(output, Apart))

    def __enter__(self) -> Self:
        """Open all of them, or none.

        Raises:
            OutputError: One cannot be opened.
        """
        try:
            for output in self._outputs:
                output.__enter__()
                self._open.append(output)
                if isinstance(output, Apart) and output.note is not None:
                    self.notes.append(output.note)
        except BaseException:
            for output in self._open:
                with suppress(OutputError):  # they have nothing yet, and the first failure is what matters
                    output.__exit__(None, None, None)
            raise
        return self

    def before(self, frame: Frame) -> None:
        """The raw frame of what is shown next, for the windows and nothing else."""
        for window in self._windows:
            window.before(frame)

    def show(self, shown: Shown) -> None:
        """Hand a picture to all. Waits for none of them.

        Raises:
            OutputError: The last of them has failed.
        """
        self._shown |= not shown.held
        for output in list(self._open):
            try:
                output.show(shown)
            except ReaderLeft:
                self.notes.append("nobody reads standard output any more")
                self._leave(output)
            except OutputError as exc:
                self._failed(output, exc)
                self._leave(output)
        if not self._open and self.failures:
            raise self.failures[0]

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        nobody = kind is not None and not self._shown
        for output in self._open:
            output.finish(exc if nobody else None)
        broken: Exception | None = None
        for output in list(self._open):
            try:
                self._leave(output, *((kind, exc, trace) if nobody else (None, None, None)))
            except Exception as failure:  # no output's to raise: the others' files are completed before it is told
                broken = broken or failure
        if kind is None and broken is not None:
            raise broken
        if kind is None and self.failures:
            raise self.failures[0]

    def kept(self) -> list[str]:
        """A line for each file: whether it is complete, or what there is of it."""
        files = [output for output in self._outputs if isinstance(output, Apart) and output.path is not None]
        return [line for line in (file.kept() for file in files) if line]

    def _leave(
        self,
        output: Apart | Window,
        kind: type[BaseException] | None = None,
        exc: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._open.remove(output)
        try:
            output.__exit__(kind, exc, trace)
        except OutputError as failure:
            if failure not in self.failures:
                self._failed(output, failure)

    def _failed(self, output: Output, failure: OutputError) -> None:
        self.failures.append(failure)
        self.lost.append(self._targets[output])


def _open_output(target: str, info: StreamInfo, *, alpha: bool, overwrite: bool) -> Apart:
    device, _, name = target.partition(":")
    if device == _CAMERA:
        return Apart(VirtualCamera(name or None, info), _HELD)
    if target == STDOUT or scheme_of(target) is not None:
        return Apart(_Written(StreamWriter(target, info, alpha=alpha)), _HELD)
    recording = Recording(Path(target), info, alpha=alpha, overwrite=overwrite)
    return Apart(_Written(recording), _HELD_FOR_FILE, path=Path(target))


class _Written:
    """A writer of media/ as an output."""

    def __init__(self, writer: StreamWriter | Recording) -> None:
        self._writer = writer

    @property
    def description(self) -> str:
        return self._writer.description

    @property
    def note(self) -> str | None:
        """What was found where it writes."""
        return self._writer.note if isinstance(self._writer, Recording) else None

    def show(self, shown: Shown) -> None:
        self._writer.write(shown.rgb, shown.at)

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, exc, trace)


class Apart:
    """An output in a thread of its own, so that a slow encoder or a stalled receiver holds up nothing else.

    Pictures wait in a short queue; when it is full, the oldest gives way to the newest.

    Args:
        output: Entered where this is entered, so that it fails there if it does; left in the thread.
        held: How many pictures may wait.
        path: Of the file that it writes; it is waited for longer.

    Attributes:
        dropped: Pictures that gave way.
    """

    def __init__(self, output: Output, held: int, *, path: Path | None = None) -> None:
        self.dropped = 0
        self.path = path
        self._output = output
        self._waiting: deque[Shown] = deque()
        self._held = held
        self._came = threading.Condition()
        self._ending = False
        self._until: float | None = None
        self._completed = False
        self._error: BaseException | None = None
        self._failure: BaseException | None = None
        self._told = False
        self._thread = threading.Thread(target=self._run, name="streammatte-output", daemon=True)

    @property
    def description(self) -> str:
        return self._output.description

    @property
    def note(self) -> str | None:
        """What it found where it writes."""
        return self._output.note if isinstance(self._output, _Written) else None

    def __enter__(self) -> Self:
        self._output.__enter__()
        self._thread.start()
        return self

    def show(self, shown: Shown) -> None:
        """Put a picture into the queue.

        Raises:
            OutputError: An earlier one was refused.
            ReaderLeft: Nobody takes them any more.
        """
        self._tell()
        with self._came:
            if len(self._waiting) >= self._held:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(shown)
            self._came.notify()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(exc)
        assert self._until is not None
        self._thread.join(max(0.0, self._until - time.monotonic()))
        if self._thread.is_alive() and kind is None:
            raise WriteFailed(f"{self.description} took no pictures at the end", hint="is what receives it stuck?")
        if kind is None and not self._told and not isinstance(self._failure, ReaderLeft):
            self._tell()

    def finish(self, error: BaseException | None = None) -> None:
        """Take no more pictures, and end with those that wait, or with an error; its time for that begins."""
        if self._until is None:
            self._error = error
            self._until = time.monotonic() + (_PATIENCE if self.path is None else _PATIENCE_FOR_FILES)
        with self._came:
            self._ending = True
            self._came.notify()

    def kept(self) -> str:
        """What there is of its file, in a line; nothing if it has none."""
        if self.path is None:
            return ""
        if self._completed:
            return f"{self.path} is complete"
        part = Part(self.path).folder
        return f"{part} holds what there is of {self.path}" if part.exists() else ""

    def _tell(self) -> None:
        if self._failure is not None:
            self._told = True
            raise self._failure

    def _run(self) -> None:
        try:
            try:
                self._drain()
            except BaseException as exc:
                self._output.__exit__(type(exc), exc, exc.__traceback__)
                raise
            error = self._error
            self._output.__exit__(None if error is None else type(error), error, None)
            self._completed = True
        except BaseException as exc:  # raised again where the next picture is shown, or at the end
            self._failure = exc

    def _drain(self) -> None:
        while True:
            with self._came:
                self._came.wait_for(lambda: self._waiting or self._ending)
                if not self._waiting:
                    return
                shown = self._waiting.popleft()
            self._output.show(shown)
