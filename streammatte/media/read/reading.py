"""One pass over the frames of a media file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import av
import torch

from streammatte.color.ycbcr import RgbReader
from streammatte.errors import DecodeFailed
from streammatte.frame import Frame, StreamInfo
from streammatte.media.addresses import without_secrets
from streammatte.media.read.damage import LONGEST_GAP
from streammatte.media.read.decoding import Decoding
from streammatte.media.read.deinterlace import Interlaced, deinterlaced
from streammatte.media.read.orientation import Orientation
from streammatte.media.read.second_opinion import OneColour
from streammatte.media.read.span import Span


@dataclass(frozen=True, slots=True)
class Manner:
    """How a file's frames are read, the same in every pass; ``upright`` turns them, ``span`` is the part to read, and
    ``on_gpu`` where they are decoded."""

    url: str
    info: StreamInfo
    upright: Orientation
    strict: bool
    interlaced: Interlaced
    span: Span | None = None
    on_gpu: bool = False


class Reading:
    """One pass over an open file, which is closed at its end.

    Attributes:
        begun: Set by whoever starts to read.
        lost: One line on what could not be decoded, once the frames have run out.
    """

    def __init__(self, decoding: Decoding, manner: Manner, early: Iterable[av.VideoFrame] = ()) -> None:
        self.begun = False
        self.lost: str | None = None
        self._decoding = decoding
        self._manner = manner
        self._early = list(early)
        self._one_colour = OneColour()
        self._doubt: str | None = None
        self._scaled = 0
        self._interlaced = 0
        self._first_interlaced = 0

    @property
    def closed(self) -> bool:
        return self._decoding.closed

    def stop(self) -> None:
        """Stop waiting for a pipe; from any thread."""
        self._decoding.stop()

    def close(self) -> None:
        """Release the file."""
        self._early.clear()
        self._decoding.close()

    def notes(self) -> Iterator[str]:
        """What users should know, a line each; complete once the frames have run out."""
        if self._doubt is not None:
            yield self._doubt
        if self._scaled:
            yield f"{_frames(self._scaled)} of a different size, scaled to fit"
        if self._interlaced:
            done = "deinterlaced" if self._manner.interlaced == "deinterlace" else "taken as they are"
            seconds = float(self._first_interlaced * self._manner.info.time_base)
            yield f"{_frames(self._interlaced)} interlaced, the first at {seconds:.2f} s: {done}"

    def pictures(self) -> Iterator[tuple[Frame, av.VideoFrame]]:
        """Every frame in the span, and what it was decoded from."""
        manner, span = self._manner, self._manner.span
        width, height = manner.info.width, manner.info.height
        size = (height, width) if manner.upright.transposed else (width, height)
        to_rgb = RgbReader(*size, codec=self._decoding.stream.codec_context.name)
        index = first = 0 if span is None else span.first
        try:
            for decoded, pts, duration in self.timed():
                if span is not None and pts < span.begin:
                    continue
                if span is not None and pts > span.last:
                    break
                self._scaled += (decoded.width, decoded.height) != size
                rgb, samples = to_rgb.read(decoded)
                if samples and manner.upright.says:
                    samples = replace(samples, upright=manner.upright)
                self._one_colour.look(rgb)
                picture = torch.from_numpy(manner.upright(rgb)).permute(2, 0, 1)
                yield Frame(picture, pts, index, duration=duration, samples=samples), decoded
                index += 1
                if span is not None and pts == span.last:
                    break
            self._account(index - first)
        finally:
            self.close()

    def timed(self) -> Iterator[tuple[av.VideoFrame, int, int]]:
        """Every frame, its pts, and how long it is shown: until the next one."""
        info = self._manner.info
        frames: Iterator[av.VideoFrame] = self._counted(chain(self._taken(), self._decoding.frames))
        if self._manner.interlaced == "deinterlace":
            frames = deinterlaced(frames, info.time_base)
        held: tuple[av.VideoFrame, int] | None = None
        for decoded in frames:
            pts = presentation_time(decoded, None if held is None else held[1], info)
            if held is not None:
                yield *held, pts - held[1]
            held = decoded, pts
        if held is not None:
            yield *held, held[0].duration or _usual_duration(info)

    def _taken(self) -> Iterator[av.VideoFrame]:
        while self._early:  # each is let go as it is taken
            yield self._early.pop(0)

    def _counted(self, frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """The frames; interlaced ones are counted."""
        span = self._manner.span
        for frame in frames:
            if frame.interlaced_frame and (span is None or span.begin <= (frame.pts or 0) <= span.last):
                if not self._interlaced:
                    self._first_interlaced = frame.pts or 0
                self._interlaced += 1
            yield frame

    def _account(self, delivered: int) -> None:
        self._doubt = self._one_colour.told(self._decoding.bytes_read)
        self._decoding.ledger.refuse_a_change()
        _, end = self._decoding.stated_span()
        self.lost = self._decoding.ledger.account(delivered, self._manner.info.frame_rate, end)
        if self.lost and self._manner.strict:
            raise DecodeFailed(
                f"{without_secrets(self._manner.url)}: {self.lost}",
                hint="leave out --strict to get what can be decoded",
            )


def presentation_time(frame: av.VideoFrame, previous: int | None, info: StreamInfo) -> int:
    """The frame's pts, or the next one due if it has none, or one that runs backwards or far ahead."""
    for stamp in (frame.pts, frame.dts):
        if stamp is None:
            continue
        if previous is None or 0 < stamp - previous <= LONGEST_GAP / info.time_base:
            return stamp
    if previous is None:
        return 0
    return previous + (frame.duration or _usual_duration(info))


def _usual_duration(info: StreamInfo) -> int:
    return max(1, round(1 / (info.frame_rate * info.time_base)))


def _frames(count: int) -> str:
    return "1 frame is" if count == 1 else f"{count} frames are"
