"""Modulated deformable convolution: one Triton kernel where it runs, bags of pixels on a CPU, or plain operations."""

from __future__ import annotations

import logging
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ON_A_CPU, ON_A_GPU = 1 << 20, 1 << 26  # samples at a time
BAGS = 1 << 16  # samples at a time, of all channels

logger = logging.getLogger("streammatte")
_kernel_runs = True  # until it is missing, or has failed to compile


def deform_conv2d(x: Tensor, offset: Tensor, modulator: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Modulated deformable convolution, stride 1, "same" padding, odd square kernel.

    Zhu et al. 2019, "Deformable ConvNets v2". Each tap samples the input bilinearly at its own displaced position;
    outside the image each corner of the bilinear cell is zero, as in torchvision's operator. Coordinates are float32
    whatever the data's type: in float16 they would step by 1/8 pixel beyond x = 128.

    Args:
        x: (B, C, H, W).
        offset: (B, 2·K, H, W), K = kernel side squared; (dy, dx) of each tap, in row order.
        modulator: (B, K, H, W), the weight of each tap.
        weight: (O, C, k, k).
        bias: (O,), if any.

    Returns:
        (B, O, H, W), same dtype as ``x``.
    """
    arguments = x, offset, modulator, weight, bias
    if bags_may_run(*arguments):
        return bagged_deform_conv2d(*arguments)
    fused = fused_or_none(*arguments) if kernel_may_run(*arguments) else None
    return plain_deform_conv2d(*arguments) if fused is None else fused


def bags_may_run(x: Tensor, *others: Tensor | None) -> bool:
    """Whether an x86 CPU computes these without gradients: there, torch has fast kernels for bags of embeddings."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and not torch.compiler.is_compiling()
        and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
        and not (torch.is_grad_enabled() and any(t.requires_grad for t in (x, *others) if t is not None))
    )


