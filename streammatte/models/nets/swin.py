"""Swin Transformer, the backbone: four feature maps at strides 4, 8, 16 and 32.

Liu et al. 2021, "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows". Names of modules and
parameters are those of the released checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEPT = 48 * 2**20  # bytes of biases that a block keeps: most of those of Swin-L in fp16 at 1024²


@dataclass(frozen=True)
class SwinConfig:
    """All that differs between Swin Transformers.

    Attributes:
        embed_dim: Channels of the first stage; each further stage has twice as many.
        depths: Blocks of each stage.
        heads: Attention heads of each stage.
        window: Side of an attention window, in tokens.
    """

    embed_dim: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int

    @property
    def channels(self) -> list[int]:
        """Channels at strides 4, 8, 16 and 32."""
        return [self.embed_dim << stage for stage in range(len(self.depths))]


def infer_swin(tensors: Mapping[str, Tensor]) -> SwinConfig:
    """The config of a checkpoint's ``bb.`` tensors. Raises ``KeyError`` with the name of a missing tensor."""
    tables = [tensors[f"bb.layers.{i}.blocks.0.attn.relative_position_bias_table"] for i in range(4)]
    return SwinConfig(
        embed_dim=tensors["bb.patch_embed.proj.weight"].shape[0],
        depths=tuple(
            len({name.split(".")[4] for name in tensors if name.startswith(f"bb.layers.{i}.blocks.")}) for i in range(4)
        ),
        heads=tuple(table.shape[1] for table in tables),
        window=(math.isqrt(tables[0].shape[0]) + 1) // 2,
    )


class SwinTransformer(nn.Module):
    """(B, 3, H, W) → four maps (B, embed_dim · 2ⁱ, H / 4 / 2ⁱ, W / 4 / 2ⁱ), each layer-normed."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config.embed_dim)
        self.layers = nn.ModuleList()
        for i, (dim, depth, heads) in enumerate(zip(config.channels, config.depths, config.heads, strict=True)):
            self.layers.append(SwinLayer(dim, depth, heads, config.window, last=i == len(config.depths) - 1))
            self.add_module(f"norm{i}", nn.LayerNorm(dim))

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.patch_embed(image)
        features = []
        for i, layer in enumerate(self.layers):
            for block in layer.blocks:  # type: ignore[union-attr]  # ModuleList's items are typed Module | Tensor
                x = block(x)
            features.append(self.get_submodule(f"norm{i}")(x).permute(0, 3, 1, 2).contiguous())
            if layer.downsample is not None:
                x = layer.downsample(x)  # type: ignore[operator]
        return features


class PatchEmbed(nn.Module):
    """4×4 patches as tokens: (B, 3, H, W) → (B, ⌈H/4⌉, ⌈W/4⌉, C)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 4, stride=4)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        H, W = image.shape[-2:]
        x: Tensor = self.proj(F.pad(image, (0, -W % 4, 0, -H % 4)))
        return self.norm(x.permute(0, 2, 3, 1))  # type: ignore[no-any-return]


