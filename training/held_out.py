"""The test set: composed pictures of subjects and places that no training has seen."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from streammatte.train.loop import normalise
from streammatte.train.picture import clip, resize
from training.backgrounds import panorama_views
from training.compose import Composer
from training.cutouts import SUFFIXES, is_held_out, list_files, read_cutouts

EVALUATION_SEED = 20_000
"""Seed of the test set; training seeds are small numbers."""


def held_out(cutouts: Sequence[Path], panoramas: Path) -> Composer:
    """A composer of held-out material: one in twelve of the cut-outs, and two of the panoramas.

    Raises:
        SourceNotFound: A folder is missing or empty.
    """
    paths = [path for path in list_files(dict.fromkeys(cutouts), *SUFFIXES) if is_held_out(path)]
    views = panorama_views(split_panoramas(panoramas)[0], 60, EVALUATION_SEED)
    return Composer(read_cutouts(paths), views, EVALUATION_SEED)


def split_panoramas(folder: Path) -> tuple[list[Path], list[Path]]:
    """The two held-out panoramas, and those to train with."""
    paths = sorted(list_files([folder], ".hdr"), key=lambda path: zlib.crc32(path.name.encode()))
    return paths[:2], paths[2:]


def predict(net: nn.Module, rgb: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """The matte of a picture that is squashed to a square for the network.

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
