"""How each kind of video output is encoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np

from streammatte.errors import UnsupportedOutput
from streammatte.frame import Plate, StreamInfo
from streammatte.media.color import Samples, matrix_for, plane_view, planes_from_rgb, subsampled
from streammatte.media.composing import AlphaKind, Background, Content, colors, opacity, stepped

# ProRes quantises by a matrix times q. On 720p animation, one core, 8-bit alpha edge: q = 2 gave 135 Mb/s and 60 dB,
# 3 gave 108 and 56.8, 4 gave 91 and 54.7, 9 gave 57 and 49.1, each at about 50 frames a second. 3 comes to what Apple
# states for 4444 (330 Mb/s at 1080p30). Left to itself, prores_ks searches for q within a budget that it multiplies by
# 20 when there is alpha: 193 Mb/s, at 8.6 frames a second.
PRORES_QUANTISER = 3


@dataclass(frozen=True, slots=True)
class Encoding:
    """One way to store plates as video.

    Attributes:
        container: FFmpeg's name of the format.
        codec: FFmpeg's name of the encoder.
        pixels: Pixel format the encoder is given.
        options: The encoder's private options.
        container_options: The muxer's.
        quantiser: Fixed quantiser, for ProRes.
        says: What it is, for people.
    """

    container: str
    codec: str
    pixels: str
    says: str
    options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    quantiser: int | None = None

    @property
    def intra(self) -> bool:
        """Each packet is a picture, and what it is does not depend on any other."""
        alone = self.codec == "png" or (self.codec == "ffv1" and self.options.get("g") == "1")
        return alone or av.Codec(self.codec, "w").intra_only


def encoding_for(path: Path, *, content: Content, alpha: AlphaKind, composite: bool) -> Encoding:
    """The encoding that a file's name asks for.

    Raises:
        UnsupportedOutput: Nothing is known to write that suffix, or it cannot hold alpha and has to.
    """
    suffix = path.suffix.lower()
    what = "matte" if content == "matte" else "composite" if composite else f"{alpha} alpha"
    if suffix == ".mov":
        return _prores(what, with_alpha=content == "plate" and not composite)
    if suffix == ".webm":
        return _vp9(what, with_alpha=content == "plate" and not composite)
    if suffix == ".mp4":
        if content == "plate" and not composite:
            raise UnsupportedOutput(
                f"{path} cannot hold alpha: H.264 has none", hint="give a background with --bg, or write .mov or .webm"
            )
        return Encoding(
            "mp4",
            "libx264",
            "yuv420p",
            f"H.264, {what}",
            options={"crf": "18", "preset": "medium"},
            container_options={"movflags": "+faststart"},
        )
    raise UnsupportedOutput(
        f"{path} has {f'a suffix that nothing writes, {suffix}' if suffix else 'no suffix to say what to write'}",
        hint="known: .mov (ProRes 4444), .webm (VP9), .mp4 (H.264, composite or matte), name.####.png",
    )


def _prores(what: str, *, with_alpha: bool) -> Encoding:
    if with_alpha:
        return Encoding(
            "mov",
            "prores_ks",
            "yuva444p10le",
            f"ProRes 4444, {what}",
            options={"profile": "4444", "alpha_bits": "16", "vendor": "apl0"},
            quantiser=PRORES_QUANTISER,
        )
    return Encoding(
        "mov",
        "prores_ks",
        "yuv422p10le",
        f"ProRes 422 HQ, {what}",
        options={"profile": "hq", "vendor": "apl0"},
        quantiser=PRORES_QUANTISER,
    )


def _vp9(what: str, *, with_alpha: bool) -> Encoding:
    # auto-alt-ref=0: libvpx's hidden reference frames and the separate alpha stream do not go together.
    return Encoding(
        "webm",
        "libvpx-vp9",
        "yuva420p" if with_alpha else "yuv420p",
        f"VP9, {what}",
        options={"crf": "24", "b": "0", "auto-alt-ref": "0", "row-mt": "1", "deadline": "good", "cpu-used": "4"},
    )


class PlatePainter:
    """Turns plates into the frames an encoder takes: studio swing, in the source's own matrix.

    Args:
        encoding: What the encoder takes.
        info: The stream the plates are of.
        size: (width, height) that the encoder was set up for; a plate that is smaller is continued by its last row or
            column.
    """

    def __init__(
        self,
        encoding: Encoding,
        info: StreamInfo,
        size: tuple[int, int],
        *,
        content: Content,
        alpha: AlphaKind,
        background: Background | None,
    ) -> None:
        self._pixels = av.VideoFormat(encoding.pixels)
        self._bits = self._pixels.components[0].bits
        self._has_alpha = len(self._pixels.components) == 4
        self._width, self._height = size
        self._matrix = matrix_for(info.color, info.width, info.height)
        self._content = content
        self._alpha = alpha
        self._background = background

    def __call__(self, plate: Plate) -> av.VideoFrame:
        if self._content == "matte":
            return self._matte(plate)
        frame = self._colors(plate)
        if self._has_alpha:
            alpha = stepped(opacity(plate), 2**self._bits - 1)
            plane_view(frame.planes[3], self._bits)[:] = self._padded(alpha)
        return frame

    def _colors(self, plate: Plate) -> av.VideoFrame:
        planes = planes_from_rgb(colors(plate, self._alpha, self._background), self._matrix, self._bits)
        frame = av.VideoFrame(self._width, self._height, self._pixels.name)
        for plane, samples in zip(frame.planes, planes, strict=False):  # the frame's fourth plane is alpha
            stored = plane_view(plane, self._bits)
            stored[:] = subsampled(self._padded(samples), stored.shape[1], stored.shape[0])
        return frame

    def _matte(self, plate: Plate) -> av.VideoFrame:
        """Luma is alpha over the whole studio swing, so that white is white; chroma is neutral."""
        frame = av.VideoFrame(self._width, self._height, self._pixels.name)
        unit = 2 ** (self._bits - 8)
        luma = stepped(opacity(plate), 219 * unit) + np.float32(16 * unit)
        plane_view(frame.planes[0], self._bits)[:] = self._padded(luma)
        for plane in frame.planes[1:3]:
            plane_view(plane, self._bits)[:] = 128 * unit
        return frame

    def _padded(self, samples: Samples | np.ndarray) -> np.ndarray:
        height, width = samples.shape[:2]
        if (width, height) == (self._width, self._height):
            return samples
        return cv2.copyMakeBorder(samples, 0, self._height - height, 0, self._width - width, cv2.BORDER_REPLICATE)
