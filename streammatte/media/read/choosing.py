"""Which of a file's streams is the picture, and what is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import av
from av.stream import Disposition

from streammatte.media.boxes import handlers_of_tracks
from streammatte.media.remote import RemoteFile

# Covers, thumbnails for a timeline, and layers that mean nothing on their own.
_NOT_FOOTAGE = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.dependent
_AUXILIARY = re.compile(r"\b(alpha|depth|disparity|auxiliary|matte|preview|thumbnails?|proxy)\b", re.IGNORECASE)
_PREVIEW = 4  # times its area is the smallest size of the track that it previews


def is_attached(stream: av.VideoStream) -> bool:
    """Whether it is a cover picture."""
    return bool(stream.disposition & Disposition.attached_pic)


def picture_of(container: av.container.InputContainer) -> av.VideoStream | None:
    """The main video stream: FFmpeg's choice among those that are footage and not previews of it.

    FFmpeg does not tell a MOV's alpha and depth tracks from its pictures, and may prefer a preview.
    """
    videos = _footage(container)
    if len(videos) > 1:
        auxiliary = _auxiliary(container)
        videos = [each for each in videos if each.index not in auxiliary] or videos
    readable = [each for each in videos if each.codec_context is not None]
    if not readable:
        return videos[0] if videos else None
    several = [each for each in readable if each.frames != 1] or readable  # a still is not the clip it was taken from
    largest = max(_area(each) for each in several)
    large = [each for each in several if _PREVIEW * _area(each) > largest] or several
    best = container.streams.best("video")
    return next((each for each in large if each is best), max(large, key=_area))


def choice_told(container: av.container.InputContainer, taken: av.VideoStream) -> str | None:
    """One line on which of several video streams is read; ``None`` if there is only one."""
    videos = _footage(container)
    if len(videos) < 2:
        return None
    auxiliary = _auxiliary(container)
    others = ", ".join(
        f"{each.index} ({_size(each)}{', alpha or depth' if each.index in auxiliary else ''})"
        for each in videos
        if each is not taken
    )
    return f"reading video stream {taken.index} ({_size(taken)}), one of {len(videos)}; left out: {others}"


def left_out(container: av.container.InputContainer, *, timecode: bool) -> str | None:
    """One line on what no output carries over; ``timecode``: the file's own is known, so that its track is not lost."""
    said = []
    data = [each for each in container.streams.data if not (timecode and "timecode" in each.metadata)]
    if data:
        said.append(f"{_counted(len(data), 'data track')}{_names(each.metadata.get('handler_name') for each in data)}")
    files = container.streams.attachments
    if files:
        said.append(f"{_counted(len(files), 'attachment')}{_names(each.metadata.get('filename') for each in files)}")
    covers = sum(is_attached(each) for each in container.streams.video)
    if covers:
        said.append(_counted(covers, "cover picture"))
    return f"left out: {', '.join(said)}" if said else None


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"


def _names(names: Iterator[str | None]) -> str:
    """Those that have one, in brackets."""
    known = [name.strip() for name in names if name and name.strip()]
    return f" ({', '.join(known)})" if known else ""


def _footage(container: av.container.InputContainer) -> list[av.VideoStream]:
    return [each for each in container.streams.video if not each.disposition & _NOT_FOOTAGE]


def _area(stream: av.VideoStream) -> int:
    return stream.codec_context.width * stream.codec_context.height


def _size(stream: av.VideoStream) -> str:
    context = stream.codec_context
    return "unknown codec" if context is None else f"{context.width}×{context.height}"


def _auxiliary(container: av.container.InputContainer) -> set[int]:
    """Indices of video streams that are alpha, depth or a preview, judging by handler and name."""
    found = {
        each.index
        for each in container.streams.video
        if any(_AUXILIARY.search(each.metadata.get(tag, "")) for tag in ("handler_name", "title", "name"))
    }
    file: BinaryIO | None = None
    if container.format.name.startswith("mov"):
        remote = None if container.file is None else container.file.file
        with suppress(OSError):
            if isinstance(remote, RemoteFile):
                file = BufferedReader(remote.again())
            elif container.name.startswith("file:"):
                file = Path(container.name.removeprefix("file:")).open("rb")  # noqa: SIM115 - closed below
    if file is not None:
        with file, suppress(OSError):
            handlers = handlers_of_tracks(file)
            found |= {each.index for each in container.streams.video if handlers.get(each.id) == b"auxv"}
    return found
