"""Footage in and plates out: everything that touches PyAV, and nothing else does.

Importing this package is cheap; FFmpeg, OpenCV and torch are loaded when something is opened.
"""

from __future__ import annotations

from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from streammatte.errors import UnsupportedOutput
from streammatte.frame import StreamInfo

if TYPE_CHECKING:
    from streammatte.media.file_source import FileSource
    from streammatte.media.picture_sink import PictureSink
    from streammatte.media.sequence import SequenceSource
    from streammatte.media.video_sink import VideoSink

__all__ = ["open_sink", "open_source"]


def open_source(
    url: str | PathLike[str],
    *,
    frame_rate: Fraction | None = None,
    strict: bool = False,
    first: str | int | None = None,
    last: str | int | None = None,
    handles: int = 0,
    interlaced: Literal["refuse", "deinterlace", "as-is"] = "as-is",
) -> FileSource | SequenceSource:
    """Open footage: any file FFmpeg reads, one picture, or numbered pictures.

    The source is a context manager that iterates over its frames once, in order; or, by ``plates()``, over its frames
    with the alpha that the file holds. When they have run out, its ``lost`` is ``None``, or one line on what could not
    be decoded. Its ``first_number`` is the number of its first picture; ``has_alpha`` tells whether it has any.

    Args:
        url: A path or an address; ``plate.####.png`` or ``plate.%04d.png`` for numbered PNG, JPEG, TIFF, BMP or WebP
            pictures. A gap in the numbers is an error.
        frame_rate: Of pictures, 24 by default, as film and compositors have it; a clip states its own.
        strict: Raise ``DecodeFailed`` at the first damage instead of delivering what can be decoded.
        first, last: The first and the last frame that come, both of them included, as a frame's number (from 0; of
            numbered pictures, the picture's) or as timecode, ``01:00:00:00``, on the clip's own timecode if it has one
            and else from 00:00:00:00. A frame keeps the ``index`` and the ``pts`` it has in the whole.
        handles: Frames more at both ends, where there are any.
        interlaced: Whether interlaced footage is refused, made progressive, or taken as it is.

    Raises:
        InputError: There are no such frames, or interlaced ones that are refused.
        SourceNotFound: There is nothing readable at that path.
        NoVideoStream: The file holds no pictures.
        DecodeFailed: It cannot be decoded.
    """
    from streammatte.media.file_source import FileSource
    from streammatte.media.sequence import DEFAULT_RATE, PICTURES, NumberedName, SequenceSource, open_sequence
    from streammatte.media.span import Marks

    marks = Marks(None if first is None else str(first), None if last is None else str(last), handles)
    name = NumberedName.parse(url)
    if name is not None:
        return open_sequence(name, frame_rate=frame_rate or DEFAULT_RATE, marks=marks)
    if Path(url).suffix.lower() in PICTURES and "://" not in str(url):
        return SequenceSource([Path(url)], frame_rate=frame_rate or DEFAULT_RATE, marks=marks)
    return FileSource(str(url), strict=strict, marks=marks, interlaced=interlaced)


def open_sink(
    path: str | PathLike[str],
    info: StreamInfo,
    *,
    alpha: Literal["straight", "premultiplied"] = "straight",
    background: str | PathLike[str] | None = None,
    content: Literal["plate", "matte"] = "plate",
    audio: str | PathLike[str] | None = None,
    subtitles: str | PathLike[str] | None = None,
    overwrite: bool = False,
    bits: int | None = None,
    first_number: int = 1,
) -> VideoSink | PictureSink:
    """Open the sink that the name asks for. Enter it, ``write`` plates in order, leave it.

    ====================  ==============================  =============================  ====================
    name                  plate                           with a background              matte
    ====================  ==============================  =============================  ====================
    ``.mov``              ProRes 4444, 16-bit alpha       ProRes 422 HQ                  ProRes 422 HQ
    ``.webm``             VP9 with alpha                  VP9                            VP9
    ``.mp4``              refused: H.264 has no alpha     H.264                          H.264
    ``name.####.png``     RGBA                            RGB                            grey
    ====================  ==============================  =============================  ====================

    PNG has 8 or 16 bits, as ``bits`` asks; ProRes has 10 (its alpha 16, of which 10 are used), VP9 and H.264 have 8.

    Colours are written in studio swing with the source's own matrix, primaries and transfer; the pixel aspect goes
    along in ``.mov`` and ``.mp4``. Nothing lies under the final name before the sink has been left without an
    exception. ``sink.description`` says what is written, in a line.

    Args:
        path: A single ``name.png`` takes one frame.
        info: The stream that the plates are of.
        alpha: What the colours beside an alpha are; files do not say it, so the description does.
        background: Makes a composite: anything that :func:`~streammatte.media.background.open_background` takes.
        content: ``"matte"`` writes the alpha alone, in grey.
        audio: A media file; each of its audio streams is copied, or re-encoded where the container does not take it
            (AAC, or Opus in WebM). Of ``info.span``, if there is one. Pictures have no sound, as a source or an output.
        subtitles: A media file; its subtitles are copied where the container takes them as they are.
        overwrite: Replace what is there; of numbered pictures, all that have the name, whatever their number.
        bits: Of PNG components, 8 or 16; by default 8 for sources of 8 bits, else 16. Video has what its codec has, and
            ignores it, so that it can be asked for beside pictures.
        first_number: Number of the first PNG.

    Raises:
        UnsupportedOutput: No sink writes that name, or not with these options.
        WriteFailed: The folder is missing or cannot be written, or the output exists.
        InputError: The background or the audio cannot be read.
    """
    from streammatte.media.background import open_background
    from streammatte.media.encoding import encoding_for
    from streammatte.media.output import check_target
    from streammatte.media.picture_sink import PictureSink
    from streammatte.media.video_sink import VideoSink

    target = Path(path)
    pictures = target.suffix.lower() == ".png"
    if pictures and bits not in (None, 8, 16):
        raise UnsupportedOutput(f"{target} cannot have {bits} bits", hint="PNG has 8 or 16")
    encoding = (
        None if pictures else encoding_for(target, content=content, alpha=alpha, composite=background is not None)
    )
    check_target(target, overwrite=overwrite)
    backdrop = None if background is None or content == "matte" else open_background(background, info)
    if encoding is None:
        return PictureSink(
            target,
            bits=bits or (8 if info.color.bit_depth <= 8 else 16),
            content=content,
            alpha=alpha,
            background=backdrop,
            first_number=first_number,
            overwrite=overwrite,
        )
    return VideoSink(
        target,
        info,
        encoding,
        content=content,
        alpha=alpha,
        background=backdrop,
        audio=_media_file(audio),
        subtitles=_media_file(subtitles),
        overwrite=overwrite,
    )


def _media_file(path: str | PathLike[str] | None) -> str | None:
    """The path, unless it is of pictures, which have neither sound nor subtitles."""
    from streammatte.media.sequence import PICTURES, NumberedName

    if path is None or NumberedName.parse(path) is not None or Path(path).suffix.lower() in PICTURES:
        return None
    return str(path)
