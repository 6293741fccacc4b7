"""Motion from one frame of a shot to the next, and how far a motion-compensated picture can be trusted.

A matte's edge lies where motion is discontinuous, and flow is worst there. Three things help. Flow is computed down to
single pixels (DIS: Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016). Where forward and backward
flow disagree, something is covered or uncovered; the flow there is filled in from its surroundings, the subject's
first, since the edge moves with the subject. And a moved picture is compared with the actual one, ignoring differences
that grain, half a pixel of error on this texture, or a flickering lamp explain.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
"""(H, W), or (H, W, 2) for a flow: pixel p of one frame is at p + flow[p] in the other, in pixels (x, y)."""

Part = tuple[slice, slice]
"""Rows and columns of a frame, with both ends."""

FINE = 400
LEAST = 16  # pixels of height and width that DIS needs
DISAGREEMENT = 1.0  # pixels between forward and backward flow at which they count for little
BEHIND = 0.1  # weight of the background's flow against the subject's, where flow is filled in
NEAR, FAR = 3.0, 9.0  # pixels that filling reaches
FAINT = 0.02  # of 1: a difference that is always tolerated
MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)  # the difference of two Laplacians
SLACK = 0.5  # pixels of error allowed in flow
DARK, BRIGHT = 16, 250  # of 255: beyond these, samples may be clipped and say nothing about the light
GLIMMER = 0.02  # smaller changes of light are left to the tolerance
SAME_SHOT = 0.4  # of the texture, explained by the frame before: 0.57 and more in the samples, to 0.02 across a cut
NEARBY = cv2.getGaussianKernel(9, 1, cv2.CV_32F)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A small picture, ready for motion estimation.

    Attributes:
        rgba: (H, W, 4) uint8, the fourth channel unused: OpenCV moves four in half the time of three.
        luma: (H, W) uint8.
        tolerance: (H, W), the squared difference of colours in [0, 1] expected from a picture moved here.
        texture: (H, W), the colours' gradient.
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
        steep = _squares(plane for slope in slopes for plane in cv2.split(slope))
        luma = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        # Grain by a mask blind to ramps and edges (Immerkær 1996), and the median, since texture is not grain. The
        # difference of two frames has twice its variance, in each of three channels.
        sizes = np.bincount(np.abs(cv2.filter2D(luma, cv2.CV_16S, MASK)).ravel())
        grain = np.searchsorted(np.cumsum(sizes), luma.size / 2) / (6 * 0.6745 * 255)
        tolerance = np.float32(FAINT**2 + 6 * grain**2) + np.float32(SLACK**2) * steep
        rgba = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA), np.uint8)
        return Picture(rgba, luma, _plane(tolerance), np.sqrt(steep))

    def with_alpha(self, alpha: Plane) -> View:
        """The picture with its subject, (H, W)."""
        weight = np.square(alpha) + np.float32(1e-3)
        return View(self.rgba, self.luma, self.tolerance, self.texture, alpha, weight, _near(weight))


@dataclass(frozen=True, slots=True, eq=False)
class View(Picture):
    """A picture and its subject.

    Attributes:
        alpha: (H, W) in [0, 1].
        weight: (H, W), of a pixel in means over a neighbourhood: the subject decides.
        around: (H, W), the sum of these around each pixel.
    """

    alpha: Plane
    weight: Plane
    around: Plane

    @classmethod
    def of(cls, rgb: NDArray[np.uint8], alpha: Plane) -> View:
        """From (H, W, 3) and its alpha."""
        return Picture.of_rgb(rgb).with_alpha(alpha)

    def part(self, part: Part) -> View:
        """What is there."""
        return View(*(getattr(self, each.name)[part] for each in fields(self)))


class Link:
    """The motion between a frame and the one before it, computed once, on first use, in any thread.

    Args:
        before: The picture of the frame before; ``None`` for the first.
        look: Makes this frame's picture. Called at most once, then dropped, with the frame that it holds.
        fine: As for :class:`Motion`.
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
        """Whether the pictures show one shot; ``False`` for the first frame."""
        with self._asking:
            if self._one_shot is None:
                self._one_shot = self._tell()
            return self._one_shot

    @property
    def flows(self) -> tuple[Plane, Plane]:
        """Raw flow from the frame before to this one, and back.

        Raises:
            ValueError: The two are not from one shot.
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
    """Flow between neighbouring frames, and motion compensation.

    Args:
        fine: Pixels of the longer side up to which flow is computed at full size; beyond, at half.
    """

    def __init__(self, fine: int = FINE) -> None:
        self._fine = fine
        # More iterations take up to twice the time, and leave mattes no steadier.
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._dis.setVariationalRefinementIterations(1)
        self._places: Plane = np.zeros((0, 0, 2), np.float32)

    def between(self, earlier: View, later: View) -> tuple[Plane, Plane]:
        """Flow from the earlier frame to the later, and back, mended."""
        forward, backward = self.flow(earlier.luma, later.luma), self.flow(later.luma, earlier.luma)
        return self.mended(earlier, later, forward, backward)

    def mended(self, earlier: View, later: View, forward: Plane, backward: Plane) -> tuple[Plane, Plane]:
        """Both flows, filled in where they disagree."""
        return (
            filled(forward, self._belief(forward, backward, earlier, later)),
            filled(backward, self._belief(backward, forward, later, earlier)),
        )

    def flow(self, here: NDArray[np.uint8], there: NDArray[np.uint8]) -> Plane:
        """Raw flow from one luma to another."""
        height, width = here.shape
        self._dis.setFinestScale(0 if max(height, width) <= self._fine else 1)
        room = (0, max(0, LEAST - height), 0, max(0, LEAST - width))  # below, and to the right
        pair = [cv2.copyMakeBorder(luma, *room, cv2.BORDER_REPLICATE) for luma in (here, there)]
        return _plane(self._dis.calc(*pair, None)[:height, :width])  # type: ignore[call-overload]

    def moved(
        self, values: NDArray[Any], flow: Plane, *, sharp: bool = False, part: Part | None = None
    ) -> NDArray[Any]:
        """``values`` where ``flow`` leads, or the border's beyond it.

        ``sharp``: cubic interpolation, which keeps a strand one pixel wide but may overshoot.
        ``part``: Where in the frame ``flow`` and the result are; by default they are the whole.
        """
        return _taken(values, self._at(flow, part), cv2.INTER_CUBIC if sharp else cv2.INTER_LINEAR)

    def _at(self, flow: Plane, part: Part | None) -> Plane:
        """(H, W, 2): each pixel's place in the other frame, (x, y)."""
        rows, columns = part or (slice(0, flow.shape[0]), slice(0, flow.shape[1]))
        places = self._places  # another thread may make others meanwhile
        height, width = places.shape[:2]
        if height < rows.stop or width < columns.stop:
            y, x = np.mgrid[: max(height, rows.stop), : max(width, columns.stop)].astype(np.float32)
            places = self._places = np.dstack([x, y])
        return _plane(cv2.add(places[rows, columns], flow))

    def trust(self, here: View, there: View, flow: Plane, part: Part | None = None) -> Plane:
        """(H, W) in [0, 1]: how well the other frame, moved here by ``flow``, explains this one.

        At an edge the subject decides, since the background may move differently; but only for what moves with it.
        ``part``: Where in the frame ``here``, ``flow`` and the result are; ``there`` is whole.
        """
        at = self._at(flow, part)
        difference = cv2.absdiff(relit(_taken(there.rgba, at), here.rgba), here.rgba)
        excess = _squares(cv2.split(difference)[:3]) * (here.weight / (here.tolerance * np.float32(255**2)))
        excess = _near(excess) / here.around
        for along in cv2.split(flow):
            excess += np.square((along - _near(_plane(along) * here.weight) / here.around) / np.float32(SLACK))
        height, width = there.size
        within = cv2.inRange(at, (-0.5, -0.5), (width - 0.5, height - 0.5))
        return _plane(cv2.copyTo(cv2.exp(excess / np.float32(-2)), within))

    def _belief(self, flow: Plane, back: Plane, here: View, there: View) -> Plane:
        """(H, W): the weight of a flow where its neighbourhood is filled in."""
        astray = flow + self.moved(back, flow)
        alpha = np.maximum(here.alpha, self.moved(there.alpha, flow))  # the network may have lost it in either
        distance = (np.square(astray[..., 0]) + np.square(astray[..., 1])) / np.float32(DISAGREEMENT**2)
        return _plane(np.exp(-distance) * (np.square(alpha) + np.float32(BEHIND)))


