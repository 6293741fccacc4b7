"""Reading OpenEXR pictures, by the format's own library: linear light, whose values may exceed 1."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from numpy.typing import NDArray

from streammatte.color.codes import CHROMATICITIES, LINEAR, rgb_color
from streammatte.errors import DecodeFailed, SourceNotFound
from streammatte.frame import UNSPECIFIED
from streammatte.media.read.exr_layers import chosen, planes_of, refuse_deep
from streammatte.media.read.exr_timecode import timecode_in
from streammatte.media.read.kinds import refuse_too_large
from streammatte.media.read.pictures import FAINT, Picture, finite, straight


def read_exr(path: Path, layer: str | None = None) -> Picture:
    """The display window in float32, black and clear where the data window does not reach.

    R, G and B are read, or Y alone as grey, and A as alpha. Colours are divided by alpha, since OpenEXR's are
    premultiplied, unless the comment says straight, as in this project's own files.
    """
    parts = _parts_of(path)
    layer_read, others = chosen(path, parts, layer)
    notes = [f"layer {layer_read.name}"] if layer_read.name else []
    if others:
        notes.append(f"other layers, left out: {', '.join(others)}; --layer reads one")
    header = layer_read.part.header
    (left, top), (right, bottom) = (np.asarray(corner) for corner in header["displayWindow"])
    size = int(bottom) - int(top) + 1, int(right) - int(left) + 1
    refuse_too_large(path, *size)
    origin = np.asarray(header["dataWindow"][0])[::-1] - (top, left)
    colors, clear = planes_of(path, layer_read)
    rgb = np.dstack([_placed(plane, size, origin) for plane in colors])
    alpha = None if clear is None else _placed(clear, size, origin)
    says_straight = "straight alpha" in str(header.get("comments", ""))
    if alpha is not None and not says_straight and ((alpha > FAINT) & (alpha < 1)).any():
        rgb = straight(rgb, alpha)
        notes.append("its premultiplied colours were divided by alpha")
    rate = Fraction(header["framesPerSecond"]).limit_denominator(1001) if "framesPerSecond" in header else None
    deep = any(plane.dtype != np.float16 for plane in colors)
    return Picture(
        rgb,
        alpha,
        rgb_color(_primaries(header), LINEAR, 32 if deep else 16),
        notes=tuple(notes),
        frame_rate=rate,
        timecode=timecode_in(header, rate or Fraction(24)),
        pixel_aspect=Fraction(header.get("pixelAspectRatio", 1.0)).limit_denominator(1000) or Fraction(1),
    )


def _parts_of(path: Path) -> list[Any]:
    try:
        with path.open("rb") as stream:
            parts: list[Any] = OpenEXR.File(stream, separate_channels=True).parts
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise SourceNotFound(f"cannot read {path}: {reason}", hint="check its name and permissions") from exc
    except (RuntimeError, ValueError, TypeError, MemoryError) as exc:
        raise DecodeFailed(f"{path} cannot be decoded", hint="it is cut or damaged, or not an EXR picture") from exc
    if not parts or not all(part.channels for part in parts):
        # The library prints what is wrong, and goes on without the pixels.
        raise DecodeFailed(f"{path} cannot be decoded", hint="it is cut or damaged; fetch or render it again")
    refuse_deep(path, parts)
    return parts


def _placed(plane: NDArray[Any], size: tuple[int, int], origin: NDArray[Any]) -> NDArray[np.float32]:
    """The data window in the display window, in float32."""
    values = finite(plane)
    if values.shape == size and not origin.any():
        return values
    canvas = np.zeros(size, np.float32)
    (rows, columns), (y, x) = values.shape, (int(place) for place in origin)
    inside = canvas[max(0, y) : min(size[0], y + rows), max(0, x) : min(size[1], x + columns)]
    if inside.size:
        inside[:] = values[max(0, -y) :, max(0, -x) :][: inside.shape[0], : inside.shape[1]]
    return canvas


def _primaries(header: dict[str, Any]) -> int:
    stated = header.get("chromaticities")
    if stated is None:
        return UNSPECIFIED
    found = np.asarray(stated, np.float64).ravel()
    return next((code for code, xy in CHROMATICITIES.items() if np.allclose(found, xy, atol=1e-3)), UNSPECIFIED)
