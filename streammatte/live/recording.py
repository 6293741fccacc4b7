"""Recording to a file that is playable at any moment, so that it survives a kill or a full disk."""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import Self

import av
import numpy as np
import torch

from streammatte.color.codes import RGB_MATRIX
from streammatte.errors import InputError, UnsupportedOutput, WriteFailed
from streammatte.frame import UNSPECIFIED, Cutout, Frame, StreamInfo
from streammatte.live.contracts import Shown
from streammatte.live.stream_out import CLOCK
from streammatte.media.boxes import boxes
from streammatte.media.containers import open_container
from streammatte.media.write.composing import Contents
from streammatte.media.write.encoding import Encoding, encoding_for
from streammatte.media.write.output import check_target, through_links
from streammatte.media.write.video_writer import VideoWriter

_HEAD = 1 << 16  # bytes at a file's beginning that a muxer may overwrite when it ends it
_SUFFIXES = (".mp4", ".webm", ".mov", ".mkv")

# As fast as the encoders go, since they share the machine with the network.
_FAST: dict[str, dict[str, str]] = {
    "libx264": {"crf": "20", "preset": "superfast", "tune": "zerolatency", "threads": "1", "g": "30"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "30"},
}
# Muxers' options by container, so that a file without an end plays.
_UNBROKEN = {
    # An edit list would hide the whole first fragment of a file without an end.
    "mp4": {
        "movflags": "+hybrid_fragmented+frag_keyframe",
        "frag_duration": "500000",
        "use_editlist": "0",
        "flush_packets": "1",
    },
    "mov": {"movflags": "+hybrid_fragmented+frag_keyframe", "use_editlist": "0", "flush_packets": "1"},
    "matroska": {"cluster_time_limit": "1", "flush_packets": "1"},
    "webm": {"cluster_time_limit": "1000", "flush_packets": "1"},
}


