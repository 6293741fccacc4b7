"""The cameras of this machine: which there are, and how FFmpeg is asked for one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from streammatte.errors import SourceNotFound

USUAL_SIZE = (720, 1280)
USUAL_RATE = Fraction(30)
# (H, W): up to here USB carries 30 uncompressed pictures a second; above, most cameras are quick as MJPEG only.
_QUICK_UNCOMPRESSED = (480, 640)
_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}

HOW_TO_LOOK = {
    "linux": "plug one in, and see `ls /dev/video*`; to read it you must be in the group `video`",
    "darwin": "System Settings, Privacy & Security, Camera: the terminal must be allowed",
    "win32": "Settings, Privacy & security, Camera: desktop apps must be allowed",
}.get(sys.platform, "give a file, an address or lavfi:PATTERN")


@dataclass(frozen=True, slots=True)
class Camera:
    """A device that gives pictures.

    Attributes:
        index: What ``--camera`` may call it; of ``/dev/videoN``, N.
        name: What its maker calls it.
        device: What FFmpeg opens.
        virtual: No camera, but a place that a program writes to.
    """

    index: int
    name: str
    device: str
    virtual: bool = False


def list_cameras() -> list[Camera]:
    """Those that FFmpeg finds here; the virtual ones last."""
    kind = _FORMATS.get(sys.platform)
    if kind is None:
        return []
    try:
        found = av.enumerate_input_devices(kind)
    except (av.FFmpegError, ValueError):  # it cannot tell, or this FFmpeg has no such devices
        return []
    cameras: list[Camera] = []
    for each in found:
        if each.media_types and "video" not in each.media_types:
            continue
        device, name, index = each.name, each.description or each.name, len(cameras)
        if kind == "v4l2" and (number := device.removeprefix("/dev/video")).isdecimal():
            index = int(number)
        elif kind == "avfoundation" and device.isdecimal():
            index = int(device)
        elif kind == "dshow":
            device = f"video={device}"
        cameras.append(Camera(index, name, device, _is_virtual(device)))
    return sorted(cameras, key=lambda camera: (camera.virtual, camera.index))


def find_camera(spec: str | None) -> Camera:
    """The camera that ``spec`` means: number, part of a name, or device; without one, the first real one.

    Raises:
        SourceNotFound: There is none.
    """
    cameras = list_cameras()
    if spec is None:
        real = next((camera for camera in cameras if not camera.virtual), None)
        if real is None:
            raise SourceNotFound("there is no camera on this machine", hint=HOW_TO_LOOK)
        return real
    for camera in cameras:
        if spec in (str(camera.index), camera.device, camera.name):
            return camera
    named = [camera for camera in cameras if spec.lower() in camera.name.lower()]
    if not spec.isdecimal() and named:
        return named[0]
    if spec.startswith("/dev/") and Path(spec).exists():  # by-id names, and what the listing leaves out
        return Camera(-1, spec, spec)
    there = ", ".join(f"{camera.index} ({camera.name})" for camera in cameras)
    known_by = spec.removeprefix("-").isdecimal() or spec.startswith("/dev/")
    what = f"camera {spec} is not there" if known_by else f"no camera is a {spec!r}"
    raise SourceNotFound(what, hint=f"there are: {there}" if there else f"there is none at all: {HOW_TO_LOOK}")


def find_again(camera: Camera) -> Camera:
    """The same camera, plugged in again, whatever its number is now; it is known by its whole name.

    Raises:
        SourceNotFound: It is not there. Another camera is none that the user has agreed to show.
    """
    if camera.index < 0:  # by its path alone
        found = [camera] if Path(camera.device).exists() else []
    else:
        same = (each for each in list_cameras() if (each.name, each.virtual) == (camera.name, camera.virtual))
        found = sorted(same, key=lambda each: each.device != camera.device)
    if not found:
        raise SourceNotFound(f"{camera.name} is not there", hint="is it plugged in?")
    return found[0]


def ways_to_open(size: tuple[int, int] | None, rate: Fraction | None) -> list[dict[str, str]]:
    """FFmpeg's options to try in turn, from what is wanted to whatever it gives.

    Args:
        size: (H, W); some 720p where nothing is asked for.
        rate: Frames a second; 30 where nothing is asked for.
    """
    height, width = size or USUAL_SIZE
    pace = rate or USUAL_RATE
    wanted = {"video_size": f"{width}x{height}", "framerate": f"{pace.numerator}/{pace.denominator}"}
    if sys.platform == "darwin":
        # AVFoundation refuses a rate that is not in its list, and its own default of 29.97 is in few.
        return [wanted, {"framerate": wanted["framerate"]}, {"framerate": "30"}, {}]
    compressed = {"vcodec": "mjpeg"} if sys.platform == "win32" else {"input_format": "mjpeg"}
    jpeg = wanted | compressed
    small = height <= _QUICK_UNCOMPRESSED[0] and width <= _QUICK_UNCOMPRESSED[1]
    first = [wanted, jpeg] if small else [jpeg, wanted]
    return [*first, {"video_size": wanted["video_size"]}, {}]


def format_of_cameras() -> str:
    """FFmpeg's name of this system's devices."""
    return _FORMATS.get(sys.platform, "v4l2")


def _is_virtual(device: str) -> bool:
    return Path("/sys/devices/virtual/video4linux", Path(device).name).exists()
