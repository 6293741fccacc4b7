"""The values that flow from a source to a writer, and the contracts of what handles them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:  # torch takes a second to import, and nothing here computes
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from streammatte.motion import Link

UNSPECIFIED = 2


@dataclass(frozen=True, slots=True)
class ColorSpec:
    """How sample values mean colours: code points of ITU-T H.273, which FFmpeg's enumerations share.

    ``2`` is H.273's "unspecified"; what it is taken for is decided where pixels are converted, and not written here.

    Attributes:
        full_range: 0 … 2ⁿ-1 are black and white ("pc"); otherwise studio swing ("tv").
        matrix: MatrixCoefficients (0 for RGB, 1 for BT.709, 5 and 6 for BT.601, 9 for BT.2020 …).
        primaries: ColourPrimaries.
        transfer: TransferCharacteristics.
        bit_depth: Bits of one component as stored.
    """

    full_range: bool = False
    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    bit_depth: int = 8


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What is known of a stream of frames before the first of them.

    Attributes:
        width, height: In pixels, as decoded.
        time_base: Seconds that one unit of ``Frame.pts`` lasts.
        frame_rate: Nominal; the truth is each frame's pts.
        frame_count: As the container states it; ``None`` for live or unknown.
        color: Range, matrix, primaries, transfer, bit depth.
        pixel_aspect: Width of a pixel over its height, after rotation; anamorphic footage has one other than 1.
        timecode: Of the first frame, as editors write it, ``01:00:00;02``; ``None`` if the footage has none.
        first_index: ``Frame.index`` of the first frame that comes: 0, or its place in the whole.
        span: Seconds on the clock of pts at which the frames begin and end, where they are a part of the footage only;
            an end of ``None`` is the footage's own.
        profile: ICC profile that the frames' RGB is of; ``None`` for what ``color`` says, which is sRGB where it says
            nothing. PNG and TIFF carry it; for all other outputs, and for networks, colours are converted to sRGB.
    """

    width: int
    height: int
    time_base: Fraction
    frame_rate: Fraction
    frame_count: int | None
    color: ColorSpec
    pixel_aspect: Fraction = Fraction(1)
    timecode: str | None = None
    first_index: int = 0
    span: tuple[Fraction, Fraction | None] | None = None
    profile: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class StoredSamples:
    """A picture's Y'CbCr as it was decoded, which RGB can hold neither beyond black and white nor without rounding.

    Attributes:
        planes: Y', Cb and Cr, 2-D uint8 or uint16 code values, chroma on its own grid; read-only views of what the
            decoder made, which live as long as this does.
        bits: Of a code value: 8, 10, 12, 14 or 16.
        full_range: As of ``ColorSpec``.
        matrix: MatrixCoefficients that ``Frame.rgb`` was made with, which an untagged picture's are taken for.
        centred: Chroma lies midway between the luma columns that share it, as in JPEG, not on the first of them.
        upright: What makes a plane stand as ``Frame.rgb`` does; ``None`` if it does. Turned chroma lies elsewhere
            between its luma samples than any codec has it, so it has to be interpolated first.
    """

    planes: tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]
    bits: int
    full_range: bool
    matrix: int
    centred: bool
    upright: Callable[[NDArray[Any]], NDArray[Any]] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture as decoded.

    Attributes:
        rgb: (3, H, W), uint8, uint16 or float32; integers span their whole type, floats [0, 1]. Encoded as the source
            is.
        pts: Presentation time in the stream's ``time_base``; may be negative.
        index: Counts decoded frames from 0; in a part of a clip, from its place in the whole.
        duration: How long it is shown, in ``time_base``; 0 if unknown.
        samples: The Y'CbCr that ``rgb`` was made of, if it has the same size: writers write these where the cut-out's
            colour is the frame's own. Whatever changes ``rgb`` must leave them out.
        view: From ``rgb`` to what a screen shows, of the same type, for log, linear and HDR footage and pictures with
            an ICC profile; ``None`` if ``rgb`` is that already.
    """

    rgb: Tensor
    pts: int
    index: int
    duration: int = 0
    samples: StoredSamples | None = field(default=None, repr=False)
    view: Callable[[Tensor], Tensor] | None = field(default=None, repr=False)
    _seen: dict[tuple[int, int], Tensor] = field(default_factory=dict, init=False, repr=False)
    _seeing: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def height(self) -> int:
        return self.rgb.shape[-2]

    @property
    def width(self) -> int:
        return self.rgb.shape[-1]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.height, self.width

    def as_float(self) -> Tensor:
        """``rgb`` as float32 in [0, 1], on its device; not copied if it is that already."""
        return _as_float(self.rgb)

    def shown(self) -> Tensor:
        """(3, H, W) float32 in [0, 1] on its device: what a screen shows. Computed at each call."""
        return _as_float(self.rgb if self.view is None else self.view(self.rgb))

    def seen(self, size: tuple[int, int]) -> Tensor:
        """(3, h, w) float32 in [0, 1] on its device: what a screen shows, scaled bilinearly with antialiasing.

        Computed once for each size and kept as long as the frame; any thread may ask. The result must not be changed.
        """
        with self._seeing:
            if size not in self._seen:
                self._seen[size] = self._scaled(size)
            return self._seen[size]

    def _scaled(self, size: tuple[int, int]) -> Tensor:
        from torch import uint8
        from torch.nn.functional import interpolate

        shown = self.rgb if self.view is None else self.view(self.rgb)
        if size == self.size:
            return _as_float(shown)
        if shown.dtype is not uint8 or not shown.is_cpu:  # torch scales bytes twenty times as fast, on a CPU only
            shown = _as_float(shown)
        return _as_float(interpolate(shown[None], size, mode="bilinear", align_corners=False, antialias=True)[0])


def _as_float(rgb: Tensor) -> Tensor:
    if rgb.is_floating_point():
        return rgb.float()
    return rgb.float().div_(2 ** (8 * rgb.element_size()) - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A frame with its own alpha.

    Attributes:
        frame: The picture the alpha was computed from.
        alpha: (h, w) float32 in [0, 1]: of the model's size until one stage lifts it to the frame's.
        foreground: (3, H, W) float32 in [0, 1], straight (unassociated); ``None`` stands for the frame's own colours.
        core, garbage, holdout: (H, W) float32 in [0, 1]: the user's mattes of what is certainly the subject, what is
            thrown away, and what is in front of the subject.
        link: The motion between this frame and the one before.
    """

    frame: Frame
    alpha: Tensor
    foreground: Tensor | None = None
    core: Tensor | None = None
    garbage: Tensor | None = None
    holdout: Tensor | None = None
    link: Link | None = field(default=None, repr=False)


