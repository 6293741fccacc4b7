"""Prompts as they are typed or written in a file: who is meant, and where that is said."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from streammatte.errors import InputError
from streammatte.options.values import box

ALL = "all"
"""The prompt that names nobody: whatever stands out, as without prompts."""

VERSION = 1
"""Of the file format, which ``docs/subjects.md`` describes."""

KINDS = ("point", "not-point", "box", "mask")
_TYPED = re.compile(r"(?:(?P<name>[^:]*):\s*)?(?P<kind>not-point|point|box|mask)\s+(?P<rest>.+)", re.DOTALL)
_PLAIN = re.compile(r"[-\d\s,.]*")
_TIMED = re.compile(r"(?P<what>.*?)(?:\s*@\s*(?P<time>[\d.:;s]+))?\s*", re.DOTALL)
_EXPECTED = 'expected "[NAME:]KIND PLACE [@TIME]" such as "point 640,200 @12" or "anna: box 100,50,400,700"'
_UNFIT = re.compile(
    r'[\x00-\x1f/\\<>:"|?*#%\ud800-\udfff]'
)  # in a file's name, on some system or as the place of a number
_LONGEST = 60  # characters of a subject's name


@dataclass(frozen=True, slots=True)
class Prompted:
    """One prompt, its time not yet a frame and its mask not yet read.

    Attributes:
        subject: Its name; empty if it has none.
        kind: One of ``KINDS``.
        at: (x, y) of a point; left, top, right, bottom of a box, the last two just outside; empty for a mask.
        mask: The picture's path; empty for others.
        time: A frame number, time or timecode; ``None``: the first frame that is taken.
        given: The value itself, if it came from Python: ``subject.contracts.Prompt``.
    """

    subject: str
    kind: str
    at: tuple[float, ...] = ()
    mask: str = ""
    time: str | None = None
    given: Any = None

    def __str__(self) -> str:
        name = f"{self.subject}: " if self.subject else ""
        place = self.mask or ",".join(f"{each:g}" for each in self.at)
        return f"{name}{self.kind} {place}{'' if self.time is None else f' @{self.time}'}"


def prompt(given: object) -> Prompted | str:
    """What is typed, or a ``subject.contracts.Prompt`` from Python; ``all`` stays.

    Raises:
        ValueError: It is not a prompt.
    """
    if isinstance(given, Prompted):
        return given
    if not isinstance(given, str):
        return _of_value(given)
    if given.strip() == ALL:
        return ALL
    found = _TYPED.fullmatch(given.strip())
    if found is None:
        raise ValueError(f"{_EXPECTED}, got {given!r}")
    timed = _TIMED.fullmatch(found["rest"])
    assert timed is not None  # it matches anything
    what, time = timed["what"].strip(), timed["time"]
    if found["name"] is not None and not found["name"].strip():
        raise ValueError(f"the name before the colon is empty, got {given!r}")
    name = checked_name((found["name"] or "").strip())
    if found["kind"] == "mask":
        if "\0" in what:
            raise ValueError(f"expected the path of a picture, got {what!r}")
        return Prompted(name, "mask", mask=what, time=time)
    try:
        numbers = tuple(float(part) for part in what.split(","))
    except ValueError:
        raise ValueError(f"{_EXPECTED}, got {given!r}") from None
    return Prompted(name, found["kind"], checked_place(found["kind"], numbers, given), time=time)


def transparent(given: object) -> tuple[int, int, int, int] | Prompted:
    """Where something transparent is: a plain box in the first frame, or a prompt.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(given, Sequence) and (not isinstance(given, str) or _PLAIN.fullmatch(given)):
        return box(given)
    if isinstance(asked := prompt(given), Prompted):
        return asked
    raise ValueError(f"expected a box as left,top,right,bottom, or a prompt, got {given!r}")


def checked_name(name: object) -> str:
    """A subject's name, which becomes part of file names."""
    if not isinstance(name, str):
        raise ValueError(f"expected a name as subject, got {name!r}")
    if len(name) > _LONGEST or _UNFIT.search(name) or name.endswith(".") or name.startswith("."):
        raise ValueError(f"the name {name!r} cannot be part of a file name")
    if name.lower() == ALL:
        raise ValueError(f"{name!r} cannot be a name: --subject all means whatever stands out")
    return name


