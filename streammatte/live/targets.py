"""The targets of ``--to``: checking them, a thread for each, and going on when one of them fails."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Self

from streammatte.errors import OutputError, UnsupportedOutput, WriteFailed
from streammatte.frame import ColorSpec, Frame, StreamInfo
from streammatte.live.contracts import Controls, Output, Shown
from streammatte.live.recording import Recording, recording_encoding
from streammatte.live.stream_out import CLOCK, STDOUT, ReaderLeft, StreamWriter, check_address, scheme_of
from streammatte.live.virtual_camera import VirtualCamera
from streammatte.live.window import Window
from streammatte.media.addresses import without_secrets
from streammatte.media.write.output import check_apart, check_target, through_links
from streammatte.media.write.partial_output import Part

_WINDOW, _CAMERA = "window", "camera"
_ANY = StreamInfo(640, 360, CLOCK, Fraction(30), None, ColorSpec())  # no file name is refused because of the camera

_HELD = 2  # pictures that wait for a stream or a virtual camera: late ones are worthless there
_HELD_FOR_FILE = 30
_PATIENCE = 0.9  # seconds at the end for all outputs to take what is left
_PATIENCE_FOR_FILES = 30.0


def check_outputs(
    targets: Sequence[str], *, alpha: bool, overwrite: bool, json: bool, read: Sequence[tuple[str, str]]
) -> None:
    """Refuse impossible outputs before a camera is opened.

    Args:
        targets: As ``--to`` names them.
        alpha: A background is ``transparent``.
        overwrite: Files may be replaced.
        json: The status goes to standard output.
        read: Names of what is read, each with what it is for messages.

    Raises:
        OutputError: One of them is refused.
    """
    for place, target in enumerate(targets):
        shown = _named(target)
        if target in targets[:place]:
            raise OutputError(f"--to {shown} may be given only once", hint="give each target once")
        if _is_file(target):
            recording_encoding(Path(target), _ANY, alpha=alpha)
            check_target(through_links(Path(target)), overwrite=overwrite)
            continue
        if scheme_of(target) is not None:
            check_address(target)
        if target == STDOUT and json:
            raise OutputError("--to - and --json both write to standard output", hint="use one or the other")
        if target == STDOUT and sys.stdout.isatty():
            raise OutputError("--to - would fill the terminal", hint="try streammatte live --to - | ffplay -")
        if alpha and target not in (STDOUT, _WINDOW):
            raise UnsupportedOutput(
                f"--to {shown} cannot be transparent", hint="use another --bg, or write .mov, .webm, .mkv or -"
            )
    check_apart([target for target in targets if _is_file(target)], read)


def _is_file(target: str) -> bool:
    return target not in (STDOUT, _WINDOW) and target.partition(":")[0] != _CAMERA and scheme_of(target) is None


def _named(target: str) -> str:
    """A target as messages show it; ``-`` would read as standard input."""
    return target if target == STDOUT else without_secrets(target)


def _needs_even_sizes(target: str) -> bool:
    mp4 = _is_file(target) and Path(target).suffix.lower() == ".mp4"
    return mp4 or scheme_of(target) is not None or target.partition(":")[0] == _CAMERA


class Outputs:
    """All outputs of a run.

    One that fails is closed, and the others go on; at the end, or when none is left, the first failure is raised. A run
    that an error ends before a subject was shown leaves no files.

    Args:
        targets: As ``--to`` names them: ``camera``, ``camera:NAME``, ``window``, an address, a file, ``-``.
        controls: Set by keys in a window.
        alpha: Pictures have four channels.
        backgrounds: How many the key cycles through.

    Attributes:
        failures: So far.
        lost: The targets that failed.
        notes: For the user.
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
        self._controls = controls
        self._targets: dict[OutputThread | Window, str] = {}
        for target in targets:
            windowed = target == _WINDOW
            output = Window(info, controls, backgrounds) if windowed else _threaded(target, info, alpha, overwrite)
            self._targets[output] = target
        self._open: list[OutputThread | Window] = []
        padded = [_named(target) for target in targets if _needs_even_sizes(target)]
        if padded and (info.width % 2 or info.height % 2):
            even = f"{info.width + info.width % 2}×{info.height + info.height % 2}"
            self.notes.append(f"{', '.join(padded)}: extended to {even}, since only even sizes are possible")

    @property
    def ended(self) -> bool:
        """A key ended the run, or no output is left."""
        return self._controls.quit or not self._open

    @property
    def dropped(self) -> int:
        """Pictures that an output had no room for, over all outputs."""
        return sum(output.dropped for output in self._targets if isinstance(output, OutputThread))

    def __enter__(self) -> Self:
        """Open all of them, or none.

        Raises:
            OutputError: One cannot be opened.
        """
        try:
            for output in self._targets:
                output.open()
                self._open.append(output)
                if output.note is not None:
                    self.notes.append(output.note)
        except BaseException:
            for output in self._open:
                with suppress(OutputError):  # they are empty, and the first failure is what matters
                    output.close()
            raise
        return self

    def before(self, frame: Frame) -> None:
        """The raw frame of the next picture: for windows, and for nothing else."""
        for output in self._targets:
            if isinstance(output, Window):
                output.before(frame)

    def show(self, shown: Shown) -> None:
        """Hand a picture to all outputs, without waiting for any.

        Raises:
            OutputError: The last of them has failed.
        """
        self._shown |= not shown.held
        for output in list(self._open):
            try:
                output.show(shown)
            except ReaderLeft:
                self.notes.append("standard output was closed by its reader")
                self._leave(output)
            except OutputError as exc:
                self._failed(output, exc)
                self._leave(output)
        if not self._open and self.failures:
            raise self.failures[0]

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        nobody = kind is not None and not self._shown
        for output in self._open:
            output.finish(exc if nobody else None)
        broken: Exception | None = None
        for output in list(self._open):
            try:
                self._leave(output)
            except Exception as failure:  # a bug; the other outputs' files are completed before it is raised
                broken = broken or failure
        if kind is None and broken is not None:
            raise broken
        if kind is None and self.failures:
            raise self.failures[0]

    def kept(self) -> list[str]:
        """A line for each file: whether it is complete, or what is left of it."""
        return [line for output in self._targets if isinstance(output, OutputThread) and (line := output.kept())]

    def _leave(self, output: OutputThread | Window) -> None:
        self._open.remove(output)
        try:
            output.close()
        except OutputError as failure:
            if failure not in self.failures:
                self._failed(output, failure)

    def _failed(self, output: OutputThread | Window, failure: OutputError) -> None:
        self.failures.append(failure)
        self.lost.append(_named(self._targets[output]))


