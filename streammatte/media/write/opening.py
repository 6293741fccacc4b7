"""Which writer a name needs.

====================  ===========================  ==================  ===================
name                  cut-out                      without alpha       matte
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
``name.####.webp``    RGBA, lossy colours          RGB                 grey, lossless
``.webp``, ``.gif``   an animation of such pictures; a single frame is a picture
``-``                 NUT on standard output: raw RGBA, RGB or grey
====================  ===========================  ==================  ===================

Colours keep the source's matrix, primaries and transfer and, except in ProRes, its range; where they are the frame's
own, they are the source's own samples (``Frame.samples``). ``.mov``, ``.mp4`` and ``.exr`` keep the pixel aspect. EXR
is always linear; RGB in linear light gets BT.709's curve in video, sRGB's in PNG and TIFF.

PNG (in ``.mov``, too), TIFF and NUT have 8 or 16 bits, FFV1 8, 10, 12 or 16 (at least 10 by default), EXR 16 (half, the
default) or 32 (float), all others a single depth.
"""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streammatte.errors import UnsupportedOutput
from streammatte.frame import StreamInfo
from streammatte.media.addresses import PIPE
from streammatte.media.read.numbered import PICTURES, NumberedName
from streammatte.media.remote import Remote, is_remote
from streammatte.media.write.animation_formats import ANIMATED, GifAnimation, WebpAnimation

if TYPE_CHECKING:
    from streammatte.frame import Writer
    from streammatte.media.write.composing import AlphaKind, Content, Contents
    from streammatte.media.write.encoding import Codec, Encoding, Quality
    from streammatte.media.write.picture_writer import PictureEncoder
    from streammatte.media.write.pipe_writer import PipeWriter


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
    begin: int | None = None,
    packets: bool = False,
    hwaccel: bool = False,
) -> Writer:
    """Open the writer for a name. Enter it, ``write`` cut-outs in order, leave it.

    Nothing exists under the final name until it is left without an exception. ``writer.description`` says what is
    written, in one line; the file itself says what its alpha is, in a comment or TIFF's ExtraSamples.

    Args:
        path: A single ``name.png`` takes one frame. Links are followed. An address that fsspec opens is written to a
            temporary folder, and sent when the writer is finished.
        info: The stream of the cut-outs.
        alpha: What the colours beside an alpha are: ``straight`` by default, ``premultiplied`` in EXR.
        background: Composite over anything that :func:`~streammatte.media.background.open_background` takes.
        content: ``"matte"`` writes the alpha alone, in grey; ``"foreground"`` the straight colours alone, the fill;
            ``"above"`` and ``"beside"`` both in one picture, for players without alpha.
        audio: A media file whose audio streams are copied, or re-encoded where the container does not take them; the
            part in ``info.span``, if there is one. Pictures have no sound, as a source or an output.
        subtitles: A media file whose subtitles are copied where the container takes them as they are.
        overwrite: Replace what is there; for numbered pictures, all that have the name, whatever their number.
        bits: Bits of a component, by default what holds the source's. Formats with a single depth ignore it.
        first_number: Number of the first picture.
        begin: pts of the whole clip's first frame, if the first cut-out is a later one.
        packets: Write a part of a clip, for ``append`` of another writer of that name.
        hwaccel: Encode ``.mp4`` on NVENC if it is here.
        codec, quality, compression: For ``.mov``; for lossy formats; for EXR (``zip``, ``piz``, ``dwaa``, ``dwab``).

    Raises:
        UnsupportedOutput: No writer supports that name, or not with these options.
        WriteFailed, InputError: The output exists or cannot be written; background or audio cannot be read.
    """
    from streammatte.media.write.composing import Contents, default_alpha
    from streammatte.media.write.output import check_target, through_links

    if is_remote(path):
        place = Remote(str(path))
        asked = {
            **{"alpha": alpha, "background": background, "content": content, "audio": audio, "subtitles": subtitles},
            **{"bits": bits, "first_number": first_number, "codec": codec, "quality": quality},
            **{"compression": compression, "begin": begin, "hwaccel": hwaccel},
        }
        return _sent_to(place, info, asked, overwrite=overwrite)
    named = Path(str(path).removeprefix("file://"))
    contents = Contents(
        content, alpha or default_alpha(named.suffix), composite=background is not None and content != "matte"
    )
    encoding = _checked(named, info, contents, bits, codec, quality, hwaccel=hwaccel)
    target = through_links(named)
    if str(path) != PIPE:
        check_target(target, overwrite=overwrite)
    if contents.composite and background is not None:
        from streammatte.media.background import open_background

        contents = replace(contents, background=open_background(background, info, begin))
    if str(path) == PIPE:
        return _piped(info, contents, bits, silent=_has_no_sound(audio))
    if encoding is not None:
        from streammatte.media.write.video_writer import VideoWriter

        files = {"audio": _media_file(audio), "subtitles": _media_file(subtitles)}
        return VideoWriter(target, info, encoding, contents, overwrite=overwrite, begin=begin, packets=packets, **files)
    suffix = named.suffix.lower()
    encoder = _encoder(suffix, info, contents, bits, compression, quality)
    if suffix not in ANIMATED or NumberedName.parse(target) is not None:
        from streammatte.media.write.picture_writer import PictureSequenceWriter

        return PictureSequenceWriter(target, encoder, contents, first_number=first_number, overwrite=overwrite)
    from streammatte.media.write.animation_writer import AnimationWriter

    kind = GifAnimation if suffix == ".gif" else WebpAnimation
    animation = kind(*contents.size(info.width, info.height), has_alpha=contents.has_alpha)
    return AnimationWriter(target, info, encoder, animation, contents, overwrite=overwrite, silent=_has_no_sound(audio))


