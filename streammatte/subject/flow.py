"""A stand-in for the tracker by motion: boxes and masks carried unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from streammatte.motion import Plane
from streammatte.subject.contracts import Looks, Prompt, Tracked


class FlowTracker:
    """Keeps ``Tracker``'s contract."""

    def __call__(self, looks: Looks, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Mapping[str, Tracked]]]:
        names = list(dict.fromkeys(prompt.subject for prompt in prompts))
        for look in looks.between(looks.indices.start, looks.indices.stop):
            found = {}
            for name in names:
                mine = [prompt for prompt in prompts if prompt.subject == name and prompt.kind != "not-point"]
                nearest = min(mine, key=lambda prompt: abs(prompt.index - look.index))
                found[name] = Tracked(_mask(nearest, looks.frame_size), 0.5)
            yield look.index, found


def _mask(prompt: Prompt, size: tuple[int, int]) -> Plane:
    if prompt.mask is not None:
        return np.nan_to_num(prompt.mask)
    mask = np.zeros(size, np.float32)
    if prompt.kind == "box":
        left, top, right, bottom = map(round, prompt.at)
        mask[top:bottom, left:right] = 1
    else:
        x, y = map(round, prompt.at)
        reach = size[0] // 4
        mask[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach] = 1
    return mask
