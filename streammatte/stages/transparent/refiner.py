"""See through glass, veils and smoke: a matte that knows how, in few frames, carried to all others.

A network that sees through things takes seconds for a frame, and knows nothing of time. So it is asked for keyframes
alone: the first frame with a region to be seen through (`regions`), one of so many after it, the first that the
carried matte no longer fits, and the last of a region or a shot. What it says is carried to the frames between from
both sides (`carrying`), and joined to the matte that is there: outside of the region this is kept bit for bit, and
inside wherever both say solid, or both nothing; elsewhere inside, the region wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streammatte.errors import ModelError
from streammatte.frame import Cutout, Frame
from streammatte.motion import FINE, Motion, Plane, View, same_shot
from streammatte.stages.detail import lifted
from streammatte.stages.linking import picture_of
from streammatte.stages.mattes import Guide
from streammatte.stages.tiles import scaled
from streammatte.stages.transparent.carrying import (
    Crop,
    Mask,
    Side,
    Step,
    carried,
    foretold,
    step,
)
from streammatte.stages.transparent.joining import joined
from streammatte.stages.transparent.regions import Box, BoxRegion, Finder, checked_box

WIDTH = 640
"""Pixels of the longer side at which motion and regions are told, at most; mattes are carried at their own size."""

LOST = 0.5  # of the trust in the first frame after a keyframe: with less, the keyframe tells too little
NEW = 0.25  # of a region: what has come to it since the keyframe
BETTER = 0.8  # of the flow's error: another way must do as well as that to be taken
SOON = 3  # keyframes lie at least a third of their usual distance apart, whatever happens in between


class KeyframeMatter(Protocol):
    """What sees through things."""

    def __call__(self, frame: Frame, region: Tensor) -> Tensor | None:
        """(H, W) float32 in [0, 1]; only what lies within ``region``, (H, W) booleans, means anything.

        ``None``, to the first question alone: there is nobody who could answer, and no more questions are put.
        """
        ...


@dataclass(slots=True, eq=False)
class _Seen:
    """A frame with a region."""

    cutout: Cutout
    region: Mask  # (H, W)
    small: Mask  # (h, w)
    view: View
    back: Step | None = None  # to the frame before
    on: Step | None = None  # to the next
    past: Step | None = None  # to the keyframe before


@dataclass(slots=True, eq=False)
class _Key:
    """A keyframe."""

    index: int
    alpha: Plane  # (H, W), what the matter says of the region, and the cut-out's own around it
    small: Plane  # (h, w)
    region: Mask  # (h, w)
    view: View
    way: Literal["flow", "piece", "still"] = "flow"
    since: int = 0  # frames
    first_trust: float = 1.0


@dataclass(eq=False)
class _Last:
    """What is remembered of the frame before.

    Attributes:
        rgb, alpha: (h, w, 3) and (h, w).
        shown: (h, w), the alpha by which motion is told: what can be seen through counts as the subject.
        size: (H, W) of the frame.
        small: (h, w), its region.
        past: From it to the keyframe, unless it is one.
    """

    rgb: NDArray[np.uint8]
    alpha: Plane
    shown: Plane
    size: tuple[int, ...]
    small: Mask | None = None
    past: Step | None = None

    @cached_property
    def view(self) -> View:
        return View.of(self.rgb, self.shown)


class TransparencyRefiner:
    behind = ahead = 0

    """The stage. Holds back fewer than ``every`` cut-outs; a frame without a region passes as it is.

    Args:
        matter: Asked for keyframes. Whatever it raises passes through.
        every: Frames from a keyframe to the next, at most.
        region: Mattes whose white is to be seen through; a box, in the first frame's pixels, which follows what is in
            it to the end of the shot; ``None``: what the mattes tell.
        ahead: Whether cut-outs may be held back. If not, a keyframe serves only those after it.
        width: Pixels of the longer side at which motion is told.

    Raises:
        ValueError: ``every`` is below 1.
        InputError: By ``push``: a box that is not within the frame; a guide's own.

    Attributes:
        keyframes: Indices of the frames that were handed to the matter, as far as this stage itself has seen them.
        left: Index of the first frame without a box, which has ended with its shot or left the frame; else ``None``.
    """

    def __init__(
        self,
        matter: KeyframeMatter,
        *,
        every: int = 12,
        region: Guide | Box | None = None,
        ahead: bool = True,
        width: int = WIDTH,
    ) -> None:
        if every < 1:
            raise ValueError(f"a keyframe every {every} frames: it must be 1 or more")
        self.every = every
        self.keyframes: list[int] = []
        self.left: int | None = None
        self._matter, self._ahead, self._width = matter, ahead, width
        self._motion = Motion(min(FINE, width - 1))
        self._guide = None if region is None or isinstance(region, tuple) else region
        self._box = BoxRegion(region) if isinstance(region, tuple) else None
        self._finder = Finder(self._motion) if region is None else None
        self._key: _Key | None = None
        self._held: list[_Seen] = []
        self._last: _Last | None = None
        self._begun = self._alone = False

    def push(self, cutout: Cutout) -> Iterator[Cutout]:
        """The cut-out if it has no region; else those that wait for it, and it, if it is a keyframe."""
        if self._alone:
            yield cutout
            return
        cutout = lifted(cutout)
        if self._last is not None and self._last.size != cutout.alpha.shape:
            yield from self.flush()
            self._last = None
        picture = picture_of(cutout.frame, self._width)
        rgb, alpha = picture.rgba[..., :3].copy(), scaled(cutout.alpha.float().cpu(), picture.size).numpy()
        last, here = self._last, _Last(rgb, alpha, alpha, tuple(cutout.alpha.shape))
        # What is to be found, or followed, is not known yet: it is near where it was.
        if last is not None and last.small is not None and last.alpha.shape == alpha.shape:
            here.shown = np.maximum(alpha, last.small.astype(np.float32))
        link = _Link(self._motion, last, here)
        full, here.small = self._region(cutout, here, link)
        self._last = here
        if full is None or here.small is None:
            if self._box is not None and self.left is None:
                self.left = cutout.frame.index
            yield from self.flush()
            yield cutout
            return
        if self._key is not None and link() is None:
            yield from self.flush()
        seen = _Seen(cutout, full, here.small, here.view)
        if self._key is None:
            yield self._new_key(seen)
            return
        assert last is not None and last.small is not None
        seen.back, on = step(link.backward, here.small), step(link.forward, last.small)
        if self._held:
            self._held[-1].on = on
        seen.past = seen.back if last.past is None else seen.back.then(last.past, self._motion)
        here.past = seen.past
        self._key.since += 1
        if self._due(seen):
            yield from self._between(seen, on)
        elif self._ahead:
            self._held.append(seen)
        else:
            yield self._joined(seen, [self._before(seen, self._key)], self._key.way)

    def flush(self) -> Iterator[Cutout]:
        """The cut-outs that wait; the last of them is a keyframe, too, unless the one before is near."""
        if self._held and self._key is not None and self._key.since > self.every // 2:
            last = self._held.pop()
            on = self._held[-1].on if self._held else last.back
            assert on is not None
            yield from self._between(last, on)
        if self._key is not None:
            for seen in self._held:
                yield self._joined(seen, [self._before(seen, self._key)], self._key.way)
        self._held.clear()
        self._key = None
        if self._last is not None:
            self._last.past = None

    def state(self) -> dict[str, NDArray[Any]]:
        """All that is remembered before the next cut-out, as copies; without cut-outs that wait."""
        known: dict[str, NDArray[Any]] = {"begun": np.array([self._begun, self._alone])}
        if self._last is not None:
            known |= {f"last.{name}": getattr(self._last, name) for name in ("rgb", "alpha", "shown")}
            known["last.size"] = np.array(self._last.size)
            known |= {} if self._last.small is None else {"last.small": self._last.small}
            past = self._last.past
            known |= {} if past is None else {"past.flow": past.flow, "past.piece": past.piece}
        if self._key is not None:
            key = self._key
            known |= {"key.alpha": key.alpha, "key.small": key.small, "key.region": key.region}
            known |= {"key.rgb": key.view.rgba[..., :3], "key.seen": key.view.alpha}
            known["key.count"] = np.array([key.index, key.since, _WAYS.index(key.way)])
            known["key.trust"] = np.array(key.first_trust)
        if self._box is not None:
            known["box"] = self._box.shift
        if self._finder is not None:
            known |= {f"found.{name}": value for name, value in self._finder.state().items()}
        return {name: np.array(value) for name, value in known.items()}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Remember what another one did."""
        self._begun, self._alone = map(bool, state["begun"])
        if "last.rgb" in state:
            size = tuple(map(int, state["last.size"]))
            self._last = _Last(
                state["last.rgb"], state["last.alpha"], state["last.shown"], size, state.get("last.small")
            )
            self._last.past = Step(state["past.flow"], state["past.piece"]) if "past.flow" in state else None
        if "key.alpha" in state:
            index, since, way = map(int, state["key.count"])
            view = View.of(np.ascontiguousarray(state["key.rgb"]), state["key.seen"])
            mattes = state["key.alpha"], state["key.small"], state["key.region"]
            self._key = _Key(index, *mattes, view, _WAYS[way], since, float(state["key.trust"]))
        if self._box is not None:
            self._box.shift = np.array(state["box"])
        if self._finder is not None:
            found = {name.partition(".")[2]: value for name, value in state.items() if name.startswith("found.")}
            self._finder.restore(found)

    def _region(self, cutout: Cutout, here: _Last, link: _Link) -> tuple[Mask | None, Mask | None]:
        """Where the cut-out can be seen through, in the frame's size and reduced; ``None`` if nowhere."""
        height, width = cutout.alpha.shape
        first, self._begun = not self._begun, True
        if self._finder is not None:
            small = self._finder.at(here.alpha, link.backward_trusted)
            full = None if small is None else _resized(small, (height, width))
        elif self._guide is not None:
            full = self._guide.at(cutout.frame).cpu().numpy() > 0.5
            here.shown = np.maximum(here.alpha, _resized(full, here.alpha.shape).astype(np.float32))
        else:
            assert self._box is not None
            if first:
                checked_box(self._box.box, width, height)
            elif self._last is None or self._last.small is None:
                return None, None  # what was in it has left, or its shot is over
            elif link() is None:
                return None, None
            else:
                scale = width / here.alpha.shape[1], height / here.alpha.shape[0]
                self._box.follow(link.forward, self._last.small, self._known(), scale)
            full = self._box.mask(height, width)
        if full is None or not full.any():
            return None, None
        small = _resized(full, here.alpha.shape)
        return (full, small) if small.any() else (None, None)

    def _known(self) -> Plane:
        """(h, w): the best that is known of the frame before."""
        assert self._last is not None
        if self._key is None:
            return self._last.alpha
        return self._key.small if self._last.past is None else self._carried_small(self._last.past)

    def _carried_small(self, past: Step) -> Plane:
        assert self._key is not None
        return self._motion.moved(self._key.small, past.along(self._key.way))

    def _due(self, seen: _Seen) -> bool:
        """Whether a frame is to be a keyframe."""
        key, motion = self._key, self._motion
        assert key is not None and seen.past is not None
        trust = float(motion.trust(seen.view, key.view, seen.past.flow)[seen.small].mean())
        if key.since == 1:
            key.first_trust = trust
        if key.since >= self.every:
            return True
        if key.since * SOON < self.every:
            return False
        old = motion.moved(key.region.astype(np.float32), seen.past.flow) > 0.5
        new = np.count_nonzero(seen.small & ~old)
        return bool(new > NEW * np.count_nonzero(seen.small)) or trust < LOST * key.first_trust

    def _new_key(self, seen: _Seen) -> Cutout:
        """The cut-out with what the matter says of it."""
        index = seen.cutout.frame.index
        said = self._matter(seen.cutout.frame, torch.from_numpy(seen.region))
        if said is None:
            self._alone, self._key = True, None
            return seen.cutout
        said = said.detach().float().cpu()
        if not said.isfinite().all():
            raise ModelError(f"the see-through matte of frame {index} is no numbers", hint="try --precision fp32")
        self.keyframes.append(index)
        answer = np.asarray(said.numpy())
        crop = Crop.around(seen.region, seen.small.shape)
        cutout = joined(seen.cutout, seen.region, answer[crop.window], crop)
        # Not what was joined: its border would be feathered again in every frame that it is carried to.
        alpha = np.where(seen.region, answer, seen.cutout.alpha.float().cpu().numpy())
        size = seen.small.shape[1], seen.small.shape[0]
        small = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.float32)
        self._key = _Key(index, alpha, small, seen.small, seen.view)
        if self._last is not None:
            self._last.past = None
            if self._finder is not None and self._last.view is seen.view:  # else that frame has passed
                told = np.asarray(cv2.resize(answer, size, interpolation=cv2.INTER_AREA), np.float32)
                self._finder.learn(told, seen.small)
        return cutout

    def _between(self, seen: _Seen, on: Step) -> Iterator[Cutout]:
        """The cut-outs that wait, and a new keyframe. ``on``: from the frame before it."""
        before = self._key
        assert before is not None and seen.past is not None
        cutout = self._new_key(seen)
        after = self._key
        if after is None:
            yield from (self._joined(each, [self._before(each, before)], before.way) for each in self._held)
            self._held.clear()
            yield cutout
            return
        off = foretold(before.small, after.small, seen.past, seen.small, self._motion)
        best = min(_WAYS, key=off.__getitem__)
        before.way = after.way = best if off[best] < BETTER * off["flow"] else "flow"
        future, sides = on, []
        for place in range(len(self._held) - 1, -1, -1):
            sides.append(future)
            if place:
                link = self._held[place - 1].on
                assert link is not None
                future = link.then(future, self._motion)
        distance = after.index - before.index
        for each, future in zip(self._held, reversed(sides), strict=True):
            assert each.past is not None
            near = (each.cutout.frame.index - before.index) / distance
            pair = [Side(before.alpha, before.view, each.past, 1 - near), Side(after.alpha, after.view, future, near)]
            yield self._joined(each, pair, before.way)
        self._held.clear()
        yield cutout

    def _before(self, seen: _Seen, key: _Key) -> Side:
        assert seen.past is not None
        return Side(key.alpha, key.view, seen.past, 1.0)

    def _joined(self, seen: _Seen, sides: list[Side], way: str) -> Cutout:
        crop = Crop.around(seen.region, seen.small.shape)
        said = carried(seen.view, sides, way, crop, self._motion)
        return joined(seen.cutout, seen.region, said, crop)


