"""Whether timing drifts over ten minutes: python -m benchmarks.time [--minutes 10]

Frames of random durations, 64×48, with noise as PCM and AAC audio, pass from source to writers without a network.
Prints JSON: the largest timing error of any frame and of the end, and how many samples audio lags. Measures no speed.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.codec.context import Flags
from numpy.typing import NDArray

import streammatte
from streammatte.frame import Cutout

SIZE = (64, 48)
TIME_BASE = Fraction(1, 90000)
RATE = 48000
LOOKED_AT = RATE // 2  # samples compared, at each of eleven places


def main(minutes: float = 10) -> dict[str, Any]:
    """Figures for every output."""
    chance = random.Random(1)
    lasts: list[int] = []
    while sum(lasts) * TIME_BASE < 60 * minutes:
        lasts.append(chance.randint(900, 9000))  # a hundredth to a tenth of a second
    figures: dict[str, Any] = {"minutes": minutes, "frames": len(lasts)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for codec in ("pcm_s16le", "aac"):
            clip = write(folder / f"{codec}.mov", lasts, codec)
            for out in ("out.mov", "out.webm"):
                through(clip, folder / out)
                figures[f"{codec} to {out[4:]}"] = compared(clip, folder / out)
    return figures


def write(path: Path, lasts: list[int], codec: str) -> Path:
    """A ProRes clip with the given frame durations and noise as audio."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("prores_ks", rate=25)
        assert isinstance(video, av.VideoStream)
        video.width, video.height = SIZE
        video.pix_fmt = "yuv422p10le"
        video.time_base = video.codec_context.time_base = TIME_BASE
        context: Any = video.codec_context
        context.flags |= Flags.frame_duration
        sound = out.add_stream(codec, rate=RATE, layout="mono")
        assert isinstance(sound, av.AudioStream)
        cut = av.AudioResampler(sound.format, sound.layout, RATE, frame_size=sound.codec_context.frame_size or 1024)
        pts = done = 0
        for duration in lasts:
            frame = av.VideoFrame(*SIZE, "yuv422p10le")
            frame.pts, frame.time_base, frame.duration = pts, TIME_BASE, duration
            out.mux(video.encode(frame))
            pts += duration
            until = round(pts * TIME_BASE * RATE)
            piece = av.AudioFrame.from_ndarray(noise(done, until)[None], format="flt", layout="mono")
            piece.sample_rate, piece.time_base, piece.pts = RATE, Fraction(1, RATE), done
            done = until
            for ready in cut.resample(piece):
                out.mux(sound.encode(ready))
        for ready in cut.resample(None):
            out.mux(sound.encode(ready))
        out.mux(sound.encode(None))
        out.mux(video.encode(None))
    return path


def noise(begin: int, end: int) -> NDArray[np.float32]:
    """Noise that does not depend on where it is cut."""
    first = begin // RATE
    seconds = [np.random.default_rng(second).normal(0, 0.1, RATE) for second in range(first, end // RATE + 1)]
    smooth = np.convolve(np.concatenate(seconds), np.hanning(16) / 8, mode="same")
    return smooth[begin - first * RATE : end - first * RATE].astype(np.float32)


def through(clip: Path, out: Path) -> None:
    """Every frame, with constant alpha."""
    alpha = torch.full(SIZE[::-1], 0.5)
    with (
        streammatte.open_video(clip) as source,
        streammatte.open_writer(out, source.info, audio=clip, overwrite=True) as writer,
    ):
        for frame in source:
            writer.write(Cutout(frame, alpha))


def compared(clip: Path, out: Path) -> dict[str, Any]:
    """Distance of the output from the input."""
    before, after = times(clip), times(out)
    one, other = heard(clip), heard(out)
    places = [round(part * (one.size - 2 * LOOKED_AT) / 10) + LOOKED_AT // 2 for part in range(11)]
    return {
        "frames": [len(before) - 1, len(after) - 1],
        "farthest frame or end, ms": float(max(abs(a - b) for a, b in zip(before, after, strict=True)) * 1000),
        "samples": [one.size, other.size],
        "sound is late by samples": [lag(one, other, place) for place in places],
    }


def times(path: Path) -> list[Fraction]:
    """Start of each frame and end of the last, in seconds."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        found = [(frame.pts, frame.duration) for frame in file.decode(stream)]
        assert stream.time_base is not None
        return [Fraction(stamp) * stream.time_base for stamp in [*(pts for pts, _ in found), sum(found[-1])]]


def heard(path: Path) -> NDArray[np.float32]:
    """All audio samples, from time 0."""
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=0))
    assert frames[0].pts == 0
    parts = [frame.to_ndarray()[0] for frame in frames]
    return np.concatenate([part / 32768 if part.dtype == np.int16 else part for part in parts]).astype(np.float32)


def lag(one: NDArray[np.float32], other: NDArray[np.float32], place: int, reach: int = 256) -> int:
    """Samples by which the second lags, at the peak of their correlation."""
    here = one[place : place + LOOKED_AT]
    around = other[place - reach : place + LOOKED_AT + reach]
    return int(np.argmax(np.correlate(around, here, mode="valid"))) - reach


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    print(json.dumps(main(parser.parse_args().minutes), indent=2))
