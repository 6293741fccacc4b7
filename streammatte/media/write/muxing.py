"""Packets on their way into a file, held until its picture has come as far."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

# Of languages with two codes, ISO 639-2 names one for bibliographies, which MOV's own table and Matroska have.
_BIBLIOGRAPHIC = {
    **{"deu": "ger", "fra": "fre", "nld": "dut", "ces": "cze", "ell": "gre", "isl": "ice", "ron": "rum"},
    **{"slk": "slo", "sqi": "alb", "zho": "chi", "fas": "per", "hye": "arm", "eus": "baq", "mya": "bur"},
}
_OF_MOV = {"fre": "fra", "rum": "ron", "slo": "slk"}  # its table is not consistent


class Lane:
    """Muxes the packets of one stream, in step with the picture so that memory stays constant.

    Args:
        packets: At their times in the output, their stream set; read as they are needed.

    Attributes:
        refused: How many the muxer could not take, because they are damaged.
    """

    def __init__(self, packets: Iterator[av.Packet[Any]], out: av.container.OutputContainer) -> None:
        self._packets = packets
        self._out = out
        self._waiting: av.Packet[Any] | None = None
        self.refused = 0

    def advance(self, until: Fraction) -> None:
        """Mux what begins before ``until``, in seconds of the output."""
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = packet
            if packet is None or _starts(packet) > until:
                return
            self._waiting = None
            self._mux(packet)

    def finish(self) -> None:
        """Mux the rest."""
        if self._waiting is not None:
            self._mux(self._waiting)
            self._waiting = None
        for packet in self._packets:
            self._mux(packet)

    def _mux(self, packet: av.Packet[Any]) -> None:
        try:
            self._out.mux(packet)
        except (av.InvalidDataError, av.ArgumentError):
            # Its header, such as AAC's in transport streams, or its time is damaged.
            self.refused += 1


def carry_tags(source: av.stream.Stream, target: av.stream.Stream, container: str) -> None:
    """Copy language, title and disposition, as far as the container has them."""
    language = source.metadata.get("language")
    if language:
        language = _BIBLIOGRAPHIC.get(language, language)
        target.metadata["language"] = _OF_MOV.get(language, language) if container == "mov" else language
    title = source.metadata.get("title") or source.metadata.get("name")  # MOV's word for it
    if title:
        target.metadata["title"] = title
    target.disposition = source.disposition


def _starts(packet: av.Packet[Any]) -> Fraction:
    stamp = packet.dts if packet.dts is not None else packet.pts or 0
    return stamp * packet.time_base
