"""Checkpoint files: read safely, loaded strictly."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from streammatte.errors import OutOfMemory, WeightsMismatch, WeightsMissing

# What torch.compile and DataParallel put in front of every name.
WRAPPERS = ("_orig_mod.", "module.")


def read_tensors(path: str | PathLike[str], *, level: str | None = None) -> dict[str, Tensor]:
    """Read a checkpoint's tensors by name, on the CPU, in the types they are stored in.

    ``.safetensors`` files hold tensors and nothing else; any other file is unpickled with ``weights_only=True``, which
    builds tensors and plain containers and runs no code from the file. Tensors are read from the disk when they are
    used.

    Args:
        path: The file.
        level: Where a training keeps the weights, beside its own state; a file without that level is taken as it is.

    Raises:
        WeightsMissing: There is no such file.
        WeightsMismatch: The file is not a checkpoint, or is damaged.
    """
    path = Path(path)
    try:
        path.open("rb").close()
    except OSError as exc:
        raise WeightsMissing(
            f"the checkpoint {path} cannot be read: {exc.strerror}",
            hint="check the path; `streammatte models` lists the known ones",
        ) from exc
    try:
        tensors: object
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = _unpickle(path, training=level is not None)
            if level is not None and isinstance(tensors, Mapping) and isinstance(tensors.get(level), Mapping):
                tensors = tensors[level]
    except Exception as exc:  # a damaged pickle can raise anything at all
        if isinstance(exc, MemoryError) or "allocate memory" in str(exc):  # as mmap and torch have it
            raise OutOfMemory(
                f"there is too little memory to read {path}", hint="close other programs, or take a smaller network"
            ) from exc
        raise WeightsMismatch(
            f"{path} is not a checkpoint, or is damaged",
            hint="a .safetensors file, or a .pth file that holds tensors alone, is expected",
        ) from exc
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise WeightsMismatch(
            f"{path} holds something other than a table of tensors",
            hint="save the network's state_dict() alone",
        )
    return {_bare(str(name)): tensor for name, tensor in tensors.items()}


def read_size(path: str | PathLike[str]) -> tuple[int, int] | None:
    """(H, W) of the input that a checkpoint says it is for, as those of ``streammatte train`` do; else ``None``."""
    path = Path(path)
    if path.suffix != ".safetensors":
        return None
    with safe_open(path, "pt") as file:
        stated = (file.metadata() or {}).get("size", "")
    width, _, height = stated.partition("x")
    return (int(height), int(width)) if width.isdecimal() and height.isdecimal() else None


def load_strictly(
    net: nn.Module,
    tensors: Mapping[str, Tensor],
    path: str | PathLike[str],
    *,
    named: Callable[[str], str] = str,
    assign: bool = False,
) -> None:
    """Load ``tensors`` into ``net``: exactly its own names and shapes, or nothing is loaded.

    Args:
        net: The network.
        tensors: By name.
        path: What the file is called.
        named: From the network's own names to those of the checkpoints, where they differ.
        assign: Make them the network's own instead of copying them, in the network's types: for one on ``meta``.

    Raises:
        WeightsMismatch: Names the first missing, unexpected or misshapen tensors, and counts the rest.
    """
    own = {named(name): tensor for name, tensor in net.state_dict().items()}
    missing = [f"{name} is missing" for name in own if name not in tensors]
    unexpected = [f"{name} is unexpected" for name in tensors if name not in own]
    misshapen = [
        f"{name} is {_shape(tensors[name])} where {_shape(own[name])} is expected"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    numbers = [
        f"{name} holds {str(tensors[name].dtype).removeprefix('torch.')} where floats are expected"
        for name in own
        if name in tensors and own[name].is_floating_point() and not tensors[name].is_floating_point()
    ]
    faults = missing + unexpected + misshapen + numbers
    if faults:
        rest = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise WeightsMismatch(
            f"{path} does not fit {type(net).__name__}: {'; '.join(faults[:3])}{rest}",
            hint="`streammatte models` lists the checkpoints that fit",
        )
    given = {name: tensors[named(name)] for name in net.state_dict()}
    if assign:
        given = {name: given[name].to(tensor.dtype) for name, tensor in net.state_dict().items()}
    net.load_state_dict(given, assign=assign)


class _Ignored:
    """Stands for whatever a training keeps beside its weights: takes anything, keeps nothing, does nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> _Ignored:
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None: ...
    def __setstate__(self, state: object) -> None: ...
    def __setitem__(self, key: object, value: object) -> None: ...


def _unpickle(path: Path, *, training: bool) -> object:
    """Tensors and plain containers; of a training's file with ``_Ignored`` for every class or function it names.

    SDMatte's is one of those: detectron2 keeps its settings in it as OmegaConf's objects. Nothing of theirs is
    imported, and nothing of the file runs.
    """
    zipped = zipfile.is_zipfile(path)  # what torch wrote before 1.6 cannot be mapped into memory
    ignored: list[Any] = []
    if training and zipped:
        ignored = [(_Ignored, name) for name in torch.serialization.get_unsafe_globals_in_checkpoint(path)]
    with torch.serialization.safe_globals(ignored):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)


def _bare(name: str) -> str:
    while name.startswith(WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a scalar"
