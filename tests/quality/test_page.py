"""The page: its text is escaped, its curves are where the values are, and it is self-contained."""

from __future__ import annotations

import base64
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from support.pages import Reader

from streammatte.quality.page import (
    HEIGHT,
    MOST_POINTS,
    element,
    grey,
    heat,
    page,
    picture,
    plot,
    signed,
    small,
    table,
)

pytestmark = pytest.mark.unit
HOSTILE = "<script>alert('x')</script> & \"a\" <b>.mov"


def curves(figure: ElementTree.Element) -> list[list[tuple[float, float]]]:
    lines = figure.iter("polyline")
    return [[tuple(map(float, point.split(","))) for point in line.get("points", "").split()] for line in lines]


def test_text_stays_text() -> None:
    image = picture(np.zeros((4, 4, 3), np.uint8), HOSTILE)
    html = page(HOSTILE, element("p", "a", element("b", HOSTILE), HOSTILE), table([HOSTILE], [[HOSTILE]]), image)
    seen = Reader(html)
    assert not seen.open
    assert " ".join(seen.texts) == "html head meta title style body h1 p b table tr th td figure img figcaption"
    for tag in ("title", "h1", "b", "th", "td", "figcaption"):
        assert seen.texts[tag] == HOSTILE
    assert seen.texts["p"] == f"a{HOSTILE}"
    assert ("alt", HOSTILE) in seen.attributes


def test_a_curve_lies_where_its_values_are() -> None:
    (points,) = curves(plot("MAD", [0.0, 1.0, 2.0, 1.0]))
    xs, ys = zip(*points, strict=True)
    assert np.allclose(np.diff(xs), xs[1] - xs[0], atol=0.11)
    assert ys[2] < ys[1] == ys[3] < ys[0], "up is more"
    assert ys[1] == pytest.approx((ys[0] + ys[2]) / 2, abs=0.11)


def test_a_curve_is_broken_where_there_is_no_value() -> None:
    figure = plot("dtSSD", [None, 1.0, 2.0, None, 3.0, None])
    assert [len(line) for line in curves(figure)] == [2]
    assert len(list(figure.iter("circle"))) == 1, "a value alone is a point"
    assert not curves(plot("nothing", [None, None]))
    assert len(list(plot("a picture", [0.5]).iter("circle"))) == 1


def test_a_long_clip_keeps_its_peaks() -> None:
    values = [1.0] * (10 * MOST_POINTS)
    values[12345] = 7.0
    values[5] = 0.2
    figure = plot("MAD", values)
    (points,) = curves(figure)
    assert len(points) <= MOST_POINTS
    assert min(y for _, y in points) == 8, "the peak reaches the top"
    assert "the highest of 10 frames" in "".join(figure.itertext())
    assert points[0][1] == points[1][1]
    (lowest,) = curves(plot("IoU", values, keep="lowest"))
    assert lowest[0][1] > lowest[1][1] == min(y for _, y in lowest)


def test_marks_are_at_their_frames() -> None:
    values = [float(i) for i in range(9)]
    figure = plot("MAD", values, marks=[3])
    ((x, said),) = [(line.get("x1"), line[0].text) for line in figure.iter("line") if line.get("class") == "mark"]
    assert said == "frame 3"
    assert float(x or 0) == curves(figure)[0][3][0]


def test_frame_numbers_stay_inside_the_drawing() -> None:
    figure = plot("MAD", [1.0] * 123457)
    assert [
        (text.text, text.get("text-anchor")) for text in figure.iter("text") if text.get("y") == str(HEIGHT - 3)
    ] == [("0", "middle"), ("61728", "middle"), ("123456", "end")]


def test_a_picture_too_large_to_embed_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="2×17000"):
        picture(np.zeros((17000, 2, 3), np.uint8), "a strip")
    assert "WebP" in capfd.readouterr().err, "OpenCV's own words"
    assert next(picture(small(np.zeros((90000, 9, 3), np.uint8)), "a strip").iter("img")).get("height") == "960"


def test_pictures_are_embedded() -> None:
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None], 48, 0)
    rgb = np.dstack([ramp, ramp // 2, 255 - ramp])
    source = next(picture(rgb, "frame").iter("img")).get("src", "")
    data = base64.b64decode(source.removeprefix("data:image/webp;base64,"))
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert shown.shape == rgb.shape
    assert np.abs(shown.astype(int) - rgb).mean() < 5


def test_colour_scales() -> None:
    assert signed(np.array([[0, 1, -1, 0.2]]))[0].tolist() == [[255] * 3, [255, 0, 0], [0, 0, 255], [255, 204, 204]]
    assert grey(np.array([[0, 1, 0.2]]))[0].tolist() == [[0] * 3, [255] * 3, [51] * 3]
    black, middle, pale = heat(np.array([[0, 0.5, 1.0]]))[0].astype(int)
    assert black.sum() < 15 < middle.sum() < pale.sum()
    assert middle[0] > middle[2], "red before blue"


def test_small_keeps_the_shape_and_never_enlarges() -> None:
    assert small(np.zeros((90, 1600)), 320).shape == (18, 320)
    assert small(np.zeros((2, 4000, 3)), 320).shape == (1, 320, 3)
    assert small(np.zeros((4000, 2)), 320, 320).shape == (320, 1)
    assert small(np.zeros((4000, 400)), 100).shape == (200, 20), "by default at most twice as high"
    picture = np.zeros((9, 16))
    assert small(picture, 320) is picture
