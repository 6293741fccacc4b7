"""What the user changes while a run goes on: by keys, in a window."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Controls:
    """Set by one thread and read by others, a value at a time.

    Attributes:
        background: Which of the backgrounds is shown, counted on without end; whoever has N of them takes it modulo N.
        mirror: The camera's picture is turned left to right. What lies behind it is not.
        frozen: What is shown stays as it is, everywhere.
        quit: The run is to end.
    """

    background: int = 0
    mirror: bool = False
    frozen: bool = False
    quit: bool = False
