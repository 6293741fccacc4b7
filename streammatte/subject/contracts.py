"""What a tracker is given, and what it gives: prompts and small pictures in, a coarse mask of each subject out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from streammatte.subject.region import Box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from streammatte.motion import Plane

Kind = Literal["point", "not-point", "box", "mask"]


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What a user says about one subject at one frame.

    Attributes:
        subject: Its name; empty if there is only one and it has none.
        kind: A point on the subject, a point that is not on it, a box around it, or its mask.
        index: The frame's, as in ``Frame.index``.
        at: In pixels of the frame: (x, y) of a point; left, top, right, bottom of a box; empty for a mask.
        mask: (H, W) in [0, 1], or NaN where the mask says nothing, scaled to the frame's size; only of a mask.
    """

    subject: str
    kind: Kind
    index: int
    at: tuple[float, ...] = ()
    mask: Plane | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a tracker sees of one frame.

    Attributes:
        index: As in ``Frame.index``.
        picture: (h, w, 3) uint8, what a screen shows of it, scaled.
        matte: The network's matte of the whole frame, (h, w) in [0, 1] at the picture's size; computed when called.
        closer: The network's matte of a part that it sees by itself: a box of the picture in, (h, w) of the box out.
    """

    index: int
    picture: NDArray[np.uint8]
    matte: Callable[[], Plane]
    closer: Callable[[Box], Plane]


class Looks(Protocol):
    """A clip as a tracker reads it: any part, as often as needed, one frame at a time.

    A part is read again from the file; a tracker that goes backwards asks for short parts from the end.
    """

    @property
    def frame_size(self) -> tuple[int, int]:
        """(H, W) of the frames, which prompts refer to."""
        ...

    @property
    def indices(self) -> range:
        """Of the frames that masks are wanted for."""
        ...

    def between(self, start: int, stop: int) -> Iterable[Look]:
        """The frames from index ``start`` up to, not including, ``stop``, in order."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """Where a subject is in one frame.

    Attributes:
        mask: (h, w) in [0, 1], coarse; of any size, over the whole frame.
        confidence: In [0, 1]: how sure the tracker is; 0 where the subject is lost or not in the picture.
    """

    mask: Plane
    confidence: float


OTHERS = "*"
"""The name under which a tracker may tell where other things in the foreground are, so that they are kept out."""


class Tracker(Protocol):
    """Follows subjects from their prompts to both sides in time. Never across a cut, unless a prompt lies behind it.

    Memory does not grow with the clip beyond a few kilobytes a frame.
    """

    def __call__(self, looks: Looks, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Mapping[str, Tracked]]]:
        """Every frame's index and its subjects by name, and maybe ``OTHERS``, in order."""
        ...
