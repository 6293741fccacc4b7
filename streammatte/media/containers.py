"""Opening media files for reading, and what their index says of them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel

from streammatte.errors import DecodeFailed, SourceNotFound
from streammatte.media.addresses import PIPE, without_secrets
from streammatte.media.remote import Remote, is_remote, open_remote

# Old cameras and programs in other alphabets write tags that are not UTF-8; the picture does not need them.
TAG_ERRORS = "replace"
_BUFFER = 1 << 18  # bytes that FFmpeg takes from a remote file at once
_PATIENCE = 10.0, 30.0  # seconds for an address to answer, and for more data
RAW_HINT = "wrap raw frames: ffmpeg -f rawvideo -pix_fmt … -s … -i … -f nut - | streammatte - …"
INDEX_HINT = "an .mp4 or .mov may have its index at the end: give the file, or pipe NUT: ffmpeg -i … -f nut -"
# Demuxers that know every packet before they read the first.
_INDEX_THEIR_PACKETS = ("mov", "avi")


def open_container(url: str, hwaccel: HWAccel | None = None) -> av.container.InputContainer:
    """``av.open`` for reading, its errors translated.

    A name without ``://``, and that of an existing file, is a file's, whatever colons it has: ``take:3.mov`` does not
    ask for a protocol ``take``.

    Args:
        hwaccel: What decodes, where it can.

    Raises:
        SourceNotFound: There is no such file or address, or it may not be read.
        DecodeFailed: It is empty, or not a media file.
    """
    if not url:
        raise SourceNotFound("the input's name is empty", hint="is a shell variable unset?")
    if is_remote(url):
        return _open_remote(Remote(url), hwaccel)
    shown = without_secrets(url)
    local = "://" not in url or os.path.exists(url)  # noqa: PTH110 - Path.exists raises on names that are too long
    try:
        if local and Path(url).is_dir():
            raise SourceNotFound(
                f"{url} is a folder", hint="give a file, or an image sequence such as folder/plate.####.png"
            )
        if local and Path(url).stat().st_size == 0:
            raise DecodeFailed(f"{url} is empty", hint="the recording or the download did not finish")
        # Numbered pictures were recognised before, so no name is a pattern here.
        options = {"pattern_type": "none"}
        if local:
            return av.open(f"file:{url}", options=options, metadata_errors=TAG_ERRORS, hwaccel=hwaccel)
        # Without this, FFmpeg cannot seek on web servers that keep connections open.
        options["multiple_requests"] = "1"
        return av.open(url, options=options, timeout=_PATIENCE, metadata_errors=TAG_ERRORS, hwaccel=hwaccel)
    except (FileNotFoundError, NotADirectoryError) as exc:
        hint = "check the path; names are case-sensitive"
        if "#" in Path(url).name:
            hint = "numbered pictures can be PNG, JPEG, TIFF, EXR, BMP or WebP"
        raise SourceNotFound(f"there is no file {shown}", hint=hint) from exc
    except PermissionError as exc:
        raise SourceNotFound(f"cannot read {shown}: permission denied", hint="check the file's permissions") from exc
    except (av.InvalidDataError, av.error.EOFError) as exc:
        hint = _why_unreadable(_head_of(url)) if local else "is there a media file or stream at that address?"
        raise DecodeFailed(f"{shown} cannot be decoded", hint=hint) from exc
    except (av.FFmpegError, OSError, ValueError) as exc:
        if local and isinstance(exc, av.FFmpegError) and exc.errno == errno.EIO:  # a demuxer lost its way
            raise DecodeFailed(f"{shown} cannot be decoded", hint=_why_unreadable(_head_of(url))) from exc
        hint = "check the path" if local else "check the address, and that this machine can reach its server"
        if isinstance(exc, av.error.ProtocolNotFoundError):
            hint = "use http://, https://, rtsp:// or another protocol that FFmpeg knows"
        reason = getattr(exc, "strerror", None) or without_secrets(str(exc))
        if isinstance(exc, av.error.ExitError):
            reason = "no data in time"
        raise SourceNotFound(f"cannot open {shown}: {reason}", hint=hint) from exc


def _open_remote(place: Remote, hwaccel: HWAccel | None) -> av.container.InputContainer:
    file = open_remote(place)
    options = {"pattern_type": "none"}
    try:
        return av.open(file, "r", options=options, buffer_size=_BUFFER, metadata_errors=TAG_ERRORS, hwaccel=hwaccel)
    except (av.FFmpegError, OSError, ValueError) as exc:
        if file.seek(0, os.SEEK_END) == 0:
            raise DecodeFailed(f"{place} is empty", hint="the recording or the upload did not finish") from exc
        file.seek(0)
        raise DecodeFailed(f"{place} cannot be decoded", hint=_why_unreadable(file.read(12))) from exc


def size_of(url: str) -> int | None:
    """Bytes of a file; ``None`` for FFmpeg's addresses, pipes and missing files."""
    if url == PIPE:
        return None
    if is_remote(url):
        size: int | None = Remote(url).info().get("size")
        return size
    try:
        return Path(url).stat().st_size
    except (OSError, ValueError):
        return None


def _head_of(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(12)


def _why_unreadable(head: bytes) -> str:
    if head[4:8] in (b"ftyp", b"mdat", b"moov"):
        return "its index (the moov atom) is missing: the recording or download stopped early; fetch it again"
    if head[:4] in (b"RIFF", b"\x1aE\xdf\xa3", b"FLV\x01", b"\x89PNG"):
        return "its beginning is cut or damaged; fetch it again"
    return "it is not a media file that FFmpeg knows, despite its name"


def indexed_packets(container: av.container.InputContainer, stream: av.stream.Stream) -> int:
    """How many packets of the stream the container's index lists; 0 without a complete index."""
    if not container.format.name.startswith(_INDEX_THEIR_PACKETS):
        return 0
    return sum(entry.size > 0 for entry in stream.index_entries)


def only(container: av.container.InputContainer, stream: av.stream.Stream) -> None:
    """Make the demuxer skip the other streams."""
    for other in container.streams:
        if other is not stream:
            other.discard = av.stream.Discard.all
