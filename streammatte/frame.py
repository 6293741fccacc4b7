"""The values that pass from source to writer, and the contracts of sources, models, stages and writers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:  # torch takes a second to import, and nothing here computes
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, device

    from streammatte.motion import Link

UNSPECIFIED = 2


@dataclass(frozen=True, slots=True)
class ColorSpec:
    """Colour tags: code points of ITU-T H.273, which FFmpeg's enumerations share.

    2 means unspecified. The code that converts pixels decides what to take it for.

    Attributes:
        full_range: Black and white are 0 and 2ⁿ-1 ("pc"); otherwise studio swing ("tv").
        matrix: MatrixCoefficients (0 for RGB, 1 for BT.709, 5 and 6 for BT.601, 9 for BT.2020 …).
        primaries: ColourPrimaries.
        transfer: TransferCharacteristics.
        bit_depth: Bits per component as stored.
    """

    full_range: bool = False
    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    bit_depth: int = 8


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream's properties, known before its first frame.

    Attributes:
        width, height: In pixels, as decoded.
        time_base: Seconds in one unit of ``Frame.pts``.
        frame_rate: Nominal; the frames' pts decide.
        frame_count: As the container states it; ``None`` for live or unknown.
        color: Range, matrix, primaries, transfer, bit depth.
        pixel_aspect: Pixel width over height, after rotation; not 1 in anamorphic footage.
        timecode: The first frame's, ``01:00:00;02``; ``None`` if the footage has none.
        first_index: ``Frame.index`` of the first frame: 0, or its place in the whole clip.
        span: For a part of a clip, when it begins and ends, in seconds of pts; an end of ``None`` is the clip's own.
        profile: ICC profile of the frames' RGB; ``None``: ``color`` applies, or sRGB where that says nothing. PNG and
            TIFF store it; for other outputs and for networks, colours are converted to sRGB.
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
    """A picture's decoded Y'CbCr. RGB clips it beyond black and white, and rounds it.

    Attributes:
        planes: Y', Cb and Cr, 2-D uint8 or uint16 code values, chroma on its own grid; read-only views of the decoder's
            memory, which they keep alive.
        bits: Per code value: 8, 10, 12, 14 or 16.
        full_range: As in ``ColorSpec``.
        matrix: MatrixCoefficients that ``Frame.rgb`` was made with, assumed ones included.
        centred: Chroma lies midway between the luma columns that share it, as in JPEG, not on the first of them.
        upright: Turns a plane as ``Frame.rgb`` was turned; ``None`` if it was not. No codec stores chroma where turned
            chroma lies, so it must be interpolated first.
        rgb_of: Converts copies of the planes, and this description of them, to what ``Frame.rgb`` holds before it is
            turned, on the copies' device.
    """

    planes: tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]
    bits: int
    full_range: bool
    matrix: int
    centred: bool
    upright: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    rgb_of: Callable[[Sequence[Tensor], StoredSamples], Tensor] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture as decoded.

    Attributes:
        rgb: (3, H, W), uint8, uint16 or float32; integers use their type's full range, floats [0, 1]. Encoded like the
            source.
        pts: Presentation time in the stream's ``time_base``; may be negative.
        index: Number of the decoded frame, from 0; in a part of a clip, from its place in the whole.
        duration: How long it is shown, in ``time_base``; 0 if unknown.
        samples: The Y'CbCr that ``rgb`` was made from, if of the same size. Writers store these where the cut-out keeps
            the frame's colour. Drop them when you change ``rgb``.
        view: Converts ``rgb`` to what a screen shows, in the same type, for log, linear and HDR footage and ICC
            profiles; ``None`` if they are the same.
        planes: The planes of ``samples`` on the device of ``rgb``, in a copy that :meth:`on` made of them.
    """

    rgb: Tensor
    pts: int
    index: int
    duration: int = 0
    samples: StoredSamples | None = field(default=None, repr=False)
    view: Callable[[Tensor], Tensor] | None = field(default=None, repr=False)
    planes: tuple[Tensor, ...] = field(default=(), repr=False)
    _seen: dict[tuple[int, int], Tensor] = field(default_factory=dict, init=False, repr=False)
    _copies: dict[device, Frame] = field(default_factory=dict, init=False, repr=False)
    _seeing: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __repr__(self) -> str:
        kind = str(self.rgb.dtype).removeprefix("torch.")
        return f"Frame({self.index}, pts {self.pts}, {self.width}×{self.height} {kind})"

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

    def on(self, device: device, *, as_planes: bool = False) -> Frame:
        """This frame with its picture on a device: itself if it is there, or else a copy, made once and kept.

        Any thread may call it. A copy has no ``samples``.

        Args:
            as_planes: If the copy is not made yet, the planes of ``samples`` cross, which are smaller, and are
                converted there; ``rgb`` may then differ by two steps.
        """
        if self.rgb.device == device:
            return self
        with self._seeing:
            if device not in self._copies:
                stored = self.samples
                if as_planes and stored is not None and stored.rgb_of is not None and stored.upright is None:
                    planes = tuple(_sent(plane, device) for plane in stored.planes)
                    copy = replace(self, rgb=stored.rgb_of(planes, stored), planes=planes, samples=None)
                else:
                    copy = replace(self, rgb=_sent(self.rgb, device), samples=None)
                self._copies[device] = copy
            return self._copies[device]

    def forget(self) -> None:
        """Let go of the copies on other devices, which live as long as the frame; :meth:`on` makes them again."""
        with self._seeing:
            self._copies.clear()

    def as_float(self) -> Tensor:
        """``rgb`` as float32 in [0, 1], on its device; a copy only where needed."""
        return _as_float(self.rgb)

    def shown(self) -> Tensor:
        """(3, H, W) float32 in [0, 1] on its device: what a screen shows. Not kept."""
        return _as_float(self._view())

    def shown_on(self, device: device) -> Tensor:
        """:meth:`shown` on a device."""
        if self.view is None or self.rgb.device == device:
            return self.on(device).shown()
        return _sent(self.shown(), device)  # views compute on the CPU

    def seen_on(self, device: device, size: tuple[int, int]) -> Tensor:
        """:meth:`seen` on a device; not kept there, unless the frame is."""
        if self.rgb.device == device:
            return self.seen(size)
        if self.view is not None:
            return _sent(self.seen(size), device)
        return self.on(device)._scaled(size)

    def _view(self) -> Tensor:
        return self.rgb if self.view is None else self.view(self.rgb)

    def seen(self, size: tuple[int, int]) -> Tensor:
        """(3, h, w) float32 in [0, 1] on its device: what a screen shows, scaled bilinearly with antialiasing.

        Computed once per size and kept with the frame; any thread may call it. Do not modify the result.
        """
        with self._seeing:
            if size not in self._seen:
                self._seen[size] = self._scaled(size)
            return self._seen[size]

    def _scaled(self, size: tuple[int, int]) -> Tensor:
        from torch import uint8
        from torch.nn.functional import interpolate

        shown = self._view()
        if size == self.size:
            return _as_float(shown)
        if shown.dtype is not uint8 or not shown.is_cpu:  # torch scales bytes twenty times as fast, on a CPU only
            shown = _as_float(shown)
        return _as_float(interpolate(shown[None], size, mode="bilinear", align_corners=False, antialias=True)[0])


