"""A tracker that needs no weights: masks move with the picture, and colours and the network's matte correct them.

Every pixel belongs to one of the subjects, to another foreground object, or to the background. What a pixel was in the
frame before is carried along the motion as far as that can be trusted. Where it cannot (something is uncovered, the
flow fails), the decision is made by how near the subject was, by the colours it had at its last prompt and lately, and
by the network, which tells foreground from background. A subject that disappears behind another is expected where its
motion would have taken it. Between two prompts, the masks carried from either side are blended.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from streammatte.motion import Motion, Picture, Plane, same_shot
from streammatte.subject.claims import settled
from streammatte.subject.contracts import OTHERS, Look, Looks, Prompt, Tracked
from streammatte.subject.labels import BACKGROUND, OTHER, Labels, absorbed, by_network, firm, found_again, touching
from streammatte.subject.named import Named, on_picture, seen_at
from streammatte.subject.palette import Palette
from streammatte.subject.region import MARGIN, Box, subject_box
from streammatte.subject.smoothing import along_edges, spread
from streammatte.subject.thing import HIDDEN, Thing

Masks = dict[tuple[str, int], Plane]
"""(h, w) of a subject in a frame."""

PART = 32  # frames read at once, backwards


class FlowTracker:
    """See the module."""

    def __call__(self, looks: Looks, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Mapping[str, Tracked]]]:
        names = list(dict.fromkeys(prompt.subject for prompt in prompts))
        later = _Shelf()
        first = min(prompt.index for prompt in prompts)
        last = max(prompt.index for prompt in prompts)
        # What only corrects a mask needs one on the way back, too: the one that comes from before.
        partial = _corrections(prompts)
        known: Masks = {}
        if partial:
            walk = _Walk(looks.frame_size, names, prompts)
            for look in looks.between(first, max(index for _, index in partial) + 1):
                known |= _masks_at(partial, look.index, walk.step(look))
        # Backwards first, from the last prompt; these masks are kept until the frames come forwards.
        walk = _Walk(looks.frame_size, names, prompts, known)
        known = {}
        for look in _backwards(looks, looks.indices.start, last + 1):
            found = walk.step(look)
            known |= _masks_at(partial, look.index, found)
            for name, tracked in found.items():
                later.put((name, look.index), tracked)
        walk = _Walk(looks.frame_size, names, prompts, known)
        prompted = {name: sorted({p.index for p in prompts if p.subject == name}) for name in names}
        prompted[OTHERS] = sorted({prompt.index for prompt in prompts})
        for look in looks.between(looks.indices.start, looks.indices.stop):
            onward = walk.step(look) if look.index >= first else {}
            seen = {}
            for name in prompted:
                seen[name] = _joined(
                    onward.get(name), later.take((name, look.index)), *_between(prompted[name], look.index)
                )
            away = {name: min(abs(at - look.index) for at in prompted[name]) for name in names}
            yield look.index, settled(seen, away)


def _corrections(prompts: Sequence[Prompt]) -> set[tuple[str, int]]:
    """Subjects and frames where prompts only correct a mask: a point or something whole begins one anew.

    A box does so where it is the subject's first prompt.
    """
    groups: dict[tuple[str, int], bool] = {}
    first = {prompt.subject: prompt.index for prompt in sorted(prompts, key=lambda each: -each.index)}
    for prompt in prompts:
        key = prompt.subject, prompt.index
        begins = prompt.kind == "point" or (_is_whole(prompt) and (prompt.mask is not None or key in first.items()))
        groups[key] = groups.get(key, True) and not begins
    return {key for key, partial in groups.items() if partial}


def _masks_at(wanted: Collection[tuple[str, int]], index: int, found: Mapping[str, Tracked]) -> Masks:
    return {(name, index): tracked.mask for name, tracked in found.items() if (name, index) in wanted}


def _backwards(looks: Looks, start: int, stop: int) -> Iterator[Look]:
    while stop > start:
        part = max(start, stop - PART)
        yield from reversed(list(looks.between(part, stop)))
        stop = part


def _between(prompted: Sequence[int], index: int) -> tuple[int | None, int | None]:
    """Frames to the prompt before and to the one after."""
    before = max((at for at in prompted if at <= index), default=None)
    after = min((at for at in prompted if at >= index), default=None)
    return None if before is None else index - before, None if after is None else after - index


def _joined(onward: Tracked | None, back: Tracked | None, since: int | None, until: int | None) -> Tracked:
    """What was carried from the prompts on either side, the nearer and surer one counting more."""
    onward, back = (onward if since is not None else None), (back if until is not None else None)
    known = [(each, far) for each, far in ((onward, since), (back, until)) if each is not None and far is not None]
    if not known:
        return Tracked(np.zeros((2, 2), np.float32), 0)
    if len(known) == 1 or known[0][1] == 0:
        return known[0][0]
    if known[1][1] == 0:
        return known[1][0]
    reach = known[0][1] + known[1][1]
    weights = [(1 - far / reach) ** 2 * (each.confidence + 0.02) for each, far in known]
    masks = [each.mask for each, _ in known]
    union = np.maximum(*masks).sum()
    if np.minimum(*masks).sum() < 0.5 * union:  # they follow different things, and a mixture would be neither
        return known[int(weights[1] > weights[0])][0]
    share = weights[0] / sum(weights)
    confidence = share * known[0][0].confidence + (1 - share) * known[1][0].confidence
    return Tracked(share * masks[0] + (1 - share) * masks[1], confidence)


class _Shelf:
    """Masks kept in 8 bits, compressed: a kilobyte or two each."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], tuple[bytes, tuple[int, ...], float]] = {}

    def put(self, key: tuple[str, int], tracked: Tracked) -> None:
        steps = np.rint(255 * tracked.mask).astype(np.uint8)
        self._kept[key] = zlib.compress(steps.tobytes(), 1), steps.shape, tracked.confidence

    def take(self, key: tuple[str, int]) -> Tracked | None:
        if key not in self._kept:
            return None
        data, shape, confidence = self._kept.pop(key)
        steps = np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape)
        return Tracked(np.asarray(steps, np.float32) / np.float32(255), confidence)