def bagged_deform_conv2d(
    x: Tensor, offset: Tensor, modulator: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """``deform_conv2d`` in half the time of the plain form in bf16, two thirds in fp32.

    A sample is the weighted sum of four pixels, as ``embedding_bag`` computes it; the weights include the modulator.
    Zeros are put around the image, and samples further out are moved there.
    """
    B, C, H, W = x.shape
    k = weight.shape[-1]
    wide = W + 3
    pixels = F.pad(x, (1, 2, 1, 2)).permute(0, 2, 3, 1).reshape(B, -1, C).contiguous()
    corners = torch.tensor([0, 1, wide, wide + 1], dtype=torch.int32)
    offsets = offset.reshape(B, k * k, 2, H, W).permute(2, 0, 3, 4, 1)
    modulators = modulator.permute(0, 2, 3, 1)
    tap = torch.arange(k, dtype=torch.float32) - k // 2
    rows = torch.arange(1, H + 1).view(H, 1, 1) + tap.repeat_interleave(k)
    columns = torch.arange(1, W + 1).view(W, 1) + tap.repeat(k)
    kernel = weight.to(x.dtype).permute(2, 3, 1, 0).reshape(-1, len(weight))  # under autocast they differ
    out = x.new_empty(B, H, W, len(weight))  # as matrices are multiplied
    step = max(1, BAGS // (k * k * W))
    for image, top in product(range(B), range(0, H, step)):
        part = slice(top, min(H, top + step))
        y = (offsets[0, image, part].contiguous() + rows[part]).clamp_(0, H + 1)
        x_ = (offsets[1, image, part].contiguous() + columns).clamp_(0, W + 1)
        above, left = y.floor(), x_.floor()
        strength = modulators[image, part].float().contiguous()
        lower, right = strength * y.sub_(above), x_.sub_(left)
        # Two tensors lie interleaved sooner as a complex one than stacked.
        down, across = torch.complex(strength - lower, lower), torch.complex(1 - right, right)
        weights = torch.view_as_real(down)[..., None] * torch.view_as_real(across)[..., None, :]
        first = above.mul_(wide).add_(left).to(torch.int32).clamp_(0, pixels.shape[1] - wide - 2)  # NaN is anywhere
        bags = (first[..., None] + corners).view(-1, 4)
        samples = F.embedding_bag(bags, pixels[image], mode="sum", per_sample_weights=weights.view(-1, 4).to(x.dtype))
        torch.mm(samples.view(-1, k * k * C), kernel, out=out[image, part].view(-1, len(weight)))
    out = out if bias is None else out.add_(bias)
    return out.permute(0, 3, 1, 2)


def kernel_may_run(x: Tensor, *others: Tensor | None) -> bool:
    """Whether a GPU with bf16 tensor cores computes these without gradients.

    The kernel has no derivative, and neither torch.compile nor autocast sees into it.
    """
    return (
        x.is_cuda
        and torch.version.hip is None
        and torch.cuda.get_device_capability(x.device) >= (8, 0)
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cuda")
        and not (torch.is_grad_enabled() and any(t.requires_grad for t in (x, *others) if t is not None))
    )


def fused_or_none(
    x: Tensor, offset: Tensor, modulator: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor | None:
    """The kernel's result, or None if it does not fit these shapes or does not run here."""
    global _kernel_runs
    if not _kernel_runs:
        return None
    try:
        from streammatte.models.nets.deform_triton import fits, fused_deform_conv2d  # imports Triton: half a second

        arguments = x, offset, modulator, weight, bias
        return fused_deform_conv2d(*arguments) if fits(*arguments) else None
    except torch.OutOfMemoryError:
        raise
    except Exception as exc:  # no Triton, no C compiler, too little shared memory: Triton has an exception for each
        _kernel_runs = False
        logger.info("deformable convolutions run as torch operations: %s", exc)
        return None


def plain_deform_conv2d(
    x: Tensor, offset: Tensor, modulator: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """``deform_conv2d`` from torch operations alone: the kernel's reference, and what runs where it does not.

    A few rows are computed at a time, so that the samples of a 7×7 kernel are never all in memory, and on a CPU stay in
    its cache.
    """
    B, C, H, W = x.shape
    k = weight.shape[-1]
    rows = torch.arange(H, device=x.device, dtype=torch.float32).view(H, 1)
    columns = torch.arange(W, device=x.device, dtype=torch.float32)
    tap = torch.arange(k * k, device=x.device).view(-1, 1, 1)
    # grid_sample's range is [-1, 1] between the centres of the outermost pixels. An axis of one pixel has no such
    # range; padding it to two keeps pixel 0 at -1 and everything outside zero.
    data = x.float()  # grid_sample needs data and coordinates of one dtype
    if H == 1 or W == 1:
        data = F.pad(data, (0, int(W == 1), 0, int(H == 1)))
    scale_y, scale_x = 2 / (data.shape[-2] - 1), 2 / (data.shape[-1] - 1)
    y = (offset[:, 0::2].float() + (tap // k - k // 2) + rows) * scale_y - 1
    x_ = (offset[:, 1::2].float() + (tap % k - k // 2) + columns) * scale_x - 1
    grid = torch.stack((x_, y), dim=-1)

    kernel = weight.reshape(len(weight), -1)
    out = x.new_empty(B, len(weight), H, W)
    step = max(1, (ON_A_CPU if x.device.type == "cpu" else ON_A_GPU) // (B * C * k * k * W))
    for top in range(0, H, step):
        part = slice(top, min(H, top + step))
        shape = (B, C, k * k, part.stop - top, W)
        places = grid[:, :, part].reshape(B, -1, W, 2)
        sampled = F.grid_sample(data, places, mode="bilinear", padding_mode="zeros", align_corners=True).view(shape)
        sampled = sampled.mul_(modulator[:, None, :, part]).to(x.dtype)
        out[:, :, part] = (kernel @ sampled.view(B, C * k * k, -1)).view(B, -1, shape[3], W)
    return out if bias is None else out.add_(bias.view(-1, 1, 1))


class DeformableConv2d(nn.Module):
    """A deformable convolution whose offsets and modulators are convolutions of its input."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        taps, padding = kernel * kernel, kernel // 2
        self.offset_conv = nn.Conv2d(in_channels, 2 * taps, kernel, padding=padding)
        self.modulator_conv = nn.Conv2d(in_channels, taps, kernel, padding=padding)
        self.regular_conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, bias=False)
        # Untrained, it is an ordinary convolution: no displacement, every modulator 2 · sigmoid(0) = 1.
        for conv in (self.offset_conv, self.modulator_conv):
            nn.init.zeros_(conv.weight)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        # Both read the same input, so one convolution computes them.
        assert self.offset_conv.bias is not None and self.modulator_conv.bias is not None
        both = F.conv2d(
            x,
            torch.cat((self.offset_conv.weight, self.modulator_conv.weight)),
            torch.cat((self.offset_conv.bias, self.modulator_conv.bias)),
            padding=self.offset_conv.padding,
        )
        taps, conv = self.modulator_conv.out_channels, self.regular_conv
        return deform_conv2d(x, both[:, : 2 * taps], 2 * both[:, 2 * taps :].sigmoid(), conv.weight, conv.bias)
