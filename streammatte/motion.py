"""How one frame of a shot moves into the next, and how far a picture that was moved along can be believed.

A matte's edge lies where motion breaks off, which is where flow is worst. Three things help. Flow is computed down to
single pixels (DIS: Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016). Where forward and backward
flow disagree, something is hidden or bared: the flow there is taken from around it, and from the subject first, since
the edge goes with the subject. And a moved picture is compared with what is there: a difference that grain, half a
pixel of error on this very texture, or a lamp that flickers explains is none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
"""(H, W), or (H, W, 2) for a flow: pixel p of the one frame is found at p + flow[p] in the other, in pixels (x, y)."""

FINE = 400
LEAST = 16  # pixels of height and width that DIS needs
DISAGREEMENT = 1.0  # pixels between forward and backward flow at which little of them is believed
BEHIND = 0.1  # what the background's flow counts for against the subject's, where flow is filled in
NEAR, FAR = 3.0, 9.0  # pixels that filling reaches
FAINT = 0.02  # of 1: a difference that is never held against a picture
MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)  # the difference of two Laplacians
SLACK = 0.5  # pixels by which flow may be off
DARK, BRIGHT = 16, 250  # of 255: beyond these, samples may be cut off and tell nothing of the light
GLIMMER = 0.02  # a change of light below this is left to the tolerance
SAME_SHOT = 0.4  # of the texture, explained by the frame before: 0.57 and more in the samples, to 0.02 across a cut
SQUARES = np.array([[1, 1, 1, 0]], np.float32) / 255**2  # sums the squared differences of red, green and blue


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A small picture, ready for motion estimation.

    Attributes:
        rgba: (H, W, 4) uint8, the fourth channel without meaning: four are moved in half the time that three take.
        luma: (H, W) uint8.
        tolerance: (H, W), the squared difference of colours in [0, 1] that is expected of a picture moved here.
        texture: (H, W), how steep the colours are: what another picture is recognised by.
    """

    rgba: NDArray[np.uint8]
    luma: NDArray[np.uint8]
    tolerance: Plane
    texture: Plane

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.luma.shape[0], self.luma.shape[1]

    @classmethod
    def of_rgb(cls, rgb: NDArray[np.uint8]) -> Picture:
        """From (H, W, 3)."""
        slopes = [cv2.Sobel(rgb, cv2.CV_32F, *axis, scale=1 / 8 / 255) for axis in ((1, 0), (0, 1))]
        steep = sum(cv2.transform(cv2.multiply(slope, slope), np.ones((1, 3), np.float32)) for slope in slopes)
        luma = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        # Grain by a mask that is blind to ramps and edges (Immerkær 1996); by the median, as texture is not grain.
        # What two frames differ by has twice its variance, in each of three channels.
        grain = np.median(np.abs(cv2.filter2D(luma, cv2.CV_32F, MASK))) / (6 * 0.6745 * 255)
        tolerance = np.float32(FAINT**2 + 6 * grain**2) + np.float32(SLACK**2) * steep
        rgba = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA), np.uint8)
        return Picture(rgba, luma, _plane(tolerance), np.sqrt(_plane(steep)))

    def with_alpha(self, alpha: Plane) -> View:
        """The view of this picture in which the subject, (H, W), decides."""
        weight = np.square(alpha) + np.float32(1e-3)
        return View(self.rgba, self.luma, self.tolerance, self.texture, alpha, weight, _near(weight))


@dataclass(frozen=True, slots=True, eq=False)
class View(Picture):
    """A picture and its subject.

    Attributes:
        alpha: (H, W) in [0, 1].
        weight: (H, W), what a pixel counts for where its neighbourhood is asked: the subject decides.
        around: (H, W), the sum of these about each pixel.
    """

    alpha: Plane
    weight: Plane
    around: Plane

    @classmethod
    def of(cls, rgb: NDArray[np.uint8], alpha: Plane) -> View:
        """The view of a picture, (H, W, 3), and its alpha."""
        return Picture.of_rgb(rgb).with_alpha(alpha)


