"""``python -m streammatte.training``: train the embedded checkpoint from cut-outs and panoramas."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

import cv2
import numpy as np
import torch

from streammatte.errors import StreammatteError
from streammatte.nets.birefnet import NANO, BiRefNet
from streammatte.training import evaluate
from streammatte.training.backgrounds import panorama_views
from streammatte.training.compose import Composer
from streammatte.training.cutouts import is_held_out, list_files, read_cutouts
from streammatte.training.loop import Schedule, Trainer, train

CHECKPOINT = "birefnet-nano.safetensors"
STATE = "state.pt"
CURVE = "curve.jsonl"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m streammatte.training",
        description="Train birefnet-nano, from scratch, on pictures composed from cut-outs with exact alpha.",
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
        help="folder of straight RGBA PNG files; may be given again. One in twelve of the first is held out",
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
    add("--rate", type=float, default=default.rate, help="peak learning rate")
    add("--seed", type=int, default=0, help="decides every picture and the first weights")
    add("--views", type=int, default=600, help="panorama views kept in memory, 0.3 MB each")
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


def composers(options: argparse.Namespace) -> tuple[Composer, Composer]:
    """The composer to train on, and that of the subjects and panoramas held out."""
    cutouts = list_files(options.cutouts, ".png")
    first = list_files(options.cutouts[:1], ".png")
    panoramas = sorted(list_files([options.panoramas], ".hdr"), key=lambda path: zlib.crc32(path.name.encode()))
    seen = Composer(
        read_cutouts([path for path in cutouts if not is_held_out(path)]),
        panorama_views(panoramas[2:], options.views, options.seed),
        options.seed,
    )
    unseen = Composer(
        read_cutouts([path for path in first if is_held_out(path)]),
        panorama_views(panoramas[:2], 60, evaluate.EVALUATION_SEED),
        evaluate.EVALUATION_SEED,
    )
    return seen, unseen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parse(arguments)
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
    seen, unseen = composers(options)
    print(f"{len(seen.cutouts)} cut-outs to train on, {len(unseen.cutouts)} held out", flush=True)
    schedule = Schedule(
        steps=options.steps,
        minutes=options.minutes,
        batch=options.batch,
        sizes=options.sizes,
        rate=options.rate,
    )
    trainer = Trainer(BiRefNet(NANO), schedule, bf16=options.bf16)
    if options.resume:
        trainer.resume(out / STATE)
    pictures = [picture for path in options.look for picture in evaluate.read_pictures(path)]
    began = time.monotonic()

    def log(line: Mapping[str, float]) -> None:
        with (out / CURVE).open("a") as curve:
            curve.write(json.dumps(dict(line)) + "\n")
        done = max(trainer.progress, 1e-6)
        left = trainer.seconds * (1 - done) / done / 60
        print(f"{(time.monotonic() - began) / 60:6.1f} min, {left:.0f} left  {dict(line)}", flush=True)

    def checkpoint() -> None:
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
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if stopped:
        trainer.save(out / STATE)
        print(f"stopped at step {trainer.step}; --resume goes on from there", flush=True)


def real_iou(net: BiRefNet, picture: Path, alpha: Path, size: int) -> float:
    """Intersection over union on a real picture whose alpha is known."""
    rgb = evaluate.read_pictures(picture)[0]
    truth = evaluate.read_pictures(alpha)[0][..., 0].astype(np.float32) / np.float32(255)
    return round(evaluate.iou(evaluate.predict(net, rgb, size), truth), 4)


if __name__ == "__main__":
    sys.exit(main())
