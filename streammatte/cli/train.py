"""``streammatte train``: a network trained further on the user's own pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streammatte.cli.command import Command, TerminalOptions
from streammatte.cli.parser import instance, parse
from streammatte.options.field import like
from streammatte.train.options import TuneOptions


@dataclass(frozen=True, slots=True)
class TrainTerminal:
    json: bool = like(TerminalOptions, "json", section="")
    quiet: bool = like(TerminalOptions, "quiet")


COMMAND = Command(
    prog="streammatte train",
    usage=("streammatte train PAIRS OUTPUT.safetensors [options]",),
    about="Train a network further on your own pictures and alphas: PAIRS/images/x.jpg with PAIRS/alphas/x.png, or "
    "cut-outs as straight RGBA PAIRS/x.png with --backgrounds DIR. Ctrl-C saves the state; --resume continues.",
    takes=(TuneOptions, TrainTerminal),
    places=("pairs", "output"),
    examples=(("streammatte train pairs mine.safetensors", "pairs/images with pairs/alphas"),),
)


def main(arguments: Sequence[str]) -> int:
    given = parse(COMMAND, arguments)
    options, terminal = instance(TuneOptions, given), instance(TrainTerminal, given)

    from streammatte.cli.terminal import Terminal
    from streammatte.cli.train_display import TrainDisplay
    from streammatte.train.finetune import finetune

    silent = terminal.quiet or terminal.json
    with Terminal(progress=not silent, notices=not terminal.quiet) as shown:
        display = TrainDisplay(shown)
        summary = finetune(options, display)
        if terminal.json:
            print(summary.as_json())
        display.trained(summary)
    return 0 if summary.interrupted is None else 128 + summary.interrupted
