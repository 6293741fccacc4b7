"""A virtual camera: v4l2loopback on Linux, OBS on macOS, OBS or Unity Capture on Windows."""

from __future__ import annotations

import platform
from typing import Self, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.errors import UnsupportedOutput, WriteFailed
from streammatte.frame import StreamInfo
from streammatte.live.contracts import Shown

_HOW = {
    "Linux": "install v4l2loopback-dkms, then: sudo modprobe v4l2loopback exclusive_caps=1 card_label=streammatte",
    "Darwin": "install OBS 30 or later, then start and stop its virtual camera once",
    "Windows": "install OBS, or Unity Capture (github.com/schellingb/UnityCapture)",
}


def evened(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3); an odd height or width gains a row or column, a copy of the last."""
    height, width = rgb.shape[:2]
    if not (height % 2 or width % 2):
        return rgb
    return cast("NDArray[np.uint8]", cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE))


class VirtualCamera:
    """Sends pictures to a virtual camera. Odd sizes gain a row or column, because drivers take only even ones.

    Args:
        name: The device: ``/dev/video9``, ``OBS Virtual Camera``, ``Unity Video Capture``; by default the first
            that is free.
        info: The pictures' size and rate.
    """

    note = None

    def __init__(self, name: str | None, info: StreamInfo) -> None:
        self._name, self._info = name, info
        self.description = f"virtual camera {name}" if name else "virtual camera"

    def __enter__(self) -> Self:
        """Open the device.

        Raises:
            UnsupportedOutput: pyvirtualcam is not installed.
            WriteFailed: There is no such device, or it is in use.
        """
        try:
            import pyvirtualcam
        except ImportError as exc:
            raise UnsupportedOutput(
                "the virtual camera needs pyvirtualcam", hint="pip install 'streammatte[live]'"
            ) from exc
        height, width = (side + side % 2 for side in (self._info.height, self._info.width))
        try:
            self._camera = pyvirtualcam.Camera(width, height, max(float(self._info.frame_rate), 1.0), device=self._name)
        except (RuntimeError, ValueError, OSError) as exc:
            how = _HOW.get(platform.system(), "see pyvirtualcam's documentation for supported systems")
            if self._name and platform.system() == "Linux":
                how += "; then --to camera finds it, as does --to camera:/dev/videoN"
            raise WriteFailed(f"cannot open the {self.description}: {' '.join(str(exc).split())}", hint=how) from exc
        self.description = f"virtual camera {self._camera.device}"
        return self

    def show(self, shown: Shown) -> None:
        """Send a picture, (H, W, 3).

        Raises:
            WriteFailed: The device is gone.
        """
        try:
            self._camera.send(evened(shown.rgb))
        except (RuntimeError, OSError) as exc:
            raise WriteFailed(
                f"lost the {self.description}: {exc}", hint="check that its driver is still loaded"
            ) from exc

    def __exit__(self, *exc: object) -> None:
        self._camera.close()
