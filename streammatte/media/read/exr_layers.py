"""Parts and layers of an OpenEXR file, and which of them is the picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import OpenEXR
from numpy.typing import NDArray

from streammatte.errors import DecodeFailed, InputError

_COLORS = ({"R", "G", "B"}, {"Y"})
_DEEP = (OpenEXR.deepscanline, OpenEXR.deeptile)
_SUBSAMPLED = "RY"  # chroma of half the size beside luminance


@dataclass(frozen=True, slots=True)
class Layer:
    """Channels that belong together.

    Attributes:
        part: The part they are in.
        name: What precedes the last dot of their names, after the part's name if there are several parts; ``""`` for
            the main layer of a single part.
        channels: Their pixels, by what follows that dot.
    """

    part: Any
    name: str
    channels: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def is_picture(self) -> bool:
        return any(colors <= self.channels.keys() for colors in _COLORS)


def refuse_deep(path: Path, parts: Iterable[Any]) -> None:
    """Raise ``DecodeFailed`` if a part is deep: any number of samples a pixel."""
    if any(part.type() in _DEEP for part in parts):
        raise DecodeFailed(
            f"{path} is a deep EXR, which is not supported",
            hint="flatten it first, for instance with Nuke's DeepToImage",
        )


def chosen(path: Path, parts: list[Any], wanted: str | None) -> tuple[Layer, list[str]]:
    """The layer to read, and the names of the others that could be read.

    Args:
        wanted: Name of a layer or part; ``None`` for the first with channels R, G, B or Y and no prefix, or else the
            only one.

    Raises:
        InputError: It has no such layer.
        DecodeFailed: It has no colours, or several layers and no main one.
    """
    layers = _layers_of(parts)
    pictures = [layer for layer in layers if layer.is_picture]
    names = [layer.name for layer in pictures if layer.name]
    if wanted is not None:
        found = next((layer for layer in layers if wanted in (layer.name, f"{layer.part.name()}.{layer.name}")), None)
        if found is None:
            known = f"its layers are {', '.join(names)}" if names else "it has only a main layer"
            raise InputError(f"{path} has no layer {wanted!r}", hint=known)
        if not found.is_picture:
            channels = ", ".join(sorted(found.channels))
            raise InputError(f"layer {wanted!r} of {path} has no colours, only {channels}")
        return found, [name for name in names if name != found.name]
    main = [layer for layer in pictures if layer.name in ("", layer.part.name())]
    if not main and len(pictures) > 1:
        raise DecodeFailed(
            f"{path} has several layers and no main one", hint=f"choose one with --layer: {', '.join(names)}"
        )
    if not pictures:
        channels = ", ".join(sorted(name for part in parts for name in part.channels))
        raise DecodeFailed(f"{path} has no channels R, G and B, only {channels}", hint="write its main layer as RGB")
    found = (main or pictures)[0]
    return found, [name for name in names if name != found.name]


def _layers_of(parts: list[Any]) -> list[Layer]:
    layers: list[Layer] = []
    for part in parts:
        found: dict[str, Layer] = {}
        for full, channel in part.channels.items():
            prefix, _, name = full.rpartition(".")
            own = part.name() if len(parts) > 1 else ""
            label = prefix if not own or prefix == own else f"{own}.{prefix}" if prefix else own
            layer = found.setdefault(label, Layer(part, label))
            layer.channels[name.upper() if name in ("r", "g", "b", "a", "y") else name] = channel.pixels
        layers += found.values()
    return layers


def planes_of(path: Path, layer: Layer) -> tuple[list[NDArray[Any]], NDArray[Any] | None]:
    """Red, green and blue (grey is the same plane three times), and alpha.

    Raises:
        DecodeFailed: Its chroma is subsampled.
    """
    channels = layer.channels
    order = ("R", "G", "B") if channels.keys() >= _COLORS[0] else ("Y", "Y", "Y")
    if any(channels[name].shape != channels[order[0]].shape for name in order) or _SUBSAMPLED in channels:
        raise DecodeFailed(f"{path} has subsampled chroma", hint="write it as RGB")
    return [channels[name] for name in order], channels.get("A")
