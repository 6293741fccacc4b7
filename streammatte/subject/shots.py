"""Where the shots of a clip begin, for trackers that need to know before they start."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from streammatte.motion import Link, Picture
from streammatte.subject.contracts import Looks

CUT_SIZE = 256  # pixels of the longer side at which cuts are looked for


def shots(looks: Looks, first: int, stop: int) -> Iterator[range]:
    """The parts of ``first`` to ``stop`` between cuts, in order; each is told when the next one begins."""
    before, start = None, first
    for look in looks.between(first, stop):
        scale = min(1.0, CUT_SIZE / max(look.picture.shape[:2]))
        size = [max(1, round(scale * side)) for side in look.picture.shape[1::-1]]
        here = Picture.of_rgb(np.asarray(cv2.resize(look.picture, size, interpolation=cv2.INTER_AREA), np.uint8))
        if before is not None and not Link(before, lambda here=here: here).one_shot:  # type: ignore[misc]  # the loop's
            yield range(start, look.index)
            start = look.index
        before = here
    yield range(start, stop)
