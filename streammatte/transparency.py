"""SDMatte in a run: loaded when the first thing is seen that can be seen through, and told of while it works."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from streammatte.errors import WeightsMissing
from streammatte.options import Options

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from streammatte.frame import Frame
    from streammatte.matting.transparency import SDMatteRefiner


class Display(Protocol):
    """What it tells whoever is watching."""

    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def keyframe(self, index: int | None) -> None: ...


def looks_through(options: Options, size: tuple[int, int]) -> bool:
    """Whether a run looks for what can be seen through at all.

    With ``auto`` it does not where a network of a small input decides where: what such a network doubts is anything.

    Args:
        options: What was asked for.
        size: (H, W) of the network's input.
    """
    from streammatte.stages import SURE_OF_ITSELF

    if options.transparency == "auto" and not _named(options):
        return max(size) >= SURE_OF_ITSELF
    return options.transparency != "off"


def _named(options: Options) -> bool:
    return options.transparent is not None or options.transparent_mask is not None


class KeyframeMatter:
    """SDMatte as a run asks for it.

    With ``--transparency on`` it is loaded at once, and its absence is an error. With ``auto`` it waits until something
    was found, and is fetched for a GPU, or where the user named what to look at; where it cannot be had, a notice says
    so, once, and frames keep the alpha that they have.

    Attributes:
        frames: Indices of the frames that it has matted.
        seconds: Spent on them.
    """

    def __init__(self, options: Options, device: torch.device, display: Display) -> None:
        self.frames: list[int] = []
        self.seconds = 0.0
        self._options, self._device, self._display = options, device, display
        self._refiner: SDMatteRefiner | None = None
        if options.transparency == "on":
            self._refiner = self._load(offline=options.offline)

    def __call__(self, frame: Frame, region: Tensor) -> Tensor | None:
        """(H, W) alpha of which ``region`` (H, W) counts; ``None`` if SDMatte cannot be had."""
        self._display.keyframe(frame.index)
        try:
            if self._refiner is None:
                self._refiner = self._if_it_can_be_had(frame.index)
            if self._refiner is None:
                return None
            start = time.perf_counter()
            alpha = self._refiner(frame, region)
            self.seconds += time.perf_counter() - start
            self.frames.append(frame.index)
            return alpha
        finally:
            self._display.keyframe(None)

    def _if_it_can_be_had(self, index: int) -> SDMatteRefiner | None:
        fetched = _named(self._options) or self._device.type != "cpu"
        try:
            return self._load(offline=self._options.offline or not fetched)
        except WeightsMissing as exc:
            self._display.notice(
                f"frame {index} shows what can be seen through, and goes on without SDMatte: {exc}; "
                f"`streammatte models pull {self._options.sdmatte}` fetches it, --transparency off says nothing of it"
            )
            return None

    def _load(self, *, offline: bool) -> SDMatteRefiner:
        from streammatte.matting.transparency import load_refiner

        options = self._options
        return load_refiner(
            options.sdmatte,
            device=str(self._device),
            precision=options.precision,
            size=options.sdmatte_size,
            offline=offline,
            on_progress=self._display.fetching,
            on_notice=self._display.notice,
        )