class SwinLayer(nn.Module):
    """The blocks of one resolution, every other one shifted, and the downsampling to the next."""

    def __init__(self, dim: int, depth: int, heads: int, window: int, *, last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(SwinBlock(dim, heads, window, i % 2 * (window // 2)) for i in range(depth))
        self.downsample = None if last else PatchMerging(dim)


class PatchMerging(nn.Module):
    """Merge 2×2 neighbours into one token with twice the channels: (B, H, W, C) → (B, ⌈H/2⌉, ⌈W/2⌉, 2C)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        H, W = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, W % 2, 0, H % 2))
        x = torch.cat((x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]), dim=-1)
        return self.reduction(self.norm(x))  # type: ignore[no-any-return]


class SwinBlock(nn.Module):
    """Attention within windows, then an MLP, both residual."""

    def __init__(self, dim: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, heads, window, shift)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim)

    def forward(self, x: Tensor) -> Tensor:
        B, H, W, C = x.shape
        n = self.window
        padded = F.pad(self.norm1(x), (0, 0, 0, -W % n, 0, -H % n))
        if self.shift:
            padded = padded.roll((-self.shift, -self.shift), dims=(1, 2))
        Hp, Wp = padded.shape[1:3]
        windows = padded.view(B, Hp // n, n, Wp // n, n, C).transpose(2, 3).reshape(-1, n * n, C)
        windows = self.attn(windows, Hp // n, Wp // n)
        padded = windows.view(B, Hp // n, Wp // n, n, n, C).transpose(2, 3).reshape(B, Hp, Wp, C)
        if self.shift:
            padded = padded.roll((self.shift, self.shift), dims=(1, 2))
        x = x + padded[:, :H, :W]
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class WindowAttention(nn.Module):
    """Multi-head self-attention in a window, with a learned bias for each relative position.

    After a shift, windows of the last row and column hold tokens that were not neighbours, and a mask keeps them apart.
    What depends on the resolution alone is kept, bounded by ``KEPT``. It is dropped with the weights that made it, and
    never for room: a captured CUDA graph reads it.
    """

    def __init__(self, dim: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        place = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        dy, dx = place[:, :, None] - place[:, None, :] + window - 1
        self.register_buffer("relative_position_index", dy * (2 * window - 1) + dx)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self._masks: dict[tuple[int, int, torch.device, torch.dtype], Tensor] = {}
        self._biases: dict[tuple[int, int, torch.device, torch.dtype], Tensor] = {}
        self._table_version = -1

    def forward(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """``x``: (B · rows · columns, n², C), the windows of each image in row order."""
        Bw, N, C = x.shape
        q, k, v = self.qkv(x).view(Bw, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        bias = self._bias(rows, columns, q)
        # Biases of an image's windows are shared by the batch. CUDA's memory-efficient kernel has no dimension for that
        # (it takes four), and repeating them would cost more memory than all else here: images take turns.
        turn = Bw if len(bias) == 1 else len(bias)
        turns = zip(q.split(turn), k.split(turn), v.split(turn), strict=True)
        parts = [F.scaled_dot_product_attention(*one, attn_mask=bias).transpose(1, 2) for one in turns]
        out = parts[0] if len(parts) == 1 else torch.cat(parts)
        return self.proj(out.reshape(Bw, N, C))  # type: ignore[no-any-return]

    def _bias(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """(windows of an image, or 1 if all are alike; heads; n²; n²), of ``like``'s type."""
        windows = (rows, columns) if self.shift else (1, 1)
        table = self.relative_position_bias_table
        if not (torch.compiler.is_compiling() or table.is_inference() or table._version == self._table_version):
            self._biases.clear()  # it was changed in place
            self._table_version = table._version
        key = (*windows, like.device, like.dtype)
        keep = not (torch.is_grad_enabled() or self.training)
        if keep and key in self._biases:
            return self._biases[key]
        N = self.window**2
        index = self.get_buffer("relative_position_index").flatten()
        bias = table[index].view(N, N, -1).permute(2, 0, 1)[None]
        if self.shift:
            bias = bias + self._mask(rows, columns, bias)[:, None]
        bias = bias.to(like.dtype)
        if keep:
            across = N + -N % 8  # CUDA's kernel copies rows that begin elsewhere, at every call
            if sum(each.nbytes for each in self._biases.values()) + bias.nbytes * across // N <= KEPT:
                self._biases[key] = bias.new_empty(*bias.shape[:-1], across)[..., :N].copy_(bias)
                return self._biases[key]
        return bias

    def _mask(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """(windows, n², n²): 0 between tokens that were neighbours before the shift, -100 between others."""
        key = (rows, columns, like.device, like.dtype)
        if key not in self._masks:
            n, s = self.window, self.shift
            region = torch.zeros(rows * n, columns * n)
            for i, high in enumerate((slice(-n), slice(-n, -s), slice(-s, None))):
                for j, wide in enumerate((slice(-n), slice(-n, -s), slice(-s, None))):
                    region[high, wide] = 3 * i + j
            region = region.view(rows, n, columns, n).transpose(1, 2).reshape(-1, n * n)
            apart = region[:, None, :] != region[:, :, None]
            self._masks[key] = (apart.float() * -100.0).to(like)
        return self._masks[key]

    def train(self, mode: bool = True) -> WindowAttention:
        self._biases.clear()
        return super().train(mode)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._biases.clear()
        super()._load_from_state_dict(*args, **kwargs)


class Mlp(nn.Module):
    """Two linear layers with a hidden width of four times the input's."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]
