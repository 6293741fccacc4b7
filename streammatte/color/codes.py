"""Code points of ITU-T H.273, which FFmpeg shares: their names, and the defaults for untagged footage."""

from __future__ import annotations

from streammatte.frame import UNSPECIFIED, ColorSpec

RGB_MATRIX, BT601_MATRIX, BT709_MATRIX, BT2020_MATRIX, BT2020_CONSTANT_LUMINANCE = 0, 6, 1, 9, 10
BT709, LINEAR, SRGB, PQ, HLG = 1, 8, 13, 16, 18
"""TransferCharacteristics."""
FULL, STUDIO = 2, 1
"""FFmpeg's AVCOL_RANGE_JPEG and AVCOL_RANGE_MPEG."""

MATRICES = {
    RGB_MATRIX: "RGB",
    BT709_MATRIX: "BT.709",
    4: "FCC",
    5: "BT.601",
    BT601_MATRIX: "BT.601",
    7: "SMPTE 240M",
    BT2020_MATRIX: "BT.2020",
    BT2020_CONSTANT_LUMINANCE: "BT.2020 constant luminance",
}
PRIMARIES = {1: "BT.709", 5: "BT.601", 6: "BT.601", 9: "BT.2020", 12: "Display P3"}
TRANSFERS = {
    BT709: "BT.709",
    4: "gamma 2.2",
    5: "gamma 2.8",
    6: "BT.601",
    LINEAR: "linear",
    11: "xvYCC",
    SRGB: "sRGB",
    14: "BT.2020",
    15: "BT.2020",
    PQ: "PQ",
    HLG: "HLG",
}
TRANSFER_OPTIONS = {"srgb": SRGB, "rec709": BT709, "linear": LINEAR, "pq": PQ, "hlg": HLG}
"""Values of ``--input-transfer`` that H.273 has a code for; it has none for camera logs."""

LUMA = {
    BT709_MATRIX: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    BT601_MATRIX: (0.299, 0.114),
    7: (0.212, 0.087),
    BT2020_MATRIX: (0.2627, 0.0593),
}
"""Red's and blue's share of luma, by matrix."""

_D65 = (0.3127, 0.3290)
CHROMATICITIES = {
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65),
    5: (0.640, 0.330, 0.290, 0.600, 0.150, 0.060, *_D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
}
"""x and y of red, green, blue and white, by primaries."""


def rgb_color(primaries: int = UNSPECIFIED, transfer: int = UNSPECIFIED, bits: int = 8) -> ColorSpec:
    """The colours of an RGB picture, which spans its whole range."""
    return ColorSpec(True, RGB_MATRIX, primaries, transfer, bits)


def matrix_for(color: ColorSpec, width: int, height: int) -> int:
    """The matrix that ``color`` names, or else the one players assume for that size.

    Untagged video of 720 lines or 1280 columns and more is taken for BT.709, smaller video for BT.601. RGB gets the
    same answer, since its cut-outs may be written as Y'CbCr.
    """
    if color.matrix in LUMA:
        return color.matrix
    if color.matrix == BT2020_CONSTANT_LUMINANCE:
        return BT2020_MATRIX  # players do not tell the two apart
    return BT709_MATRIX if height >= 720 or width >= 1280 else BT601_MATRIX


def assumed_matrix(color: ColorSpec, width: int, height: int) -> str | None:
    """One line on the matrix assumed for untagged Y'CbCr; ``None`` if ``color`` names one or is RGB."""
    if color.matrix in MATRICES:
        return None
    return f"the file names no colour matrix: assuming {MATRICES[matrix_for(color, width, height)]} from its size"


def spans_whole_range(color: ColorSpec) -> bool:
    """Whether ``color`` is full-range Y'CbCr. RGB always spans its range, which says nothing about its cut-outs."""
    return color.full_range and color.matrix != RGB_MATRIX


def is_light(color: ColorSpec) -> bool:
    """Whether ``color`` is RGB in linear light, as in EXR.

    Y'CbCr tagged as linear is kept in its own encoding, like any other video.
    """
    return color.transfer == LINEAR and color.matrix == RGB_MATRIX


def transfer_of(color: ColorSpec) -> int:
    """The transfer that ``color`` names, or else the usual one: sRGB for RGB, BT.709 for video."""
    if color.transfer in TRANSFERS:
        return color.transfer
    return SRGB if color.matrix == RGB_MATRIX and color.transfer == UNSPECIFIED else BT709


def described(color: ColorSpec) -> str:
    """The tags in words: "matrix BT.709, primaries not stated, transfer PQ, studio range, 10 bit"."""

    def named(code: int, names: dict[int, str]) -> str:
        return "not stated" if code == UNSPECIFIED else names.get(code, str(code))

    return (
        f"matrix {named(color.matrix, MATRICES)}, primaries {named(color.primaries, PRIMARIES)}, "
        f"transfer {named(color.transfer, TRANSFERS)}, {'full' if color.full_range else 'studio'} range, "
        f"{color.bit_depth} bit"
    )
