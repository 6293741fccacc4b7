"""The page of a run: how steady, how clean, what was mended, and frames to look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.etree.ElementTree import Element

from streammatte.media.lengths import Lengths
from streammatte.quality.observer import Findings, Observer, Score
from streammatte.quality.page import (
    MARKED,
    element,
    heat,
    page,
    picture,
    plot,
    row,
    section,
    small,
    table,
)

SCORES = {
    "flicker": "flicker, ‰ of the picture's longer side",
    "contamination": "contamination of the edge, from 0 to 1 and above",
    "mended": "frames of which the matte was mended, as a share of all",
    "audio": "sound longer or shorter than it was, in seconds",
}
"""What people call each score."""

_MENDED_MOST = "what was mended of the frame mended most, as a share of its matte"

_PLOTTED = {
    "flicker": "flicker: how far the matte's edge jumps where nothing in the picture moves it, ‰ of the longer side",
    "contamination": "contamination: 0 is the subject's own colours in the edge, 1 the frame's, nothing taken out",
    "mended": "share of the matte that smoothing turned over",
}
_WORST = {
    "flicker": "The frames that flicker most",
    "contamination": "The frames with the most of the old background in their edge",
    "mended": "The frames of which smoothing mended most, as they are now",
}
_MAP_WIDTH = 720
SLACK = 0.1  # seconds that a stream may be longer or shorter than it was: frames and packets have a length


def report_page(
    title: str,
    about: Mapping[str, str],
    observer: Observer,
    findings: Findings,
    lines: Iterable[str],
) -> str:
    """A whole HTML document.

    Args:
        title: What was matted.
        about: Facts of the run, by name.
        observer: Saw every cut-out.
        findings: What it found.
        lines: What a reader should know first: a line for each limit that was crossed, and what cannot be right.
    """
    cuts = ", ".join(map(str, findings.cuts)) or "none"
    marks = {name: [moment.index for moment in moments] for name, moments in observer.worst.items()}
    content = [
        *(element("p", element("strong", line)) for line in lines),
        table(["score", "of the run", "worst", "at frame"], _rows(findings.scores)),
        section("Frames", *(moment.element() for moment in observer.spread.kept)),
        section(
            "Over time",
            element("p", MARKED),
            *_curves(observer, marks),
            element("p", f"Frames that begin another shot: {cuts}."),
        ),
    ]
    for name, said in _WORST.items():
        if observer.worst[name]:
            content.append(section(said, *(moment.element() for moment in observer.worst[name])))
    if observer.flicker.total is not None:
        content.append(section("Where it flickers", row(_map(observer))))
    content.append(section("Length", *_lengths(findings.lengths)))
    content.append(section("The run", table(["", ""], about.items())))
    return page(title, *content)


def _rows(scores: Mapping[str, Score]) -> Iterable[list[str | float | None]]:
    for name, each in scores.items():
        if name == "mended":  # of the run it counts frames, and of a frame what was mended in it
            yield [SCORES[name], each.score, None, None]
            if each.worst is not None:
                yield [_MENDED_MOST, None, each.worst, each.frame]
        else:
            yield [SCORES[name], each.score, each.worst, each.frame]


def _curves(observer: Observer, marks: Mapping[str, list[int]]) -> Iterable[Element]:
    for name, said in _PLOTTED.items():
        figures = observer.per_frame[name]
        if any(figure is not None for figure in figures):
            yield plot(said, figures, marks=marks[name])


def _map(observer: Observer) -> Element:
    assert observer.flicker.total is not None
    strength = observer.flicker.total / max(1, len(observer.per_frame["flicker"]) - 1)
    highest = float(strength.max())
    said = f"mean change of alpha that counts as flicker: black is none, pale yellow {highest:.3g}"
    return picture(heat(small(strength, _MAP_WIDTH) / (highest or 1)), said)


def _lengths(lengths: Mapping[str, Lengths]) -> Iterable[Element]:
    """What the files' streams last, in seconds, and a line for each that changed."""
    yield table(["file", "picture, s", "sound, s"], ([name, each.video, each.audio] for name, each in lengths.items()))
    (name, read), *written = lengths.items() or [("", Lengths(None, None))]
    for path, each in written:
        for what, before, after in (("picture", read.video, each.video), ("sound", read.audio, each.heard)):
            if before is not None and after is not None and abs(after - before) > SLACK:
                said = f"The {what} of {path} lasts {after:.2f} s, that of {name} {before:.2f} s."
                yield element("p", element("strong", said))
