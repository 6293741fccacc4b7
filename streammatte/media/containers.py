"""Opening media files for reading, and what their index says of them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import av

from streammatte.errors import DecodeFailed, SourceNotFound
from streammatte.media.addresses import PIPE, without_secrets

# Old cameras and other alphabets write tags that are not UTF-8, which decide nothing that the picture needs.
TAG_ERRORS = "replace"
_PATIENCE = 10.0, 30.0  # seconds for an address to answer, and for more of it to come
# What to try where something came through a pipe, and nothing of it can be opened, or decoded.
RAW_HINT = "wrap raw frames: ffmpeg -f rawvideo -pix_fmt … -s … -i … -f nut - | streammatte - …"
INDEX_HINT = "an .mp4 or .mov may have its index at the end, and needs a file then; or pipe NUT: ffmpeg -i … -f nut -"
# Demuxers that know every packet before the first is read.
_INDEX_THEIR_PACKETS = ("mov", "avi")


def open_container(url: str) -> av.container.InputContainer:
    """``av.open`` for reading, its errors translated.

    What has no ``://`` or is there under that name is a file, whatever colons it has: ``take:3.mov`` is not read by a
    protocol ``take``.

    Raises:
        SourceNotFound: There is no such file or address, or it may not be read.
        DecodeFailed: It is empty, or not a media file.
    """
    if not url:
        raise SourceNotFound("no file is named: the name is empty", hint="is a variable of the shell's not set?")
    shown = without_secrets(url)
    local = "://" not in url or os.path.exists(url)  # noqa: PTH110 - Path.exists raises on names that are too long
    try:
        if local and Path(url).is_dir():
            raise SourceNotFound(
                f"{url} is a folder", hint="give a file, or an image sequence such as folder/plate.####.png"
            )
        if local and Path(url).stat().st_size == 0:
            raise DecodeFailed(f"{url} is empty", hint="the recording or the download did not finish")
        # A file's own name is never a pattern here: numbered pictures are told before.
        options = {"pattern_type": "none"}
        if local:
            return av.open(f"file:{url}", options=options, metadata_errors=TAG_ERRORS)
        # Without this, nothing is read of what is sought in, from web servers that keep connections.
        options["multiple_requests"] = "1"
        return av.open(url, options=options, timeout=_PATIENCE, metadata_errors=TAG_ERRORS)
    except (FileNotFoundError, NotADirectoryError) as exc:
        hint = "check the path; names are case-sensitive"
        if "#" in Path(url).name:
            hint = "numbered pictures can be PNG, JPEG, TIFF, EXR, BMP or WebP"
        raise SourceNotFound(f"there is no file {shown}", hint=hint) from exc
    except PermissionError as exc:
        raise SourceNotFound(f"{shown} cannot be read: permission denied", hint="check the file's permissions") from exc
    except (av.InvalidDataError, av.error.EOFError) as exc:
        hint = _why_unreadable(Path(url)) if local else "is there a media file or stream at that address?"
        raise DecodeFailed(f"{shown} cannot be decoded", hint=hint) from exc
    except (av.FFmpegError, OSError, ValueError) as exc:
        if local and isinstance(exc, av.FFmpegError) and exc.errno == errno.EIO:  # a demuxer lost its way
            raise DecodeFailed(f"{shown} cannot be decoded", hint=_why_unreadable(Path(url))) from exc
        hint = "check the path" if local else "check the address, and that its server can be reached from here"
        if isinstance(exc, av.error.ProtocolNotFoundError):
            hint = "addresses begin with http://, https://, rtsp:// or another protocol that FFmpeg has"
        reason = getattr(exc, "strerror", None) or without_secrets(str(exc))
        if isinstance(exc, av.error.ExitError):
            reason = "nothing came in time"
        raise SourceNotFound(f"{shown} cannot be opened: {reason}", hint=hint) from exc


def size_of(url: str) -> int | None:
    """Bytes of a file; ``None`` of an address, of a pipe, and of what is not there."""
    if url == PIPE:
        return None
    try:
        return Path(url).stat().st_size
    except (OSError, ValueError):
        return None


def _why_unreadable(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] in (b"ftyp", b"mdat", b"moov"):
        return "its index (the moov atom) is missing, so the recording or download stopped early; fetch it again"
    if head[:4] in (b"RIFF", b"\x1aE\xdf\xa3", b"FLV\x01", b"\x89PNG"):
        return "it is cut or damaged at its beginning; fetch it again"
    return "it is not a media file that FFmpeg knows, whatever its name says"


def indexed_packets(container: av.container.InputContainer, stream: av.stream.Stream) -> int:
    """How many packets the container's index says that the stream has; 0 if it has no index or an open one."""
    if not container.format.name.startswith(_INDEX_THEIR_PACKETS):
        return 0
    return sum(entry.size > 0 for entry in stream.index_entries)


def only(container: av.container.InputContainer, stream: av.stream.Stream) -> None:
    """Have the demuxer skip what other streams hold."""
    for other in container.streams:
        if other is not stream:
            other.discard = av.stream.Discard.all
