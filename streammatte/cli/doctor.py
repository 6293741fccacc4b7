"""``streammatte doctor``: what this machine can do, and what is missing.

Nothing here raises: a part that cannot be imported becomes a line of the report.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from streammatte.cli.command import Command, TerminalOptions
from streammatte.cli.parser import instance, parse
from streammatte.models.hub import hub_cache, hub_endpoint, locate, offline_by_environment
from streammatte.models.table import CHECKPOINTS
from streammatte.options.field import like

if TYPE_CHECKING:
    from rich.console import Console

# What is lost without each codec.
CODECS: tuple[tuple[str, Literal["r", "w"], str], ...] = (
    ("prores_ks", "w", "no .mov with alpha"),
    ("libvpx-vp9", "w", "no .webm"),
    ("libvpx-vp9", "r", "the alpha of .webm inputs is not read"),
    ("libx264", "w", "no .mp4"),
    ("aac", "w", "audio that .mov and .mp4 cannot copy is lost"),
    ("libopus", "w", "audio that .webm cannot copy is lost"),
    ("png", "w", "no image sequences"),
    ("png", "r", "no image sequences as input"),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. If something is missing, ``hint`` says what is lost and how to install it."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    json: bool = like(TerminalOptions, "json", section="", help="print the report as one JSON array")


COMMAND = Command(
    prog="streammatte doctor",
    usage=("streammatte doctor [--json]",),
    about="Report what this machine can do, what is missing, and how to get it.",
    takes=(DoctorOptions,),
)


def main(arguments: Sequence[str]) -> int:
    options = instance(DoctorOptions, parse(COMMAND, arguments))

    from rich.console import Console

    print_report(Console(), as_json=options.json)
    return 0


def examine() -> list[Check]:
    """Examine this machine without using the network. Takes as long as importing torch."""
    checks: list[Check] = []
    for look in (_system, _packages, _torch, _media, _weights, _hub, _cameras, _virtual_camera):
        try:
            checks.extend(look())
        except Exception as exc:  # a broken installation can fail in any way
            checks.append(Check(look.__name__.strip("_"), False, _one_line(exc), "please report this as a bug"))
    return checks


def print_report(console: Console, as_json: bool = False) -> None:
    """Print a line for each check, followed by its hint; or a JSON array of objects with ``Check``'s attributes."""
    checks = examine()
    if as_json:
        console.out(json.dumps([asdict(check) for check in checks], indent=2), highlight=False)
        return

    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        state = Text("ok", "green") if check.ok else Text("missing", "yellow")
        table.add_row(state, check.name, Text(check.detail))
        if check.hint:
            table.add_row("", "", Text(check.hint, "yellow"))
    console.print(table)


def _one_line(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}".splitlines()[0]


def _import(module: str) -> ModuleType | str:
    """The module, or why it cannot be imported: a missing shared library, an incompatible numpy, anything."""
    try:
        return importlib.import_module(module)
    except Exception as exc:
        return _one_line(exc)


def _package(name: str, module: str, hint: str) -> Check:
    imported = _import(module)
    if isinstance(imported, str):
        return Check(name, False, imported, hint)
    version = getattr(imported, "__version__", None)
    if version is None:
        try:
            version = importlib.metadata.version(module)
        except importlib.metadata.PackageNotFoundError:
            return Check(name, False, "not installed", hint)
    return Check(name, True, str(version))


def _system() -> Iterator[Check]:
    yield Check("python", True, f"{platform.python_version()}, {sys.executable}")
    yield Check("system", True, f"{platform.system()} {platform.release()}, {platform.machine()}")


