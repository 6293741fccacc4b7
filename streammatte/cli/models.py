"""``streammatte models``: which there are, which are here; ``pull`` downloads one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from streammatte.cli.command import Command, TerminalOptions
from streammatte.cli.parser import instance, parse
from streammatte.options.field import like, option


@dataclass(frozen=True, slots=True)
class ModelsOptions:
    action: Literal["pull"] | None = option(None, "pull", help="download a model's weights")
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

    from rich.console import Console

    from streammatte.errors import ModelError
    from streammatte.models.listing import list_models, pull

    if options.action is None:
        list_models(Console(), as_json=options.json)
    elif options.name is None:
        raise ModelError("no model given to pull", hint="streammatte models pull birefnet-lite")
    else:
        pull(options.name, Console(stderr=True))
    return 0
