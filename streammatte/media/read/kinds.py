"""What kind of picture a file is, by its content: cameras, browsers and people rename files."""

from __future__ import annotations

import os
import re
from os import PathLike
from pathlib import Path

from streammatte.errors import DecodeFailed
from streammatte.media.addresses import PIPE
from streammatte.media.remote import Remote, is_remote

_LONGEST = 512  # bytes at the beginning, enough to tell

_MAGIC = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "EXR": (b"\x76\x2f\x31\x01",),
    "PSD": (b"8BPS\0\1",),
    "JPEG2000": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "QOI": (b"qoif",),
    "DDS": (b"DDS ",),
    "SGI": (b"\x01\xda\0\1", b"\x01\xda\1\1"),
    "ICNS": (b"icns",),
    "ICO": (b"\0\0\1\0",),
    "BLP": (b"BLP1", b"BLP2"),
    "SUN": (b"\x59\xa6\x6a\x95",),
    "PPM": (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P0CMYK", b"PyCMYK", b"PyRGBA", b"PyP", b"Pf"),
    "XPM": (b"/* XPM */",),
    "XBM": (b"#define ",),
}
# Brands of the ISO base media file format for pictures; films have the same container.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"mif1"), "HEIF"),
}
_SEQUENCES = (b"msf1", b"hevc", b"hevx")  # mostly with a picture, too
# These kinds have no magic number, so their names decide.
_BY_NAME = {".tga": "TGA", ".icb": "TGA", ".vda": "TGA", ".vst": "TGA", ".pcx": "PCX", ".dib": "DIB"}
_BY_NAME |= {".cur": "CUR", ".pcd": "PCD"}
_FILMS = (".mjpeg", ".mjpg", ".mjp")  # JPEG pictures one after the other

WITH_FRAMES = ("PNG", "GIF", "WEBP", "AVIF")
"""Kinds that may be animated."""

LARGEST = 2 * 89_478_485
"""Pixels; Pillow's own limit. A damaged header may ask for any amount of memory."""


def refuse_too_large(path: Path, height: int, width: int) -> None:
    """Raise ``DecodeFailed`` for more than ``LARGEST`` pixels, or none."""
    if height < 1 or width < 1:
        raise DecodeFailed(f"{path} cannot be decoded: it has no pixels", hint="it is cut or damaged; fetch it again")
    if height * width > LARGEST:
        raise DecodeFailed(
            f"{path} is too large: {width}×{height}",
            hint=f"scale it down to {LARGEST // 10**6} megapixels",
        )


def picture_kind(path: str | PathLike[str]) -> str | None:
    """``"PNG"``, ``"JPEG"``, ``"TIFF"`` …, as Pillow names them, or ``"EXR"``, ``"HEIF"``.

    ``None`` for films, FFmpeg's addresses, unreadable files, and pictures that only FFmpeg reads.
    """
    path = str(path)
    if is_remote(path):
        return _kind_in(Remote(path).head(_LONGEST), Remote(path).suffix.lower())
    if path == PIPE or ("://" in path and not os.path.exists(path)):  # noqa: PTH110 - see open_container
        return None
    try:
        if not Path(path).is_file():  # the first bytes of a pipe cannot be read twice
            return None
        with Path(path).open("rb") as file:
            head = file.read(_LONGEST)
    except (OSError, ValueError):  # whoever opens it says what is wrong
        return None
    return _kind_in(head, Path(path).suffix.lower())


def _kind_in(head: bytes, suffix: str) -> str | None:
    if suffix in _FILMS:
        return None
    kind = _kind_of(head)
    if kind is not None and _is_deep(kind, head):
        return None
    return kind or (_BY_NAME.get(suffix) if head else None)


def _is_deep(kind: str, head: bytes) -> bool:
    """Whether it is RGB of more than 8 bits, of which Pillow would read 8 and FFmpeg all."""
    if kind == "PPM" and head[:2] in (b"P3", b"P6"):
        words = re.sub(rb"#[^\n\r]*", b"", head[2:]).split(maxsplit=3)
        return len(words) > 2 and words[2].isdigit() and int(words[2]) > 255
    if kind == "JPEG2000":
        # Bits minus one, in the header box or the codestream's first segment (ISO/IEC 15444-1, A.5.1).
        place = head.find(b"ihdr")
        place = place + 14 if place > 0 else 42
        return len(head) > place and head[place] & 0x7F > 7
    return False


def _kind_of(head: bytes) -> str | None:
    if head[:4] == b"RIFF":
        return "WEBP" if head[8:12] == b"WEBP" else None
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "BMP"
    if head[4:8] == b"ftyp":
        return _brand_of(head)
    return next((kind for kind, magic in _MAGIC.items() if head.startswith(magic)), None)


def _brand_of(head: bytes) -> str | None:
    """By the main brand or, if that is general or a sequence's, by the compatible brands."""
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(len(head), int.from_bytes(head[:4], "big")), 4))]
    if brands[0] not in (*_BRANDS, *_SEQUENCES):
        return None
    if brands[0] == b"mif1" or brands[0] in _SEQUENCES:
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        return "HEIF" if b"mif1" in brands or b"heic" in brands else None
    return _BRANDS[brands[0]]
