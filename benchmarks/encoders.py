"""Ways to encode ProRes 4444: python -m benchmarks.encoders [--clip CLIP] [--frames N] [-o FILE]

Encodes the same 1080p cut-outs with soft alpha, one generated and one from a clip, in every way FFmpeg offers: its
defaults, the ways streammatte uses, and their alternatives. Prints JSON: frames per second, megabits per second at 25
fps, and the PSNR of colours and alpha against the input.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.report import machine
from streammatte.color.ycbcr import plane_view, planes_from_rgb
from streammatte.media.write.encoding import PRORES_QUANTISERS

WIDTH, HEIGHT = 1920, 1080
Planes = tuple[NDArray[np.uint16], ...]
"""Y', Cb, Cr and alpha, each (1080, 1920), of 10 bits."""


@dataclass(frozen=True, slots=True)
class Way:
    """Encoder, options, threading, and a fixed quantiser if any."""

    codec: str = "prores_ks"
    profile: str = "4444"
    threads: str = "FRAME"
    quantiser: int | None = None

    def __str__(self) -> str:
        fixed = "" if self.quantiser is None else f", quantiser {self.quantiser}"
        return f"{self.codec} {self.profile}{fixed}, {self.threads.lower()} threads"


DEFAULTS = Way(threads="SLICE")  # defaults of FFmpeg and PyAV, apart from the profile
STANDARD = PRORES_QUANTISERS["standard"]
WAYS = [
    DEFAULTS,
    Way(),
    *(Way(quantiser=quantiser) for quantiser in sorted({2, 5, *PRORES_QUANTISERS.values()})),
    Way(quantiser=STANDARD, threads="SLICE"),
    Way(quantiser=STANDARD, profile="4444xq"),
    Way("prores_aw"),
    Way("prores_aw", threads="SLICE"),
]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=Path, help="footage for the second kind of cut-outs, scaled to 1080p")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    footage = {"generated": list(generated(given.frames))}
    if given.clip is not None:
        footage[given.clip.name] = list(of_clip(given.clip, given.frames))
    report: dict[str, object] = {
        "facts": {**machine(), "frames": given.frames, "size": [WIDTH, HEIGHT]},
    }
    for name, cutouts in footage.items():
        rows = {}
        for way in WAYS:
            rows[str(way)] = row = measured(way, cutouts)
            base = rows[str(DEFAULTS)]
            row["times the defaults' speed"] = round(row["fps"] / base["fps"], 2)
            row["colour dB against the defaults"] = round(row["colour dB"] - base["colour dB"], 2)
            print(f"{name}: {way}: {json.dumps(row)}", flush=True)
        report[name] = rows
    if given.output is not None:
        given.output.write_text(json.dumps(report, indent=2) + "\n")


def measured(way: Way, cutouts: list[Planes]) -> dict[str, float]:
    """Encode, decode and compare."""
    frames = [_frame(planes, index) for index, planes in enumerate(cutouts)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.mov"
        start = time.perf_counter()
        with av.open(str(path), "w") as out:
            profile = {"4444": "4"}[way.profile] if way.codec == "prores_aw" else way.profile
            stream = out.add_stream(way.codec, rate=25, options={"profile": profile})
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuva444p10le"
            stream.codec_context.thread_type = way.threads
            if way.quantiser is not None:
                stream.codec_context.global_quality = way.quantiser
            for frame in frames:
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        seconds = time.perf_counter() - start
        size = path.stat().st_size
        errors = np.zeros(2)
        with av.open(str(path)) as made:
            for decoded, planes in zip(made.decode(video=0), cutouts, strict=True):
                errors += _errors(decoded, planes)
    colour, alpha = errors / len(cutouts)
    return {
        "fps": round(len(cutouts) / seconds, 2),
        "Mb/s": round(size * 8 * 25 / len(cutouts) / 1e6, 1),
        "colour dB": _decibel(colour),
        "alpha dB": _decibel(alpha),
    }


def _frame(planes: Planes, index: int) -> av.VideoFrame:
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuva444p10le")
    for plane, samples in zip(frame.planes, planes, strict=True):
        plane_view(plane, 10)[:] = samples
    frame.pts = index
    return frame


def _errors(decoded: av.VideoFrame, planes: Planes) -> NDArray[np.float64]:
    """Mean squared errors of colours and alpha, relative to the largest value."""
    bits = decoded.format.components[0].bits
    found = [plane_view(plane, bits).astype(np.float32) / 2 ** (bits - 10) for plane in decoded.planes[:3]]
    colour = np.mean([np.square((a - b) / 1023).mean() for a, b in zip(found, planes[:3], strict=True)])
    alpha = plane_view(decoded.planes[3], bits) * np.float32(1023 / (2**bits - 1))
    return np.array([colour, np.square((np.rint(alpha) - planes[3]) / 1023).mean()])


def _decibel(error: float) -> float:
    """PSNR; 999 means identical, as JSON has no infinity."""
    return 999.0 if error == 0 else round(float(-10 * np.log10(error)), 2)


def generated(frames: int) -> Iterator[Planes]:
    """A disc with strands of hair and a soft edge, over a texture that moves under camera noise."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 200, (HEIGHT // 30 + 1, WIDTH // 30 + 1, 3)).astype(np.float32)
    texture = cv2.resize(coarse, (WIDTH + 200, HEIGHT), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 3, (HEIGHT, WIDTH, 3)).astype(np.float32)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    for index in range(frames):
        middle = WIDTH / 2 + WIDTH / 6 * np.sin(index / 10)
        angle, distance = np.arctan2(y - HEIGHT / 2, x - middle), np.hypot(y - HEIGHT / 2, x - middle)
        strands = 40 * np.sin(90 * angle) ** 8 + 25 * np.sin(211 * angle + index / 4) ** 6
        alpha = np.clip((HEIGHT / 3 + strands - distance) / 12, 0, 1)
        rgb = texture[:, 4 * index : 4 * index + WIDTH] + np.roll(grain, 37 * index, axis=(0, 1))
        subject = np.array([190, 140, 110], np.float32) + 0.1 * (strands[..., None] - 30)
        rgb = np.where(alpha[..., None] > 0, subject + 0.5 * grain, rgb)
        yield _planes(np.clip(rgb * 257, 0, 65535).astype(np.uint16), alpha)


def of_clip(path: Path, frames: int) -> Iterator[Planes]:
    """A clip's frames at 1080p; alpha is soft and marks what is lighter than its surroundings."""
    with av.open(str(path)) as file:
        for frame, _ in zip(file.decode(video=0), range(frames), strict=False):
            rgb = cv2.resize(frame.to_ndarray(format="rgb24"), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
            light = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
            around = cv2.GaussianBlur(cv2.resize(light, (WIDTH // 8, HEIGHT // 8)), (0, 0), 20)
            alpha = np.clip((light - cv2.resize(around, (WIDTH, HEIGHT))) / 30 + 0.5, 0, 1)
            yield _planes(rgb.astype(np.uint16) * np.uint16(257), alpha)


def _planes(rgb: NDArray[np.uint16], alpha: NDArray[np.float32]) -> Planes:
    return (*planes_from_rgb(rgb, 1, 10), np.rint(alpha * 1023).astype(np.uint16))


if __name__ == "__main__":
    main()
