"""Matting losses.

Each is zero exactly where the prediction equals the target, also for targets between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def bce(logits: Tensor, alpha: Tensor) -> Tensor:
    """Binary cross-entropy minus the entropy of the target, i.e. the Kullback-Leibler divergence; mean over all pixels.

    Args:
        logits: (B, 1, H, W).
        alpha: (B, 1, H, W) in [0, 1].
    """
    entropy = torch.special.entr(alpha) + torch.special.entr(1 - alpha)
    divergence: Tensor = F.binary_cross_entropy_with_logits(logits, alpha, reduction="none") - entropy
    return divergence.mean()


def soft_iou(matte: Tensor, alpha: Tensor) -> Tensor:
    """1 − intersection over union, mean over the batch; minimum and maximum make it zero for soft targets, too.

    Rahman and Wang 2016, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation", with
    one pixel added to both counts so that it is defined for an empty frame.

    Args:
        matte: (B, 1, H, W) in [0, 1].
        alpha: (B, 1, H, W) in [0, 1].
    """
    axes = (1, 2, 3)
    shared = torch.minimum(matte, alpha).sum(axes) + 1
    joint = torch.maximum(matte, alpha).sum(axes) + 1
    return (1 - shared / joint).mean()


def laplacian(matte: Tensor, alpha: Tensor, levels: int = 4) -> Tensor:
    """L1 between Laplacian pyramids, each level weighted by its scale.

    Hou and Liu 2019, "Context-Aware Image Matting for Simultaneous Foreground and Alpha Estimation", eq. 2, with 2×2
    means instead of the Gaussian. The weights 2^level are normalised.

    Args:
        matte: (B, 1, H, W) in [0, 1]; H and W divisible by 2^levels.
        alpha: As ``matte``.
        levels: Octaves.
    """
    difference = matte - alpha  # a pyramid is linear: one of the difference suffices
    total = matte.new_zeros(())
    for level in range(levels):
        coarse = F.avg_pool2d(difference, 2)
        band = difference - F.interpolate(coarse, scale_factor=2, mode="nearest")
        total = total + band.abs().mean() * (2**level / (2**levels - 1))
        difference = coarse
    return total


def matting_loss(outputs: Sequence[Tensor], alpha: Tensor) -> Tensor:
    """The training loss.

    BCE and IoU on every output, as in BiRefNet's multi-stage supervision (arXiv 2401.03407, section 3.4; without its
    SSIM term, which is slow on a CPU), and L1 and Laplacian pyramid on the last one (MODNet, arXiv 2011.11961, eq. 4).

    Args:
        outputs: Logits from coarse to fine, (B, 1, h, w) each; the last has the size of ``alpha``.
        alpha: (B, 1, H, W) in [0, 1].
    """
    *side, last = (output.float() for output in outputs)
    matte = last.sigmoid()
    loss = bce(last, alpha) + soft_iou(matte, alpha) + (matte - alpha).abs().mean() + 2 * laplacian(matte, alpha)
    for logits in side:
        target = F.adaptive_avg_pool2d(alpha, (logits.shape[-2], logits.shape[-1]))
        loss = loss + 0.4 * (bce(logits, target) + 0.5 * soft_iou(logits.sigmoid(), target))
    return loss
