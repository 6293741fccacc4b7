"""Encoded packets of a part of a clip, kept in a file until the parts are joined."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import av

from streammatte.errors import WriteFailed


class Times(NamedTuple):
    """A packet without its data; times are in units of the encoder's clock."""

    pts: int
    dts: int
    duration: int
    keyframe: bool
    size: int


class PacketFile:
    """Takes packets in the order of their encoder. Their times are written beside the file.

    Args:
        path: Where the data goes, one packet after the other; ``None`` if a container holds it, as that of VP9's alpha,
            which PyAV can only copy from packet to packet.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: BinaryIO | None = None if path is None else path.open("wb")
        self._times: list[Times] = []

    def add(self, packet: av.Packet[Any]) -> None:
        """Append a packet."""
        pts = packet.pts or 0
        dts = pts if packet.dts is None else packet.dts
        size, keyframe = packet.size, packet.is_keyframe
        self._times.append(Times(pts, dts, packet.duration or 0, keyframe, size))
        if self._file is not None:
            self._file.write(bytes(packet))

    def finish(self, path: Path) -> None:
        """Write the times of what will be at ``path``, and close."""
        self.close()
        times_of(path).write_text(json.dumps(self._times))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def times_of(path: Path) -> Path:
    """Where the times of a packet file are."""
    return path.with_name(f"{path.name}.times")


def packets_in(path: Path, clock: Fraction, *, contained: bool) -> Iterator[av.Packet[Any]]:
    """The packets of a file, with their own times.

    Args:
        clock: Their encoder's time base.
        contained: A container holds them.

    Raises:
        WriteFailed: Packets are missing.
    """
    times = [Times(*each) for each in json.loads(times_of(path).read_text())]
    payload = _contained(path) if contained else _plain(path, times)
    count = 0
    for packet, time in zip(payload, times, strict=False):
        if packet.size != time.size:
            break
        packet.pts, packet.dts, packet.duration, packet.time_base = time.pts, time.dts, time.duration, clock
        packet.is_keyframe = time.keyframe
        count += 1
        yield packet
    if count != len(times):
        raise WriteFailed(f"{path} is damaged", hint=f"delete {path.parent}, and run the command again")


def _plain(path: Path, times: Sequence[Times]) -> Iterator[av.Packet[Any]]:
    with path.open("rb") as file:
        for time in times:
            yield av.Packet(file.read(time.size))


def _contained(path: Path) -> Iterator[av.Packet[Any]]:
    with av.open(f"file:{path}") as container:
        for packet in container.demux(video=0):
            if packet.size:
                yield packet


class Restamped:
    """Times of packets from several encoders, as one encoder would have given them.

    Every part begins with a keyframe that nothing before it depends on. Where frames are reordered, a packet's dts is
    the pts of the frame shown as many frames earlier as the encoder holds back.
    """

    def __init__(self) -> None:
        self._delay: int | None = None
        self._shown: list[int] = []  # pts in the order of presentation, from the oldest that a dts will be
        self._last = -1

    def __call__(self, path: Path, packets: Iterator[av.Packet[Any]]) -> Iterator[av.Packet[Any]]:
        """The packets of the next part."""
        times = [Times(*each) for each in json.loads(times_of(path).read_text())]
        first = self._delay is None
        if self._delay is None:
            self._delay = sum(time.dts < min(each.pts for each in times) for time in times)
        if not self._delay:
            yield from self._in_order(packets)
            return
        self._shown += sorted(time.pts for time in times)
        for place, packet in enumerate(packets):
            if not first or place >= self._delay:
                packet.dts = self._shown.pop(0)
            yield packet

    def _in_order(self, packets: Iterator[av.Packet[Any]]) -> Iterator[av.Packet[Any]]:
        """Where times were rounded, a frame may fall on the one before, in another part."""
        for packet in packets:
            assert packet.pts is not None
            self._last = max(packet.pts, self._last + 1)
            packet.pts = packet.dts = self._last
            yield packet
