"""Score a checkpoint on real pictures, with a contact sheet.

    python -m benchmarks.real --photos DIR --clips DIR -o sheet.png [--json FILE] [--weights FILE] [--size N]
    python -m benchmarks.real --clips DIR --only astronaut cat --before OLD.safetensors -o sheet.png
    python -m benchmarks.real --contact CLIP [--every N] -o sheet.png

The pictures are not in the repository: photographs from scikit-image's wheel (`pip install scikit-image pymatting`,
only needed here), and photographs and clips from your folders; missing ones are named and skipped.
`benchmarks/real/*.json` outlines the subject of each picture by hand. Ground truth is the closed-form matte (Levin et
al. 2008, by pymatting) in a band around that outline. It is as accurate as the drawing: about a pixel at edges, less
in fur and whiskers. IoU and MAD are therefore more reliable here than Grad and Conn.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

import streammatte
from streammatte.models.birefnet import BiRefNetModel
from streammatte.quality import metrics
from streammatte.stages import stages_for

DRAWN = Path(__file__).parent / "real"
MEASURES = {"iou": metrics.iou, "mad": metrics.mad, "mse": metrics.mse, "grad": metrics.grad, "conn": metrics.conn}
LARGEST = 640  # longest side for scoring, as Grad and Conn grow with the picture
GREEN = np.array([0.25, 0.6, 0.3], np.float32)
HEIGHT = 240  # pixels, of a row of the sheet
GAP = 4

Colors = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class Picture:
    """A frame and the drawing of its subject.

    Attributes:
        name: The name of its drawing.
        file: A photograph or a clip.
        index: The frame's index in it.
        drawing: The JSON. Coordinates are pixels, x before y, of the picture at its own size:
            ``outline``: polygons whose union is the subject; ``holes``: polygons to cut out;
            ``band``: pixels on both sides of the outline where the closed-form matte decides;
            ``unknown``: polygons where it decides, too; ``background``: polygons where it must not;
            ``ignored``: ambiguous polygons, which are not scored.
            Or, instead, ``alpha``: a file with the ground truth beside the photograph.
    """

    name: str
    file: Path
    index: int
    drawing: dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", required=True, metavar="PNG")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="folder of the photographs")
    parser.add_argument("--clips", type=Path, metavar="DIR", help="folder of the clips")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="drawings to use (default: all)")
    parser.add_argument("--before", metavar="FILE", help="a checkpoint to compare with")
    parser.add_argument("--whole", action="store_true", help="matte clips from their beginning")
    parser.add_argument("--contact", type=Path, metavar="CLIP", help="only a sheet of a clip's mattes over green")
    parser.add_argument("--every", type=int, default=5, metavar="N", help="frame step of --contact (%(default)s)")
    parser.add_argument("--model", default="birefnet-nano")
    parser.add_argument("--weights")
    parser.add_argument("--colors", choices=("auto", "on", "off"), default="auto", help="as in the command")
    parser.add_argument("--size", type=int, metavar="N", help="side of the network's input")
    given = parser.parse_args()

    size = (given.size, given.size) if given.size else None
    model = streammatte.load_model(given.model, weights=given.weights, size=size, offline=True)
    if given.contact:
        cv2.imwrite(given.output, contact(given.contact, given.every, model, given.colors)[..., ::-1])
        return

    before = given.before and streammatte.load_model(given.model, weights=given.before, size=size, offline=True)
    unknown = set(given.only or ()) - {path.stem for path in DRAWN.glob("*.json")}
    if unknown:
        sys.exit(f"no such drawing: {', '.join(sorted(unknown))}")
    rows, figures = [], {}
    for picture in pictures(given.photos, given.clips):
        if given.only and picture.name not in given.only:
            continue
        rgb, matte = matted(picture, model, given.colors, whole=given.whole)
        truth, counted = scored(picture, rgb)
        matte = fitted(matte, truth)
        figures[picture.name] = {name: measure(matte, truth, counted) for name, measure in MEASURES.items()}
        mattes = [fitted(matted(picture, before, "off", whole=False)[1], truth)] if before else []
        rows.append(row(picture.name, rgb, truth, [*mattes, matte], counted))
    if not rows:
        sys.exit("no picture found: --photos and --clips name the folders, pip install scikit-image brings four")
    mean = {name: float(np.mean([one[name] for one in figures.values()])) for name in MEASURES}
    print(table({**figures, "mean": mean}))
    cv2.imwrite(given.output, stacked(rows)[..., ::-1])
    if given.json:
        said = {
            "weights": Path(given.weights or given.model).name,
            "size": f"{model.size[1]}x{model.size[0]}",
            "whole": given.whole,
            "colors": given.colors,
        }
        report = {**said, "mean": rounded(mean), "pictures": {name: rounded(one) for name, one in figures.items()}}
        given.json.write_text(json.dumps(report, indent=1) + "\n")


def pictures(photos: Path | None, clips: Path | None) -> Iterator[Picture]:
    """Pictures whose file exists, by name; others are reported on stderr."""
    folders = {"skimage": skimage_data(), "photo": photos, "clip": clips}
    for path in sorted(DRAWN.glob("*.json")):
        drawing = json.loads(path.read_text())
        (kind,) = folders.keys() & drawing.keys()
        folder = folders[kind]
        if folder is None or not (folder / drawing[kind]).exists():
            print(f"left out, as its {kind} is not there: {path.stem} ({drawing[kind]})", file=sys.stderr)
        else:
            yield Picture(path.stem, folder / drawing[kind], drawing.get("frame", 0), drawing)


def skimage_data() -> Path | None:
    try:
        import skimage
    except ImportError:
        print("scikit-image's pictures need `pip install scikit-image`", file=sys.stderr)
        return None
    return Path(skimage.__file__).parent / "data"


def matted(
    picture: Picture, model: BiRefNetModel, colors: Colors, *, whole: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The picture, (H, W, 3), and its matte, (H, W), in [0, 1].

    Args:
        picture: The picture.
        model: The model.
        colors: As in the command.
        whole: Matte all frames up to this one, for stages that use several frames.
    """
    with streammatte.open_video(picture.file) as source:
        frames = (frame for frame in source if whole or frame.index == picture.index)
        cutouts = streammatte.matte(frames, model, stages_for(model.size, colors))
        cutout = next(cutout for cutout in cutouts if cutout.frame.index == picture.index)
    return cutout.frame.as_float().permute(1, 2, 0).numpy(), cutout.alpha.cpu().numpy()


