"""``python -m streammatte.training``: train the embedded checkpoint from cut-outs and panoramas."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

import cv2
import numpy as np
import torch
import torch.distributed as dist

from streammatte import metrics
from streammatte.errors import StreammatteError
from streammatte.nets.birefnet import NANO, BiRefNet, BiRefNetConfig, load_birefnet
from streammatte.training import evaluate
from streammatte.training.backgrounds import panorama_views
from streammatte.training.compose import Composer
from streammatte.training.cutouts import SUFFIXES, is_held_out, list_files, read_cutouts
from streammatte.training.loop import Schedule, Trainer, train

CHECKPOINT = "birefnet-nano.safetensors"
STATE = "state.pt"
CURVE = "curve.jsonl"

NETWORKS = {
    "narrow": BiRefNetConfig(24, (1, 1, 2, 2), (1, 2, 4, 8), 8, inter=16, aspp=16, kernels=(1, 3)),
    "nano": NANO,
    "deep": BiRefNetConfig(32, (2, 2, 6, 2), (1, 2, 4, 8), 8, inter=16, aspp=24, kernels=(1, 3)),
    "wide": BiRefNetConfig(40, (1, 1, 4, 2), (1, 2, 4, 8), 8, inter=16, aspp=24, kernels=(1, 3)),
    "decoder": BiRefNetConfig(32, (1, 1, 4, 2), (1, 2, 4, 8), 8, inter=32, aspp=32, kernels=(1, 3)),
}
"""Sizes that were weighed against each other; ``nano`` is the one that is shipped (``benchmarks/training.md``)."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m streammatte.training",
        description="Train birefnet-nano on pictures composed from cut-outs with exact alpha. Started by `torchrun "
        "--nproc-per-node N -m streammatte.training`, it uses N processes, each on batches of its own.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    default = Schedule()
    add = parser.add_argument
    add(
        "--cutouts",
        type=Path,
        action="append",
        required=True,
        metavar="DIR",
        help="folder of straight RGBA pictures, one in twelve of them held out; may be given again, the same one too, "
        "then seen more often",
    )
    add("--panoramas", type=Path, required=True, metavar="DIR", help="folder of .hdr panoramas; two are held out")
    add("--out", type=Path, required=True, metavar="DIR", help=f"takes {CHECKPOINT}, {STATE}, {CURVE} and sheets")
    add("--steps", type=int, default=default.steps, help="length of the run in steps; reproducible")
    add("--minutes", type=float, help="length of the run in minutes instead")
    add("--batch", type=int, default=default.batch, help="pictures a step")
    add(
        "--sizes",
        type=parse_sizes,
        default=",".join(f"{size}:{share}" for size, share in default.sizes),
        metavar="SIDE:SHARE,…",
        help="sides of the pictures, in order, each with its share of the run; multiples of 32",
    )
    add("--network", choices=NETWORKS, default="nano", help="the size to train")
    add("--from", dest="start", type=Path, metavar="FILE", help="a checkpoint to go on from, not from random weights")
    add("--rate", type=float, default=default.rate, help="peak learning rate")
    add("--seed", type=int, default=0, help="decides every picture and the first weights")
    add("--views", type=int, default=600, help="panorama views kept in memory, 0.3 MB each")
    add("--device", default="cpu", help="cpu, cuda or cuda:1")
    add("--bf16", action="store_true", help="bfloat16 autocast: quicker where the processor has it")
    add("--workers", type=int, default=1, help="processes that compose pictures; 0 composes in the trainer's own")
    add("--held-out-pictures", type=int, default=128, metavar="N", help="composed pictures to score on")
    add("--every", type=float, default=10, metavar="MINUTES", help="time between checkpoints")
    add("--look", type=Path, nargs="*", default=[], metavar="PATH", help="clips and stills for the contact sheet")
    add("--truth", type=Path, nargs=2, metavar=("PICTURE", "ALPHA"), help="a real picture with its alpha to score")
    add("--resume", action="store_true", help="go on from the state in --out")
    return parser.parse_args(arguments)


