"""Which checkpoints exist, where they are, and how they get here."""

from streammatte.weights.store import fetch, find, licence_notice, locate, resolve
from streammatte.weights.table import CHECKPOINTS, Checkpoint

__all__ = ["CHECKPOINTS", "Checkpoint", "fetch", "find", "licence_notice", "locate", "resolve"]
