"""The values that pass between the parts of a live run, and their contracts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from streammatte.frame import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(slots=True, eq=False)
class Controls:
    """What keys in the window change during a run. One thread writes, others read.

    Attributes:
        background: Counts up; take it modulo the number of backgrounds.
        mirror: The camera's picture is flipped left to right; the background is not.
        frozen: Every output keeps the same picture.
        quit: End the run.
    """

    background: int = 0
    mirror: bool = False
    frozen: bool = False
    quit: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A picture that may leave: it contains nothing of the room but what the alpha keeps.

    Attributes:
        rgb: (H, W, 3) uint8, or (H, W, 4) with straight alpha if the run has a transparent background.
        index: ``Frame.index`` of the frame that it shows, or -1.
        at: ``time.monotonic()`` at the capture of that frame; for a held picture, when it is shown.
        held: It replaces a frame that did not come.
    """

    rgb: NDArray[np.uint8]
    index: int
    at: float
    held: bool = False


class LiveModel(Model, Protocol):
    """A model that keeps up with a frame rate. It takes frames in order, one per call."""

    def took(self, seconds: float) -> None:
        """Report the time that the last frame took in all, without waiting for the camera."""
        ...

    @property
    def setting(self) -> str:
        """For the status line: "320×320, every 2nd frame"."""
        ...

    @property
    def exhausted(self) -> bool:
        """The cheapest setting is still too slow."""
        ...


class Output(Protocol):
    """Where pictures go."""

    @property
    def description(self) -> str: ...
    @property
    def note(self) -> str | None:
        """Shown to the user once it is open."""
        ...

    def show(self, shown: Shown) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None: ...
