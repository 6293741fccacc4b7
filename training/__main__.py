"""``python -m training``: train the bundled model.

    python -m training --people DIR --stamps DIR --wallpapers DIR --panoramas DIR --cutouts samples/cutouts --out DIR

It can be stopped at any time; the same command with ``--resume`` continues. docs/training.md says where each folder
comes from.
"""

from __future__ import annotations

import argparse
import json
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streammatte.models.nets.birefnet import NANO, BiRefNet, load_birefnet
from streammatte.train.loop import Schedule, Trainer, train
from streammatte.train.picture import Picture
from training import held_out as evaluate
from training import photographs, places
from training.backbone import converted, full_precision_depthwise, published
from training.compose import Composer
from training.cutouts import is_held_out, list_files, read_cutouts
from training.scores import people_scores

SHARES = {
    "as they are": 0.54,
    "elsewhere": 0.08,
    "things": 0.10,
    "rendered": 0.08,
    "land": 0.14,
    "table": 0.04,
    "nobody": 0.02,
}


class World:
    """All kinds of pictures, each with its share."""

    def __init__(self, options: argparse.Namespace) -> None:
        seed = options.seed
        self.seed = seed
        known, self.chosen, self.figures = photographs.people(options.people)
        _, panoramas = evaluate.split_panoramas(options.panoramas)
        views, land, tables = places.views(panoramas, options.wallpapers, known, seed)
        rendered = read_cutouts([p for p in list_files([options.cutouts], ".webp") if not is_held_out(p)])
        cut = [cutout for rgba in known if (cutout := photographs.cut_out(rgba)) is not None]
        things = list(photographs.stamps(options.stamps))
        self.views = np.concatenate([views, land, tables])
        self.makers = {
            "as they are": photographs.AsTheyAre(known, seed + 1),
            "elsewhere": Composer(cut, views, seed + 2, figures=0.01),
            "things": Composer(things, views, seed + 3, figures=0.04),
            "rendered": Composer(rendered, views, seed + 4, figures=0.04),
            "land": Composer([*cut, *things, *things, *rendered], land, seed + 6, figures=0.25, drawn=0.0),
            "table": Composer(things, tables, seed + 7, figures=0.0, drawn=0.0),
            "nobody": self._nobody,
        }
        print(f"{len(known)} people, {len(things)} things, {len(rendered)} renders, {len(views)} views", flush=True)

    def __call__(self, index: int, size: int) -> tuple[NDArray[np.uint8], Picture]:
        """Picture number ``index``: (S, S, 3) uint8 RGB, and its alpha, (S, S) float32."""
        kind = np.random.default_rng([self.seed, index]).choice(list(SHARES), p=list(SHARES.values()))
        return self.makers[str(kind)](index, size)

    def _nobody(self, index: int, size: int) -> tuple[NDArray[np.uint8], Picture]:
        view = self.views[int(np.random.default_rng([self.seed, 5, index]).integers(len(self.views)))]
        return cv2.resize(view, (size, size), interpolation=cv2.INTER_AREA), np.zeros((size, size), np.float32)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    for name, what in {
        "people": "photographs NNNN.jpg with masks NNNN.png",
        "stamps": "photographed things with alpha (Debian's tuxpaint-stamps-default, unpacked)",
        "wallpapers": "photographs of places (Debian's wallpaper packages, unpacked)",
        "panoramas": "panoramas, .hdr",
        "cutouts": "rendered cut-outs",
        "out": "for the state, the curve and the checkpoint",
    }.items():
        add(f"--{name}", type=Path, required=True, metavar="DIR", help=what)
    add("--minutes", type=float, default=100, help="training time in total, across resumptions")
    add("--batch", type=int, default=12)
    add("--sizes", default="192:0.45,288:0.55", help="picture sizes, each with its share of the run")
    add("--rate", type=float, default=1.2e-3, help="peak learning rate of the decoder")
    add("--backbone-rate", type=float, default=0.25, help="learning rate of the backbone, relative to --rate")
    add("--seed", type=int, default=100)
    add("--from", dest="start", type=Path, metavar="FILE", help="a checkpoint to start from")
    add("--bf16", action="store_true", help="faster on a GPU, or a CPU with AMX")
    add("--device", default="cpu")
    add("--cores", type=int, default=2, help="CPU cores that share each batch")
    add("--workers", type=int, default=1, help="processes that make the pictures")
    add("--every", type=float, default=10, metavar="MINUTES", help="time between checkpoints")
    add("--still", type=int, default=0, metavar="N", help="leave the backbone's first N stages as they are")
    add("--resume", action="store_true")
    return parser.parse_args()


def main() -> None:
    options = parse()
    cv2.setNumThreads(1)
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)  # batches are shared, not operators
    torch.manual_seed(options.seed)
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    world = World(options)
    if options.start:
        net = load_birefnet(options.start)
    else:
        net = BiRefNet(NANO)
        net.bb.load_state_dict(converted(published()))
    sizes = tuple((int(side), float(share)) for side, share in (part.split(":") for part in options.sizes.split(",")))
    schedule = Schedule(
        minutes=options.minutes, batch=options.batch, sizes=sizes, rate=options.rate, warm_up=150, decay=0.02,
        backbone=options.backbone_rate,
    )  # fmt: skip
    for part in (net.bb.stem, *net.bb.stages)[: options.still + 1] if options.still else ():
        part.requires_grad_(False)
    if options.bf16:
        full_precision_depthwise(net.bb)
    trainer = Trainer(net.to(options.device), schedule, bf16=options.bf16, cores=options.cores)
    if options.resume:
        trainer.resume(out / "state.pt")
    began = time.monotonic()

    def log(line: Mapping[str, float]) -> None:
        with (out / "curve.jsonl").open("a") as curve:
            curve.write(json.dumps(dict(line)) + "\n")
        print(f"{(time.monotonic() - began) / 60:6.1f} min  {dict(line)}", flush=True)

    def checkpoint() -> None:
        size = trainer.size
        trainer.save(out / "state.pt")
        trainer.export(out / "birefnet-nano.safetensors", size=(size, size))
        scores = people_scores(trainer.averaged(), world.chosen, size)
        log({"step": trainer.step, "progress": round(trainer.progress, 4), "size": size, **scores})

    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    train(trainer, world, workers=options.workers, every_minutes=options.every, log=log, checkpoint=checkpoint,
          stopping=lambda: stopped)  # fmt: skip
    if trainer.progress < 1:
        trainer.save(out / "state.pt")


if __name__ == "__main__":
    main()
