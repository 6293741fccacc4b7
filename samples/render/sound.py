"""Sound made from nothing, so that the samples have some: (2, N) float in [-1, 1] at 48 kHz."""

import numpy as np
from numpy.typing import NDArray

RATE = 48_000
Sound = NDArray[np.float64]


def _noise(count: int, rng: np.random.Generator, slope: float) -> Sound:
    """(count,) noise whose amplitude falls as frequency to the power of ``-slope``; unit peak."""
    spectrum = np.fft.rfft(rng.normal(size=count))
    spectrum *= np.maximum(np.arange(len(spectrum)), 20.0) ** -slope
    out = np.fft.irfft(spectrum, count)
    return out / np.abs(out).max()


def _ring(count: int, pitches: tuple[float, ...], decay: float) -> Sound:
    t = np.arange(count) / RATE
    return sum(np.sin(2 * np.pi * p * t) * np.exp(-t * (1 + k) / decay) for k, p in enumerate(pitches)) / len(pitches)


def _add(track: Sound, at: float, sound: Sound, left: float = 0.5) -> None:
    start = round(at * RATE)
    piece = sound[: max(track.shape[1] - start, 0)]
    track[0, start : start + len(piece)] += piece * left * 2
    track[1, start : start + len(piece)] += piece * (1 - left) * 2


def room(seconds: float, rng: np.random.Generator, level: float = 0.012) -> Sound:
    """A quiet room or street: low noise, different on either side."""
    count = round(seconds * RATE)
    return level * np.stack([_noise(count, rng, 0.7) for _ in range(2)])


def talking(seconds: float, rng: np.random.Generator) -> Sound:
    """A voice without words: a buzz with vowel-like resonances, opening with the jaw's 3.7 syllables a second."""
    track = room(seconds, rng)
    t = np.arange(track.shape[1]) / RATE
    pitch = 190 + 25 * np.sin(2 * np.pi * 0.9 * t) + 6 * np.sin(2 * np.pi * 5.1 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    first = 550 + 200 * np.sin(2 * np.pi * 1.85 * t)
    second = 1500 + 500 * np.sin(2 * np.pi * 1.3 * t + 1)
    voice = np.zeros_like(t)
    for harmonic in range(1, 20):
        tone = harmonic * pitch
        gain = sum(1 / (1 + ((tone - formant) / width) ** 2) for formant, width in ((first, 110), (second, 180)))
        voice += (gain + 0.05) / harmonic**0.4 * np.sin(harmonic * phase)
    opening = np.clip(np.sin(2 * np.pi * 3.7 * t), 0, 1) * (0.55 + 0.45 * np.sin(2 * np.pi * 1.1 * t + 1))
    return track + 0.1 * opening * voice


def walk(seconds: float, rng: np.random.Generator) -> Sound:
    """Steps on pavement, two for each turn of the walking cycle, passing from left to right, and a street's hum."""
    track = room(seconds, rng, 0.03)
    for step in range(8):
        at = (step * np.pi + np.pi / 2 - 0.6) / (2 * np.pi * 0.95)
        if 0 <= at < seconds:
            count = round(0.09 * RATE)
            thud = _noise(count, rng, 0.4) * np.exp(-np.arange(count) / RATE / 0.018)
            thud += 0.6 * _ring(count, (92.0, 170.0), 0.03)
            _add(track, at, 0.25 * thud, 0.65 - 0.3 * at / seconds)
    return track


def glass(seconds: float, rng: np.random.Generator) -> Sound:
    """A glass that chimes once and the drink moving in it, outdoors."""
    track = room(seconds, rng, 0.02)
    _add(track, 0.25, 0.22 * _ring(round(1.5 * RATE), (2350.0, 4120.0, 6340.0, 9010.0), 0.55), 0.4)
    t = np.arange(track.shape[1]) / RATE
    slosh = _noise(track.shape[1], rng, 0.2) * np.clip(np.sin(2 * np.pi * 0.8 * t), 0, 1) ** 4
    return track + 0.015 * slosh


SOUNDS = {"talking": talking, "glass": glass, "walk": walk}
