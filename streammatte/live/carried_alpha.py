"""Carries the last alpha along with the motion, and says how far it can be trusted.

It looks one frame back and none ahead. Motion and trust come from a small picture; the alpha may be larger. Only one
flow is computed, at half the cost of ``Link``'s two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.motion import Motion, Plane, View, same_shot
from streammatte.stride import stretched

WIDTH = 320
"""Pixels of the longer side at which motion is measured."""

NEAR = 15  # pixels around the subject in which doubt counts
UNEXPLAINED = 0.1  # trust below which a pixel shows something new
BELIEVED = 0.3  # trust from which a moved alpha is shown unchanged
CALM, QUICK = 2.0, 4.0  # pixels moved since the network ran, between which trust starts to matter
ABOUT = 9  # pixels around what moves, where it may have uncovered the room


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """The last alpha, where the subject is now.

    Attributes:
        alpha: (H, W) in [0, 1], of the size that was kept.
        trust: (h, w) in [0, 1], of the small picture's size: how well motion explains the picture.
        shown: (h, w) in [0, 1]: how much of the alpha may be shown. It is below 1 where something moved far and motion
            does not explain the picture: the room may be uncovered there.
        travel: Mean number of pixels that the subject has moved since the network ran.
        doubt: What motion does not explain on and around the subject, as a share of the subject. The alpha's error is
            about half of it (correlation 0.9, on clips with ground truth).
        strange: (h, w) bool: where this picture shows something new.
    """

    alpha: Plane
    trust: Plane
    shown: Plane
    travel: float
    doubt: float
    strange: NDArray[np.bool_]


class _Kept(NamedTuple):
    """A picture that was shown, its alpha, and the trust and travel of each pixel since the network ran."""

    view: View
    alpha: Plane
    carried: tuple[Plane, Plane] | None


class CarriedAlpha:
    """Remembers one picture and its alpha: ``look`` at each picture, then ``keep`` its alpha."""

    def __init__(self) -> None:
        self._motion = Motion(0)
        self._here: View | None = None
        self._carried: tuple[Plane, Plane] | None = None  # as the picture looked at has it
        self._last: _Kept | None = None

    def look(self, rgb: NDArray[np.uint8]) -> Moved | None:
        """What the previous picture says about this one; ``None`` for the first one and after a cut.

        Args:
            rgb: (H, W, 3).
        """
        small = shrunk(rgb, WIDTH)
        height, width = small.shape[:2]
        self._carried = None
        if self._last is None or self._last.view.luma.shape != (height, width):
            self._here = View.of(small, np.zeros((height, width), np.float32))
            return None
        last, kept = self._last.view, self._last.alpha
        alpha = shrunk(kept, WIDTH)
        luma = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        flow = self._motion.flow(luma, last.luma)
        here = View.of(small, self._along(alpha, flow))
        trust = self._motion.trust(here, last, flow)
        self._here = here
        if not same_shot(here, last, trust):
            return None
        moved = here.alpha if kept.shape == alpha.shape else self._along(kept, stretched(flow, kept.shape))
        strange = cv2.erode(np.asarray(trust < UNEXPLAINED, np.uint8), np.ones((3, 3), np.uint8)) > 0
        near = cv2.dilate(np.asarray(here.alpha > 0.05, np.uint8), np.ones((NEAR, NEAR), np.uint8)) > 0
        doubt = float(np.count_nonzero(strange & near) / max(1, int(np.count_nonzero(here.alpha > 0.3))))
        travel = np.asarray(cv2.magnitude(*cv2.split(flow)), np.float32)
        if self._last.carried is not None:
            trust = trust * self._motion.moved(self._last.carried[0], flow)
            travel = travel + self._motion.moved(self._last.carried[1], flow)
        self._carried = trust, travel
        far = float((travel * here.alpha).sum() / max(1.0, float(here.alpha.sum())))
        quick = (cv2.dilate(travel, np.ones((ABOUT, ABOUT), np.uint8)) - CALM) / (QUICK - CALM)
        shown = np.asarray(1 - quick.clip(0, 1) * (1 - trust / BELIEVED).clip(0, 1), np.float32)
        return Moved(moved, trust, shown, far, doubt, strange)

    def keep(self, alpha: Plane, *, own: bool) -> None:
        """Keep the alpha, (H, W), of the picture last looked at; ``own`` says that the network ran for it."""
        assert self._here is not None, "look comes first"
        self._last = _Kept(self._here, alpha, None if own else self._carried)

    def _along(self, alpha: Plane, flow: Plane) -> Plane:
        return np.asarray(self._motion.moved(alpha, flow, sharp=True).clip(0, 1), np.float32)


def shrunk(picture: NDArray[Any], longest: int) -> NDArray[Any]:
    """A picture or plane scaled down by area means to at most ``longest`` pixels on its longer side."""
    height, width = picture.shape[:2]
    if max(height, width) <= longest:
        return picture
    scale = longest / max(height, width)
    size = max(1, round(scale * width)), max(1, round(scale * height))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
