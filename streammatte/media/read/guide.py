"""Guide mattes: garbage, core and holdout mattes from files, in step with the footage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from functools import reduce
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from streammatte.color.ycbcr import fitted
from streammatte.errors import InputError
from streammatte.frame import Footage, Frame, StreamInfo
from streammatte.media.addresses import without_secrets
from streammatte.media.read.numbered import NumberedName
from streammatte.media.read.opening import open_video
from streammatte.media.read.pictures import PictureSource
from streammatte.options import Options

INVERTED = "invert:"
_OTHER_SHAPE = 0.05  # of the aspect ratio; less is rounding


def guide_path(spec: str) -> str:
    """The path in ``PATH`` or ``invert:PATH``."""
    return spec.removeprefix(INVERTED)


class GuideMatte:
    """A picture for every frame, or a clip or numbered pictures with one matte for each frame.

    Numbered pictures go by number if the footage is numbered, too, and else by order. The frames of a clip go by time,
    counted from its first as the footage's is from its own; none may be half a frame early or late. The matte is the
    file's alpha or, without one, its luma, scaled to the footage's size.

    Args:
        spec: A path as :func:`~streammatte.media.open_video` takes it; ``invert:`` in front swaps black and white.
        info: The footage, or the part of it that is read: the matte is in step with the whole.
        begins: When the first frame of the whole footage is shown, in seconds.
        first_number: Number of the whole footage's first frame, if it is numbered.

    Attributes:
        notes: What users should know about it, a line each.

    Raises:
        InputError: It cannot be read, is not a matte, or is not in step with the footage.
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
        self._info, self._begins = info, begins
        numbered = NumberedName.parse(self.path) is not None
        rate = info.frame_rate if numbered else None
        self._source = open_video(self.path, frame_rate=rate, strict=strict, layer=layer)
        try:
            own, wanted = self._source.info.frame_count, info.frame_count
            self._still = isinstance(self._source, PictureSource) and own == 1 and not numbered
            if not self._still and own is not None and wanted is not None and own < wanted:
                self.notes.append(f"has {own} frames, but the footage has {wanted}")
            # How many of its pictures come before the footage's first; ``None`` where time decides.
            self._ahead = self._numbers_ahead(first_number) if numbered else None
            self._here: tuple[Fraction, Tensor] | None = None
            self._last = Fraction(-1)  # place of the frame before
            self._mattes = self._read()
            self._next = next(self._mattes, None)
        except BaseException:
            self.close()
            raise

    @property
    def lost(self) -> str | None:
        """One line on what could not be decoded, once its last matte was used; ``None`` if nothing is missing."""
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
        """The matte, (H, W) float32 in [0, 1], at the footage's size. Call once a frame, in order.

        Raises:
            InputError: There is none for this frame.
            DecodeFailed: It is damaged, and ``strict``.
        """
        if self._still:
            assert self._next is not None
            return self._next[1]
        time = frame.pts * self._info.time_base
        if self._ahead is None:
            place = (time - self._begins) * self._info.frame_rate
        else:
            place = Fraction(frame.index + self._ahead)
        while self._next is not None and (self._here is None or self._is_nearer(self._next, self._here, place)):
            # A matte that is passed over belongs to a frame that the footage lost, unless it lies between neighbours.
            if self._here is not None and max(self._here[0] - self._last, place - self._here[0]) < Fraction(3, 4):
                raise self._out_of_step(frame, time)
            self._here, self._next = self._next, next(self._mattes, None)
        here, self._here = self._here, None  # no matte serves two frames
        if here is None or abs(here[0] - place) >= Fraction(1, 2):
            raise self._out_of_step(frame, time, ended=self._next is None)
        self._last = place
        return here[1]

    @staticmethod
    def _is_nearer(one: tuple[Fraction, Tensor], other: tuple[Fraction, Tensor], place: Fraction) -> bool:
        return abs(one[0] - place) <= abs(other[0] - place)

    def _read(self) -> Iterator[tuple[Fraction, Tensor]]:
        """Each matte and its place, counted in the footage's frames from its own first."""
        self._check_shape()
        info, own = self._info, self._source.info
        begin: Fraction | None = None
        for cutout in self._source.cutouts():
            frame = cutout.frame
            time = frame.pts * own.time_base
            if begin is None:
                begin = time
                if self._source.has_alpha and cutout.alpha.min() == 1 and frame.rgb.min() < frame.rgb.max():
                    self.notes.append("its alpha, white everywhere, is used; save it without alpha to use its grey")
            place = (time - begin) * info.frame_rate if self._ahead is None else Fraction(frame.index)
            alpha = torch.from_numpy(fitted(cutout.alpha.numpy(), info.width, info.height))
            yield place, 1 - alpha if self._inverted else alpha

    def _check_shape(self) -> None:
        info, own = self._info, self._source.info
        if (own.width, own.height) == (info.width, info.height):
            return
        sizes = f"{own.width}×{own.height}", f"{info.width}×{info.height}"
        if abs(own.width * info.height - own.height * info.width) > _OTHER_SHAPE * own.width * info.height:
            raise InputError(
                f"{without_secrets(self.path)} is {sizes[0]}, a different shape from the footage's {sizes[1]}",
                hint="a matte of another size is scaled, but not stretched",
            )
        self.notes.append(f"scaled from {sizes[0]} to {sizes[1]}")

    def _numbers_ahead(self, first: int | None) -> int:
        if first is None:
            return 0
        own, count = self._source.first_number, self._source.info.frame_count or 0
        begin = first + self._info.first_index
        last = begin + (self._info.frame_count or 1) - 1
        if not own <= begin <= last < own + count:
            raise InputError(
                f"{without_secrets(self.path)} has frames {own} to {own + count - 1}, "
                f"but the footage has {begin} to {last}",
                hint="give a matte for every frame, with the footage's numbers, or one picture without a number",
            )
        return first - own

    def _out_of_step(self, frame: Frame, time: Fraction, *, ended: bool = False) -> InputError:
        name = without_secrets(self.path)
        where = f"frame {frame.index} of the footage, at {float(time):.3f} s"
        if self.lost:
            return InputError(f"{name} has no matte for {where}: {self.lost}", hint="it is damaged; render it again")
        if ended:
            return InputError(f"{name} ends before {where}", hint="render it to the footage's full length")
        return InputError(
            f"{name} has no matte for {where}: it has {_rate(self._source.info)} fps, the footage {_rate(self._info)}",
            hint="render it in step with the footage: a matte for each of its frames, at their times",
        )


