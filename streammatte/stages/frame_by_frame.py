"""What the stages that look at each frame by itself have in common."""

from __future__ import annotations

from collections.abc import Iterator

from streammatte.frame import Cutout


class FrameByFrame:
    """A stage that holds no cut-out back; a subclass says in ``better`` what it makes of one.

    Attributes:
        ordered: Whether cut-outs have to come one after the other, in order. If not, several threads call ``better``.
    """

    behind = ahead = 0
    ordered = True

    def better(self, cutout: Cutout) -> Cutout:
        raise NotImplementedError

    def push(self, cutout: Cutout) -> Iterator[Cutout]:
        yield self.better(cutout)

    def flush(self) -> Iterator[Cutout]:
        return iter(())