def _packages() -> Iterator[Check]:
    yield _package("streammatte", "streammatte", "it runs from a source folder: pip install .")
    yield _package("opencv", "cv2", "no images and no optical flow: pip install --force-reinstall opencv-python")
    yield _package("numpy", "numpy", "nothing works without it: pip install --force-reinstall numpy")
    # Not imported, which takes seconds.
    for name, wanted in (("diffusers", '"diffusers>=0.42,<0.43"'), ("transformers", '"transformers>=5,<6"')):
        try:
            yield Check(name, True, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            lacks = "no transparent objects (--sdmatte)" + " and no SAM 2 (--tracker)" * (name == "transformers")
            yield Check(name, False, "not installed", f"{lacks}: pip install {wanted}")


def _torch() -> Iterator[Check]:
    check = _package("torch", "torch", "no matting: pip install torch")
    yield check
    if not check.ok:
        return
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            bf16 = "bf16" if torch.cuda.get_device_capability(index) >= (8, 0) else "no bf16"
            yield Check(f"cuda:{index}", True, f"{device.name}, {device.total_memory / 2**30:.0f} GiB, {bf16}")
    elif torch.backends.mps.is_available():
        yield Check("mps", True, f"{platform.processor() or 'Apple'}, memory shared with the system")
    else:
        yield Check("gpu", False, "none that torch can use", "large models take seconds per frame")
    capabilities = _cpu_capabilities()
    bf16 = next((feature for feature in ("amx_bf16", "avx512_bf16", "bf16") if capabilities.get(feature)), "no bf16")
    name = capabilities.get("cpu_name") or platform.processor() or platform.machine()
    yield Check(
        "cpu",
        True,
        f"{name}, torch threads: {torch.get_num_threads()}, {torch.backends.cpu.get_cpu_capability()}, {bf16}",
    )


def _cpu_capabilities() -> dict[str, object]:
    """The processor's features according to torch; empty if this version does not report them."""
    import torch

    try:
        return dict(torch.cpu.get_capabilities())
    except (AttributeError, RuntimeError):
        return {}


def _media() -> Iterator[Check]:
    av = _import("av")
    if isinstance(av, str):
        yield Check("pyav", False, av, 'no video input or output: pip install "av>=18,<19"')
        return
    yield Check("pyav", True, f"{av.__version__}")
    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    yield Check(
        "ffmpeg", True, ", ".join(f"{name} {libraries[name]}" for name in ("libavcodec", "libavformat", "libswscale"))
    )
    from av.codec import Codec

    for codec, mode, cost in CODECS:
        name = f"{codec}, {'write' if mode == 'w' else 'read'}"
        try:
            yield Check(name, True, Codec(codec, mode).long_name)
        except ValueError:  # PyAV's UnknownCodecError
            yield Check(name, False, "not in this FFmpeg", f"{cost}; install PyAV's own wheel: pip install av")


def _weights() -> Iterator[Check]:
    for checkpoint in CHECKPOINTS:
        path = locate(checkpoint)
        if path is not None:
            yield Check("weights", True, f"{checkpoint.name}, {path.stat().st_size / 1e6:.1f} MB")
        elif checkpoint.repo is None:
            yield Check("weights", False, checkpoint.name, "the bundled model is missing: reinstall streammatte")
    others = [each for each in CHECKPOINTS if each.repo is not None and each.network == "birefnet"]
    if all(locate(checkpoint) is None for checkpoint in others):
        yield Check(
            "weights",
            False,
            f"no others in {hub_cache()}",
            "mattes are coarse: streammatte models pull birefnet (on a CPU: birefnet-lite-matting)",
        )


def _hub() -> Iterator[Check]:
    if offline_by_environment():
        yield Check("hub", False, "HF_HUB_OFFLINE is set", "models are not downloaded")
    else:
        yield Check("hub", True, f"{hub_endpoint()} (not contacted)")


def _cameras() -> Iterator[Check]:
    if isinstance(_import("av"), str):
        return  # reported already
    from streammatte.live.cameras import HOW_TO_LOOK, list_cameras

    cameras = [camera for camera in list_cameras() if not camera.virtual]
    for camera in cameras:
        yield Check("camera", True, f"{camera.index}: {camera.name}, {camera.device}")
    if not cameras:
        yield Check("camera", False, "none found", HOW_TO_LOOK)


def _virtual_camera() -> Iterator[Check]:
    if importlib.util.find_spec("pyvirtualcam") is None:
        yield Check("pyvirtualcam", False, "not installed", "no virtual camera: pip install pyvirtualcam")
    else:
        yield _package("pyvirtualcam", "pyvirtualcam", "no virtual camera: pip install --force-reinstall pyvirtualcam")
    if platform.system() != "Linux":
        return
    names = [
        f"/dev/{device.name} ({(device / 'name').read_text().strip()})"
        for device in sorted(Path("/sys/devices/virtual/video4linux").glob("video*"))
    ]
    if names:
        yield Check("v4l2loopback", True, ", ".join(names))
    else:
        yield Check(
            "v4l2loopback", False, "no such device", "no virtual camera: modprobe v4l2loopback exclusive_caps=1"
        )