class Link:
    """The motion between a frame and the one before it, told once, when first asked for. Any thread may ask.

    Args:
        before: The picture of the frame before; ``None`` for the first.
        look: Makes this frame's picture. Called at most once, and forgotten then.
        fine: Of :class:`Motion`.

    Attributes:
        before: As given.
    """

    def __init__(self, before: Picture | None, look: Callable[[], Picture], fine: int = FINE) -> None:
        self.before = before
        self._fine = fine
        self._look: Callable[[], Picture] | None = look
        self._here: Picture | None = None
        self._flows: tuple[Plane, Plane] | None = None
        self._one_shot: bool | None = None
        self._asking = threading.RLock()

    @property
    def here(self) -> Picture:
        """This frame's picture."""
        with self._asking:
            if self._here is None:
                assert self._look is not None
                self._here, self._look = self._look(), None
            return self._here

    @property
    def one_shot(self) -> bool:
        """Whether the two frames are of one shot, as their pictures tell; ``False`` for the first frame."""
        with self._asking:
            if self._one_shot is None:
                self._one_shot = self._tell()
            return self._one_shot

    @property
    def flows(self) -> tuple[Plane, Plane]:
        """Flow from the frame before to this one, and back, neither filled nor mistrusted anywhere.

        Raises:
            ValueError: The two are not of one shot.
        """
        if not self.one_shot or self._flows is None:
            raise ValueError("there is no motion across a cut")
        return self._flows

    def _tell(self) -> bool:
        before, here = self.before, self.here
        if before is None or before.luma.shape != here.luma.shape:
            return False
        motion = Motion(self._fine)
        forward, backward = motion.flow(before.luma, here.luma), motion.flow(here.luma, before.luma)
        blind = np.zeros(here.luma.shape, np.float32)
        there, view = before.with_alpha(blind), here.with_alpha(blind)
        if not same_shot(here, before, motion.trust(view, there, backward)):
            return False
        self._flows = forward, backward
        return True


class Motion:
    """Flow between neighbouring frames, and what it carries along.

    Args:
        fine: Pixels of the longer side up to which flow is computed at full size, and beyond that at half.
        quick: In two thirds of the time, without the last refinement.
    """

    def __init__(self, fine: int = FINE, *, quick: bool = False) -> None:
        self._fine = fine
        preset = cv2.DISOPTICAL_FLOW_PRESET_FAST if quick else cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
        self._dis = cv2.DISOpticalFlow.create(preset)
        self._places: Plane = np.zeros((0, 0, 2), np.float32)

    def between(self, earlier: View, later: View) -> tuple[Plane, Plane]:
        """Flow from the earlier frame to the later, and back, filled in where the two disagree."""
        forward, backward = self.flow(earlier.luma, later.luma), self.flow(later.luma, earlier.luma)
        return self.mended(earlier, later, forward, backward)

    def mended(self, earlier: View, later: View, forward: Plane, backward: Plane) -> tuple[Plane, Plane]:
        """Both flows, filled in where they disagree."""
        return (
            filled(forward, self._belief(forward, backward, earlier, later)),
            filled(backward, self._belief(backward, forward, later, earlier)),
        )

    def flow(self, here: NDArray[np.uint8], there: NDArray[np.uint8]) -> Plane:
        """Where in the one luma each pixel of the other is found; nothing is filled in."""
        height, width = here.shape
        self._dis.setFinestScale(0 if max(height, width) <= self._fine else 1)
        room = (0, max(0, LEAST - height), 0, max(0, LEAST - width))  # below, and to the right
        pair = [cv2.copyMakeBorder(luma, *room, cv2.BORDER_REPLICATE) for luma in (here, there)]
        return _plane(self._dis.calc(*pair, None)[:height, :width])  # type: ignore[call-overload]

    def moved(self, values: NDArray[Any], flow: Plane, *, sharp: bool = False) -> NDArray[Any]:
        """What ``values`` hold where ``flow`` leads; the border's beyond it.

        ``sharp``: by cubic interpolation, which keeps a strand one pixel wide but may overshoot.
        """
        places, order = self._at(flow), cv2.INTER_CUBIC if sharp else cv2.INTER_LINEAR
        return np.asarray(cv2.remap(values, places, None, order, borderMode=cv2.BORDER_REPLICATE))  # type: ignore[call-overload]

    def _at(self, flow: Plane) -> Plane:
        """(H, W, 2): where each pixel is found in the other frame, as (x, y)."""
        if self._places.shape != flow.shape:
            y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
            self._places = np.dstack([x, y])
        return self._places + flow

    def trust(self, here: View, there: View, flow: Plane) -> Plane:
        """(H, W) in [0, 1]: how well the other frame, moved here by ``flow``, explains this one.

        At an edge the subject decides, since the background behind it may move otherwise; but only for what moves as
        the subject does.
        """
        difference = cv2.absdiff(relit(self.moved(there.rgba, flow), here.rgba), here.rgba)
        squares = cv2.multiply(difference, difference, dtype=cv2.CV_32F)
        excess = cv2.transform(squares, SQUARES) / here.tolerance
        excess = _near(excess * here.weight) / here.around
        for along in cv2.split(flow):
            excess += np.square((along - _near(along * here.weight) / here.around) / np.float32(SLACK))
        height, width = here.luma.shape
        within = cv2.inRange(self._at(flow), (-0.5, -0.5), (width - 0.5, height - 0.5))
        return _plane(cv2.copyTo(cv2.exp(excess / np.float32(-2)), within))

    def _belief(self, flow: Plane, back: Plane, here: View, there: View) -> Plane:
        """(H, W): how much a flow counts where its neighbourhood is filled in from it."""
        astray = flow + self.moved(back, flow)
        alpha = np.maximum(here.alpha, self.moved(there.alpha, flow))  # either may have been dropped by the network
        distance = (np.square(astray[..., 0]) + np.square(astray[..., 1])) / np.float32(DISAGREEMENT**2)
        return _plane(np.exp(-distance) * (np.square(alpha) + np.float32(BEHIND)))


