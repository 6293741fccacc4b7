"""Scores of the network alone on held-out photographs of people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from streammatte.quality import metrics
from training.held_out import predict
from training.photographs import RGBA


def head_and_shoulders(rgba: RGBA) -> RGBA | None:
    """A 16:9 crop of the full width with the head a seventh below its top; ``None`` without a person."""
    ys = np.flatnonzero((rgba[..., 3] > 128).any(1))
    height = round(rgba.shape[1] * 9 / 16)
    if not len(ys) or height > rgba.shape[0]:
        return None
    top = int(np.clip(ys[0] - height / 7, 0, rgba.shape[0] - height))
    return np.ascontiguousarray(rgba[top : top + height])


def score(net: nn.Module, pictures: Sequence[RGBA], size: int) -> dict[str, float]:
    """Mean IoU at 0.5 and mean MAD × 1000, at each picture's own size."""
    overlaps, differences = [], []
    for rgba in pictures:
        matte, truth = predict(net, np.ascontiguousarray(rgba[..., :3]), size), rgba[..., 3].astype(np.float32) / 255
        overlaps.append(metrics.iou(matte, truth))
        differences.append(1000 * float(np.abs(matte - truth).mean()))
    return {"iou": round(float(np.mean(overlaps)), 4), "mad": round(float(np.mean(differences)), 2)}


def people_scores(net: nn.Module, pictures: Sequence[RGBA], size: int) -> dict[str, float]:
    """Scores of full figures, and of head-and-shoulders crops of the same pictures."""
    full = score(net, pictures, size)
    heads = score(net, [head for p in pictures if (head := head_and_shoulders(p)) is not None], size)
    return {
        "full_iou": full["iou"],
        "full_mad": full["mad"],
        "heads_iou": heads["iou"],
        "heads_mad": heads["mad"],
    }
