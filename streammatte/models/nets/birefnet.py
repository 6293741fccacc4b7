"""BiRefNet: the network that mattes a frame.

Zheng et al. 2024, "Bilateral Reference for High-Resolution Dichotomous Image Segmentation" (arXiv 2401.03407). Names of
modules and parameters are those of the released checkpoints, so that their files load as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from streammatte.errors import WeightsMismatch
from streammatte.models.nets.checkpoint import load_strictly, read_tensors, unfilled
from streammatte.models.nets.deform import DeformableConv2d
from streammatte.models.nets.efficientnet import LITE0, EfficientNetConfig, EfficientNetLite, infer_efficientnet
from streammatte.models.nets.swin import SwinConfig, SwinTransformer, infer_swin

Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class BiRefNetConfig:
    """The backbone and the decoder's widths: all that differs between BiRefNets.

    Attributes:
        backbone: A Swin Transformer, as in the released checkpoints, or the bundled network's EfficientNet-Lite.
        inter: Inner width of the decoder's blocks.
        aspp: Width of each branch of their pyramids.
        kernels: Sides of the pyramids' deformable kernels; empty if dilated convolutions are used instead.
    """

    backbone: SwinConfig | EfficientNetConfig
    inter: int = 64
    aspp: int = 256
    kernels: tuple[int, ...] = (1, 3, 7)


# ImageNet's mean and standard deviation of R, G and B in [0, 1], which every backbone of the family was trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

SWIN_T = BiRefNetConfig(SwinConfig(96, (2, 2, 6, 2), (3, 6, 12, 24), 7))
SWIN_S = BiRefNetConfig(SwinConfig(96, (2, 2, 18, 2), (3, 6, 12, 24), 7))
SWIN_B = BiRefNetConfig(SwinConfig(128, (2, 2, 18, 2), (4, 8, 16, 32), 12))
SWIN_L = BiRefNetConfig(SwinConfig(192, (2, 2, 18, 2), (6, 12, 24, 48), 12))
NANO = BiRefNetConfig(LITE0, inter=24, aspp=24, kernels=())  # the bundled one

# Names of convolutions and of the norms that follow them.
FOLDED = (("conv_in", "bn_in"), ("conv_out", "bn_out"), ("conv1", "bn1"), ("atrous_conv", "bn"))


def load_birefnet(checkpoint: str | PathLike[str]) -> BiRefNet:
    """Load any BiRefNet checkpoint; the backbone is inferred from the tensors' shapes.

    Args:
        checkpoint: A ``.safetensors`` file, or a ``.pth`` file that holds only tensors; float32 or float16.

    Returns:
        The network in float32 on the CPU, in eval mode.

    Raises:
        WeightsMissing: There is no such file.
        WeightsMismatch: The file is not a complete BiRefNet checkpoint.
    """
    tensors = read_tensors(checkpoint)
    try:
        config = infer_config(tensors)
    except (KeyError, IndexError) as exc:
        fault = f"it has no tensor {exc.args[0]}" if isinstance(exc, KeyError) else "its tensors have the wrong shapes"
        raise WeightsMismatch(
            f"{checkpoint} is not a BiRefNet checkpoint: {fault}",
            hint="`streammatte models` lists the checkpoints that fit",
        ) from exc
    with unfilled():
        net = BiRefNet(config)
    load_strictly(net, tensors, checkpoint)
    return net.eval()


def infer_config(tensors: Mapping[str, Tensor]) -> BiRefNetConfig:
    """The config of a checkpoint. Raises ``KeyError`` with the name of a missing tensor."""
    block = "squeeze_module.0"
    taps = [
        tensors[name].shape[-1]
        for name in sorted(tensors)
        if name.startswith(f"{block}.dec_att.aspp_deforms.") and name.endswith("regular_conv.weight")
    ]
    first = "regular_conv." if taps else ""
    return BiRefNetConfig(
        backbone=infer_efficientnet(tensors) if "bb.stem.weight" in tensors else infer_swin(tensors),
        inter=tensors[f"{block}.conv_in.weight"].shape[0],
        aspp=tensors[f"{block}.dec_att.aspp1.atrous_conv.{first}weight"].shape[0],
        kernels=tuple(taps),
    )


def fold_batch_norms(net: Net) -> Net:
    """Fold, in place, every batch norm of a network in eval mode into the convolution before it: it then costs nothing.

    An identity replaces each norm, so that ``forward`` need not change.
    """
    for block in net.modules():
        pairs = [(conv, norm) for conv, norm in FOLDED if hasattr(block, conv) and hasattr(block, norm)]
        if isinstance(block, nn.Sequential):
            pairs += [(str(i), str(i + 1)) for i in range(len(block) - 1)]
        for conv_name, norm_name in pairs:
            owner, norm = block, block.get_submodule(norm_name)
            if isinstance(inner := block.get_submodule(conv_name), DeformableConv2d):
                owner, conv_name = inner, "regular_conv"
            conv = owner.get_submodule(conv_name)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                owner.add_module(conv_name, fuse_conv_bn_eval(conv, norm))
                block.add_module(norm_name, nn.Identity())
    return net


class BiRefNet(nn.Module):
    """(B, 3, H, W) RGB, ImageNet-normalised → (B, 1, H, W) logits; their sigmoid is the matte.

    H and W are multiples of 32, or of 64 for whole patches in the half-resolution pass.
    """

    def __init__(self, config: BiRefNetConfig) -> None:
        super().__init__()
        self.config = config
        backbone = config.backbone
        # Each level joins the backbone's features at full and at half resolution.
        widths = [2 * channels for channels in backbone.channels]
        if isinstance(backbone, SwinConfig):
            self.bb: nn.Module = SwinTransformer(backbone)
            self.decoder = Decoder(widths, config)
        else:
            self.bb = EfficientNetLite(backbone)
            self.decoder = Decoder(widths, config, fine=backbone.widths[0])
        self.squeeze_module = nn.Sequential(DecoderBlock(sum(widths), widths[3], config))

    def forward(self, image: Tensor) -> Tensor:
        return self.forward_training(image)[-1]

    def forward_training(self, image: Tensor) -> list[Tensor]:
        """Logits from coarse to fine: at strides 16, 8 and 4, each at its own size, then those of ``forward``."""
        *finer, x1, x2, x3, x4 = self.encode(image)
        return self.decoder(image, x1, x2, x3, self.squeeze_module(x4), *finer)  # type: ignore[no-any-return]

    def encode(self, image: Tensor) -> list[Tensor]:
        """Features at strides 4 to 32, preceded by stride 2 for some backbones; the deepest includes the others."""
        *finer, f1, f2, f3, f4 = self.bb(image)
        half = self.bb(resize(image, (image.shape[-2] // 2, image.shape[-1] // 2)))[-4:]
        x1, x2, x3, x4 = (
            torch.cat((a, resize(b, a.shape[-2:])), dim=1) for a, b in zip((f1, f2, f3, f4), half, strict=True)
        )
        context = [resize(x, x4.shape[-2:]) for x in (x1, x2, x3)]
        return [*finer, x1, x2, x3, torch.cat((*context, x4), dim=1)]


class Decoder(nn.Module):
    """From the deepest features to the matte; every level sees tiles of the image itself (the inward reference).

    If the backbone has features at stride 2, ``fine`` channels of them, the last step reads those instead of the image:
    a linear map of the image's pixels can tint an edge but not find it.
    """

    def __init__(self, widths: list[int], config: BiRefNetConfig, *, fine: int = 0) -> None:
        super().__init__()
        c1, c2, c3, c4 = widths
        self.ipt_blk5 = PictureBlock(3 * 32**2, c4 // 8, config.inter)
        self.ipt_blk4 = PictureBlock(3 * 16**2, c4 // 8, config.inter)
        self.ipt_blk3 = PictureBlock(3 * 8**2, c3 // 8, config.inter)
        self.ipt_blk2 = PictureBlock(3 * 4**2, c2 // 8, config.inter)
        self.decoder_block4 = DecoderBlock(c4 + c4 // 8, c3, config)
        self.decoder_block3 = DecoderBlock(c3 + c4 // 8, c2, config)
        self.decoder_block2 = DecoderBlock(c2 + c3 // 8, c1, config)
        self.decoder_block1 = DecoderBlock(c1 + c2 // 8, c1 // 2, config)
        if fine:
            self.fine_block = FineBlock(c1 // 2, fine)
        else:
            self.ipt_blk1 = PictureBlock(3, c1 // 8, config.inter)
            self.conv_out1 = nn.Sequential(nn.Conv2d(c1 // 2 + c1 // 8, 1, 1))  # the checkpoints name it so
        for level, width in ((4, c3), (3, c2), (2, c1)):
            self.add_module(f"lateral_block{level}", LateralBlock(width))
            self.add_module(f"conv_ms_spvn_{level}", nn.Conv2d(width, 1, 1))
            self.add_module(
                f"gdt_convs_{level}",
                nn.Sequential(nn.Conv2d(width, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            )
            # Predicts the image's gradient in the reference's training; kept because the checkpoints contain it.
            self.add_module(f"gdt_convs_pred_{level}", nn.Sequential(nn.Conv2d(16, 1, 1)))
            self.add_module(f"gdt_convs_attn_{level}", nn.Sequential(nn.Conv2d(16, 1, 1)))

    def forward(
        self, image: Tensor, x1: Tensor, x2: Tensor, x3: Tensor, x4: Tensor, x0: Tensor | None = None
    ) -> list[Tensor]:
        """The image and its features at strides 4, 8, 16, 32 and optionally 2 → logits at strides 16, 8, 4 and 1."""
        p4, logits4 = self._attend(4, self.decoder_block4(torch.cat((x4, self._tiles(5, image, x4)), dim=1)))
        p3 = resize(p4, x3.shape[-2:]) + self.get_submodule("lateral_block4")(x3)
        p3, logits3 = self._attend(3, self.decoder_block3(torch.cat((p3, self._tiles(4, image, p3)), dim=1)))
        p2 = resize(p3, x2.shape[-2:]) + self.get_submodule("lateral_block3")(x2)
        p2, logits2 = self._attend(2, self.decoder_block2(torch.cat((p2, self._tiles(3, image, p2)), dim=1)))
        p1 = resize(p2, x1.shape[-2:]) + self.get_submodule("lateral_block2")(x1)
        p1 = self.decoder_block1(torch.cat((p1, self._tiles(2, image, p1)), dim=1))
        last = self.predict(image, p1) if x0 is None else resize(self.fine_block(p1, x0), image.shape[-2:])
        return [logits4, logits3, logits2, last]

    def _tiles(self, block: int, image: Tensor, like: Tensor) -> Tensor:
        """The image, cut into tiles of ``like``'s size, stacked as channels and passed through this level's block."""
        return self.get_submodule(f"ipt_blk{block}")(tiles(image, like.shape[-2], like.shape[-1]))  # type: ignore[no-any-return]

    def _attend(self, level: int, p: Tensor) -> tuple[Tensor, Tensor]:
        """``p`` weighted by its gradient-trained attention, and the logits of this level's side output."""
        edges = self.get_submodule(f"gdt_convs_{level}")(p)
        attention = self.get_submodule(f"gdt_convs_attn_{level}")(edges).sigmoid()
        return p * attention, self.get_submodule(f"conv_ms_spvn_{level}")(p)

    def predict(self, image: Tensor, p1: Tensor) -> Tensor:
        """``conv_out1(cat(resize(p1), ipt_blk1(image)))`` without its wide full-size tensors.

        ``conv_out1`` is 1×1 and everything here is linear, so its half for ``p1`` commutes with the upsampling, and its
        half for the image is one 5×5 convolution of the image. That one sees ``conv1`` of what is around the image,
        where ``conv_out`` has zeros, so the outermost pixels are computed step by step.
        """
        out, block = self.conv_out1.get_submodule("0"), self.ipt_blk1
        assert isinstance(out, nn.Conv2d) and out.bias is not None
        assert block.conv1.bias is not None and block.conv_out.bias is not None
        weight_p, weight_image = out.weight[:, : p1.shape[1]], out.weight[:, p1.shape[1] :]
        last = torch.einsum("oc,cikl->oikl", weight_image.flatten(1), block.conv_out.weight)
        bias = weight_image.flatten(1) @ block.conv_out.bias + out.bias
        both = F.conv2d(block.conv1.weight.transpose(0, 1), last.flip(-1, -2), padding=2).transpose(0, 1)
        fine = F.conv2d(image, both, bias + (last.sum((2, 3)) @ block.conv1.bias), padding=2)
        for axis in (-2, -1):
            for end in (0, image.shape[axis] - 1):
                strip = image.narrow(axis, min(end, image.shape[axis] - 3), 3)
                exact = F.conv2d(block.conv1(strip), last, bias, padding=1).narrow(axis, 2 * (end > 0), 1)
                fine.narrow(axis, end, 1).copy_(exact)
        return resize(F.conv2d(p1, weight_p), image.shape[-2:]) + fine


