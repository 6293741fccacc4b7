"""SDMatte in a run: whether it is asked at all, when it is loaded, and what is told of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
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
    from streammatte.stages.transparent.refiner import KeyframeMatter


_OF_IT = ("sdmatte", "sdmatte_size", "keyframe_every")  # options that mean nothing without it


class Display(Protocol):
    """What it tells whoever is watching."""

    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def keyframe(self, index: int | None) -> None: ...


class SeeingThrough:
    """What a run has for what can be seen through; nothing, if it looks for none.

    With ``--transparency on`` SDMatte is loaded at once, and its absence is an error. With ``auto`` it is loaded at
    once where the user says where to look, and a notice says so if it cannot be had; else it waits until something is
    found, and is fetched for a GPU only: minutes on a CPU are nothing that a machine should decide on. Where a network
    of a small input would have to decide where, nobody looks: what it doubts is anything.

    Args:
        options: What was asked for.
        size: (H, W) of the network's input.
        device: Where SDMatte computes.
        mask: The user's, which says where.
        display: Told of loading and of keyframes.
        remember: Wraps SDMatte, so that what it answered before is not asked again.

    Raises:
        ModelError, WeightsMissing, WeightsMismatch: There is no such SDMatte, or none that could be loaded.

    Attributes:
        stage: For this run; ``None`` if it looks for nothing.
        seconds: Spent on keyframes.
    """

    def __init__(
        self,
        options: Options,
        size: tuple[int, int],
        device: torch.device,
        mask: Guide | None,
        display: Display,
        remember: Callable[[KeyframeMatter], KeyframeMatter] = lambda matted: matted,
    ) -> None:
        import torch

        from streammatte.stages import SURE_OF_ITSELF, TransparencyRefiner

        self.stage: TransparencyRefiner | None = None
        self.seconds = 0.0
        self._options, self._device, self._display = options, device, display
        self._refiner: SDMatteRefiner | None = None
        self._missing = ""
        self._stopped = threading.Event()
        self._threads = torch.get_num_threads()  # a run leaves some cores to others; a keyframe has all of them
        _check_name(options.transparency.sdmatte)
        where = options.transparency.transparent if mask is None else mask
        auto = options.transparency.transparency == "auto"
        if options.transparency.transparency == "off":
            return
        if auto and where is None and max(size) < SURE_OF_ITSELF:
            if options.changed().keys() & set(_OF_IT):
                display.notice("SDMatte is not asked: this network cannot tell where; --transparent BOX does")
            return
        if not auto:
            self._refiner = self._load(offline=options.network.offline)
        elif where is not None and not self._can_be_had("", offline=options.network.offline):
            return
        self.stage = TransparencyRefiner(
            remember(self._matted), every=options.transparency.keyframe_every, region=where
        )

    @property
    def frames(self) -> list[int]:
        """Indices of the frames that SDMatte has matted."""
        return [] if self.stage is None else self.stage.keyframes

    def notes(self) -> list[str]:
        """What a summary has to say, a line each."""
        notes = [self._missing] if self._missing else []
        if self.stage is not None and self.stage.left is not None:
            notes.append(f"what was in the box was seen through up to frame {self.stage.left - 1}, where its shot ends")
        if self._options.transparency.transparency == "on" and not self.frames:
            where = ": --transparent BOX says where to look"
            if masks := self._options.transparency.transparent_masks:
                where = f": {', '.join(masks)} {'has' if len(masks) == 1 else 'have'} no white"
            notes.append(f"nothing was found that can be seen through{where}")
        return notes

    def stop(self) -> None:
        """The run has ended: a keyframe that is being matted is not worth waiting for."""
        self._stopped.set()
        if self._refiner is not None:
            self._refiner.stop()

    def _matted(self, frame: Frame, region: Tensor) -> Tensor | None:
        """(H, W) alpha of which ``region`` (H, W) counts; ``None`` if SDMatte cannot be had."""
        from streammatte.models.device import cores

        self._go_on()
        self._display.keyframe(frame.index)
        try:
            if self._refiner is None and not self._can_be_had(
                f"frame {frame.index} shows what can be seen through: ",
                offline=self._options.network.offline or self._device.type == "cpu",
            ):
                return None
            assert self._refiner is not None
            start = time.perf_counter()
            with cores(self._threads):
                alpha = self._refiner(frame, region)
            self.seconds += time.perf_counter() - start
            return alpha
        finally:
            self._display.keyframe(None)

    def _can_be_had(self, why: str, *, offline: bool) -> bool:
        try:
            self._refiner = self._load(offline=offline)
        except (ModelError, DeviceError) as exc:
            if not why and not isinstance(exc, WeightsMissing):  # what the user has asked for is broken
                raise
            self._missing = f"{why}goes on without SDMatte, because {exc}"
            self._display.notice(
                f"{self._missing}; `streammatte models pull {self._options.transparency.sdmatte}` fetches it"
            )
        return self._refiner is not None

    def _load(self, *, offline: bool) -> SDMatteRefiner:
        from streammatte.models.sdmatte import load_refiner

        def progress(done: int, total: int | None) -> None:
            self._go_on()
            self._display.fetching(done, total)

        options = self._options
        return load_refiner(
            options.transparency.sdmatte,
            device=str(self._device),
            precision=options.network.precision,
            size=options.transparency.sdmatte_size,
            offline=offline,
            on_progress=progress,
            on_notice=self._display.notice,
        )

    def _go_on(self) -> None:
        if self._stopped.is_set():
            raise KeyboardInterrupt


def _check_name(name: str) -> None:
    """Refuse what is neither a file or folder that is there, nor a name of the table."""
    from streammatte.models.store import find
    from streammatte.models.table import CHECKPOINTS

    path = Path(name)
    if path.exists() and name not in (each.name for each in CHECKPOINTS):
        return
    if path.suffix in (".safetensors", ".pth") or len(path.parts) > 1:
        raise WeightsMissing(
            f"there is no checkpoint {name}", hint="check the path; `streammatte models` lists names, such as sdmatte"
        )
    find(name, "sdmatte")
