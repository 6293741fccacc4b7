"""What can be asked of a live run, as values."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from streammatte.errors import ModelError, WeightsMissing


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """See ``streammatte live --help``. The fields are the parser's own names."""

    camera: str | None = None
    size: tuple[int, int] | None = None
    rate: Fraction | None = None
    backgrounds: tuple[str, ...] = ("blur",)
    outputs: tuple[str, ...] = ()
    model: str = "auto"
    weights: str | None = None
    device: str | None = None
    precision: str = "auto"
    quality: str | tuple[tuple[int, int], int] = "auto"
    mirror: bool = False
    light_wrap: Literal["on", "off"] = "on"
    match: Literal["on", "off"] = "on"
    feather: float = 0.0
    seconds: float | None = None
    offline: bool = False
    overwrite: bool = False
    json: bool = False


def check_network(options: LiveOptions) -> None:
    """Refuse what no network can be made ready with, before anything is opened. What it weighs is seen later.

    Raises:
        ModelError: No such model, or an input that it cannot have.
        WeightsMissing: The file of weights is not there.
        DeviceMissing: Nor is the device.
    """
    from streammatte.models.birefnet import check_size
    from streammatte.models.device import choose_device
    from streammatte.models.store import find

    if not isinstance(options.quality, str):
        (height, width), _ = options.quality
        try:
            check_size((height, width))
        except ModelError as exc:
            raise ModelError(
                f"--quality {width}x{height}: the sides of a network's input are multiples of 32 from 32 to 4096",
                hint="birefnet-nano's own is 192x192, the others' 1024x1024; auto, high, medium and low choose by it",
            ) from exc
    if options.model != "auto":
        find(options.model, "birefnet")
    if options.weights is not None and not Path(options.weights).is_file():
        raise WeightsMissing(f"there is no file {options.weights}", hint="check the path given to --weights")
    choose_device(options.device)
