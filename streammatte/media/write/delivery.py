"""The files that a run writes: the named ones, and the set and note of a delivery."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from streammatte.color.codes import TRANSFER_OPTIONS, described
from streammatte.errors import WriteFailed, refusing
from streammatte.frame import StreamInfo, Writer
from streammatte.media.addresses import PIPE
from streammatte.media.read.numbered import NumberedName
from streammatte.media.remote import Remote, address_of, place_of
from streammatte.options import Options

if TYPE_CHECKING:
    from streammatte.media.write.composing import Content


@dataclass(frozen=True, slots=True)
class Target:
    """One output.

    Attributes:
        path: Its name.
        content: The part of the cut-outs that it holds.
        background: The background of a composite.
        shown_by: For a delivery, which programs show the file.
        subject: Whose it is, where each subject has outputs of its own.
    """

    path: str
    content: Content
    background: str | None = None
    shown_by: str | None = None
    subject: str = ""


def targets_of(options: Options) -> list[Target]:
    """Every file that a run will write, except the report and the note.

    Raises:
        InputError: The file of prompts, which names the subjects, cannot be read.
    """
    return [target for subject in options.whom.written_apart() for target in _targets(options, subject)]


def _targets(options: Options, subject: str) -> list[Target]:
    """The files of one subject."""
    writing, targets = options.writing, []
    for path in writing.outputs:
        targets.append(Target(path, writing.pair or "plate", writing.background))
    if writing.foreground is not None:
        targets.append(Target(writing.foreground, "foreground"))
    if writing.matte is not None:
        targets.append(Target(writing.matte, "matte"))
    if writing.deliver is not None:
        name = name_of(options.reading.input)
        targets += _delivery(place_of(writing.deliver), name, writing.background or "checker")
    return [replace(target, path=named(target.path, subject), subject=subject) for target in targets]


def named(path: str, subject: str) -> str:
    """A file's name with a subject's in it: ``out.anna.mov``, ``plate.anna.####.png``; as it is for none or a pipe."""
    numbered = NumberedName.parse(path)
    if not subject or path == PIPE:
        return path
    if numbered is None:
        whole = place_of(path)
        return address_of(whole.with_name(f"{whole.stem}.{subject}{whole.suffix}"))
    before = numbered.before.rstrip("._-")
    apart = numbered.before[len(before) :][-1:] or "."
    name = place_of(path).name
    number = name[len(numbered.before) : len(name) - len(numbered.after)]
    name = f"{before}{apart if before else ''}{subject}{apart}{number}{numbered.after}"
    return address_of(numbered.folder / name)


def info_for(target: Target, info: StreamInfo, options: Options) -> StreamInfo:
    """The stream as a target's writer takes it: EXR is made linear from the curve that --input-transfer names."""
    code = TRANSFER_OPTIONS.get(options.reading.input_transfer or "")
    if code is None or not target.path.lower().endswith(".exr"):
        return info
    return replace(info, color=replace(info.color, transfer=code))


@refusing()
def writer_of(
    target: Target,
    info: StreamInfo,
    first_number: int,
    options: Options,
    *,
    begin: int | None = None,
    part: bool = False,
) -> Writer:
    """The writer of an output, before it is entered; refuses what the format cannot hold.

    Args:
        info: The stream's.
        begin: pts of the first frame, if the writer joins parts of the clip, or writes one.
        part: It writes one of these parts.
    """
    from streammatte.media.write.opening import open_writer

    asked, sounds = options.writing, None if part else options.reading.input
    number = asked.start_number  # of the first frame written, whose index need not be 0
    return open_writer(
        target.path,
        info_for(target, info, options),
        alpha=asked.alpha,
        background=target.background,
        content=target.content,
        audio=None if asked.no_audio else sounds,
        subtitles=sounds,
        overwrite=asked.overwrite,
        bits=asked.bits,
        first_number=first_number if number is None else number - info.first_index,
        codec=asked.codec,
        quality=asked.quality,
        compression=asked.exr_compression,
        begin=begin,
        packets=part,
        hwaccel=options.reading.hwaccel == "cuda",
    )