_WAYS: tuple[Literal["flow", "piece", "still"], ...] = ("flow", "piece", "still")


class _Link:
    """Motion between the frame before and this one, told once, when it is first asked for."""

    def __init__(self, motion: Motion, last: _Last | None, here: _Last) -> None:
        self._motion, self._last, self._here = motion, last, here
        self._known: tuple[Plane, Plane, Plane] | None = None
        self._asked = False

    def __call__(self) -> tuple[Plane, Plane, Plane] | None:
        """Flow from the frame before, back to it, and trust in that; ``None`` across a cut, and at the beginning."""
        if not self._asked:
            self._asked = True
            if self._last is not None and self._last.alpha.shape == self._here.alpha.shape:
                before, view = self._last.view, self._here.view
                forward, backward = self._motion.between(before, view)
                trust = self._motion.trust(view, before, backward)
                self._known = (forward, backward, trust) if same_shot(view, before, trust) else None
        return self._known

    @property
    def forward(self) -> Plane:
        known = self()
        assert known is not None
        return known[0]

    @property
    def backward(self) -> Plane:
        known = self()
        assert known is not None
        return known[1]

    def backward_trusted(self) -> tuple[Plane, Plane] | None:
        known = self()
        return None if known is None else known[1:]


def _resized(mask: Mask, size: tuple[int, ...]) -> Mask:
    """(h, w), set where half of a pixel is."""
    planes = cv2.resize(mask.astype(np.float32), (size[1], size[0]), interpolation=_filter(mask.shape, size))
    return np.asarray(planes >= 0.5)


def _filter(old: tuple[int, ...], new: tuple[int, ...]) -> int:
    return cv2.INTER_AREA if new[0] < old[0] else cv2.INTER_LINEAR
