"""A decoded picture, and pictures as a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from streammatte.color.ycbcr import Samples
from streammatte.errors import InputError
from streammatte.frame import ColorSpec, Cutout, Frame, StoredSamples, StreamInfo
from streammatte.media.read.alpha import NOT_A_MATTE, is_grey
from streammatte.media.read.span import Marks, Timeline, frame_at, shown_at
from streammatte.media.timecode import Timecode

FAINT = 1e-3
"""Below this alpha, premultiplied light is a glow rather than the colour of anything."""
LARGEST_HALF = 65504


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One decoded picture, upright.

    Attributes:
        rgb: (H, W, 3) uint8, uint16 or float32. Floats are linear light and may exceed 1.
        alpha: (H, W) integers or floats; ``None`` without alpha.
        profile: ICC profile of ``rgb``; ``None`` for sRGB, or what ``color`` says.
        notes: What users should know about how it was read, a line each.
        frame_rate, timecode, pixel_aspect: As the file states them.
        samples: The Y'CbCr that ``rgb`` was made of, if it was.
    """

    rgb: Samples
    alpha: NDArray[Any] | None
    color: ColorSpec
    profile: bytes | None = None
    notes: tuple[str, ...] = ()
    frame_rate: Fraction | None = None
    timecode: str | None = None
    pixel_aspect: Fraction = Fraction(1)
    samples: StoredSamples | None = None

    def info(self, time_base: Fraction, frame_rate: Fraction) -> StreamInfo:
        """Of a stream of pictures like this one."""
        height, width = self.rgb.shape[:2]
        return StreamInfo(
            width, height, time_base, frame_rate, None, self.color, self.pixel_aspect, profile=self.profile
        )


class PictureSource:
    """Pictures as a clip. Each is decoded when its turn comes, and nothing is held open in between.

    A picture that cannot be decoded is an error: leaving it out would renumber the others, so nothing is ever ``lost``.

    Args:
        name: For messages.
        info: Without count and timecode.
        times: The pts of each picture of the whole clip, and at last when it ends.
        decode: Gives the pictures in a range of indices, in order.
        has_alpha: Some picture has alpha; those that have none are opaque then.
        first_number: The number of the first picture, if they are numbered.
        marks: Which part to read. ``index`` and ``pts`` stay those of the whole.
        timecode: Of the first picture.
    """

    lost: str | None = None
    begins = Fraction(0)

    def __init__(
        self,
        name: str,
        info: StreamInfo,
        times: Sequence[int],
        decode: Callable[[range], Iterator[Picture]],
        *,
        has_alpha: bool,
        notes: Sequence[str] = (),
        first_number: int | None = None,
        marks: Marks | None = None,
        timecode: Timecode | None = None,
    ) -> None:
        self.first_number = 1 if first_number is None else first_number
        self.has_alpha = has_alpha
        self.notes = list(notes)
        self.name, self._times, self._decode = name, times, decode
        count = len(times) - 1
        self._frames = range(count)
        span = None
        at = shown_at(times[:count], info.time_base, info.frame_rate)
        self._clip = Timeline(name, count, info.frame_rate, at, timecode, first_number or 0)
        if marks:
            self._frames, says = marks.within(self._clip)
            self.notes.insert(0, says)
            span = times[self._frames.start] * info.time_base, times[self._frames.stop] * info.time_base
        if timecode is not None:
            timecode += self._frames.start
            self.notes.append(f"timecode from {timecode}")
        self.info = replace(
            info,
            frame_count=len(self._frames),
            first_index=self._frames.start,
            span=span,
            timecode=None if timecode is None else str(timecode),
        )

    def __len__(self) -> int:
        return len(self._frames)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Frame]:
        for frame, _ in self._pictures(self._frames):
            yield frame

    @property
    def indices(self) -> range:
        return self._frames

    def frame_at(self, mark: str, option: str) -> int:
        return frame_at(mark, option, self._clip)

    def between(self, start: int, stop: int) -> Iterator[Frame]:
        for frame, _ in self._pictures(range(start, stop)):
            yield frame

    def cutouts(self) -> Iterator[Cutout]:
        """The frames with their alpha, or the grey of pictures that have neither alpha nor colours."""
        for frame, picture in self._pictures(self._frames):
            yield Cutout(frame, torch.from_numpy(self._alpha_of(picture)))

    def _pictures(self, frames: range) -> Iterator[tuple[Frame, Picture]]:
        for index, picture in zip(frames, self._decode(frames), strict=True):
            pts, end = self._times[index : index + 2]
            rgb = torch.from_numpy(picture.rgb).permute(2, 0, 1)
            yield Frame(rgb, pts, index, duration=end - pts, samples=picture.samples), picture

    def _alpha_of(self, picture: Picture) -> NDArray[np.float32]:
        if picture.alpha is not None:
            return _shares(picture.alpha)
        if self.has_alpha:
            return np.ones(picture.rgb.shape[:2], np.float32)
        rgb = picture.rgb
        if rgb.dtype == np.float32:
            rgb = np.rint(np.clip(rgb, 0, 1) * 65535).astype(np.uint16)
        if not is_grey(rgb):
            raise InputError(f"{self.name} {NOT_A_MATTE}", hint="give a cut-out with alpha, or a matte in grey")
        return _shares(picture.rgb[..., 1])


def straight(colors: Samples, alpha: NDArray[Any]) -> Samples:
    """(H, W, C) colours that were multiplied by ``alpha``, divided by it again.

    Integers become 0 where alpha is 0; light stays as it is where alpha is next to nothing.
    """
    if colors.dtype == np.float32:
        cover = alpha[..., None]
        light = colors.copy()
        np.divide(light, cover, out=light, where=(cover > FAINT) & (cover < 1))
        return light
    peak = np.iinfo(colors.dtype).max
    divided = colors.astype(np.float64) * peak / np.maximum(alpha, 1)[..., None]
    result: Samples = np.rint(np.minimum(divided, peak)).astype(colors.dtype)
    return result


def finite(light: NDArray[Any]) -> NDArray[np.float32]:
    """float32 without NaN, which becomes 0, and infinity, which becomes the largest half: either would spread."""
    numbers: NDArray[np.float32] = np.nan_to_num(light.astype(np.float32), nan=0, posinf=LARGEST_HALF, neginf=0)
    return numbers


def left_out(count: int, what: str) -> str:
    """The note on what a file holds besides the picture that was read."""
    return f"1 more {what} in the file is left out" if count == 1 else f"{count} more {what}s in the file are left out"


def _shares(samples: NDArray[Any]) -> NDArray[np.float32]:
    if samples.dtype == np.float32:
        shares: NDArray[np.float32] = np.clip(samples, 0, 1)
    else:
        shares = samples.astype(np.float32) / np.float32(np.iinfo(samples.dtype).max)
    return shares