class DecoderBlock(nn.Module):
    """3×3 to the inner width, the pyramid, 3×3 to the outer width."""

    def __init__(self, in_channels: int, out_channels: int, config: BiRefNetConfig) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, config.inter, 3, padding=1)
        self.bn_in = nn.BatchNorm2d(config.inter)
        self.dec_att = DeformablePyramid(config) if config.kernels else DilatedPyramid(config)
        self.conv_out = nn.Conv2d(config.inter, out_channels, 3, padding=1)
        self.bn_out = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dec_att(F.relu(self.bn_in(self.conv_in(x))))
        return self.bn_out(self.conv_out(x))  # type: ignore[no-any-return]


class DeformablePyramid(nn.Module):
    """Deformable convolutions of several sizes and the global mean in parallel (after ASPP, Chen et al. 2017)."""

    def __init__(self, config: BiRefNetConfig) -> None:
        super().__init__()
        channels, branch = config.inter, config.aspp
        self.aspp1 = DeformableBranch(channels, branch, 1)
        self.aspp_deforms = nn.ModuleList(DeformableBranch(channels, branch, k) for k in config.kernels)
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, branch, 1, bias=False), nn.BatchNorm2d(branch), nn.ReLU()
        )
        self.conv1 = nn.Conv2d((2 + len(config.kernels)) * branch, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        branches = torch.cat((self.aspp1(x), *(branch(x) for branch in self.aspp_deforms)), dim=1)
        # The mean is the same everywhere: its part of the convolution is a constant.
        weight, mean = self.conv1.weight, self.global_avg_pool(x)
        both = F.conv2d(branches, weight[:, : branches.shape[1]])
        constant = F.conv2d(mean, weight[:, branches.shape[1] :], self.conv1.bias)
        return self.dropout(F.relu(self.bn1(both + constant)))  # type: ignore[no-any-return]


class DeformableBranch(nn.Module):
    """A deformable convolution, its batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.atrous_conv = DeformableConv2d(in_channels, out_channels, kernel)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.atrous_conv(x)))


class DilatedPyramid(nn.Module):
    """Dilated convolutions of several rates and the global mean in parallel (ASPP, Chen et al. 2017).

    BiRefNet's own option without deformable convolutions, with rates for maps of 8 to 64 tokens a side.
    """

    def __init__(self, config: BiRefNetConfig) -> None:
        super().__init__()
        channels, branch = config.inter, config.aspp
        self.aspp1 = DilatedBranch(channels, branch, 1, 1)
        self.aspp2 = DilatedBranch(channels, branch, 3, 2)
        self.aspp3 = DilatedBranch(channels, branch, 3, 4)
        self.aspp4 = DilatedBranch(channels, branch, 3, 8)
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, branch, 1, bias=False), nn.BatchNorm2d(branch), nn.ReLU()
        )
        self.conv1 = nn.Conv2d(5 * branch, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.global_avg_pool(x).expand(-1, -1, *x.shape[-2:])
        branches = torch.cat((self.aspp1(x), self.aspp2(x), self.aspp3(x), self.aspp4(x), mean), dim=1)
        return F.relu(self.bn1(self.conv1(branches)))


class DilatedBranch(nn.Module):
    """A dilated convolution, its batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        padding = kernel // 2 * dilation
        self.atrous_conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.atrous_conv(x)))


