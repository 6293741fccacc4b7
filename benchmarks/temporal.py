"""Temporal stability of mattes, on clips with known alpha.

    python -m benchmarks.temporal [--json FILE] [-o OUT.png] [--clips NAME ...] [--no-network] [--weights FILE]
    python -m benchmarks.temporal --people DIR [--held-back] [--quick]
    python -m benchmarks.temporal --cost

Clips come from `training.clips`. Each has three raw mattes: its ground truth degraded by `training.flicker`, the same
at half strength, and the bundled network's matte of every frame. With `--people`, they come from
`benchmarks.people_clips` instead: photographed people over streets, their mattes spoilt in three ways, all harder.
Nothing may be tuned on its held-back part. Mattes go through simple methods, a plain median along the flow, and our
stage with and without lookahead; the network's also through all stages of the command. `--quick` is our stage alone,
on two thirds of the frames of four clips. Scores are
dtSSD, MAD and Grad, relative to the raw matte's, and MESSDdt, because dtSSD counts an error that travels with the
subject, like most of a network's, as flicker, which no temporal smoothing can remove.
Clips are 384 × 216, a fifth of 1080p in size and speed: 30 pixels a frame there are 6 here.
Subjects are held-out cut-outs of `samples/cutouts`, mostly people, since a subject that the network misses cannot be
made steady. `--seed` decides everything.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import streammatte
from benchmarks import people_clips
from streammatte.frame import Cutout, Frame, Model, Stage
from streammatte.models.table import NANO_SIZE
from streammatte.quality import metrics
from streammatte.stages import TemporalSmoother, stages_for
from training.clips import NAMES, Clip, make_clip
from training.cutouts import read_cutouts
from training.flicker import flickering

Mattes = NDArray[np.float32]
CUTOUTS = Path(__file__).parents[1] / "samples/cutouts"
SUBJECTS = (149, 155, 233, 240, 335, 343, 569, 609, 905, 994)  # held out from training; mostly people, complete
MEASURES = ("dtSSD", "MESSDdt", "MAD", "Grad")
NETWORK_SIZE = NANO_SIZE[0]
QUICK = ("slow", "fast", "dancing", "cut")
HELD_BACK = 1000  # added to the seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", nargs="+", metavar="NAME")
    parser.add_argument("--people", type=Path, metavar="DIR", help="NNNN.jpg with masks NNNN.png, as benchmarks.people")
    parser.add_argument("--held-back", action="store_true", help="other people, places, speeds and noise")
    parser.add_argument("--quick", action="store_true", help="four clips, fewer frames, and our stage only")
    parser.add_argument("--size", type=int, nargs=2, default=(384, 216), metavar=("W", "H"))
    parser.add_argument("--frames", type=int, default=36)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smooth", choices=("low", "medium", "high"), default="medium")
    parser.add_argument("--no-network", action="store_true", help="only the noise model")
    parser.add_argument("--weights", help="a checkpoint file (default: the bundled one)")
    parser.add_argument("--cost", action="store_true", help="only measure the stage's core-ms a frame at 1920 × 1080")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("-o", "--output", metavar="PNG", help="the worst frames: picture, truth, raw, ours")
    given = parser.parse_args()
    if given.cost:
        return cost()

    model = None
    if not given.no_network:
        model = streammatte.load_model("birefnet-nano", weights=given.weights, offline=True, device="cpu")
    figures: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    sheet = []
    for name, clip, raws in material(given):
        if model is not None:
            raws["network"] = matted(clip, model)
        for kind, raw in raws.items():
            results = {"raw": raw, "ours": matted(clip, known(raw), [TemporalSmoother(given.smooth)])}
            if not given.quick:
                results |= {rule.__name__.replace("_", " "): rule(raw) for rule in RULES}
                results["flow median"] = flow_median(clip, raw)
                results["ours, causal"] = matted(clip, known(raw), [TemporalSmoother(given.smooth, lookahead=0)])
            if model is not None and kind == "network" and not given.quick:
                results["the command"] = matted(
                    clip, known(raw), stages_for(model.size, smooth=given.smooth, decontaminate=False)
                )
            figures.setdefault(kind, {})[name] = {method: scores(clip, matte) for method, matte in results.items()}
            print_row(kind, name, figures[kind][name])
            sheet.append(worst(clip, raw, results["ours"]))
    shares = {kind: summary(clips) for kind, clips in figures.items()}
    for kind, share in shares.items():
        print(f"\n{kind}: mean over the clips, as a share of raw")
        for method, values in share.items():
            print(f"  {method:16}", "  ".join(f"{measure} {value:.3f}" for measure, value in values.items()))
    if given.json:
        about = {"size": list(given.size), "frames": given.frames, "seed": given.seed, "smooth": given.smooth}
        given.json.write_text(json.dumps(about | {"mean share of raw": shares, "figures": figures}, indent=1) + "\n")
    if given.output:
        cv2.imwrite(given.output, np.vstack(sheet)[..., ::-1])


def material(given: argparse.Namespace) -> Iterator[tuple[str, Clip, dict[str, Mattes]]]:
    """Each clip's name, the clip, and its spoilt mattes by the kind of noise."""
    frames = 24 if given.quick else given.frames
    if given.people is None:
        cutouts = read_cutouts([CUTOUTS / f"{number:06}.webp" for number in SUBJECTS])
        for name in given.clips or NAMES:
            clip = make_clip(name, *given.size, frames, seed=given.seed, cutouts=cutouts)
            yield (
                name,
                clip,
                {
                    "noise model": flickering(clip.alpha, seed=given.seed),
                    "half the noise": flickering(clip.alpha, seed=given.seed, strength=0.5),
                },
            )
        return
    seed, kinds = given.seed, people_clips.SPOILINGS
    if given.held_back:
        seed, kinds = seed + HELD_BACK, people_clips.HELD_BACK
    people = people_clips.read_people(given.people, kept_back=given.held_back)
    for name in given.clips or (QUICK if given.quick else people_clips.NAMES):
        clip = people_clips.make(name, people, tuple(given.size), frames, seed)
        yield name, clip, {kind: people_clips.spoilt(clip.alpha, how, seed) for kind, how in kinds.items()}


