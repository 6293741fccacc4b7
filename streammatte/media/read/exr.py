"""EXR: pictures in linear light, whose values may lie above 1; read and written by the format's own library."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import OpenEXR
import torch
from numpy.typing import NDArray

from streammatte.color.linear import LINEAR, SRGB, to_linear, transfer_of
from streammatte.color.profiles import in_srgb
from streammatte.color.ycbcr import RGB_MATRIX
from streammatte.errors import DecodeFailed, InputError, SourceNotFound
from streammatte.frame import UNSPECIFIED, ColorSpec, Cutout, Frame, StreamInfo
from streammatte.media.read.exr_layers import chosen, planes_of, refuse_deep
from streammatte.media.read.exr_timecode import attribute_of, has_attribute, timecode_in
from streammatte.media.read.kinds import refuse_too_large
from streammatte.media.timecode import Timecode
from streammatte.media.write.composing import (
    AlphaKind,
    Background,
    Content,
    blended,
    encoded,
    opacity,
    pixels_of,
    says,
)

COMPRESSIONS = {
    "zip": OpenEXR.ZIP_COMPRESSION,
    "piz": OpenEXR.PIZ_COMPRESSION,
    "dwaa": OpenEXR.DWAA_COMPRESSION,
    "dwab": OpenEXR.DWAB_COMPRESSION,
}

# Red, green, blue and white in x and y, of the primaries that H.273 has numbers for.
_D65 = (0.3127, 0.3290)
_CHROMATICITIES = {
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65),
    5: (0.640, 0.330, 0.290, 0.600, 0.150, 0.060, *_D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
}
_LARGEST_HALF = 65504
_FAINT = 1e-3


class ExrWriter:
    """Encodes a cut-out as one EXR picture: R, G, B and A, or R, G and B, or Y alone for a matte; scan lines.

    Colours of footage that is not linear are made so by its own curve. Premultiplied ones are multiplied by alpha in
    linear light. A composite is blended as it is for every other output, and made linear then.

    Args:
        info: The stream the cut-outs are of.
        bits: 16 (half) or 32 (float).
        compression: One of ``COMPRESSIONS``; all but dwaa and dwab are lossless, and these are so of alpha.
    """

    def __init__(
        self,
        info: StreamInfo,
        *,
        bits: int,
        compression: str,
        content: Content,
        alpha: AlphaKind,
        background: Background | None,
    ) -> None:
        self._content = content
        self._alpha = alpha
        self._background = background
        self._transfer = transfer_of(info.color)
        self._profile = info.profile
        self._type = np.float16 if bits == 16 else np.float32
        what = says(content, alpha, composite=background is not None)
        self.says = f"EXR {'half' if bits == 16 else 'float'}, {compression.upper()}, linear, {what}"
        self._header: dict[str, Any] = {
            "type": OpenEXR.scanlineimage,
            "compression": COMPRESSIONS[compression],
            "pixelAspectRatio": float(info.pixel_aspect),
            "framesPerSecond": Fraction(info.frame_rate),
            "comments": what,
        }
        start = None if info.timecode is None else Timecode.parse(info.timecode, info.frame_rate)
        if start is not None and not has_attribute(start):
            self.says += f", timecode {start} left out"  # EXR has none of more than 60 frames a second
            start = None
        self._timecode, self._first_index = start, info.first_index
        if content != "matte" and info.color.primaries in _CHROMATICITIES:
            self._header["chromaticities"] = _CHROMATICITIES[info.color.primaries]

    def __call__(self, cutout: Cutout) -> bytes:
        if self._content != "matte":
            cutout = in_srgb(cutout, self._profile)
        data = io.BytesIO()
        header = self._header
        if self._timecode is not None:
            header = header | {"timeCode": attribute_of(self._timecode + (cutout.frame.index - self._first_index))}
        with OpenEXR.File(header, self._channels(cutout)) as file:
            file.write(data)
        return data.getvalue()

    def _channels(self, cutout: Cutout) -> dict[str, NDArray[Any]]:
        alpha = opacity(cutout)
        if self._content == "matte":
            return {"Y": alpha.astype(self._type)}
        light = self._light(cutout)
        if self._content == "foreground" or self._background is not None:
            return {"RGB": self._stored(light)}
        if self._alpha == "premultiplied":
            light = light * alpha[..., None]
        return {"RGBA": self._stored(np.dstack([light, alpha]))}

    def _light(self, cutout: Cutout) -> NDArray[np.float32]:
        """(H, W, 3): the straight colours, or the composite."""
        if self._background is None:
            rgb = cutout.frame.as_float() if cutout.foreground is None else cutout.foreground
            return to_linear(pixels_of(rgb), self._transfer)
        curve = self._transfer
        if curve == LINEAR:
            cutout, curve = encoded(cutout, SRGB), SRGB
        return to_linear(blended(cutout, self._alpha, self._background), curve)

    def _stored(self, light: NDArray[np.float32]) -> NDArray[Any]:
        largest = _LARGEST_HALF if self._type is np.float16 else None
        return np.ascontiguousarray(light if largest is None else np.clip(light, -largest, largest), self._type)


class ExrPicture:
    """One EXR file as a source of one frame: (3, H, W) float32, in linear light, values above 1 as they are.

    The frame is the display window; where the data window does not reach, it is black and clear. What is no number is
    0, and what is infinite the largest half: either would spread to its surroundings. R, G and B are read, or Y alone
    as grey, of the main layer or the one that is named; alpha in ``cutouts()`` is A. Colours are divided by it, since
    OpenEXR's are premultiplied, unless the comment says straight, as this project writes it.

    Args:
        layer: The name of a layer or part.

    Attributes:
        info: Its rate is what the file states, or else 24.
        states_rate: The file states one.
        notes: Which layer is read, if there are several.

    Raises:
        SourceNotFound: The file cannot be read.
        DecodeFailed: It is damaged or deep, or holds no colours that are known.
        InputError: It has no such layer.
    """

    lost: str | None = None
    first_number = 1

    def __init__(self, path: Path, *, layer: str | None = None) -> None:
        self._path = path
        try:
            with path.open("rb") as stream:
                content = OpenEXR.File(stream, separate_channels=True)
        except OSError as exc:
            raise SourceNotFound(
                f"{path} cannot be read: {(exc.strerror or str(exc)).lower()}", hint="check its name and permissions"
            ) from exc
        except (RuntimeError, ValueError, TypeError, MemoryError) as exc:
            raise DecodeFailed(f"{path} cannot be decoded", hint="it is cut or damaged, or no EXR picture") from exc
        if not content.parts or not all(part.channels for part in content.parts):
            # The library prints what is wrong, and goes on without the pixels.
            raise DecodeFailed(f"{path} cannot be decoded", hint="it is cut or damaged; fetch or render it again")
        refuse_deep(path, content.parts)
        chosen_layer, others = chosen(path, content.parts, layer)
        self.notes = [f"layer {chosen_layer.name}"] if chosen_layer.name else []
        if others:
            self.notes.append(f"other layers, left out: {', '.join(others)}; --layer reads one")
        header = chosen_layer.part.header
        (left, top), (right, bottom) = (np.asarray(corner) for corner in header["displayWindow"])
        self._size = int(bottom) - int(top) + 1, int(right) - int(left) + 1
        refuse_too_large(path, *self._size)
        self._origin = np.asarray(header["dataWindow"][0])[::-1] - (top, left)
        self._planes, self._alpha = planes_of(path, chosen_layer)
        self.has_alpha = self._alpha is not None
        partly = self._alpha is not None and bool(((self._alpha > _FAINT) & (self._alpha < 1)).any())
        self._premultiplied = partly and "straight alpha" not in str(header.get("comments", ""))
        if self._premultiplied:
            self.notes.append("premultiplied colours, divided by alpha")
        self.states_rate = "framesPerSecond" in header
        rate = Fraction(header.get("framesPerSecond", 24)).limit_denominator(1001)
        deep = any(plane.dtype != np.float16 for plane in self._planes)
        self.info = StreamInfo(
            width=self._size[1],
            height=self._size[0],
            time_base=1 / rate,
            frame_rate=rate,
            frame_count=1,
            color=ColorSpec(True, RGB_MATRIX, _primaries(header), LINEAR, 32 if deep else 16),
            pixel_aspect=Fraction(header.get("pixelAspectRatio", 1.0)).limit_denominator(1000) or Fraction(1),
            timecode=timecode_in(header, rate),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held open."""

    def __iter__(self) -> Iterator[Frame]:
        rgb = np.dstack([self._placed(plane) for plane in self._planes])
        if self._premultiplied and self._alpha is not None:
            alpha = self._placed(self._alpha)[..., None]
            # Where alpha is next to nothing, what is there is a glow, and no colour of anything.
            np.divide(rgb, alpha, out=rgb, where=(alpha > _FAINT) & (alpha < 1))
        yield Frame(torch.from_numpy(rgb).permute(2, 0, 1), 0, 0)

    def cutouts(self) -> Iterator[Cutout]:
        """The frame with its alpha; of grey without one, the grey is it.

        Raises:
            InputError: It holds neither.
        """
        frame = next(iter(self))
        grey = self._planes[0] is self._planes[1]
        if self._alpha is None and not grey:
            raise InputError(
                f"{self._path} has neither alpha nor a greyscale picture", hint="give RGBA, or a matte in Y"
            )
        alpha = self._placed(self._planes[0] if self._alpha is None else self._alpha)
        yield Cutout(frame, torch.from_numpy(np.clip(alpha, 0, 1)))

    def _placed(self, plane: NDArray[Any]) -> NDArray[np.float32]:
        """The data window in the display window, in float32."""
        values = np.nan_to_num(plane.astype(np.float32), nan=0, posinf=_LARGEST_HALF, neginf=0)
        if values.shape == self._size and not self._origin.any():
            return values
        canvas = np.zeros(self._size, np.float32)
        (rows, columns), (y, x) = values.shape, (int(place) for place in self._origin)
        height, width = self._size
        inside = canvas[max(0, y) : min(height, y + rows), max(0, x) : min(width, x + columns)]
        if inside.size:
            inside[:] = values[max(0, -y) :, max(0, -x) :][: inside.shape[0], : inside.shape[1]]
        return canvas


def _primaries(header: dict[str, Any]) -> int:
    stated = header.get("chromaticities")
    if stated is None:
        return UNSPECIFIED
    found = np.asarray(stated, np.float64).ravel()
    return next((code for code, xy in _CHROMATICITIES.items() if np.allclose(found, xy, atol=1e-3)), UNSPECIFIED)
