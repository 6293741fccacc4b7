"""Footage in and cut-outs out: everything that touches PyAV, and nothing else does.

Importing this package is cheap; FFmpeg, OpenCV and torch are loaded when something is opened.
"""

from __future__ import annotations

from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from streammatte.errors import InputError, UnsupportedOutput
from streammatte.frame import Footage, StreamInfo

if TYPE_CHECKING:
    from streammatte.media.write.animation_writer import AnimationWriter
    from streammatte.media.write.composing import AlphaKind, Background, Content
    from streammatte.media.write.encoding import Codec, Quality
    from streammatte.media.write.picture_writer import PictureEncoder, PictureSequenceWriter
    from streammatte.media.write.pipe_writer import PipeWriter
    from streammatte.media.write.video_writer import VideoWriter

__all__ = ["open_video", "open_writer"]


def open_video(
    url: str | PathLike[str],
    *,
    frame_rate: Fraction | None = None,
    strict: bool = False,
    first: str | int | None = None,
    last: str | int | None = None,
    handles: int = 0,
    interlaced: Literal["refuse", "deinterlace", "as-is"] = "as-is",
    layer: str | None = None,
) -> Footage:
    """Open footage: any file FFmpeg reads, one picture, an animated one, or numbered pictures.

    What a file is, its content decides and not its name. Animated PNG, GIF, WebP and AVIF are clips.

    The source is a context manager that iterates over its frames once, in order; or, by ``cutouts()``, over its frames
    with the alpha that the file holds. When they have run out, its ``lost`` is ``None``, or one line on what could not
    be decoded. Its ``first_number`` is the number of its first picture; ``has_alpha`` tells whether it has any.

    Args:
        url: A path, an address, or ``-`` for standard input, which is read once: no part of it can be marked;
            ``plate.####.png`` or ``plate.%04d.png`` for numbered PNG, JPEG, TIFF, EXR, DPX, BMP, WebP, GIF, HEIC
            or AVIF pictures. A gap in the numbers is an error. EXR and float TIFF give float frames in linear light,
            whose values may be above 1.
        frame_rate: Of pictures, by default what EXR states, or else 24, as film and compositors have it; a clip states
            its own.
        strict: Raise ``DecodeFailed`` at the first damage instead of delivering what can be decoded.
        first, last: The first and the last frame that come, both of them included, as a frame's number (from 0; of
            numbered pictures, the picture's) or as timecode, ``01:00:00:00``, on the clip's own timecode if it has one
            and else from 00:00:00:00. A frame keeps the ``index`` and the ``pts`` it has in the whole.
        handles: Frames more at both ends, where there are any.
        interlaced: Whether interlaced footage is refused, made progressive, or taken as it is.
        layer: Of EXR: the layer or part that is read instead of the main one.

    Raises:
        InputError: There are no such frames, no such layer, or interlaced ones that are refused.
        SourceNotFound: There is nothing readable at that path.
        NoVideoStream: The file holds no pictures.
        DecodeFailed: It cannot be decoded.
    """
    from streammatte.media.addresses import without_secrets
    from streammatte.media.read.file_source import FileSource
    from streammatte.media.read.kinds import WITH_FRAMES, picture_kind
    from streammatte.media.read.sequence import NumberedName, SequenceSource, open_sequence
    from streammatte.media.read.span import Marks

    marks = Marks(None if first is None else str(first), None if last is None else str(last), handles)
    name = NumberedName.parse(url)
    if name is not None:
        return open_sequence(name, frame_rate=frame_rate, marks=marks, layer=layer)
    kind = picture_kind(url)
    if kind in WITH_FRAMES and layer is None:
        from streammatte.media.read.animation import AnimationSource, is_animated

        if is_animated(Path(url), kind):
            return AnimationSource(Path(url), kind, marks=marks)
    # A film whose name is a picture's is a film; of DPX, FFmpeg reads one picture a file.
    if kind is not None or (Path(url).suffix.lower() in (".exr", ".dpx") and "://" not in str(url)):
        return SequenceSource([Path(url)], frame_rate=frame_rate, marks=marks, layer=layer)
    if layer is not None:
        raise InputError(f"{without_secrets(str(url))} has no layers: --layer is for OpenEXR", hint="leave it out")
    return FileSource(str(url), strict=strict, marks=marks, interlaced=interlaced)


