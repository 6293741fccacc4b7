"""Which reader a file needs."""

from __future__ import annotations

from fractions import Fraction
from os import PathLike
from pathlib import Path

from streammatte.errors import InputError
from streammatte.frame import Footage
from streammatte.media.addresses import without_secrets
from streammatte.media.copies import kept_copy
from streammatte.media.read.deinterlace import Interlaced
from streammatte.media.read.kinds import WITH_FRAMES, picture_kind
from streammatte.media.read.numbered import NumberedName
from streammatte.media.read.pictures import PictureSource
from streammatte.media.read.span import Marks
from streammatte.media.remote import Remote, place_of


def open_video(
    url: str | PathLike[str],
    *,
    frame_rate: Fraction | None = None,
    strict: bool = False,
    first: str | int | None = None,
    last: str | int | None = None,
    handles: int = 0,
    interlaced: Interlaced = "as-is",
    layer: str | None = None,
    hwaccel: bool = False,
) -> Footage:
    """Open footage: any file FFmpeg reads, a picture, an animated picture, or numbered pictures.

    The content decides what a file is, not its name. Animated PNG, GIF, WebP and AVIF are clips.

    The source is a context manager. Iterating gives frames in order, ``cutouts()`` gives them with the alpha stored in
    the file, both as often as you like, except from standard input. ``len()`` is the number of frames the file states.
    After a pass, ``lost`` is ``None``, or one line on what could not be decoded.

    Args:
        url: A path, an address, or ``-`` for standard input; ``plate.####.png`` or ``plate.%04d.png`` for numbered PNG,
            JPEG, TIFF, EXR, DPX, BMP, WebP, GIF, HEIC or AVIF pictures, without gaps. EXR and float TIFF give float
            frames in linear light, which may exceed 1.
        frame_rate: For pictures: frames a second. Default: what EXR states, or 24.
        strict: Raise ``DecodeFailed`` at the first damage instead of delivering what can be decoded.
        first, last: First and last frame to read, both included: a frame number (from 0; for numbered pictures, the
            number in the name), a time since the first frame (``3s``, ``1:02.5``), or timecode (``01:00:00:00``) from
            the clip's own start or else from 00:00:00:00. Frames keep their ``index`` and ``pts`` of the whole clip.
        handles: Extra frames on both sides, where there are any.
        interlaced: Refuse interlaced footage, deinterlace it, or take it as it is.
        layer: EXR layer or part to read instead of the main one.
        hwaccel: Decode on NVDEC what it can decode: pixels are the same, but damage inside a frame goes unnoticed.

    Raises:
        InputError: There are no such frames or no such layer, a clip is given a rate, or interlaced footage is refused.
        SourceNotFound: There is nothing readable at that path.
        NoVideoStream: The file has no pictures.
        DecodeFailed: The file cannot be decoded.
    """
    marks = Marks(None if first is None else str(first), None if last is None else str(last), handles)
    name, path = NumberedName.parse(url), place_of(url)
    kind = None if name is not None else picture_kind(url)
    # A film named like a picture is a film; but FFmpeg takes a DPX for a film of one frame.
    is_dpx_or_exr = path.suffix.lower() in (".exr", ".dpx") and (isinstance(path, Remote) or "://" not in str(url))
    source: Footage
    if name is not None:
        from streammatte.media.read.sequence import open_pictures

        source = open_pictures(name, frame_rate=frame_rate, marks=marks, layer=layer)
    elif kind is not None or is_dpx_or_exr:
        with kept_copy(path) as (copy, keep):
            source = _open_picture(copy, kind, frame_rate, marks, layer)
            keep(source)
        source.name = str(path)
    else:
        from streammatte.media.read.file_source import FileSource

        if layer is not None:
            raise InputError(f"{without_secrets(str(url))} has no layers", hint="leave out --layer: it is for OpenEXR")
        source = FileSource(str(url), strict=strict, marks=marks, interlaced=interlaced, on_gpu=hwaccel)
    if frame_rate is not None and source.info.frame_rate != frame_rate:
        source.__exit__(None, None, None)
        raise InputError(
            f"{without_secrets(str(url))} states its own frame rate",
            hint="leave out --fps: it is for numbered pictures",
        )
    return source


def _open_picture(
    path: Path, kind: str | None, frame_rate: Fraction | None, marks: Marks, layer: str | None
) -> PictureSource:
    from streammatte.media.read.animation import is_animated, open_animation
    from streammatte.media.read.sequence import open_pictures

    if kind in WITH_FRAMES and layer is None and is_animated(path, kind):
        return open_animation(path, kind, marks)
    return open_pictures(path, frame_rate=frame_rate, marks=marks, layer=layer)
