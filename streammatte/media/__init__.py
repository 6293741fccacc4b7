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
    url: str | PathLike[str], *, frame_rate: Fraction | None = None, strict: bool = False
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

    Raises:
        SourceNotFound: There is nothing readable at that path.
        NoVideoStream: The file holds no pictures.
        DecodeFailed: It cannot be decoded.
    """
    from streammatte.media.file_source import FileSource
    from streammatte.media.sequence import DEFAULT_RATE, PICTURES, NumberedName, SequenceSource, open_sequence

    name = NumberedName.parse(url)
    if name is not None:
        return open_sequence(name, frame_rate=frame_rate or DEFAULT_RATE)
    if Path(url).suffix.lower() in PICTURES and "://" not in str(url):
        return SequenceSource([Path(url)], frame_rate=frame_rate or DEFAULT_RATE)
    return FileSource(str(url), strict=strict)


def open_sink(
    path: str | PathLike[str],
    info: StreamInfo,
    *,
    alpha: Literal["straight", "premultiplied"] = "straight",
    background: str | PathLike[str] | None = None,
    content: Literal["plate", "matte"] = "plate",
    audio: str | PathLike[str] | None = None,
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

    Colours are written with the source's own matrix, primaries and transfer and, but in ProRes, its range; where they
    are the frame's own, as the source's own samples (``Frame.samples``). The pixel aspect goes along in ``.mov`` and
    ``.mp4``. Nothing lies under the final name before the sink has been left without an exception. ``sink.description``
    says what is written, in a line.

    Args:
        path: A single ``name.png`` takes one frame.
        info: The stream that the plates are of.
        alpha: What the colours beside an alpha are; files do not say it, so the description does.
        background: Makes a composite: anything that :func:`~streammatte.media.background.open_background` takes.
        content: ``"matte"`` writes the alpha alone, in grey.
        audio: A media file; its first audio stream is copied, or re-encoded where the container does not take it (AAC,
            or Opus in WebM). Pictures have no sound, as a source or as an output.
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
    from streammatte.media.sequence import PICTURES, NumberedName
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
    silent = audio is None or NumberedName.parse(audio) is not None or Path(audio).suffix.lower() in PICTURES
    return VideoSink(
        target,
        info,
        encoding,
        content=content,
        alpha=alpha,
        background=backdrop,
        audio=None if silent or audio is None else str(audio),
        overwrite=overwrite,
    )
