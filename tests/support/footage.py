"""Clips with variable frame rates, timecode, several sounds, subtitles, fields or mirroring."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.codec.context import Flags
from numpy.typing import NDArray

from streammatte.frame import Cutout
from streammatte.media import open_video, open_writer
from support import clips

SAMPLES = 48000


def random_times(frames: int, *, seed: int, first: int = 0) -> tuple[list[int], list[int]]:
    """pts and durations of frames that last from a hundredth to an eighth of a second, in clips.TIME_BASE."""
    chance = random.Random(seed)
    lasts = [chance.randint(128, 1600) for _ in range(frames)]
    return [first + sum(lasts[:place]) for place in range(frames)], lasts


def write_footage(
    path: Path,
    *,
    pts: Sequence[int] | None = None,
    lasts: Sequence[int] | None = None,
    time_base: Fraction = clips.TIME_BASE,
    rate: Fraction = clips.RATE,
    size: tuple[int, int] = clips.SIZE,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    timecode: str | None = None,
    sounds: Sequence[tuple[str, dict[str, str], bool]] = (),
    samples: int | None = None,
    display: tuple[float, bool, bool] | None = None,
    interlaced: bool = False,
    aspect: Fraction | None = None,
    subtitles: Sequence[tuple[float, float, str]] = (),
) -> Path:
    """One :func:`clips.picture` for each of ``pts``.

    Args:
        lasts: How long each of them is shown; 25 frames a second if that is not given.
        sounds: Codec, tags, and whether it is the default one; all are :func:`ramp`.
        display: Degrees, and whether it is mirrored left to right and upside down.
        interlaced: Lines of two pictures in turn.
        subtitles: When each begins and ends, in seconds, and what it says.
    """
    pts = clips.even_pts() if pts is None else pts
    lasts = [round(1 / (rate * time_base))] * len(pts) if lasts is None else lasts
    with av.open(str(path), "w", container_options={"avoid_negative_ts": "disabled"}) as out:
        video = out.add_stream(codec, rate=rate, options={"x264-params": "tff=1"} if interlaced else {})
        assert isinstance(video, av.VideoStream)
        video.width, video.height = size
        video.pix_fmt = pixels
        video.time_base = video.codec_context.time_base = time_base
        context: Any = video.codec_context
        context.gop_size = 6
        context.flags |= Flags.frame_duration
        if interlaced:
            context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if timecode is not None:
            video.metadata["timecode"] = timecode
        if display is not None:
            video.set_display_rotation(display[0], hflip=display[1], vflip=display[2])
        tracks = []
        for name, tags, default in sounds:
            track = out.add_stream(name, rate=SAMPLES, layout="mono")
            assert isinstance(track, av.AudioStream)
            track.metadata.update(tags)
            track.disposition = av.stream.Disposition.default if default else av.stream.Disposition(0)
            tracks.append(track)
        texts = out.add_mux_stream("mov_text") if subtitles else None
        if texts is not None:
            texts.time_base = Fraction(1, 1000)
        out.start_encoding()
        for index, (stamp, duration) in enumerate(zip(pts, lasts, strict=True)):
            drawn = clips.picture(index % 14, size)
            if interlaced:
                drawn[1::2] = clips.picture((index + 1) % 14, size)[1::2]
            frame = av.VideoFrame.from_ndarray(drawn, "rgb24").reformat(
                format=pixels, dst_colorspace=6, dst_color_range=1
            )
            frame.pts, frame.time_base, frame.duration = stamp, time_base, duration
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        count = samples or round((pts[-1] + lasts[-1] - pts[0]) * time_base * SAMPLES)
        for track in tracks:
            size_of_frame = track.codec_context.frame_size or 1024
            cut = av.AudioResampler(track.format, track.layout, SAMPLES, frame_size=size_of_frame)
            sound = av.AudioFrame.from_ndarray(ramp(0, count)[None], format="s16", layout="mono")
            sound.sample_rate, sound.time_base, sound.pts = SAMPLES, Fraction(1, SAMPLES), 0
            for piece in [*cut.resample(sound), *cut.resample(None)]:
                out.mux(track.encode(piece))
            out.mux(track.encode(None))
        for begin, end, text in subtitles:
            data = text.encode()
            packet = av.Packet(len(data).to_bytes(2, "big") + data)
            packet.time_base = Fraction(1, 1000)
            packet.pts = packet.dts = round(begin * 1000)
            packet.duration = round((end - begin) * 1000)
            packet.stream = texts
            out.mux(packet)
    return path


def ramp(first: int, count: int) -> NDArray[np.int16]:
    """Samples that tell their own number, up to 30000; quiet, so that codecs keep them within their range."""
    return (np.arange(first, first + count) % 30000).astype(np.int16)


def matted(source: Path, out: Path, *, audio: bool = True, writer: dict[str, Any] | None = None, **options: Any) -> Any:
    """Write the requested frames with a constant alpha, without a network; returns source and writer, both closed."""
    with (
        open_video(source, **options) as opened,
        open_writer(
            out, opened.info, audio=source if audio else None, subtitles=source, overwrite=True, **(writer or {})
        ) as written,
    ):
        for frame in opened:
            written.write(Cutout(frame, torch.full(frame.rgb.shape[1:], 0.5)))
    return opened, written


def shown_times(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds."""
    with av.open(str(path)) as file:
        return [frame.pts * frame.time_base for frame in file.decode(video=0)]


def heard(path: Path, stream: int = 0) -> tuple[NDArray[Any], Fraction]:
    """All samples of an audio stream, its first channel, and the second at which the first of them is heard."""
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=stream))
    channels = [frame.layout.nb_channels if not frame.format.is_planar else 1 for frame in frames]
    parts = [frame.to_ndarray()[0, ::step] for frame, step in zip(frames, channels, strict=True)]
    return np.concatenate(parts), frames[0].pts * frames[0].time_base


def sound_packets(path: Path, stream: int = 0) -> list[bytes]:
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(file.streams.audio[stream]) if packet.size]


def lag(one: NDArray[Any], other: NDArray[Any], reach: int = 20) -> int:
    """How many samples later ``one`` is than ``other``, the same sound: the shift with the least difference."""
    size = min(one.size, other.size) - 2 * reach
    middle = one[reach : reach + size].astype(float)
    apart = [np.abs(middle - other[reach - by : reach - by + size]).mean() for by in range(-reach, reach + 1)]
    return int(np.argmin(apart)) - reach
