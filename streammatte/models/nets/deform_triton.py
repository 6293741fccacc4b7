"""Modulated deformable convolution as one Triton kernel, which never writes the samples to memory."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
FILLED = 1 << 14  # pixels whose blocks of 64 keep every multiprocessor of a large GPU busy
INDEXABLE = 1 << 31  # the kernel's indices are 32-bit


def fits(x: Tensor, offset: Tensor, modulator: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Whether the kernel supports these arguments: tl.dot needs 16 channels or more, and here whole blocks of them."""
    return (
        x.dtype in DTYPES
        and all(tensor.dtype == x.dtype for tensor in (weight, bias) if tensor is not None)
        and x.numel() > 0
        and len(weight) % 16 == x.shape[1] % 16 == 0
        and max(span(x), span(offset), span(modulator), x.numel() // x.shape[1] * len(weight)) < INDEXABLE
    )


def span(tensor: Tensor) -> int:
    """Elements between the first and the last of a view, both included."""
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def fused_deform_conv2d(
    x: Tensor, offset: Tensor, modulator: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """``deform_conv2d`` for arguments that fit, without gradients. The output is laid out as ``x`` is."""
    B, C, H, W = x.shape
    N, k = len(weight), weight.shape[-1]
    # Channels last, the channels of a sample lie side by side, and a warp reads them together.
    data = x.contiguous(memory_format=torch.channels_last)
    laid_out = weight.permute(2, 3, 1, 0).contiguous()  # (k, k, C, N): a tap's block is a matrix
    layout = torch.contiguous_format if x.is_contiguous() else torch.channels_last
    out = torch.empty((B, N, H, W), dtype=x.dtype, device=x.device, memory_format=layout)
    blocks = block_sizes(B * H * W, C, N, x.dtype)
    grid = (triton.cdiv(B * H * W, blocks["BLOCK_P"]), N // blocks["BLOCK_O"])
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]  # Triton launches on the current device
        deform_kernel[grid](
            data,
            offset,
            modulator,
            laid_out,
            laid_out if bias is None else bias,
            out,
            B * H * W,
            H,
            W,
            *offset.stride(),
            *modulator.stride(),
            *out.stride(),
            SIDE=k,
            C=C,
            N=N,
            BIASED=bias is not None,
            **blocks,
        )
    return out


def block_sizes(pixels: int, C: int, N: int, dtype: torch.dtype) -> dict[str, int]:
    """Sizes chosen for an H100 from the compiler's use of registers and shared memory. Nothing has been timed.

    In 16 bits, two programs fit each multiprocessor, and one fits the 99 KiB of smaller GPUs. All output channels in
    one block sample each pixel once. A small map has too few blocks of pixels to fill a GPU, so its output channels
    are divided. In fp32 the products use no tensor cores and need more registers.
    """
    exact = dtype == torch.float32
    block_o = min(64 if exact or pixels < FILLED else 256, N & -N)  # a power of two that divides N
    return {
        "BLOCK_P": 64,
        "BLOCK_C": min(32, C & -C),
        "BLOCK_O": block_o,
        "num_warps": 8 if block_o == 256 else 4,
        "num_stages": 2 if exact else 3,  # with three, offsets are read one iteration before the samples they place
        "enable_fp_fusion": True,  # Triton 3.9 warns if this is left to it
    }


@triton.jit  # type: ignore[untyped-decorator]
def deform_kernel(  # type: ignore[no-untyped-def]  # Triton reads annotations, and finds no names in them but its own
    x,  # (B, H, W, C)
    offset,
    modulator,
    weight,  # (SIDE, SIDE, C, N)
    bias,
    out,
    pixels,  # B · H · W
    H,
    W,
    offset_b,  # strides
    offset_k,
    offset_y,
    offset_x,
    modulator_b,
    modulator_k,
    modulator_y,
    modulator_x,
    out_b,
    out_o,
    out_y,
    out_x,
    SIDE: tl.constexpr,
    C: tl.constexpr,
    N: tl.constexpr,
    BIASED: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    o = tl.program_id(1) * BLOCK_O + tl.arange(0, BLOCK_O)
    live = p < pixels
    b, row, column = p // (H * W), p // W % H, p % W
    offset += b * offset_b + row * offset_y + column * offset_x
    modulator += b * modulator_b + row * modulator_y + column * modulator_x
    total = tl.zeros((BLOCK_P, BLOCK_O), tl.float32)
    # One loop over taps and blocks of channels, not two: Triton overlaps the loads of the innermost loop's iterations.
    for i in range(SIDE * SIDE * (C // BLOCK_C)):
        tap = i // (C // BLOCK_C)
        c = i % (C // BLOCK_C) * BLOCK_C + tl.arange(0, BLOCK_C)
        y = row + (tap // SIDE - SIDE // 2) + tl.load(offset + 2 * tap * offset_k, live, 0).to(tl.float32)
        x_ = column + (tap % SIDE - SIDE // 2) + tl.load(offset + (2 * tap + 1) * offset_k, live, 0).to(tl.float32)
        # Nothing further out than this is read, and it fits an integer.
        y, x_ = tl.clamp(y, -2.0, H + 1.0), tl.clamp(x_, -2.0, W + 1.0)
        top, left = tl.floor(y), tl.floor(x_)
        y0, x0 = top.to(tl.int32), left.to(tl.int32)
        strength = tl.load(modulator + tap * modulator_k, live, 0).to(tl.float32)
        lower, upper = strength * (y - top), strength * (1 - (y - top))
        right = x_ - left
        corner = x + ((b * H + y0) * W + x0)[:, None] * C + c[None, :]
        in_y0, in_y1 = live & (y0 >= 0) & (y0 < H), live & (y0 >= -1) & (y0 < H - 1)
        in_x0, in_x1 = (x0 >= 0) & (x0 < W), (x0 >= -1) & (x0 < W - 1)
        sample = (upper * (1 - right))[:, None] * tl.load(corner, (in_y0 & in_x0)[:, None], 0).to(tl.float32)
        sample += (upper * right)[:, None] * tl.load(corner + C, (in_y0 & in_x1)[:, None], 0).to(tl.float32)
        corner += W * C
        sample += (lower * (1 - right))[:, None] * tl.load(corner, (in_y1 & in_x0)[:, None], 0).to(tl.float32)
        sample += (lower * right)[:, None] * tl.load(corner + C, (in_y1 & in_x1)[:, None], 0).to(tl.float32)
        matrix = tl.load(weight + (tap * C + c)[:, None] * N + o[None, :])
        total = tl.dot(sample.to(x.dtype.element_ty), matrix, total, input_precision="ieee")
    if BIASED:
        total += tl.load(bias + o).to(tl.float32)[None, :]
    out += (b * out_b + row * out_y + column * out_x)[:, None] + (o * out_o)[None, :]
    tl.store(out, total.to(out.dtype.element_ty), live[:, None])
