"""Which code values a clip and its cut-outs have: python -m benchmarks.levels CLIP|ramp [streammatte's options]

Writes ProRes, VP9 and PNG with the frame's own colours in one pass, and a composite over green as H.264, and decodes
them. Prints JSON for the source and each output: tags; the number of distinct luma codes; for 10 bits and more, the
share of pixels whose code is not a multiple of 4, which is 0 for anything that went through 8 bits; pixels beyond
black and white; and the distance of the RGB from the source's. For ``ramp``, a clip with all 1024 levels of 10 bits,
the error of luma and alpha in ProRes 4444 by quantiser.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import torch

import streammatte
from streammatte.cli.main import main as command
from streammatte.color.ycbcr import color_of, plane_view, working_bits
from streammatte.frame import Cutout
from streammatte.media.write.composing import Contents
from streammatte.media.write.encoding import encoding_for
from streammatte.media.write.video_writer import VideoWriter


def main(clip: str, *options: str) -> dict[str, object]:
    """Figures for one clip, with the bundled model, as the matte does not matter."""
    network = ("--model", "birefnet-nano", "--size", "64x64", "--device", "cpu", "--colors", "off", "--smooth", "off")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cutouts = [folder / "out.mov", folder / "out.webm", folder / "out.####.png"]
        asked = [argument for path in cutouts for argument in ("-o", str(path))]
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
                for path in (*cutouts, composite)
            },
        }


def ramp() -> dict[str, object]:
    """All levels of 10 bits in Y'CbCr 4:4:4 and as an alpha, through ProRes 4444 at each quantiser."""
    codes = np.tile(np.arange(1024), (64, 1))
    said: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        clip, out = Path(name) / "ramp.mkv", Path(name) / "out.mov"
        with av.open(str(clip), "w") as file:
            stream = file.add_stream("ffv1", rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = 1024, 64, "yuv444p10le"
            stream.codec_context.color_range, stream.codec_context.colorspace = 1, 1
            frame = av.VideoFrame(1024, 64, "yuv444p10le")
            for plane, samples in zip(frame.planes, (codes, 512, 512), strict=True):
                plane_view(plane, 10)[:] = samples
            file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
        with streammatte.open_video(clip) as source:
            info, picture = source.info, next(iter(source))
        cutout = Cutout(picture, torch.from_numpy((codes / 1023).astype(np.float32)))
        usual = encoding_for(out, info, Contents())
        for quantiser in (1, 2, 3, 4):
            encoding = replace(usual, quantiser=quantiser)
            with VideoWriter(out, info, encoding, Contents(), overwrite=True) as writer:
                writer.write(cutout)
            with av.open(str(out)) as file:
                decoded = next(file.decode(video=0))
            bits = decoded.format.components[0].bits
            luma, alpha = (plane_view(decoded.planes[place], bits).astype(float) for place in (0, 3))
            said[f"quantiser {quantiser}" + (", the default" if quantiser == usual.quantiser else "")] = {
                "luma, largest difference in 10-bit levels": float(np.abs(luma * 2.0 ** (10 - bits) - codes).max()),
                "alpha, the same": round(float(np.abs(alpha / (2**bits - 1) * 1023 - codes).max()), 3),
            }
    return said


def levels(path: str) -> dict[str, object]:
    """Code values of every frame's first plane (luma or green)."""
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
    """Every frame as the library reads it, float RGB in [0, 1]."""
    with streammatte.open_video(path) as source:
        return [frame.as_float().numpy() for frame in source]


def farther(found: list[np.ndarray], wanted: list[np.ndarray]) -> dict[str, float]:
    """Distance of the RGB from the source's, in 8-bit steps."""
    off = np.stack([np.abs(one - other) for one, other in zip(found, wanted, strict=True)]) * 255
    return {"mean difference of RGB × 255": round(float(off.mean()), 3), "largest": round(float(off.max()), 2)}


if __name__ == "__main__":
    print(json.dumps(ramp() if sys.argv[1] == "ramp" else main(*sys.argv[1:]), indent=2, ensure_ascii=False))
