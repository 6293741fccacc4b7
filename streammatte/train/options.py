"""What can be asked of a training run."""

from __future__ import annotations

from dataclasses import MISSING, dataclass

from streammatte.options import Network, Writing, values
from streammatte.options.field import like, option


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """See ``streammatte train --help``."""

    pairs: str = option(MISSING, metavar="PAIRS", help="a folder of pairs")
    output: str = option(
        MISSING, "-o", "--output", metavar="OUTPUT", example="mine.safetensors", help="the checkpoint to write"
    )
    start: str = option(
        "birefnet-nano",
        "--from",
        metavar="MODEL",
        example="birefnet-lite",
        help="a name from `streammatte models`, or a checkpoint file, to start from (default: birefnet-nano)",
    )
    backgrounds: str | None = option(None, "--backgrounds", metavar="DIR", help="pictures to put the cut-outs over")
    steps: int = option(
        1000, "--steps", metavar="N", parse=values.whole(1), example="1000", help="length of the run (default: 1000)"
    )
    minutes: float | None = option(
        None,
        "--minutes",
        metavar="N",
        parse=values.above_zero,
        example="30",
        help="length of the run in minutes, instead of --steps",
    )
    size: tuple[int, int] | None = like(Network, "size")
    batch: int | None = like(
        Network, "batch", default=None, help="pictures in one step (default: 8 for small inputs, else 1 or 2)"
    )
    rate: float | None = option(
        None,
        "--rate",
        metavar="RATE",
        parse=values.above_zero,
        example="1e-4",
        help="peak learning rate (default: 1e-4, for large networks 1e-5)",
    )
    holdout: float = option(
        0.1,
        "--holdout",
        metavar="SHARE",
        parse=values.share,
        example="0.1",
        help="share of the pairs kept for scoring before and after, at most 32 pairs (default: 0.1)",
    )
    seed: int = option(
        0,
        "--seed",
        metavar="N",
        parse=values.whole(0),
        example="0",
        help="random seed of order and augmentation (default: 0)",
    )
    device: str | None = like(Network, "device", common=False)
    offline: bool = like(Network, "offline")
    resume: bool = option(False, "--resume", help="continue the run that was stopped at this OUTPUT")
    overwrite: bool = like(
        Writing, "overwrite", common=False, help="replace OUTPUT, and what a stopped run left, if they exist"
    )