def running_average(raw: Mattes) -> Mattes:
    """Half of each frame, half of the average before it."""
    result = raw.copy()
    for before, here in pairwise(result):
        here[:] = (before + here) / 2
    return result


def median_of_three(raw: Mattes) -> Mattes:
    result = raw.copy()
    result[1:-1] = np.median([raw[:-2], raw[1:-1], raw[2:]], axis=0)
    return result


def one_frame_delay(raw: Mattes) -> Mattes:
    """The neighbours' mean where they agree and the frame does not (MODNet: Ke et al. 2022, section 3.4)."""
    before, here, after = raw[:-2], raw[1:-1], raw[2:]
    near = np.abs(before - after) <= 0.1
    odd = near & (np.abs(here - before) > 0.1) & (np.abs(here - after) > 0.1)
    result = raw.copy()
    result[1:-1] = np.where(odd, (before + after) / 2, here)
    return result


def bilinear(raw: Mattes) -> Mattes:
    """To the bundled network's size and back."""
    height, width = raw.shape[1:]
    small = [cv2.resize(matte, (NETWORK_SIZE, NETWORK_SIZE), interpolation=cv2.INTER_AREA) for matte in raw]
    return np.stack([cv2.resize(matte, (width, height), interpolation=cv2.INTER_LINEAR) for matte in small])


RULES: tuple[Callable[[Mattes], Mattes], ...] = (running_average, median_of_three, one_frame_delay, bilinear)


