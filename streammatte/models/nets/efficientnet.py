"""EfficientNet-Lite, the bundled network's backbone, with its batch norms folded into its convolutions.

Tan and Le 2019, "EfficientNet" (arXiv 1905.11946). The Lite variants use ReLU6 in place of swish and drop
squeeze-and-excite. ``training/backbone.py`` converts the published ImageNet weights to this form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

KERNELS = (3, 3, 5, 3, 5, 5)  # of each stage's depthwise convolutions
STRIDES = (1, 2, 2, 2, 1, 2)  # of each stage's first block
EXPANSIONS = (1, 6, 6, 6, 6, 6)
TAPPED = (0, 1, 2, 4, 5)  # the last stage at each of strides 2, 4, 8, 16, 32
STEM = 32


@dataclass(frozen=True)
class EfficientNetConfig:
    """All that differs between EfficientNet-Lites.

    Attributes:
        widths: Channels of each of the six stages.
        blocks: Blocks of each stage.
    """

    widths: tuple[int, ...]
    blocks: tuple[int, ...]

    @property
    def channels(self) -> list[int]:
        """Channels at strides 4, 8, 16 and 32."""
        return [self.widths[stage] for stage in TAPPED[1:]]


LITE0 = EfficientNetConfig((16, 24, 40, 80, 112, 192), (1, 2, 2, 3, 3, 4))


def infer_efficientnet(tensors: Mapping[str, Tensor]) -> EfficientNetConfig:
    """The config of a checkpoint's ``bb.`` tensors. Raises ``KeyError`` with the name of a missing tensor."""
    stages = [
        len({name.split(".")[3] for name in tensors if name.startswith(f"bb.stages.{stage}.")})
        for stage in range(len(STRIDES))
    ]
    widths = [tensors[f"bb.stages.{stage}.0.project.weight"].shape[0] for stage in range(len(STRIDES))]
    return EfficientNetConfig(tuple(widths), tuple(stages))


class EfficientNetLite(nn.Module):
    """(B, 3, H, W), ImageNet-normalised → maps at strides 2, 4, 8, 16 and 32."""

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__()
        self.stem = ConvReLU6(3, STEM, 3, stride=2, padding=1)
        self.stages = nn.ModuleList()
        width = STEM
        for out, blocks, kernel, stride, expansion in zip(
            config.widths, config.blocks, KERNELS, STRIDES, EXPANSIONS, strict=True
        ):
            stage = nn.ModuleList()
            for block in range(blocks):
                stage.append(InvertedResidual(width, out, kernel, stride if block == 0 else 1, expansion))
                width = out
            self.stages.append(stage)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.stem(image)
        features = []
        for index, stage in enumerate(self.stages):
            for block in stage:  # type: ignore[attr-defined]  # ModuleList's items are typed Module | Tensor
                x = block(x)
            if index in TAPPED:
                features.append(x)
        return features


class ConvReLU6(nn.Conv2d):
    """A convolution and its activation."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(super().forward(x))


class InvertedResidual(nn.Module):
    """Expand by 1×1, convolve depthwise, project by 1×1 (Sandler et al. 2018, MobileNetV2)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.residual = stride == 1 and in_channels == out_channels
        if expansion > 1:
            self.expand = ConvReLU6(in_channels, wide, 1)
        # Padded on both sides, where TensorFlow pads only the end: the same features, shifted by a pixel.
        self.depthwise = ConvReLU6(wide, wide, kernel, stride=stride, padding=kernel // 2, groups=wide)
        self.project = nn.Conv2d(wide, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.expand(x) if hasattr(self, "expand") else x
        y = self.project(self.depthwise(y))
        return x + y if self.residual else y