FINE = 200  # pixels of the longer side: beyond, flow is computed at half size, which is as good here
SMALL = 0.2  # of the picture: the network looks at a smaller subject by itself, too
SEEN_WELL = 0.8  # of a subject, in the matte of the whole frame: with less, the network looks at it by itself
TRUSTED = 0.9  # most weight of what is carried
STRANGE = 0.05  # likelihood of any colour, of something that is not known
FLOOR = 0.004  # chance of every label everywhere
REACH = 0.05  # of the picture's diagonal: how far a label spreads where motion cannot be trusted
RIVALS = 4  # most other things that are followed, so that they are known when they come out from behind
LARGE = 0.005  # of the picture: a smaller piece is not one of them
LOOKED_FOR = 4  # frames between searches for new ones


class _Walk:
    """One way through the frames: labels are carried from each to the next.

    Args:
        known: Masks from the other way, to correct where this one has none.
    """

    def __init__(
        self,
        frame_size: tuple[int, int],
        names: Sequence[str],
        prompts: Sequence[Prompt],
        known: Mapping[tuple[str, int], Plane] = MappingProxyType({}),
    ) -> None:
        self._frame_size, self._names, self._prompts, self._known = frame_size, names, prompts, known
        self._motion = Motion(FINE)
        self._labels: Labels | None = None
        self._picture: Picture | None = None
        self._start()

    def _start(self) -> None:
        self._things = [Thing() for _ in self._names]
        self._palette = Palette(len(self._names) + 2)
        self._since = 0  # frames since the last prompt

    def step(self, look: Look) -> dict[str, Tracked]:
        """The subjects in the next frame, those who have been named."""
        picture = Picture.of_rgb(look.picture)
        asked = [prompt for prompt in self._prompts if prompt.index == look.index]
        labels = None
        if self._labels is not None or asked:
            matte = self._looked_at(look, asked)
            if self._labels is not None:
                labels = self._carried(picture, matte, look.picture)
            if asked:
                labels = self._named(asked, look.picture, matte, labels)
            if labels is not None:
                labels = self._with_newcomers(labels, look.picture)
        self._picture, self._labels = picture, labels
        if labels is None:
            return {}
        named = {n: name for n, name in enumerate(self._names) if self._things[n].shape is not None}
        others = labels[..., :BACKGROUND].sum(-1) - sum(labels[..., n] for n in named)
        return {OTHERS: Tracked(others, 1.0), **{name: self._tracked(n, labels) for n, name in named.items()}}

    def _looked_at(self, look: Look, asked: Sequence[Prompt]) -> Plane:
        """The network's matte, with a closer look at boxes, at points, and at subjects that it hardly saw."""
        matte = look.matte()
        height, width = matte.shape
        boxes = [Box(*on_picture(each, self._frame_size, matte.shape)) for each in asked if each.kind == "box"]
        for n in range(len(self._names) if self._labels is not None else 0):
            mask = np.ascontiguousarray(self._labels[..., n])  # type: ignore[index]
            found = subject_box(mask)
            if found is None:
                continue
            if found.area < SMALL * width * height or (mask * matte).sum() < SEEN_WELL * mask.sum():
                boxes.append(found)
        for box in boxes:
            region = box.grown(MARGIN, width, height)
            here = region.of(matte)
            if here.size:
                here[:] = np.maximum(here, look.closer(region))
        for prompt in asked:
            if prompt.kind == "point":
                matte = seen_at(prompt, look, matte, self._frame_size)
        return matte

    def _carried(self, picture: Picture, matte: Plane, rgb: NDArray[np.uint8]) -> Labels | None:
        before, old = self._picture, self._labels
        assert before is not None and old is not None
        flow = self._motion.flow(picture.luma, before.luma)
        here, there = picture.with_alpha(matte), before.with_alpha(1 - old[..., BACKGROUND])
        trust = self._motion.trust(here, there, flow)
        if not same_shot(picture, before, trust):
            self._start()
            return None
        carried = np.stack(
            [self._motion.moved(np.ascontiguousarray(old[..., n]), flow) for n in range(old.shape[-1])], axis=-1
        )
        trust = np.float32(TRUSTED) * trust[..., None]
        height, width = matte.shape
        near = spread(carried, REACH * float(np.hypot(height, width)))
        absorbed(carried, near)
        self._expect(carried, near)
        colour = self._palette.likelihoods(rgb)
        colour[..., OTHER] = np.maximum(colour[..., OTHER], np.float32(STRANGE))
        found_again(carried, near, colour, matte)
        prior = trust * carried + (1 - trust) * near + self._floor()
        prior *= colour ** (1 - np.float32(0.75) * trust)
        prior *= by_network(matte, len(self._things))
        labels = firm(along_edges(prior / prior.sum(-1, keepdims=True), picture.luma))
        sure = labels.max(-1) > 0.8
        self._palette.learn(rgb, _known(labels * sure[..., None]), 0.06)
        close = touching(labels[..., :BACKGROUND])
        for n, thing in enumerate(self._things):
            if thing.shape is not None:
                fits = labels[..., n] + labels[..., OTHER] - np.float32(0.7) * labels[..., BACKGROUND]
                thing.follow(labels[..., n], flow, close[n], fits)
        return labels

    def _floor(self) -> Plane:
        """(labels,): the chance of each label everywhere; what is in sight does not appear elsewhere."""
        floor = np.full(len(self._things) + 2, FLOOR, np.float32)
        for n, thing in enumerate(self._things):
            if thing.shape is not None and not thing.unseen:
                floor[n] = FLOOR / 10
        return floor

    def _expect(self, carried: Labels, near: Labels) -> None:
        """Hold things that may be hidden, or hide others, to their shapes; raise the chances where they should be."""
        held = {n: each.held() for n, each in enumerate(self._things) if each.shape is not None and each.touched}
        for n, thing in enumerate(self._things):
            if thing.shape is None:
                continue
            if thing.unseen:  # the longer, the less is known of where it is
                shape = spread(thing.shape, 3 + min(40.0, 0.5 * thing.unseen))
                near[..., n] = np.maximum(near[..., n], np.float32(0.35) * shape)
            elif n in held:
                carried[..., n] *= np.float32(0.35) + np.float32(0.65) * held[n]
                near[..., n] = np.maximum(near[..., n], np.float32(0.5) * held[n])
                near[..., n] *= np.float32(0.06) + np.float32(0.94) * held[n]
            for m, other in held.items():  # what is seen whole is in front
                ahead = min(1.0, 3 * (self._things[m].seen - thing.seen))
                if m != n and ahead > 0:
                    behind = 1 - np.float32(0.85 * ahead) * other
                    carried[..., n] *= behind
                    near[..., n] *= behind

    def _with_newcomers(self, labels: Labels, rgb: NDArray[np.uint8]) -> Labels:
        """Labels of their own for other foreground objects that stand alone."""
        first = self._since == 0
        self._since += 1
        if not first and self._since % LOOKED_FOR:
            return labels
        other = np.ascontiguousarray(labels[..., OTHER] > 0.5).astype(np.uint8)
        taken = np.ascontiguousarray(labels[..., :OTHER].sum(-1) > 0.3).astype(np.uint8)
        taken = np.asarray(cv2.dilate(taken, np.ones((9, 9), np.uint8)), np.uint8)
        _, pieces, boxes, _ = cv2.connectedComponentsWithStats(other, connectivity=8)
        for piece in np.argsort(-boxes[1:, cv2.CC_STAT_AREA]) + 1:
            if boxes[piece, cv2.CC_STAT_AREA] < LARGE * other.size or len(self._things) >= len(self._names) + RIVALS:
                break
            where = pieces == piece
            if not first and taken[where].any():
                continue
            mask = np.where(where, labels[..., OTHER], 0)
            labels = np.insert(labels, len(self._things), mask, axis=-1)
            labels[..., OTHER] -= mask
            thing = Thing()
            thing.begin(mask)
            self._things.append(thing)
            self._palette.insert(len(self._things) - 1, rgb, mask)
        return labels

    def _named(self, asked: Sequence[Prompt], rgb: NDArray[np.uint8], matte: Plane, labels: Labels | None) -> Labels:
        """The labels, with the subjects named at this frame."""
        anew = all(any(p.mask is not None and _is_whole(p) for p in asked if p.subject == n) for n in self._names)
        if labels is None or anew:
            self._start()
            labels = np.zeros((*matte.shape, len(self._names) + 2), np.float32)
            labels[..., OTHER], labels[..., BACKGROUND] = matte, 1 - matte
        whole = {prompt.subject for prompt in asked if _is_whole(prompt)}
        # Points are read last: by themselves, they take what nobody else has been given.
        for name in sorted(dict.fromkeys(prompt.subject for prompt in asked), key=lambda name: name not in whole):
            n = self._names.index(name)
            # A point on another subject is not on this one.
            own = [prompt for prompt in asked if prompt.subject == name]
            others = [p for p in asked if p.kind == "point" and p.subject != name]
            own += [replace(p, kind="not-point") for p in others]
            known = (
                labels[..., n].copy() if self._things[n].shape is not None else self._known.get((name, own[0].index))
            )
            free = matte
            if known is None and name not in whole:
                free = matte * (1 - labels[..., : len(self._names)].sum(-1))
            mask = Named(self._frame_size, rgb, free).mask(own, known, self._strange(n, labels, rgb))
            rest = labels.copy()
            rest[..., n] = 0
            # What was the subject and is not any more goes back to where the network puts it.
            rest[..., OTHER] += 1e-3 * matte
            rest[..., BACKGROUND] += 1e-3 * (1 - matte)
            rest *= ((1 - mask) / rest.sum(-1))[..., None]
            rest[..., n] = mask
            labels = rest
            self._things[n].begin(mask)
        self._palette.learn(rgb, _known(labels), 1.0)
        self._since = 0
        return labels

    def _strange(self, n: int, labels: Labels, rgb: NDArray[np.uint8]) -> Plane | None:
        """(h, w): how surely other foreground is not this subject's, by its colours; ``None`` before the first."""
        if self._things[n].shape is None:
            return None
        colour = self._palette.likelihoods(rgb)
        others = [m for m in range(len(self._things)) if m != n]
        rival = np.maximum.reduce([colour[..., m] for m in others] + [np.full(labels.shape[:2], STRANGE, np.float32)])
        other = labels[..., others].sum(-1) + labels[..., OTHER]
        return np.asarray(other * rival / (rival + colour[..., n]), np.float32)

    def _tracked(self, n: int, labels: Labels) -> Tracked:
        mask, thing = labels[..., n], self._things[n]
        area = float(mask.sum())
        sure = float((mask * mask).sum() / area) if area > 1 else 0.0
        return Tracked(mask, sure * min(1.0, area / (HIDDEN * max(1.0, thing.area))))


def _known(labels: Labels) -> Labels:
    """Without what is nobody's, which has no colours of its own: they are a limb's, or somebody's who is not known."""
    known = labels.copy()
    known[..., OTHER] = 0
    return known


def _is_whole(prompt: Prompt) -> bool:
    """Whether it describes all of a subject."""
    return prompt.kind == "box" or (prompt.mask is not None and not np.isnan(prompt.mask).any())
