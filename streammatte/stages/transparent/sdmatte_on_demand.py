"""SDMatte in a run: whether it is used, when it is loaded, and what the user is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from streammatte.errors import DeviceError, ModelError, WeightsMissing
from streammatte.options import Options

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from streammatte.frame import Frame
    from streammatte.models.sdmatte import SDMatteRefiner
    from streammatte.stages import TransparencyRefiner
    from streammatte.stages.mattes import Guide
    from streammatte.stages.transparent.keyframes import KeyframeModel

_MEANINGLESS_WITHOUT = ("sdmatte", "sdmatte_size", "keyframe_every")


class Display(Protocol):
    """What it reports."""

    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def keyframe(self, index: int | None) -> None: ...


class Transparency:
    """A run's handling of glass, veils and smoke.

    With ``--transparency on`` SDMatte is loaded at once, and its absence is an error. With ``auto`` it is loaded at
    once if the user marked an area, and a notice says if it is missing; otherwise it is loaded when something is found,
    and downloaded only for a GPU: on a CPU it takes minutes, which the user should decide on. A network with a small
    input finds nothing, since it is often in doubt.

    Args:
        size: (H, W) of the network's input.
        device: Where SDMatte computes.
        mask: The user's mask of transparent areas.
        remember: Wraps SDMatte with the cache.

    Raises:
        ModelError, WeightsMissing, WeightsMismatch: There is no such SDMatte, or it cannot be loaded.

    Attributes:
        stage: The run's stage; ``None`` if it has none.
    """

    def __init__(
        self,
        options: Options,
        size: tuple[int, int],
        device: torch.device,
        mask: Guide | None,
        display: Display,
        remember: Callable[[KeyframeModel], KeyframeModel] = lambda model: model,
    ) -> None:
        from streammatte.models.table import check
        from streammatte.stages.order import SURE_OF_ITSELF
        from streammatte.stages.transparent.refiner import TransparencyRefiner

        asked = options.transparency
        check(asked.sdmatte, "sdmatte")
        self.stage: TransparencyRefiner | None = None
        self._options, self._sdmatte = options, SDMatteOnDemand(options, device, display)
        where = asked.transparent if mask is None else mask
        if asked.transparency == "off":
            return
        if asked.transparency == "on":
            self._sdmatte.load(offline=options.network.offline)
        elif where is not None:
            if not self._sdmatte.try_to_load("", offline=options.network.offline):
                return
        elif max(size) < SURE_OF_ITSELF:
            if options.changed().keys() & set(_MEANINGLESS_WITHOUT):
                display.notice("SDMatte skipped: mark the area with --transparent")
            return
        self.stage = TransparencyRefiner(remember(self._sdmatte), every=asked.keyframe_every, region=where)

    @property
    def frames(self) -> list[int]:
        """Indices of the frames that SDMatte has matted."""
        return [] if self.stage is None else self.stage.keyframes

    @property
    def seconds(self) -> float:
        """Spent on keyframes."""
        return self._sdmatte.seconds

    def notes(self) -> list[str]:
        """Lines for the summary."""
        notes = [self._sdmatte.missing] if self._sdmatte.missing else []
        if self.stage is not None and self.stage.left is not None:
            notes.append(f"--transparent was followed up to frame {self.stage.left - 1}, where its shot ends")
        if self._options.transparency.transparency == "on" and not self.frames:
            masks = self._options.transparency.transparent_masks
            why = f"no white in {', '.join(masks)}" if masks else "mark the area with --transparent"
            notes.append(f"nothing transparent was found: {why}")
        return notes

    def stop(self) -> None:
        """End a keyframe that another thread is matting."""
        self._sdmatte.stop()


class SDMatteOnDemand:
    """A keyframe model that loads SDMatte when it is first needed.

    Attributes:
        missing: Why it could not be loaded; empty otherwise.
        seconds: Spent on keyframes.
    """

    def __init__(self, options: Options, device: torch.device, display: Display) -> None:
        self.missing, self.seconds = "", 0.0
        self._options, self._device, self._display = options, device, display
        self._net: SDMatteRefiner | None = None
        self._stopped = threading.Event()

    def __call__(self, frame: Frame, region: Tensor) -> Tensor | None:
        """The alpha of a frame's transparent ``region``, (H, W); ``None`` if SDMatte cannot be loaded."""
        self._go_on()
        self._display.keyframe(frame.index)
        try:
            offline = self._options.network.offline or self._device.type == "cpu"
            if not self.try_to_load(f"frame {frame.index} shows something transparent: ", offline=offline):
                return None
            assert self._net is not None
            start = time.perf_counter()
            alpha = self._net(frame, region)
            self.seconds += time.perf_counter() - start
            return alpha
        finally:
            self._display.keyframe(None)

    def stop(self) -> None:
        """End a call in another thread."""
        self._stopped.set()
        if self._net is not None:
            self._net.stop()

    def try_to_load(self, why: str, *, offline: bool) -> bool:
        """Whether SDMatte is loaded. If not, a notice says so, after ``why``: empty if the user asked for SDMatte.

        Raises:
            ModelError, DeviceError: The user asked for it, and it is here but broken.
        """
        try:
            self.load(offline=offline)
        except (ModelError, DeviceError) as exc:
            if not why and not isinstance(exc, WeightsMissing):
                raise
            self.missing = f"{why}going on without SDMatte: {exc}"
            pull = f"streammatte models pull {self._options.transparency.sdmatte}"
            self._display.notice(f"{self.missing}; `{pull}` fetches it")
        return self._net is not None

    def load(self, *, offline: bool) -> None:
        from streammatte.models.sdmatte import load_refiner

        if self._net is not None:
            return

        def progress(done: int, total: int | None) -> None:
            self._go_on()
            self._display.fetching(done, total)

        self._net = load_refiner(
            self._options.transparency.sdmatte,
            device=str(self._device),
            precision=self._options.network.precision,
            size=self._options.transparency.sdmatte_size,
            offline=offline,
            on_progress=progress,
            on_notice=self._display.notice,
        )

    def _go_on(self) -> None:
        if self._stopped.is_set():
            raise KeyboardInterrupt
