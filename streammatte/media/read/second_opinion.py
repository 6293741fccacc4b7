"""What the packets and pictures of a file say, held against what FFmpeg says of them."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np

from streammatte.color.ycbcr import Samples
from streammatte.media.containers import open_container
from streammatte.media.read.lane import only

USUAL_RATE = Fraction(25)

_FASTEST = 1000  # frames a second: what is above counts ticks of a clock
_LOOKED_AT = 50  # packets, from which a rate can be told
_INDEXED = 10_000  # of those that an index has: more cost seconds, in a clip of hours
_SHOWN_EARLIER = 8  # frames that may be stored after one that is shown after them
_FEWEST = 8  # steps between frames, before a rate is doubted that they do not fit
_COMMON = [Fraction(rate * 1000, scale) for rate in (24, 25, 30, 50, 60) for scale in (1000, 1001)]
_NEAR = Fraction(1, 2500)  # a share, less than 24 and 23.976 are apart
_MOST_INTERLACED = 35  # frames a second; above, they are counted as fields
_SLACK = Fraction(21, 20)  # for times that are rounded to milliseconds
_COARSE = 16  # every so many lines and columns are looked at first
_BITS_OF_FLAT = 0.08  # a pixel: what an encoder takes for a picture of one colour is a tenth of it, and less
_SMALL = 1000  # bytes: of less, one colour is expected


def rate_of(url: str, stream: av.VideoStream, *, interlaced: bool) -> tuple[Fraction, str | None]:
    """Frames a second, and a line about it if the file states another rate than its packets have.

    Args:
        url: The file. An address or a pipe is not read a second time.
        interlaced: Its packets may be fields, two a frame.
    """
    stated = [each for each in (stream.average_rate, stream.guessed_rate) if each]
    stamps = _stamps(url, stream)
    steps = [later - earlier for earlier, later in pairwise(stamps)]
    for rate in stated:
        if rate <= _FASTEST and (not steps or _fits(rate, steps, interlaced=interlaced)):
            return rate, None if rate == stated[0] else _says(stated[0], rate)
    if not steps:
        return USUAL_RATE, f"states no frame rate: using {_shown(USUAL_RATE)} frames a second"
    rate = _usual(steps)
    rate = rate / 2 if interlaced and rate > _MOST_INTERLACED else rate
    return rate, _says(stated[0], rate) if stated else None


def _fits(rate: Fraction, steps: list[Fraction], *, interlaced: bool) -> bool:
    """Whether frames that far apart may be of a clip with that rate."""
    if len(steps) < _FEWEST:
        return True
    if rate * min(steps) > _SLACK:
        return False  # there are never so many
    return interlaced or not _even(steps) or rate * max(steps) * _SLACK > 1


def _even(steps: list[Fraction]) -> bool:
    return max(steps) < min(steps) * _SLACK


def _usual(steps: list[Fraction]) -> Fraction:
    """The rate of frames that are mostly so far apart: a common one, if it is near to one."""
    step = sum(steps, Fraction(0)) / len(steps) if _even(steps) else sorted(steps)[len(steps) // 2]
    near = min(_COMMON, key=lambda common: abs(common * step - 1))
    return near if abs(near * step - 1) < _NEAR else (1 / step).limit_denominator(1001) or USUAL_RATE


def _stamps(url: str, stream: av.VideoStream) -> list[Fraction]:
    """When the packets are, in seconds and in order: those of the index, or else the first; none of a picture."""
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
            pass  # it is damaged here, which reading it will tell
    # The last of them may be shown before others that were not looked at.
    return sorted(stamps)[: max(2, len(stamps) - _SHOWN_EARLIER)]


def _is_file(url: str) -> bool:
    try:
        return Path(url).is_file()
    except (OSError, ValueError):
        return False


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