def _sent(samples: Tensor | NDArray[np.integer], device: device) -> Tensor:
    """A copy on a device; on its way to a GPU, so that nobody waits for it."""
    import torch

    pinned = device.type == "cuda"
    if isinstance(samples, torch.Tensor):
        pinned &= samples.is_cpu
        return (samples.pin_memory() if pinned else samples).to(device, non_blocking=pinned)
    kind = torch.uint8 if samples.itemsize == 1 else torch.uint16
    copy = torch.empty(samples.shape, dtype=kind, pin_memory=pinned)
    copy.numpy()[...] = samples  # which may be read-only, as no tensor is
    return copy.to(device, non_blocking=pinned)


def fetched(tensors: Sequence[Tensor], device: device) -> list[Tensor]:
    """Copies on another device, made together: from a GPU to the CPU with one wait for all of them."""
    import torch

    if device.type != "cpu" or not tensors or not all(tensor.is_cuda for tensor in tensors):
        return [tensor.to(device) for tensor in tensors]
    copies = [torch.empty_like(tensor, device=device, pin_memory=True) for tensor in tensors]
    for copy, tensor in zip(copies, tensors, strict=True):
        copy.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensors[0].device).synchronize()
    return copies


def _as_float(rgb: Tensor) -> Tensor:
    if rgb.is_floating_point():
        return rgb.float()
    return rgb.float().div_(2 ** (8 * rgb.element_size()) - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A frame and its alpha.

    Attributes:
        frame: The picture the alpha was computed from.
        alpha: (h, w) float32 in [0, 1], of the model's size until one stage lifts it to the frame's.
        foreground: (3, H, W), straight (unassociated), float32 in [0, 1] or integers of their type's full range;
            ``None``: the frame's own colours.
        core, garbage, holdout: (H, W) float32 in [0, 1]: the user's mattes of what is certainly the subject, what is
            removed, and what is in front of the subject.
        link: The motion from the frame before; ``None`` if no stage looks at other frames.
    """

    frame: Frame
    alpha: Tensor
    foreground: Tensor | None = None
    core: Tensor | None = None
    garbage: Tensor | None = None
    holdout: Tensor | None = None
    link: Link | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        height, width = self.alpha.shape[-2:]
        parts = [name for name in ("foreground", "core", "garbage", "holdout") if getattr(self, name) is not None]
        return f"Cutout({', '.join([f'frame {self.frame.index}', f'alpha {width}×{height}', *parts])})"

    def as_float(self) -> Tensor:
        """(3, H, W) float32 in [0, 1]: the foreground or, if there is none, the frame's own colours."""
        return _as_float(self.frame.rgb if self.foreground is None else self.foreground)

    def home(self) -> Cutout:
        """This cut-out with its alpha and foreground on its frame's device; itself if they are there."""
        there = self.frame.rgb.device
        if self.alpha.device == there and (self.foreground is None or self.foreground.device == there):
            return self
        results = [self.alpha, *([] if self.foreground is None else [self.foreground])]
        alpha, *foreground = fetched(results, there)
        if self.alpha.is_cuda:  # cut-outs may be kept, and pinned memory should not be
            alpha, foreground = alpha.clone(), [each.clone() for each in foreground]
        return replace(self, alpha=alpha, foreground=foreground[0] if foreground else None)


class Source(Protocol):
    """Frames in order. A context manager; leaving it releases the file or device."""

    @property
    def info(self) -> StreamInfo: ...
    @property
    def lost(self) -> str | None:
        """One line on what could not be decoded, after the last frame; ``None`` if nothing was lost."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Footage(Source, Protocol):
    """A source that is a file or files, as ``open_video`` returns it.

    Frames and cut-outs can be read as often as you like, except from standard input.
    """

    def __len__(self) -> int:
        """The stated number of frames. Raises ``TypeError`` if none is stated."""
        ...

    @property
    def first_number(self) -> int:
        """The number of the first picture when it is written as numbered pictures."""
        ...

    @property
    def begins(self) -> Fraction:
        """When the first frame of the whole is shown, in seconds."""
        ...

    @property
    def has_alpha(self) -> bool:
        """It has its own alpha; without one, only a grey matte has cut-outs."""
        ...

    @property
    def notes(self) -> list[str]:
        """Lines for the user on how it is read; complete after the last frame."""
        ...

    @property
    def indices(self) -> range:
        """Of its frames, in the whole clip. Counted by reading the file, where that says nothing."""
        ...

    def frame_at(self, mark: str, option: str) -> int:
        """The index of the frame of the whole clip that a mark names. Raises ``InputError``, naming the option."""
        ...

    def between(self, start: int, stop: int) -> Iterator[Frame]:
        """The frames with these indices, ``stop`` excluded, in a pass of its own beside any other."""
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
    """Improves cut-outs. May hold some back to look ahead; never drops or reorders them.

    A result depends on at most ``behind`` frames before and ``ahead`` frames after it, not on where the run began. A
    method ``close``, if it has one, is called at the end, however the run ends.
    """

    @property
    def behind(self) -> int: ...
    @property
    def ahead(self) -> int: ...
    def push(self, cutout: Cutout) -> Iterable[Cutout]: ...
    def flush(self) -> Iterable[Cutout]: ...


class Writer(Protocol):
    """Takes cut-outs in order. Writes under a temporary name, and renames on a clean exit; an exception leaves nothing.

    A context manager. ``write`` and ``finish`` raise ``WriteFailed`` when the disk or the encoder fails. ``finish``
    completes the file under its temporary name, so that several writers can all be finished before any is renamed.
    Leaving the writer finishes it if necessary.
    """

    @property
    def path(self) -> Path:
        """The final name."""
        ...

    @property
    def description(self) -> str:
        """The content in a few words: "ProRes 4444, straight alpha, AAC copied"."""
        ...

    def write(self, cutout: Cutout) -> None: ...
    def finish(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None: ...
