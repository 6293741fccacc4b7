"""Help, made from the options' fields: one screen, or everything in groups."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from streammatte.cli.command import Command
from streammatte.options.field import Option

WIDTH = 80
_COLUMN = 26
_ALWAYS = (
    ("--debug", "show the traceback of an error"),
    ("--version", "show the version"),
    ("-h, --help", "show this help"),
)


def short(command: Command) -> str:
    """What most people need, on one screen; everything, if no option is marked as common."""
    common = [option for option in command.options.values() if option.common]
    if not common:
        return full(command)
    lines = [*_head(command), "most used options:", *_rows(common), ""]
    return "\n".join([*lines, f"{command.prog} --help-all lists all options, in groups."]) + "\n"


def full(command: Command) -> str:
    """All options in their groups."""
    lines = _head(command)
    for group in command.groups:
        lines += [f"{group.title}:" if group.title else "options:"]
        lines += textwrap.wrap(group.about, WIDTH, initial_indent="  ", subsequent_indent="  ")
        lines += [*_rows(group.options), ""]
    lines[-1:] = [line for flag, says in _ALWAYS for line in _row(flag, says)]
    return "\n".join(lines) + "\n"


def signature(option: Option) -> str:
    """``-o, --output OUTPUT``."""
    flags = ", ".join(option.flags)
    return flags if option.switch else f"{flags} {values(option)}".lstrip()


def values(option: Option) -> str:
    return "|".join(map(str, option.choices)) if option.choices else option.metavar


def _head(command: Command) -> list[str]:
    first, *others = command.usage
    lines = [f"usage: {first}", *(f"       {line}" for line in others), ""]
    if command.about:
        lines += [*textwrap.wrap(command.about, WIDTH), ""]
    if command.examples:
        widest = max(len(line) for line, _ in command.examples)
        lines += ["examples:", *(f"  {line:{widest}}  {says}" for line, says in command.examples), ""]
    if command.others:
        lines += ["other commands:", *(f"  {line:{_COLUMN - 2}}{says}" for line, says in command.others), ""]
    return lines


def _rows(options: Iterable[Option]) -> Iterator[str]:
    for option in options:
        yield from _row(signature(option), option.help)


def _row(left: str, right: str) -> list[str]:
    indent = " " * _COLUMN
    lines = textwrap.wrap(right, WIDTH, initial_indent=indent, subsequent_indent=indent)
    left = f"  {left}"
    if len(left) <= _COLUMN - 2:
        return [left.ljust(_COLUMN) + lines[0].lstrip(), *lines[1:]]
    return [left, *lines]
