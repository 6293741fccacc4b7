"""A camera that other programs see: v4l2loopback on Linux, OBS on macOS, OBS or Unity Capture on Windows."""

from __future__ import annotations

import platform
from types import TracebackType
from typing import Self

import cv2

from streammatte.errors import UnsupportedOutput, WriteFailed
from streammatte.frame import StreamInfo
from streammatte.live.contracts import Shown

_HOW = {
    "Linux": "make one: sudo modprobe v4l2loopback exclusive_caps=1 card_label=streammatte (the package "
    "v4l2loopback-dkms has it)",
    "Darwin": "make one: install OBS 30 or later, start its virtual camera once, stop it",
    "Windows": "make one: install OBS, or Unity Capture (github.com/schellingb/UnityCapture)",
}


class VirtualCamera:
    """Sends pictures to a virtual camera. An odd edge is continued by one pixel, because drivers take even sizes.

    Args:
        name: Of the device, as ``/dev/video9``, ``OBS Virtual Camera`` or ``Unity Video Capture``; ``None`` takes the
            first that is free.
        info: Of the pictures.
    """

    def __init__(self, name: str | None, info: StreamInfo) -> None:
        self._name, self._info = name, info
        self._odd = info.height % 2, info.width % 2
        self.description = f"virtual camera {name}" if name else "virtual camera"

    def __enter__(self) -> Self:
        """Take the device.

        Raises:
            UnsupportedOutput: pyvirtualcam is not installed.
            WriteFailed: There is no such device, or it is taken.
        """
        try:
            import pyvirtualcam
        except ImportError as exc:
            raise UnsupportedOutput(
                "the virtual camera needs pyvirtualcam", hint="pip install 'streammatte[live]'"
            ) from exc
        height, width = self._info.height + self._odd[0], self._info.width + self._odd[1]
        try:
            self._camera = pyvirtualcam.Camera(width, height, max(float(self._info.frame_rate), 1.0), device=self._name)
        except (RuntimeError, ValueError, OSError) as exc:
            how = _HOW.get(platform.system(), "pyvirtualcam says which systems have one")
            if self._name and platform.system() == "Linux":
                how += "; --to camera takes it then, or --to camera:/dev/videoN: here it goes by its device"
            raise WriteFailed(f"no {self.description}: {' '.join(str(exc).split())}", hint=how) from exc
        self.description = f"virtual camera {self._camera.device}"
        return self

    def show(self, shown: Shown) -> None:
        """Send a picture, (H, W, 3).

        Raises:
            WriteFailed: The device is gone.
        """
        rgb = shown.rgb
        if any(self._odd):
            rgb = cv2.copyMakeBorder(rgb, 0, self._odd[0], 0, self._odd[1], cv2.BORDER_REPLICATE)  # type: ignore[assignment]
        try:
            self._camera.send(rgb)
        except (RuntimeError, OSError) as exc:
            raise WriteFailed(f"{self.description} takes nothing any more: {exc}", hint="is it still there?") from exc

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._camera.close()