class GuideUnion:
    """Several guide mattes as one: the largest of them at each pixel.

    Args:
        mattes: At least one, all for the same footage.
    """

    def __init__(self, mattes: Sequence[GuideMatte]) -> None:
        self._mattes = mattes

    def at(self, frame: Frame) -> Tensor:
        """As :meth:`GuideMatte.at`."""
        return reduce(torch.maximum, [matte.at(frame) for matte in self._mattes])


def guides_of(
    options: Options, source: Footage, notice: Callable[[str], None], running: ExitStack
) -> dict[str, list[GuideMatte]]:
    """The user's mattes by kind, opened for one pass over the footage, and closed by ``running``."""
    number = None if NumberedName.parse(options.reading.input) is None else source.first_number
    guides: dict[str, list[GuideMatte]] = {}
    for name, spec in ((name, spec) for name, specs in options.guides().items() for spec in specs):
        guide = GuideMatte(
            spec,
            source.info,
            begins=source.begins,
            first_number=number,
            strict=options.reading.strict,
            layer=options.reading.layer if guide_path(spec) == options.reading.input else None,
        )
        guides.setdefault(name, []).append(running.enter_context(guide))
        for note in guide.notes:
            notice(f"{without_secrets(guide.path)}: {note}")
    return guides


def _rate(info: StreamInfo) -> str:
    return f"{float(info.frame_rate):.5g}"
