"""TIFF: more than 8 bits by tifffile, everything else by Pillow, whose libtiff knows its many kinds."""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from streammatte.color.ycbcr import Samples
from streammatte.errors import DecodeFailed
from streammatte.media.read.kinds import refuse_too_large
from streammatte.media.read.orientation import EXIF
from streammatte.media.read.pictures import Picture, finite, left_out, straight
from streammatte.media.read.stills import Channels, assembled, by_pillow

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # damage is raised, not logged

_COLORS = {0: 1, 1: 1, 2: 3, 5: 4}  # photometric: channels; white-is-zero and black-is-zero grey, RGB, CMYK
_ASSOCIATED, _UNASSOCIATED = 1, 2  # ExtraSamples
_LZW, _DEFLATE = 5, (8, 32946)  # Compression: Adobe's number of deflate and the older one
_YCBCR = 6  # PhotometricInterpretation
_SEPARATE = 2  # PlanarConfiguration: one plane a channel
_DNG_VERSION, _ICC, _ORIENTATION = 50706, 34675, 274


def read_tiff(path: Path) -> Picture:
    """The first page of a TIFF, whatever its byte order, layout and compression, with straight colours.

    Integers of 16 bits and more become uint16; floats are linear light, as compositing programs write them.
    """
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        assert isinstance(page, tifffile.TiffPage)
        _refuse_raw(path, page)
        refuse_too_large(path, page.imagelength, page.imagewidth)
        _refuse_cut(path, page)
        notes = [left_out(len(file.pages) - 1, "page")] if len(file.pages) > 1 else []
        deep = page.dtype is not None and page.dtype.itemsize > 1
        if deep:  # Pillow reads some of these too dark, or with 8 bits
            picture = _by_tifffile(path, page)
        elif page.planarconfig == _SEPARATE:
            picture = _by_either(path, page, _by_tifffile, _by_pillow)
        else:
            picture = _by_either(path, page, _by_pillow, _by_tifffile)
    return replace(picture, notes=(*notes, *picture.notes))


_Reader = Callable[[Path, tifffile.TiffPage], Picture]


def _by_either(path: Path, page: tifffile.TiffPage, first: _Reader, second: _Reader) -> Picture:
    """Try both libraries: each reads kinds that the other does not."""
    try:
        return first(path, page)
    except Exception as exc:  # a library raises anything on what it does not know
        try:
            return second(path, page)
        except Exception:  # the library meant for this kind gives the better reason
            raise exc from None


def _by_pillow(path: Path, page: tifffile.TiffPage) -> Picture:
    return by_pillow(path, "TIFF")


def _by_tifffile(path: Path, page: tifffile.TiffPage) -> Picture:
    turn = EXIF.get(page.tags.valueof(_ORIENTATION, 1), EXIF[1])
    return assembled(_channels(page, path), page.tags.valueof(_ICC), turn)


def _refuse_cut(path: Path, page: tifffile.TiffPage) -> None:
    """Refuse a file whose samples end early or cannot be inflated: libtiff would print lines of its own about that."""
    size = path.stat().st_size
    if any(begin + count > size for begin, count in zip(page.dataoffsets, page.databytecounts, strict=False)):
        raise DecodeFailed(f"{path} cannot be decoded: it ends early", hint="it is cut or damaged; fetch it again")
    if page.compression not in (*_DEFLATE, _LZW) or page.dtype is None:
        return
    with path.open("rb") as file:
        for place, (begin, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=False)):
            file.seek(begin)
            data, most = file.read(count), _length(page, place)
            try:
                if page.compression != _LZW:
                    zlib.decompressobj().decompress(data, most)  # what libtiff reads, which leaves out the checksum
                elif data[:1] != b"\0":  # which begins an older kind, known to libtiff alone
                    short = len(imagecodecs.lzw_decode(data, out=most)) < most
                    if short and page.photometric != _YCBCR:  # whose chroma may be subsampled
                        raise ValueError("it ends early")
            except (zlib.error, ValueError, RuntimeError) as exc:
                hint = "it is cut or damaged; fetch it again"
                raise DecodeFailed(f"{path} cannot be decoded: {exc}", hint=hint) from exc


def _length(page: tifffile.TiffPage, place: int) -> int:
    """Bytes of a strip or tile, unpacked; the last strip of a plane is shorter."""
    rows = full = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
    if not page.is_tiled:
        rows = min(full, page.imagelength - place % -(-page.imagelength // full) * full)
    return int(rows * -(-math.prod(page.chunks) // full * page.bitspersample // 8))


def _refuse_raw(path: Path, page: tifffile.TiffPage) -> None:
    """Refuse most cameras' raw files: TIFF whose first page is a thumbnail."""
    with path.open("rb") as file:
        head = file.read(10)
    if _DNG_VERSION in page.tags or head[8:10] == b"CR" or (page.is_reduced and page.subifds):
        raise DecodeFailed(f"{path} is a camera's raw file", hint="develop it to TIFF or JPEG first")


def _channels(page: tifffile.TiffPage, path: Path) -> Channels:
    photometric = int(page.photometric)
    if photometric not in _COLORS:
        raise DecodeFailed(
            f"unsupported colours in {path}: {tifffile.PHOTOMETRIC(photometric).name}",
            hint="save it as RGB",
        )
    samples = page.asarray()
    if page.axes.startswith("S"):
        samples = np.moveaxis(samples, 0, -1)
    if samples.ndim == 2:
        samples = samples[..., None]
    count = _COLORS[photometric]
    if samples.ndim != 3 or samples.shape[2] < count:
        raise DecodeFailed(f"{path} is not a single flat picture: its axes are {page.axes}", hint="save it as one page")
    samples = _spread(samples, page, path)
    colors = np.ascontiguousarray(samples[..., :count])
    if photometric == 0:
        colors = np.iinfo(colors.dtype).max - colors
    alpha: NDArray[Any] | None = None
    for place, kind in enumerate(int(each) for each in page.extrasamples):
        if kind in (_ASSOCIATED, _UNASSOCIATED):
            alpha = np.ascontiguousarray(samples[..., count + place])
            if kind == _ASSOCIATED:
                colors = straight(colors, alpha)
            break
    return colors, alpha


def _spread(samples: NDArray[Any], page: tifffile.TiffPage, path: Path) -> Samples:
    """uint8 or uint16 spanning their type, or float32."""
    if samples.dtype.kind == "f":
        return np.ascontiguousarray(finite(samples))
    if samples.dtype.kind != "u":
        raise DecodeFailed(f"unsupported samples in {path}: {samples.dtype}", hint="save it as RGB")
    bits = page.bitspersample
    if samples.dtype.itemsize > 2:
        return np.asarray(samples >> max(0, bits - 16), np.uint16)
    if bits == 8 * samples.dtype.itemsize:
        return np.ascontiguousarray(samples, samples.dtype.newbyteorder("="))
    peak = np.iinfo(samples.dtype).max
    spread: Samples = np.rint(samples.astype(np.float64) * (peak / (2**bits - 1)))
    return spread.astype(samples.dtype.newbyteorder("="))
