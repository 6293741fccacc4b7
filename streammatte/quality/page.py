"""HTML pages in one self-contained file: tables, plots and embedded pictures.

A page is a tree of elements. The serialiser escapes all text, so file names cannot inject markup.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal
from xml.etree.ElementTree import Element, indent, tostring

import cv2
import numpy as np
from numpy.typing import NDArray

ENDINGS = (".html", ".htm")

WIDTH, HEIGHT = 720, 130  # pixels of a plot
LEFT, RIGHT, TOP, BOTTOM = 52, 6, 8, 18  # its margins; the axes' numbers are on the left and at the bottom
MOST_POINTS = 1440  # of a curve: two a pixel
PICTURE_WIDTH = 480

MARKED = "Dashed red lines mark the frames shown below."

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1480px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.4em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; } td, th { padding: .15em .9em .15em 0; text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 0 0 1em; } figcaption { font-size: .87em; }
.row { display: flex; flex-wrap: wrap; gap: 8px; } .row figure { margin: 0 0 .6em; }
img { max-width: 100%; height: auto; background: #888; }
svg { max-width: 100%; height: auto; } svg text { font-size: 11px; fill: currentColor; }
.curve { fill: none; stroke: #2a78c4; stroke-width: 1.3; } .point { fill: #2a78c4; color: #2a78c4; }
.other { fill: #d98e2b; color: #d98e2b; }
.grid { stroke: currentColor; opacity: .18; } .mark { stroke: #d1495b; opacity: .8; stroke-dasharray: 3 3; }
"""


def page(title: str, *content: Element) -> str:
    """A complete HTML document."""
    head = element("head", element("meta", charset="utf-8"), element("title", title), element("style", _STYLE))
    root = element("html", head, element("body", element("h1", title), *content), lang="en")
    indent(root, space="")
    return "<!DOCTYPE html>\n" + tostring(root, encoding="unicode", method="html")


def element(tag: str, *content: str | Element, kind: str = "", **attributes: object) -> Element:
    """An element of class ``kind``; floats among the attributes are shortened."""
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


def row(*figures: Element) -> Element:
    """Figures side by side, wrapping where the window ends."""
    return element("div", *figures, kind="row")