def same_shot(here: Picture, there: Picture, trust: Plane) -> bool:
    """Whether two frames belong together, by what ``Motion.trust`` says of the one in the other.

    Their texture decides: black bars and plain walls are alike in every shot. Of two frames that are flat all over, all
    of them does.
    """
    texture = np.maximum(here.texture, there.texture) + np.float32(1e-6)
    return bool((trust * texture).sum() >= SAME_SHOT * texture.sum())


def relit(moved: NDArray[np.uint8], here: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A moved picture in the light of this one: a lamp's flicker, a flash or a camera's exposure is no motion.

    By the median of the ratios of green on a sparse grid, which what is new in the picture does not move.
    """
    before, now = (picture[::4, ::4, 1].astype(np.float32) for picture in (moved, here))
    lit = (before > DARK) & (before < BRIGHT) & (now > DARK) & (now < BRIGHT)
    gain = float(np.median(now[lit] / before[lit])) if lit.any() else 1.0
    better = np.abs(now - (gain * before).clip(0, 255)).mean() < np.abs(now - before).mean()  # where little is lit
    return np.asarray(cv2.convertScaleAbs(moved, alpha=gain), np.uint8) if better and abs(gain - 1) > GLIMMER else moved


def filled(values: Plane, belief: Plane) -> Plane:
    """(H, W, C) as they are where they are believed, else the mean of what is believed around (normalised convolution).

    Args:
        values: (H, W, C).
        belief: (H, W), from 0.
    """
    weight = belief + np.float32(1e-6)
    moments = []
    for own in (*(plane * weight for plane in cv2.split(values)), weight):
        near, far = (cv2.GaussianBlur(own, (0, 0), sigma) for sigma in (NEAR, FAR))
        moments.append(own + np.float32(0.05) * near + np.float32(0.005) * far)
    return _plane(np.dstack([moment / moments[-1] for moment in moments[:-1]]))


def _near(values: Plane) -> Plane:
    """(H, W): the mean of what lies about each pixel."""
    return _plane(cv2.GaussianBlur(values, (0, 0), 1))


def _plane(values: Any) -> Plane:
    return np.asarray(values, np.float32)