def parse_sizes(text: str) -> tuple[tuple[int, float], ...]:
    """``128:0.6,256:0.4`` as ((128, 0.6), (256, 0.4))."""
    try:
        sizes = tuple((int(side), float(share)) for side, share in (part.split(":") for part in text.split(",")))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"not of the form 128:0.6,256:0.4: {text}") from exc
    if any(side <= 0 or side % 32 for side, _ in sizes) or abs(sum(share for _, share in sizes) - 1) > 1e-6:
        raise argparse.ArgumentTypeError(f"sides are multiples of 32 and shares sum to 1: {text}")
    return sizes


def composer(options: argparse.Namespace) -> Composer:
    """The composer to train on."""
    cutouts = [path for path in list_files(options.cutouts, *SUFFIXES) if not is_held_out(path)]
    _, panoramas = evaluate.split_panoramas(options.panoramas)
    views = panorama_views(panoramas, options.views, options.seed)
    return Composer(read_cutouts(cutouts), views, options.seed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parse(arguments)
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
    try:
        run(options)
    except StreammatteError as error:
        print(f"streammatte.training: error: {error}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> None:
    """Train as the options say."""
    cv2.setNumThreads(1)  # the composing worker has one core; OpenCV's pool would only get in the trainer's way
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    seen, unseen = composer(options), evaluate.held_out(options.cutouts, options.panoramas)
    print(f"{len(seen.cutouts)} cut-outs to train on, {len(unseen.cutouts)} held out", flush=True)
    schedule = Schedule(
        steps=options.steps,
        minutes=options.minutes,
        batch=options.batch,
        sizes=options.sizes,
        rate=options.rate,
    )
    device = options.device
    if device == "cuda" and dist.is_initialized():
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    net = load_birefnet(options.start) if options.start else BiRefNet(NETWORKS[options.network])
    trainer = Trainer(net.to(device), schedule, bf16=options.bf16)
    first = not dist.is_initialized() or dist.get_rank() == 0  # of several processes, the one that writes
    if options.resume:
        trainer.resume(out / STATE)
    pictures = [picture for path in options.look for picture in evaluate.read_pictures(path)]
    began = time.monotonic()

    def log(line: Mapping[str, float]) -> None:
        if not first:
            return
        with (out / CURVE).open("a") as curve:
            curve.write(json.dumps(dict(line)) + "\n")
        done = max(trainer.progress, 1e-6)
        left = trainer.seconds * (1 - done) / done / 60
        print(f"{(time.monotonic() - began) / 60:6.1f} min, {left:.0f} left  {dict(line)}", flush=True)

    def checkpoint() -> None:
        if not first:
            return
        trainer.save(out / STATE)
        trainer.export(out / CHECKPOINT)
        net, size = trainer.averaged(), trainer.size
        scores = evaluate.held_out_scores(net, unseen, size, options.held_out_pictures)
        if options.truth:
            scores["real_iou"] = real_iou(net, options.truth[0], options.truth[1], size)
        log({"step": trainer.step, "progress": round(trainer.progress, 4), "size": size, **scores})
        if pictures:
            sheet = evaluate.contact_sheet(net, pictures, size)
            evaluate.write_png(out / f"sheet-{trainer.step:06}.png", sheet)

    stopped = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    def keep() -> None:
        if trainer.progress < 1 and first:
            trainer.save(out / STATE)
            print(f"stopped at step {trainer.step}; --resume goes on from there", flush=True)

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        train(
            trainer,
            seen,
            workers=options.workers,
            every_minutes=options.every,
            log=log,
            checkpoint=checkpoint,
            stopping=lambda: stopped,
        )
    except StreammatteError:  # such as a loss that is no number: the state of the last checkpoint is the better one
        raise
    except BaseException:  # such as the death of a process that composes
        keep()
        raise
    else:
        keep()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def real_iou(net: BiRefNet, picture: Path, alpha: Path, size: int) -> float:
    """Intersection over union on a real picture whose alpha is known."""
    rgb = evaluate.read_pictures(picture)[0]
    truth = evaluate.read_pictures(alpha)[0][..., 0].astype(np.float32) / np.float32(255)
    return round(metrics.iou(evaluate.predict(net, rgb, size), truth), 4)


if __name__ == "__main__":
    sys.exit(main())
