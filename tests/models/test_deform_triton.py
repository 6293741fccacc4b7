"""The Triton kernel of the deformable convolution computes what the plain form computes.

Without a GPU, Triton's interpreter runs it on CPU tensors, and its compiler compiles it for GPUs that are not there.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from streammatte.models.nets import deform
from streammatte.models.nets.deform import deform_conv2d, plain_deform_conv2d

pytestmark = pytest.mark.media

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed; it exists for Linux on x86-64"
)

SHARED = 99 * 1024  # bytes of shared memory for a program on a GeForce of compute capability 8.6, 8.9 or 12.0

# Kernel, then the shapes' B, C, N, H, W: odd maps, a row, a column, a pixel, several blocks of pixels and channels.
CASES = [
    (1, 2, 64, 256, 9, 13),
    (1, 1, 512, 64, 1, 1),
    (3, 2, 64, 96, 11, 7),
    (3, 1, 48, 16, 1, 65),
    (3, 2, 16, 64, 66, 1),
    (7, 2, 64, 64, 5, 9),
]
INTERPRETED = """
import json, sys
import torch
from triton.runtime import interpreter

from streammatte.models.nets.deform_triton import fits, fused_deform_conv2d
from test_deform_triton import CASES, arguments, plain_deform_conv2d, relative

dot, convert = interpreter.InterpreterBuilder.create_dot, interpreter._convert_float
BF16, FP32 = interpreter.tl.bfloat16, interpreter.tl.float32

def create_dot(self, a, b, *others):  # the interpreter multiplies the bits of bfloat16, triton-lang/triton#11584
    if a.dtype == BF16:
        a, b = (interpreter.TensorHandle(convert(t.data, BF16, FP32, None).view("float32"), FP32) for t in (a, b))
    return dot(self, a, b, *others)

interpreter.InterpreterBuilder.create_dot = create_dot
errors = []
for case in CASES:
    x, *others = arguments(*case, dtype=getattr(torch, sys.argv[1]))
    assert fits(x, *others)
    expected = plain_deform_conv2d(*(tensor.float() for tensor in (x, *others)))
    out = fused_deform_conv2d(x, *others)
    assert out.dtype == x.dtype and out.is_contiguous()
    errors.append((*case, relative(out, expected)))
    maps = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, *others[:2]))
    out = fused_deform_conv2d(*maps, *others[2:])
    assert out.is_contiguous(memory_format=torch.channels_last)
    errors.append((*case, relative(out, expected)))
print(json.dumps(errors))
"""


def arguments(k: int, B: int, C: int, N: int, H: int, W: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Arguments of ``deform_conv2d``. Many offsets lead outside; they are a view of a joint convolution's output."""
    g = torch.Generator().manual_seed(k)
    both = torch.randn(B, 3 * k * k, H, W, generator=g)
    both[:, : 2 * k * k] *= 5
    both[:, :2, 0, 0] = min(3e9, torch.finfo(dtype).max)  # more than a 32-bit integer holds
    x = torch.randn(B, C, H, W, generator=g)
    weight = torch.randn(N, C, k, k, generator=g) / (k * C**0.5)
    x, both, weight, bias = (tensor.to(dtype) for tensor in (x, both, weight, torch.randn(N, generator=g)))
    return [x, both[:, : 2 * k * k], 2 * both[:, 2 * k * k :].sigmoid(), weight, bias]


def relative(value: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest |Δ| over the largest |expected|."""
    return ((value.float() - expected.float()).abs().max() / expected.float().abs().max()).item()


@needs_triton
@pytest.mark.parametrize(("dtype", "limit"), [("float32", 2e-6), ("float16", 1e-3), ("bfloat16", 8e-3)])
def test_interpreted_kernel_is_the_plain_form(dtype: str, limit: float) -> None:
    folders = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": folders}  # read when Triton is imported
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED, dtype], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout)
    assert len(errors) == 2 * len(CASES)
    assert [error for error in errors if not error[-1] <= limit] == []


@needs_triton
@pytest.mark.parametrize("capability", [80, 90, 120])
def test_kernel_compiles_and_fits_the_shared_memory(
    capability: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from streammatte.models.nets.deform_triton import block_sizes, deform_kernel

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    tensors = {"x", "offset", "modulator", "weight", "bias", "out"}
    for dtype, kind in ((torch.float16, "*fp16"), (torch.bfloat16, "*bf16"), (torch.float32, "*fp32")):
        for pixels in (64, 1 << 16):
            blocks = block_sizes(pixels, 64, 256, dtype)
            launch = {name: blocks.pop(name) for name in ("num_warps", "num_stages", "enable_fp_fusion")}
            constants = {"SIDE": 7, "C": 64, "N": 256, "BIASED": True, "offset_x": 1, "modulator_x": 1, "out_x": 1}
            constants.update(blocks)
            names = deform_kernel.arg_names
            signature = {name: kind if name in tensors else "i32" for name in names} | dict.fromkeys(
                constants, "constexpr"
            )
            aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if name in tensors | {"W"}}
            source = ASTSource(deform_kernel, signature, constexprs=constants, attrs=aligned)
            compiled = compile(source, target=GPUTarget("cuda", capability, 32), options=launch)
            assert compiled.metadata.shared <= SHARED, (dtype, pixels)


def test_the_kernel_does_not_run_on_a_cpu() -> None:
    assert not deform.kernel_may_run(*arguments(3, 1, 64, 64, 8, 8, torch.float32))


def test_a_kernel_that_fails_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU, Triton finds no driver; where Triton is missing, the import fails."""
    monkeypatch.setattr(deform, "bags_may_run", lambda *args: False)
    monkeypatch.setattr(deform, "kernel_may_run", lambda *args: True)
    monkeypatch.setattr(deform, "_kernel_runs", True)
    given = arguments(3, 1, 64, 64, 8, 8, torch.float32)
    assert torch.equal(deform_conv2d(*given), plain_deform_conv2d(*given))
    assert not deform._kernel_runs


@needs_triton
def test_what_does_not_fit_the_kernel() -> None:
    from streammatte.models.nets.deform_triton import fits

    x, offset, modulator, weight, bias = arguments(3, 1, 64, 64, 8, 8, torch.float16)
    assert fits(x, offset, modulator, weight, bias) and fits(x, offset, modulator, weight)
    assert not fits(x.double(), offset, modulator, weight.double())
    assert not fits(x, offset, modulator, weight.float(), bias)
    assert not fits(x, offset, modulator, weight[:24], bias[:24])
    assert not fits(x[:, :24], offset, modulator, weight[:, :24], bias)
    assert not fits(x[:0], offset[:0], modulator[:0], weight, bias)
    assert not fits(x.expand(1 << 20, -1, -1, -1), offset, modulator, weight, bias)  # too many elements of output


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-5), ("float16", 1e-3), ("bfloat16", 8e-3)])
def test_kernel_on_a_gpu_is_the_plain_form(dtype: str, limit: float) -> None:
    from streammatte.models.nets.deform_triton import fused_deform_conv2d

    for case in [*CASES, (7, 2, 64, 256, 128, 96)]:
        given = [tensor.cuda() for tensor in arguments(*case, dtype=getattr(torch, dtype))]
        expected = plain_deform_conv2d(*(tensor.float() for tensor in given))
        assert relative(fused_deform_conv2d(*given), expected) <= limit, case
        with torch.inference_mode():
            assert deform.kernel_may_run(*given) == (torch.cuda.get_device_capability() >= (8, 0))
