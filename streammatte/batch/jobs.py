"""From inputs to jobs: the options of each run, and its outputs' names, refused before any work if two are one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streammatte.batch.inputs import Item
from streammatte.batch.options import BatchOptions
from streammatte.errors import OutputError, StreammatteError
from streammatte.media.read.kinds import WITH_FRAMES, picture_kind
from streammatte.media.read.numbered import PICTURES, NumberedName
from streammatte.media.remote import address_of, is_remote, place_of
from streammatte.media.write.animation_formats import ANIMATED
from streammatte.media.write.delivery import name_of, named, targets_of
from streammatte.options import Options
from streammatte.refusals import check_whom, proposed, refusals
from streammatte.stages.despill import screen_of

_NUMBERED = (".png", ".tif", ".exr", ".jpg")  # a clip in these formats is numbered pictures
_ALSO = ("matte", "foreground", "deliver", "report")


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a batch.

    Attributes:
        picture: Whether the input is a single picture.
        outputs: Every file that it writes, a delivery's note apart.
    """

    options: Options
    picture: bool
    outputs: tuple[str, ...]

    @property
    def input(self) -> str:
        return self.options.reading.input

    def reads(self) -> Iterator[tuple[str, str]]:
        """The files that decide the result, the weights apart, each with what it is for."""
        from streammatte.media.background import parse_color
        from streammatte.media.read.guide import guide_path

        yield "input", self.input
        for kind, specs in self.options.guides().items():
            for number, spec in enumerate(specs, 1):
                yield f"{kind} {number}", guide_path(spec)
        over = self.options.writing.background
        if over is not None and parse_color(over) is None and (is_remote(over) or os.path.lexists(over)):
            yield "background", over


def jobs_of(asked: BatchOptions, given: Mapping[str, Any], items: Sequence[Item]) -> list[Job]:
    """A job for each item, in order.

    Args:
        given: Options of all runs, by name; an item's own come first.

    Raises:
        InputError, OutputError: Options or names cannot be what they are, or two jobs would write one file.
    """
    jobs = [_job(asked, given, item, number) for number, item in enumerate(items, 1)]
    _check_apart(jobs)
    return jobs


def _job(asked: BatchOptions, given: Mapping[str, Any], item: Item, number: int) -> Job:
    picture = _is_picture(item.input)
    words = {
        "stem": name_of(item.input),
        "suffix": _suffix(item.input, asked.suffix, picture=picture),
        "name": Path(item.input).name.replace("#", ""),
        "folder": Path(item.input).absolute().parent.name,
        "number": f"{number:04}",
    }
    values = {**given, **item.given}
    also = {name: _named(asked, name, values[name], words) for name in _ALSO if values.get(name)}
    output = _named(asked, "name", item.output or asked.name, words) if item.output or asked.name else ()
    try:
        options = Options.of(item.input, output, **{**values, **also})
        for refusal in refusals(options):
            raise refusal
        check_whom(options)
        if options.edges.despill is not None:
            screen_of(options.edges.despill)
    except StreammatteError as exc:
        if item.place:
            raise type(exc)(f"{item.place}: {exc}", hint=exc.hint) from exc
        raise
    outputs = [each.path for each in targets_of(options)]
    if options.reporting.report is not None:
        outputs += [named(options.reporting.report, subject) for subject in options.whom.written_apart()]
    return Job(options, picture, tuple(outputs))


def _named(asked: BatchOptions, option: str, template: str, words: Mapping[str, str]) -> str:
    """A name in the folder."""
    try:
        name = template.format_map(words)
    except (KeyError, ValueError, IndexError, AttributeError) as exc:
        raise OutputError(
            f"--{option}: {template!r} is not a name with {', '.join(f'{{{word}}}' for word in words)}",
            hint=f"--{option} '{{stem}}_cut{{suffix}}'",
        ) from exc
    if "://" in name or Path(name).is_absolute():  # a list may send one elsewhere
        return name
    return address_of(place_of(asked.to) / name)


def _suffix(source: str, asked: str | None, *, picture: bool) -> str:
    """What an output's name ends in, the place of a frame's number included."""
    suffix = Path(proposed(place_of(source).name if is_remote(source) else source)).suffix
    if picture and suffix not in PICTURES:
        suffix = ".png"
    if asked is not None and (not picture or f".{asked}" in PICTURES):
        suffix = f".{asked}"
    if picture or suffix not in _NUMBERED:
        return suffix
    numbered = NumberedName.parse(source)
    return f".{'#' * (numbered.digits if numbered and numbered.digits > 1 else 4)}{suffix}"


def _is_picture(source: str) -> bool:
    """Whether it is a single picture, by its content or, if that is damaged, its name."""
    if NumberedName.parse(source) is not None:
        return False
    if is_remote(source):  # by its name: it is not opened for that
        return place_of(source).suffix.lower() in set(PICTURES) - set(ANIMATED)
    if "://" in source:
        return False
    kind = picture_kind(source)
    if kind not in WITH_FRAMES:
        return kind is not None or Path(source).suffix.lower() in PICTURES
    from streammatte.media.read.animation import is_animated

    try:
        return not is_animated(Path(source), kind)
    except StreammatteError:  # its job says what is wrong
        return True


def _check_apart(jobs: Sequence[Job]) -> None:
    """Refuse two jobs that would write one file, and an output that is an input of any job."""
    writers: dict[str, Job] = {}
    for job in jobs:
        for output in job.outputs:
            other = writers.setdefault(os.path.realpath(output), job)
            if other is not job:
                raise OutputError(f"{other.input} and {job.input} would both write {output}", hint=_apart(other, job))
    for job in jobs:
        for what, path in job.reads():
            if (writer := writers.get(os.path.realpath(path))) is not None:
                kind = "an input" if what == "input" else "a file that is read"
                raise OutputError(
                    f"the output of {writer.input} would overwrite {path}, {kind}",
                    hint="choose another folder with --to, or --name '{stem}_cut{suffix}'",
                )


def _apart(one: Job, other: Job) -> str:
    """A template under which two inputs have names of their own."""
    first, second = Path(one.input), Path(other.input)
    if first.name != second.name:
        return "--name '{name}{suffix}'"
    if first.absolute().parent.name != second.absolute().parent.name:
        return "--name '{folder}_{stem}{suffix}'"
    return "--name '{number}_{stem}{suffix}'"
