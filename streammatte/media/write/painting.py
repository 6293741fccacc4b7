"""Cut-outs as the Y'CbCr frames that an encoder takes.

Where a cut-out's colours are its frame's own, they are the source's own samples: RGB in between would clip what lies
beyond black and white, and round twice.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streammatte.color.codes import BT709, is_light, matrix_for, spans_whole_range
from streammatte.color.matrices import code_range
from streammatte.color.ycbcr import (
    Samples,
    plane_view,
    planes_from_rgb,
    strips,
    subsampled,
    upsampled,
    upsampled_rows,
)
from streammatte.frame import Cutout, StoredSamples, StreamInfo, fetched
from streammatte.media.write.composing import Contents, opacity, picture, quantised, stepped
from streammatte.media.write.encoding import Encoding
from streammatte.media.write.packing import Layout, packed_alpha, packed_colors, packed_matte

_EIGHT_IN_SIXTEEN = np.uint16(257)  # white stays white


class CutoutPainter:
    """Turns cut-outs into Y'CbCr frames with the source's own matrix and, if the file can say so, range.

    Where straight colours are the frame's own, the source's samples are copied if they fit; all others come from RGB.

    Args:
        encoding: The encoder's input.
        info: The stream the cut-outs are of.
        size: (width, height) of the encoder's frames; a smaller cut-out is extended by its last row or column.

    Attributes:
        full_range: The colours span the whole range; an alpha always does, a grey matte never.
    """

    def __init__(
        self,
        encoding: Encoding,
        info: StreamInfo,
        size: tuple[int, int],
        contents: Contents,
    ) -> None:
        self._pixels = av.VideoFormat(encoding.pixels)
        self._bits = self._pixels.components[0].bits
        self._has_alpha = len(self._pixels.components) == 4
        self._width, self._height = size
        self._matrix = matrix_for(info.color, info.width, info.height)
        self.full_range = spans_whole_range(info.color) and encoding.says_range and contents.part != "matte"
        self._contents = contents
        straight = contents.part == "plate" and contents.alpha == "straight"
        self._stores_own_colours = contents.background is None and (straight or contents.part == "foreground")
        self._in_strips = contents.background is None and contents.part in ("plate", "foreground")
        self._curve = BT709 if is_light(info.color) else None  # video is not stored in linear light
        rows, columns = self._pixels.chroma_height(self._height), self._pixels.chroma_width(self._width)
        self._layout = Layout((self._height, self._width), (rows, columns), self._bits, self._matrix, self.full_range)
        self._sent: tuple[torch.Tensor, torch.Tensor] | None = None

    @property
    def packs(self) -> bool:
        """Whether cut-outs may come with alpha and colours on a GPU, and are packed there; all others go home first."""
        return self._contents.part in ("plate", "foreground", "matte") and self._curve is None

    def __call__(self, cutout: Cutout) -> av.VideoFrame:
        if not cutout.alpha.is_cpu:
            if cutout.foreground is not None:
                cutout = replace(cutout, foreground=cutout.foreground.to(cutout.alpha.device))
            if self.packs and (frame := self.packed(cutout)) is not None:
                return frame
            cutout = cutout.home()
        if self._contents.part == "matte":
            return self._matte(cutout)
        frame = self._colors(cutout)
        if self._has_alpha:
            target, height = plane_view(frame.planes[3], self._bits), len(cutout.alpha)
            for rows in strips(height):
                (place,) = self._places([target], rows, height)
                place[:] = _padded(coverage(cutout, rows, self._bits), place)
        return frame

    def packed(self, cutout: Cutout) -> av.VideoFrame | None:
        """The same, computed where alpha and colours are; ``None`` if the source's samples are needed and not there."""
        layout, matte = self._layout, self._contents.part == "matte"
        stored = None if matte else self._stored(cutout)
        untouched = cutout.foreground is None and stored is not None
        if stored is not None and not untouched and not cutout.frame.on(cutout.alpha.device).planes:
            return None
        if matte:
            frame, planes = self._grey(), packed_matte(cutout, layout)
        elif untouched:
            frame, planes = self._colors(cutout), []
        else:
            frame = av.VideoFrame(self._width, self._height, self._pixels.name)
            planes = packed_colors(cutout, self._contents, layout, stored, self._behind(cutout))
        if self._has_alpha:
            planes += packed_alpha(cutout, layout)
        targets = frame.planes if not untouched else frame.planes[3:]
        for target, plane in zip(targets, fetched(planes, torch.device("cpu")), strict=False):
            plane_view(target, self._bits)[:] = plane.numpy()
        return frame

    def _behind(self, cutout: Cutout) -> torch.Tensor | None:
        """The background on the cut-out's device; one that lasts is sent once."""
        if self._contents.background is None:
            return None
        picture = self._contents.background.frame(cutout)
        if self._sent is None or self._sent[0] is not picture:
            self._sent = picture, picture.to(cutout.alpha.device)
        return self._sent[1]

    def _colors(self, cutout: Cutout) -> av.VideoFrame:
        frame = av.VideoFrame(self._width, self._height, self._pixels.name)
        targets = [plane_view(plane, self._bits) for plane in frame.planes[:3]]
        stored = self._stored(cutout)
        own = None if stored is None else OwnSamples(stored, targets[1].shape, self._bits, full_range=self.full_range)
        whole = None if self._in_strips else picture(cutout, self._contents, curve=self._curve)
        height = cutout.frame.height if whole is None else len(whole)
        for rows in strips(height):
            places = self._places(targets, rows, height)
            if own is not None and cutout.foreground is None:
                for place, samples in zip(places, own.rows(rows), strict=True):
                    place[:] = _padded(samples, place)
                continue
            part = rows_of(cutout, rows) if whole is None else cutout
            rgb = picture(part, self._contents, curve=self._curve) if whole is None else whole[rows]
            planes = planes_from_rgb(rgb, self._matrix, self._bits, full_range=self.full_range, places=places)
            for place, samples in zip(places, planes, strict=True):
                if samples is not place:
                    place[:] = subsampled(_padded(samples, places[0]), place.shape[1], place.shape[0])
            if own is not None and (mask := own_colors(part, rgb)).any():
                mask = _padded(mask, places[0])
                masks = [mask, *own_chroma(mask, places[1].shape)]
                for place, samples, where in zip(places, own.rows(rows), masks, strict=True):
                    cv2.copyTo(_padded(samples, place), where, place)
        return frame

    def _places(self, targets: list[Samples], rows: slice, height: int) -> list[Samples]:
        """Where a strip of a picture of that height is stored; the last one goes on to the frame's end."""
        end = self._height if rows.stop == height else rows.stop
        shares = [-(-self._height // len(target)) for target in targets]  # luma rows to one of the plane's
        return [target[rows.start // share : -(-end // share)] for target, share in zip(targets, shares, strict=True)]

    def _stored(self, cutout: Cutout) -> StoredSamples | None:
        """The source's own samples, if they can be copied where the cut-out's colours are the frame's."""
        stored, rgb = cutout.frame.samples, cutout.frame.rgb
        if stored is None or rgb.is_floating_point() or not self._stores_own_colours:
            return None
        padding = self._height - rgb.shape[1], self._width - rgb.shape[2]
        return stored if stored.matrix == self._matrix and max(padding) <= 1 else None

    def _matte(self, cutout: Cutout) -> av.VideoFrame:
        """Luma is alpha over the whole studio swing, so that white is white; chroma is neutral."""
        frame = self._grey()
        unit = 2 ** (self._bits - 8)
        luma = stepped(opacity(cutout), 219 * unit) + np.float32(16 * unit)
        target = plane_view(frame.planes[0], self._bits)
        target[:] = _padded(luma, target)
        return frame

    def _grey(self) -> av.VideoFrame:
        """Neutral chroma, and luma to be filled."""
        frame = av.VideoFrame(self._width, self._height, self._pixels.name)
        for plane in frame.planes[1:3]:
            plane_view(plane, self._bits)[:] = 2 ** (self._bits - 1)
        return frame


def _padded(samples: Samples | np.ndarray, place: Samples) -> np.ndarray:
    """As large as its place, by repeating the last row and column."""
    rows, columns = (have - had for have, had in zip(place.shape, samples.shape[:2], strict=True))
    return cv2.copyMakeBorder(samples, 0, rows, 0, columns, cv2.BORDER_REPLICATE) if rows or columns else samples


def coverage(cutout: Cutout, rows: slice, bits: int) -> Samples:
    """Some rows of the alpha as code values of ``bits`` bits, which span their whole range, rounded."""
    alpha, peak = opacity(cutout, rows), 2.0**bits - 1
    return cv2.addWeighted(alpha, peak, alpha, 0, 0, dtype=cv2.CV_8U if bits == 8 else cv2.CV_16U)  # in one pass


def rows_of(cutout: Cutout, rows: slice) -> Cutout:
    """A strip of a cut-out whose alpha has the frame's size."""
    foreground = None if cutout.foreground is None else cutout.foreground[:, rows]
    frame = replace(cutout.frame, rgb=cutout.frame.rgb[:, rows], samples=None)
    return replace(cutout, frame=frame, alpha=cutout.alpha[rows], foreground=foreground)


def own_colors(cutout: Cutout, foreground: Samples) -> NDArray[np.uint8]:
    """(H, W), 255 where the cut-out's colours are exactly those of its frame, else 0.

    Args:
        cutout: Its frame's RGB is integers.
        foreground: (H, W, 3) uint8 or uint16, the cut-out's colours.
    """
    own = quantised(cutout.frame.rgb)
    if own.dtype != foreground.dtype:
        own = np.multiply(own, _EIGHT_IN_SIXTEEN, dtype=np.uint16)
    return cv2.inRange(foreground, own, own).astype(np.uint8, copy=False)


def own_chroma(own: Samples, shape: tuple[int, int]) -> tuple[Samples, Samples]:
    """The same for two chroma planes: a sample is the source's if all pixels behind it are."""
    if own.shape != shape:
        own = cv2.inRange(subsampled(own, shape[1], shape[0]), 255, 255)
    return own, own


class OwnSamples:
    """The source's samples as an encoder takes them, upright; planes that fit are not copied.

    Depth and range are changed by exact scaling about black and neutral, rounded once. Chroma on the wanted grid
    stays; other chroma is interpolated to luma's grid and, if needed, filtered down from there.

    Args:
        stored: The source's samples.
        chroma: (H, W) of the wanted chroma planes, sited on even columns and between rows.
        bits, full_range: The wanted code values.
    """

    def __init__(self, stored: StoredSamples, chroma: tuple[int, int], bits: int, *, full_range: bool) -> None:
        def scaled(plane: Samples, *, chroma: bool) -> Samples:
            return _scaled(plane, stored, bits, full_range=full_range, chroma=chroma)

        self._luma, *self._chroma = stored.planes
        self._scaled_luma = partial(scaled, chroma=False)
        self._chroma = [scaled(plane, chroma=True) for plane in self._chroma]
        self._centred, self._wanted = stored.centred, chroma
        self._fits = stored.upright is None and not stored.centred and self._chroma[0].shape == chroma
        if stored.upright is not None:
            height, width = self._luma.shape
            full = [upsampled(plane, width, height, centred=stored.centred) for plane in self._chroma]
            self._luma, *self._chroma = (np.ascontiguousarray(stored.upright(plane)) for plane in (self._luma, *full))

    def rows(self, rows: slice) -> tuple[Samples, Samples, Samples]:
        """Y', Cb and Cr of the luma rows in a slice, which begins where a chroma row does."""
        height, width = self._luma.shape
        down = -(-height // self._wanted[0])
        first, last = rows.start // down, -(-rows.stop // down)
        luma = self._scaled_luma(self._luma[rows])
        if self._fits:
            return luma, self._chroma[0][first:last], self._chroma[1][first:last]
        full = [upsampled_rows(plane, rows, width, height, centred=self._centred) for plane in self._chroma]
        blue, red = (subsampled(plane, self._wanted[1], last - first) for plane in full)
        return luma, blue, red


def _scaled(plane: Samples, stored: StoredSamples, bits: int, *, full_range: bool, chroma: bool) -> Samples:
    """The plane's code values at another depth and range (ITU-T H.273, 8.3)."""
    if (stored.bits, stored.full_range) == (bits, full_range):
        return plane
    zero, span = code_range(stored.bits, full_range=stored.full_range, chroma=chroma)
    new_zero, new_span = code_range(bits, full_range=full_range, chroma=chroma)
    gain = new_span / span
    if gain in (4, 16, 64, 256) and not full_range:
        return np.left_shift(plane, bits - stored.bits, dtype=np.uint16)
    depth = cv2.CV_8U if bits == 8 else cv2.CV_16U
    scaled: Samples = cv2.addWeighted(plane, gain, plane, 0, new_zero - zero * gain, dtype=depth)
    if gain < 1 or full_range:
        np.minimum(scaled, 2**bits - 1, out=scaled)
    return scaled