class Recording:
    """A file of pictures, each at the time it came. An output of a run.

    Formats are those of :func:`~streammatte.media.open_writer`, with the encoders at their fastest. The file grows in a
    hidden folder, ``.name.part``, and gets its name at the end. What a killed run left there, or what was written
    before the disk was full, is kept as ``name.rescued.mp4``. Leaving it with an exception that is not its own leaves
    nothing.

    Args:
        path: ``.mov``, ``.webm``, ``.mkv`` or ``.mp4``.
        alpha: Pictures have four channels, with straight colours.

    Attributes:
        note: What was rescued of an earlier run; known once it is entered.

    Raises:
        UnsupportedOutput: That suffix cannot be written, or not with alpha.
        WriteFailed: It cannot be created.
    """

    def __init__(self, path: Path, info: StreamInfo, *, alpha: bool, overwrite: bool) -> None:
        # Pictures are 8-bit RGB whatever the camera has, and are kept as Y'CbCr of its matrix.
        matrix = UNSPECIFIED if info.color.matrix == RGB_MATRIX else info.color.matrix
        info = replace(info, color=replace(info.color, matrix=matrix, bit_depth=8))
        encoding = recording_encoding(path, info, alpha=alpha)
        self.path = through_links(path)
        check_target(self.path, overwrite=overwrite)
        self.note: str | None = None
        self._alpha = alpha
        self._begin: float | None = None
        self._failed = False
        self._count = 0
        self._head, self._length = b"", 0
        self._rescued: Path | None = None
        self._writer = VideoWriter(
            self.path,
            replace(info, time_base=CLOCK, span=None, timecode=None),
            encoding,
            _contents(alpha=alpha),
            overwrite=overwrite,
        )
        self._growing = self._writer.temporary

    @property
    def description(self) -> str:
        return f"{self.path}, {self._writer.description}"

    def __enter__(self) -> Self:
        self._writer.part.claim()
        if _has_pictures(self._growing) and (rescued := self._put_aside()) is not None:
            self.note = f"an earlier recording was interrupted; it is now {rescued}"
        self._writer.__enter__()
        return self

    def show(self, shown: Shown) -> None:
        """Append a picture; the first one is at time 0 of the file.

        Raises:
            WriteFailed: The disk or the encoder refused.
        """
        self._begin = shown.at if self._begin is None else self._begin
        colors = torch.from_numpy(np.ascontiguousarray(shown.rgb[..., :3])).permute(2, 0, 1)
        frame = Frame(colors, round((shown.at - self._begin) / CLOCK), self._count)
        opacity = torch.ones(colors.shape[1:])
        if self._alpha:
            opacity = torch.from_numpy(shown.rgb[..., 3].astype(np.float32) / 255)
        try:
            self._writer.write(Cutout(frame, opacity))
        except WriteFailed as exc:
            self._failed = True
            raise self._cut_short(exc) from exc
        except BaseException:
            self._failed = True
            raise
        self._count += 1

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        if self._failed or kind is not None or not self._count:
            self._discard()
            return
        self._head = _head_of(self._growing)  # before the muxer completes what may not be completed
        try:
            self._writer.finish()
        except WriteFailed as failure:
            told = self._cut_short(failure)
            self._discard()
            raise told from failure
        self._writer.__exit__(None, None, None)

    def _cut_short(self, exc: WriteFailed) -> WriteFailed:
        """The same error; its hint says where the recording so far is."""
        self._head = self._head or _head_of(self._growing)
        self._length = self._growing.stat().st_size if self._growing.exists() else 0
        if not _has_pictures(self._growing) or (rescued := self._put_aside()) is None:
            return exc
        self._rescued = rescued
        return WriteFailed(str(exc), hint=f"{exc.hint}; the recording so far is {rescued}")

    def _discard(self) -> None:
        self._writer.__exit__(RuntimeError, None, None)
        if self._rescued is not None:
            # Muxers overwrite a file's beginning when they end it, even if its end found no room.
            with contextlib.suppress(OSError), self._rescued.open("r+b") as file:
                file.write(self._head)
                file.flush()
                file.truncate(self._length)
                if (end := _whole_until(self._rescued)) is not None:
                    file.truncate(end)

    def _put_aside(self) -> Path | None:
        """Give what was recorded its own name; ``None`` if the system refuses."""
        for number in itertools.count(1):
            ending = "" if number == 1 else f"-{number}"
            aside = self.path.with_name(f"{self.path.stem}.rescued{ending}{self.path.suffix}")
            if not os.path.lexists(aside):
                break
        try:
            aside.hardlink_to(self._growing)
        except OSError:  # FAT and some network folders have no hard links
            try:
                self._growing.rename(aside)
            except OSError:  # on Windows, a file that is open
                return None
        return aside


def recording_encoding(path: Path, info: StreamInfo, *, alpha: bool) -> Encoding:
    """How a recording of that name is encoded.

    Raises:
        UnsupportedOutput: That suffix cannot be written as video, or not with alpha.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise UnsupportedOutput(
            f"unknown suffix: {path}", hint="--to takes .mp4 (H.264) or, with alpha, .webm (VP9), .mov (ProRes), .mkv"
        )
    if alpha and path.suffix.lower() == ".mp4":
        raise UnsupportedOutput(f"{path} cannot be transparent", hint="use another --bg, or .webm, .mov or .mkv")
    bits = 8 if path.suffix.lower() == ".mkv" else None
    encoding = encoding_for(path, info, _contents(alpha=alpha), bits=bits)
    options = encoding.options | _FAST.get(encoding.codec, {})
    return replace(encoding, options=options, container_options=_UNBROKEN[encoding.container])


def _contents(*, alpha: bool) -> Contents:
    return Contents("plate" if alpha else "foreground", composite=not alpha)


def _has_pictures(path: Path) -> bool:
    try:
        with open_container(str(path)) as container:
            return any(packet.size for packet in container.demux(container.streams.video[0]))
    except (InputError, av.FFmpegError, OSError, IndexError):
        return False


def _head_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def _whole_until(path: Path) -> int | None:
    """Bytes of a fragmented MOV or MP4 up to the end of its last whole fragment; ``None`` for any other file."""
    with path.open("rb") as file:
        return max((box.end for box in boxes(file) if box.kind == b"mdat"), default=None)
