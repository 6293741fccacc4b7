"""The main command: ``streammatte INPUT OUTPUT``."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from streammatte.cli import batch, help
from streammatte.cli.command import Command, TerminalOptions
from streammatte.cli.parser import instance, parse, refuse
from streammatte.options import Options
from streammatte.refusals import check_standard_output, command_line

COMMAND = Command(
    prog="streammatte",
    usage=("streammatte INPUT OUTPUT [options]",),
    about="Take the subject out of a video or photo, with a soft matte and clean edges.",
    takes=(Options, TerminalOptions),
    places=("input", "outputs"),
    examples=(
        ("streammatte clip.mp4 out.mov", "ProRes 4444 with alpha"),
        ("streammatte clip.mp4 out.webm", "VP9 with alpha, for the web"),
        ("streammatte clip.mp4 comp.mp4 --bg beach.jpg", "over another background"),
        ("streammatte photo.jpg cutout.png", "a photograph"),
    ),
    others=(
        ("streammatte batch", "many clips and pictures, into one folder"),
        ("streammatte live", "the camera with another background"),
        ("streammatte preview", "a few frames with prompts, masks and cut-outs"),
        ("streammatte models", "which models there are, and which are here"),
        ("streammatte doctor", "what this machine can do, and what is missing"),
        ("streammatte evaluate", "compare a matte with ground truth"),
        ("streammatte bench", "how fast a run is here, and where its time goes"),
        ("streammatte train", "train a model further on your own pictures"),
    ),
)


COMMANDS = tuple(line.split()[1] for line, _ in COMMAND.others)
"""The other commands, each a module."""


def main(arguments: Sequence[str]) -> int:
    if not arguments:
        print(help.short(COMMAND), end="")
        return 2
    word, *others = arguments
    meant = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.7)
    if meant and word.isalpha() and not Path(word).exists():
        line = command_line(f"streammatte {meant[0]}", others)
        refuse(COMMAND, f"{word} is not a command; did you mean {meant[0]}?", line)
    if any(each.partition("=")[0] == "--to" for each in arguments[: [*arguments, "--"].index("--")]):
        return batch.main(arguments)
    given = parse(COMMAND, arguments)
    options, terminal = instance(Options, given), instance(TerminalOptions, given)
    if terminal.json:
        check_standard_output(options)

    from streammatte.batch.segments import matted
    from streammatte.cli.run_display import RunDisplay
    from streammatte.cli.terminal import Terminal

    with Terminal(progress=not (terminal.quiet or terminal.json), notices=not terminal.quiet) as shown:
        display = RunDisplay(shown)
        summary = matted(options, display)
        if terminal.json:
            print(summary.as_json())
        display.warnings(summary)
        display.summary(summary, timings=terminal.timings)
    return 1 if summary.crossed else 0
