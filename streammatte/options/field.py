"""An option is a dataclass field: its name, default, type, flags and help are written there and nowhere else."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from fractions import Fraction
from numbers import Real
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from streammatte.errors import InputError
from streammatte.options.values import box, one_of, rate, size, whole, written

T = TypeVar("T")

_KINDS: dict[Any, tuple[Callable[[Any], Any], str]] = {
    int: (whole(0), "1"),
    float: (float, "1"),
    Fraction: (rate, "25"),
    tuple[int, int]: (size, "1024x1024"),
    tuple[int, int, int, int]: (box, "320,80,480,300"),
}
"""How a field's type is read, and an example."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option, as its field has it.

    Attributes:
        flags: As typed; the first is the one that is shown. A positional option has none.
        choices: Its only values, if they can be listed.
        parse: Turns what is typed, or given in Python, into the value.
        example: A value that shows how it is written.
        repeat: Whether it is refused when given twice, or its values are joined.
        common: ``--help`` shows it.
        section: A heading before it, where the options of a class are not nested in groups.
    """

    name: str
    default: Any
    flags: tuple[str, ...]
    help: str
    metavar: str
    choices: tuple[Any, ...]
    parse: Callable[[Any], Any]
    example: str
    repeat: Literal["refuse", "join"]
    common: bool
    section: str

    @property
    def switch(self) -> bool:
        """It takes no value."""
        return self.default is False

    @property
    def required(self) -> bool:
        return self.default is MISSING

    @property
    def shown(self) -> str:
        """What the user calls it."""
        return self.flags[0] if self.flags else self.metavar

    def value(self, given: Any) -> Any:
        """The value of what was typed or given.

        Raises:
            ValueError: It cannot have that value.
        """
        if given is None and not self.required:
            return self.default
        if self.switch:
            return bool(given)
        if self.repeat == "join":
            several = given.items() if isinstance(given, Mapping) else given
            if isinstance(given, str | os.PathLike) or _are_numbers(given):  # a single one, such as a box
                several = (given,)
            return tuple(self._one(each) for each in several)
        return self._one(given)

    def _one(self, given: Any) -> Any:
        return self.parse(os.fspath(given) if isinstance(given, os.PathLike) else given)


@dataclass(frozen=True, slots=True)
class Group:
    """Options under one heading, with a line on what the words mean."""

    title: str
    about: str
    options: tuple[Option, ...]


def option(
    default: Any,
    typed: str,
    *,
    help: str,
    parse: Callable[[Any], Any] | None = None,
    example: str = "",
    common: bool = False,
    section: str = "",
) -> Any:
    """A dataclass field that is an option; ``default`` may be ``MISSING``.

    Args:
        typed: Its flags and what follows them: ``-o, --output OUTPUT``; a positional option has no flags.
        parse: By default, it follows from the field's type. See :class:`Option` for the others.
    """
    *flags, last = typed.split(", ")
    if last.startswith("-"):
        last, _, metavar = last.partition(" ")
        flags.append(last)
    else:
        metavar = last
    about = {"flags": tuple(flags), "help": help, "metavar": metavar, "parse": parse, "example": example}
    return dataclasses.field(default=default, metadata={**about, "common": common, "section": section})


def like(other: type, name: str, **changes: Any) -> Any:
    """The field that another class has under that name, with changes; it is not common unless one of them says so."""
    field = other.__dataclass_fields__[name]  # type: ignore[attr-defined]
    metadata = {**field.metadata, "common": False, **changes}
    return dataclasses.field(default=metadata.pop("default", field.default), metadata=metadata)


def without(cls: type, *names: str) -> type:
    """The same options but these, nested ones too; all that are left have defaults."""
    hints, fields = get_type_hints(cls), []
    for field in dataclasses.fields(cls):
        if "title" in field.metadata:
            nested = without(hints[field.name], *names)
            if not dataclasses.fields(nested):
                continue
            made = dataclasses.field(default_factory=nested, metadata=field.metadata)
            fields.append((field.name, nested, made))
        elif field.name not in names:
            copied = dataclasses.field(default=field.default, metadata=field.metadata)
            fields.append((field.name, hints[field.name], copied))
    return dataclasses.make_dataclass(cls.__name__, fields, frozen=True, slots=True)


def group(title: str, about: str, make: Callable[[], Any] | None = None) -> Any:
    """A dataclass field that nests options; without ``make``, it has to be given."""
    metadata = {"title": title, "about": about}
    if make is None:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default_factory=make, metadata=metadata)


def groups_of(cls: type) -> Iterator[Group]:
    """The options of a class: nested groups, or its own under their sections."""
    hints = get_type_hints(cls)
    options: list[Option] = []
    title = ""
    for field in dataclasses.fields(cls):
        if "title" in field.metadata:
            nested = (each for part in groups_of(hints[field.name]) for each in part.options)
            yield Group(field.metadata["title"], field.metadata["about"], tuple(nested))
        elif "flags" in field.metadata:
            if field.metadata["section"] and options:
                yield Group(title, "", tuple(options))
                options = []
            title = field.metadata["section"] or title
            options.append(_option(field, hints[field.name]))
    if options:
        yield Group(title, "", tuple(options))


def options_of(cls: type) -> dict[str, Option]:
    """All options of a class, nested ones too, by name."""
    return {option.name: option for part in groups_of(cls) for option in part.options}


def build(cls: type[T], given: Mapping[str, Any]) -> T:
    """An instance from values by the options' names, nested ones among them.

    Raises:
        InputError: An option cannot have that value.
        TypeError: There is no such option, or one is missing.
    """
    known = options_of(cls)
    flags = {flag.lstrip("-").replace("-", "_"): name for name, option in known.items() for flag in option.flags}
    for name in given.keys() - known.keys():
        near = [flags[name]] if name in flags else difflib.get_close_matches(name, known, n=1)
        raise TypeError(f"unknown option {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    values = {}
    for name, value in given.items():
        try:
            values[name] = known[name].value(value)
        except ValueError as exc:
            raise InputError(f"{name}: {exc}", usage=True) from exc
    hints = get_type_hints(cls)
    filled: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if "title" in field.metadata:
            nested = hints[field.name]
            filled[field.name] = nested(**{name: values[name] for name in options_of(nested) if name in values})
        elif field.name in values:
            filled[field.name] = values[field.name]
    return cls(**filled)


def _option(field: dataclasses.Field[Any], hint: Any) -> Option:
    about = dict(field.metadata)
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)  # the others are None
    choices = get_args(kinds[0]) if get_origin(kinds[0]) is Literal else ()
    parse, example = _KINDS.get(kinds[0], (str, ""))
    parse = about["parse"] or (one_of(choices) if choices else parse)
    about["metavar"] = about["metavar"] or ("PATH" if parse is str else "N")
    usual = example or about["metavar"] if field.default in (MISSING, None, ()) else field.default
    return Option(
        name=field.name,
        default=field.default,
        choices=choices,
        repeat="join" if get_args(hint)[-1:] == (...,) else "refuse",
        **about
        | {
            "parse": parse,
            "example": about["example"] or written((*choices, usual)[0]),
            "help": about["help"] + _stated(field.default, about["help"]),
        },
    )


def _are_numbers(given: Any) -> bool:
    return isinstance(given, Sequence) and bool(given) and all(isinstance(each, Real) for each in given)


def _stated(default: Any, help: str) -> str:
    """The default, for a help that does not state it itself."""
    if default is False or default in (MISSING, None, ()) or "(default: " in help:
        return ""
    return f" (default: {written(default)})"
