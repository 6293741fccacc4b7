"""What an option's value may be. Each function takes what was typed, or the value itself from Python.

They raise ``ValueError`` with what was expected; whoever calls them puts the option's name in front.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from fractions import Fraction

MOST_PIXELS = 500
"""Pixels that an edge can be moved by or be wide; a larger number is a mistake."""

SCORES = ("flicker", "contamination", "mended", "audio")
"""What a run can be made to fail on; see ``quality.observer.Findings``."""

QUALITIES = ("auto", "high", "medium", "low")
"""How fine and how often a live matte is computed; see ``live.pace_keeper``."""


def one_of(choices: Sequence[object]) -> Callable[[object], object]:
    """One of these, or its text."""

    def parse(given: object) -> object:
        for choice in choices:
            if given == choice or given == str(choice):
                return choice
        *others, last = map(str, choices)
        expected = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"expected {expected}, got {given!r}")

    return parse


def whole(low: int, high: int | None = None, *, step: int = 1) -> Callable[[object], int]:
    """A whole number in that range, the ends included, that ``step`` divides."""
    kind = "whole number" if step == 1 else f"multiple of {step}"
    within = f"≥ {low}" if high is None else f"from {low} to {high}"

    def parse(given: object) -> int:
        value = -1
        if isinstance(given, int) and not isinstance(given, bool):
            value = given
        elif isinstance(given, str) and given.isdecimal():
            value = int(given)
        if value < low or value % step or (high is not None and value > high):
            raise ValueError(f"expected a {kind} {within}, got {given!r}")
        return value

    return parse


def number(low: float, high: float, kind: str) -> Callable[[object], float]:
    """A number in that range, the ends included."""

    def parse(given: object) -> float:
        try:
            value = float(given)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"expected {kind}, got {given!r}")
        return value

    return parse


_SMALLEST = 5e-324
pixels = number(-MOST_PIXELS, MOST_PIXELS, f"pixels from -{MOST_PIXELS} to {MOST_PIXELS}")
width = number(0, MOST_PIXELS, f"pixels from 0 to {MOST_PIXELS}")
share = number(0, 1 - 1e-9, "a share from 0 to below 1")
above_zero = number(_SMALLEST, 1e300, "a number above 0")


def rate(given: object) -> Fraction:
    """``25``, ``23.976`` or ``30000/1001``; NTSC's rounded rates become the exact ones."""
    typed = str(given)
    try:
        rate = Fraction(typed)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise ValueError(f"expected a frame rate such as 25, 23.976 or 30000/1001, got {typed!r}")
    if rate.denominator != 1 and "." in typed:
        exact = Fraction(round(rate * Fraction(1001, 1000)) * 1000, 1001)
        if abs(exact - rate) < Fraction(1, 100):
            return exact
    return rate


def size(given: object) -> tuple[int, int]:
    """``WIDTHxHEIGHT``, or (H, W) from Python → (H, W)."""
    if isinstance(given, str):
        sides = given.lower().split("x")[::-1]
        if len(sides) == 2 and all(side.isdecimal() for side in sides):
            return int(sides[0]), int(sides[1])
    elif isinstance(given, Sequence) and len(given) == 2 and all(isinstance(side, int) for side in given):
        return int(given[0]), int(given[1])
    raise ValueError(f"expected WIDTHxHEIGHT such as 512x512, got {given!r}")


def box(given: object) -> tuple[int, int, int, int]:
    """``LEFT,TOP,RIGHT,BOTTOM`` in pixels; right and bottom are just outside."""
    parts = given.split(",") if isinstance(given, str) else given
    corners = [str(part).strip() for part in parts] if isinstance(parts, Sequence) else []
    if len(corners) != 4 or not all(corner.isdecimal() for corner in corners):
        raise ValueError(f"expected left,top,right,bottom in pixels such as 320,80,480,300, got {given!r}")
    left, top, right, bottom = map(int, corners)
    if left >= right or top >= bottom:
        raise ValueError(f"right must be greater than left, and bottom greater than top, got {given!r}")
    return left, top, right, bottom


def limit(given: object) -> tuple[str, float]:
    """``flicker=0.4``, or ("flicker", 0.4): a score and what it may not exceed."""
    if isinstance(given, str):
        name, _, most = given.partition("=")
    elif isinstance(given, Sequence) and len(given) == 2:
        name, most = map(str, given)
    else:
        raise ValueError(f"expected a score and its limit such as flicker=0.5, got {given!r}")
    if name not in SCORES:
        near = difflib.get_close_matches(name, SCORES, n=1)
        meant = f"did you mean {near[0]}?" if near else f"choose from {', '.join(SCORES)}"
        raise ValueError(f"unknown score {name!r}; {meant}")
    try:
        value = float(most)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError(f"expected a limit ≥ 0 such as {name}=0.5, got {given!r}")
    return name, value


def live_quality(given: object) -> str | tuple[tuple[int, int], int]:
    """A name, or ``WIDTHxHEIGHT[/N]`` → (H, W) of the network's input, and every how many frames it runs."""
    if isinstance(given, str):
        if given in QUALITIES:
            return given
        sides, slash, every = given.partition("/")
    elif isinstance(given, Sequence) and len(given) == 2:
        sides, slash, every = given[0], "/", given[1]
    else:
        sides, slash, every = "", "", ""
    try:
        return size(sides), whole(1)(every) if slash else 1
    except ValueError:
        raise ValueError(f"expected {', '.join(QUALITIES)} or an input size such as 320x320/2, got {given!r}") from None


def written(value: object) -> str:
    """A value as it is typed."""
    match value:
        case True | False:
            return "on" if value else "off"
        case (int(height), int(width)):
            return f"{width}x{height}"
        case (str(score), float(most)):
            return f"{score}={most:g}"
        case (int(), *corners):
            return ",".join(map(str, (value[0], *corners)))
        case tuple():
            return ", ".join(map(written, value))
        case float():
            return f"{value:g}"
        case _:
            return str(value)
