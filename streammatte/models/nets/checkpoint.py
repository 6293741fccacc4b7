"""Checkpoint files: read safely, loaded strictly."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from streammatte.errors import OutOfMemory, WeightsMismatch, WeightsMissing

# Prefixes that torch.compile and DataParallel add to every name.
WRAPPERS = ("_orig_mod.", "module.")


def read_tensors(path: str | PathLike[str], *, level: str | None = None) -> dict[str, Tensor]:
    """Read a checkpoint's tensors by name, on the CPU, in the types they are stored in.

    ``.safetensors`` files hold nothing but tensors; any other file is unpickled with ``weights_only=True``, which
    builds tensors and plain containers and runs no code from the file. Tensors are memory-mapped.

    Args:
        path: The file.
        level: The key under which a training checkpoint keeps its weights; a file without that key is read whole.

    Raises:
        WeightsMissing: There is no such file.
        WeightsMismatch: The file is not a checkpoint, or is damaged.
    """
    path = Path(path)
    try:
        path.open("rb").close()
    except OSError as exc:
        raise WeightsMissing(
            f"cannot read {path}: {exc.strerror}",
            hint="check the path; `streammatte models` lists the known checkpoints",
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
                f"not enough memory to read {path}", hint="close other programs, or use a smaller model"
            ) from exc
        code = "unsupported global" in str(exc).lower()
        raise WeightsMismatch(
            f"{path} holds Python objects that are never loaded" if code else f"{path} is damaged or not a checkpoint",
            hint="expected a .safetensors file, or a .pth file that holds only tensors",
        ) from exc
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise WeightsMismatch(
            f"{path} is not a state dict: expected nothing but tensors by name",
            hint="save only the network's state_dict()",
        )
    return {_bare(str(name)): tensor for name, tensor in tensors.items()}


def read_size(path: str | PathLike[str]) -> tuple[int, int] | None:
    """(H, W) of the network's input, where the checkpoint states it, as those of ``streammatte train`` do."""
    path = Path(path)
    if path.suffix != ".safetensors":
        return None
    with safe_open(path, "pt") as file:
        stated = (file.metadata() or {}).get("size", "")
    width, _, height = stated.partition("x")
    return (int(height), int(width)) if width.isdecimal() and height.isdecimal() else None


@contextmanager
def unfilled() -> Iterator[None]:
    """Make networks on ``meta``, without initial values. There torch fills tensors in Python, which takes a while."""
    with torch.device("meta"), _Unfilled():
        yield


class _Unfilled(TorchFunctionMode):
    """``torch.nn.init`` returns its tensor as it is."""

    def __torch_function__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def load_strictly(
    net: nn.Module, tensors: Mapping[str, Tensor], path: str | PathLike[str], *, named: Callable[[str], str] = str
) -> None:
    """Make ``tensors`` the parameters and buffers of ``net``: exactly its own names and shapes, or none of them.

    Args:
        net: The network, on ``meta``: nothing is copied, and each tensor is converted to the type the network has.
        tensors: By name.
        path: The file, for messages.
        named: Maps the network's own names to those of the checkpoints, where they differ.

    Raises:
        WeightsMismatch: Names the first missing, unexpected or misshapen tensors, and counts the rest.
    """
    own = {named(name): tensor for name, tensor in net.state_dict().items()}
    faults = [f"{name} is missing" for name in own if name not in tensors]
    faults += [f"{name} is unexpected" for name in tensors if name not in own]
    for name in (name for name in own if name in tensors):
        expected, given = own[name], tensors[name]
        if given.shape != expected.shape:
            faults.append(f"{name} is {_shape(given)}, expected {_shape(expected)}")
        elif expected.is_floating_point() and not given.is_floating_point():
            faults.append(f"{name} holds {str(given.dtype).removeprefix('torch.')}, expected floats")
    if faults:
        rest = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise WeightsMismatch(
            f"{path} does not fit {type(net).__name__}: {'; '.join(faults[:3])}{rest}",
            hint="`streammatte models` lists the checkpoints that fit",
        )
    state = {name: tensors[named(name)].to(tensor.dtype) for name, tensor in net.state_dict().items()}
    net.load_state_dict(state, assign=True)


class _Ignored:
    """Replaces whatever a training checkpoint has besides weights; keeps nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> _Ignored:
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None: ...
    def __setstate__(self, state: object) -> None: ...
    def __setitem__(self, key: object, value: object) -> None: ...


def _unpickle(path: Path, *, training: bool) -> object:
    """Unpickle tensors and plain containers; in a training checkpoint, ``_Ignored`` replaces every class it names.

    SDMatte's needs that, since detectron2 stores its settings in it. None of these classes is imported, and no code
    from the file runs.
    """
    zipped = zipfile.is_zipfile(path)  # files from before torch 1.6 cannot be memory-mapped
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
