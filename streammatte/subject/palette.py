"""The colours of each label, as histograms: since its last prompt, and lately."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.motion import Plane

BINS = 16
ANCHORED = 0.5  # weight of the colours at the prompt against those learnt since


class Palette:
    """Histograms of (h, w, 3) uint8 pictures, weighted by labels."""

    def __init__(self, labels: int) -> None:
        self._anchor: Plane | None = None
        self._recent = np.zeros((labels, BINS**3), np.float32)

    def learn(self, rgb: NDArray[np.uint8], labels: Plane, rate: float) -> None:
        """Add a picture. With a rate of 1, it replaces all others and becomes the anchor."""
        bins = _bins(rgb).ravel()
        new = np.stack([_histogram(bins, labels[..., n]) for n in range(labels.shape[-1])])
        mass = new.sum(1, keepdims=True)
        new /= mass + np.float32(1e-6)
        if rate >= 1:
            self._anchor, self._recent = new, new.copy()
            return
        # A label that is hardly in the picture keeps its colours.
        rates = rate * np.minimum(1, mass / (0.004 * bins.size))
        self._recent += rates * (new - self._recent)

    def insert(self, label: int, rgb: NDArray[np.uint8], mask: Plane) -> None:
        """A new label with the colours in its mask, (h, w)."""
        assert self._anchor is not None
        new = _histogram(_bins(rgb).ravel(), mask)
        new /= new.sum() + np.float32(1e-6)
        self._anchor = np.insert(self._anchor, label, new, axis=0)
        self._recent = np.insert(self._recent, label, new, axis=0)

    def likelihoods(self, rgb: NDArray[np.uint8]) -> Plane:
        """(h, w, labels): chance of each pixel's colour, relative to the others'."""
        assert self._anchor is not None
        known = ANCHORED * self._anchor + (1 - ANCHORED) * self._recent + np.float32(2e-5)
        known /= known.sum(0)
        return np.asarray(known.T[_bins(rgb)], np.float32)


def _bins(rgb: NDArray[np.uint8]) -> NDArray[np.intp]:
    deep = (rgb // (256 // BINS)).astype(np.intp)
    return np.asarray((deep[..., 0] * BINS + deep[..., 1]) * BINS + deep[..., 2])


def _histogram(bins: NDArray[np.intp], weights: Plane) -> Plane:
    return _soft(np.bincount(bins, weights.ravel(), BINS**3).astype(np.float32))


def _soft(histogram: Plane) -> Plane:
    """Spread to neighbouring bins."""
    cube = histogram.reshape(BINS, BINS, BINS)
    kernel = np.array([0.25, 0.5, 0.25], np.float32)
    for axis in range(3):
        turned: Plane = np.moveaxis(cube, axis, 0).reshape(BINS, -1)
        turned = np.ascontiguousarray(turned)
        turned = np.asarray(cv2.filter2D(turned, -1, kernel[:, None], borderType=cv2.BORDER_REPLICATE), np.float32)
        cube = np.moveaxis(turned.reshape(BINS, BINS, BINS), 0, axis)
    return np.ascontiguousarray(cube).ravel()
