"""Photographic backgrounds: perspective crops of a panorama, out of focus and smeared by the camera's own motion."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from samples.render.clips import Camera

Picture = NDArray[np.float32]


def read_panorama(path: Path, exposure: float) -> Picture:
    """(H, W, 3) linear RGB of a Radiance HDR in equirectangular projection, at ``exposure`` stops."""
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise FileNotFoundError(path)
    return picture[..., ::-1].astype(np.float32) * np.float32(2.0**exposure)


def crop(panorama: Picture, camera: Camera, heading: float, width: int, height: int) -> Picture:
    """(height, width, 3) what the camera sees of a panorama turned by ``heading`` degrees about the vertical.

    The same projection as Cycles' environment texture: the picture's middle column lies towards +x.
    """
    rays = camera.rays(width, height)
    turn = np.radians(heading)
    x = rays[..., 0] * np.cos(turn) + rays[..., 1] * np.sin(turn)
    y = rays[..., 1] * np.cos(turn) - rays[..., 0] * np.sin(turn)
    rows, columns = panorama.shape[:2]
    u = (0.5 - np.arctan2(y, x) / (2 * np.pi)) * columns - 0.5
    v = (0.5 - np.arctan2(rays[..., 2], np.hypot(x, y)) / np.pi) * rows - 0.5
    return cv2.remap(panorama, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def defocus(picture: Picture, radius: float) -> Picture:
    """Blur linear light with a disc of ``radius`` pixels, as a lens does: lamps turn into discs."""
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return cv2.filter2D(picture, -1, disc / disc.sum(), borderType=cv2.BORDER_REPLICATE)
