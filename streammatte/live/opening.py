"""What ``--camera`` names (a device, an address, a file or a pattern), and opening it."""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

import av

from streammatte.errors import DecodeFailed, InputError, SourceNotFound
from streammatte.live.cameras import Camera, camera_format, find_again, find_camera, ways_to_open
from streammatte.media.addresses import without_secrets
from streammatte.media.containers import TAG_ERRORS, open_container

ANSWER_WITHIN = 10.0  # seconds for a server's first pictures
SILENCE = 3.0  # seconds without a byte after which a stream counts as broken
_ADDRESS_OPTIONS = {
    "analyzeduration": "1000000",  # as little as it takes to tell the pictures' format
    "rtsp_flags": "prefer_tcp",
    "overrun_nonfatal": "1",
    "tcp_nodelay": "1",
    "multiple_requests": "1",  # otherwise many web servers give nothing of clips that are sought in
}
_REAL_TIME = ("rtsp", "rtsps", "rtp", "udp", "srt", "tcp", "rtmp", "rtmps")


@dataclass(frozen=True, slots=True)
class Place:
    """What ``--camera`` names.

    Attributes:
        kind: What it is.
        spec: What FFmpeg opens, without ``file://``.
        name: Its name in messages, without secrets.
        camera: The device.
    """

    kind: Literal["device", "address", "file", "pattern"]
    spec: str
    name: str
    camera: Camera | None = None

    @classmethod
    def of(cls, spec: str | None) -> Place:
        """The place that ``spec`` names; by default the first camera.

        Raises:
            SourceNotFound: There is no such file or camera.
        """
        if spec is not None and not spec:
            raise SourceNotFound("--camera is empty", hint="check that the shell variable is set")
        if spec is not None and spec.startswith("lavfi:"):
            return cls("pattern", spec.removeprefix("lavfi:"), spec)
        if spec is not None and "://" in spec and not spec.lower().startswith("file:"):
            return cls("address", spec, without_secrets(spec))
        path = Path(path_of(spec or ""))
        if spec is not None and path.is_file():
            return cls("file", str(path), spec)
        if spec is not None and path.is_dir():
            raise SourceNotFound(f"{spec} is a folder", hint="name a file in it, or a camera (see --list-cameras)")
        if spec is not None and not spec.startswith("/dev/") and ("://" in spec or path.suffix or "/" in spec):
            raise SourceNotFound(f"there is no file {spec}", hint="--list-cameras lists the cameras")
        camera = find_camera(spec)
        return cls("device", camera.device, camera.name, camera)

    def found_again(self) -> Place:
        """The same place after it was lost.

        Raises:
            SourceNotFound: The camera has not come back.
        """
        if self.camera is None:
            return self
        camera = find_again(self.camera)
        return replace(self, spec=camera.device, camera=camera)

    def open(self, size: tuple[int, int] | None, rate: Fraction | None) -> av.container.InputContainer:
        """Open it; a camera is asked for that size, (H, W), and rate.

        Raises:
            av.FFmpegError: It cannot be opened; see :meth:`failure`.
            OSError: Likewise.
        """
        if self.kind == "pattern":
            return av.open(self.spec, format="lavfi")
        if self.kind == "file":
            return open_container(self.spec)
        if self.kind == "address":
            options = dict(_ADDRESS_OPTIONS)
            if self.spec.partition("://")[0].lower() in _REAL_TIME:
                options["fflags"] = "nobuffer"  # a clip would not be found again behind the packets this discards
            return _opened(self.spec, None, options)
        ways = ways_to_open(size, rate)
        for options in ways[:-1]:
            try:
                return _opened(self.spec, camera_format(), options)
            except (av.FFmpegError, OSError) as exc:
                # Another way helps only if it refused this one.
                if exc.errno in (errno.EACCES, errno.EBUSY, errno.ENOENT, errno.ENODEV):
                    raise
        return _opened(self.spec, camera_format(), ways[-1])

    def failure(self, exc: Exception) -> InputError:
        """What to tell the user when opening it failed."""
        reason = reason_of(exc)
        if self.kind == "pattern":
            return SourceNotFound(f"{self.name} is not a pattern of FFmpeg's", hint="try lavfi:testsrc2=size=640x360")
        if self.kind == "file":
            return DecodeFailed(f"cannot read {self.name}: {reason}", hint="give footage that FFmpeg can read")
        if self.kind == "device":
            hints = {
                errno.EACCES: "join the group `video`, or allow the terminal to use the camera",
                errno.EBUSY: "close the other program that uses it",
            }
            hint = hints.get(getattr(exc, "errno", None) or 0, "--list-cameras lists the cameras")
            return SourceNotFound(f"cannot open the camera {self.name}: {reason}", hint=hint)
        if isinstance(exc, av.error.ProtocolNotFoundError):
            return SourceNotFound(
                f"unsupported protocol: {self.spec.partition('://')[0]} (in {self.name})",
                hint="use rtsp://, rtmp://, http:// or udp://",
            )
        return SourceNotFound(f"no pictures from {self.name}: {reason}", hint="check that it is sending and reachable")


def path_of(spec: str) -> str:
    """The path in ``file:///folder/clip.mp4``; anything else unchanged."""
    return url2pathname(urlsplit(spec).path) if spec.lower().startswith("file://") else spec


def reason_of(exc: Exception) -> str:
    """FFmpeg's own words, without its log."""
    if isinstance(exc, av.error.ExitError):
        return "timed out"
    return getattr(exc, "strerror", None) or str(exc)


def _opened(spec: str, kind: str | None, options: dict[str, str]) -> av.container.InputContainer:
    return av.open(
        spec,
        format=kind,
        container_options=options,
        timeout=(ANSWER_WITHIN, SILENCE),
        metadata_errors=TAG_ERRORS,
    )
