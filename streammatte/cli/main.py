"""The command line. Nothing heavy is imported until an argument asks for it."""

from __future__ import annotations

import gc
import importlib
import io
import os
import signal
import sys
import threading
import traceback
from _thread import interrupt_main
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import NoReturn

from streammatte.cli import matte
from streammatte.cli.matte import COMMANDS
from streammatte.errors import StreammatteError

_MOMENT = 0.05  # seconds until an interruption that native code swallowed comes again


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 after an error, 2 for wrong usage, 128 + n for signal n."""
    code = _main(list(sys.argv[1:] if argv is None else argv))
    if argv is None and any(thread.name.startswith("streammatte-") for thread in threading.enumerate()):
        # Live leaves a slow network behind in its thread, in which the interpreter's end would abort the process.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    return code


def _main(arguments: list[str]) -> int:
    debug = "--debug" in arguments
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # As on standard error: a file name that the terminal cannot show must not end a finished run.
        sys.stdout.reconfigure(errors="backslashreplace")
    with _signals() as received:
        try:
            if arguments and arguments[0] == "help":
                arguments = [*arguments[1:], "--help"]
            if arguments and arguments[0] in COMMANDS:
                command = importlib.import_module(f"streammatte.cli.{arguments[0]}")
                return int(command.main(arguments[1:]))
            return matte.main(arguments)
        except (StreammatteError, KeyboardInterrupt) as exc:
            if debug:
                traceback.print_exc()
            # Interrupted native code may raise an error of its own, as safetensors does.
            if received or isinstance(exc, KeyboardInterrupt):
                print(f"streammatte: interrupted; {_kept(exc) or 'nothing was written'}", file=sys.stderr)
                return 128 + (received[0] if received else signal.SIGINT)  # as shells have it
            print(f"streammatte: error: {exc}", file=sys.stderr)
            if exc.hint:
                print(f"  hint: {exc.hint}", file=sys.stderr)
            if kept := _kept(exc):
                print(f"  {kept}", file=sys.stderr)
            return 2 if exc.usage else 1


def process() -> NoReturn:
    """Run the command as a process of its own.

    A network or a device may hold a thread of a live run beyond the run's end. Python would abort when it ends under
    such a thread's native code, so the process ends without it. So does an interrupted run: after a Ctrl-C that struck
    within an ``exec``, as dataclasses use it, Python would replace the exit code.

    Garbage is collected from when a command has imported what it needs; see ``Terminal``.
    """
    gc.disable()
    code = main()
    gc.freeze()  # or Python would look through torch's million objects once more before it ends
    if code > 128 or any(thread.name.startswith("streammatte-") for thread in threading.enumerate()):
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _interrupt(number: int) -> None:
    """Send the main thread a signal, from any thread; one that waits wakes up."""
    if sys.platform == "win32":
        interrupt_main(number)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, number)


def _kept(exc: BaseException) -> str:
    """What a run kept, as it noted on the exception that ended it."""
    return "; ".join(getattr(exc, "__notes__", ()))


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Clean up after a polite kill or a closed terminal as after Ctrl-C; yields the signals received.

    A closed terminal stays ignored under ``nohup``. Native code that calls into Python, as FFmpeg does through PyAV,
    cannot pass an interruption on: Python would print and forget it. It comes again a moment later instead.
    """
    received: list[int] = []
    hooks = sys.excepthook, sys.unraisablehook
    putting_off, put_off = threading.Event(), list[threading.Timer]()

    def uncaught(kind: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
        if kind is not KeyboardInterrupt:
            hooks[0](kind, exc, trace)

    def unraisable(failure: sys.UnraisableHookArgs) -> None:
        if failure.exc_type is not KeyboardInterrupt:
            hooks[1](failure)
        elif received:
            putting_off.set()
            again = threading.Timer(_MOMENT, _interrupt, [received[-1]])
            again.daemon = True
            put_off.append(again)
            try:
                again.start()
            finally:
                putting_off.clear()

    def stop(number: int, frame: object) -> None:
        received.append(number)
        if not putting_off.is_set():
            raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # Windows has none
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, stop) for number in numbers}
        sys.excepthook, sys.unraisablehook = uncaught, unraisable
    try:
        yield received
    finally:
        putting_off.set()  # nothing may interrupt what follows
        for again in put_off:
            again.cancel()
            if again.ident is not None:
                again.join()
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.excepthook, sys.unraisablehook = hooks
