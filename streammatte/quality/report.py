"""The page of ``--report``: what a run scored, whether it kept its limits, and frames to look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from xml.etree.ElementTree import Element

from streammatte.media.lengths import Lengths
from streammatte.quality.observer import Findings, Observer, Score
from streammatte.quality.page import MARKED, element, heat, page, picture, plot, row, section, small, table
from streammatte.subject.following import Course

SCORES = {
    "flicker": "flicker, ‰ of the longer side",
    "contamination": "contamination: 0 clean, 1 untouched",
    "mended": "mended: share of frames that smoothing repaired",
    "audio": "audio: difference in duration, seconds",
}
WORST_MENDED = "mended: largest share of a matte"

_PLOTTED = {
    "flicker": "flicker: how far the matte's edge jumps where nothing moves in the picture, ‰ of the longer side",
    "contamination": "contamination: old background in the edge's colours; 0 is clean, 1 the frame's own colours",
    "mended": "mended: share of the matte that smoothing changed",
}
_WORST = {
    "flicker": "Frames that flicker most",
    "contamination": "Frames with most of the old background in their edge",
    "mended": "Frames that smoothing repaired most, after the repair",
}
MOST_NAMED = 20  # frames to correct
SLACK = 0.1  # seconds that a stream may gain or lose: frames and packets have a length


def report_page(
    title: str,
    observer: Observer,
    findings: Findings,
    *,
    run: Mapping[str, str],
    options: Mapping[str, str],
    limits: Mapping[str, float],
    warnings: Iterable[str] = (),
    courses: Sequence[Course] = (),
) -> str:
    """A complete HTML document.

    Args:
        title: The input.
        observer: Saw every cut-out.
        findings: Its scores.
        run: Facts about the run by name: model, size, precision, device, outputs.
        options: What the user gave, by flag.
        limits: Of ``--fail-on``, by score.
        warnings: What the reader should know first.
        courses: How sure the tracker was of the named subjects.
    """
    content = [
        *(element("p", element("strong", line)) for line in warnings),
        table([], run.items()),
        section("Scores", table(["score", "whole run", "worst", "at frame"], _scores(findings.scores))),
        section("Limits", *_limits(findings, limits)),
        section("Frames", *(moment.element() for moment in observer.spread.kept)),
        section("Over time", *_over_time(observer, findings.cuts)),
        *([section("Who is meant", *(part for course in courses for part in _course(course)))] if courses else []),
    ]
    for name, heading in _WORST.items():
        if observer.worst[name]:
            content.append(section(heading, *(moment.element() for moment in observer.worst[name])))
    if observer.flicker.total is not None:
        content.append(section("Where it flickers", row(_flicker_map(observer))))
    content.append(section("Durations", *_durations(findings.lengths)))
    content.append(section("Options", table(["option", "value"], options.items()) if options else _all_defaults()))
    return page(title, *content)


def _all_defaults() -> Element:
    return element("p", "All options have their defaults.")


def _scores(scores: Mapping[str, Score]) -> Iterable[list[str | float | None]]:
    for name, each in scores.items():
        if name == "mended":  # of the run a share of frames, of a frame a share of its matte
            yield [SCORES[name], each.score, None, None]
            if each.worst is not None:
                yield [WORST_MENDED, None, each.worst, each.frame]
        else:
            yield [SCORES[name], each.score, each.worst, each.frame]


def _limits(findings: Findings, limits: Mapping[str, float]) -> Iterable[Element]:
    if not limits:
        yield element("p", "No limits were set; --fail-on sets them.")
        return
    rows = []
    for name, limit in limits.items():
        found = findings.scores.get(name)
        rows.append([name, None if found is None else found.score, limit, findings.verdict(name, limit)])
    yield table(["score", "whole run", "limit", "result"], rows)


def _over_time(observer: Observer, cuts: Iterable[int]) -> Iterable[Element]:
    yield element("p", MARKED)
    for name, caption in _PLOTTED.items():
        if any(score is not None for score in observer.per_frame[name]):
            marks = [moment.index for moment in observer.worst[name]]
            yield plot(caption, observer.per_frame[name], marks=marks)
    yield element("p", f"Cuts at frames: {', '.join(map(str, cuts)) or 'none'}.")


def _course(course: Course) -> Iterable[Element]:
    """The tracker's confidence over time, its prompts, and where another one would help."""
    first, who = course.indices.start, course.subject or "the subject"
    caption = f"confidence in {who}: 1 sure, 0 lost or not in the picture; dashed red lines mark frames with prompts"
    marks = [index - first for index in course.prompted if index in course.indices]
    yield plot(caption, course.confidences, marks=marks, keep="lowest")
    prompted = ", ".join(map(str, course.prompted))
    yield element("p", f"Prompts for {who} at frames: {prompted or 'none'}.")
    for stretch in course.lost:
        yield element("p", f"Lost {who} from frame {stretch.start} to {stretch.stop - 1}.")
    if course.doubtful:
        frames = ", ".join(map(str, course.doubtful[:MOST_NAMED]))
        more = f" and {len(course.doubtful) - MOST_NAMED} more" if len(course.doubtful) > MOST_NAMED else ""
        line = f"If {who} is in the picture there, a correction would help at frames: {frames}{more}."
        yield element("p", element("strong", line))


def _flicker_map(observer: Observer) -> Element:
    assert observer.flicker.total is not None
    strength = observer.flicker.total / max(1, len(observer.per_frame["flicker"]) - 1)
    highest = float(strength.max())
    caption = f"mean change of alpha that counts as flicker: black is 0, pale yellow {highest:.3g}"
    return picture(heat(small(strength, 720) / (highest or 1)), caption)


def _durations(lengths: Mapping[str, Lengths]) -> Iterable[Element]:
    """Each file's stream durations, and a line for each stream that gained or lost some."""
    rows = ([name, each.video, each.audio] for name, each in lengths.items())
    yield table(["file", "video, s", "audio, s"], rows)
    (name, read), *written = lengths.items() or [("", Lengths(None, None))]
    for path, each in written:
        for what, before, after in (("video", read.video, each.video), ("audio", read.audio, each.heard)):
            if before is not None and after is not None and abs(after - before) > SLACK:
                line = f"The {what} of {path} lasts {after:.2f} s; in {name} it lasts {before:.2f} s."
                yield element("p", element("strong", line))
