"""Doubts about what a file states: its rate, its size, and decoders that give one flat colour."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np

from streammatte.color.ycbcr import Samples
from streammatte.media.containers import only, open_container
from streammatte.media.remote import is_remote

USUAL_RATE = Fraction(25)

_FASTEST = 1000  # frames a second: above, it is a clock that ticks
_LOOKED_AT = 50  # packets, to tell a rate from
_INDEXED = 10_000  # packets of an index: in a clip of hours, more cost seconds
_SHOWN_EARLIER = 8  # frames that may be stored after one shown later
_FEWEST = 8  # steps between frames, before a stated rate is doubted
_COMMON = [Fraction(rate * 1000, scale) for rate in (24, 25, 30, 50, 60) for scale in (1000, 1001)]
_NEAR = Fraction(1, 2500)  # a share; 24 and 23.976 are further apart
_MOST_INTERLACED = 35  # frames a second; above, fields were counted
_SLACK = Fraction(21, 20)  # for times rounded to milliseconds
_COARSE = 16  # step between the lines and columns looked at first
_BITS_OF_FLAT = 0.08  # a pixel: an encoder needs at most a tenth of it for one colour
_SMALL = 1000  # bytes: in less, one colour is expected


def rate_of(url: str, stream: av.VideoStream, *, interlaced: bool) -> tuple[Fraction, str | None]:
    """Frames a second, and one line if the file states a different rate from its packets.

    Args:
        url: The file. Addresses and pipes are not read a second time.
        interlaced: Its packets may be fields, two a frame.
    """
    stated = [each for each in (stream.average_rate, stream.guessed_rate) if each]
    stamps = _stamps(url, stream)
    steps = [later - earlier for earlier, later in pairwise(stamps)]
    for rate in stated:
        if rate <= _FASTEST and (not steps or _fits(rate, steps, interlaced=interlaced)):
            return rate, None if rate == stated[0] else _says(stated[0], rate)
    if not steps:
        return USUAL_RATE, f"the file states no frame rate: using {_shown(USUAL_RATE)} fps"
    rate = _usual(steps)
    rate = rate / 2 if interlaced and rate > _MOST_INTERLACED else rate
    return rate, _says(stated[0], rate) if stated else None


def _fits(rate: Fraction, steps: list[Fraction], *, interlaced: bool) -> bool:
    """Whether a clip of that rate may have frames that far apart."""
    if len(steps) < _FEWEST:
        return True
    if rate * min(steps) > _SLACK:
        return False
    return interlaced or not _even(steps) or rate * max(steps) * _SLACK > 1


def _even(steps: list[Fraction]) -> bool:
    return max(steps) < min(steps) * _SLACK


def _usual(steps: list[Fraction]) -> Fraction:
    """The rate of frames mostly that far apart; a common rate if one is near."""
    step = sum(steps, Fraction(0)) / len(steps) if _even(steps) else sorted(steps)[len(steps) // 2]
    near = min(_COMMON, key=lambda common: abs(common * step - 1))
    return near if abs(near * step - 1) < _NEAR else (1 / step).limit_denominator(1001) or USUAL_RATE


def _stamps(url: str, stream: av.VideoStream) -> list[Fraction]:
    """Times of the packets in seconds and in order, from the index or else of the first packets; none for a picture."""
    kind = stream.container.format.name
    if kind.startswith("mov"):
        base = stream.time_base or Fraction(1)
        return [stamp * base for stamp in sorted({entry.timestamp for entry in stream.index_entries})[:_INDEXED]]
    if kind.endswith("_pipe") or kind == "image2" or not _is_file(url):
        return []
    stamps = set()
    with open_container(url) as container:
        again = container.streams[stream.index]
        only(container, again)
        try:
            for packet in islice(container.demux(again), _LOOKED_AT):
                stamp = packet.dts if packet.pts is None else packet.pts
                if packet.size and stamp is not None and not packet.is_discard:
                    stamps.add(stamp * packet.time_base)
        except av.FFmpegError:
            pass  # the file is damaged here; reading it will say so
    # The last ones may be shown after others that were not looked at.
    return sorted(stamps)[: max(2, len(stamps) - _SHOWN_EARLIER)]


def _is_file(url: str) -> bool:
    try:
        return is_remote(url) or Path(url).is_file()
    except (OSError, ValueError):
        return False


def _says(stated: Fraction, rate: Fraction) -> str:
    return f"the file states {_shown(stated)} fps, but its frames come at {_shown(rate)} fps: using the latter"


def _shown(rate: Fraction) -> str:
    return f"{float(rate):.6g}"


def size_told(stated: tuple[int, int], decoded: tuple[int, int]) -> str | None:
    """One line if the first picture does not have the stated (width, height)."""
    if not all(stated) or stated == decoded:
        return None
    (width, height), (own_width, own_height) = stated, decoded
    return f"the file states {width}×{height}, but its first frame is {own_width}×{own_height}: using the latter"


class OneColour:
    """Notices when every picture is one flat colour although the packets are as large as those of pictures.

    Some decoders turn what they cannot read into green, black or white, without an error.
    """

    def __init__(self) -> None:
        self._flat = 0
        self._pixels = 0
        self._seen = False

    def look(self, picture: Samples) -> None:
        """Look at (H, W, 3); nearly free after the first picture that shows something."""
        if self._seen:
            return
        coarse = picture[::_COARSE, ::_COARSE]
        if (coarse != coarse[0, 0]).any() or (picture != picture[0, 0]).any():
            self._seen = True
            return
        self._flat += 1
        self._pixels += picture.shape[0] * picture.shape[1]

    def told(self, size: int) -> str | None:
        """One line if that is so, for packets of ``size`` bytes."""
        if self._seen or not self._flat or size < max(_SMALL, self._pixels * _BITS_OF_FLAT / 8):
            return None
        what = "the frame is" if self._flat == 1 else f"all {self._flat} frames are"
        return f"{what} one flat colour, but take {_amount(size)}: probably decoded wrongly"


def _amount(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{np.ceil(size / 1e3):.0f} kB"
