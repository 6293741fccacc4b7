"""What ``--camera`` names (a device, an address, a file or a pattern): listing, finding, opening, and finding again."""

from __future__ import annotations

import errno
import sys
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

import av

from streammatte.errors import DecodeFailed, InputError, SourceNotFound
from streammatte.media.addresses import without_secrets
from streammatte.media.containers import TAG_ERRORS, open_container

USUAL_SIZE = (720, 1280)
USUAL_RATE = Fraction(30)
# (H, W): up to here USB carries 30 uncompressed pictures a second; above, most cameras are fast only as MJPEG.
_FAST_UNCOMPRESSED = (480, 640)
_DEVICES = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}.get(sys.platform)  # FFmpeg's format of them

ANSWER_WITHIN = 10.0  # seconds for a server's first pictures
SILENCE = 3.0  # seconds without a byte after which a stream counts as broken
_ADDRESS_OPTIONS = {
    "analyzeduration": "1000000",  # as little as it takes to recognise the format
    "rtsp_flags": "prefer_tcp",
    "overrun_nonfatal": "1",
    "tcp_nodelay": "1",
    "multiple_requests": "1",  # otherwise seeking in a clip fails on many web servers
}
_REAL_TIME = ("rtsp", "rtsps", "rtp", "udp", "srt", "tcp", "rtmp", "rtmps")

HOW_TO_LOOK = {
    "linux": "plug one in and check `ls /dev/video*`; you must be in the group `video` to read it",
    "darwin": "allow the terminal in System Settings, Privacy & Security, Camera",
    "win32": "allow desktop apps in Settings, Privacy & security, Camera",
}.get(sys.platform, "give a file, an address or lavfi:PATTERN")


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera.

    Attributes:
        index: Its number for ``--camera``; N for ``/dev/videoN``.
        name: As its maker calls it.
        device: What FFmpeg opens.
        virtual: A program writes its pictures.
    """

    index: int
    name: str
    device: str
    virtual: bool = False


def list_cameras() -> list[Camera]:
    """The cameras that FFmpeg finds here, virtual ones last."""
    if _DEVICES is None:
        return []
    try:
        found = av.enumerate_input_devices(_DEVICES)
    except (av.FFmpegError, ValueError):  # this FFmpeg cannot list them, or has no such devices
        return []
    cameras: list[Camera] = []
    for each in found:
        if each.media_types and "video" not in each.media_types:
            continue
        device, name, index = each.name, each.description or each.name, len(cameras)
        if _DEVICES == "v4l2" and (number := device.removeprefix("/dev/video")).isdecimal():
            index = int(number)
        elif _DEVICES == "avfoundation" and device.isdecimal():
            index = int(device)
        elif _DEVICES == "dshow":
            device = f"video={device}"
        virtual = Path("/sys/devices/virtual/video4linux", Path(device).name).exists()
        cameras.append(Camera(index, name, device, virtual))
    return sorted(cameras, key=lambda camera: (camera.virtual, camera.index))


def find_camera(spec: str | None) -> Camera:
    """The camera with that number, device or name, or part of a name; by default the first that is not virtual.

    Raises:
        SourceNotFound: There is none.
    """
    cameras = list_cameras()
    if spec is None:
        real = next((camera for camera in cameras if not camera.virtual), None)
        if real is None:
            raise SourceNotFound("no camera found", hint=HOW_TO_LOOK)
        return real
    for camera in cameras:
        if spec in (str(camera.index), camera.device, camera.name):
            return camera
    named = [camera for camera in cameras if spec.lower() in camera.name.lower()]
    if not spec.isdecimal() and named:
        return named[0]
    if spec.startswith("/dev/") and Path(spec).exists():  # by-id names, and devices that the listing leaves out
        return Camera(-1, spec, spec)
    if spec.partition("=")[0] in av.filter.filters_available:
        raise SourceNotFound(f"no camera matches {spec!r}", hint=f"FFmpeg's pattern is --camera lavfi:{spec}")
    there = ", ".join(f"{camera.index} ({camera.name})" for camera in cameras)
    raise SourceNotFound(f"no camera matches {spec!r}", hint=f"choose from {there}" if there else HOW_TO_LOOK)


def find_again(camera: Camera) -> Camera:
    """The same camera after it was plugged in again, under whatever number; it is recognised by its whole name.

    Raises:
        SourceNotFound: It is not there. No other camera is taken instead: the user chose to show this one.
    """
    if camera.index < 0:  # known by its path alone
        found = [camera] if Path(camera.device).exists() else []
    else:
        same = (each for each in list_cameras() if (each.name, each.virtual) == (camera.name, camera.virtual))
        found = sorted(same, key=lambda each: each.device != camera.device)
    if not found:
        raise SourceNotFound(f"{camera.name} is gone", hint="check that it is plugged in")
    return found[0]


def _ways_to_open(size: tuple[int, int] | None, rate: Fraction | None) -> list[dict[str, str]]:
    """FFmpeg's options to try in turn, from what was asked for to anything that the camera gives."""
    height, width = size or USUAL_SIZE
    pace = rate or USUAL_RATE
    wanted = {"video_size": f"{width}x{height}", "framerate": f"{pace.numerator}/{pace.denominator}"}
    if sys.platform == "darwin":
        # AVFoundation refuses a rate that is not in its list, and few lists have its own default of 29.97.
        return [wanted, {"framerate": wanted["framerate"]}, {"framerate": "30"}, {}]
    jpeg = wanted | ({"vcodec": "mjpeg"} if sys.platform == "win32" else {"input_format": "mjpeg"})
    small = height <= _FAST_UNCOMPRESSED[0] and width <= _FAST_UNCOMPRESSED[1]
    first = [wanted, jpeg] if small else [jpeg, wanted]
    return [*first, {"video_size": wanted["video_size"]}, {}]