def _threaded(target: str, info: StreamInfo, alpha: bool, overwrite: bool) -> OutputThread:
    device, _, name = target.partition(":")
    if device == _CAMERA:
        return OutputThread(VirtualCamera(name or None, info))
    if not _is_file(target):
        return OutputThread(StreamWriter(target, info, alpha=alpha))
    path = Path(target)
    return OutputThread(Recording(path, info, alpha=alpha, overwrite=overwrite), path=path)


class OutputThread:
    """An output with a thread and a queue of its own. A full queue drops its oldest picture.

    Args:
        output: Entered in the caller's thread, so that it fails there; left in its own.
        path: The file that it writes, if any; files get more time.
    """

    def __init__(self, output: Output, *, path: Path | None = None) -> None:
        self.dropped = 0
        self.path = path
        self._output = output
        self._waiting: deque[Shown] = deque(maxlen=_HELD if path is None else _HELD_FOR_FILE)
        self._came = threading.Condition()
        self._until: float | None = None  # set once the end has begun
        self._completed = False
        self._error: BaseException | None = None  # that the output is left with
        self._failure: BaseException | None = None
        self._told = False
        self._thread = threading.Thread(target=self._run, name="streammatte-output", daemon=True)

    @property
    def note(self) -> str | None:
        return self._output.note

    def open(self) -> None:
        self._output.__enter__()
        self._thread.start()

    def show(self, shown: Shown) -> None:
        """Queue a picture.

        Raises:
            OutputError: The output refused an earlier one.
            ReaderLeft: The reader of standard output is gone.
        """
        if self._failure is not None:
            self._told = True
            raise self._failure
        with self._came:
            self.dropped += len(self._waiting) == self._waiting.maxlen
            self._waiting.append(shown)
            self._came.notify()

    def finish(self, error: BaseException | None = None) -> None:
        """Take no more pictures; its time to end begins. An error is passed on to the output."""
        with self._came:
            if self._until is None:
                self._error = error
                self._until = time.monotonic() + (_PATIENCE if self.path is None else _PATIENCE_FOR_FILES)
            self._came.notify()

    def close(self) -> None:
        """Wait until it has ended.

        Raises:
            OutputError: It refused a picture or its end, unless that is known, or it takes too long.
        """
        self.finish()
        assert self._until is not None
        self._thread.join(max(0.0, self._until - time.monotonic()))
        if self._error is not None:
            return
        if self._thread.is_alive():
            raise WriteFailed(
                f"{self._output.description} did not take the last pictures",
                hint="check that the receiver is not stuck",
            )
        if self._failure is not None and not (self._told or isinstance(self._failure, ReaderLeft)):
            raise self._failure

    def kept(self) -> str:
        """What is left of its file, in one line; empty if there is none."""
        if self.path is None:
            return ""
        if self._completed:
            return f"{self.path} is complete"
        part = Part(self.path).folder
        return f"{part} holds what was recorded of {self.path}" if part.exists() else ""

    def _run(self) -> None:
        try:
            try:
                while (shown := self._next()) is not None:
                    self._output.show(shown)
            except BaseException as exc:
                self._output.__exit__(type(exc), exc, exc.__traceback__)
                raise
            error = self._error
            self._output.__exit__(None if error is None else type(error), error, None)
            self._completed = True
        except BaseException as exc:  # raised again where the next picture is shown, or at the end
            self._failure = exc

    def _next(self) -> Shown | None:
        """Wait for the next picture; ``None`` at the end."""
        with self._came:
            self._came.wait_for(lambda: self._waiting or self._until is not None)
            return self._waiting.popleft() if self._waiting else None
