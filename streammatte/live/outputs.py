"""Where a live picture goes."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from streammatte.frame import StreamInfo
from streammatte.live.contracts import Output, Shown


class StreamOutput:
    """An address or a file, by FFmpeg."""

    def __init__(self, target: str, info: StreamInfo) -> None:
        from streammatte.media.live_sink import LiveSink

        self._sink = LiveSink(target, info)
        self.description = target

    def show(self, shown: Shown) -> None:
        self._sink.write(shown.rgb, shown.at)

    def __enter__(self) -> Self:
        self._sink.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sink.close()


def open_output(target: str, info: StreamInfo) -> Output:
    """What ``--to`` names."""
    return StreamOutput(target, info)
