"""What passes between the parts of a live run, and what they promise each other."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from streammatte.frame import Cutout, Frame


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A picture as a camera gave it.

    Attributes:
        frame: ``pts`` in the time base of the source's ``info``; ``index`` counts all that it gave, dropped ones, too.
        at: ``time.monotonic()`` when it was there.
        worked: Seconds that it took whoever hands it on to come to it: till the frame before was taken away, and for
            this one's colours. A matter that keeps to a rate has to reckon with them.
    """

    frame: Frame
    at: float
    worked: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A picture that may leave: nothing of the room is in it but what the alpha keeps.

    Attributes:
        rgb: (H, W, 3) uint8, or (H, W, 4) with straight alpha if that was asked for.
        index: ``Frame.index`` of the frame it shows; of a held one, still that.
        at: ``Captured.at`` of that frame; of a held picture, when it is shown.
        held: It stands for a frame that did not come.
    """

    rgb: NDArray[np.uint8]
    index: int
    at: float
    held: bool = False


class LiveMatter(Protocol):
    """Frames in order, each by itself, as quick as the machine allows; the alpha is always the frame's own."""

    def __call__(self, captured: Captured) -> Cutout: ...
    @property
    def setting(self) -> str:
        """How it computes at present, in a few words: "192×192, every 2nd"."""
        ...

    @property
    def exhausted(self) -> bool:
        """It is at its lowest setting, and still slower than the frames come."""
        ...


class Output(Protocol):
    """Where pictures go. A context manager."""

    @property
    def description(self) -> str: ...
    def show(self, shown: Shown) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None: ...