def scored(picture: Picture, rgb: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Ground truth in [0, 1] and the pixels to count, both (h, w), perhaps shrunk."""
    drawing, (height, width) = picture.drawing, rgb.shape[:2]
    scale = min(1.0, LARGEST / max(height, width))
    if "alpha" in drawing:
        alpha = cv2.imread(str(picture.file.parent / drawing["alpha"]), cv2.IMREAD_GRAYSCALE)
        truth = cv2.resize(alpha, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        return truth, np.ones(truth.shape, bool)
    small = (round(width * scale), round(height * scale))
    trimap = trimap_of(drawing, height, width)
    trimap = cv2.resize(trimap, small, interpolation=cv2.INTER_AREA)
    trimap[(trimap > 0) & (trimap < 1)] = 0.5
    colors = cv2.resize(rgb, small, interpolation=cv2.INTER_AREA)
    counted = (
        cv2.resize(painted(drawing.get("ignored", []), height, width), small, interpolation=cv2.INTER_NEAREST) == 0
    )
    return closed_form(colors, trimap), counted


def fitted(matte: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """A matte shrunk to the ground truth's size."""
    resized = cv2.resize(matte, (truth.shape[1], truth.shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(resized.clip(0, 1), np.float32)


def trimap_of(drawing: dict[str, Any], height: int, width: int) -> NDArray[np.float32]:
    """(H, W): 0 is background, 1 subject, 0.5 unknown."""
    subject = painted(drawing["outline"], height, width) & ~painted(drawing.get("holes", []), height, width)
    inside, outside = drawing["band"]
    disc = [cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1)) for r in (inside, outside)]
    trimap = np.full((height, width), 0.5, np.float32)
    trimap[cv2.erode(subject, disc[0]) > 0] = 1
    trimap[cv2.dilate(subject, disc[1]) == 0] = 0
    trimap[painted(drawing.get("unknown", []), height, width) > 0] = 0.5
    trimap[painted(drawing.get("background", []), height, width) > 0] = 0
    return trimap


def painted(polygons: list[list[list[float]]], height: int, width: int) -> NDArray[np.uint8]:
    """(H, W): 255 within the polygons, 0 elsewhere."""
    canvas = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        cv2.fillPoly(canvas, [np.rint(polygon).astype(np.int32)], 255)
    return canvas


def closed_form(rgb: NDArray[np.float32], trimap: NDArray[np.float32]) -> NDArray[np.float32]:
    """The closed-form matte, solved in and near the trimap's unknown band."""
    try:
        from pymatting import estimate_alpha_cf
    except ImportError:
        sys.exit("the truth of real pictures is made with pymatting: pip install pymatting")
    y, x = np.nonzero(trimap == 0.5)
    part = (slice(max(0, y.min() - 8), y.max() + 9), slice(max(0, x.min() - 8), x.max() + 9))
    truth = trimap.copy()
    truth[part] = estimate_alpha_cf(rgb[part].astype(np.float64), trimap[part].astype(np.float64)).clip(0, 1)
    return truth


def row(
    name: str,
    rgb: NDArray[np.float32],
    truth: NDArray[np.float32],
    mattes: list[NDArray[np.float32]],
    counted: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Picture, ground truth (red where not scored), each matte, then ground truth and mattes over green."""
    height, width = truth.shape
    rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    shown = np.repeat(truth[..., None], 3, axis=2)
    shown[~counted] = shown[~counted] * 0.5 + np.array([0.5, 0, 0], np.float32)
    gray = [np.repeat(matte[..., None], 3, axis=2) for matte in mattes]
    parts = [rgb, shown, *gray, *(over_green(rgb, matte) for matte in (truth, *mattes))]
    parts = [cv2.resize(part, (round(width * HEIGHT / height), HEIGHT), interpolation=cv2.INTER_AREA) for part in parts]
    drawn = np.concatenate([np.pad(part, ((0, 0), (0, GAP), (0, 0)), constant_values=1.0) for part in parts], axis=1)
    picture = np.ascontiguousarray(np.rint(drawn * 255).astype(np.uint8))
    labelled(picture, name)
    return picture


def over_green(rgb: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    over: NDArray[np.float32] = rgb * alpha[..., None] + GREEN * (1 - alpha[..., None])
    return over


def labelled(picture: NDArray[np.uint8], text: str) -> None:
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(picture, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness, cv2.LINE_AA)


def stacked(rows: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Rows below each other, padded to the widest."""
    widest = max(row.shape[1] for row in rows)
    padded = [np.pad(r, ((0, GAP), (0, widest - r.shape[1]), (0, 0)), constant_values=255) for r in rows]
    return np.concatenate(padded)


def contact(clip: Path, every: int, model: BiRefNetModel, colors: Colors, columns: int = 6) -> NDArray[np.uint8]:
    """Every ``every``-th frame of a clip over green, with its number; the whole clip is matted."""
    shown = []
    with streammatte.open_video(clip) as source:
        for cutout in streammatte.matte(source, model, stages_for(model.size, colors)):
            if cutout.frame.index % every:
                continue
            rgb = cutout.frame.as_float().permute(1, 2, 0).numpy()
            over = over_green(rgb, cutout.alpha.cpu().numpy())
            small = cv2.resize(over, (320, round(320 * rgb.shape[0] / rgb.shape[1])), interpolation=cv2.INTER_AREA)
            picture = np.ascontiguousarray(np.rint(small * 255).astype(np.uint8))
            labelled(picture, str(cutout.frame.index))
            shown.append(np.pad(picture, ((0, 0), (0, GAP), (0, 0)), constant_values=255))
    print(f"{clip.name}: {len(shown)} frames")
    return stacked([np.concatenate(shown[i : i + columns], axis=1) for i in range(0, len(shown), columns)])


def table(figures: dict[str, dict[str, float]]) -> str:
    width = max(map(len, figures))
    lines = [" ".join([" " * width, *(f"{name:>8}" for name in MEASURES)])]
    for name, one in figures.items():
        lines.append(" ".join([f"{name:<{width}}", *(f"{one[key]:8.{3 if key == 'iou' else 1}f}" for key in MEASURES)]))
    return "\n".join(lines)


def rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


if __name__ == "__main__":
    main()
