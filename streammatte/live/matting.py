"""An alpha for every frame that is shown, at the speed that the machine has."""

from __future__ import annotations

from streammatte.frame import Matter, Plate
from streammatte.live.contracts import Captured


class AdaptiveMatter:
    """The network on every frame, at one size."""

    def __init__(self, matter: Matter) -> None:
        self._matter = matter

    @property
    def setting(self) -> str:
        return "every frame"

    @property
    def exhausted(self) -> bool:
        return False

    def __call__(self, captured: Captured) -> Plate:
        return Plate(captured.frame, self._matter([captured.frame])[0].cpu())
