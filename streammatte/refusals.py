"""Every refusal of a run's options, raised before any work."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from streammatte.errors import InputError, OutputError, StreammatteError, UnsupportedOutput, WriteFailed, refusing
from streammatte.frame import Footage
from streammatte.media.addresses import PIPE, without_secrets
from streammatte.options import Options
from streammatte.options.field import options_of
from streammatte.options.prompts import Prompted
from streammatte.options.values import written

_LOGS = ("logc3", "slog3")


@refusing()
def check(options: Options) -> None:
    """Raise the first refusal of these options, if any.

    Raises:
        InputError, OutputError: An option is impossible, or excludes another.
    """
    _check_input(options)
    for refusal in refusals(options):
        raise refusal
    check_whom(options)
    _check_names(options)
    if options.edges.despill is not None:
        from streammatte.stages.despill import screen_of

        screen_of(options.edges.despill)


@refusing()
def check_whom(options: Options) -> None:
    """Raise ``InputError`` or ``OutputError`` if the prompts cannot be meant together. Reads the file of prompts."""
    for refusal in _whom(options):
        raise refusal


@refusing()
def check_source(options: Options, source: Footage) -> None:
    """Check the options against the source's alpha, size and number of frames.

    Raises:
        InputError, UnsupportedOutput: An option does not fit this source.
    """
    reading, transparency = options.reading, options.transparency
    if reading.input_alpha != "ignore" and not source.has_alpha:
        raise InputError(
            f"--input-alpha {reading.input_alpha} needs alpha, and {without_secrets(reading.input)} has none",
            hint="give a matte with --core-matte or --garbage-matte instead",
        )
    for box in transparency.boxes:
        from streammatte.stages.transparent.regions import checked_box

        checked_box(box, source.info.width, source.info.height)
    for asked in filter(None, (options.whom.asked(), transparency.asked())):  # without any, the clip is not read for it
        from streammatte.models.table import check as check_checkpoint
        from streammatte.subject.prompts import resolved

        if options.whom.tracker not in ("auto", "sam2", "flow"):
            check_checkpoint(options.whom.tracker, "sam2")
        resolved(asked, source, reading.mark_in)
    for target in options.writing.files:
        _check_single(target, source.info.frame_count)


@refusing()
def check_standard_output(options: Options) -> None:
    """Refuse an output on standard output, where ``--json`` prints the summary."""
    if PIPE in options.writing.files:
        raise OutputError("-o - cannot be combined with --json: both write to standard output", hint="leave out --json")


def refusals(options: Options) -> Iterator[StreammatteError]:
    """The refusals that need no file."""
    yield from _outputs(options)
    yield from _pipes(options)
    yield from _matte(options)
    yield from _limits(options)
    yield from _segments(options)


def line(options: Options, **changes: object) -> str:
    """The command line of these options with some of them changed."""
    options = Options.of(**{**options.flat(), **changes})
    output, *others = options.writing.outputs or [None]
    words = [options.reading.input, *([] if output is None else [output])]
    known = options_of(Options)
    for name, value in {**options.changed(), "outputs": others}.items():
        option = known[name]
        if option.switch:
            words.append(option.shown)
            continue
        for each in value if option.repeat == "join" else (value,):
            words += [option.shown, written(each)]
    return command_line("streammatte", words)


def command_line(prog: str, words: Iterable[str]) -> str:
    """What is typed, for a hint: quoted, and without passwords."""
    return shlex.join([*prog.split(), *(word if word == PIPE else without_secrets(word) for word in words)])


def proposed(source: str) -> str:
    """A free name for the cut-out, beside the input."""
    from streammatte.media.read.numbered import PICTURES, NumberedName

    if source == PIPE or "://" in source.removeprefix("file://"):
        return "out.mov"
    path = Path(source.removeprefix("file://"))
    numbered = NumberedName.parse(path)
    if numbered is not None:
        name = numbered.before.rstrip("._-")
        place, suffix = f".{'#' * numbered.digits}", ".exr" if path.suffix.lower() == ".exr" else ".png"
    else:
        animated = path.suffix.lower() == ".gif"
        name, place = path.stem, ""
        suffix = ".webp" if animated else ".png" if path.suffix.lower() in PICTURES else ".mov"
    candidates = [name, f"{name}-cutout", *(f"{name}-cutout-{number}" for number in range(2, 100))]
    names = [path.with_name(f"{each}{place}{suffix}") for each in candidates]
    return str(next((each for each in names if not _taken(each)), names[-1]))


def _taken(path: Path) -> bool:
    from streammatte.media.read.numbered import NumberedName

    numbered = NumberedName.parse(path)
    return os.path.lexists(path) if numbered is None else bool(numbered.numbers())


def _outputs(options: Options) -> Iterator[StreammatteError]:
    from streammatte.media.read.numbered import NumberedName
    from streammatte.media.remote import is_remote

    writing, transfer = options.writing, options.reading.input_transfer
    colored = writing.files if writing.matte is None else writing.files[:-1]
    suffixes = {Path(path).suffix.lower() for path in writing.files} | (
        {".mov"} if writing.deliver is not None else set()
    )
    if not writing.files and writing.deliver is None and options.reporting.report is None:
        yield OutputError("no output given", hint=line(options, outputs=proposed(options.reading.input)))
    if "" in writing.files:
        yield OutputError("the output's name is empty", hint="is a shell variable unset?")
    for path in filter(None, (*writing.files, writing.deliver, options.reporting.report)):
        if "://" in path.removeprefix("file://") and not is_remote(path):
            yield UnsupportedOutput(
                f"cannot write to {without_secrets(path)}: an output is a file, or an address such as s3://bucket/out.mov",
                hint="`streammatte live --to` sends live video to an address",
            )
    if writing.pair is not None and writing.background is not None:
        yield OutputError("--pair cannot be combined with --bg", hint=line(options, pair=None))
    if writing.pair is not None and not writing.outputs:
        yield OutputError("--pair needs -o", hint=line(options, outputs="pair.mp4"))
    if writing.background is not None and writing.alpha == "premultiplied" and writing.outputs:
        yield OutputError("--alpha cannot be combined with --bg", hint=line(options, alpha=None))
    if transfer in _LOGS and any(path.lower().endswith(".exr") for path in colored):
        yield OutputError(
            f"--input-transfer {transfer} cannot be combined with .exr, which is linear",
            hint="write .mov, .mkv, .png or .tif",
        )
    if writing.codec != "prores4444" and ".mov" not in suffixes:
        yield OutputError("--codec needs a .mov output", hint=line(options, codec=None))
    if writing.exr_compression != "zip" and ".exr" not in suffixes:
        yield OutputError("--exr-compression needs an .exr output", hint=line(options, exr_compression=None))
    if writing.start_number is not None and all(NumberedName.parse(path) is None for path in writing.files):
        yield OutputError("--start-number needs a numbered output", hint=line(options, outputs="name.####.png"))


def _pipes(options: Options) -> Iterator[StreammatteError]:
    reading, writing = options.reading, options.writing
    if writing.files.count(PIPE) > 1:
        yield OutputError("only one output can be -, standard output", hint="name files for the others")
    matting, masks = options.matting, options.transparency.transparent_masks
    guides = (*matting.core_mattes, *matting.garbage_mattes, *matting.holdout_mattes, *masks)
    for name, path in [("--bg", writing.background), *(("a guide matte", path) for path in guides)]:
        if path is not None and path.removeprefix("invert:") == PIPE:
            yield InputError(f"{name} cannot be -, which is for INPUT only", hint="name a file")
    if reading.input != PIPE:
        return
    for name, given in (
        ("--in", reading.mark_in is not None),
        ("--out", reading.mark_out is not None),
        ("--resume", writing.resume),
        ("--keep-mattes", writing.keep_mattes),
        ("--input-alpha", reading.input_alpha != "ignore"),
    ):
        if given:
            yield InputError(
                f"{name} needs a file: a pipe can be read only once", hint="save the stream to a file first"
            )
    if sys.stdin is None or sys.stdin.isatty():
        yield InputError(
            "INPUT - reads a pipe, but standard input is the terminal",
            hint="ffmpeg -i clip.mp4 -f nut - | streammatte - -o out.mov",
        )


def _matte(options: Options) -> Iterator[StreammatteError]:
    reading, matting, transparency = options.reading, options.matting, options.transparency
    if reading.handles and reading.mark_in is None and reading.mark_out is None:
        yield InputError("--handles needs --in or --out", hint=line(options, mark_in="3s"))
    if (options.network.batch or 1) > 1 and options.network.stride > 1:
        yield InputError("--batch cannot be combined with --stride", hint=line(options, batch=1))
    if matting.lookahead is not None and matting.smooth == "off":
        yield InputError("--lookahead cannot be combined with --smooth off", hint=line(options, lookahead=None))
    elif matting.lookahead is not None:
        from streammatte.stages.temporal import REACH

        if matting.lookahead > (most := 2 * REACH[matting.smooth]):
            says = f"--lookahead can be at most {most} with --smooth {matting.smooth}"
            yield InputError(says, hint=line(options, lookahead=most))
    if transparency.transparent and transparency.transparent_masks:
        yield InputError(
            "--transparent and --transparent-mask are mutually exclusive", hint=line(options, transparent=None)
        )
    if transparency.boxes and len(transparency.transparent) > 1:
        asked = [each if isinstance(each, Prompted) else f"box {written(each)}" for each in transparency.transparent]
        says = "--transparent LEFT,TOP,RIGHT,BOTTOM cannot be combined with another --transparent"
        yield InputError(says, hint=line(options, transparent=asked))
    if transparency.transparency == "off":
        for name, flag in (("transparent", "--transparent"), ("transparent_masks", "--transparent-mask")):
            if getattr(transparency, name):
                yield InputError(
                    f"{flag} cannot be combined with --transparency off", hint=line(options, transparency="auto")
                )


def _whom(options: Options) -> Iterator[StreammatteError]:
    """Prompts that cannot be meant together; reads the file of prompts."""
    whom, asked, names = options.whom, options.whom.asked(), options.whom.names()
    transparent = options.transparency.asked()
    if asked and len(whom.typed) < len(whom.subject):
        yield InputError("--subject all cannot be combined with other prompts", hint=line(options, subject=whom.typed))
    if "" in names and len(names) > 1:
        named = ", ".join(filter(None, names))
        yield InputError(
            f"some prompts name their subject ({named}), and others do not",
            hint='name every one, as in --subject "anna: point 640,200"',
        )
    alike: dict[str, str] = {}
    for name in names:
        if alike.setdefault(name.casefold(), name) != name:
            yield InputError(
                f"the subjects {alike[name.casefold()]} and {name} would share a file on some systems",
                hint="choose names that differ in more than their case",
            )
    yield from (refusal for each in (asked, transparent) for refusal in _unbegun(each))
    if whom.join and len(names) < 2:
        yield InputError("--join needs several named subjects", hint=line(options, join=False))
    if len(whom.written_apart()) > 1 and PIPE in options.writing.files:
        yield OutputError("several subjects cannot share the pipe -", hint=line(options, join=True))
    if (asked or transparent) and options.reading.input == PIPE:
        yield InputError(
            "prompts need a file: a pipe can be read only once, and subjects are followed before they are matted",
            hint="save the stream to a file first",
        )


def _unbegun(asked: Sequence[Prompted]) -> Iterator[StreammatteError]:
    """Those of whom is only said where they are not."""
    for name in dict.fromkeys(each.subject for each in asked):
        if all(each.kind == "not-point" for each in asked if each.subject == name):
            yield InputError(
                f"{name or 'the subject'} has only prompts that say where it is not",
                hint="add a point on it, a box around it, or its mask",
            )


def _limits(options: Options) -> Iterator[StreammatteError]:
    limits = options.reporting.limits
    names = [name for name, _ in limits]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield InputError(f"--fail-on {name} may be given only once", hint=line(options, limits=dict(limits)))
    for name, excluded, why in (
        ("mended", options.matting.smooth == "off", "--smooth off: it measures smoothing"),
        ("audio", options.writing.no_audio, "--no-audio"),
        ("contamination", options.writing.matte_only, "--matte alone: it measures colours"),
    ):
        if name in names and excluded:
            left = tuple(limit for limit in limits if limit[0] != name)
            yield InputError(f"--fail-on {name} cannot be combined with {why}", hint=line(options, limits=left))


def _segments(options: Options) -> Iterator[StreammatteError]:
    from streammatte.media.addresses import without_secrets
    from streammatte.media.read.numbered import NumberedName
    from streammatte.media.remote import is_remote
    from streammatte.media.write.animation_formats import ANIMATED

    spreading = options.spreading
    if spreading.address is not None and spreading.engine != "ray":
        yield InputError("--address needs --engine ray", hint=line(options, engine="ray"))
    if not spreading.asked:
        return
    whole = {"workers": None, "segments": None, "engine": "local", "address": None}
    given = next(flag for flag, value in _flags_of_segments(options) if value)
    if options.reading.input == PIPE:
        yield InputError(f"{given} needs a file: a pipe can be read only once", hint="save the stream to a file first")
    if options.whom.asked():
        yield InputError(
            f"{given} cannot be combined with named subjects, who are followed from their prompts",
            hint=line(options, **whole),
        )
    for path in options.writing.files:
        if is_remote(path):
            yield OutputError(f"{given} joins segments in a folder of this machine, not at {without_secrets(path)}")
        animated = Path(path).suffix.lower() in ANIMATED and NumberedName.parse(path) is None
        if path == PIPE or animated:
            name = "standard output" if path == PIPE else path
            yield OutputError(f"{given} cannot join segments in {name}", hint=line(options, **whole))
    if options.transparency.transparent:
        yield InputError(
            f"{given} cannot be combined with --transparent, which is followed from the first frame",
            hint="mark the area with --transparent-mask, or leave one of them out",
        )
    if options.reporting.report is not None or options.reporting.limits:
        flag = "--report" if options.reporting.report is not None else "--fail-on"
        yield InputError(
            f"{given} cannot be combined with {flag}, which needs all frames in one run", hint=line(options, **whole)
        )


def _flags_of_segments(options: Options) -> Iterator[tuple[str, object]]:
    spreading = options.spreading
    yield "--segments", spreading.segments
    yield "--workers", spreading.workers
    yield "--engine", spreading.engine != "local"


def _check_input(options: Options) -> None:
    """Refuse an input that does not exist, or is a folder, before anything is said about the options."""
    from streammatte.media.containers import open_container
    from streammatte.media.read.numbered import NumberedName

    path = options.reading.input
    if path == PIPE or "://" in path or NumberedName.parse(path) is not None:
        return
    if os.path.isdir(path) or not os.path.exists(path):  # noqa: PTH110, PTH112 - Path raises on names too long
        open_container(path).close()


def _check_names(options: Options) -> None:
    """Refuse a run whose outputs would overwrite what it reads, or each other."""
    from streammatte.media.read.guide import guide_path
    from streammatte.media.write.delivery import named, targets_of
    from streammatte.media.write.output import check_apart, same_files

    targets = [target.path for target in targets_of(options)]
    apart = options.whom.written_apart()
    if options.reporting.report is not None:
        targets += [named(options.reporting.report, name) for name in apart]
    source, outputs = options.reading.input, options.writing.outputs
    if any(same_files(output, source) for output in outputs):
        instead = [proposed(source) if same_files(output, source) else output for output in outputs]
        raise OutputError("the output would overwrite the input", hint=line(options, outputs=instead))
    read = [(source, "the input")]
    if options.writing.background is not None:
        read.append((options.writing.background, "the background"))
    for specs in options.guides().values():
        read += [(guide_path(spec), "a guide matte") for spec in specs]
    prompts = options.whom.asked() + options.transparency.asked()
    read += [(each.mask, "a mask") for each in prompts if each.mask and each.given is None]
    if options.whom.prompts is not None:
        read.append((options.whom.prompts, "the file of prompts"))
    check_apart([target for target in targets if target != PIPE], read)
    for output in outputs:
        if os.path.isdir(output):  # noqa: PTH112
            within = os.path.join(output, os.path.basename(proposed(source)))  # noqa: PTH118, PTH119
            hint = line(options, outputs=[within if each == output else each for each in outputs])
            raise UnsupportedOutput(f"{output} is a folder", hint=hint)
    for output in (named(output, name) for output in outputs for name in apart):
        if os.path.isfile(output) and not options.writing.overwrite:  # noqa: PTH113 - Path raises on names too long
            hints = [f"to replace it: {line(options, overwrite=True)}"]
            if Path(output).suffix.lower() == Path(source).suffix.lower():  # two photographs, perhaps
                hints.insert(
                    0, f"if both are inputs: {command_line('streammatte batch', [source, output, '--to', 'cutouts'])}"
                )
            raise WriteFailed(f"{output} exists", hint="; ".join(hints))


def _check_single(target: str, frames: int | None) -> None:
    """Refuse a single picture's name for several frames, if their number is known."""
    from streammatte.media.read.numbered import PICTURES, NumberedName
    from streammatte.media.remote import place_of
    from streammatte.media.write.animation_formats import ANIMATED

    path = place_of(target)
    single = path.suffix.lower() in set(PICTURES) - set(ANIMATED) and NumberedName.parse(target) is None
    if single and frames not in (None, 1):
        raise UnsupportedOutput(
            f"{path} is a single image, but the clip has {frames} frames",
            hint=f"number them: {path.with_name(path.stem)}.####{path.suffix}",
        )
