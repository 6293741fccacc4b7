"""Timecode: every number once, in order, as editors count; drop frame keeps up with the clock."""

from fractions import Fraction
from itertools import product

import pytest

from streammatte.errors import InputError
from streammatte.media.timecode import Timecode, drops

pytestmark = pytest.mark.unit

NTSC = Fraction(30000, 1001)
RATES = [Fraction(24000, 1001), *map(Fraction, (24, 25, 30, 50, 60)), NTSC, Fraction(60000, 1001)]


def counted(counting, drop, minutes):
    """The numbers of so many minutes as SMPTE ST 12-1 tells to count them, one by one."""
    skipped = range(counting // 15) if drop else ()
    for minute in range(minutes):
        for second in range(60):
            for frame in range(counting):
                if second == 0 and minute % 10 and frame in skipped:
                    continue
                yield f"{minute // 60:02}:{minute % 60:02}:{second:02}{';' if drop else ':'}{frame:02}"


def test_every_number_comes_once_and_in_order():
    for rate, drop in product(RATES, (False, True)):
        if drop and not drops(rate):
            with pytest.raises(InputError):
                Timecode.parse("00:00:00;00", rate)
            continue
        begin = Timecode.parse("00:00:00;00" if drop else "00:00:00:00", rate)
        for number, text in enumerate(counted(round(rate), drop, 12)):
            if number % 97 == 0 or ":00;" in text:  # those after a skip, and some of the others
                assert str(begin + number) == text
                assert Timecode.parse(text, rate).frames == number


def test_after_midnight_it_begins_again():
    for rate in RATES:
        for separator in ":;" if drops(rate) else ":":
            last = Timecode.parse(f"23:59:59{separator}{round(rate) - 1:02}", rate)
            assert last.frames == last.a_day - 1
            assert str(last + 1) == f"00:00:00{separator}00"
            assert str(last + (1 + last.a_day)) == f"00:00:00{separator}00"


def test_drop_frame_keeps_up_with_the_clock():
    assert str(Timecode.parse("00:00:59;28", NTSC) + 2) == "00:01:00;02"
    assert str(Timecode.parse("00:09:59;29", NTSC) + 1) == "00:10:00;00"
    hour = round(3600 * NTSC)  # frames in an hour of the clock
    assert abs(Timecode.parse("01:00:00;00", NTSC).frames - hour) <= 1
    assert str(Timecode.parse("00:00:59;59", 2 * NTSC) + 1) == "00:01:00;04"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("10", "HH:MM:SS:FF"),
        ("00:00:10", "HH:MM:SS:FF"),
        ("24:00:00:00", "hours"),
        ("00:60:00:00", "hours"),
        ("00:00:00:30", "frames up to 29"),
        ("00:01:00;01", "00:01:00;02"),
        ("a0:00:00:00", "HH:MM:SS:FF"),
    ],
)
def test_what_is_none_is_told(text, hint):
    with pytest.raises(InputError) as caught:
        Timecode.parse(text, NTSC)
    assert text in str(caught.value) and hint in str(caught.value.hint)


def test_where_numbers_are_dropped():
    assert [drops(rate) for rate in RATES] == [False] * 6 + [True] * 2
    assert drops(Fraction(2997, 100))
