"""Folding batch norms into the convolutions before them, so that they cost nothing per frame."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Net = TypeVar("Net", bound=nn.Module)

# Names of convolutions and of the norms that follow them.
PAIRS = (("conv_in", "bn_in"), ("conv_out", "bn_out"), ("conv1", "bn1"), ("atrous_conv", "bn"))


def fold_batch_norms(net: Net) -> Net:
    """Fold, in place, every batch norm of a network in eval mode that follows an ordinary convolution.

    An identity replaces each norm, so that ``forward`` need not change. Deformable convolutions keep theirs: they have
    no bias to fold it into.
    """
    for block in net.modules():
        pairs = [(conv, norm) for conv, norm in PAIRS if hasattr(block, conv) and hasattr(block, norm)]
        if isinstance(block, nn.Sequential):
            pairs += [(str(i), str(i + 1)) for i in range(len(block) - 1)]
        for conv_name, norm_name in pairs:
            conv, norm = block.get_submodule(conv_name), block.get_submodule(norm_name)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                block.add_module(conv_name, fuse_conv_bn_eval(conv, norm))
                block.add_module(norm_name, nn.Identity())
    return net