def open_writer(
    path: str | PathLike[str],
    info: StreamInfo,
    *,
    alpha: AlphaKind | None = None,
    background: str | PathLike[str] | None = None,
    content: Content = "plate",
    audio: str | PathLike[str] | None = None,
    subtitles: str | PathLike[str] | None = None,
    overwrite: bool = False,
    bits: int | None = None,
    first_number: int = 1,
    codec: Codec = "prores4444",
    quality: Quality = "standard",
    compression: str = "zip",
) -> VideoWriter | PictureSequenceWriter | AnimationWriter | PipeWriter:
    """Open the writer that the name asks for. Enter it, ``write`` cut-outs in order, leave it.

    ====================  ===========================  ==================  ===================
    name                  cut-out                        without alpha       matte
    ====================  ===========================  ==================  ===================
    ``.mov``              ProRes 4444, 16-bit alpha    ProRes 422 HQ       ProRes 422 HQ
    ``.mov``, XQ          ProRes 4444 XQ               ProRes 4444 XQ      ProRes 4444 XQ
    ``.mov``, PNG         RGBA                         RGB                 grey
    ``.mkv``              FFV1, Y'CbCr 4:4:4 or RGB    the same            FFV1, grey
    ``.webm``             VP9 with alpha               VP9                 VP9
    ``.mp4``              refused: H.264 has no alpha  H.264               H.264
    ``name.####.png``     RGBA                         RGB                 grey
    ``name.####.tif``     RGBA                         RGB                 grey
    ``name.####.exr``     R, G, B, A in linear light   R, G, B             Y
    ``name.####.jpg``     refused: JPEG has no alpha   RGB                 grey
    ``name.####.webp``    RGBA, its colours lossy      RGB                 grey, lossless
    ``.webp``, ``.gif``   an animation of such pictures; a single frame is a picture
    ``-``                 NUT on standard output: raw RGBA, RGB or grey
    ====================  ===========================  ==================  ===================

    Colours are written with the source's own matrix, primaries and transfer and, but in ProRes, its range; where they
    are the frame's own, as the source's own samples (``Frame.samples``). The pixel aspect goes along in ``.mov``,
    ``.mp4`` and ``.exr``. EXR is linear whatever the source is, and RGB in linear light is written by BT.709's curve to
    video and by sRGB's to PNG and TIFF. Nothing lies under the final name before the writer has been left without an
    exception. ``writer.description`` says what is written, in a line; what of it concerns the alpha stands in the file,
    too: as a comment, of TIFF in ExtraSamples.

    Args:
        path: A single ``name.png`` takes one frame. A link is followed: the file it leads to is written.
        info: The stream that the cut-outs are of.
        alpha: What the colours beside an alpha are. By default ``straight``, in EXR ``premultiplied``, as each is
            expected to be.
        background: Makes a composite: anything that :func:`~streammatte.media.background.open_background` takes.
        content: ``"matte"`` writes the alpha alone, in grey; ``"foreground"`` the straight colours alone, the fill;
            ``"above"`` and ``"beside"`` both in one picture, for players that know no alpha.
        audio: A media file; each of its audio streams is copied, or re-encoded where the container does not take it
            (AAC, Opus in WebM, FLAC in Matroska). Of ``info.span``, if there is one. Pictures have no sound, as a
            source or an output.
        subtitles: A media file; its subtitles are copied where the container takes them as they are.
        overwrite: Replace what is there; of numbered pictures, all that have the name, whatever their number.
        bits: Of a component, where a format has several depths: PNG (in ``.mov``, too), TIFF and NUT 8 or 16, FFV1 8,
            10, 12 or 16, EXR 16 (half, the default) or 32 (float). By default what holds the source's; FFV1 has 10 at
            least. ProRes has 10 (its alpha 16, of which 10 are used), VP9, H.264, JPEG, WebP and GIF have 8, and ignore
            it, so that it can be asked for beside others.
        first_number: Number of the first picture.
        codec: Of ``.mov``: ``prores4444``, ``prores4444xq`` or ``png``.
        quality: Of ProRes, VP9, H.264, JPEG and WebP: ``draft``, ``standard`` or ``best``.
        compression: Of EXR: ``zip``, ``piz``, ``dwaa`` or ``dwab``.

    Raises:
        UnsupportedOutput: No writer writes that name, or not with these options.
        WriteFailed: The folder is missing or cannot be written, or the output exists.
        InputError: The background or the audio cannot be read.
    """
    from streammatte.media.addresses import PIPE
    from streammatte.media.background import open_background
    from streammatte.media.write.encoding import encoding_for
    from streammatte.media.write.output import check_target, through_links
    from streammatte.media.write.video_writer import VideoWriter

    named = Path(path)
    suffix = named.suffix.lower()
    composite = background is not None and content != "matte"
    if composite and content != "plate":
        raise UnsupportedOutput(
            f"{named} would be a fill over a background", hint="leave --bg out, or --pair and --foreground"
        )
    kind: AlphaKind = alpha or ("premultiplied" if suffix == ".exr" else "straight")
    target = through_links(named)
    encoding = None
    if str(path) == PIPE:
        _check_depth("standard output", "NUT", (8, 16), bits)
    elif suffix in _DEPTHS:
        has_alpha = content == "plate" and not composite
        _check_picture(named, info, bits, content, kind if has_alpha else None)
        check_target(target, overwrite=overwrite)
    else:
        encoding = encoding_for(
            named, info, content=content, alpha=kind, composite=composite, codec=codec, quality=quality, bits=bits
        )
        check_target(target, overwrite=overwrite)
    backdrop = open_background(background, info) if composite and background is not None else None
    if str(path) == PIPE:
        return _piped(info, content, kind, backdrop, bits, silent=_has_no_sound(audio))
    if encoding is None:
        encoder = _encoder(suffix, info, content, kind, backdrop, bits, compression, quality)
        return _pictured(named, target, info, encoder, content, backdrop, first_number, overwrite, audio=audio)
    return VideoWriter(
        target,
        info,
        encoding,
        content=content,
        alpha=kind,
        background=backdrop,
        audio=_media_file(audio),
        subtitles=_media_file(subtitles),
        overwrite=overwrite,
    )


