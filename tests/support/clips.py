"""Small generated clips, each with one trait of real footage."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

RATE = Fraction(25)
TIME_BASE = Fraction(1, 12800)
FRAMES = 12
SIZE = (64, 48)


def picture(index: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: a ramp, and a grey patch in the upper left whose level, 30 + 15 · index, tells the frame."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([40 + 150 * x // width, 40 + 150 * y // height, np.full_like(x, 90)], axis=-1)
    rgb[: height // 3, : width // 3] = 30 + 15 * index
    return rgb.astype(np.uint8)


def index_of(rgb: NDArray[np.uint8] | NDArray[np.uint16]) -> int:
    """Which :func:`picture` it is, from the middle of its patch; (H, W, 3)."""
    peak = np.iinfo(rgb.dtype).max
    height, width = rgb.shape[:2]
    level = rgb[height // 12 : height // 5, width // 12 : width // 5].mean() * 255 / peak
    return round((level - 30) / 15)


def even_pts(frames: int = FRAMES, first: int = 0) -> list[int]:
    """At 25 frames a second in :data:`TIME_BASE`."""
    return [first + 512 * index for index in range(frames)]


VARIABLE_PTS = [0, 512, 1024, 1791, 2303, 4000, 4512, 9000, 9100, 9612, 12000, 12512]


def write_clip(
    path: Path,
    *,
    size: tuple[int, int] = SIZE,
    pts: Sequence[int] | None = None,
    time_base: Fraction = TIME_BASE,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    matrix: int = 6,
    rotation: int = 0,
    audio: str | None = None,
    audio_start: float = 0,
    audio_seconds: float | None = None,
    layout: str = "stereo",
    b_frames: int = 2,
    pictures: Sequence[NDArray[np.uint8]] | None = None,
) -> Path:
    """Encode one :func:`picture`, or one of these, for each of ``pts``, with a tone if ``audio`` names a codec."""
    pts = even_pts() if pts is None else pts
    with av.open(str(path), "w", container_options=container_options or {}) as out:
        video = out.add_stream(codec, rate=RATE, options=options or {})
        assert isinstance(video, av.VideoStream)
        video.width, video.height = size
        video.pix_fmt = pixels
        video.time_base = video.codec_context.time_base = time_base
        video.codec_context.colorspace = matrix
        video.codec_context.color_range = 1
        video.codec_context.gop_size = 6
        if codec == "libx264":
            video.codec_context.max_b_frames = b_frames
        if rotation:
            video.set_display_rotation(rotation)
        sound = out.add_stream(audio, rate=48000, layout=layout) if audio else None
        out.start_encoding()
        for index, stamp in enumerate(pts):
            rgb = picture(index, size) if pictures is None else pictures[index]
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
                format=pixels, dst_colorspace=matrix, dst_color_range=1
            )
            frame.pts = stamp
            frame.time_base = time_base
            frame.duration = round(1 / (RATE * time_base))
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if sound is not None:
            assert isinstance(sound, av.AudioStream)
            seconds = audio_seconds or float((pts[-1] - pts[0]) * time_base + 1 / RATE)
            for frame in tone(seconds, sound, start=audio_start):
                out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
    return path


def tone(seconds: float, stream: av.AudioStream, *, start: float = 0) -> list[av.AudioFrame]:
    """A 440 Hz tone in the stream's own sample format."""
    rate = stream.rate
    count = round(seconds * rate)
    wave = (0.3 * np.sin(2 * np.pi * 440 * np.arange(count) / rate)).astype(np.float32)
    resampler = av.AudioResampler(
        stream.format, stream.layout, rate, frame_size=stream.codec_context.frame_size or 1024
    )
    frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
    frame.sample_rate = rate
    frame.time_base = Fraction(1, rate)
    frame.pts = round(start * rate)
    return [*resampler.resample(frame), *resampler.resample(None)]


def write_sound(path: Path) -> Path:
    """A file of sound alone."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=48000, layout="stereo")
        assert isinstance(stream, av.AudioStream)
        out.start_encoding()
        for frame in tone(0.5, stream):
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def write_flat(
    path: Path, planes: Sequence[int], *, size: tuple[int, int], pixels: str, matrix: int, full_range: bool
) -> Path:
    """One frame of one Y'CbCr colour, losslessly (FFV1), with the given tags."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=RATE)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full_range else 1
        frame = av.VideoFrame(*size, pixels)
        for plane, value in zip(frame.planes, planes, strict=True):
            dtype = np.dtype("u1" if frame.format.components[0].bits == 8 else "<u2")
            np.frombuffer(plane, dtype)[:] = value
        frame.colorspace = matrix
        frame.color_range = 2 if full_range else 1
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def write_grey(path: Path, levels: list[int], *, rate: int = 25, size: tuple[int, int] = SIZE) -> Path:
    """A lossless clip of flat mattes, or numbered pictures from 1."""
    pictures = [np.full((size[1], size[0]), level, np.uint8) for level in levels]
    if "##" in path.name:
        for number, picture in enumerate(pictures, 1):
            cv2.imwrite(str(path).replace("####", f"{number:04d}"), picture)
        return path
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, "gray"
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "gray")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def cut(path: Path, to: Path, *, keep: float = 0.5) -> Path:
    """The first part of a file, as an interrupted download leaves it."""
    data = path.read_bytes()
    to.write_bytes(data[: int(len(data) * keep)])
    return to


def blank_packets(path: Path, to: Path, which: range, *, kind: str = "video", skip: int = 8) -> Path:
    """Copy a file and zero these packets of its first stream of a kind, but for their first bytes."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as file:
        stream = file.streams.video[0] if kind == "video" else file.streams.audio[0]
        places = [(packet.pos, packet.size) for packet in file.demux(stream) if packet.size]
    for index in which:
        start, size = places[index]
        data[start + skip : start + size] = bytes(size - skip)
    to.write_bytes(data)
    return to


def remux(
    path: Path, to: Path, *, delay: float = 0, first: str | None = None, options: dict[str, str] | None = None
) -> Path:
    """The same packets in another file, all later by ``delay`` seconds, or ``first`` those of one kind of stream."""
    settings = {"max_interleave_delta": "1", **(options or {})} if first else options
    with av.open(str(path)) as file, av.open(str(to), "w", container_options=settings or {}) as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in file.streams}
        packets = [packet for packet in file.demux() if packet.size]
        if first:
            packets.sort(key=lambda packet: packet.stream.type != first)
        for packet in packets:
            assert packet.pts is not None and packet.dts is not None
            ticks = round(delay / packet.time_base)
            packet.pts += ticks
            packet.dts += ticks
            packet.stream = streams[packet.stream_index]
            out.mux(packet)
    return to


def end_to_end(first: Path, second: Path, to: Path) -> Path:
    """Two transport streams in one file, so that the clock jumps back where they meet."""
    to.write_bytes(first.read_bytes() + second.read_bytes())
    return to