def name_of(source: str) -> str:
    """What a delivery of that source is called: its name without folders, suffix and the place of a number."""
    return Path(source.removeprefix("file://")).stem.split(".#")[0].split(".%")[0].rstrip("#._-") or "plate"


def _delivery(folder: Path | Remote, name: str, background: str) -> list[Target]:
    editors = "Resolve, Premiere, After Effects, Final Cut and Nuke"
    files: list[tuple[str, Content, str | None, str]] = [
        (f"{name}.mov", "plate", None, f"the cut-out, for editing: {editors} read its alpha"),
        (
            f"{name}.webm",
            "plate",
            None,
            "the cut-out, for the web: Chrome, Edge, Firefox and OBS show its alpha; Safari ignores it, and so does "
            "FFmpeg unless -c:v libvpx-vp9 comes before -i",
        ),
        (
            f"{name}.fill.mov",
            "foreground",
            None,
            "fill: the subject's colours without alpha, extended past its edge",
        ),
        (
            f"{name}.matte.mov",
            "matte",
            None,
            "matte: white is solid, black is clear; with the fill a pair for mixers and programs that read no alpha, "
            "where it is set as the fill's luma matte (the fill is straight)",
        ),
        (f"{name}.comp.mp4", "plate", background, f"a slap comp over {background}, for viewing: any player"),
    ]
    return [Target(address_of(folder / file), content, over, shown) for file, content, over, shown in files]


@contextmanager
def delivery_folder(path: str) -> Iterator[Path | Remote]:
    """The folder of a delivery, created if it does not exist, and removed again if nothing is written to it.

    Raises:
        WriteFailed: It cannot be created.
    """
    folder = place_of(path)
    if isinstance(folder, Remote):  # it is the beginning of a name
        yield folder
        return
    made = not folder.exists()
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError as exc:
        raise WriteFailed(
            f"the folder {folder.parent} does not exist", hint=f"create it first: mkdir -p {folder.parent}"
        ) from exc
    except OSError as exc:
        raise WriteFailed(
            f"cannot create the folder {folder}: {(exc.strerror or str(exc)).lower()}", hint="choose another name"
        ) from exc
    try:
        yield folder
    except BaseException:
        if made:
            with contextlib.suppress(OSError):  # there are other files in it
                folder.rmdir()
        raise


def note_of(
    options: Options, info: StreamInfo, targets: Sequence[Target], writers: Sequence[Writer], frames: int
) -> str:
    """The text that accompanies a delivery: its files, which programs show them, and the clip's facts."""
    lines = [f"{name_of(options.reading.input)}, cut out by streammatte", ""]
    for target, writer in zip(targets, writers, strict=True):
        if target.shown_by is not None:
            lines += [writer.path.name, *_wrapped(writer.description), *_wrapped(target.shown_by), ""]
    alpha = options.writing.alpha or "straight"
    meaning = (
        "colours are not multiplied by alpha and extend past the edge: interpret as straight (unmatted)"
        if alpha == "straight"
        else "colours are multiplied by alpha: interpret as premultiplied (matted with black)"
    )
    rate = info.frame_rate
    stated = f"{rate.numerator}" if rate.denominator == 1 else f"{float(rate):.3f} ({rate})"
    lines += [
        f"Alpha       {alpha}",
        *_wrapped(f"{meaning}. These files have no flag for it; their comment says so.", 12),
        f"Picture     {info.width}×{info.height}, pixel aspect {info.pixel_aspect}",
        f"Time        {frames} frames at {stated} fps",
        f"Colour      source: {described(info.color)}",
    ]
    return "\n".join(lines) + "\n"


def _wrapped(text: str, indent: int = 4) -> list[str]:
    return textwrap.wrap(text, 88, initial_indent=" " * indent, subsequent_indent=" " * indent)
