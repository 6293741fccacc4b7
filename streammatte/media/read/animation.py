"""Animated pictures as clips: PNG, GIF, WebP and AVIF, each frame for as long as the file says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self

from PIL import Image

from streammatte.errors import DecodeFailed
from streammatte.frame import Cutout, Frame, StreamInfo
from streammatte.media.read.span import Marks, shown_at, span_of
from streammatte.media.read.stated import samples_of
from streammatte.media.read.stills import (
    Decoded,
    assembled,
    channels_of,
    decoding,
    frame_of,
    orientation_of,
    plate_of,
)

_MILLISECOND = Fraction(1, 1000)
# What browsers make of a GIF that says less, which its makers count on.
_SHORTEST, _USUAL = 11, 100


class AnimationSource:
    """The frames of an animated picture, composited as they are shown, ``pts`` in milliseconds. Read once.

    Args:
        path: A file of which :func:`is_animated` is true.
        kind: As :func:`~streammatte.media.read.kinds.picture_kind` tells it.
        marks: Which part of it comes. A frame's ``index`` and ``pts`` are those that it has in the whole.

    Attributes:
        info, lost, begins, has_alpha, notes: As of :class:`~streammatte.media.read.file_source.FileSource`; nothing is
            ever lost, because a frame that cannot be decoded is an error.

    Raises:
        DecodeFailed: A frame cannot be decoded.
        InputError: It does not have the frames that are marked.
    """

    lost: str | None = None
    begins = Fraction(0)
    first_number = 1

    def __init__(self, path: Path, kind: str, *, marks: Marks | None = None) -> None:
        self._path, self._kind = path, kind
        self.has_alpha = False
        durations: list[int] = []
        first: Decoded | None = None
        # Frames are decoded twice: how long they are shown, and whether any is clear, only all of them tell.
        for picture, duration in self._decoded():
            first = first or picture
            durations.append(duration)
            self.has_alpha |= picture.alpha is not None and bool(picture.alpha.min() < 255)
        if first is None:
            raise DecodeFailed(f"{path} has no frames", hint="it is cut or damaged; fetch it again")
        self.notes = list(first.notes)
        self._times = [0, *accumulate(durations[:-1])]
        self._durations = durations
        total = max(1, sum(durations))
        height, width = first.rgb.shape[:2]
        rate = Fraction(1000 * len(durations), total).limit_denominator(1001)
        self._frames = range(len(durations))
        self._info = StreamInfo(width, height, _MILLISECOND, rate, len(durations), first.color, profile=first.profile)
        if marks:
            self._mark(marks)

    @property
    def info(self) -> StreamInfo:
        return self._info

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The file is open while frames are read only."""

    def __iter__(self) -> Iterator[Frame]:
        for index, picture in self._wanted():
            yield frame_of(picture, self._times[index], index, self._durations[index])

    def cutouts(self) -> Iterator[Cutout]:
        """As of :class:`~streammatte.media.read.file_source.FileSource`."""
        for index, picture in self._wanted():
            pts, duration = self._times[index], self._durations[index]
            if not self.has_alpha:
                picture = replace(picture, alpha=None)
            yield plate_of(picture, pts, index, self._path, has_alpha=self.has_alpha, duration=duration)

    def _wanted(self) -> Iterator[tuple[int, Decoded]]:
        for index, (picture, _) in enumerate(self._decoded()):
            if index >= self._frames.stop:
                return
            if index >= self._frames.start:
                yield index, picture

    def _decoded(self) -> Iterator[tuple[Decoded, int]]:
        """Each frame, and how many milliseconds it is shown."""
        with decoding(self._path):
            picture = Image.open(self._path, formats=[self._kind])
            bits, color = samples_of(self._path, self._kind)
        notes = [f"its {bits} bits are read as 8"] if bits > 8 else []
        with picture:
            late = 0.0  # what rounding has left over
            for place in range(_first_shown(picture), getattr(picture, "n_frames", 1)):
                with decoding(self._path):
                    picture.seek(place)
                    picture.load()
                    channels, converted = channels_of(picture, self._path)
                    profile = None if converted else picture.info.get("icc_profile")
                    shown = assembled(channels, profile, orientation_of(picture), color, notes)
                    exact = float(picture.info.get("duration") or 0)
                if exact < _SHORTEST:
                    exact = _USUAL
                duration = max(1, round(exact + late))
                late += exact - duration
                yield shown, duration

    def _mark(self, marks: Marks) -> None:
        info = self._info
        at = shown_at(self._times, info.time_base, info.frame_rate)
        self._frames, says = marks.within(str(self._path), len(self._times), at, rate=info.frame_rate)
        self.notes.insert(0, says)
        span = span_of(self._frames, self._times, [])
        end = None if span.end is None else span.end * info.time_base
        self._info = replace(
            info, frame_count=span.count, first_index=span.first, span=(span.begin * info.time_base, end)
        )


def is_animated(path: Path, kind: str) -> bool:
    """Whether a picture file holds several frames, or one to be shown in place of the still picture.

    Raises:
        DecodeFailed: It cannot be opened.
    """
    with decoding(path), Image.open(path, formats=[kind]) as picture:
        return getattr(picture, "n_frames", 1) > 1


def _first_shown(picture: Image.Image) -> int:
    """An animated PNG may begin with a picture for those that show no animations."""
    return 1 if picture.info.get("default_image") and getattr(picture, "n_frames", 1) > 1 else 0
