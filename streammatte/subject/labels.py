"""How the labels of a frame are corrected: (h, w, subjects + 2), the last two other foreground and background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.motion import Plane

Labels = NDArray[np.float32]
"""(h, w, subjects + 2), sums to 1: the subjects, other foreground, background."""

OTHER, BACKGROUND = -2, -1
FIRM = 1.35  # exponent that keeps labels from blurring
APART = 4  # pixels, at half size, between things that do not touch


def found_again(carried: Labels, near: Labels, colour: Labels, matte: Plane) -> None:
    """Give back what was taken for background, and is surely foreground beside something that has its colours."""
    found = np.clip(matte - np.float32(0.6), 0, np.float32(0.3)) * carried[..., BACKGROUND]
    share = np.minimum(np.float32(1.0), np.float32(2.0) * near[..., :OTHER]) * (colour[..., :OTHER] > 0.5)
    share *= (found / np.maximum(share.sum(-1), 1))[..., None]
    carried[..., :OTHER] += share
    carried[..., BACKGROUND] -= share.sum(-1)


def absorbed(carried: Labels, near: Labels) -> None:
    """Move what is foreground and nobody's, bit by bit, to what it adjoins."""
    share = np.minimum(np.float32(0.25), np.float32(0.5) * near[..., :OTHER]) * carried[..., OTHER, None]
    share *= np.float32(0.25) / np.maximum(share.sum(-1, keepdims=True), np.float32(0.25))
    carried[..., :OTHER] += share
    carried[..., OTHER] -= share.sum(-1)


def touching(labels: Labels) -> list[bool]:
    """For each but the last label, whether another is near it; (h, w, labels)."""
    half = [np.ascontiguousarray(labels[::2, ::2, n] > 0.4).astype(np.uint8) for n in range(labels.shape[-1])]
    largest = max((int(each.sum()) for each in half[:-1]), default=0)
    if half[-1].sum() < 0.1 * largest:  # nothing that could hide it
        half[-1][:] = 0
    kernel = np.ones((2 * APART + 1, 2 * APART + 1), np.uint8)
    wide = [np.asarray(cv2.dilate(each, kernel), np.uint8) for each in half]
    return [
        any(np.count_nonzero(wide[n] & other) > 3 for m, other in enumerate(half) if m != n)
        for n in range(len(half) - 1)
    ]


def by_network(matte: Plane, subjects: int) -> Plane:
    """(h, w, subjects + 2): what the network's matte says of each label."""
    ahead = np.float32(0.06) + np.float32(0.94) * matte
    return np.dstack([*[ahead] * (subjects + 1), np.float32(1.0) - np.float32(0.94) * matte])


def firm(labels: Labels) -> Labels:
    powers = np.power(labels, np.float32(FIRM))
    return np.asarray(powers / (powers.sum(-1, keepdims=True) + np.float32(1e-9)), np.float32)
