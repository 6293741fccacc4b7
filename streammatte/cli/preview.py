"""``streammatte preview``: a few frames as a run would cut them out, in one picture or page."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from streammatte.cli.command import Command, TerminalOptions
from streammatte.cli.parser import instance, parse, refuse
from streammatte.options import Edges, Matting, Network, Options, Reading, Transparency, Whom, Writing
from streammatte.options.field import like, option


def mark(given: str) -> str:
    """Unchanged. Raises ``ValueError`` if it does not begin with @."""
    if not given.startswith("@") or len(given) < 2:
        raise ValueError(f"expected a frame such as @12, @3s or @01:00:00:00, got {given!r}")
    return given


@dataclass(frozen=True, slots=True)
class PreviewOptions:
    marks: tuple[str, ...] = option(
        (),
        "@MARK",
        parse=mark,
        example="@12",
        section="preview",
        common=True,
        help="frames to show: a number, a time or timecode (default: the first)",
    )
    sheet: str | None = option(
        None, "-o, --output SHEET.png", example="preview.png", common=True, help="write them as one picture"
    )
    html: str | None = option(
        None, "--html PAGE.html", example="preview.html", common=True, help="write them as a page"
    )
    overwrite: bool = like(Writing, "overwrite", common=True)
    keep_mattes: bool = like(Writing, "keep_mattes")
    quiet: bool = like(TerminalOptions, "quiet")


@dataclass(frozen=True, slots=True)
class PreviewedOptions:
    """The options of a run that change what a frame looks like."""

    reading: Reading = like(Options, "reading")
    network: Network = like(Options, "network")
    whom: Whom = like(Options, "whom")
    matting: Matting = like(Options, "matting")
    edges: Edges = like(Options, "edges")
    transparency: Transparency = like(Options, "transparency")


COMMAND = Command(
    prog="streammatte preview",
    usage=("streammatte preview CLIP @MARK [@MARK …] -o SHEET.png [options]",),
    about="Show frames before a run, each with its prompts and the tracked mask, cut out over a checkerboard, and "
    "close up, for every subject that is named. Only what these frames depend on is computed.",
    takes=(PreviewOptions, PreviewedOptions),
    places=("input", "marks"),
    many=True,
    examples=(
        ("streammatte preview clip.mp4 @12 @3s -o p.png", "two frames"),
        ('streammatte preview clip.mp4 @40 -o p.png --subject "point 30,20"', "one of two"),
    ),
)


def main(arguments: Sequence[str]) -> int:
    given = parse(COMMAND, arguments)
    asked, previewed = instance(PreviewOptions, given), instance(PreviewedOptions, given)
    if asked.sheet is None and asked.html is None:
        refuse(COMMAND, "no output given", f"{COMMAND.examples[0][0]}")
    options = Options(
        previewed.reading,
        Writing(keep_mattes=asked.keep_mattes),
        previewed.network,
        previewed.whom,
        previewed.matting,
        previewed.edges,
        previewed.transparency,
    )

    from streammatte.cli.previewing import preview
    from streammatte.cli.run_display import RunDisplay
    from streammatte.cli.terminal import Terminal
    from streammatte.media.write.output import check_apart, open_text
    from streammatte.quality.page import ENDINGS
    from streammatte.quality.sheet import sheet, strip

    names = [name for name in (asked.sheet, asked.html) if name is not None]
    check_apart(names, [(options.reading.input, "the input itself")])
    with Terminal(progress=not asked.quiet, notices=not asked.quiet) as shown, ExitStack() as writing:
        picture = page = None
        if asked.sheet is not None:
            picture = writing.enter_context(open_text(asked.sheet, (".png",), overwrite=asked.overwrite))
        if asked.html is not None:
            page = writing.enter_context(open_text(asked.html, ENDINGS, overwrite=asked.overwrite))
        marks = [each.removeprefix("@") for each in asked.marks]
        rows = preview(options, marks, names[0], RunDisplay(shown))
        if picture is not None:
            picture.write(sheet(rows))
        if page is not None:
            page.write(strip(options.reading.input, rows))
        shown.stop()
        if not asked.quiet:
            for each in rows:
                shown.console.print(each.label, markup=False, soft_wrap=True)
    return 0
