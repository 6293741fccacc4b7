"""Which checkpoints exist, where they are, and how they get here."""

from .store import fetch, find, locate, resolve
from .table import CHECKPOINTS, Checkpoint

__all__ = ["CHECKPOINTS", "Checkpoint", "fetch", "find", "locate", "resolve"]
