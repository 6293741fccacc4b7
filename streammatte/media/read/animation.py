"""Animated pictures as clips: PNG, GIF, WebP and AVIF, with the duration the file states for each frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate, islice
from pathlib import Path

from PIL import Image

from streammatte.errors import DecodeFailed
from streammatte.media.read.pictures import Picture, PictureSource
from streammatte.media.read.span import Marks
from streammatte.media.read.stated import samples_of
from streammatte.media.read.stills import assembled, channels_of, orientation_of, translating

_MILLISECOND = Fraction(1, 1000)
# Browsers show GIFs that ask for less for 100 ms, and their makers count on it.
_SHORTEST, _USUAL = 11, 100


def is_animated(path: Path, kind: str) -> bool:
    """Whether a picture file holds several frames, or one to show in place of the still picture.

    Raises:
        DecodeFailed: The file cannot be opened.
    """
    with translating(path), Image.open(path, formats=[kind]) as picture:
        return getattr(picture, "n_frames", 1) > 1


def open_animation(path: Path, kind: str, marks: Marks | None = None) -> PictureSource:
    """Read the frames as they are shown, ``pts`` in milliseconds.

    Args:
        path: A file for which :func:`is_animated` is true.
        kind: As :func:`~streammatte.media.read.kinds.picture_kind` gives it.
        marks: Which part to read.

    Raises:
        DecodeFailed: A frame cannot be decoded.
        InputError: There are no such frames.
    """
    durations: list[int] = []
    first: Picture | None = None
    clear = False
    # Decoded twice: only all frames together tell how long they are shown and whether any is transparent.
    for picture, duration in _decoded(path, kind):
        first = first or picture
        durations.append(duration)
        clear |= picture.alpha is not None and bool(picture.alpha.min() < 255)
    if first is None:
        raise DecodeFailed(f"{path} has no frames", hint="it is cut or damaged; fetch it again")

    def decode(frames: range) -> Iterator[Picture]:
        for picture, _ in islice(_decoded(path, kind), frames.start, frames.stop):
            yield picture if clear else replace(picture, alpha=None)

    times = list(accumulate(durations, initial=0))
    rate = Fraction(1000 * len(durations), times[-1]).limit_denominator(1001)
    return PictureSource(
        str(path), first.info(_MILLISECOND, rate), times, decode, has_alpha=clear, notes=first.notes, marks=marks
    )


def _decoded(path: Path, kind: str) -> Iterator[tuple[Picture, int]]:
    """Each frame, and for how many milliseconds it is shown."""
    with translating(path):
        picture = Image.open(path, formats=[kind])
        bits, color = samples_of(path, kind)
    notes = [f"its {bits} bits are read as 8"] if bits > 8 else []
    with picture:
        # An animated PNG may begin with a picture for programs that show no animation.
        count = getattr(picture, "n_frames", 1)
        late = 0.0  # left over from rounding
        for place in range(1 if picture.info.get("default_image") and count > 1 else 0, count):
            with translating(path):
                picture.seek(place)
                picture.load()
                channels, converted = channels_of(picture, path)
                profile = None if converted else picture.info.get("icc_profile")
                shown = assembled(channels, profile, orientation_of(picture), color, notes)
                exact = float(picture.info.get("duration") or 0)
            if exact < _SHORTEST:
                exact = _USUAL
            duration = max(1, round(exact + late))
            late += exact - duration
            yield shown, duration
