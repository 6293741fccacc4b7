"""What INPUTS… stand for: files, folders, globs and lists, one :class:`Item` for each clip or picture."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streammatte.errors import InputError, SourceNotFound
from streammatte.media.addresses import PIPE, without_secrets
from streammatte.media.read.numbered import PICTURES, NumberedName
from streammatte.media.remote import Remote, address_of, is_remote, place_of

LISTS = (".csv", ".json")

_CLIPS = "mp4 mov m4v mkv webm avi mxf mts m2ts ts mpg mpeg m2v wmv asf flv f4v ogv 3gp 3g2 dv y4m nut mjpeg vob gxf"
_STILLS = "apng tga jp2 psd ppm"
FOOTAGE = frozenset({*PICTURES, *(f".{ending}" for ending in f"{_CLIPS} {_STILLS}".split())})
"""Endings of what is taken from a folder; there may be notes and project files beside it."""

# As renderers number: shot.0001.exr, or 0001.png. A camera's IMG_0001.jpg is a photograph by itself.
_RENDERED = re.compile(r"(?P<before>(?:.*\.)?)(?P<digits>\d{3,})")


@dataclass(frozen=True, slots=True)
class Item:
    """One input.

    Attributes:
        output: Its output's name, if a list states it.
        given: Its own options, by name, if a list states any.
        place: Where it is in a list, for errors; empty otherwise.
    """

    input: str
    output: str | None = None
    given: dict[str, Any] = field(default_factory=dict)
    place: str = ""


def items_of(words: Sequence[str], listed: str | None, ours: Iterable[str]) -> list[Item]:
    """Every input, in the order given, once.

    Args:
        words: Files, addresses, numbered names, folders, globs and lists.
        listed: One more list, whatever its name ends in.
        ours: Outputs of earlier runs, which a folder or a glob does not mean.

    Raises:
        InputError: A list is broken, or there are no inputs.
    """
    from streammatte.batch.lists import read_list

    if listed is not None and "://" in listed and not is_remote(listed):
        raise InputError(f"cannot read a list at {without_secrets(listed)}", hint="download it, and name the file")
    written = {path if is_remote(path) else os.path.realpath(path) for path in ours}
    items: list[Item] = []
    for word in [*words, *([] if listed is None else [listed])]:
        if word is listed or _is_list(word):
            items += read_list(place_of(word))
        else:
            items += [Item(found) for found in _found(word, written)]
    if not items:
        raise InputError("no inputs given", hint="name clips, pictures, a folder, or a list: .csv or .json")
    return list(_sequences(_once(items)))


def _is_list(word: str) -> bool:
    """Whether its name is a list's. A file of this machine has to exist; at an address, reading it will tell."""
    place = place_of(word)
    there = isinstance(place, Remote) or os.path.isfile(place)  # noqa: PTH113 - Path raises on names too long
    return there and place.suffix.lower() in LISTS


def _found(word: str, written: set[str]) -> list[str]:
    """The files that a word means."""
    if word == PIPE:
        raise InputError("a batch cannot read a pipe", hint="name files, or a folder")
    if is_remote(word):
        return [each for each in _found_at(Remote(word)) if each not in written]
    word = word.removeprefix("file://")
    if "://" in word:
        return [word]
    if os.path.isdir(word):  # noqa: PTH112 - Path raises on names too long
        try:
            with os.scandir(word) as entries:
                paths = sorted(entry.path for entry in entries if not entry.name.startswith("."))
        except OSError as exc:
            raise SourceNotFound(f"cannot read the folder {word}: {(exc.strerror or str(exc)).lower()}") from exc
        paths = [path for path in paths if os.path.isfile(path)]  # noqa: PTH113 - of a loop of links, an entry raises
        found = [path for path in paths if Path(path).suffix.lower() in FOOTAGE]
        nothing = SourceNotFound(f"no clips or pictures in the folder {word}", hint="sub-folders: 'folder/**/*.mov'")
    elif glob.has_magic(word) and not os.path.lexists(word):
        paths = sorted(glob.glob(word, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        found = [path for path in paths if Path(path).is_file()]
        nothing = SourceNotFound(f"nothing matches {word}", hint="check the folder and the pattern")
    else:
        return [word]
    if not found:
        raise nothing
    return [path for path in found if os.path.realpath(path) not in written]


def _found_at(place: Remote) -> list[str]:
    """The files that an address means."""
    if glob.has_magic(without_secrets(place.url)):
        found = [each.url for each in place.glob()] or ([place.url] if place.exists() else [])
        if not found:
            raise SourceNotFound(f"nothing matches {place}", hint="check the folder and the pattern")
        return found
    if place.suffix.lower() in FOOTAGE:
        return [place.url]
    names = sorted(name for name in place.infos() if not name.startswith("."))
    found = [(place / name).url for name in names if Path(name).suffix.lower() in FOOTAGE]
    if not found and not place.url.endswith("/") and place.exists() and place.info()["type"] == "file":
        return [place.url]
    if not found:
        raise SourceNotFound(f"no clips or pictures in {place}", hint="sub-folders: 'folder/**/*.mov'")
    return found


def _once(items: Iterable[Item]) -> list[Item]:
    """Without what was meant twice; entries of a list may repeat an input, with other options."""
    seen: set[str] = set()
    kept = []
    for item in items:
        name = item.input if "://" in item.input else os.path.realpath(item.input)
        if item.place or name not in seen:
            kept.append(item)
        seen.add(name)
    return kept


def _sequences(items: Sequence[Item]) -> Iterator[Item]:
    """Numbered pictures as one item, where all of a sequence are meant."""
    groups: dict[tuple[Path | Remote, str, str], dict[str, str]] = {}
    for item in items:
        if not item.place and (key := _numbering(item.input)) is not None:
            groups.setdefault(key[:3], {})[key[3]] = item.input
    names: dict[str, str | None] = {}
    for (folder, before, suffix), files in groups.items():
        pattern = NumberedName(folder, before, suffix, min(map(len, files)))
        if len(files) > 1 and {path.name for path in pattern.files()[0].values()} == {
            Path(p).name for p in files.values()
        }:
            first, *others = files.values()
            numbered = place_of(str(pattern)).name  # without secrets, the whole would not be found
            names |= {first: address_of(folder / numbered), **dict.fromkeys(others)}
    for item in items:
        name = names.get(item.input, item.input) if not item.place else item.input
        if name is not None:
            yield item if name == item.input else Item(name)


def _numbering(name: str) -> tuple[Path | Remote, str, str, str] | None:
    """Folder, what is before the number, what is after it, and the number, of a rendered frame's name."""
    path = place_of(name)
    match = _RENDERED.fullmatch(path.stem) if path.suffix.lower() in PICTURES else None
    return None if match is None else (path.parent, match["before"], path.suffix, match["digits"])
