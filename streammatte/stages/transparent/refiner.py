"""Refine glass, veils and smoke by a slow network's mattes of a few frames, carried to all others.

A network for transparent objects takes seconds per frame and does not know time. So it mattes keyframes only: at every
multiple of ``every``, and where a region begins, changes or ends. Its mattes are carried to the frames between from
both sides (`carrying`) and joined with the existing matte. That one is kept outside of the region, and inside where
both mattes are solid or both are clear.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import torch

from streammatte.errors import ModelError
from streammatte.frame import Cutout
from streammatte.motion import Motion, Plane
from streammatte.stages.mattes import Guide
from streammatte.stages.motion_links import Linker
from streammatte.stages.tiles import scaled
from streammatte.stages.transparent.blending import joined
from streammatte.stages.transparent.carrying import WAYS, Crop, Mask, Side, carried, foretold
from streammatte.stages.transparent.keyframes import Key, KeyframeModel, Seen
from streammatte.stages.transparent.regions import Box, BoxRegion, Finder, checked_box, resized

GRID = 1024
"""Pixels of the longer side at which mattes are joined, at most: SDMatte's own."""

FOUND = 2  # keyframe distances over which evidence of a region is gathered
BETTER = 0.8  # of the flow's error: another way is taken if its error is below that


class TransparencyRefiner:
    """The stage. Holds back fewer than ``every`` cut-outs, and scales every alpha to one grid.

    Args:
        model: Mattes keyframes. Its exceptions pass through.
        every: Most frames from one keyframe to the next.
        region: Mattes whose white is transparent; a box in the first frame's pixels, which follows its content to the
            end of the shot; ``None``: found from the mattes.

    Raises:
        ValueError: ``every`` is below 1.
        InputError: From ``push``: the box is not within the frame; or a guide's own.

    Attributes:
        behind, ahead: As in ``Stage``. A box depends on all frames before.
        keyframes: Indices of the frames that the model matted.
        left: Index of the first frame without the box, after it left the frame or its shot ended; else ``None``.
    """

    def __init__(self, model: KeyframeModel, *, every: int = 12, region: Guide | Box | None = None) -> None:
        if every < 1:
            raise ValueError(f"every={every}: must be 1 or more")
        self.ahead, self.behind = every, 3 * every
        self.keyframes: list[int] = []
        self.left: int | None = None
        self._model, self._every = model, every
        self._motion, self._linker = Motion(), Linker()
        self._guide: Guide | None = None
        self._box: BoxRegion | None = None
        self._finder: Finder | None = None
        if isinstance(region, tuple):
            self._box, self.behind = BoxRegion(region), sys.maxsize
        elif region is None:
            self._finder, self.behind = Finder(self._motion, FOUND * every), (2 * FOUND + 2) * every
        else:
            self._guide = region
        self._key: Key | None = None
        self._held: list[Seen] = []
        self._last: Seen | None = None
        self._alone = False

    def push(self, cutout: Cutout) -> Iterator[Cutout]:
        """The cut-out if it has no region; those that wait, and it, if it is a keyframe; else nothing."""
        if self._alone:
            yield cutout
            return
        seen, last = self._seen(cutout), self._last
        if last is not None and last.grid != seen.grid:
            yield from self.flush()
            last = self._last = None
        seen.mark(self._region(seen, last))
        self._last = seen
        if seen.region is None:
            if self._box is not None and self.left is None:
                self.left = seen.index
            yield from self.flush()
            yield seen.cutout
            return
        if self._key is not None and not seen.link.one_shot:
            yield from self.flush()
        if self._key is None:
            yield self._new_key(seen)
            return
        assert last is not None
        seen.follow(last, self._motion)
        self._key.since += 1
        if self._key.is_outdated_by(seen, self._every, self._motion):
            yield from self._between(seen)
        else:
            self._held.append(seen)

    def flush(self) -> Iterator[Cutout]:
        """The cut-outs that wait. The last of them becomes a keyframe, unless the one before is near."""
        if self._held and self._key is not None and self._key.since > self._every // 2:
            yield from self._between(self._held.pop())
        yield from self._from_one_side()
        self._key = None
        if self._last is not None:
            self._last.past = None

    def _seen(self, cutout: Cutout) -> Seen:
        """The cut-out, scaled to the grid."""
        frame = cutout.frame
        scale = min(1.0, GRID / max(frame.size))
        grid = max(1, round(scale * frame.height)), max(1, round(scale * frame.width))
        link = self._linker.of(cutout)
        # SDMatte's detail is kept until the lift, which scales all frames alike.
        cutout = replace(cutout, alpha=scaled(cutout.alpha, grid))
        return Seen(cutout, link, scaled(cutout.alpha.float().cpu(), link.here.size).numpy())

    def _region(self, seen: Seen, last: Seen | None) -> Mask | None:
        """Where the cut-out is transparent, at any size; ``None`` if nowhere."""
        if self._finder is not None:
            return self._finder.at(seen.index, seen.alpha, seen.link)
        if self._guide is not None:
            return np.asarray(self._guide.at(seen.cutout.frame).cpu().numpy() > 0.5)
        assert self._box is not None
        height, width = seen.cutout.frame.size
        if not self._box.begun:
            checked_box(self._box.box, width, height)
        elif last is None or last.small is None or not seen.link.one_shot:
            return None  # its content has left, or its shot is over
        else:
            # Its new place is not known yet: near the old one.
            here = seen.link.here.with_alpha(np.maximum(seen.alpha, last.small.astype(np.float32)))
            forward, _ = self._motion.mended(last.view, here, *seen.link.flows)
            scale = width / seen.alpha.shape[1], height / seen.alpha.shape[0]
            self._box.follow(forward, last.small, self._known(last), scale)
        return self._box.mask(height, width)

    def _known(self, last: Seen) -> Plane:
        """(h, w): the best alpha known for the frame before."""
        if self._key is None:
            return last.alpha
        if last.past is None:
            return self._key.small
        return np.asarray(self._motion.moved(self._key.small, last.past.along(self._key.way)), np.float32)

    def _new_key(self, seen: Seen) -> Cutout:
        """The cut-out, joined with the model's matte."""
        assert seen.region is not None and seen.small is not None
        frame = seen.cutout.frame
        said = self._model(frame, torch.from_numpy(resized(seen.region, frame.size)))
        if said is None:
            self._alone, self._key = True, None
            return seen.cutout
        if not said.isfinite().all():
            raise ModelError(f"SDMatte returned NaN for frame {seen.index}", hint="try --precision fp32")
        self.keyframes.append(seen.index)
        answer = np.asarray(scaled(said.detach().float().cpu(), seen.grid).numpy(), np.float32)
        if self._finder is not None:
            seen.mark(self._finder.learn(_shrunk(answer, seen.alpha.shape), seen.small))
        region = seen.region
        crop = Crop.around(region, seen.alpha.shape)
        # Not the joined matte: its border would be feathered again in every frame that it is carried to.
        alpha = np.where(region, answer, seen.cutout.alpha.float().cpu().numpy())
        self._key = Key(seen.index, alpha, _shrunk(alpha, seen.alpha.shape), seen.small, seen.view)
        seen.past = None
        return joined(seen.cutout, region, answer[crop.window], crop)

    def _between(self, seen: Seen) -> Iterator[Cutout]:
        """The cut-outs that wait, from both sides, and a new keyframe."""
        before, past, region = self._key, seen.past, seen.small
        assert before is not None and past is not None and region is not None
        cutout = self._new_key(seen)
        after = self._key
        if after is None:
            self._key = before
            yield from self._from_one_side()
            self._key = None
            yield cutout
            return
        off = foretold(before.small, after.small, past, region, self._motion)
        best = min(WAYS, key=off.__getitem__)
        before.way = after.way = best if off[best] < BETTER * off["flow"] else "flow"
        future, futures = seen.onward, []
        for each in reversed(self._held):
            assert future is not None and each.onward is not None
            futures.append(future)
            future = each.onward.then(future, self._motion)
        for each, future in zip(self._held, reversed(futures), strict=True):
            assert each.past is not None
            near = (each.index - before.index) / (after.index - before.index)
            pair = [Side(before.alpha, before.view, each.past, 1 - near), Side(after.alpha, after.view, future, near)]
            yield self._joined(each, pair, before.way)
        self._held.clear()
        yield cutout

    def _from_one_side(self) -> Iterator[Cutout]:
        """The cut-outs that wait, from the last keyframe alone."""
        for each in self._held:
            assert self._key is not None and each.past is not None
            yield self._joined(each, [Side(self._key.alpha, self._key.view, each.past, 1.0)], self._key.way)
        self._held.clear()

    def _joined(self, seen: Seen, sides: list[Side], way: str) -> Cutout:
        assert seen.region is not None
        crop = Crop.around(seen.region, seen.alpha.shape)
        return joined(seen.cutout, seen.region, carried(seen.view, sides, way, crop, self._motion), crop)


def _shrunk(alpha: Plane, size: tuple[int, ...]) -> Plane:
    return np.asarray(cv2.resize(alpha, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.float32)
