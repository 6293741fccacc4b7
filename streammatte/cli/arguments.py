"""What the values of options mean: from text to value, or to a line that says what is wrong with it."""

from __future__ import annotations

import argparse
import difflib
from fractions import Fraction
from typing import Any, NoReturn

FARTHEST = 500
"""Pixels that an edge can be moved by or be wide: beyond, something else is meant."""


QUALITIES = ("auto", "high", "medium", "low")
"""How fine and how often a live matte is computed; see ``live.controller``."""


def rate(text: str) -> Fraction:
    """``25``, ``23.976`` or ``30000/1001``; NTSC's rounded rates become the exact ones."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a frame rate: 25, 23.976, 30000/1001") from None
    if rate <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a frame rate: it must be above 0")
    if rate.denominator != 1 and "." in text:
        exact = Fraction(round(rate * Fraction(1001, 1000)) * 1000, 1001)
        if abs(exact - rate) < Fraction(1, 100):
            return exact
    return rate


def size(text: str) -> tuple[int, int]:
    """``WxH`` → (H, W)."""
    width, x, height = text.lower().partition("x")
    if not x or not width.isdecimal() or not height.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: 512x512 is (width x height)")
    return int(height), int(width)


def box(text: str) -> tuple[int, int, int, int]:
    """``X0,Y0,X1,Y1`` in pixels, the far corner left out."""
    corners = [part.strip() for part in text.split(",")]
    if len(corners) != 4 or not all(corner.isdecimal() for corner in corners):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a box: left,top,right,bottom in whole pixels, as 320,80,480,300"
        )
    left, top, right, bottom = map(int, corners)
    if left >= right or top >= bottom:
        raise argparse.ArgumentTypeError(f"{text!r} is not a box: right and bottom lie beyond left and top")
    return left, top, right, bottom


def keyframe_distance(text: str) -> int:
    """Frames; all between two keyframes are held in memory."""
    if not text.isdecimal() or not 1 <= int(text) <= 60:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of frames from 1 to 60, which are held in memory")
    return int(text)


def input_side(text: str) -> int:
    """Pixels of SDMatte's input, a multiple of 64."""
    if not text.isdecimal() or int(text) % 64 or not 256 <= int(text) <= 2048:
        raise argparse.ArgumentTypeError(f"{text!r} is not a side of its input: a multiple of 64 from 256 to 2048")
    return int(text)


def above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("inf")
    if not abs(value) <= FARTHEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels, up to {FARTHEST}")
    return value


def up_from_zero(text: str) -> float:
    if (value := number(text)) < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is below 0")
    return value


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share: from 0 to below 1")
    return value


def whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


LIMITED = ("flicker", "contamination", "mended", "audio")
"""What a run can be made to fail on; see ``report.observer.Findings``."""


def limit(text: str) -> tuple[str, float]:
    """``flicker=0.4``: what may not exceed how much."""
    name, equals, number = text.partition("=")
    if name not in LIMITED:
        near = difflib.get_close_matches(name, LIMITED, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise argparse.ArgumentTypeError(f"{name!r} is no score: {meant}There are {', '.join(LIMITED)}")
    if not equals:
        raise argparse.ArgumentTypeError(f"{name} needs a limit, as in {name}=0.5")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{number!r} is no limit for {name}: a number from 0 is")
    return name, value


def quality(text: str) -> str | tuple[tuple[int, int], int]:
    """How a live matte is computed: a name, or ``WxH[/N]`` → (H, W) of the network's input, every N frames."""
    if text in QUALITIES:
        return text
    try:
        side, slash, every = text.partition("/")
        return size(side), positive(every) if slash else 1
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no quality: {', '.join(QUALITIES)}, or 192x192/2 (the network's input, on every 2nd frame)"
        ) from None


class Parser(argparse.ArgumentParser):
    """A parser whose options may be given only once, unless they collect what they are given (``action="append"``).

    Otherwise the last of several values would replace the others in silence. A flag says the same however often it is
    given. Groups and commands of a parser hold to it, too, and no option can be shortened.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs, allow_abbrev=False)
        for name in (None, "store"):  # what add_argument takes by default
            self.register("action", name, _StoreOnce)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, in two lines, and leave with 2."""
        hint = f"{self.prog} --help"
        if "expected one argument" in message or "required: INPUT" in message or "unrecognized arguments: -" in message:
            hint += "; a name that begins with a dash is written ./-name"
        self.exit(2, f"{self.prog}: error: {message}\n  hint: {hint}\n")


class _StoreOnce(argparse._StoreAction):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> None:
        # On the namespace, which is new for each parse: a default value cannot be told from the same one given.
        given = namespace.__dict__.setdefault("_given_once", set())
        if self.dest in given:
            parser.error(f"{option} may be given only once")
        given.add(self.dest)
        super().__call__(parser, namespace, values, option)  # type: ignore[arg-type]
