"""Whether outputs preserve timing, audio and alpha: python -m benchmarks.exact CLIP [streammatte's options]

Writes ProRes, VP9 and PNG in one pass, decodes them, and prints JSON: frames, whether every pts and audio packet equals
the source's, and how far the decoded alpha is from what the library computes for the same frames.
"""

from __future__ import annotations

import json
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

import streammatte
from streammatte.cli.main import main as command
from streammatte.color.ycbcr import plane_view


def main(clip: str, *options: str) -> dict[str, object]:
    """Figures for one clip with the bundled model on the CPU."""
    bare = ("--colors", "off", "--smooth", "off", "--decontaminate", "off")
    network = ("--model", "birefnet-nano", "--device", "cpu", *bare)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outputs = [folder / "out.mov", folder / "out.webm", folder / "out.####.png"]
        asked = [argument for path in outputs for argument in ("-o", str(path))]
        if command([clip, *asked, *network, "--quiet", *options]) != 0:
            raise SystemExit(1)
        model = streammatte.load_model("birefnet-nano", device="cpu")
        with streammatte.open_video(clip) as source:
            alphas = [cutout.alpha.numpy() for cutout in streammatte.matte(source, model, [])]
        original, mov, webm = times(clip), times(outputs[0]), times(outputs[1])
        pictures = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., 3] for path in sorted(folder.glob("out.*.png"))]
        return {
            "clip": Path(clip).name,
            "frames": {"source": len(original), "mov": len(mov), "webm": len(webm), "png": len(pictures)},
            "pts_equal": {
                "mov": mov == original,
                "webm, to the millisecond": [round(1000 * t) for t in webm] == [round(1000 * t) for t in original],
            },
            "audio_packets": len(packets(clip)),
            "audio_packets_equal_in_mov": packets(outputs[0]) == packets(clip),
            "alpha": {
                "mov, largest difference in 10-bit steps": farthest(alpha_planes(outputs[0]), alphas, 1023),
                "webm, mean difference in 8-bit steps": mean(alpha_planes(outputs[1], "libvpx-vp9"), alphas, 255),
                "png, largest difference in 8-bit steps": farthest([p / 255 for p in pictures], alphas, 255),
            },
        }


def times(path: str | Path) -> list[Fraction]:
    """Presentation times of a file's video frames, in seconds."""
    with av.open(str(path)) as file:
        return [frame.pts * frame.time_base for frame in file.decode(video=0)]


def packets(path: str | Path) -> list[tuple[bytes, Fraction]]:
    """The first audio stream's packets and their times."""
    with av.open(str(path)) as file:
        demuxed = file.demux(file.streams.audio[0]) if file.streams.audio else []
        return [(bytes(packet), packet.pts * packet.time_base) for packet in demuxed if packet.pts is not None]


def alpha_planes(path: Path, codec: str | None = None) -> list[NDArray[np.float32]]:
    """Decoded alpha in [0, 1], by a decoder that supports it where FFmpeg's default does not."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        decoder = av.CodecContext.create(codec, "r") if codec else stream
        frames = [frame for packet in file.demux(stream) for frame in decoder.decode(packet)]
    print(f"{path.name} decodes as {frames[0].format.name}", file=sys.stderr)
    bits = frames[0].format.components[3].bits
    return [plane_view(frame.planes[3], bits).astype(np.float32) / (2**bits - 1) for frame in frames]


def farthest(decoded: list[NDArray[np.float32]], computed: list[NDArray[np.float32]], steps: int) -> float:
    """Largest difference of any pixel, in steps."""
    return max(float(np.abs(a - b).max()) * steps for a, b in zip(decoded, computed, strict=True))


def mean(decoded: list[NDArray[np.float32]], computed: list[NDArray[np.float32]], steps: int) -> float:
    """Mean difference, in steps."""
    return float(np.mean([np.abs(a - b).mean() * steps for a, b in zip(decoded, computed, strict=True)]))


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:]), indent=2))
