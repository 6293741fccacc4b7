"""Decoding streams that lose packets: what is damaged, or rests on what is, is never given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av

from streammatte.errors import NoVideoStream
from streammatte.media.read.choosing import picture_of

# Containers whose demuxers mark damaged packets. They often have open groups of pictures, of which a strict H.264
# decoder that joins midway takes none.
_MARKED = ("mpegts", "hls")
_DOUBTFUL = 2  # packets after a marked one: FFmpeg's parsers put the mark up to two packets early


class WholePictures:
    """Decodes a container's pictures.

    Args:
        container: As opened.
        name: Its name in messages.
        mapped: Raw pictures lie in a device's own memory.

    Attributes:
        stream: The video stream.
        damaged: Packets and pictures that were not whole, so far.
        broken: The last one was not, and nothing is given before a whole keyframe.

    Raises:
        NoVideoStream: It has no video.
    """

    def __init__(self, container: av.container.InputContainer, name: str, *, mapped: bool) -> None:
        stream = picture_of(container)
        if stream is None:
            raise NoVideoStream(f"{name} has no video", hint="give a camera, or a stream with pictures")
        self.stream = stream
        self.damaged = 0
        self.broken = False
        self._container, self._context = container, stream.codec_context
        self._copies = mapped and self._context.name == "rawvideo"
        self._context.thread_type = "SLICE"  # frame threads would each hold a picture back
        if not container.format.name.startswith(_MARKED) and not self._context.codec.intra_only:
            # A decoder that conceals what is missing gives pieces of other pictures. A picture that stands alone misses
            # no more than it says, and many a webcam's JPEG is not quite valid.
            self._context.options = {"err_detect": "crccheck+explode"}

    def __iter__(self) -> Iterator[av.VideoFrame]:
        doubtful = 0
        begins = True  # so far, there is nothing but a keyframe of what is shown after it
        begun_at: int | None = None  # its pts
        for packet in self._container.demux(self.stream):
            if packet.is_corrupt:
                self._break()
                begins, begun_at, doubtful = True, None, _DOUBTFUL
                continue
            doubtful -= 1
            if doubtful >= 0 or (self.broken and not packet.is_keyframe):
                continue
            if begins and packet.is_keyframe:
                begun_at = packet.pts
            elif begins and begun_at is not None and packet.pts is not None:
                if packet.pts < begun_at:
                    continue  # it belongs to an open group of pictures, and builds on what came before it
                begins = False
            decoded = self._decoded(packet)
            if decoded is None:
                self._break()
                begins, begun_at = True, None
                continue
            self.broken = False
            yield from decoded

    def _decoded(self, packet: av.Packet[Any]) -> list[av.VideoFrame] | None:
        """A packet's pictures; ``None`` if one of them is damaged."""
        if self._copies and packet.size:
            # The device's memory vanishes with it: a picture still in use would take the process down.
            copy: av.Packet[Any] = av.Packet(bytes(packet))
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            packet = copy
        try:
            decoded = self._context.decode(packet)
        except av.FFmpegError:
            return None
        return None if any(frame.is_corrupt for frame in decoded) else decoded

    def _break(self) -> None:
        """Count the damage, and forget what the next pictures would build on."""
        self.damaged += 1
        if not self._context.codec.intra_only:
            self.broken = True
            self._context.flush_buffers()
