"""The reference of all commands, docs/cli.md: ``python -m streammatte.cli.reference > docs/cli.md``."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from streammatte.cli import help, matte
from streammatte.cli.command import Command

HEAD = """\
# The command line

Made from the options' own fields by `python -m streammatte.cli.reference > docs/cli.md`.
Without `--debug`, which every command takes, an error is one line and a hint. The exit code is 2 after wrong
usage: an option that is unknown, has an impossible value, excludes another or does not fit the input. It is 1 after any
other error, such as a file that is missing, damaged or already there.
"""


def commands() -> tuple[Command, ...]:
    """Every command, the main one first."""
    modules = (importlib.import_module(f"streammatte.cli.{name}") for name in matte.COMMANDS)
    return (matte.COMMAND, *(module.COMMAND for module in modules))


def reference() -> str:
    return HEAD + "".join(f"\n{line}" for command in commands() for line in _described(command)) + "\n"


def _described(command: Command) -> Iterator[str]:
    yield f"## {command.prog}\n"
    yield "```\n" + "\n".join(command.usage) + "\n```\n"
    yield f"{command.about}\n"
    for group in command.groups:
        if group.title:
            yield f"### {group.title}\n"
        if group.about:
            yield f"{group.about}\n"
        yield "\n".join(f"- `{help.signature(option)}`: {option.help}" for option in group.options) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