def flow_median(clip: Clip, raw: Mattes) -> Mattes:
    """Median of seven mattes moved along the flow, weighted by how well their pictures agree."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    lumas = [cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in clip.rgb]
    places = np.dstack(np.meshgrid(*map(np.arange, clip.alpha.shape[:0:-1]))).astype(np.float32)
    result = raw.copy()
    for here, luma in enumerate(lumas):
        said, weights = [], []
        for there in range(max(0, here - 3), min(len(raw), here + 4)):
            at = places if there == here else places + dis.calc(luma, lumas[there], None)
            picture, matte = (
                cv2.remap(x, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
                for x in (clip.rgb[there], raw[there])
            )
            apart = np.abs(picture.astype(np.float32) - clip.rgb[here]).mean(axis=2)
            said.append(matte)
            weights.append(np.exp(-np.square(apart / 10)))
        order = np.argsort(said, axis=0)
        below = np.cumsum(np.take_along_axis(np.stack(weights), order, 0), axis=0)
        middle = (below < below[-1] / 2).sum(axis=0, keepdims=True)
        result[here] = np.take_along_axis(np.take_along_axis(np.stack(said), order, 0), middle, 0)[0]
    return result


def matted(clip: Clip, model: Model, stages: Iterable[Stage] = ()) -> Mattes:
    frames = [Frame(torch.from_numpy(rgb).permute(2, 0, 1), index, index) for index, rgb in enumerate(clip.rgb)]
    return np.stack([cutout.alpha.numpy() for cutout in streammatte.matte(frames, model, stages)])


def known(mattes: Mattes) -> Model:
    return lambda frames: [torch.from_numpy(mattes[frame.index]) for frame in frames]


def scores(clip: Clip, mattes: Mattes) -> dict[str, float]:
    """dtSSD and MESSDdt over pairs of frames, MAD and Grad over frames, and MAD next to cuts."""
    pairs = list(zip(mattes, clip.alpha, strict=True))
    differences = np.array([metrics.mad(*pair) for pair in pairs])
    result = {
        "dtSSD": metrics.dtssd(mattes, clip.alpha),
        "MESSDdt": metrics.messddt(mattes, clip.alpha),
        "MAD": float(differences.mean()),
        "Grad": float(np.mean([metrics.grad(*pair) for pair in pairs])),
    }
    if clip.cuts:
        result["MAD at cuts"] = float(np.mean([differences[cut - 1 : cut + 1] for cut in clip.cuts]))
    return {measure: round(value, 4) for measure, value in result.items()}


def summary(clips: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """For each method, the mean over the clips of each metric relative to the raw matte's."""
    methods = next(iter(clips.values()))
    return {
        method: {
            measure: round(float(np.mean([rows[method][measure] / rows["raw"][measure] for rows in clips.values()])), 3)
            for measure in MEASURES
        }
        for method in methods
    }


def print_row(kind: str, name: str, rows: dict[str, dict[str, float]]) -> None:
    print(f"\n{kind}, {name}; raw: ", "  ".join(f"{measure} {value:.2f}" for measure, value in rows["raw"].items()))
    for method, row in rows.items():
        if method != "raw":
            shares = (f"{measure} {value / max(rows['raw'][measure], 1e-9):.3f}" for measure, value in row.items())
            print(f"  {method:16}", "  ".join(shares), flush=True)


def cost(frames: int = 40) -> None:
    """Print the median core-milliseconds of a frame at 1920 × 1080 with a matte of the bundled network's size."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    small = make_clip("articulated", 960, 540, frames)
    planes = [torch.from_numpy(cv2.resize(picture, (1920, 1080))).permute(2, 0, 1) for picture in small.rgb]
    mattes = [torch.from_numpy(cv2.resize(matte, NANO_SIZE, interpolation=cv2.INTER_AREA)) for matte in small.alpha]
    cutouts = [
        Cutout(Frame(picture, at, at), matte) for at, (picture, matte) in enumerate(zip(planes, mattes, strict=True))
    ]
    for strength in ("low", "medium", "high"):
        stage, times = TemporalSmoother(strength), []
        for cutout in cutouts:
            start = time.process_time()
            list(stage.push(cutout))
            times.append(time.process_time() - start)
        print(
            f"{strength}: {1000 * np.median(times[-20:]):.0f} core-ms a frame, {1000 * min(times[-20:]):.0f} at least"
        )


def worst(clip: Clip, raw: Mattes, ours: Mattes) -> NDArray[np.uint8]:
    """Our two worst frames and the least improved one, with ground truth and raw matte."""
    error = np.abs(ours - clip.alpha).mean((1, 2))
    picks = [*np.argsort(error)[-2:], int(np.argmax(error - np.abs(raw - clip.alpha).mean((1, 2))))]
    rows = []
    for index in picks:
        gray = [np.repeat(np.rint(m[index] * 255).astype(np.uint8)[..., None], 3, 2) for m in (clip.alpha, raw, ours)]
        rows.append(np.hstack([clip.rgb[index], *gray]))
    return np.vstack(rows)


if __name__ == "__main__":
    main()
