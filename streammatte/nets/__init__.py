"""The networks alone: tensors in, tensors out. They know nothing of video, frames or where weights come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streammatte.nets.birefnet import BiRefNet, BiRefNetConfig, load_birefnet

if TYPE_CHECKING:
    from streammatte.nets.sdmatte import SDMatte, load_sdmatte

__all__ = ["BiRefNet", "BiRefNetConfig", "SDMatte", "load_birefnet", "load_sdmatte"]


def __getattr__(name: str) -> object:
    """Import SDMatte when it is first used: diffusers and transformers take seconds, and most runs need neither."""
    if name in ("SDMatte", "load_sdmatte"):
        from streammatte.nets import sdmatte

        return getattr(sdmatte, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
