"""Numbered pictures: their names, and reading them as a clip."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import torch

from streammatte.color.linear import LINEAR
from streammatte.errors import DecodeFailed, InputError, SourceNotFound
from streammatte.frame import Cutout, Frame, StreamInfo
from streammatte.media.read.file_source import FileSource
from streammatte.media.read.kinds import picture_kind
from streammatte.media.read.span import Marks
from streammatte.media.timecode import Timecode

if TYPE_CHECKING:
    from streammatte.media.read.exr import ExrPicture
    from streammatte.media.read.stills import StillPicture

_ENDINGS = "png jpg jpeg tif tiff bmp webp gif exr dpx heic heif avif"
PICTURES = tuple(f".{ending}" for ending in _ENDINGS.split())
DEFAULT_RATE = Fraction(24)

# One # alone is a place only where a number would stand, as in plate.#.png; "photo #2.png" is a picture's name.
_PLACEHOLDER = re.compile(r"##+|(?<=[._])#(?=\.)|%(?:0(\d+))?d(?![A-Za-z])")


@dataclass(frozen=True, slots=True)
class NumberedName:
    """A file name with a place for the frame number, ``plate.####.png`` or ``plate.%04d.png``.

    Attributes:
        folder: Where the files are.
        before, after: The name around the number.
        digits: How many digits the number is padded to.
    """

    folder: Path
    before: str
    after: str
    digits: int

    @classmethod
    def parse(cls, path: str | PathLike[str]) -> Self | None:
        """``None`` if the name is not a picture's, has no place for a number, or is that of a file."""
        path = Path(path)
        places = list(_PLACEHOLDER.finditer(path.name))
        if not places or path.suffix.lower() not in PICTURES or os.path.exists(path):  # noqa: PTH110 - see open_container
            return None
        place = places[-1]
        digits = int(place[1] or 1) if place[0].startswith("%") else len(place[0])
        return cls(path.parent, path.name[: place.start()], path.name[place.end() :], digits)

    def name(self, number: int) -> str:
        return f"{self.before}{number:0{self.digits}d}{self.after}"

    def path(self, number: int) -> Path:
        return self.folder / self.name(number)

    def numbers(self) -> list[int]:
        """The numbers of the files that are there, in order; empty also if there is no such folder.

        Raises:
            SourceNotFound: The folder cannot be read.
        """
        return sorted({int(digits) for digits in self.written() if self._pads(digits)})

    def files(self) -> tuple[dict[int, Path], list[str]]:
        """The files by their numbers, in order, and the names of those whose numbers are padded otherwise.

        Where nothing is padded, as of 998 to 1001, numbers of fewer digits belong to the rest.

        Raises:
            SourceNotFound: The folder cannot be read.
        """
        written = self.written()
        padded = any(digits.startswith("0") and digits != "0" for digits in written)
        fitting = {digits for digits in written if self._pads(digits) or (not padded and len(digits) < self.digits)}
        if not any(self._pads(digits) for digits in fitting):
            fitting.clear()
        strays = sorted(set(written) - fitting, key=lambda digits: (int(digits), digits))
        names = {int(digits): self.folder / f"{self.before}{digits}{self.after}" for digits in fitting}
        return dict(sorted(names.items())), [f"{self.before}{digits}{self.after}" for digits in strays]

    def _pads(self, digits: str) -> bool:
        return digits == f"{int(digits):0{self.digits}d}"

    def written(self) -> list[str]:
        """The digits that stand in the place for them in the names of files that are there."""
        shape = re.compile(re.escape(self.before) + r"([0-9]+)" + re.escape(self.after))
        try:
            found = ((file, match) for file in self.folder.iterdir() if (match := shape.fullmatch(file.name)))
            return [match[1] for file, match in found if file.is_file()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise SourceNotFound(
                f"{self.folder} cannot be read: {str(reason).lower()}", hint="check the folder's name and permissions"
            ) from exc

    def __str__(self) -> str:
        return str(self.folder / f"{self.before}{'#' * self.digits}{self.after}")


class SequenceSource:
    """Pictures as a clip, one frame each, ``pts`` counting from 0 in units of a frame; ``cutouts()`` gives their alpha.

    Args:
        paths: The pictures in order, all of one size and depth.
        frame_rate: Frames a second, which pictures but EXR do not carry; ``None`` for what they say, or 24.
        first_number: The number of the first of them, so that an output can be numbered alike.
        marks: Which of them come, by their numbers or by timecode, which begins at 00:00:00:00 unless EXR states it.
            ``index`` and ``pts`` are those of the whole.
        layer: Which of EXR's layers is read.

    Attributes:
        info, lost, begins, has_alpha: As of :class:`~streammatte.media.read.file_source.FileSource`; nothing is lost,
            because a picture that cannot be decoded is an error: left out, it would renumber all that follow.

    Raises:
        SourceNotFound: A picture is not there.
        DecodeFailed: A picture cannot be decoded, or is not like the first.
        InputError: A picture that is marked is none of them.
    """

    lost: str | None = None
    begins = Fraction(0)

    def __init__(
        self,
        paths: list[Path],
        *,
        frame_rate: Fraction | None = None,
        first_number: int = 1,
        marks: Marks | None = None,
        layer: str | None = None,
    ) -> None:
        self.first_number = first_number
        self._layer = layer
        with _open_picture(paths[0], layer) as picture:
            first = picture.info
            self.has_alpha = picture.has_alpha
            self.notes = list(picture.notes)
            if frame_rate is None and not isinstance(picture, FileSource) and picture.states_rate:
                frame_rate = first.frame_rate
        rate = frame_rate or DEFAULT_RATE
        self._frames = range(len(paths))
        timecode = _timecode_at(first.timecode, rate)
        if marks:
            numbered = paths[0] if len(paths) == 1 else f"{paths[0]} to {paths[-1].name}"
            self._frames, says = marks.within(
                str(numbered), len(paths), lambda after: after, rate=rate, start=timecode, first_number=first_number
            )
            self.notes.insert(0, says)
        if timecode is not None:
            timecode += self._frames.start
            self.notes.append(f"timecode from {timecode}")
        self._paths = [paths[index] for index in self._frames]
        span = (self._frames.start / rate, self._frames.stop / rate) if marks else None
        self._info = replace(
            first,
            time_base=1 / rate,
            frame_rate=rate,
            frame_count=len(self._paths),
            first_index=self._frames.start,
            span=span,
            timecode=None if timecode is None else str(timecode),
        )

    @property
    def info(self) -> StreamInfo:
        return self._info

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held open between two pictures."""

    def __iter__(self) -> Iterator[Frame]:
        for index, picture in zip(self._frames, self._pictures(), strict=True):
            yield replace(next(iter(picture)), pts=index, index=index, duration=1)

    def cutouts(self) -> Iterator[Cutout]:
        """As of :class:`~streammatte.media.read.file_source.FileSource`."""
        for index, picture in zip(self._frames, self._pictures(), strict=True):
            if self.has_alpha and not picture.has_alpha:  # opaque: its brightness is not meant, grey as it may be
                frame = next(iter(picture))
                cutout = Cutout(frame, torch.ones(frame.rgb.shape[1:]))
            else:
                cutout = next(picture.cutouts())
            yield replace(cutout, frame=replace(cutout.frame, pts=index, index=index, duration=1))

    def _pictures(self) -> Iterator[FileSource | StillPicture | ExrPicture]:
        """Each file, opened and like the first."""
        expected = self._info
        for path in self._paths:
            with _open_picture(path, self._layer) as picture:
                found = picture.info
                if (found.width, found.height) != (expected.width, expected.height):
                    raise DecodeFailed(
                        f"{path} is {found.width}×{found.height}, the first {expected.width}×{expected.height}",
                        hint="bring the pictures of a sequence to one size",
                    )
                linear = found.color.transfer == LINEAR, expected.color.transfer == LINEAR
                # Frames would change their type, or what it means.
                if (found.color.bit_depth > 8) != (expected.color.bit_depth > 8) or linear[0] != linear[1]:
                    raise DecodeFailed(
                        f"{path} has {found.color.bit_depth} bits, the first {expected.color.bit_depth}",
                        hint="bring the pictures of a sequence to one depth",
                    )
                if found.profile != expected.profile:
                    raise DecodeFailed(
                        f"{path} has another colour profile than the first picture",
                        hint="convert the pictures of a sequence to one profile",
                    )
                yield picture


def _open_picture(path: Path, layer: str | None) -> FileSource | StillPicture | ExrPicture:
    kind = picture_kind(path)
    if kind == "EXR" or (kind is None and path.suffix.lower() == ".exr"):
        from streammatte.media.read.exr import ExrPicture

        return ExrPicture(path, layer=layer)
    if layer is not None:
        raise InputError(f"{path} has no layers: --layer is for OpenEXR", hint="leave it out")
    if kind is None:  # DPX, and what is not there or not a picture at all
        return FileSource(str(path), strict=True)
    from streammatte.media.read.stills import StillPicture

    return StillPicture(path, kind)


def _timecode_at(text: str | None, rate: Fraction) -> Timecode | None:
    """What the first picture states; ``None`` if that is not a timecode at the rate that they are read at."""
    try:
        return None if text is None else Timecode.parse(text, rate)
    except InputError:
        return None


def open_sequence(
    name: NumberedName,
    *,
    frame_rate: Fraction | None = None,
    marks: Marks | None = None,
    layer: str | None = None,
) -> SequenceSource:
    """Read every picture that has the name, from the lowest number to the highest, or those that are marked.

    Raises:
        InputError: A picture that is marked is none of them.
        SourceNotFound: There is none, or one between the first and the last is missing: a gap would shift all that
            follow against their sound and against other sequences of the shot.
    """
    files, strays = name.files()
    if not files:
        hint = "# stands for one digit of the frame number"
        if strays:
            hint = f"there is {strays[0]}: write as many # as its number has digits"
        raise SourceNotFound(f"there is no picture {name}", hint=hint)
    first, last = min(files), max(files)
    missing = sorted(set(range(first, last + 1)) - set(files))
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise SourceNotFound(
            f"{name.path(missing[0])} is missing{others}, between frames {first} and {last}",
            hint="render the missing frames, or move one side of the gap to another folder",
        )
    source = SequenceSource(list(files.values()), frame_rate=frame_rate, first_number=first, marks=marks, layer=layer)
    if strays:
        others = f" and {len(strays) - 1} more" if len(strays) > 1 else ""
        source.notes.append(f"left out: {strays[0]}{others}, whose numbers do not fit {name}")
    return source