_DEPTHS = {
    **dict.fromkeys((".png", ".tif", ".tiff"), (8, 16)),
    **dict.fromkeys((".jpg", ".jpeg", ".webp", ".gif"), (8,)),
    ".exr": (16, 32),
}


def _check_picture(path: Path, info: StreamInfo, bits: int | None, content: Content, alpha: AlphaKind | None) -> None:
    """Refuse what that format cannot hold; ``alpha`` is ``None`` where none is to be written."""
    suffix = path.suffix.lower()
    name = {".jpg": "JPEG", ".webp": "WebP"}.get(suffix, suffix[1:].upper())
    _check_depth(str(path), name, _DEPTHS[suffix], bits)
    if content in ("above", "beside") and suffix == ".exr":
        raise UnsupportedOutput(f"{path} as a pair would mix light and alpha", hint="EXR has alpha: leave --pair out")
    if alpha is not None and suffix in (".jpg", ".jpeg"):
        raise UnsupportedOutput(
            f"{path} cannot hold alpha: JPEG has none",
            hint="give a background with --bg, or write .png, .webp or .tif",
        )
    if alpha == "premultiplied" and suffix in (".webp", ".gif"):
        raise UnsupportedOutput(
            f"{path} cannot hold premultiplied colours: alpha is straight in {name}", hint="leave --alpha out"
        )
    if suffix in (".jpg", ".jpeg", ".webp", ".gif"):
        from streammatte.media.write.composing import size_of
        from streammatte.media.write.pictures import LARGEST

        if max(size_of(content, info.width, info.height)) > LARGEST[suffix]:
            raise UnsupportedOutput(
                f"{path} cannot be {info.width}×{info.height}: {name} has {LARGEST[suffix]} pixels a side at most",
                hint="write .png or .tif",
            )


def _check_depth(path: str, name: str, depths: tuple[int, ...], bits: int | None) -> None:
    if bits not in (None, *depths) and len(depths) > 1:
        raise UnsupportedOutput(f"{path} cannot have {bits} bits", hint=f"{name} has {' or '.join(map(str, depths))}")