class FineBlock(nn.Module):
    """The decoder's last map and the backbone's first → logits at stride 2."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(coarse + fine, fine, 3, padding=1)
        self.bn_in = nn.BatchNorm2d(fine)
        self.conv_out = nn.Conv2d(fine, 1, 3, padding=1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        joined = torch.cat((resize(coarse, fine.shape[-2:]), fine), dim=1)
        return self.conv_out(F.relu(self.bn_in(self.conv_in(joined))))  # type: ignore[no-any-return]


class PictureBlock(nn.Module):
    """Two 3×3 convolutions without an activation between, from the image's tiles to a level of the decoder."""

    def __init__(self, in_channels: int, out_channels: int, inter: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, inter, 3, padding=1)
        self.conv_out = nn.Conv2d(inter, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(self.conv1(x))  # type: ignore[no-any-return]


class LateralBlock(nn.Module):
    """1×1, from the backbone's features to the decoder's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]


def resize(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Bilinear with aligned corners, which this network uses throughout."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)


def tiles(image: Tensor, height: int, width: int) -> Tensor:
    """Cut (B, C, H, W) into a grid of height × width tiles: (B, C · rows · columns, height, width).

    Whole tiles become channels (not interleaved pixels, as in ``pixel_unshuffle``).
    """
    B, C, H, W = image.shape
    grid = image.view(B, C, H // height, height, W // width, width)
    return grid.permute(0, 1, 2, 4, 3, 5).reshape(B, -1, height, width)
