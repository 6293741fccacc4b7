"""The options of a live run. The network's are those of a run on a file."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from streammatte.errors import ModelError, WeightsMissing
from streammatte.media.copies import fetched_once
from streammatte.options import Network, Writing, values
from streammatte.options.field import like, option


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """See ``streammatte live --help``."""

    camera: str | None = option(
        None,
        "--camera CAMERA",
        section="camera",
        help="a number, name or device (default: the first), an address (rtsp, udp, rtmp, http), or a file or "
        "lavfi:PATTERN, played once in real time",
    )
    size: tuple[int, int] | None = option(
        None,
        "--size WxH",
        example="1280x720",
        help="picture size to ask the camera for; other sizes are scaled and cropped to it (default: 1280x720)",
    )
    rate: Fraction | None = option(
        None, "--rate", help="frame rate to ask the camera for, or the most to take from a stream (default: 30)"
    )
    backgrounds: tuple[str, ...] = option(
        ("blur",),
        "--bg, --background BG",
        section="picture",
        example="blur",
        help="colour, picture, clip, checker, blur[:RADIUS] or transparent; repeat it, and a key steps through them",
    )
    mirror: bool = option(False, "--mirror", help="flip the camera's picture left to right")
    light_wrap: Literal["on", "off"] = option(
        "on", "--light-wrap", help="let the background's light spill over the edge"
    )
    match: Literal["on", "off"] = option("on", "--match", help="move brightness and warmth towards the background's")
    feather: float = option(
        0.0, "--feather", parse=values.width, example="2", help="soften the edge inwards by N pixels"
    )
    outputs: tuple[str, ...] = option(
        (),
        "--to TARGET",
        section="output",
        example="window",
        help="camera[:DEVICE], window, a file (mp4, webm, mov, mkv), an address (udp, tcp, rtsp, rtmp, or srt if "
        "FFmpeg has it) or -; repeat for several at once (default: camera)",
    )
    overwrite: bool = like(Writing, "overwrite")
    model: str = like(
        Network,
        "model",
        section="network",
        help="a name from `streammatte models`; auto: birefnet-lite on a GPU, birefnet-nano without one",
    )
    weights: str | None = like(Network, "weights")
    device: str | None = like(Network, "device")
    precision: Literal["auto", "fp32", "fp16", "bf16"] = like(Network, "precision")
    quality: str | tuple[tuple[int, int], int] = option(
        "auto",
        "--quality Q",
        parse=values.live_quality,
        example="high",
        help="auto adapts to keep the frame rate; high, medium, low or WxH[/N] (network input, run on every Nth frame) "
        "are fixed",
    )
    offline: bool = like(Network, "offline")
    seconds: float | None = option(
        None,
        "--seconds",
        section="run",
        parse=values.above_zero,
        example="10",
        help="stop N seconds after the network is ready",
    )
    json: bool = option(False, "--json", help="print the state as one JSON object a second on standard output")


def check_network(options: LiveOptions) -> None:
    """Refuse a network that cannot be loaded, before anything is opened. Its weights are read later.

    Raises:
        ModelError: There is no such model, or it cannot have that input.
        WeightsMissing: The file of weights does not exist.
        DeviceMissing: The device is not on this machine.
    """
    from streammatte.models.birefnet import check_size
    from streammatte.models.device import choose_device
    from streammatte.models.table import NANO_SIZE, find

    if not isinstance(options.quality, str):
        (height, width), _ = options.quality
        try:
            check_size((height, width))
        except ModelError as exc:
            raise ModelError(
                f"--quality {width}x{height}: the sides of a network's input are multiples of 32 from 32 to 4096",
                hint=f"--quality {NANO_SIZE[1]}x{NANO_SIZE[0]} is birefnet-nano's own size; most others have 1024x1024",
            ) from exc
    if options.model != "auto":
        find(options.model, "birefnet")
    if options.weights is not None and not fetched_once(options.weights).is_file():
        raise WeightsMissing(f"there is no file {options.weights}", hint="check the path given to --weights")
    choose_device(options.device)
