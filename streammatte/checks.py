"""What cannot be asked for, or not together: refused before any work is done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from streammatte.errors import InputError, OutputError, UnsupportedOutput
from streammatte.media.addresses import PIPE, without_secrets
from streammatte.options import Options


def check_targets(options: Options, targets: Sequence[str]) -> None:
    """Refuse a run whose outputs would overwrite what it reads, or each other."""
    from streammatte.media.read.guide import guide_path
    from streammatte.media.write.output import check_apart

    if options.report is not None:
        targets = [*targets, options.report]
    if not targets:
        raise OutputError(
            "there is nothing to write", hint="name a file with -o, --matte or --foreground, or a folder with --deliver"
        )
    check_pipes(options, targets)
    targets = [target for target in targets if target != PIPE]
    read = [(options.input, "the input itself")]
    if options.background is not None:
        read.append((options.background, "the background itself"))
    for specs in guides_named(options).values():
        read += [(guide_path(spec), "one of the mattes given") for spec in specs]
    check_apart(targets, read)


def check_pipes(options: Options, targets: Sequence[str]) -> None:
    """Refuse what a pipe cannot do, on either side."""
    if targets.count(PIPE) > 1:
        raise OutputError("only one output can be -, standard output", hint="name files for the others")
    given = [("--bg", options.background)]
    mattes = [spec for specs in guides_named(replace(options, input_alpha="ignore")).values() for spec in specs]
    given += [("a matte", spec.removeprefix("invert:")) for spec in mattes]
    for name, path in given:
        if path == PIPE:
            raise InputError(f"{name} cannot be -: only INPUT is read from a pipe", hint="name a file")
    if options.input != PIPE:
        return
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError(
            "INPUT - reads a pipe, and standard input is the terminal",
            hint="pipe it: ffmpeg -i clip.mp4 -f nut - | streammatte - -o out.mov",
        )
    for name, asked in (
        ("--in", options.mark_in is not None),
        ("--out", options.mark_out is not None),
        ("--resume", options.resume),
        ("--input-alpha", options.input_alpha != "ignore"),
    ):
        if asked:
            raise InputError(
                f"{name} needs a file: a pipe can be read only once", hint="save what comes to a file first"
            )


def guides_named(options: Options) -> dict[str, tuple[str, ...]]:
    """What was given of the mattes to be kept to; several of a kind are their union."""
    core, garbage = options.core_mattes, options.garbage_mattes
    if options.input_alpha == "core":
        core = (*core, options.input)
    if options.input_alpha == "garbage":
        garbage = (*garbage, f"invert:{options.input}")
    named = {
        "core": core,
        "garbage": garbage,
        "holdout": options.holdout_mattes,
        "transparent": options.transparent_masks,
    }
    return {name: specs for name, specs in named.items() if specs}


def check_input_alpha(options: Options, *, has_alpha: bool) -> None:
    """Refuse to heed an alpha that the input does not have: a grey one's brightness is not meant."""
    if options.input_alpha != "ignore" and not has_alpha:
        raise InputError(
            f"--input-alpha {options.input_alpha}: {without_secrets(options.input)} has no alpha",
            hint="leave it out, or give a matte with --core-matte or --garbage-matte",
        )


def alpha_told(options: Options, has_alpha: bool) -> list[str]:
    """A line, if the input has an alpha that is not heeded."""
    if not has_alpha or options.input_alpha != "ignore":
        return []
    return ["the input's own alpha was ignored; --input-alpha core or garbage uses it"]


def check_transparency(options: Options, width: int, height: int) -> None:
    """Refuse to look for glass where there is no picture, in two places, or not at all."""
    if options.transparent is not None and options.transparent_masks:
        raise InputError("--transparent and --transparent-mask are mutually exclusive", hint="use one or the other")
    named = "--transparent" if options.transparent is not None else "--transparent-mask"
    if options.transparency == "off" and (options.transparent is not None or options.transparent_masks):
        raise InputError(f"{named} is given, and --transparency is off", hint="leave one of the two out")
    if options.transparent is not None:
        from streammatte.stages.transparent.regions import checked_box

        checked_box(options.transparent, width, height)


def check_lookahead(options: Options) -> None:
    """Refuse to look further ahead than frames are asked."""
    from streammatte.stages.temporal import REACH

    if options.lookahead is None:
        return
    if options.smooth == "off":
        raise InputError("--lookahead is for smoothing, and --smooth is off", hint="leave one of the two out")
    if options.lookahead > (most := 2 * REACH[options.smooth]):
        raise InputError(
            f"--lookahead {options.lookahead} is too far: --smooth {options.smooth} asks {most} frames around each",
            hint=f"up to {most}" + ("" if options.smooth == "high" else ", or --smooth high"),
        )


def check_single(targets: Sequence[str], frames: int | None) -> None:
    """Refuse a picture's name without a number for more than one frame, as far as that is known."""
    from streammatte.media.read.numbered import PICTURES, NumberedName
    from streammatte.media.write.animation_formats import ANIMATED

    single = set(PICTURES) - set(ANIMATED)
    for target in map(Path, targets):
        if frames not in (None, 1) and target.suffix.lower() in single and NumberedName.parse(target) is None:
            raise UnsupportedOutput(
                f"{target} holds one frame, and there are {frames}",
                hint=f"number them: {target.with_suffix('')}.####{target.suffix}",
            )


def check_handles(options: Options) -> None:
    """Refuse frames around nothing."""
    if options.handles and options.mark_in is None and options.mark_out is None:
        raise InputError("--handles are frames around --in and --out, and there are none", hint="give one of them")


def check_limits(options: Options, *, colors: bool) -> None:
    """Refuse limits that nothing will be held to."""
    names = [name for name, _ in options.limits]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--fail-on {name} may be given only once", hint="keep one of the limits")
    if "mended" in names and options.smooth == "off":
        raise InputError("what smoothing mends has a limit, and --smooth is off", hint="leave one of the two out")
    if "audio" in names and options.no_audio:
        raise InputError("the length of sound has a limit, and --no-audio is given", hint="leave one of the two out")
    if "contamination" in names and not colors:
        raise InputError(
            "the colours of the edge have a limit, and a matte alone has none",
            hint="leave contamination out, or write a plate with -o",
        )


def screen_of(text: str) -> tuple[float, float, float]:
    """The colour of a screen, (R, G, B) in [0, 1].

    Raises:
        InputError: It is no colour, or none that a screen could have.
    """
    from streammatte.media.background import parse_color
    from streammatte.stages import Despill

    hint = "green, blue, or the screen's own colour, as #00b140"
    rgb = parse_color(text)
    if rgb is None:
        raise InputError(f"{text!r} is no colour", hint=hint)
    red, green, blue = (value / 255 for value in rgb)
    try:
        Despill((red, green, blue))
    except ValueError as exc:
        raise InputError(f"{text!r} is no screen's colour: none of red, green and blue leads", hint=hint) from exc
    return red, green, blue
