"""How each kind of video output is encoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from streammatte.color.codes import RGB_MATRIX
from streammatte.errors import UnsupportedOutput
from streammatte.frame import StreamInfo
from streammatte.media.nvidia import ENCODER as NVENC
from streammatte.media.nvidia import encodes
from streammatte.media.write.composing import Contents

Quality = Literal["draft", "standard", "best"]
Codec = Literal["prores4444", "prores4444xq", "png"]

# ProRes quantises by a matrix times q; prores_ks keeps alpha exactly at any. Left to itself it searches for q within a
# budget that it multiplies by 20 when there is alpha, and ends at 1, at a fourth of the speed or less. prores_aw loses
# alpha by a step, and takes no quantiser (benchmarks/encoders.py). With q alike, XQ is encoded as 4444 is; Apple states
# half as many bits again for it (330 and 500 Mb/s at 1080p30), and so it has a finer one.
PRORES_QUANTISERS: dict[Quality, int] = {"draft": 9, "standard": 3, "best": 1}
XQ_QUANTISERS: dict[Quality, int] = {"draft": 5, "standard": 2, "best": 1}

_VP9_CRF: dict[Quality, str] = {"draft": "34", "standard": "24", "best": "12"}
_H264_CRF: dict[Quality, str] = {"draft": "26", "standard": "18", "best": "10"}


@dataclass(frozen=True, slots=True)
class Encoding:
    """One way to store cut-outs as video.

    Attributes:
        container: FFmpeg's name of the format.
        codec: FFmpeg's name of the encoder.
        pixels: Pixel format the encoder is given.
        options: The encoder's private options.
        container_options: The muxer's.
        quantiser: Fixed quantiser, for ProRes.
        says: The same for people.
        says_range: The file can say that samples span their whole range. ProRes cannot: MOV's colour tag lacks it, and
            FFmpeg's decoder always reports studio swing.
    """

    container: str
    codec: str
    pixels: str
    says: str
    options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    quantiser: int | None = None
    says_range: bool = False


def encoding_for(
    path: Path,
    info: StreamInfo,
    contents: Contents,
    *,
    codec: Codec = "prores4444",
    quality: Quality = "standard",
    bits: int | None = None,
    hwaccel: bool = False,
) -> Encoding:
    """The encoding for a file name.

    Args:
        codec: For ``.mov``.
        quality: For lossy codecs.
        hwaccel: Encode ``.mp4`` on NVENC if it is here.
        bits: FFV1 8, 10, 12 or 16, PNG in ``.mov`` 8 or 16; by default the source's, but at least 10 for FFV1.

    Raises:
        UnsupportedOutput: No encoder writes that suffix, or not with these options.
    """
    suffix = path.suffix.lower()
    what = contents.says
    kind: _Kind = "grey" if contents.part == "matte" else "alpha" if contents.has_alpha else "colour"
    if suffix == ".mov":
        if codec == "png":
            return _png(path, what, kind, bits or (8 if info.color.bit_depth <= 8 else 16))
        return _prores(what, kind, xq=codec == "prores4444xq", quality=quality)
    if suffix == ".mkv":
        return _ffv1(path, what, kind, bits, info)
    if suffix == ".webm":
        return _vp9(what, kind, quality)
    if suffix == ".mp4":
        if kind == "alpha":
            raise UnsupportedOutput(
                f"{path} cannot hold alpha: H.264 has none",
                hint="write .mov or .webm, or use --bg or --pair",
            )
        says, flags = f"H.264, {what}", {"movflags": "+faststart"}
        if hwaccel:
            # Frames that are predicted from later ones would begin before 0.
            options = {"preset": "p5", "tune": "hq", "rc": "vbr", "cq": _H264_CRF[quality], "b": "0", "bf": "0"}
            if encodes(even(contents.size(info.width, info.height)), options):
                says = f"H.264 by NVENC, {what}"
                return Encoding("mp4", NVENC, "yuv420p", says, options, container_options=flags, says_range=True)
            says += ", encoded on the CPU: no NVENC for this size on this machine"
        return Encoding(
            "mp4",
            "libx264",
            "yuv420p",
            says,
            options={"crf": _H264_CRF[quality], "preset": "medium"},
            container_options=flags,
            says_range=True,
        )
    raise UnsupportedOutput(
        f"cannot write {path}: {f'{suffix} is not supported' if suffix else 'its name has no suffix'}",
        hint=_instead_of(suffix),
    )


def even(size: tuple[int, int]) -> tuple[int, int]:
    """4:2:0 in H.264 takes even sizes only; an odd edge is padded, because cropping would lose pixels."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


