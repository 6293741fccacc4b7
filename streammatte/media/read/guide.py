"""Mattes that lie beside the footage, frame by frame in step with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import reduce
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from streammatte.color.ycbcr import fitted
from streammatte.errors import InputError
from streammatte.frame import Frame, StreamInfo
from streammatte.media import open_video
from streammatte.media.read.numbered import NumberedName, SequenceSource

INVERTED = "invert:"
_OTHER_SHAPE = 0.05  # of the ratio of width to height: less is rounding


def guide_path(spec: str) -> str:
    """The path in ``PATH`` or ``invert:PATH``."""
    return spec.removeprefix(INVERTED)


class GuideMatte:
    """A picture, which holds for every frame; or numbered pictures or a clip, which must have one for each of them.

    Numbered pictures belong to frames by their number if the footage has numbers, too, and else in their order. Those
    of a clip belong by their time, which counts from its first as the footage's does from its own: none may be half a
    frame early or late. The matte is the file's alpha or, without one, its luma, scaled to the footage's size.

    Args:
        spec: A path as :func:`~streammatte.media.open_video` takes it; with ``invert:`` before it, black and white are
            exchanged.
        info: The footage, or the part of it that is taken: the matte is in step with the whole.
        begins: When the first frame of the whole footage is shown, in seconds.
        first_number: The number of the whole footage's first frame if that is numbered pictures, else ``None``.
        strict: Raise ``DecodeFailed`` at the first damage.
        layer: Of EXR: the layer or part whose alpha is meant.

    Attributes:
        path: Without ``invert:``.
        notes: What should be known of it, a line each.
        lost: One line on what could not be decoded, known once the last of its frames was used; ``None`` if nothing is
            missing.

    Raises:
        InputError: It cannot be read, holds neither alpha nor a matte, or is not in step with the footage.
    """

    def __init__(
        self,
        spec: str,
        info: StreamInfo,
        *,
        begins: Fraction = Fraction(0),
        first_number: int | None = None,
        strict: bool = False,
        layer: str | None = None,
    ) -> None:
        self.path = guide_path(spec)
        self.notes: list[str] = []
        self._inverted = spec != self.path
        self._info = info
        self._begins = begins
        self._source = open_video(self.path, frame_rate=info.frame_rate, strict=strict, layer=layer)
        try:
            self._numbered = NumberedName.parse(self.path) is not None
            self._still = isinstance(self._source, SequenceSource) and not self._numbered
            self._ahead = self._check_numbers(first_number) if self._numbered and first_number is not None else 0
            own = self._source.info.frame_count
            if not self._still and own is not None and info.frame_count is not None and own < info.frame_count:
                self.notes.append(f"says that it has {own} frames, and the footage {info.frame_count}")
            self._begin: Fraction | None = None  # of the matte
            self._last = Fraction(-1)  # place of the frame before
            self._mattes = self._read()
            self._here: tuple[Fraction, Tensor] | None = None
            self._next = next(self._mattes, None)
        except BaseException:
            self.close()
            raise

    @property
    def lost(self) -> str | None:
        return self._source.lost

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._source.__exit__(None, None, None)

    def at(self, frame: Frame) -> Tensor:
        """(H, W) float32 in [0, 1], of the footage's size. For frames in order, each once.

        Raises:
            InputError: It has nothing for this frame.
            DecodeFailed: It is damaged, and that was to be refused.
        """
        if self._still:
            assert self._next is not None
            return self._next[1]
        time = frame.pts * self._info.time_base
        since = (time - self._begins) * self._info.frame_rate
        place = Fraction(frame.index + self._ahead) if self._numbered else since
        while self._next is not None and (
            self._here is None or abs(self._next[0] - place) <= abs(self._here[0] - place)
        ):
            # Passed over, it is of a frame that the footage lost, unless it lies between two that follow each other.
            if self._here is not None and max(self._here[0] - self._last, place - self._here[0]) < Fraction(3, 4):
                raise self._out_of_step(frame, time)
            self._here, self._next = self._next, next(self._mattes, None)
        here, self._here = self._here, None  # no matte is for two frames
        if here is None or abs(here[0] - place) >= Fraction(1, 2):
            raise self._out_of_step(frame, time, ended=self._next is None)
        self._last = place
        return here[1]

    def _read(self) -> Iterator[tuple[Fraction, Tensor]]:
        """Each matte, and where it is: counted in the footage's frames from its own first."""
        info, own = self._info, self._source.info
        if (own.width, own.height) != (info.width, info.height):
            if abs(own.width * info.height - own.height * info.width) > _OTHER_SHAPE * own.width * info.height:
                raise InputError(
                    f"{self.path} is {own.width}×{own.height}, another shape than the footage's "
                    f"{info.width}×{info.height}",
                    hint="a smaller or larger matte is scaled, but not stretched",
                )
            self.notes.append(f"scaled from {own.width}×{own.height} to {info.width}×{info.height}")
        for cutout in self._source.cutouts():
            frame = cutout.frame
            if (
                frame.index == 0
                and self._source.has_alpha
                and cutout.alpha.min() == 1
                and frame.rgb.min() < frame.rgb.max()
            ):
                self.notes.append(
                    "its alpha is white everywhere, which is what counts; save it without one if that is wrong"
                )
            time = frame.pts * own.time_base
            self._begin = time if self._begin is None else self._begin
            place = Fraction(frame.index) if self._numbered else (time - self._begin) * info.frame_rate
            alpha = torch.from_numpy(fitted(cutout.alpha.numpy(), info.width, info.height))
            yield place, 1 - alpha if self._inverted else alpha

    def _check_numbers(self, first: int) -> int:
        """How many of its pictures come before the whole footage's first."""
        own, count = self._source.first_number, self._source.info.frame_count or 0
        begin = first + self._info.first_index
        last = begin + (self._info.frame_count or 1) - 1
        if not own <= begin <= last < own + count:
            raise InputError(
                f"{self.path} has the frames {own} to {own + count - 1}, the footage {begin} to {last}",
                hint="a matte needs a picture for every frame, with the footage's numbers; one without a number holds "
                "for all",
            )
        return first - own

    def _out_of_step(self, frame: Frame, time: Fraction, *, ended: bool = False) -> InputError:
        what = f"{self.path} has no matte for frame {frame.index} of the footage, at {float(time):.3f} s"
        if self.lost:
            return InputError(f"{what}: {self.lost}", hint="it is damaged; render it again")
        if ended:
            return InputError(f"{what}: it is over", hint="render it to the footage's full length")
        return InputError(
            f"{what}: it has {_rate(self._source.info)} frames a second, the footage {_rate(self._info)}",
            hint="render it in step with the footage: at its rate, with a frame for each of its frames",
        )


class GuideUnion:
    """Several mattes as one, as if they had been laid over each other: the largest of them at each pixel.

    Args:
        mattes: In step with the same footage, one at least.
    """

    def __init__(self, mattes: Sequence[GuideMatte]) -> None:
        self._mattes = mattes

    def at(self, frame: Frame) -> Tensor:
        """As :meth:`GuideMatte.at`, which raises what this does."""
        return reduce(torch.maximum, [matte.at(frame) for matte in self._mattes])


def _rate(info: StreamInfo) -> str:
    return f"{float(info.frame_rate):.5g}"