def checked_place(kind: str, numbers: tuple[Any, ...], given: object) -> tuple[float, ...]:
    """The numbers of a point or box."""
    if any(isinstance(number, bool) or not isinstance(number, Real) for number in numbers):
        raise ValueError(f"expected a list of numbers, got {given!r}")
    if kind == "box":
        if len(numbers) != 4:
            raise ValueError(f"expected a box as left,top,right,bottom such as 320,80,480,300, got {given!r}")
        if not (numbers[0] < numbers[2] and numbers[1] < numbers[3]):
            raise ValueError(f"right must be greater than left, and bottom greater than top, got {given!r}")
    elif len(numbers) != 2:
        raise ValueError(f"expected a point as x,y such as 640,200, got {given!r}")
    if not all(abs(number) < 1e6 for number in numbers):  # NaN, too
        raise ValueError(f"expected pixels, got {given!r}")
    return tuple(map(float, numbers))


def prompts_in(path: str) -> list[Prompted]:
    """The prompts in a file.

    Raises:
        InputError: It cannot be read, is not JSON, or has other contents than ``docs/subjects.md`` describes.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise InputError(f"cannot read {path}: {reason.lower()}", hint="give a JSON file of prompts") from exc
    try:
        return _of_file(json.loads(text, object_pairs_hook=_once), Path(path).parent)
    except json.JSONDecodeError as exc:
        where = f"line {exc.lineno}, column {exc.colno}"
        raise InputError(f"{path} is not JSON: {exc.msg.lower()} at {where}", hint="correct the file there") from exc
    except (ValueError, RecursionError) as exc:
        raise InputError(f"{path}: {exc}", hint="docs/subjects.md describes the file") from exc


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different."""
    known = dict(pairs)
    for key in known:
        if sum(key == each for each, _ in pairs) > 1:
            raise ValueError(f"the key {key!r} is there twice in one object")
    return known


def _of_file(said: object, folder: Path) -> list[Prompted]:
    if not isinstance(said, dict):
        raise ValueError('expected {"version": 1, "prompts": […]}')
    _known(said, ("version", "prompts"), "")
    if said.get("version") != VERSION or isinstance(said["version"], bool):
        raise ValueError(f'expected "version": {VERSION}, got {said.get("version")!r}')
    several = said.get("prompts")
    if not isinstance(several, list) or not several:
        raise ValueError('"prompts" must be a list of at least one prompt')
    return [_of_entry(each, f"prompts[{place}]", folder) for place, each in enumerate(several)]


def _of_entry(said: object, where: str, folder: Path) -> Prompted:
    """One prompt of a file; errors say where."""
    if not isinstance(said, dict):
        raise ValueError(f"{where}: expected an object, got {said!r}")
    _known(said, ("subject", "time", *KINDS), f"{where}: ")
    kinds = [kind for kind in KINDS if kind in said]
    if len(kinds) != 1:
        raise ValueError(f"{where}: expected exactly one of {', '.join(KINDS)}, got {' and '.join(kinds) or 'none'}")
    (kind,) = kinds
    value, name, time = said[kind], said.get("subject", ""), said.get("time")
    if not isinstance(name, str) or ("subject" in said and not name.strip()):
        raise ValueError(f"{where}: expected a name as subject, got {name!r}")
    if isinstance(time, bool) or not isinstance(time, int | str | None):
        raise ValueError(f"{where}: expected a frame number, a time or timecode, got {time!r}")
    timed = None if time is None else str(time)
    try:
        name = checked_name(name.strip())
        if kind == "mask":
            if not isinstance(value, str) or not value or "\0" in value:
                raise ValueError(f"expected the path of a picture, got {value!r}")
            return Prompted(name, kind, mask=str(folder / value), time=timed)
        if not isinstance(value, list):
            raise ValueError(f"expected a list of numbers, got {value!r}")
        return Prompted(name, kind, checked_place(kind, tuple(value), value), time=timed)
    except ValueError as exc:
        raise ValueError(f"{where}: {exc}") from exc


def _known(said: dict[str, object], known: tuple[str, ...], where: str) -> None:
    for key in said:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise ValueError(f"{where}unknown key {key!r}; {meant}")


def _of_value(given: Any) -> Prompted:
    """From Python: any value with the attributes of ``subject.contracts.Prompt``."""
    try:
        subject, kind, at, mask, index = given.subject, given.kind, tuple(given.at), given.mask, given.index
    except (AttributeError, TypeError):
        raise ValueError(f"{_EXPECTED}, or a Prompt, got {given!r}") from None
    if kind not in KINDS:
        raise ValueError(f"expected one of {', '.join(KINDS)}, got {kind!r}")
    if isinstance(index, bool) or not isinstance(index, Integral):
        raise ValueError(f"expected a frame number as index, got {index!r}")
    if kind == "mask" and getattr(mask, "ndim", 0) != 2:
        raise ValueError("a mask must be an array of height and width")
    place = () if kind == "mask" else checked_place(kind, at, given)
    return Prompted(checked_name(subject), kind, place, mask="mask" if kind == "mask" else "", time=None, given=given)
