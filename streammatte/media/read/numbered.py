"""Names of numbered pictures: ``plate.####.png`` or ``plate.%04d.png``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Self

from streammatte.errors import SourceNotFound
from streammatte.media.remote import Remote, place_of

_ENDINGS = "png jpg jpeg tif tiff bmp webp gif exr dpx heic heif avif"
PICTURES = tuple(f".{ending}" for ending in _ENDINGS.split())

# A single # counts only where a number would be, as in plate.#.png: "photo #2.png" is one picture.
_PLACEHOLDER = re.compile(r"##+|(?<=[._])#(?=\.)|%(?:0(\d+))?d(?![A-Za-z])")


@dataclass(frozen=True, slots=True)
class NumberedName:
    """A file name with a place for the frame number, ``plate.####.png`` or ``plate.%04d.png``.

    Attributes:
        before, after: The name around the number.
        digits: How many digits the number is padded to.
    """

    folder: Path | Remote
    before: str
    after: str
    digits: int

    @classmethod
    def parse(cls, path: str | PathLike[str]) -> Self | None:
        """``None`` if ``path`` is not a picture's name, has no place for a number, or is an existing file."""
        place = place_of(path)
        numbers = list(_PLACEHOLDER.finditer(place.name))
        if not numbers or place.suffix.lower() not in PICTURES or _is_there(place):
            return None
        number = numbers[-1]
        digits = int(number[1] or 1) if number[0].startswith("%") else len(number[0])
        return cls(place.parent, place.name[: number.start()], place.name[number.end() :], digits)

    def name(self, number: int) -> str:
        return f"{self.before}{number:0{self.digits}d}{self.after}"

    def path(self, number: int) -> Path | Remote:
        return self.folder / self.name(number)

    def numbers(self) -> list[int]:
        """The numbers of the files that are there, in order; none if there is no such folder."""
        return sorted({int(digits) for digits in self.written() if self._pads(digits)})

    def files(self) -> tuple[dict[int, Path | Remote], list[str]]:
        """The files by number, in order, and the names of those with other padding.

        Without any padding, as in 998 to 1001, numbers with fewer digits belong, too.
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
        """The digits in place of the number, for each file that is there."""
        shape = re.compile(re.escape(self.before) + r"([0-9]+)" + re.escape(self.after))
        if isinstance(self.folder, Remote):
            return [match[1] for name in self.folder.infos() if (match := shape.fullmatch(name))]
        try:
            found = ((file, match) for file in self.folder.iterdir() if (match := shape.fullmatch(file.name)))
            return [match[1] for file, match in found if file.is_file()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise SourceNotFound(
                f"cannot read {self.folder}: {str(reason).lower()}", hint="check the folder's name and permissions"
            ) from exc

    def __str__(self) -> str:
        return str(self.folder / f"{self.before}{'#' * self.digits}{self.after}")


def _is_there(path: Path | Remote) -> bool:
    """Whether a file has that name; a remote one is never asked for, since asking takes time."""
    return isinstance(path, Path) and os.path.exists(path)  # noqa: PTH110 - see open_container
