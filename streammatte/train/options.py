"""What can be asked of a training run."""

from __future__ import annotations

from dataclasses import MISSING, dataclass

from streammatte.options import Network, Writing, values
from streammatte.options.field import like, option


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """See ``streammatte train --help``."""

    pairs: str = option(MISSING, "PAIRS", help="a folder of pairs")
    output: str = option(MISSING, "-o, --output OUTPUT", example="mine.safetensors", help="the checkpoint to write")
    start: str = option(
        "birefnet-nano",
        "--from MODEL",
        example="birefnet-lite",
        help="a name from `streammatte models`, or a checkpoint file, to start from",
    )
    backgrounds: str | None = option(None, "--backgrounds DIR", help="pictures to put the cut-outs over")
    steps: int = option(1000, "--steps", parse=values.whole(1), example="1000", help="length of the run")
    minutes: float | None = option(
        None, "--minutes", parse=values.above_zero, help="length of the run in minutes, instead of --steps"
    )
    size: tuple[int, int] | None = like(Network, "size")
    batch: int | None = like(
        Network, "batch", default=None, help="pictures in one step (default: 8 for small inputs, else 1 or 2)"
    )
    rate: float | None = option(
        None,
        "--rate RATE",
        parse=values.above_zero,
        example="1e-4",
        help="peak learning rate (default: 1e-4, for large networks 1e-5)",
    )
    holdout: float = option(
        0.1,
        "--holdout SHARE",
        parse=values.share,
        help="share of the pairs kept for scoring before and after, at most 32 pairs",
    )
    seed: int = option(0, "--seed", help="random seed of order and augmentation")
    device: str | None = like(Network, "device")
    offline: bool = like(Network, "offline")
    resume: bool = option(False, "--resume", help="continue the run that was stopped at this OUTPUT")
    overwrite: bool = like(Writing, "overwrite", help="replace OUTPUT, and what a stopped run left, if they exist")