def _pictured(
    named: Path,
    target: Path,
    info: StreamInfo,
    encoder: PictureEncoder,
    content: Content,
    background: Background | None,
    first_number: int,
    overwrite: bool,
    *,
    audio: str | PathLike[str] | None,
) -> PictureSequenceWriter | AnimationWriter:
    """The writer of a picture's name: an animation where the format has any, and the name no number."""
    from streammatte.media.read.sequence import NumberedName
    from streammatte.media.write.animation_formats import ANIMATED, GifAnimation, WebpAnimation

    suffix = named.suffix.lower()
    if suffix not in ANIMATED or NumberedName.parse(target) is not None:
        from streammatte.media.write.picture_writer import PictureSequenceWriter

        return PictureSequenceWriter(
            target,
            encoder,
            background=background,
            first_number=first_number,
            overwrite=overwrite,
        )
    from streammatte.media.write.animation_writer import AnimationWriter
    from streammatte.media.write.composing import size_of

    kind = GifAnimation if suffix == ".gif" else WebpAnimation
    animation = kind(*size_of(content, info.width, info.height), has_alpha=content == "plate" and background is None)
    return AnimationWriter(
        target,
        info,
        encoder,
        animation,
        background=background,
        overwrite=overwrite,
        silent=_has_no_sound(audio),
    )


def _piped(
    info: StreamInfo,
    content: Content,
    alpha: AlphaKind,
    background: Background | None,
    bits: int | None,
    *,
    silent: bool,
) -> PipeWriter:
    """The writer of ``-``."""
    from streammatte.media.write.composing import IntegerPictures
    from streammatte.media.write.pipe_writer import PipeWriter

    bits = bits or (8 if info.color.bit_depth <= 8 else 16)
    pictures = IntegerPictures(
        info, bits=bits, content=content, alpha=alpha, background=background, keeps_profile=False
    )
    return PipeWriter(info, pictures, content=content, bits=bits, background=background, silent=silent)


def _encoder(
    suffix: str,
    info: StreamInfo,
    content: Content,
    alpha: AlphaKind,
    background: Background | None,
    bits: int | None,
    compression: str,
    quality: Quality,
) -> PictureEncoder:
    """What writes pictures of that suffix; each format's library is imported when it is asked for."""
    if suffix == ".exr":
        from streammatte.media.read.exr import ExrWriter

        return ExrWriter(
            info, bits=bits or 16, compression=compression, content=content, alpha=alpha, background=background
        )
    from streammatte.media.write.composing import IntegerPictures
    from streammatte.media.write.pictures import GifWriter, JpegWriter, PngWriter, TiffWriter, WebpWriter

    bits = 8 if max(_DEPTHS[suffix]) == 8 else bits or (8 if info.color.bit_depth <= 8 else 16)
    pictures = IntegerPictures(
        info,
        bits=bits,
        content=content,
        alpha=alpha,
        background=background,
        keeps_profile=suffix in (".png", ".tif", ".tiff"),
    )
    if suffix in (".jpg", ".jpeg", ".webp", ".gif"):
        if suffix == ".gif":
            return GifWriter(pictures)
        if suffix == ".webp":
            return WebpWriter(pictures, quality, grey=content == "matte")
        return JpegWriter(pictures, quality)
    return PngWriter(pictures) if suffix == ".png" else TiffWriter(pictures, alpha)


def _media_file(path: str | PathLike[str] | None) -> str | None:
    """The path, unless it is of pictures, which have neither sound nor subtitles, or a pipe, which is read once."""
    from streammatte.media.addresses import PIPE
    from streammatte.media.read.kinds import picture_kind
    from streammatte.media.read.sequence import PICTURES, NumberedName

    if path is None or str(path) == PIPE or NumberedName.parse(path) is not None or picture_kind(path) is not None:
        return None
    if Path(path).suffix.lower() in PICTURES:
        return None
    return str(path)


def _has_no_sound(audio: str | PathLike[str] | None) -> bool:
    """Whether there is nothing to leave out, where an output takes no sound."""
    from streammatte.media.containers import open_container

    name = _media_file(audio)
    if name is None:
        return True
    with open_container(name) as container:
        return not container.streams.audio
