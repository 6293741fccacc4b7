"""``streammatte models``: which there are, which are here; ``pull`` downloads one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streammatte.cli.command import Command, TerminalOptions
from streammatte.cli.parser import instance, parse, refuse
from streammatte.options.field import like, option
from streammatte.refusals import command_line


@dataclass(frozen=True, slots=True)
class ModelsOptions:
    action: str | None = option(None, "pull", help="download a model's weights")
    name: str | None = option(None, "NAME", example="birefnet-lite", help="the model to download")
    json: bool = like(TerminalOptions, "json", section="", help="print the list as one JSON array")


COMMAND = Command(
    prog="streammatte models",
    usage=("streammatte models [--json]", "streammatte models pull NAME"),
    about="List the models and which of them are on this machine, or download one.",
    takes=(ModelsOptions,),
    places=("action", "name"),
)


def main(arguments: Sequence[str]) -> int:
    options = instance(ModelsOptions, parse(COMMAND, arguments))
    if options.action not in (None, "pull"):
        line = command_line("streammatte models pull", [options.name or options.action])
        refuse(COMMAND, f"expected pull, got {options.action!r}", line)
    if options.action is not None and options.name is None:
        refuse(COMMAND, "no model to pull given", "streammatte models pull birefnet-lite")

    from rich.console import Console

    from streammatte.models.listing import list_models, pull

    if options.name is None:
        list_models(Console(), as_json=options.json)
    else:
        pull(options.name, Console(stderr=True))
    return 0
