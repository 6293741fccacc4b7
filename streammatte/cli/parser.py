"""From what was typed to options. A mistake is answered with the line to type instead."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from streammatte.cli import help
from streammatte.cli.command import Command
from streammatte.media.addresses import without_secrets
from streammatte.options.field import Option, build, options_of
from streammatte.refusals import command_line

T = TypeVar("T")

_HABITS = {"-q": "--quiet", "-V": "--version", "-y": "--overwrite"}
"""Options of other programs, and ours."""


def parse(command: Command, arguments: Sequence[str]) -> dict[str, Any]:
    """The values of the options that were given, by name; see :func:`instance`.

    Prints help if that was asked for, or what is wrong, and leaves with ``SystemExit``.
    """
    before, after = _at_dashes(arguments)
    if {"-h", "--help", "--help-all"} & set(before):
        print(help.full(command) if "--help-all" in before else help.short(command), end="")
        raise SystemExit(0)
    if "--version" in before:
        from streammatte import __version__

        print(f"streammatte {__version__}")
        raise SystemExit(0)
    typed = _Typed(command, tuple(arguments))
    given, rest = typed.split(before)
    unknown = [word for word in rest if word.startswith("-") and word != "-"]
    if unknown:
        typed.unknown(unknown[0])
    typed.place(given, [*rest, *after])
    return {name: typed.value(command.options[name], values) for name, values in given.items()}


def instance(cls: type[T], given: Mapping[str, Any]) -> T:
    """That part of what :func:`parse` gave which is for this class."""
    return build(cls, {name: given[name] for name in options_of(cls) if name in given})


def refuse(command: Command, message: str, hint: str) -> NoReturn:
    """Print what is wrong and what to type, in two lines, and leave with 2."""
    print(f"{command.prog}: error: {message}\n  hint: {hint}", file=sys.stderr)
    raise SystemExit(2)


@dataclass(frozen=True, slots=True)
class _Typed:
    """A command line, and the lines that could be meant by it."""

    command: Command
    arguments: tuple[str, ...]

    def split(self, arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        """What follows each option, by the option's name, and the words that follow none."""
        splitter = argparse.ArgumentParser(
            add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS, exit_on_error=False
        )
        for name, option in self.command.options.items():
            if option.flags:
                splitter.add_argument(*option.flags, dest=name, action="store_true" if option.switch else "append")
        splitter.add_argument("--debug", action="store_true")
        try:
            given, rest = splitter.parse_known_args(arguments)
        except argparse.ArgumentError as exc:
            self._no_value((exc.argument_name or "").split("/")[0])
        return {name: value for name, value in vars(given).items() if name != "debug"}, rest

    def unknown(self, word: str) -> NoReturn:
        flag, equals, value = word.partition("=")
        flags = [flag for option in self.command.options.values() for flag in option.flags]
        near = difflib.get_close_matches(_HABITS.get(flag, flag), [*flags, "--version"], n=1, cutoff=0.7)
        hint = f"{self.command.prog} --help-all lists the options; a name that begins with a dash is written ./{word}"
        if near:
            hint = self._with({word: near[0] + equals + value})
        elif flag == "-i" and self.command.places:  # as FFmpeg has it
            hint = self._line([each for each in self.arguments if each != word])
        self.refuse(f"unknown option {flag}" + (f"; did you mean {near[0]}?" if near else ""), hint)

    def place(self, given: dict[str, Any], words: Sequence[str]) -> None:
        """Add the positional options."""
        if self.command.many:
            words, last = words[: (count := len(self.command.places) - 1)], words[count:]
            if last:
                given[self.command.places[-1]] = last
        elif len(words) > len(self.command.places):
            extra = words[len(self.command.places)]
            hint = self._usual() + ("; a name with spaces is written in quotes" if self.command.places else "")
            name = self.command.prog.partition(" ")[2]
            if not name and all(map(os.path.exists, words)):  # the main command, with several inputs
                hint = command_line("streammatte batch", [*self.arguments, "--to", "cutouts"])
            if name and Path(name).is_file():  # a file that is called like this command
                hint = command_line("streammatte", [f"./{name}", *self.arguments])
            elif (likely := self.command.likely) and likely not in given:
                place = self.arguments.index(extra)
                flag = self.command.options[likely].shown
                hint = self._line([*self.arguments[:place], flag, *self.arguments[place:]])
            self.refuse(f"unexpected argument {without_secrets(extra)!r}", hint)
        for name, word in zip(self.command.places, words, strict=False):
            given[name] = [word, *given.get(name, ())]
        for name, option in self.command.options.items():
            if option.required and name not in given:
                self.refuse(f"no {option.metavar} given", self._usual())

    def value(self, option: Option, given: Any) -> Any:
        if option.switch:
            return True
        if option.repeat == "refuse" and len(given) > 1:
            self.refuse(f"{option.shown} may be given only once", self._without(option))
        given = [
            str(Path(each).expanduser()) if each.startswith("~/") else each for each in given
        ]  # --output=~/out.mov
        for each in given:
            try:
                option.value((each,) if option.repeat == "join" else each)
            except ValueError as exc:
                near = difflib.get_close_matches(each, map(str, option.choices), n=1)
                right = near[0] if near else option.example
                meant = {each: right} | {f"{flag}={each}": f"{flag}={right}" for flag in option.flags}
                self.refuse(f"{option.shown}: {exc}", self._with(meant))
        return option.value(given if option.repeat == "join" else given[0])

    def refuse(self, message: str, hint: str) -> NoReturn:
        refuse(self.command, message, hint)

    def _no_value(self, flag: str) -> NoReturn:
        option = next((each for each in self.command.options.values() if flag in each.flags), None)
        if option is None or option.switch:
            typed = {word: flag for word in self.arguments if word.startswith(f"{flag}=")}
            self.refuse(f"{flag} takes no value", self._with(typed))
        place = max(place for place, word in enumerate(self.arguments) if word in option.flags)
        after, note = self.arguments[place + 1 :], ""
        if after and not any(after[0].partition("=")[0] in each.flags for each in self.command.options.values()):
            note, after = f"; a name that begins with a dash is written ./{after[0]}", after[1:]
        hint = self._line([*self.arguments[: place + 1], option.example, *after])
        self.refuse(f"{self.arguments[place]} needs a value", hint + note)

    def _usual(self) -> str:
        return self.command.examples[0][0] if self.command.examples else self.command.prog

    def _with(self, meant: Mapping[str, str]) -> str:
        return self._line([meant.get(word, word) for word in self.arguments])

    def _without(self, option: Option) -> str:
        """Only the last time that an option was given."""
        words, given = list(self.arguments), []
        for place, word in enumerate(words):
            if word in option.flags:
                given.append((place, 2))
            elif any(word.startswith(f"{flag}=") for flag in option.flags):
                given.append((place, 1))
        for place, length in reversed(given[:-1]):
            del words[place : place + length]
        return self._line(words)

    def _line(self, words: Sequence[str]) -> str:
        return command_line(self.command.prog, words)


def _at_dashes(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is before ``--``, and what is after it: names, even if they begin with a dash."""
    if "--" not in arguments:
        return list(arguments), []
    place = list(arguments).index("--")
    return list(arguments[:place]), list(arguments[place + 1 :])