_OTHER_PICTURES = (".heic", ".heif", ".avif", ".jxl", ".psd", ".bmp", ".tga", ".dpx", ".jp2", ".apng")
_OTHER_VIDEOS = (".avi", ".m4v", ".mxf", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".flv", ".wmv", ".ogv", ".3gp", ".qt")


def _instead_of(suffix: str) -> str:
    """A hint for an unsupported suffix."""
    if suffix in _OTHER_PICTURES:
        return "use .png, .tif, .exr or .webp, which have alpha, or .jpg with --bg"
    if suffix in _OTHER_VIDEOS:
        return "use .mov, .mkv or .webm, which have alpha, or .mp4 with --bg"
    return "use .mov, .webm, .mkv, .gif, .webp, or .mp4 with --bg; for pictures .png, .tif, .exr, or .jpg with --bg"


_Kind = Literal["alpha", "colour", "grey"]


def _prores(what: str, kind: _Kind, *, xq: bool, quality: Quality) -> Encoding:
    # A matte has few bits and needs all of them.
    quantiser = (XQ_QUANTISERS if xq else PRORES_QUANTISERS)["best" if kind == "grey" else quality]
    name, profile = ("4444 XQ", "4444xq") if xq else ("4444", "4444")
    if kind == "alpha":
        return Encoding(
            "mov",
            "prores_ks",
            "yuva444p10le",
            f"ProRes {name}, {what}",
            options={"profile": profile, "alpha_bits": "16", "vendor": "apl0"},
            quantiser=quantiser,
        )
    if not xq:
        name, profile = "422 HQ", "hq"
    return Encoding(
        "mov",
        "prores_ks",
        "yuv444p10le" if xq else "yuv422p10le",
        f"ProRes {name}, {what}",
        options={"profile": profile, "vendor": "apl0"},
        quantiser=quantiser,
    )


def _vp9(what: str, kind: _Kind, quality: Quality) -> Encoding:
    # auto-alt-ref=0: libvpx's hidden reference frames and the separate alpha stream do not go together.
    options = {"b": "0", "auto-alt-ref": "0", "row-mt": "1", "deadline": "good", "cpu-used": "4"}
    return Encoding(
        "webm",
        "libvpx-vp9",
        "yuva420p" if kind == "alpha" else "yuv420p",
        f"VP9, {what}",
        options={"crf": _VP9_CRF[quality], **options},
        says_range=True,
    )


def _ffv1(path: Path, what: str, kind: _Kind, bits: int | None, info: StreamInfo) -> Encoding:
    """Y'CbCr 4:4:4 with the source's samples and tags; for an RGB source RGB in 16 bits."""
    rgb = info.color.matrix == RGB_MATRIX and kind != "grey"
    depths = (16,) if rgb else (8, 10, 12, 16)
    bits = bits or next((depth for depth in depths if max(10, info.color.bit_depth) <= depth), 16)
    if bits not in depths:
        raise UnsupportedOutput(
            f"{path} cannot have {bits} bits", hint="FFV1 has 8, 10, 12 or 16; for an RGB source only 16"
        )
    end = "" if bits == 8 else f"{bits}le"
    if kind == "grey":
        pixels = f"gray{end}"
    elif rgb:
        pixels = "gbrap16le" if kind == "alpha" else "gbrp16le"
    else:
        pixels = f"yuva444p{end}" if kind == "alpha" else f"yuv444p{end}"
    # Every frame is a keyframe, in slices with a checksum each.
    options = {"level": "3", "slices": "12", "slicecrc": "1", "g": "1"}
    says = f"FFV1 {bits} bit, lossless, {what}"
    return Encoding("matroska", "ffv1", pixels, says, options=options, says_range=True)


def _png(path: Path, what: str, kind: _Kind, bits: int) -> Encoding:
    if bits not in (8, 16):
        raise UnsupportedOutput(f"{path} cannot have {bits} bits as PNG", hint="PNG has 8 or 16")
    pixels = {"alpha": ("rgba", "rgba64be"), "colour": ("rgb24", "rgb48be"), "grey": ("gray", "gray16be")}[kind]
    options = {"compression_level": "3", "pred": "up"}
    return Encoding("mov", "png", pixels[bits == 16], f"PNG {bits} bit, lossless, {what}", options=options)
