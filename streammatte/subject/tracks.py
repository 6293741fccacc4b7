"""The pass before the model: where each subject is in every frame, tracked once and kept in the cache.

The clip is tracked in spans between frames at which every subject is described as a whole. A span depends on the
prompts at its ends and within it and on nothing else, so a correction changes its own span, and the others come from
the cache bit for bit.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
import torch

from streammatte.errors import StreammatteError
from streammatte.subject.contracts import OTHERS, Looks, Prompt, Tracked, Tracker
from streammatte.subject.region import Box, choose, subject_box

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from streammatte.motion import Plane

LONGEST = 256
"""Pixels of the longer side of a mask that is kept."""

PIECE = 0.01  # of a mask: a smaller piece of it does not widen the region
NOTHING = Tracked(np.zeros((1, 1), np.float32), 0.0)
LOST = 0.25  # confidence below which a subject counts as lost
DOUBTFUL = 0.5  # confidence below which a frame is worth a look
VERSION = 1  # of what is stored


@dataclass(frozen=True, slots=True)
class Place:
    """What a mask is stored under in the cache: a frame of the whole clip."""

    index: int
    pts: int = 0


class Store(Protocol):
    """The cache, as far as it is needed here."""

    def get(self, kind: bytes, frame: Place, /) -> Tensor | None: ...
    def put(self, kind: bytes, frame: Place, answer: Tensor, /) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """A part of the clip that is tracked by itself.

    Attributes:
        frames: Whose masks are taken from it.
        seen: These, and the prompted frame that ends it.
        prompts: Those within.
    """

    frames: range
    seen: range
    prompts: tuple[Prompt, ...]


def spans_of(prompts: Sequence[Prompt], indices: range) -> list[Span]:
    """The spans of a clip, in order.

    A span ends where every subject has a box, or a mask that leaves nothing open; a single point only adds to what is
    known.
    """
    names = {prompt.subject for prompt in prompts}
    whole: dict[int, set[str]] = {}
    for prompt in prompts:
        complete = prompt.kind == "box" or (prompt.mask is not None and not np.isnan(prompt.mask).any())
        if complete:
            whole.setdefault(prompt.index, set()).add(prompt.subject)
    ends = sorted(index for index, said in whole.items() if said == names)
    starts = [indices.start, *(end for end in ends if end > indices.start)]
    spans = []
    for place, start in enumerate(starts):
        last = place + 1 == len(starts)
        stop = indices.stop if last else starts[place + 1]
        seen = range(start, stop if last else stop + 1)
        within = tuple(prompt for prompt in prompts if prompt.index in seen)
        spans.append(Span(range(start, stop), seen, within))
    return spans


class Tracks:
    """Masks of named subjects in every frame, 8 bits a pixel and compressed: about a kilobyte each."""

    def __init__(self, names: Sequence[str], frame_size: tuple[int, int]) -> None:
        scale = min(1.0, LONGEST / max(frame_size))
        self.names = tuple(names)
        self.size = max(1, round(scale * frame_size[0])), max(1, round(scale * frame_size[1]))
        self._kept: dict[tuple[str, int], tuple[bytes, float]] = {}
        self.starts: set[int] = set()  # of spans
        self.painted: dict[tuple[str, int], Plane] = {}

    def keep(self, name: str, index: int, tracked: Tracked) -> Tensor:
        """Keep a mask; returns what the cache stores of it: (h + 1, w), the confidence in the last row."""
        mask = np.nan_to_num(np.asarray(tracked.mask, np.float32)).clip(0, 1)
        if mask.shape != self.size:
            shrinks = mask.size > self.size[0] * self.size[1]
            mask = cv2.resize(mask, self.size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        steps = np.rint(mask * 255).astype(np.uint8)
        confidence = round(min(1.0, max(0.0, float(tracked.confidence))) * 255) / 255
        self._kept[name, index] = zlib.compress(steps.tobytes(), 1), confidence
        row = np.full((1, self.size[1]), confidence, np.float32)
        return torch.from_numpy(np.vstack([steps.astype(np.float32) / 255, row]))

    def at(self, name: str, index: int) -> Tracked:
        """The mask for a frame: (h, w) of ``size``; empty where there is none."""
        data, confidence = self._kept.get((name, index), (b"", 0.0))
        if not data:
            return Tracked(np.zeros(self.size, np.float32), 0.0)
        steps = np.frombuffer(zlib.decompress(data), np.uint8).reshape(self.size)
        return Tracked(steps.astype(np.float32) / np.float32(255), confidence)

    def regions(self, name: str, canvas: tuple[int, int], indices: range) -> dict[int, Box]:
        """What the network sees in each frame, in pixels of a canvas (h, w); frames without the subject have none.

        The region stays in place while the subject is well within it, and is chosen anew where a span begins.
        """
        height, width = canvas
        whole = Box(0, 0, width, height)
        regions: dict[int, Box] = {}
        now: Box | None = None
        for index in indices:
            if index in self.starts:
                now = None
            mask = self.at(name, index).mask
            found = subject_box(mask, PIECE * float(mask.mean()))
            if found is None:
                continue
            now = choose(_on(found, self.size, canvas), now, width, height)
            regions[index] = now or whole
        return regions

    def confidences(self, name: str, indices: range) -> list[float]:
        """The tracker's confidence in each frame."""
        return [self._kept.get((name, index), (b"", 0.0))[1] for index in indices]

    def below(self, least: float, name: str, indices: range) -> list[range]:
        """The stretches in which the confidence is below ``least``."""
        stretches: list[range] = []
        for index, confidence in zip(indices, self.confidences(name, indices), strict=True):
            if confidence >= least:
                continue
            if stretches and stretches[-1].stop == index:
                stretches[-1] = range(stretches[-1].start, index + 1)
            else:
                stretches.append(range(index, index + 1))
        return stretches

    def lost(self, name: str, indices: range) -> list[range]:
        """The stretches in which a subject is lost or not in the picture."""
        return self.below(LOST, name, indices)

    def doubtful(self, name: str, indices: range) -> list[int]:
        """The frame of each doubtful stretch that most wants a correction: its least confident one, the first such."""
        worst = []
        for stretch in self.below(DOUBTFUL, name, indices):
            confidences = self.confidences(name, stretch)
            worst.append(stretch[confidences.index(min(confidences))])
        return worst


