"""Prompts for an opened clip: times become frames, pictures become masks, and what contradicts itself is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from streammatte.color.ycbcr import fitted
from streammatte.errors import InputError, refusing
from streammatte.media.addresses import without_secrets
from streammatte.options.prompts import Prompted
from streammatte.subject.contracts import Prompt

if TYPE_CHECKING:
    from streammatte.frame import Frame
    from streammatte.motion import Plane
    from streammatte.subject.looks import Clip

LEFT = 2 / 255
"""Distance from mid grey within which a painted mask says nothing."""

CLEAR = 0.5  # alpha below which a painted pixel says nothing
_OTHER_SHAPE = 0.05  # of the aspect ratio; less is rounding


@refusing()
def resolved(asked: Iterable[Prompted], source: Clip, mark_in: str | None = None) -> list[Prompt]:
    """The prompts for a clip, in order of frames.

    Args:
        mark_in: The in point, which prompts without a time are for; by default the first frame.

    Raises:
        InputError: A prompt is beyond the clip or its frames, or contradicts another; a mask cannot be read.
    """
    indices = source.indices
    first = indices.start if mark_in is None else source.frame_at(mark_in, "--in")
    prompts = [_resolved(each, source, first, indices) for each in asked]
    check(prompts)
    return sorted(prompts, key=lambda prompt: prompt.index)


def _resolved(asked: Prompted, source: Clip, first: int, indices: range) -> Prompt:
    if asked.given is not None:
        index = int(asked.given.index)
        mask = _given(asked.given.mask, source) if asked.kind == "mask" else None
    else:
        index = first if asked.time is None else source.frame_at(asked.time, f'"{asked}":')
        mask = _painted(asked.mask, source) if asked.kind == "mask" else None
    if index not in indices:
        raise InputError(
            f'"{asked}" is for frame {index}, and frames {indices.start} to {indices.stop - 1} are read',
            hint="a prompt lies between --in and --out",
        )
    _within(asked, source)
    return Prompt(asked.subject, asked.kind, index, asked.at, mask)  # type: ignore[arg-type]  # one of KINDS


def _within(asked: Prompted, source: Clip) -> None:
    """Refuse a place outside of the frame; a box's right and bottom are just outside of it."""
    width, height, beyond = source.info.width, source.info.height, asked.kind == "box"
    xs, ys = asked.at[0::2], asked.at[1::2]
    if all(0 <= x < width + beyond for x in xs) and all(0 <= y < height + beyond for y in ys):
        return
    raise InputError(
        f'"{asked}" is outside of the frame, which is {width}×{height}',
        hint="places are in pixels of the frame, from its upper left",
    )


def check(prompts: Sequence[Prompt]) -> None:
    """Refuse prompts that contradict each other.

    Raises:
        InputError: Two of them cannot both be true.
    """
    boxes: dict[tuple[str, int, str], Prompt] = {}
    points: dict[tuple[int, tuple[float, ...]], Prompt] = {}
    for prompt in prompts:
        whom, when = _whom(prompt.subject), f"at frame {prompt.index}"
        if prompt.kind in ("box", "mask"):
            if boxes.setdefault((prompt.subject, prompt.index, prompt.kind), prompt) is not prompt:
                kind = "boxes" if prompt.kind == "box" else "masks"
                raise InputError(f"{whom} has two {kind} {when}", hint="give one of them, or give them different names")
        else:
            other = points.setdefault((prompt.index, prompt.at), prompt)
            at = ",".join(f"{number:g}" for number in prompt.at)
            one, same = other.subject == prompt.subject, other.kind == prompt.kind
            if (one and not same) or (not one and same and prompt.kind == "point"):
                raise InputError(f"the prompts for {at} {when} contradict each other", hint="leave out one of them")
    for prompt in prompts:
        box = boxes.get((prompt.subject, prompt.index, "box"))
        if prompt.kind == "point" and box is not None:
            (x, y), (left, top, right, bottom) = prompt.at, box.at
            if not (left <= x < right and top <= y < bottom):
                raise InputError(
                    f"a point of {_whom(prompt.subject)} lies outside of its box at frame {prompt.index}",
                    hint="if that is somebody else, give them a name: 'ben: point …'",
                )


def _whom(name: str) -> str:
    return name or "the subject"


def _given(mask: Any, source: Clip) -> Plane:
    """A mask from Python, (H, W) in [0, 1], NaN where it says nothing."""
    try:
        values = np.asarray(mask, np.float32)
    except (TypeError, ValueError) as exc:
        raise InputError(f"a mask holds numbers: {exc}", hint="give an array of floats from 0 to 1") from exc
    if not values.size or ((values < 0) | (values > 1)).any():
        raise InputError("a mask holds values from 0 to 1, or NaN where it says nothing", hint="divide 8 bits by 255")
    return _sized(values, source, "the mask")


def _painted(path: str, source: Clip) -> Plane:
    """A mask from a picture, (H, W) in [0, 1], NaN where it says nothing.

    Black and white are paint: mid grey and transparent pixels say nothing. A picture with colours and alpha is a
    cut-out, whose alpha is the mask.
    """
    from streammatte.media.read.alpha import is_grey
    from streammatte.media.read.opening import open_video

    shown = without_secrets(path)
    with open_video(path) as pictures:
        if len(pictures.indices) != 1:
            raise InputError(f"{shown} holds more than one picture", hint="a mask is one picture, for one frame")
        (frame,) = pictures
        grey = is_grey((frame.as_float() * 255).byte().permute(1, 2, 0).numpy())
        if not grey and not pictures.has_alpha:
            raise InputError(
                f"{shown} has neither alpha nor a greyscale picture",
                hint="paint white on the subject, black beside it, and leave the rest transparent or mid grey",
            )
        alpha = next(iter(pictures.cutouts())).alpha.numpy() if pictures.has_alpha else None
        mask = alpha if alpha is not None and not grey else _of_paint(frame, alpha)
    return _sized(np.asarray(mask, np.float32), source, shown)


def _of_paint(frame: Frame, alpha: Plane | None) -> Plane:
    level = frame.as_float().mean(0).numpy().copy()
    silent = np.abs(level - np.float32(0.5)) <= LEFT
    if alpha is not None:
        silent |= alpha < CLEAR
    level[silent] = np.nan
    return level


def _sized(mask: Plane, source: Clip, name: str) -> Plane:
    """At the frame's size, by its nearest pixels where it says nothing."""
    info, (height, width) = source.info, mask.shape
    if abs(width * info.height - height * info.width) > _OTHER_SHAPE * width * info.height:
        raise InputError(
            f"{name} is {width}×{height}, a different shape from the footage's {info.width}×{info.height}",
            hint="a mask of another size is scaled, but not stretched",
        )
    silent = np.isnan(mask)
    sized = np.array(fitted(np.where(silent, np.float32(0.5), mask), info.width, info.height), np.float32)
    sized[fitted(silent.astype(np.float32), info.width, info.height) > 0.5] = np.nan
    if np.isnan(sized).all():
        raise InputError(f"{name} says nothing: it is transparent or grey everywhere", hint="paint in black and white")
    return sized