def table(head: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> Element:
    """Numbers and their heads are right-aligned; ``None`` becomes a dash. ``head`` may be empty."""
    cells = [list(row) for row in rows]
    texts = [all(isinstance(value, str) for value in column) for column in zip(*cells, strict=True)]
    heads = (element("th", name, kind="" if text else "number") for name, text in zip(head, texts, strict=False))
    body = [element("tr", *(_cell(value) for value in row)) for row in cells]
    return element("table", *([element("tr", *heads)] if head else []), *body)


def plot(
    title: str,
    values: Sequence[float | None],
    *,
    marks: Iterable[int] = (),
    keep: Literal["highest", "lowest"] = "highest",
) -> Element:
    """A curve over the frames, from 0 to its maximum, with gaps where there is no value.

    Args:
        title: The caption.
        values: One per frame, none below 0.
        marks: Frames to draw a line at.
        keep: Which value represents frames that share a point because the clip is long.
    """
    share = max(1, -(-len(values) // MOST_POINTS))
    kept = max if keep == "highest" else min
    groups = (values[start : start + share] for start in range(0, len(values), share))
    points = [kept((value for value in group if value is not None), default=None) for group in groups]
    top = max((value for value in points if value is not None), default=0) or 1
    last = len(values) - 1
    step = (WIDTH - LEFT - RIGHT) / max(1, last)

    def place(frame: float, value: float) -> tuple[str, str]:
        return f"{LEFT + frame * step:.1f}", f"{TOP + (HEIGHT - BOTTOM - TOP) * (1 - value / top):.1f}"

    drawing = element("svg", viewBox=f"0 0 {WIDTH} {HEIGHT}", width=WIDTH, height=HEIGHT, role="img", aria_label=title)
    for value in (0, top / 2, top):
        _, y = place(0, value)
        drawing.append(element("line", kind="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y))
        drawing.append(element("text", f"{value:.3g}", x=LEFT - 6, y=float(y) + 4, text_anchor="end"))
    for frame in sorted({0, last // 2, last}):
        anchor = "end" if frame == last > 0 else "middle"  # the drawing ends at the last frame
        drawing.append(element("text", str(frame), x=place(frame, 0)[0], y=HEIGHT - 3, text_anchor=anchor))
    for frame in sorted(set(marks)):
        x, _ = place(frame, 0)
        tip = element("title", f"frame {frame}")
        drawing.append(element("line", tip, kind="mark", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM))
    for first, run in _runs(points):
        path = [place(min((first + i) * share, last), value) for i, value in enumerate(run)]
        if len(path) > 1:
            drawing.append(element("polyline", kind="curve", points=" ".join(f"{x},{y}" for x, y in path)))
        else:
            drawing.append(element("circle", kind="point", cx=path[0][0], cy=path[0][1], r=2))
    caption = title if share == 1 else f"{title} (each point is the {keep} of {share} frames)"
    return element("figure", element("figcaption", caption), drawing)


def bars(names: tuple[str, str], values: Mapping[str, tuple[float, float]]) -> Element:
    """Two horizontal bars for each entry, with their numbers, none below 0; ``names`` says what the two are."""
    left, right, step, kinds = 160, 70, 40, ("point", "other")  # pixels: labels, numbers, the height of an entry
    top = max((value for pair in values.values() for value in pair), default=0) or 1
    height = step * len(values)
    drawing = element("svg", viewBox=f"0 0 {WIDTH} {height}", width=WIDTH, height=height, role="img")
    for place, (label, pair) in enumerate(values.items()):
        drawing.append(element("text", label, x=left - 8, y=step * place + 20, text_anchor="end"))
        for y, name, kind, value in zip((3, 19), names, kinds, pair, strict=True):
            top_edge, long = step * place + y, (WIDTH - left - right) * value / top
            tip = element("title", f"{label}, {name}")
            drawing.append(element("rect", tip, kind=kind, x=left, y=top_edge, width=long, height=13))
            drawing.append(element("text", f"{value:.4g}", x=left + long + 5, y=top_edge + 11))
    key = (element("span", f"■ {name} ", kind=kind) for name, kind in zip(names, kinds, strict=True))
    return element("figure", element("figcaption", *key), drawing)


def picture(rgb: NDArray[np.uint8], caption: str) -> Element:
    """(H, W, 3) RGB, embedded as WebP.

    Raises:
        ValueError: A side exceeds WebP's limit of 16383 pixels.
    """
    encoded, data = cv2.imencode(".webp", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, 85])
    if not encoded:
        raise ValueError(f"cannot embed a picture of {rgb.shape[1]}×{rgb.shape[0]} pixels")
    source = "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode()
    shown = element("img", src=source, alt=caption, width=rgb.shape[1], height=rgb.shape[0])
    return element("figure", shown, element("figcaption", caption))


def small(picture: NDArray[Any], width: int = PICTURE_WIDTH, height: int | None = None) -> NDArray[Any]:
    """(H, W) or (H, W, 3), shrunk to at most ``width`` by ``height`` (by default twice the width); never enlarged."""
    rows, columns = picture.shape[:2]
    scale = min(width / columns, (2 * width if height is None else height) / rows)
    if scale >= 1:
        return picture
    size = max(1, round(scale * columns)), max(1, round(scale * rows))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def grey(alpha: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """(H, W) in [0, 1] → (H, W, 3)."""
    return np.repeat(to_bytes(alpha)[..., None], 3, axis=2)


def signed(difference: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """(H, W) in [-1, 1] → (H, W, 3): 0 is white, positive red, negative blue."""
    above, below = np.clip(difference, 0, 1), np.clip(-difference, 0, 1)
    return to_bytes(1 - np.stack([below, above + below, above], axis=2))


def heat(strength: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """(H, W) in [0, 1] → (H, W, 3), from black through red to pale yellow."""
    return np.asarray(cv2.applyColorMap(to_bytes(strength), cv2.COLORMAP_INFERNO)[..., ::-1], np.uint8)


def to_bytes(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """[0, 1], clipped, → 0 to 255."""
    steps: NDArray[np.uint8] = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return steps


def _cell(value: str | float | None) -> Element:
    if isinstance(value, str):
        return element("td", value)
    return element("td", "–" if value is None else _short(value), kind="number")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _runs(values: Sequence[float | None]) -> Iterable[tuple[int, list[float]]]:
    """Each stretch without a gap, with the index of its first value."""
    run: list[float] = []
    for index, value in enumerate([*values, None]):
        if value is not None:
            run.append(value)
        elif run:
            yield index - len(run), run
            run = []