def _on(box: Box, size: tuple[int, int], canvas: tuple[int, int]) -> Box:
    """A box of a mask, in pixels of a canvas, rounded outwards."""
    down, across = canvas[0] / size[0], canvas[1] / size[1]
    x1, y1 = -int(-box.x1 * across // 1), -int(-box.y1 * down // 1)
    return Box(int(box.x0 * across), int(box.y0 * down), min(canvas[1], x1), min(canvas[0], y1))


def track(
    tracker: Tracker,
    identity: str,
    looks: Callable[[range], Looks],
    prompts: Sequence[Prompt],
    indices: range,
    frame_size: tuple[int, int],
    store: Store | None,
    wanted: Collection[int] | None = None,
) -> Tracks:
    """Follow the subjects through a clip; what the store has is not tracked again.

    Args:
        identity: All that decides the masks besides the clip, the network and the prompts: the tracker and its weights.
        looks: Opens a part of the clip.
        wanted: Leave out the spans without any of these frames.

    Raises:
        StreammatteError: The tracker broke its contract.
    """
    names = list(dict.fromkeys(prompt.subject for prompt in prompts))
    tracks = Tracks(names, frame_size)
    for span in spans_of(prompts, indices):
        if wanted is not None and not any(index in span.frames for index in wanted):
            continue
        tracks.starts.add(span.frames.start)
        kinds = {name: _kind(identity, name, span) for name in (*names, OTHERS)}
        if store is not None and _read(tracks, kinds, span, store):
            continue
        for index, found in _tracked(tracker, looks(span.seen), span, names):
            for name in kinds:
                record = tracks.keep(name, index, found.get(name, NOTHING))
                if store is not None:
                    store.put(kinds[name], Place(index), record)
    for prompt in prompts:
        if prompt.mask is not None:
            tracks.painted[prompt.subject, prompt.index] = prompt.mask
    return tracks


def _tracked(
    tracker: Tracker, looks: Looks, span: Span, names: Iterable[str]
) -> Iterator[tuple[int, dict[str, Tracked]]]:
    """What a tracker says of the frames of a span, in order; at the end of a clip, some may be missing."""
    wanted = iter(span.frames)
    for index, found in tracker(looks, span.prompts):
        if index not in span.frames:
            continue
        due = next(wanted, None)
        if index != due or not all(name in found for name in names):
            raise StreammatteError(f"the tracker returned frame {index} where frame {due} was due")
        yield index, dict(found)


def _read(tracks: Tracks, kinds: dict[str, bytes], span: Span, store: Store) -> bool:
    """Take a span's masks from the store; ``False`` if one is missing."""
    height, width = tracks.size
    for name, kind in kinds.items():
        for index in span.frames:
            record = store.get(kind, Place(index))
            if record is None or record.shape != (height + 1, width):
                return False
            tracks.keep(name, index, Tracked(record[:-1].numpy(), float(record[-1, 0])))
    return True


def _kind(identity: str, name: str, span: Span) -> bytes:
    """The cache's name for a subject's masks in a span."""
    digest = sha256(f"{VERSION} {identity} {name} {span.seen} ".encode())
    for prompt in span.prompts:
        digest.update(f"{prompt.subject} {prompt.kind} {prompt.index} {prompt.at} ".encode())
        if prompt.mask is not None:
            digest.update(_bytes(prompt.mask))
    return digest.digest()[:8]


def _bytes(mask: NDArray[np.float32]) -> bytes:
    return np.rint(np.nan_to_num(mask, nan=2.0) * 255).astype(np.uint16).tobytes()
