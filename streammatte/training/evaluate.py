"""How good a network is: on composed pictures it has never seen the subjects of, and, to look at, on real ones."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from streammatte import metrics
from streammatte.errors import DecodeFailed
from streammatte.training.backgrounds import panorama_views
from streammatte.training.compose import Composer
from streammatte.training.cutouts import SUFFIXES, is_held_out, list_files, read_cutouts
from streammatte.training.loop import normalise
from streammatte.training.picture import clip, resize

EVALUATION_SEED = 20_000
"""Of the composer that makes the held-out set; training seeds are small numbers."""


def held_out(cutouts: Sequence[Path], panoramas: Path) -> Composer:
    """A composer of what is never trained on: one in twelve of the cut-outs in ``cutouts``, two of the panoramas.

    Raises:
        SourceNotFound: A folder is not there or is empty.
    """
    paths = [path for path in list_files(dict.fromkeys(cutouts), *SUFFIXES) if is_held_out(path)]
    views = panorama_views(split_panoramas(panoramas)[0], 60, EVALUATION_SEED)
    return Composer(read_cutouts(paths), views, EVALUATION_SEED)


def split_panoramas(folder: Path) -> tuple[list[Path], list[Path]]:
    """The two that are held out, and those to train with."""
    paths = sorted(list_files([folder], ".hdr"), key=lambda path: zlib.crc32(path.name.encode()))
    return paths[:2], paths[2:]


def predict(net: nn.Module, rgb: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """The matte of one picture, as the network is used: squashed to a square, the matte stretched back.

    Args:
        net: (1, 3, S, S) normalised → (1, 1, S, S) logits.
        rgb: (H, W, 3).
        size: S.

    Returns:
        (H, W) in [0, 1].
    """
    with torch.inference_mode():
        picture = normalise(torch.from_numpy(rgb).permute(2, 0, 1))[None]
        logits = net(F.interpolate(picture, (size, size), mode="bilinear", antialias=True))
    matte = logits[0, 0].float().sigmoid().numpy()
    return clip(resize(matte, rgb.shape[1], rgb.shape[0]))


def held_out_scores(net: nn.Module, composer: Composer, size: int, count: int = 128) -> dict[str, float]:
    """Scores on the first ``count`` pictures of a composer of held-out subjects and panoramas.

    Returns:
        ``mad``: mean absolute difference × 1000. ``iou``: mean over the pictures, of both cut at one half.
    """
    differences, overlaps = [], []
    for index in range(count):
        rgb, alpha = composer(index, size)
        matte = predict(net, rgb, size)
        differences.append(float(np.abs(matte - alpha).mean()))
        overlaps.append(metrics.iou(matte, alpha))
    return {"mad": round(1000 * float(np.mean(differences)), 2), "iou": round(float(np.mean(overlaps)), 4)}


def read_pictures(path: Path, count: int = 4) -> list[NDArray[np.uint8]]:
    """``count`` pictures spread over a clip, or the one that a still holds; (H, W, 3) uint8 RGB.

    Raises:
        DecodeFailed: There is no picture in it.
    """
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = container.streams.video[0]
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    except (av.FFmpegError, IndexError) as exc:
        raise DecodeFailed(f"cannot read {path}: {exc}") from exc
    if not frames:
        raise DecodeFailed(f"no picture in {path}")
    wanted = np.linspace(0, len(frames) - 1, count + 2)[1:-1].round().astype(int) if len(frames) > 1 else [0]
    return [np.asarray(frames[index], np.uint8) for index in wanted]


def contact_sheet(
    net: nn.Module, pictures: Sequence[NDArray[np.uint8]], size: int, *, height: int = 180, columns: int = 3
) -> NDArray[np.uint8]:
    """Picture, matte and picture over green, side by side, many of them on one sheet, (H, W, 3) uint8 RGB."""
    triples = []
    for rgb in pictures:
        matte = predict(net, rgb, size)[..., None]
        green = np.array([0, 170, 60], np.float32)
        over = rgb * matte + green * (1 - matte)
        strip = np.hstack([rgb, np.broadcast_to(matte * 255, rgb.shape), over]).astype(np.uint8)
        shape = (round(strip.shape[1] * height / strip.shape[0]), height)
        triples.append(cv2.resize(strip, shape, interpolation=cv2.INTER_AREA))
    width = max(triple.shape[1] for triple in triples)
    triples = [cv2.copyMakeBorder(t, 2, 2, 2, 2 + width - t.shape[1], cv2.BORDER_CONSTANT) for t in triples]
    while len(triples) % columns:
        triples.append(np.zeros_like(triples[0]))
    rows = [np.hstack(triples[i : i + columns]) for i in range(0, len(triples), columns)]
    return np.vstack(rows)


def write_png(path: Path, rgb: NDArray[np.uint8]) -> None:
    """A PNG of (H, W, 3) uint8 RGB."""
    path.write_bytes(cv2.imencode(".png", rgb[..., ::-1])[1].tobytes())
