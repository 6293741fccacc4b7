"""Remove a green or blue screen's light from the subject."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from streammatte.errors import InputError
from streammatte.frame import Cutout
from streammatte.stages.frame_by_frame import FrameByFrame

LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709's weights of red, green and blue


class Despill(FrameByFrame):
    """The stage: removes a screen's spill from ``Cutout.foreground``, or from the frame's colours if there is none.

    Args:
        color: The screen's, (R, G, B) in [0, 1].

    Raises:
        ValueError: No channel of the colour dominates.
    """

    ordered = False

    def __init__(self, color: tuple[float, float, float]) -> None:
        _leading(color)
        self._color = color

    def better(self, cutout: Cutout) -> Cutout:
        there = replace(cutout, frame=cutout.frame.on(cutout.alpha.device))  # alpha and colours stay together
        return replace(cutout, foreground=despill(there.as_float(), self._color))


def despill(rgb: Tensor, color: tuple[float, float, float]) -> Tensor:
    """Limit the screen's channel to the larger of the other two.

    The excess is taken for the screen's light: that much of ``color`` is subtracted, and a grey of the same luma added,
    so that grey hair stays grey.

    Args:
        rgb: (3, H, W) float in [0, 1], gamma-encoded.
        color: The screen's, (R, G, B) in [0, 1]; its largest channel is limited.

    Returns:
        (3, H, W) in [0, 1]; bit for bit ``rgb`` where the screen's channel does not dominate.

    Raises:
        ValueError: No channel of the colour dominates, as in grey, yellow, cyan or magenta.
    """
    channel = _leading(color)
    others = [index for index in range(3) if index != channel]
    screen, luma = torch.tensor(color, dtype=torch.float32), torch.tensor(LUMA)
    shift = ((luma @ screen) - screen) / (screen[channel] - screen[others].max())
    excess = (rgb[channel] - rgb[others].amax(0)).clamp_min(0)
    clean = (rgb + excess * shift.to(rgb)[:, None, None]).clamp(0, 1)
    return torch.where(excess > 0, clean, rgb)


def _leading(color: tuple[float, float, float]) -> int:
    """The dominant channel."""
    second, first = sorted(color)[1:]
    if not first > second:
        raise ValueError(f"{color}: no channel of it is larger than the others")
    return color.index(first)


def screen_of(text: str) -> tuple[float, float, float]:
    """The colour of a screen, (R, G, B) in [0, 1].

    Raises:
        InputError: It is not a colour, or not a screen's.
    """
    from streammatte.media.background import parse_color

    hint = "--despill green, --despill blue, or the screen's own colour: --despill '#00b140'"
    rgb = parse_color(text)
    if rgb is None:
        raise InputError(f"--despill: {text!r} is not a colour", hint=hint)
    red, green, blue = (value / 255 for value in rgb)
    try:
        Despill((red, green, blue))
    except ValueError as exc:
        raise InputError(f"--despill: {text!r} is not a screen colour: no channel dominates", hint=hint) from exc
    return red, green, blue
