"""``streammatte batch``: many clips and pictures, into one folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streammatte.batch.options import BatchedOptions, BatchOptions, BatchSpreading
from streammatte.cli.command import Command, TerminalOptions
from streammatte.cli.parser import instance, parse
from streammatte.options import Spreading
from streammatte.options.field import like, options_of


@dataclass(frozen=True, slots=True)
class BatchTerminal:
    json: bool = like(
        TerminalOptions,
        "json",
        section="terminal",
        help="print every input's record as one JSON object on standard output",
    )
    quiet: bool = like(TerminalOptions, "quiet", common=True)


COMMAND = Command(
    prog="streammatte batch",
    usage=("streammatte batch INPUTS… --to DIR [options]", "streammatte INPUTS… --to DIR [options]"),
    about="Cut out many clips and pictures with one loading of the model. A clip that fails does not stop the others. "
    "The same command again does what is missing or has changed: DIR/manifest.jsonl says what was done.",
    takes=(BatchOptions, BatchedOptions, BatchSpreading, BatchTerminal),
    places=("inputs",),
    many=True,
    examples=(
        ("streammatte batch photos --to cutouts", "all of a folder"),
        ('streammatte batch "shots/*.mov" --to web --format webm', "a pattern"),
        ("streammatte batch shots.csv --to cutouts --dry-run", "what would be done"),
    ),
)


def main(arguments: Sequence[str]) -> int:
    given = parse(COMMAND, arguments)
    asked, terminal = instance(BatchOptions, given), instance(BatchTerminal, given)
    run = {name: value for name, value in given.items() if name in options_of(BatchedOptions)}

    from streammatte.batch.running import run_batch
    from streammatte.cli.batch_display import Display
    from streammatte.cli.terminal import Terminal

    silent = terminal.quiet or terminal.json
    with Terminal(progress=not silent, notices=not terminal.quiet) as shown, Display(shown) as display:
        if asked.dry_run:
            from streammatte.batch.estimate import forecast

            expected = forecast(asked, run, shown)
            display.forecast(expected, as_json=terminal.json)
            return 1 if expected.unreadable else 0
        report = run_batch(asked, run, display, instance(Spreading, given))
        display.reported(report, as_json=terminal.json)
    return 1 if report.failed or report.crossed else 0
