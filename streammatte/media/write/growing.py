"""Files of packets that are one picture each, written so that what is whole can be read at any moment.

FFmpeg's ``hybrid_fragmented`` makes a MOV whose every frame is a fragment, until closing it makes it an ordinary one,
with one index at its end. What was written before an interruption is the beginning of what an unbroken run writes.
Going on therefore means to write the same file again, over itself: the same calls, with packets read from the file
in place of the encoder's. At any moment the file holds no less than before.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import av

from streammatte.errors import InputError
from streammatte.media.boxes import boxes
from streammatte.media.containers import open_container
from streammatte.media.write.part import Part, write_at_once

RECOVERABLE = {
    "mov": {"movflags": "+hybrid_fragmented+frag_keyframe"},
    "matroska": {"cluster_time_limit": "1", "fflags": "+bitexact"},  # which draws no random numbers for its streams
}
"""By container: what the muxer is asked, so that each frame reaches the file by itself, and files are alike."""

_HEAD = "head"  # of a MOV: what closing it writes over


class GrowingFile:
    """A file that is written, or written over, from its beginning.

    Attributes:
        file: For libav. It has no method in Python, in which a signal would be handled, and its exception lost.
    """

    def __init__(self, path: Path) -> None:
        path.touch()
        self.file = path.open("r+b")
        self._path = path
        self._has_head = False

    def save_head(self) -> None:
        """Put aside what closing the file will write over, once it is there; a file without such a thing has none.

        Raises:
            OSError: The disk refused.
        """
        self.file.flush()
        if self._has_head:
            return
        with self._path.open("rb") as file:
            for box in boxes(file):
                if box.kind == b"moov":
                    file.seek(0)
                    write_at_once(self._path.with_name(_HEAD), file.read(box.end))
                    self._has_head = True
                    return

    def let_go(self) -> None:
        """Write nothing any more: libav ends a file that is closed, which costs what is whole if the disk is full."""
        with contextlib.suppress(OSError):
            self.file.flush()
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, self.file.fileno(), inheritable=False)
        os.close(nowhere)

    def close(self) -> None:
        """Close it.

        Raises:
            OSError: The disk refused.
        """
        self.file.close()


def whole_frames(path: Path, part: Part) -> int:
    """How many of the frames that an earlier run wrote are there from the first on, each bit for bit."""
    head = path.with_name(_HEAD)
    if head.exists():
        with path.open("r+b") as file:
            file.write(head.read_bytes())
    return sum(1 for _ in packets_in(path, part))


def packets_in(path: Path, part: Part) -> Iterator[bytes]:
    """The frames' packets, up to the first that is not as it was written."""
    if not part.before or not path.exists():
        return
    try:
        container = open_container(str(path))
    except InputError:
        return
    index = 0
    with container:
        if not container.streams.video:
            return
        try:
            for packet in container.demux(container.streams.video[0]):
                data = bytes(packet)
                if not data or not part.matches(index, data):
                    return
                yield data
                index += 1
        except av.FFmpegError:
            return


def whole_until(path: Path) -> int | None:
    """Bytes of a MOV or MP4 in fragments up to the end of the last one that is whole; ``None`` of what is none."""
    with path.open("rb") as file:
        return max((box.end for box in boxes(file) if box.kind == b"mdat"), default=None)


def fragments_in(path: Path) -> int:
    """How many frames a file that was let go of holds; without reading them, and without a check."""
    with path.open("rb") as file:
        count = sum(box.kind == b"mdat" for box in boxes(file))
    if count:
        return count
    try:
        with open_container(str(path)) as container:
            return sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))
    except (InputError, av.FFmpegError):
        return 0
