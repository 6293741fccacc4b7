"""Checkpoint files: read safely, loaded strictly."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from streammatte.errors import WeightsMismatch, WeightsMissing

# What torch.compile and DataParallel put in front of every name.
WRAPPERS = ("_orig_mod.", "module.")


def read_tensors(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Read a checkpoint's tensors by name, on the CPU, in the types they are stored in.

    ``.safetensors`` files hold tensors and nothing else; any other file is unpickled with ``weights_only=True``, which
    builds tensors and plain containers and runs no code from the file.

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
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as exc:  # a damaged pickle can raise anything at all
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


def load_strictly(net: nn.Module, tensors: Mapping[str, Tensor], path: str | PathLike[str]) -> None:
    """Copy ``tensors`` into ``net``: exactly its own names and shapes, or nothing is loaded.

    Raises:
        WeightsMismatch: Names the first missing, unexpected or misshapen tensors, and counts the rest.
    """
    own = net.state_dict()
    missing = [f"{name} is missing" for name in own if name not in tensors]
    unexpected = [f"{name} is unexpected" for name in tensors if name not in own]
    misshapen = [
        f"{name} is {_shape(tensors[name])} where {_shape(own[name])} is expected"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    faults = missing + unexpected + misshapen
    if faults:
        rest = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise WeightsMismatch(
            f"{path} does not fit {type(net).__name__}: {'; '.join(faults[:3])}{rest}",
            hint="`streammatte models` lists the checkpoints that fit",
        )
    net.load_state_dict(tensors)


def _bare(name: str) -> str:
    while name.startswith(WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a scalar"
