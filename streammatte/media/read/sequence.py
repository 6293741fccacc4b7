"""One picture, or numbered ones, as a clip."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from streammatte.color.codes import LINEAR
from streammatte.errors import DecodeFailed, InputError, SourceNotFound
from streammatte.media.copies import kept_copy, local_copies, named
from streammatte.media.read.file_source import FileSource
from streammatte.media.read.kinds import picture_kind
from streammatte.media.read.numbered import NumberedName
from streammatte.media.read.pictures import Picture, PictureSource
from streammatte.media.read.span import Marks
from streammatte.media.remote import Remote
from streammatte.media.timecode import Timecode

DEFAULT_RATE = Fraction(24)
"""Frames a second, as in film and compositing."""


def open_pictures(
    name: NumberedName | Path,
    *,
    frame_rate: Fraction | None = None,
    marks: Marks | None = None,
    layer: str | None = None,
) -> PictureSource:
    """Read one picture, or all that have a numbered name, as frames whose ``pts`` count from 0.

    Raises:
        SourceNotFound: There is no such picture, or one is missing between the first and the last.
        DecodeFailed: A picture cannot be decoded, or differs from the first in size, depth or profile.
    """
    files, notes = (_whole(name)) if isinstance(name, NumberedName) else ({1: name}, [])
    paths = list(files.values())
    with kept_copy(paths[0]) as (copy, _):
        first = _read(copy, layer)
    rate = frame_rate or first.frame_rate or DEFAULT_RATE

    def decode(frames: range) -> Iterator[Picture]:
        wanted = paths[frames.start : frames.stop]
        for path, copy in zip(wanted, local_copies(wanted), strict=True):
            with named(copy, path):
                picture = _read(copy, layer)
            _refuse_other(path, picture, first)
            yield picture

    return PictureSource(
        str(name),
        first.info(1 / rate, rate),
        range(len(paths) + 1),
        decode,
        has_alpha=first.alpha is not None,
        notes=[*first.notes, *notes],
        first_number=min(files),
        marks=marks,
        timecode=_timecode(first.timecode, rate),
    )


def _whole(name: NumberedName) -> tuple[dict[int, Path | Remote], list[str]]:
    """The files by number, and a note on those left out."""
    files, strays = name.files()
    if not files:
        hint = "# stands for one digit of the frame number"
        if strays:
            hint = f"there is {strays[0]}: write as many # as its number has digits"
        raise SourceNotFound(f"no picture matches {name}", hint=hint)
    first, last = min(files), max(files)
    missing = sorted(set(range(first, last + 1)) - set(files))
    if missing:  # a gap would shift all that follow against their sound and other sequences of the shot
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise SourceNotFound(
            f"{name.path(missing[0])}{others} missing between frames {first} and {last}",
            hint="render the missing frames, or move one side of the gap to another folder",
        )
    if not strays:
        return files, []
    others = f" and {len(strays) - 1} more" if len(strays) > 1 else ""
    return files, [f"left out: {strays[0]}{others}, whose padding does not fit {name}"]


def _read(path: Path, layer: str | None) -> Picture:
    kind = picture_kind(path)
    if kind == "EXR" or (kind is None and path.suffix.lower() == ".exr"):
        from streammatte.media.read.exr import read_exr

        return read_exr(path, layer)
    if layer is not None:
        raise InputError(f"{path} has no layers", hint="leave out --layer: it is for OpenEXR")
    if kind is None:  # DPX, and what is not there or not a picture
        return _by_ffmpeg(path)
    from streammatte.media.read.stills import read_picture

    return read_picture(path, kind)


def _by_ffmpeg(path: Path) -> Picture:
    with FileSource(str(path), strict=True) as source:
        alpha = None
        if source.has_alpha:
            cutout = next(source.cutouts())
            frame, alpha = cutout.frame, cutout.alpha.numpy()
        else:
            frame = next(iter(source))
    info = source.info
    return Picture(
        frame.rgb.permute(1, 2, 0).numpy(),
        alpha,
        info.color,
        timecode=info.timecode,
        pixel_aspect=info.pixel_aspect,
        samples=frame.samples,
    )


def _refuse_other(path: Path | Remote, picture: Picture, first: Picture) -> None:
    (height, width), (usual_height, usual_width) = picture.rgb.shape[:2], first.rgb.shape[:2]
    if (height, width) != (usual_height, usual_width):
        raise DecodeFailed(
            f"{path} is {width}×{height}, but the first picture is {usual_width}×{usual_height}",
            hint="bring the pictures to one size",
        )
    color, usual = picture.color, first.color
    # Frames would change their type, or what it means.
    if picture.rgb.dtype != first.rgb.dtype or (color.transfer == LINEAR) != (usual.transfer == LINEAR):
        raise DecodeFailed(
            f"{path} has {color.bit_depth} bits, but the first picture has {usual.bit_depth}",
            hint="bring the pictures to one depth",
        )
    if picture.profile != first.profile:
        raise DecodeFailed(
            f"{path} has a different colour profile from the first picture", hint="convert the pictures to one profile"
        )


def _timecode(text: str | None, rate: Fraction) -> Timecode | None:
    """``None`` if it is not timecode at the rate the pictures are read at."""
    try:
        return None if text is None else Timecode.parse(text, rate)
    except InputError:
        return None
