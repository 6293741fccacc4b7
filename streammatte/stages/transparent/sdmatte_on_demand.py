"""SDMatte in a run: whether it is used, when it is loaded, and what the user is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from streammatte.errors import DeviceError, ModelError, WeightsMissing
from streammatte.media.copies import fetched_once
from streammatte.media.read.signature import signature
from streammatte.media.remote import is_remote
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
        refiners: Where SDMatte is kept for other runs.

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
        refiners: Refiners | None = None,
    ) -> None:
        from streammatte.models.table import check
        from streammatte.stages.order import SURE_OF_ITSELF
        from streammatte.stages.transparent.refiner import TransparencyRefiner

        asked = options.transparency
        check(_weights_of(options), "sdmatte")
        self.stage: TransparencyRefiner | None = None
        self._options, self._sdmatte = options, SDMatteOnDemand(options, device, display, refiners or Refiners())
        where = mask if mask is not None else next(iter(asked.boxes), None)
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


class Refiners:
    """SDMatte as several runs, in several threads, share it: each is loaded once, and one run at a time uses it.

    Attributes:
        turn: Held while one is loaded or computes.
    """

    def __init__(self) -> None:
        self.turn = threading.RLock()
        self._loaded: dict[tuple[object, ...], SDMatteRefiner] = {}

    def get(self, key: tuple[object, ...], load: Callable[[], SDMatteRefiner]) -> SDMatteRefiner:
        """The one of that key, loaded if it is not there."""
        with self.turn:
            if key not in self._loaded:
                self._loaded[key] = load()
            return self._loaded[key]

    def stop(self, refiner: SDMatteRefiner | None = None) -> None:
        """End the calls of one, or of all. They answer no more, and are loaded anew for whoever asks next."""
        for key, each in list(self._loaded.items()):
            if refiner is None or each is refiner:
                each.stop()
                self._loaded.pop(key, None)


class SDMatteOnDemand:
    """A keyframe model that loads SDMatte when it is first needed.

    Attributes:
        missing: Why it could not be loaded; empty otherwise.
        seconds: Spent on keyframes.
    """

    def __init__(self, options: Options, device: torch.device, display: Display, refiners: Refiners) -> None:
        self.missing, self.seconds = "", 0.0
        self._options, self._device, self._display, self._refiners = options, device, display, refiners
        self._net: SDMatteRefiner | None = None
        self._computing = False
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
            with self._refiners.turn:
                self._go_on()
                start, self._computing = time.perf_counter(), True
                alpha = self._net(frame, region)
                self.seconds += time.perf_counter() - start
                return alpha
        finally:
            self._computing = False
            self._display.keyframe(None)

    def stop(self) -> None:
        """End a call in another thread."""
        self._stopped.set()
        if self._net is not None and self._computing:  # otherwise another run may be using it
            self._refiners.stop(self._net)

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

        name, size = _weights_of(self._options), self._options.transparency.sdmatte_size
        device, precision = str(self._device), self._options.network.precision

        def load() -> SDMatteRefiner:
            return load_refiner(
                name,
                device=device,
                precision=precision,
                size=size,
                offline=offline,
                on_progress=progress,
                on_notice=self._display.notice,
            )

        self._net = self._refiners.get((name, size, device, precision), load)

    def _go_on(self) -> None:
        if self._stopped.is_set():
            raise KeyboardInterrupt


def _weights_of(options: Options) -> str:
    """A checkpoint's name or path; a remote file is fetched."""
    name = options.transparency.sdmatte
    return str(fetched_once(name)) if is_remote(name) else name


def sdmatte_identity(options: Options, device: str) -> str | None:
    """All that decides SDMatte's answers besides frame and region; ``None`` while its weights are not here."""
    weights = weights_signature(options.transparency.sdmatte, "sdmatte")
    if not weights:
        return None
    return f"{weights} {options.transparency.sdmatte_size} {options.network.precision} {device}"


def weights_signature(name: str, network: str) -> str:
    """The fingerprint of a checkpoint, by name or path; empty while it is not here."""
    from streammatte.models.hub import locate
    from streammatte.models.table import CHECKPOINTS, find

    if name not in (checkpoint.name for checkpoint in CHECKPOINTS):
        return signature(name)
    path = locate(find(name, network))
    return "" if path is None else signature(str(path))
