"""What the packets and pictures of a file say, held against what FFmpeg says of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, pairwise

import av
import numpy as np

from streammatte.media.color import Samples
from streammatte.media.containers import open_container
from streammatte.media.lane import only

USUAL_RATE = Fraction(25)

_FASTEST = 1000  # frames a second: what is above counts ticks of a clock
_LOOKED_AT = 50  # packets, from which a rate can be told
_FEWEST = 8  # steps of one length, before a rate that fits them less is doubted
_SLACK = Fraction(21, 20)  # for times that are rounded to milliseconds
_COARSE = 16  # every so many lines and columns are looked at first
_BITS_OF_FLAT = 0.08  # a pixel: what an encoder takes for a picture of one colour is a tenth of it, and less
_SMALL = 1000  # bytes: of less, one colour is expected


def rate_of(url: str, stream: av.VideoStream, *, interlaced: bool) -> tuple[Fraction, str | None]:
    """Frames a second, and a line about it if the file states another rate than its packets have.

    Args:
        url: The file. An address is not asked for a second time.
        interlaced: Its packets may be fields, two a frame.
    """
    stated = [each for each in (stream.average_rate, stream.guessed_rate) if each]
    steps = [] if _is_remote(url) else list(_steps(url, stream.index))
    for rate in stated:
        if rate <= _FASTEST and (not steps or _fits(rate, steps, counted=bool(stream.frames), interlaced=interlaced)):
            return rate, None if rate == stated[0] else _says(stated[0], rate)
    if not steps:
        return USUAL_RATE, f"states no frame rate: using {_shown(USUAL_RATE)} frames a second"
    usual = sorted(steps)[len(steps) // 2]
    rate = 1 / usual if not interlaced or 1 / usual < 40 else 1 / usual / 2
    rate = rate.limit_denominator(1001)
    return rate, _says(stated[0], rate) if stated else None


def _fits(rate: Fraction, steps: list[Fraction], *, counted: bool, interlaced: bool) -> bool:
    """Whether frames that far apart are of a clip with that rate; it may have longer pauses later."""
    quickest, slowest = min(steps), max(steps)
    if rate * quickest > _SLACK and rate * slowest > _SLACK:
        return False  # there are never so many
    even = len(steps) >= _FEWEST and slowest < quickest * _SLACK
    return counted or interlaced or not even or rate * slowest * _SLACK > 1


def _steps(url: str, index: int) -> Iterator[Fraction]:
    """Seconds between the frames that the first packets are, in the order they are shown."""
    stamps = set()
    with open_container(url) as container:
        stream = container.streams[index]
        only(container, stream)
        try:
            for packet in islice(container.demux(stream), _LOOKED_AT):
                stamp = packet.dts if packet.pts is None else packet.pts
                if packet.size and stamp is not None and not packet.is_discard:
                    stamps.add(stamp * packet.time_base)
        except av.FFmpegError:
            pass  # it is damaged here, which reading it will tell
    # The last of them may be shown before others that were not looked at.
    ordered = sorted(stamps)
    yield from (later - earlier for earlier, later in pairwise(ordered[: max(2, len(ordered) - 8)]))


def _is_remote(url: str) -> bool:
    return "://" in url and not os.path.exists(url)  # noqa: PTH110 - see open_container


def _says(stated: Fraction, rate: Fraction) -> str:
    return f"states {_shown(stated)} frames a second, but its frames come at {_shown(rate)}: using {_shown(rate)}"


def _shown(rate: Fraction) -> str:
    return f"{float(rate):.6g}"


def size_told(stated: tuple[int, int], decoded: tuple[int, int]) -> str | None:
    """One line, if the first picture is not of the size that the file states, as (width, height)."""
    if not all(stated) or stated == decoded:
        return None
    (width, height), (own_width, own_height) = stated, decoded
    return f"states {width}×{height}, but its first frame is {own_width}×{own_height}: using its own size"


class OneColour:
    """Looks whether every picture is one flat colour while its packets are as large as pictures.

    It is what some decoders make of what they cannot read: green, black or white, without an error.
    """

    def __init__(self) -> None:
        self._flat = 0
        self._pixels = 0
        self._seen = False

    def look(self, picture: Samples) -> None:
        """Look at (H, W, 3); costs next to nothing after the first that shows something."""
        if self._seen:
            return
        coarse = picture[::_COARSE, ::_COARSE]
        if (coarse != coarse[0, 0]).any() or (picture != picture[0, 0]).any():
            self._seen = True
            return
        self._flat += 1
        self._pixels += picture.shape[0] * picture.shape[1]

    def told(self, size: int) -> str | None:
        """One line, if that is so of what took ``size`` bytes."""
        if self._seen or not self._flat or size < max(_SMALL, self._pixels * _BITS_OF_FLAT / 8):
            return None
        what = "its frame is" if self._flat == 1 else f"all of its {self._flat} frames are"
        return f"{what} one flat colour, though {_amount(size)} large: it may have been decoded wrongly"


def _amount(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{np.ceil(size / 1e3):.0f} kB"
