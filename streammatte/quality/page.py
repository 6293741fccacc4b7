"""A page to look at in a browser: tables, plots and pictures, in one file that asks for no other.

The page is a tree of elements, and text becomes part of it as text: whatever a file's name holds, the serialiser
escapes it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any, Literal
from xml.etree.ElementTree import Element, indent, tostring

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 720, 130  # of a plot, in pixels
LEFT, BOTTOM = 52, 18  # room for the numbers beside and below it
MOST_POINTS = 1440  # of a curve: two to a pixel
PICTURE_WIDTH = 240  # five of them fit side by side

ENDINGS = (".html", ".htm")
"""Of a page's name; what browsers open."""

MARKED = "Dashed red: the frames that are shown below."
"""What the marks of plots are, above them."""

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1340px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.4em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; } td, th { padding: .15em .9em .15em 0; text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 0 0 1em; } figcaption { font-size: .87em; }
.row { display: flex; flex-wrap: wrap; gap: 8px; } .row figure { margin: 0 0 .6em; }
img { max-width: 100%; background: #888; }
svg { max-width: 100%; height: auto; } svg text { font-size: 11px; fill: currentColor; }
.curve { fill: none; stroke: #2a78c4; stroke-width: 1.3; } .point { fill: #2a78c4; }
.grid { stroke: currentColor; opacity: .18; } .mark { stroke: #d1495b; opacity: .8; stroke-dasharray: 3 3; }
"""


def page(title: str, *content: Element) -> str:
    """A whole HTML document."""
    head = element("head", element("meta", charset="utf-8"), element("title", title), element("style", _STYLE))
    root = element("html", head, element("body", element("h1", title), *content), lang="en")
    indent(root, space="")
    return "<!DOCTYPE html>\n" + tostring(root, encoding="unicode", method="html")


def element(tag: str, *content: str | Element, kind: str = "", **attributes: object) -> Element:
    """``kind`` is its class; numbers among the attributes are written short."""
    made = Element(tag, {name.replace("_", "-"): _short(value) for name, value in attributes.items()})
    if kind:
        made.set("class", kind)
    for part in content:
        if isinstance(part, Element):
            made.append(part)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + part
        else:
            made.text = (made.text or "") + part
    return made


def section(title: str, *content: Element) -> Element:
    return element("section", element("h2", title), *content)


def table(head: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> Element:
    """Numbers are set to the right, ``None`` is a dash."""
    body = [element("tr", *(_cell(value) for value in row)) for row in rows]
    return element("table", element("tr", *(element("th", text) for text in head)), *body)


def plot(
    title: str,
    values: Sequence[float | None],
    *,
    marks: Iterable[int] = (),
    keep: Literal["highest", "lowest"] = "highest",
) -> Element:
    """A curve over the frames, from 0 to its highest value; it is broken where there is no value.

    Args:
        title: The caption.
        values: One for each frame, none below 0.
        marks: Frames to draw a line at.
        keep: What stands for the frames that share a point, where there are more than the width has room for.
    """
    share = max(1, -(-len(values) // MOST_POINTS))
    kept = max if keep == "highest" else min
    groups = (values[start : start + share] for start in range(0, len(values), share))
    points = [kept((value for value in group if value is not None), default=None) for group in groups]
    top = max((value for value in points if value is not None), default=0) or 1
    floor = HEIGHT - BOTTOM
    step = (WIDTH - LEFT - 6) / max(1, len(values) - 1)

    def place(frame: float, value: float) -> str:
        return f"{LEFT + frame * step:.1f},{8 + (floor - 8) * (1 - value / top):.1f}"

    drawing = element("svg", viewBox=f"0 0 {WIDTH} {HEIGHT}", width=WIDTH, height=HEIGHT, role="img", aria_label=title)
    for value in (0, top / 2, top):
        _, y = place(0, value).split(",")
        drawing.append(element("line", kind="grid", x1=LEFT, x2=WIDTH - 6, y1=y, y2=y))
        drawing.append(element("text", f"{value:.3g}", x=LEFT - 6, y=float(y) + 4, text_anchor="end"))
    last = len(values) - 1
    for frame in sorted({0, last // 2, last}):
        x, _ = place(frame, 0).split(",")
        anchor = "end" if frame == last > 0 else "middle"  # the picture ends there
        drawing.append(element("text", str(frame), x=x, y=HEIGHT - 3, text_anchor=anchor))
    for frame in sorted(set(marks)):
        x, _ = place(frame, 0).split(",")
        line = element("line", element("title", f"frame {frame}"), kind="mark", x1=x, x2=x, y1=8, y2=floor)
        drawing.append(line)
    for first, run in _runs(points):
        path = [place(min((first + i) * share, len(values) - 1), value) for i, value in enumerate(run)]
        if len(path) > 1:
            drawing.append(element("polyline", kind="curve", points=" ".join(path)))
        else:
            x, y = path[0].split(",")
            drawing.append(element("circle", kind="point", cx=x, cy=y, r=2))
    said = title if share == 1 else f"{title} (each point is the {keep} of {share} frames)"
    return element("figure", element("figcaption", said), drawing)


def picture(rgb: NDArray[np.uint8], caption: str) -> Element:
    """(H, W, 3) RGB, embedded as WebP.

    Raises:
        ValueError: A side is longer than WebP has it, 16383 pixels.
    """
    encoded, data = cv2.imencode(".webp", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, 85])
    if not encoded:
        raise ValueError(f"a picture of {rgb.shape[1]}×{rgb.shape[0]} pixels cannot be embedded")
    source = "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode()
    shown = element("img", src=source, alt=caption, width=rgb.shape[1], height=rgb.shape[0])
    return element("figure", shown, element("figcaption", caption))


def row(*figures: Element) -> Element:
    """Figures side by side, as many as the window has room for."""
    return element("div", *figures, kind="row")


def small(picture: NDArray[Any], width: int = PICTURE_WIDTH, height: int | None = None) -> NDArray[Any]:
    """(H, W) or (H, W, 3), no wider than ``width`` and no higher than ``height``, by default four times that."""
    rows, columns = picture.shape[:2]
    scale = min(width / columns, (4 * width if height is None else height) / rows)
    if scale >= 1:
        return picture
    size = max(1, round(scale * columns)), max(1, round(scale * rows))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def grey(alpha: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """(H, W) in [0, 1] as (H, W, 3): a matte as a picture."""
    return np.repeat(to_bytes(alpha)[..., None], 3, axis=2)


def signed(difference: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """(H, W) in [-1, 1] as (H, W, 3): white is none, red above and blue below."""
    above, below = np.clip(difference, 0, 1), np.clip(-difference, 0, 1)
    return to_bytes(1 - np.stack([below, above + below, above], axis=2))


def heat(strength: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """(H, W) in [0, 1] as (H, W, 3), from black through red to pale yellow."""
    return np.asarray(cv2.applyColorMap(to_bytes(strength), cv2.COLORMAP_INFERNO)[..., ::-1], np.uint8)


def to_bytes(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Samples in [0, 1], what lies beyond clipped, as 0 to 255."""
    steps: NDArray[np.uint8] = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return steps


def _cell(value: str | float | None) -> Element:
    if isinstance(value, str):
        return element("td", value)
    return element("td", "–" if value is None else _short(value), kind="number")


def _short(value: object) -> str:
    """A number to four digits at most, without the zeros at its end; anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _runs(values: Sequence[float | None]) -> Iterable[tuple[int, list[float]]]:
    """The stretches without a gap, each with the place of its first value."""
    run: list[float] = []
    for place, value in enumerate([*values, None]):
        if value is not None:
            run.append(value)
        elif run:
            yield place - len(run), run
            run = []