class Source(Protocol):
    """Frames in order, each once. A context manager; leaving it releases the file or device."""

    @property
    def info(self) -> StreamInfo: ...
    @property
    def lost(self) -> str | None:
        """What could not be decoded, in one line; known after the last frame. ``None``: nothing was lost."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Footage(Source, Protocol):
    """A source that is a file or files, as ``open_video`` gives it.

    Frames and cut-outs can be read as often as you like, except from standard input.
    """

    def __len__(self) -> int:
        """How many frames it states to have. Raises ``TypeError`` if it does not."""
        ...

    @property
    def first_number(self) -> int:
        """The number that numbered pictures made of it begin with."""
        ...

    @property
    def begins(self) -> Fraction:
        """When the first frame of the whole is shown, in seconds."""
        ...

    @property
    def has_alpha(self) -> bool:
        """It has an alpha of its own; without one, only a matte in grey has cut-outs."""
        ...

    @property
    def notes(self) -> list[str]:
        """What a user should know of how it is read, a line each; complete once the frames have run out."""
        ...

    def cutouts(self) -> Iterator[Cutout]:
        """The frames, each with its alpha.

        Raises:
            InputError: It holds neither alpha nor a matte.
        """
        ...


class Model(Protocol):
    """A batch of frames in, their alphas out: (h, w) float32 in [0, 1], of any size."""

    def __call__(self, frames: Sequence[Frame]) -> list[Tensor]: ...


class Stage(Protocol):
    """Makes cut-outs better. May hold cut-outs back to look ahead; never drops one, never changes their order.

    What it makes of a cut-out depends on no frame further back than ``behind`` and none further ahead than ``ahead``,
    nor on where the run began.
    """

    @property
    def behind(self) -> int: ...
    @property
    def ahead(self) -> int: ...
    def push(self, cutout: Cutout) -> Iterable[Cutout]: ...
    def flush(self) -> Iterable[Cutout]: ...


class Writer(Protocol):
    """Takes cut-outs in order. Writes under a temporary name, and renames on a clean exit; an exception leaves nothing.

    A context manager. ``write`` and ``finish`` raise ``WriteFailed`` when the disk or the encoder refuses. ``finish``
    completes what is written, still under the temporary name: where several writers belong together, all are finished
    before any is renamed. Leaving the writer finishes it if that was not done.
    """

    @property
    def path(self) -> Path:
        """The final name."""
        ...

    @property
    def description(self) -> str:
        """What is written, in a few words for the summary: "ProRes 4444, straight alpha, AAC copied"."""
        ...

    def write(self, cutout: Cutout) -> None: ...
    def finish(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None: ...
