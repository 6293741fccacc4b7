"""The commands besides matting: each takes its arguments to the room that does it. Nothing heavy is imported before."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from streammatte.cli.arguments import (
    Parser,
    above_zero,
    positive,
    share,
    size,
    whole,
)
from streammatte.cli.live_parser import live_parser


def models_parser() -> Parser:
    parser = Parser(prog="streammatte models", description="What can be used, and what is already here.")
    parser.add_argument("--json", action="store_true", help="as one JSON array")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", metavar="[pull NAME]")
    pulling = commands.add_parser("pull", help="fetch a model's weights")
    pulling.add_argument("name", metavar="NAME")
    pulling.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


def models(arguments: Sequence[str]) -> int:
    given = models_parser().parse_args(arguments)

    from rich.console import Console

    from streammatte.models.listing import list_models, pull

    if given.command == "pull":
        pull(given.name, Console(stderr=True))
    else:
        list_models(Console(), as_json=given.json)
    return 0


def doctor_parser() -> Parser:
    parser = Parser(prog="streammatte doctor", description="What this machine can do, and what is missing.")
    parser.add_argument("--json", action="store_true", help="as one JSON array")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def doctor(arguments: Sequence[str]) -> int:
    given = doctor_parser().parse_args(arguments)

    from rich.console import Console

    from streammatte.cli.doctor import print_report

    print_report(Console(), as_json=given.json)
    return 0


def train(arguments: Sequence[str]) -> int:
    given = train_parser().parse_args(arguments)

    from streammatte.cli.display import TrainingDisplay
    from streammatte.train.finetune import TuneOptions, finetune

    options = TuneOptions(
        pairs=given.pairs,
        output=given.output,
        start=given.start,
        backgrounds=given.backgrounds,
        steps=given.steps,
        minutes=given.minutes,
        size=given.size,
        batch=given.batch,
        rate=given.rate,
        holdout=given.holdout,
        seed=given.seed,
        device=given.device,
        offline=given.offline,
        resume=given.resume,
        overwrite=given.overwrite,
    )
    with TrainingDisplay(quiet=given.quiet or given.json) as display:
        summary = finetune(options, display)
        if given.json:
            print(summary.as_json())
        else:
            display.trained(summary)
    return 0 if summary.interrupted is None else 128 + summary.interrupted


def evaluate_parser() -> Parser:
    parser = Parser(
        prog="streammatte evaluate",
        description="How far a clip's alpha is from the truth: MAD, MSE, Grad, Conn and IoU of each frame, dtSSD and "
        "MESSDdt from one to the next. PRED and TRUTH are plates (.mov, .webm, RGBA pictures) or mattes in grey "
        "(.mov, .mp4, .mkv, name.####.png), frame for frame.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=26),
    )
    add = parser.add_argument
    add("pred", metavar="PRED", help="what was made")
    add("truth", metavar="TRUTH", help="what it should be")
    add("--json", metavar="FILE", help="write the figures, those of each frame included")
    add("--html", metavar="FILE", help="write a page: figures over time, the worst frames, where the matte flickers")
    add("--source", metavar="CLIP", help="the footage, to be shown on the page (default: the colours of PRED)")
    add("--foreground", metavar="CLIP", help="the true colours, straight: measures those of PRED where TRUTH is not 0")
    add("--overwrite", action="store_true", help="replace files that exist")
    add("--quiet", action="store_true", help="no progress, no table")
    add("--debug", action="store_true", help="show the traceback of an error")
    return parser


def evaluate(arguments: Sequence[str]) -> int:
    given = evaluate_parser().parse_args(arguments)

    from streammatte.cli.display import EvaluationDisplay
    from streammatte.quality.evaluate import EvaluationOptions
    from streammatte.quality.evaluate import evaluate as run

    options = EvaluationOptions(
        pred=given.pred,
        truth=given.truth,
        source=given.source,
        foreground=given.foreground,
        json=given.json,
        html=given.html,
        overwrite=given.overwrite,
    )
    with EvaluationDisplay(quiet=given.quiet) as display:
        display.evaluated(run(options, display))
    return 0


def train_parser() -> Parser:
    parser = Parser(
        prog="streammatte train",
        description="Train a network on with pictures and alphas of your own: PAIRS/images/x.jpg with "
        "PAIRS/alphas/x.png, or cut-outs as straight RGBA PAIRS/x.png with --backgrounds DIR. Ctrl-C saves what is "
        "done; --resume goes on from there.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=26),
    )
    add = parser.add_argument
    add("pairs", metavar="PAIRS", help="a folder of pairs")
    add("-o", "--output", metavar="OUTPUT", required=True, help="the checkpoint to write, a .safetensors file")
    add(
        "--from",
        dest="start",
        metavar="MODEL",
        default="birefnet-nano",
        help="what to begin with: a name that `streammatte models` lists, or a checkpoint file (default: %(default)s)",
    )
    add("--backgrounds", metavar="DIR", help="pictures to put cut-outs over")
    add("--steps", metavar="N", type=positive, default=1000, help="length of the run (default: %(default)s)")
    add("--minutes", metavar="N", type=above_zero, help="length of the run in minutes instead")
    add("--size", metavar="WxH", type=size, help="of the network's input (default: the model's own)")
    add("--batch", metavar="N", type=positive, help="pictures a step (default: 8 for small inputs, else 1 or 2)")
    add("--rate", metavar="RATE", type=above_zero, help="peak learning rate (default: 1e-4, large networks 1e-5)")
    add(
        "--holdout",
        metavar="SHARE",
        type=share,
        default=0.1,
        help="of the pairs, kept for scoring before and after, at most 32 (default: %(default)s)",
    )
    add("--seed", metavar="N", type=whole, default=0, help="decides order and augmentation (default: %(default)s)")
    add("--device", metavar="NAME", help="cpu, cuda, cuda:1 (default: the best one here)")
    add("--offline", action="store_true", help="ask no hub for weights; HF_HUB_OFFLINE=1 does the same")
    add("--resume", action="store_true", help="go on with the run that was stopped at this OUTPUT")
    add("--overwrite", action="store_true", help="replace OUTPUT, and a stopped run's state, if they exist")
    add("--json", action="store_true", help="the summary as one JSON object on standard output")
    add("--quiet", action="store_true", help="no progress, no summary")
    add("--debug", action="store_true", help="show the traceback of an error")
    return parser


def live(arguments: Sequence[str]) -> int:
    given = live_parser().parse_args(arguments)
    if given.list_cameras:
        from rich.console import Console

        from streammatte.live.cameras import print_cameras

        print_cameras(Console(), Console(stderr=True), as_json=given.json)
        return 0

    from streammatte.cli.display import LiveDisplay
    from streammatte.live.live_options import LiveOptions
    from streammatte.live.session import run_live

    options = LiveOptions(
        camera=given.camera,
        size=given.size,
        rate=given.rate,
        backgrounds=tuple(given.backgrounds or ("blur",)),
        outputs=tuple(given.outputs),
        model=given.model,
        weights=given.weights,
        device=given.device,
        precision=given.precision,
        quality=given.quality,
        mirror=given.mirror,
        light_wrap=given.light_wrap,
        match=given.match,
        feather=given.feather,
        seconds=given.seconds,
        offline=given.offline,
        overwrite=given.overwrite,
        json=given.json,
    )
    with LiveDisplay(quiet=given.quiet, as_json=given.json) as display:
        run_live(options, display)
    return 0


COMMANDS = {"models": models, "doctor": doctor, "evaluate": evaluate, "train": train, "live": live}
"""By the first argument; with another one, that is what to matte."""