@dataclass(frozen=True, slots=True)
class Place:
    """What ``--camera`` names.

    Attributes:
        spec: What FFmpeg opens, without ``file://``.
        name: Its name in messages, without secrets.
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
        if spec is not None:
            if not spec:
                raise SourceNotFound("--camera is empty", hint="check that the shell variable is set")
            if spec.startswith("lavfi:"):
                return cls("pattern", spec.removeprefix("lavfi:"), without_secrets(spec))
            if "://" in spec and not spec.lower().startswith("file:"):
                return cls("address", spec, without_secrets(spec))
            path = Path(path_of(spec))
            if path.is_file():
                return cls("file", str(path), spec)
            if path.is_dir():
                raise SourceNotFound(f"{spec} is a folder", hint="name a file in it, or a camera (see --list-cameras)")
            if not spec.startswith("/dev/") and ("://" in spec or path.suffix or "/" in spec):
                raise SourceNotFound(f"there is no file {spec}", hint="--list-cameras lists the cameras")
        camera = find_camera(spec)
        return cls("device", camera.device, camera.name, camera)

    def found_again(self) -> Place:
        """The same place after it was lost; raises as :func:`find_again`."""
        if self.camera is None:
            return self
        camera = find_again(self.camera)
        return replace(self, spec=camera.device, camera=camera)

    def open(self, size: tuple[int, int] | None, rate: Fraction | None) -> av.container.InputContainer:
        """Open it, at that size, (H, W), and rate if it is a camera. :meth:`failure` translates errors."""
        if self.kind == "pattern":
            return av.open(self.spec, format="lavfi")
        if self.kind == "file":
            return open_container(self.spec)
        if self.kind == "address":
            options = dict(_ADDRESS_OPTIONS)
            if self.spec.partition("://")[0].lower() in _REAL_TIME:
                options["fflags"] = "nobuffer"  # drops what was read while probing: fine for a stream, not for a clip
            return _opened(self.spec, None, options)
        *ways, last = _ways_to_open(size, rate)
        for options in ways:
            try:
                return _opened(self.spec, _DEVICES or "v4l2", options)
            except (av.FFmpegError, OSError) as exc:
                # Other options do not help if the device is missing, busy or forbidden.
                if exc.errno in (errno.EACCES, errno.EBUSY, errno.ENOENT, errno.ENODEV):
                    raise
        return _opened(self.spec, _DEVICES or "v4l2", last)

    def failure(self, exc: Exception) -> InputError:
        """The error to report when it could not be opened."""
        reason = reason_of(exc)
        if self.kind == "pattern":
            return SourceNotFound(f"FFmpeg cannot make {self.name}: {reason}", hint="try lavfi:testsrc2=size=640x360")
        if self.kind == "file":
            return DecodeFailed(f"cannot read {self.name}: {reason}", hint="use a clip that FFmpeg can read")
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
        return SourceNotFound(f"cannot read {self.name}: {reason}", hint="check that it is running and reachable")


def path_of(spec: str) -> str:
    """The path in ``file:///folder/clip.mp4``; anything else unchanged."""
    return url2pathname(urlsplit(spec).path) if spec.lower().startswith("file://") else spec


def reason_of(exc: Exception) -> str:
    if isinstance(exc, av.error.ExitError):
        return "timed out"
    return getattr(exc, "strerror", None) or str(exc)


def _opened(spec: str, kind: str | None, options: dict[str, str]) -> av.container.InputContainer:
    limits = ANSWER_WITHIN, SILENCE
    return av.open(spec, format=kind, container_options=options, timeout=limits, metadata_errors=TAG_ERRORS)
