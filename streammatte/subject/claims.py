"""What several subjects claim of the same pixels, where each was followed from prompts of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from streammatte.subject.contracts import OTHERS, Tracked


def settled(found: Mapping[str, Tracked], away: Mapping[str, int]) -> dict[str, Tracked]:
    """The masks of one frame, with as little as possible claimed twice.

    A walk between two prompts knows a subject that has a prompt only beyond it as one of ``OTHERS``. So named subjects
    come before these. Among themselves, whoever is further from a prompt of its own gives up more.

    Args:
        found: Masks by subject, all (h, w) but those of subjects that nobody has seen.
        away: Frames to the nearest prompt of each named subject.
    """
    size = max((each.mask.shape for each in found.values()), key=lambda shape: shape[0] * shape[1])
    named = {name: each.mask for name, each in found.items() if name != OTHERS and each.mask.shape == size}
    for _ in named:  # whoever has nothing left to give up leaves the rest to others
        excess = np.maximum(sum(named.values(), np.zeros(size, np.float32)) - 1, 0)
        if not (excess > 1e-6).any():
            break
        yielding = {name: mask * np.float32((1 + away[name]) ** 2) for name, mask in named.items()}
        total = sum(yielding.values(), np.full(size, 1e-6, np.float32))
        named = {name: np.maximum(mask - excess * yielding[name] / total, 0) for name, mask in named.items()}
    left = np.maximum(1 - sum(named.values(), np.zeros(size, np.float32)), 0)
    masks = {**named, **({OTHERS: np.minimum(found[OTHERS].mask, left)} if OTHERS in found else {})}
    return {name: replace(each, mask=masks.get(name, each.mask)) for name, each in found.items()}