def same_shot(here: Picture, there: Picture, trust: Plane) -> bool:
    """Whether two frames are from one shot, by ``Motion.trust`` between them.

    Weighted by texture, since black bars and plain walls match in every shot; evenly if both frames are flat.
    """
    texture = np.maximum(here.texture, there.texture) + np.float32(1e-6)
    return bool((trust * texture).sum() >= SAME_SHOT * texture.sum())


def relit(moved: NDArray[np.uint8], here: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A moved picture in this one's light: flicker, a flash and a change of exposure are not motion.

    By the median ratio of green on a sparse grid, which new objects do not change.
    """
    before, now = (picture[::4, ::4, 1].astype(np.float32) for picture in (moved, here))
    lit = (before > DARK) & (before < BRIGHT) & (now > DARK) & (now < BRIGHT)
    half = np.count_nonzero(lit) / 2
    changed = (now > (1 + GLIMMER) * before, now < (1 - GLIMMER) * before)
    if max(np.count_nonzero(side & lit) for side in changed) < half:  # nor does the median change; soon told
        return moved
    gain = float(np.median(now[lit] / before[lit])) if lit.any() else 1.0
    better = np.abs(now - (gain * before).clip(0, 255)).mean() < np.abs(now - before).mean()  # where little is lit
    return np.asarray(cv2.convertScaleAbs(moved, alpha=gain), np.uint8) if better and abs(gain - 1) > GLIMMER else moved


def filled(values: Plane, belief: Plane) -> Plane:
    """(H, W, C): kept where believed, elsewhere the weighted mean of the surroundings (normalised convolution).

    Args:
        values: (H, W, C).
        belief: (H, W), from 0.
    """
    weight = belief + np.float32(1e-6)
    own = _plane(cv2.merge([*(cv2.multiply(plane, weight) for plane in cv2.split(values)), weight]))
    spread = own + np.float32(0.05) * _widely(own, NEAR, 2) + np.float32(0.005) * _widely(own, FAR, 4)
    *moments, total = cv2.split(spread)
    return _plane(np.dstack([cv2.divide(moment, total) for moment in moments]))


def _taken(values: NDArray[Any], at: Plane, order: int = cv2.INTER_LINEAR) -> NDArray[Any]:
    """``values`` at places (x, y), (H, W, 2), or the border's beyond it."""
    return np.asarray(cv2.remap(values, at, None, order, borderMode=cv2.BORDER_REPLICATE))  # type: ignore[call-overload]


def _widely(values: Plane, sigma: float, step: int) -> Plane:
    """(H, W, C): a wide Gaussian mean, made at a ``step``-th of the size."""
    height, width = values.shape[:2]
    small = cv2.resize(values, (-(-width // step), -(-height // step)), interpolation=cv2.INTER_AREA)
    return _plane(cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / step), (width, height)))


def _squares(planes: Iterable[NDArray[Any]]) -> Plane:
    """The sum of the squares of some planes, bytes or floats; OpenCV's ``transform`` takes four times as long."""
    first, *others = planes
    total = np.zeros(first.shape, np.float32)
    for plane in (first, *others):
        cv2.accumulateSquare(plane, total)
    return total


def _near(values: Plane) -> Plane:
    """(H, W): the mean around each pixel."""
    return _plane(cv2.sepFilter2D(values, -1, NEARBY, NEARBY))  # a third faster than GaussianBlur


def _plane(values: Any) -> Plane:
    return np.asarray(values, np.float32)
