"""A command as a value, which the parser, the help and the reference read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from streammatte.options.field import Group, Option, groups_of, option


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        takes: Classes whose fields are its options.
        places: The positional options, in order.
        many: The last of them takes all words that are left.
        likely: The option that a word is meant for if there is no place for it.
        examples, others: Lines to type, and other commands, each with what it does.
    """

    prog: str
    usage: tuple[str, ...]
    about: str
    takes: tuple[type, ...]
    places: tuple[str, ...] = ()
    many: bool = False
    likely: str = ""
    examples: tuple[tuple[str, str], ...] = ()
    others: tuple[tuple[str, str], ...] = ()

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The groups of all classes; those of one title are one."""
        groups: dict[str, Group] = {}
        for group in (group for cls in self.takes for group in groups_of(cls)):
            before = groups[group.title].options if group.title in groups else ()
            groups[group.title] = Group(group.title, group.about, (*before, *group.options))
        return tuple(groups.values())

    @cached_property
    def options(self) -> dict[str, Option]:
        return {option.name: option for group in self.groups for option in group.options}


@dataclass(frozen=True, slots=True)
class TerminalOptions:
    """What a run prints."""

    json: bool = option(
        False, "--json", section="terminal", help="print the summary as one JSON object on standard output"
    )
    timings: bool = option(False, "--timings", help="add the frame rate of each part alone to the summary")
    quiet: bool = option(False, "--quiet", common=True, help="print errors and warnings only")
