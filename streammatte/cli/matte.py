"""The main command: ``streammatte INPUT OUTPUT``."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from streammatte.cli import help
from streammatte.cli.command import Command, TerminalOptions
from streammatte.cli.parser import instance, parse, refuse
from streammatte.options import Options
from streammatte.refusals import check_standard_output

COMMAND = Command(
    prog="streammatte",
    usage=(
        "streammatte INPUT OUTPUT [options]",
        "streammatte live | models | doctor | evaluate | train [--help]",
    ),
    about="",
    takes=(Options, TerminalOptions),
    places=("input", "outputs"),
    examples=(
        ("streammatte clip.mp4 out.mov", "ProRes 4444 with alpha"),
        ("streammatte clip.mp4 out.webm", "VP9 with alpha, for the web"),
        ("streammatte clip.mp4 comp.mp4 --bg beach.jpg", "over another background"),
        ("streammatte photo.jpg cutout.png", "a photograph"),
        ("streammatte live --bg blur", "the camera"),
    ),
)


def main(arguments: Sequence[str], commands: Sequence[str] = ()) -> int:
    """Matte; ``commands`` are the names of the others, one of which may be meant."""
    if not arguments:
        print(help.short(COMMAND), end="")
        return 2
    given = parse(COMMAND, arguments)
    options, terminal = instance(Options, given), instance(TerminalOptions, given)
    named = options.reading.input
    if not options.writing.files and (meant := difflib.get_close_matches(named, commands, n=1, cutoff=0.7)):
        refuse(COMMAND, f"{named} is not a command; did you mean {meant[0]}?", f"streammatte {meant[0]}")
    if terminal.json:
        check_standard_output(options)

    from streammatte.cli.run_display import RunDisplay
    from streammatte.cli.terminal import Terminal
    from streammatte.run import run

    with Terminal(progress=not (terminal.quiet or terminal.json), notices=not terminal.quiet) as shown:
        display = RunDisplay(shown)
        summary = run(options, display)
        if terminal.json:
            print(summary.as_json())
        display.warnings(summary)
        display.summary(summary, timings=terminal.timings)
    return 1 if summary.crossed else 0
