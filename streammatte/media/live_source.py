"""Cameras, streams, and files or patterns played in real time: frames as they come, without delay."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType
from typing import Self

import av
import torch

from streammatte.errors import SourceNotFound
from streammatte.frame import Frame, StreamInfo
from streammatte.media.color import RgbReader, color_of


class LiveSource:
    """Frames at the pace they happen; what is not real time by itself is played so.

    Args:
        spec: ``lavfi:PATTERN``, a file, an address, or a device.
    """

    lost = None

    def __init__(self, spec: str, *, size: tuple[int, int] | None = None, rate: Fraction | None = None) -> None:
        self._paced = True
        try:
            if spec.startswith("lavfi:"):
                self._container = av.open(spec.removeprefix("lavfi:"), format="lavfi")
            else:
                self._container = av.open(spec)
        except (av.FFmpegError, OSError) as exc:
            raise SourceNotFound(f"{spec} cannot be opened: {exc}", hint="--list-cameras lists what is here") from exc
        self._stream = self._container.streams.video[0]
        self._frames = self._container.decode(self._stream)
        self._first = next(self._frames)
        rate = self._stream.average_rate or Fraction(30)
        self._info = StreamInfo(
            self._first.width, self._first.height, self._stream.time_base or 1 / rate, rate, None, color_of(self._first)
        )

    @property
    def info(self) -> StreamInfo:
        return self._info

    def __iter__(self) -> Iterator[Frame]:
        to_rgb = RgbReader(self._info.width, self._info.height, codec=self._stream.codec_context.name)
        begin, origin = time.monotonic(), self._first.pts or 0
        decoded = self._first
        index = 0
        while True:
            pts = decoded.pts or 0
            if self._paced:
                time.sleep(max(0.0, begin + float((pts - origin) * self._info.time_base) - time.monotonic()))
            rgb, samples = to_rgb.read(decoded)
            yield Frame(torch.from_numpy(rgb).permute(2, 0, 1), pts, index, samples=samples)
            index += 1
            try:
                decoded = next(self._frames)
            except StopIteration:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()
