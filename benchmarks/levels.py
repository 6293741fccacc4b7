"""Which levels a clip has, and which its plates have: python -m benchmarks.levels CLIP [streammatte's options]

Writes ProRes, VP9 and PNG of the frame's own colours in one pass, and a composite over green as H.264, decodes them and
prints as JSON, for the source and each output: the tags; of luma how many distinct codes there are and, of 10 bits and
more, the share of pixels whose code is no multiple of 4, which nothing that went through 8 bits has; how many are
beyond black and white; how far the RGB is from the source's.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import av
import numpy as np

import streammatte
from streammatte.cli import main as command
from streammatte.media.color import color_of, plane_view, working_bits


def main(clip: str, *options: str) -> dict[str, object]:
    """The figures for one clip; the matte does not matter, and is the embedded model's."""
    network = ("--model", "birefnet-nano", "--size", "64x64", "--device", "cpu", "--colors", "off", "--smooth", "off")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plates = [folder / "out.mov", folder / "out.webm", folder / "out.####.png"]
        asked = [argument for path in plates for argument in ("-o", str(path))]
        shared = (*network, "--decontaminate", "off", "--quiet", *options)
        composite = folder / "out.mp4"
        if command([clip, *asked, *shared]) or command([clip, "-o", str(composite), "--bg", "#00b140", *shared]):
            raise SystemExit(1)
        wanted = rgb_of(clip)
        return {
            "clip": Path(clip).name,
            "source": levels(clip),
            **{
                path.name: {
                    **levels(str(path).replace("####", "0001")),
                    **({} if path is composite else farther(rgb_of(str(path)), wanted)),
                }
                for path in (*plates, composite)
            },
        }


def levels(path: str) -> dict[str, object]:
    """Of every frame's first plane (luma, or green): what is stored."""
    planes = []
    with av.open(path) as file:
        for frame in file.decode(video=0):
            color, pixels = color_of(frame), frame.format.name
            bits = working_bits(color.bit_depth)
            if not frame.format.is_planar or frame.format.is_big_endian:
                frame = frame.reformat(format="gbrp" if bits == 8 else f"gbrp{bits}le")
            planes.append(plane_view(frame.planes[0], bits).copy())
    codes = np.stack(planes)
    said: dict[str, object] = {
        "pixels": pixels,
        "range, matrix, primaries, transfer": [
            "full" if color.full_range else "studio",
            color.matrix,
            color.primaries,
            color.transfer,
        ],
        "distinct codes": len(np.unique(codes)),
    }
    if bits > 8:
        ten = np.rint(codes.astype(np.float32) * (1023 / 65535 if bits == 16 else 2.0 ** (10 - bits))).astype(int)
        said["distinct codes of 10 bits"] = len(np.unique(ten))
        said["share of pixels with a code of 10 bits not divisible by 4"] = round(float((ten % 4 > 0).mean()), 4)
    if not color.full_range:
        unit = 2 ** (bits - 8)
        said["pixels blacker than black, whiter than white"] = [
            int((codes < 16 * unit).sum()),
            int((codes > 235 * unit).sum()),
        ]
    return said


def rgb_of(path: str) -> list[np.ndarray]:
    """Every frame as float RGB in [0, 1], as the library reads it."""
    with streammatte.open_source(path) as source:
        return [frame.as_float().numpy() for frame in source]


def farther(found: list[np.ndarray], wanted: list[np.ndarray]) -> dict[str, float]:
    """How far RGB is from the source's, in 8-bit steps."""
    off = np.stack([np.abs(one - other) for one, other in zip(found, wanted, strict=True)]) * 255
    return {"mean difference of RGB × 255": round(float(off.mean()), 3), "largest": round(float(off.max()), 2)}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:]), indent=2))
