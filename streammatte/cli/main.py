"""The command line: arguments → Options → job. Nothing heavy is imported until an argument asks for it."""

from __future__ import annotations

import difflib
import io
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from streammatte.cli.commands import COMMANDS
from streammatte.cli.parser import matting_parser
from streammatte.errors import OutputError, StreammatteError
from streammatte.media.addresses import PIPE
from streammatte.options import Options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 for what went wrong, 2 for wrong usage, 128 + n for signal n."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # As on standard error: a file's name that the terminal has no letters for must not end a run that is done.
        sys.stdout.reconfigure(errors="backslashreplace")
    with _signals() as received:
        try:
            command = COMMANDS.get(arguments[0]) if arguments else None
            return _matte(arguments) if command is None else command(arguments[1:])
        except (StreammatteError, KeyboardInterrupt) as exc:
            if debug:
                traceback.print_exc()
            # Native code that an interruption hits may turn it into an error of its own, as safetensors does.
            if received or isinstance(exc, KeyboardInterrupt):
                print(f"streammatte: interrupted; {_kept(exc) or 'nothing was written'}", file=sys.stderr)
                return 128 + (received[0] if received else signal.SIGINT)  # as shells have it
            print(f"streammatte: error: {exc}", file=sys.stderr)
            if exc.hint:
                print(f"  hint: {exc.hint}", file=sys.stderr)
            if kept := _kept(exc):
                print(f"  {kept}", file=sys.stderr)
            return 1


def _kept(exc: BaseException) -> str:
    """What a run noted on the exception that ended it."""
    return "; ".join(getattr(exc, "__notes__", ()))


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Let a polite kill, or a terminal that is closed, clean up as Ctrl-C does; gives the signals received.

    Under ``nohup``, which ignores the closing of the terminal for us, it stays ignored.
    """
    received: list[int] = []

    def stop(number: int, frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # Windows has none
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _matte(arguments: Sequence[str]) -> int:
    parser = matting_parser()
    if not arguments:
        parser.print_help()
        return 2
    given = parser.parse_args(arguments)
    meant = difflib.get_close_matches(given.input, COMMANDS, n=1, cutoff=0.7)
    if meant and not (given.outputs or given.matte or given.foreground or given.deliver):
        parser.error(f"{given.input} is not a command: did you mean `streammatte {meant[0]}`?")
    if given.json and PIPE in (*given.outputs, given.matte, given.foreground):
        raise OutputError("-o - and --json both write to standard output", hint="use one or the other")
    options = Options(**{each.name: _value(getattr(given, each.name)) for each in fields(Options)})
    from streammatte.cli.display import TerminalDisplay
    from streammatte.run import run

    with TerminalDisplay(quiet=given.quiet or given.json, silent=given.quiet) as display:
        summary = run(options, display)
        if given.json:
            print(summary.as_json())
        else:
            display.summary(summary, timings=given.timings)
        for line in summary.crossed:
            display.warn(line)
    return 1 if summary.crossed else 0


def _value(given: object) -> Any:
    """What was collected in a list, as the tuple that a value is."""
    return tuple(given) if isinstance(given, list) else given
