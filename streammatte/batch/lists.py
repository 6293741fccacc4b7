"""Lists of inputs with options of their own, as CSV or JSON."""

from __future__ import annotations

import csv
import difflib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streammatte.batch.inputs import Item
from streammatte.batch.options import BatchedOptions
from streammatte.errors import InputError, SourceNotFound
from streammatte.media.read.numbered import NumberedName
from streammatte.media.remote import Remote, address_of, open_remote
from streammatte.options.field import Option, options_of

_FILES = {"background", "weights", "sdmatte", "core_mattes", "garbage_mattes", "holdout_mattes", "transparent_masks"}
"""Options whose values may be files."""


def read_list(path: Path | Remote) -> list[Item]:
    """The entries of a list: ``input``, ``output``, and any option by its flag without the dashes.

    Relative names of inputs and other files start at the list's folder.

    Raises:
        SourceNotFound: There is no such list, or its store does not answer.
        InputError: It is broken; the message has the line and, where there is one, the column.
    """
    try:
        text = _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InputError(f"the list {path} is not UTF-8", hint="save it as UTF-8") from exc
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise SourceNotFound(f"cannot read the list {path}: {reason}", hint="check its name") from exc
    # JSON is recognised by its beginning: `--list` takes a file of any name.
    columns = text.lstrip()[:1] not in ("[", "{")
    entries = _csv(path, text) if columns else _json(path, text)
    items = [_item(entry, place, path.parent, columns=columns) for place, entry in entries]
    if not items:
        raise InputError(f"{path} lists nothing", hint="write one line for each input under a line with the names")
    return items


def _bytes(path: Path | Remote) -> bytes:
    if isinstance(path, Path):
        return path.read_bytes()
    with open_remote(path) as file:
        return bytes(file.read())


def _json(path: Path | Remote, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as exc:
        raise InputError(f"{path}, line {exc.lineno}, column {exc.colno}: {exc.msg}", hint="it is not JSON") from exc
    if not isinstance(entries, list):
        raise InputError(f"{path} is not a list", hint='write [{"input": "clip.mp4", "smooth": "high"}, …]')
    for number, entry in enumerate(entries, 1):
        entry = {"input": entry} if isinstance(entry, str) else entry
        if not isinstance(entry, dict):
            raise InputError(f"{path}, entry {number} is neither a name nor an object", hint='{"input": "clip.mp4"}')
        yield f"{path}, entry {number}", entry


def _csv(path: Path | Remote, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    head = text.partition("\n")[0]
    rows = csv.reader(
        text.splitlines(keepends=True), delimiter=";" if head.count(";") > head.count(",") else ",", strict=True
    )
    names: list[str] = []
    line = 1
    try:
        for cells in rows:
            place, line = f"{path}, line {line}", rows.line_num + 1
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not names:
                names = cells
                continue
            if len(cells) > len(names):
                extra = cells[len(names)]
                raise InputError(
                    f"{place}, column {len(names) + 1}: {extra!r} has no name in the first line",
                    hint="put quotes around what contains a comma",
                )
            yield place, dict(zip(names, cells, strict=False))
    except csv.Error as exc:
        raise InputError(f"{path}, line {line}: {exc}", hint="close every quote that is opened") from exc


def _item(entry: dict[str, Any], place: str, folder: Path | Remote, *, columns: bool) -> Item:
    known = options_of(BatchedOptions)
    flags = {flag.lstrip("-"): option for option in known.values() for flag in option.flags}
    given: dict[str, Any] = {}
    own: dict[str, str | None] = {"input": None, "output": None}
    for column, (name, value) in enumerate(entry.items(), 1):
        where = f"{place}, column {column}" if columns else place
        if name in own and isinstance(value, str):
            own[name] = value or None
            continue
        option = flags.get(name)
        if option is None:
            near = difflib.get_close_matches(name, ["input", "output", *flags], n=1)
            hint = f"did you mean {near[0]}?" if near else "columns are input, output and options: smooth, bg, in, …"
            where = f"{place.rpartition(', line ')[0]}, first line, column {column}" if columns else place
            raise InputError(f"{where}: unknown option {name!r}", hint=hint)
        if value in ("", None):
            continue
        try:
            given[option.name] = _value(option, value, folder)
        except ValueError as exc:
            raise InputError(f"{where}: {name}: {exc}", hint=f"such as {option.example}") from exc
    if not own["input"]:
        raise InputError(f"{place}: no input", hint="the first line names the columns: input,output,smooth")
    return Item(_beside(folder, own["input"], always=True), own["output"], given, place)


def _value(option: Option, value: Any, folder: Path | Remote) -> Any:
    """What an entry says, as the option has it; a CSV's cell holds several values with ``;`` between them."""
    if option.switch:
        if str(value).lower() not in ("true", "yes", "on", "1", "false", "no", "off", "0"):
            raise ValueError(f"expected true or false, got {value!r}")
        return str(value).lower() in ("true", "yes", "on", "1")
    if option.repeat == "join" and isinstance(value, str):
        value = value.split(";")
    if option.name in _FILES:
        several = isinstance(value, list)
        value = [_beside(folder, each) for each in value] if several else _beside(folder, value)
    return option.value(value if isinstance(value, str | list | dict) else str(value))


def _beside(folder: Path | Remote, name: Any, *, always: bool = False) -> Any:
    """A relative file name from the list's folder on; what is not the name of a file there stays as it is."""
    before, name = ("invert:", name[7:]) if str(name).startswith("invert:") else ("", name)
    if not isinstance(name, str) or "://" in name or os.path.isabs(name):  # noqa: PTH117 - it stays as it is
        return before + name
    while isinstance(folder, Remote) and name.startswith("../") and folder.parent.name:
        folder, name = folder.parent, name[3:]
    path = folder / name
    named = (
        always
        or NumberedName.parse(address_of(path))
        or (path.exists() if isinstance(path, Remote) else os.path.lexists(path))
    )
    return before + (address_of(path) if named else name)
