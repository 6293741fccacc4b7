"""Join another network's matte of a region into a matte, without a seam."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch

from streammatte.frame import Cutout
from streammatte.motion import Plane
from streammatte.stages.transparent.carrying import Crop, Mask

SOLID = 0.99  # of alpha: where both mattes reach it, or 1 minus it, the old one stays
RAMP = 0.03  # of alpha, over which they blend
FEATHER = 0.003  # of the longer side, over which the new matte fades in within the region


def joined(cutout: Cutout, region: Mask, said: Plane, crop: Crop) -> Cutout:
    """The cut-out with another alpha within a region.

    Its own stays, bit for bit, outside of the region, and inside where both are solid or both are clear.

    Args:
        region: (H, W).
        said: The other alpha, of the crop.
        crop: Around the region.
    """
    part = region[crop.window].astype(np.uint8)
    side = max(region.shape)
    weight = (cv2.distanceTransform(part, cv2.DIST_L2, 3) / np.float32(1 + FEATHER * side)).clip(0, 1)
    alpha = cutout.alpha.clone()
    own = alpha[crop.window].float().cpu().numpy()
    # How far both agree. One pixel from solid, the old matte's edge is better: it was not carried to this picture.
    reach = 2 * max(1, round(1 / max(crop.scale))) + 1
    solid = cv2.dilate(said, np.ones((reach, reach), np.uint8))
    sure = np.maximum(np.minimum(own, solid), 1 - np.maximum(own, said))
    weight = weight * ((np.float32(SOLID) - sure) / np.float32(RAMP)).clip(0, 1) * part
    alpha[crop.window] = torch.from_numpy((own + weight * (said - own)).clip(0, 1)).to(alpha)
    return replace(cutout, alpha=alpha)
