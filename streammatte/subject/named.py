"""The mask that prompts mean in the frame that they are given for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.motion import Plane
from streammatte.subject.contracts import Look, Prompt
from streammatte.subject.palette import Palette
from streammatte.subject.region import Box
from streammatte.subject.smoothing import along_edges, spread

SPILL = 0.12  # of the foreground in a box: with less outside of it, that is the subject's, too
HERE = 0.4  # of a subject, inside of a later box: with less, it was lost
FOUND = 0.3  # alpha that counts as found at a point
CLOSE = 0.25  # of the picture's width and height: the part around a point that the network looks at by itself
REACH = 120.0  # how far a point's correction goes: pixels, many times more across an edge


class Named:
    """What is meant in one frame.

    Args:
        frame_size: (H, W) that prompts refer to.
        rgb: (h, w, 3).
        matte: (h, w), the network's.
    """

    def __init__(self, frame_size: tuple[int, int], rgb: NDArray[np.uint8], matte: Plane) -> None:
        self._frame_size, self._rgb, self._matte = frame_size, rgb, matte
        self._scale = matte.shape[1] / frame_size[1], matte.shape[0] / frame_size[0]

    def mask(self, prompts: Sequence[Prompt], known: Plane | None = None, strange: Plane | None = None) -> Plane:
        """(h, w) in [0, 1].

        Args:
            prompts: All of one subject.
            known: What it was taken for so far: boxes, points and open masks correct it.
            strange: (h, w), how surely a pixel was taken for something else, and has its colours; ``None`` if what is
                known has been corrected by these prompts before.
        """
        painted = [prompt.mask for prompt in prompts if prompt.mask is not None]
        boxes = [prompt for prompt in prompts if prompt.kind == "box"]
        points = [prompt for prompt in prompts if prompt.kind in ("point", "not-point")]
        begun = self._in_box(boxes[-1]) if boxes else None
        if begun is not None and known is not None:
            begun = self._agreed(boxes[-1], begun, known, strange)
        if any(point.kind == "point" for point in points) and (boxes or known is None):
            mask = self._by_points(points, self._matte if begun is None else begun)
        else:
            nothing = self._matte if painted else np.zeros_like(self._matte)
            mask = begun if begun is not None else known if known is not None else nothing
            mask = self._corrected(points, mask) if points else mask
        height, width = mask.shape
        for each in painted:
            says = cv2.resize(np.nan_to_num(each), (width, height), interpolation=cv2.INTER_AREA)
            blank = cv2.resize(np.isnan(each).astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
            mask = np.asarray(says + blank * mask, np.float32)
        return np.asarray(mask.clip(0, 1), np.float32)

    def _in_box(self, box: Prompt) -> Plane:
        """The foreground in a box, without parts of others that reach into it."""
        matte = self._matte
        inside = self._boxed(box)
        found = matte * inside
        if found.sum() < 0.15 * inside.sum():  # the network does not see it
            return self._cut(box, inside)
        rest = self._beside(inside)
        if rest.sum() < SPILL * found.sum():  # the box is narrow, or touches somebody
            return np.asarray(found + rest, np.float32)
        # Others continue outside of the box; their colours, and nearness to them, tell which pixels inside are theirs.
        y, x = np.ogrid[: matte.shape[0], : matte.shape[1]]
        x0, _, x1, _ = (float(v) * self._scale[i % 2] for i, v in enumerate(box.at))
        central = np.exp(-2.0 * ((x - (x0 + x1) / 2) / max(1, (x1 - x0) / 2)) ** 2).astype(np.float32) + 0 * y
        reach = max(2.0, 0.12 * (x1 - x0))
        touching = np.minimum(1, 4 * spread(np.asarray(rest, np.float32), reach))
        share = central / (central + 0.6 * touching + np.float32(1e-6))
        labels = np.dstack([found * share, rest + found * (1 - share), 1 - matte]).astype(np.float32)
        for _ in range(2):
            palette = Palette(3)
            palette.learn(self._rgb, labels, 1.0)
            colour = palette.likelihoods(self._rgb)
            own, other = share * colour[..., 0], (1 - share) * colour[..., 1]
            part = own / (own + other + np.float32(1e-9))
            labels = np.dstack([found * part, rest + found * (1 - part), 1 - matte]).astype(np.float32)
        own = along_edges(labels, np.ascontiguousarray(self._rgb[..., 1]))[..., 0] * inside
        return np.where(_enclosed(found, own, rest), found, own).astype(np.float32)

    def _agreed(self, box: Prompt, begun: Plane, known: Plane, strange: Plane | None) -> Plane:
        """What a later box means: what was followed there so far, and the rest of the foreground that is not strange.

        A box in which hardly anything of the subject is left begins it anew.
        """
        here = known * self._boxed(box)
        if here.sum() < HERE * max(known.sum(), 0.5 * begun.sum()):
            return begun
        return np.asarray(here if strange is None else np.maximum(here, begun * (1 - strange)), np.float32)

    def _beside(self, inside: Plane) -> Plane:
        """The foreground outside of a box that goes on inside of it."""
        wide = np.asarray(cv2.dilate(inside, np.ones((3, 3), np.uint8)), np.float32)
        rest = self._matte * (1 - wide)
        _, pieces = cv2.connectedComponents((rest > 0.5).astype(np.uint8), connectivity=8)
        near = cv2.dilate(wide, np.ones((3, 3), np.uint8)) > 0
        touching = np.setdiff1d(pieces[near & (self._matte > 0.5)], 0)
        return np.where(np.isin(pieces, touching), rest, 0).astype(np.float32)

    def _cut(self, box: Prompt, inside: Plane) -> Plane:
        """By the picture alone (GrabCut: Rother, Kolmogorov and Blake 2004)."""
        marks = np.where(inside > 0, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
        if min((inside > 0).sum(), (inside <= 0).sum()) < 20:
            return inside
        cv2.setRNGSeed(0)
        cv2.grabCut(self._rgb, marks, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
        return np.asarray(marks & 1, np.float32)

    def _boxed(self, box: Prompt) -> Plane:
        x0, y0, x1, y1 = on_picture(box, self._frame_size, self._matte.shape)
        inside = np.zeros(self._matte.shape, np.float32)
        inside[y0:y1, x0:x1] = 1
        return inside

    def _corrected(self, points: Sequence[Prompt], known: Plane) -> Plane:
        """With what surrounds points on the subject, and without what surrounds those that are not on it."""
        added = [point for point in points if point.kind == "point"]
        taken = [point for point in points if point.kind == "not-point"]
        mask = known
        if added:
            opposite = [replace(point, kind="not-point") for point in taken]
            mask = np.maximum(mask, self._by_points([*added, *opposite], np.maximum(self._matte, known), REACH))
        if taken:
            here = [replace(point, kind="point") for point in taken]
            there = [replace(point, kind="not-point") for point in added]
            mask = mask * (1 - self._by_points([*here, *there], mask, REACH))
        return np.asarray(mask, np.float32)

    def _by_points(self, points: Sequence[Prompt], mask: Plane, reach: float = np.inf) -> Plane:
        """The parts of a mask that are nearer to points on the subject than to points that are not.

        Nearness follows the mask and avoids the picture's edges; ``reach`` is the farthest.
        """
        marks = {"point": [], "not-point": []}  # type: dict[str, list[tuple[int, int]]]
        for each in points:
            marks[each.kind].append(_place(each, self._frame_size, mask.shape))
        near = {kind: self._distance(at, mask) for kind, at in marks.items()}
        # Somebody else who stands apart is not meant; gaps of two pixels are bridged.
        _, pieces = cv2.connectedComponents(cv2.dilate((mask > FOUND).astype(np.uint8), np.ones((3, 3), np.uint8)))
        pointed = np.setdiff1d([pieces[at] for at in marks["point"]], 0)
        belongs = (near["point"] < reach) & (near["point"] <= near["not-point"])
        belongs &= np.isin(pieces, pointed) | (near["point"] < 4)
        return np.asarray(np.where(belongs, np.maximum(mask, near["point"] < 4), 0), np.float32)

    def _distance(self, seeds: Sequence[tuple[int, int]], mask: Plane) -> Plane:
        """(h, w): geodesic distance from seeds inside of a mask, growing with differences of colour."""
        far: Plane = np.full(mask.shape, np.inf, np.float32)
        for seed in seeds:
            far[seed] = 0
        rgb = self._rgb.astype(np.float32) / 255
        cost = np.where(mask > FOUND, 1, 60).astype(np.float32)
        for _ in range(6):  # raster scans both ways
            for rows, step in ((range(1, far.shape[0]), -1), (range(far.shape[0] - 2, -1, -1), 1)):
                for y in rows:
                    jump = 1 + 40 * np.abs(rgb[y] - rgb[y + step]).sum(-1)
                    np.minimum(far[y], far[y + step] + cost[y] * jump, out=far[y])
            for columns, step in ((range(1, far.shape[1]), -1), (range(far.shape[1] - 2, -1, -1), 1)):
                for x in columns:
                    jump = 1 + 40 * np.abs(rgb[:, x] - rgb[:, x + step]).sum(-1)
                    np.minimum(far[:, x], far[:, x + step] + cost[:, x] * jump, out=far[:, x])
        return np.where((mask > FOUND) | (far < 4), far, np.inf).astype(np.float32)


def seen_at(point: Prompt, look: Look, matte: Plane, frame_size: tuple[int, int]) -> Plane:
    """A matte, (h, w), with what the network finds in a part around a point where it saw nothing in the whole.

    It counts only if the point is in it. Of 45 people of 0.1 to 0.4 of a picture's height whom the bundled network did
    not see, it found all in a quarter of the picture's width and height, 33 in half of these.
    """
    y, x = _place(point, frame_size, matte.shape)
    if matte[y, x] > FOUND:
        return matte
    height, width = matte.shape
    beside = Box(*(round(CLOSE / 2 * side) for side in (width, height, width, height)))
    part = Box(x, y, x + 1, y + 1).grown_by(beside, width, height)
    found = np.zeros_like(matte)
    part.of(found)[:] = look.closer(part)
    _, pieces = cv2.connectedComponents((found > FOUND).astype(np.uint8), connectivity=8)
    pointed = (pieces == pieces[y, x]) & (found[y, x] > FOUND)
    return np.asarray(np.where(pointed, np.maximum(matte, found), matte), np.float32)


def _place(point: Prompt, frame_size: tuple[int, int], size: tuple[int, ...]) -> tuple[int, int]:
    """Row and column of a point on a picture, (h, w)."""
    x, y = (int(v * own / whole) for v, own, whole in zip(point.at, size[::-1], frame_size[::-1], strict=True))
    return min(max(y, 0), size[0] - 1), min(max(x, 0), size[1] - 1)


def _enclosed(found: Plane, own: Plane, rest: Plane) -> NDArray[np.bool_]:
    """(h, w): what was given to others, and is cut off from what they have outside of the box."""
    given = ((found > 0.5) & (own < 0.5)).astype(np.uint8)
    _, pieces = cv2.connectedComponents(given, connectivity=8)
    outside = cv2.dilate((rest > 0.5).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    return (pieces > 0) & ~np.isin(pieces, np.setdiff1d(pieces[outside], 0))


def on_picture(box: Prompt, frame_size: tuple[int, int], size: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a box on a picture, (h, w); at least a pixel."""
    height, width = size
    across, down = width / frame_size[1], height / frame_size[0]
    left, top, right, bottom = box.at
    x0, y0 = min(width - 1, max(0, round(left * across))), min(height - 1, max(0, round(top * down)))
    return x0, y0, min(width, max(x0 + 1, round(right * across))), min(height, max(y0 + 1, round(bottom * down)))
