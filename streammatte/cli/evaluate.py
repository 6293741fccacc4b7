"""``streammatte evaluate``: a clip's matte against ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streammatte.cli.command import Command, TerminalOptions
from streammatte.cli.parser import instance, parse
from streammatte.options.field import like
from streammatte.quality.options import EvaluationOptions


@dataclass(frozen=True, slots=True)
class EvaluateTerminal:
    quiet: bool = like(TerminalOptions, "quiet")


COMMAND = Command(
    prog="streammatte evaluate",
    usage=("streammatte evaluate PRED TRUTH [options]",),
    about="Compare a clip's alpha with ground truth: MAD, MSE, Grad, Conn and IoU of each frame, dtSSD and MESSDdt "
    "between frames. PRED and TRUTH are cut-outs (.mov, .webm, RGBA pictures) or grey mattes (.mov, .mp4, .mkv, "
    "name.####.png) with the same frames.",
    takes=(EvaluationOptions, EvaluateTerminal),
    places=("pred", "truth"),
    examples=(("streammatte evaluate out.mov truth.mov --html scores.html", "figures and a page"),),
)


def main(arguments: Sequence[str]) -> int:
    given = parse(COMMAND, arguments)
    options, terminal = instance(EvaluationOptions, given), instance(EvaluateTerminal, given)

    from rich.console import Console
    from rich.table import Table

    from streammatte.cli.terminal import Terminal
    from streammatte.quality.evaluate import MEASURES, evaluate

    with Terminal(progress=not terminal.quiet, notices=not terminal.quiet) as display:
        evaluation = evaluate(options, display)
    if terminal.quiet:
        return 0
    figures = Table(box=None, pad_edge=False)
    figures.add_column("")
    for name in ("mean", "worst", "at frame"):
        figures.add_column(name, justify="right")
    for name, score in evaluation.scores().items():
        index, value = evaluation.worst_frame(name) or ("", None)
        figures.add_row(MEASURES[name], _figure(score), _figure(value), str(index))
    Console(highlight=False).print(figures)
    return 0


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