def _sent_to(place: Remote, info: StreamInfo, asked: dict[str, Any], *, overwrite: bool) -> Writer:
    from streammatte.media.write.output import check_target
    from streammatte.media.write.upload import UploadingWriter

    check_target(place, overwrite=overwrite)
    return UploadingWriter(place, lambda path: open_writer(path, info, **asked), overwrite=overwrite)


def _checked(
    path: Path,
    info: StreamInfo,
    contents: Contents,
    bits: int | None,
    codec: Codec,
    quality: Quality,
    *,
    hwaccel: bool,
) -> Encoding | None:
    """The encoding of a video; ``None`` for pictures and the pipe. Refuses what the format cannot hold."""
    from streammatte.media.write.encoding import encoding_for

    if contents.composite and contents.part != "plate":
        raise UnsupportedOutput(
            f"{path}: a fill cannot be over a background", hint="leave out --bg, or --pair and --foreground"
        )
    if str(path) == PIPE:
        _check_depth("standard output", "NUT", (8, 16), bits)
        return None
    if path.suffix.lower() in _DEPTHS:
        _check_picture(path, info, contents, bits)
        return None
    return encoding_for(path, info, contents, codec=codec, quality=quality, bits=bits, hwaccel=hwaccel)


_DEPTHS = {
    **dict.fromkeys((".png", ".tif", ".tiff"), (8, 16)),
    **dict.fromkeys((".jpg", ".jpeg", ".webp", ".gif"), (8,)),
    ".exr": (16, 32),
}


def _check_picture(path: Path, info: StreamInfo, contents: Contents, bits: int | None) -> None:
    """Refuse what that format cannot hold."""
    suffix = path.suffix.lower()
    name = {".jpg": "JPEG", ".webp": "WebP"}.get(suffix, suffix[1:].upper())
    _check_depth(str(path), name, _DEPTHS[suffix], bits)
    if contents.part in ("above", "beside") and suffix == ".exr":
        raise UnsupportedOutput(f"{path} as a pair would mix light and alpha", hint="EXR has alpha: leave --pair out")
    if contents.has_alpha and suffix in (".jpg", ".jpeg"):
        raise UnsupportedOutput(
            f"{path} cannot hold alpha: JPEG has none",
            hint="give a background with --bg, or write .png, .webp or .tif",
        )
    if contents.has_alpha and contents.alpha == "premultiplied" and suffix in (".webp", ".gif"):
        raise UnsupportedOutput(
            f"{path} cannot hold premultiplied colours: alpha is straight in {name}", hint="leave --alpha out"
        )
    if suffix in (".jpg", ".jpeg", ".webp", ".gif"):
        from streammatte.media.write.pictures import LARGEST

        if max(contents.size(info.width, info.height)) > LARGEST[suffix]:
            raise UnsupportedOutput(
                f"{path} cannot be {info.width}×{info.height}: {name} allows {LARGEST[suffix]} pixels a side",
                hint="write .png or .tif",
            )


def _check_depth(path: str, name: str, depths: tuple[int, ...], bits: int | None) -> None:
    if bits not in (None, *depths) and len(depths) > 1:
        raise UnsupportedOutput(f"{path} cannot have {bits} bits", hint=f"{name} has {' or '.join(map(str, depths))}")


def _piped(info: StreamInfo, contents: Contents, bits: int | None, *, silent: bool) -> PipeWriter:
    """The writer of ``-``."""
    from streammatte.media.write.composing import IntegerPictures
    from streammatte.media.write.pipe_writer import PipeWriter

    pictures = IntegerPictures(info, contents, bits=bits or _usual_depth(info), keeps_profile=False)
    return PipeWriter(info, pictures, silent=silent)


def _encoder(
    suffix: str, info: StreamInfo, contents: Contents, bits: int | None, compression: str, quality: Quality
) -> PictureEncoder:
    """The encoder of pictures with that suffix. Imports the library of that format alone."""
    if suffix == ".exr":
        from streammatte.media.write.exr_writer import ExrWriter

        return ExrWriter(info, contents, bits=bits or 16, compression=compression)
    from streammatte.media.write.composing import IntegerPictures
    from streammatte.media.write.pictures import GifWriter, JpegWriter, PngWriter, TiffWriter, WebpWriter

    deep = max(_DEPTHS[suffix]) > 8  # the same formats hold a profile
    pictures = IntegerPictures(info, contents, bits=(bits or _usual_depth(info)) if deep else 8, keeps_profile=deep)
    if suffix == ".gif":
        return GifWriter(pictures)
    if suffix == ".webp":
        return WebpWriter(pictures, quality)
    if suffix in (".jpg", ".jpeg"):
        return JpegWriter(pictures, quality)
    return PngWriter(pictures) if suffix == ".png" else TiffWriter(pictures)


def _usual_depth(info: StreamInfo) -> int:
    """Bits that hold the source's."""
    return 8 if info.color.bit_depth <= 8 else 16


def _media_file(path: str | PathLike[str] | None) -> str | None:
    """The path, unless it is of pictures, which have neither sound nor subtitles, or a pipe, which is read once."""
    from streammatte.media.read.kinds import picture_kind

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
