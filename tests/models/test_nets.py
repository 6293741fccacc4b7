"""The networks compute what the published ones compute, and load their checkpoints and no others."""

from __future__ import annotations

import importlib.util
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from streammatte.errors import OutOfMemory, WeightsMismatch, WeightsMissing
from streammatte.frame import Frame
from streammatte.models.birefnet import BiRefNetModel
from streammatte.models.nets import deform
from streammatte.models.nets.birefnet import (
    NANO,
    SWIN_B,
    SWIN_L,
    SWIN_S,
    SWIN_T,
    BiRefNet,
    BiRefNetConfig,
    fold_batch_norms,
    infer_config,
    load_birefnet,
    tiles,
)
from streammatte.models.nets.deform import DeformableConv2d, deform_conv2d
from streammatte.models.nets.efficientnet import EfficientNetConfig
from streammatte.models.nets.packed import PackedConv2d, pack
from streammatte.models.nets.swin import SwinConfig, SwinTransformer, WindowAttention

pytestmark = pytest.mark.media

PARITY = Path(__file__).parent.parent / "data" / "parity"
spec = importlib.util.spec_from_file_location("fill", PARITY / "fill.py")
assert spec and spec.loader
fill = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fill)

LITE2 = BiRefNetConfig(
    EfficientNetConfig((16, 24, 48, 88, 120, 208), (1, 3, 3, 4, 4, 5)), inter=16, aspp=24, kernels=()
)
SMALL = BiRefNetConfig(SwinConfig(32, (1, 1, 4, 2), (1, 2, 4, 8), 8), inter=16, aspp=24, kernels=(1, 3))
RELEASES = {"t": SWIN_T, "l": SWIN_L}


def filled(config: BiRefNetConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    """A whole checkpoint, every tensor filled from its own name."""
    fresh = BiRefNet(config).state_dict()
    return {
        name: torch.from_numpy(fill.tensor(name, tuple(tensor.shape), seed)) if tensor.is_floating_point() else tensor
        for name, tensor in fresh.items()
    }


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two released shapes, as their files would come."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for release, config in RELEASES.items():
        save_file(filled(config), folder / f"{release}.safetensors")
    return {release: folder / f"{release}.safetensors" for release in RELEASES}


@pytest.mark.parametrize("release", RELEASES)
def test_keys_are_those_of_the_released_checkpoints(release: str) -> None:
    released = json.loads((PARITY / f"birefnet_swin_v1_{release}.keys.json").read_text())
    with torch.device("meta"):
        own = BiRefNet(RELEASES[release]).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in own.items()} == {
        name: tuple(shape) for name, shape, _ in released
    }


@pytest.mark.parametrize(
    ("release", "golden", "shape"),
    [("t", "a", (1, 3, 256, 256)), ("t", "b", (2, 3, 192, 320)), ("l", "a", (1, 3, 256, 256))],
)
def test_parity_with_the_published_network(
    checkpoints: dict[str, Path], release: str, golden: str, shape: tuple[int, ...]
) -> None:
    expected = np.load(PARITY / f"birefnet_swin_v1_{release}_{golden}.npz")
    image = torch.from_numpy(fill.image(f"birefnet-{golden}", shape, 0))
    net = load_birefnet(checkpoints[release])
    assert net.config == RELEASES[release]
    with torch.inference_mode():
        deepest = net.encode(image)[-1][:, :64]
        logits = net(image)
    np.testing.assert_allclose(deepest.numpy(), expected["x4"], atol=1e-4)
    difference = logits.sigmoid() - torch.from_numpy(expected["logits"]).sigmoid()
    assert difference.abs().max().item() <= 1e-4


def plain_deform_conv2d(
    x: torch.Tensor, offset: torch.Tensor, modulator: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """The definition, slowly: each tap gathers its four corners, and a corner outside the picture is zero."""
    B, C, H, W = x.shape
    k = weight.shape[-1]
    out = torch.zeros(B, len(weight), H, W, dtype=torch.float64)
    rows, columns = torch.meshgrid(torch.arange(H).double(), torch.arange(W).double(), indexing="ij")
    for b in range(B):
        for tap in range(k * k):
            y = rows + tap // k - k // 2 + offset[b, 2 * tap].double()
            x_ = columns + tap % k - k // 2 + offset[b, 2 * tap + 1].double()
            sample = torch.zeros(C, H, W, dtype=torch.float64)
            for cy in (y.floor(), y.floor() + 1):
                for cx in (x_.floor(), x_.floor() + 1):
                    inside = (cy >= 0) & (cy < H) & (cx >= 0) & (cx < W)
                    share = (1 - (y - cy).abs()) * (1 - (x_ - cx).abs()) * inside
                    sample += share * x[b, :, cy.clamp(0, H - 1).long(), cx.clamp(0, W - 1).long()].double()
            sample *= modulator[b, tap].double()
            out[b] += torch.einsum("oc,chw->ohw", weight[:, :, tap // k, tap % k].double(), sample)
    return out


def test_deformable_convolution_is_its_definition() -> None:
    for kernel, size in product([1, 3, 7], [(12, 9), (1, 5), (6, 1), (1, 1)]):
        g = torch.Generator().manual_seed(kernel)
        x = torch.randn(2, 5, *size, generator=g)
        offset = 4 * torch.randn(2, 2 * kernel**2, *size, generator=g)
        modulator = 2 * torch.rand(2, kernel**2, *size, generator=g)
        weight = torch.randn(3, 5, kernel, kernel, generator=g)
        expected = plain_deform_conv2d(x, offset, modulator, weight)
        for form in (deform_conv2d, deform.plain_deform_conv2d, deform.bagged_deform_conv2d):
            torch.testing.assert_close(form(x, offset, modulator, weight).double(), expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_bags_of_pixels_are_the_plain_form(dtype: torch.dtype, tolerance: float) -> None:
    """Offsets and modulators are views of one convolution's output, and some lead far outside."""
    g = torch.Generator().manual_seed(2)
    x = torch.randn(2, 16, 40, 33, generator=g)
    both = 6 * torch.randn(2, 27, 40, 33, generator=g)
    both[0, 0, 3, 4], both[0, 1, 3, 5] = 3e9, -3e9
    weight, bias = torch.randn(8, 16, 3, 3, generator=g), torch.randn(8, generator=g)
    both = both.to(dtype).contiguous(memory_format=torch.channels_last)
    given = x.to(dtype), both[:, :18], 2 * both[:, 18:].sigmoid(), weight.to(dtype), bias.to(dtype)
    expected = deform.plain_deform_conv2d(*(each.float() for each in given))
    found = deform.bagged_deform_conv2d(*given)
    assert found.dtype == dtype
    assert (found.float() - expected).abs().max() <= tolerance * expected.abs().max()
    both[1, 5, 7, 7] = torch.nan
    assert deform.bagged_deform_conv2d(*given)[1, :, 7, 7].isnan().all(), "as the plain form has it"


def test_bags_compute_under_autocast() -> None:
    torch.manual_seed(0)
    layer, x = DeformableConv2d(8, 4, 3), torch.randn(1, 8, 6, 7)
    with torch.no_grad():
        expected = layer(x)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(layer(x).float(), expected, atol=0.05, rtol=0)


def test_bags_have_no_gradients() -> None:
    layer = DeformableConv2d(4, 6, 3)
    layer(torch.randn(1, 4, 8, 8)).sum().backward()
    assert layer.regular_conv.weight.grad is not None and layer.offset_conv.weight.grad is not None


def test_undisplaced_deformable_convolution_is_a_convolution() -> None:
    layer = DeformableConv2d(4, 6, 3)
    x = torch.randn(2, 4, 10, 11, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer(x), layer.regular_conv(x), atol=1e-5, rtol=0)


def test_deformable_coordinates_are_fp32_whatever_the_data() -> None:
    """In bfloat16 a coordinate of 300.5 does not exist; a ramp read there would come out at 300 or 302."""
    ramp = torch.arange(600.0).view(1, 1, 1, 600).expand(1, 1, 4, 600)
    offset = torch.zeros(1, 2, 4, 600)
    offset[:, 1] = 0.5
    one = torch.ones(1, 1, 4, 600)
    weight = torch.ones(1, 1, 1, 1)
    scaled = (ramp % 2).bfloat16()  # 0 1 0 1 …: half a pixel on, exactly a half everywhere
    out = deform_conv2d(scaled, offset.bfloat16(), one.bfloat16(), weight.bfloat16())
    torch.testing.assert_close(out[..., :-1].float(), torch.full((1, 1, 4, 599), 0.5), atol=1e-2, rtol=0)


SHIFTED = SwinConfig(32, (2, 2, 2, 2), (1, 2, 4, 8), 7)


def kept(net: torch.nn.Module) -> list[torch.Tensor]:
    """The biases that a backbone keeps."""
    return [bias for part in net.modules() if isinstance(part, WindowAttention) for bias in part._biases.values()]


def test_kept_biases_change_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = SwinTransformer(SHIFTED).eval()
    images = torch.randn(3, 3, 96, 160)
    with torch.inference_mode():
        monkeypatch.setattr("streammatte.models.nets.swin.KEPT", 0)
        built = net(images)
        assert not kept(net)
        monkeypatch.setattr("streammatte.models.nets.swin.KEPT", 20_000)
        assert all(map(torch.equal, net(images), built))
        assert 0 < len(kept(net)) < 8, "only those that are small enough"
        monkeypatch.undo()
        for _ in range(2):
            assert all(map(torch.equal, net(images), built))
        assert len(kept(net)) == 8
        assert all(stride % 8 == 0 for bias in kept(net) for stride in bias.stride()[:-1])
        for deep, alone in zip(built, net(images[1:2]), strict=True):
            torch.testing.assert_close(deep[1:2], alone, atol=1e-5, rtol=0)
    net.eval()
    net(images)
    assert not kept(net), "a backbone that may be trained keeps none"


def test_new_weights_drop_the_kept_biases() -> None:
    torch.manual_seed(0)
    net, other = SwinTransformer(SHIFTED).eval(), SwinTransformer(SHIFTED).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        net(image)
        net.load_state_dict(other.state_dict())
        assert all(map(torch.equal, net(image), other(image)))
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, WindowAttention):
                part.relative_position_bias_table.mul_(5)
        net(image)
        fresh = SwinTransformer(SHIFTED).eval()
        fresh.load_state_dict(net.state_dict())
        assert all(map(torch.equal, net(image), fresh(image))), "a change in place is seen"
    net.train()
    assert not kept(net)
    with torch.inference_mode():
        net(image)
    assert not kept(net), "nor are any kept while they may change"


@pytest.mark.parametrize(
    ("config", "shape"),
    [(SWIN_T, (1, 3, 128, 192)), (SMALL, (2, 3, 64, 96))],
    ids=["swin-t", "small"],
)
def test_parity_with_the_slow_deformable_convolution(
    monkeypatch: pytest.MonkeyPatch, config: BiRefNetConfig, shape: tuple[int, ...]
) -> None:
    """Another seed and other shapes than the goldens', the whole network against the definition."""
    net = BiRefNet(config).eval()
    net.load_state_dict(filled(config, seed=7))
    image = torch.from_numpy(fill.image("another", shape, 7))
    with torch.inference_mode():
        quick = net(image).sigmoid()
        monkeypatch.setattr(
            "streammatte.models.nets.deform.deform_conv2d", lambda *args: plain_deform_conv2d(*args[:4]).float()
        )
        slow = net(image).sigmoid()
    assert (quick - slow).abs().max().item() <= 1e-4
    assert quick.std() > 0.01  # a constant would agree with anything


def test_folded_prediction_is_the_unfolded_one() -> None:
    net = BiRefNet(SMALL).eval()
    net.load_state_dict(filled(SMALL, seed=3))
    decoder, image = net.decoder, torch.from_numpy(fill.image("fold", (1, 3, 64, 96), 3))
    p1 = torch.randn(1, 32, 16, 24, generator=torch.Generator().manual_seed(3))
    up = torch.nn.functional.interpolate(p1, (64, 96), mode="bilinear", align_corners=True)
    with torch.inference_mode():
        unfolded = decoder.conv_out1(torch.cat((up, decoder.ipt_blk1(image)), dim=1))
        torch.testing.assert_close(decoder.predict(image, p1), unfolded, atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", [SMALL, NANO], ids=["small", "nano"])
def test_folded_batch_norms_change_no_number(config: BiRefNetConfig) -> None:
    net = BiRefNet(config).eval()
    net.load_state_dict(filled(config, seed=5))
    image = torch.from_numpy(fill.image("norms", (1, 3, 64, 96), 5))
    with torch.inference_mode():
        plain = net(image)
        assert plain.std() > 0.01
        norms = sum(isinstance(module, torch.nn.BatchNorm2d) for module in fold_batch_norms(net).modules())
        torch.testing.assert_close(net(image), plain, atol=1e-4, rtol=1e-4)
    assert norms == 0


def test_packed_convolutions_change_no_number() -> None:
    net = BiRefNet(NANO).eval()
    net.load_state_dict(filled(NANO, seed=6))
    fold_batch_norms(net)
    shapes = ((1, 96), (2, 64), (1, 64), (1, 128), (1, 160))
    images = [torch.from_numpy(fill.image("packed", (batch, 3, 64, width), 6)) for batch, width in shapes]
    with torch.inference_mode():
        plain = [net(image) for image in images]
        pack(net)
        if not any(isinstance(module, PackedConv2d) for module in net.modules()):
            pytest.skip("this torch lacks oneDNN's operators")
        for image, expected in [*zip(images, plain, strict=True)] * 2:  # every shape is laid out, and some forgotten
            torch.testing.assert_close(net(image), expected, atol=1e-4, rtol=1e-4)


def test_tiles_are_whole_pieces_of_the_picture() -> None:
    image = torch.arange(2 * 6 * 8).view(1, 2, 6, 8)
    cut = tiles(image, 3, 4)
    assert cut.shape == (1, 8, 3, 4)
    torch.testing.assert_close(cut[0, 0], image[0, 0, :3, :4])
    torch.testing.assert_close(cut[0, 1], image[0, 0, :3, 4:])
    torch.testing.assert_close(cut[0, 2], image[0, 0, 3:, :4])
    torch.testing.assert_close(cut[0, 7], image[0, 1, 3:, 4:])


@pytest.mark.parametrize(
    "config", [SWIN_T, SWIN_S, SWIN_B, SWIN_L, SMALL, NANO, LITE2], ids=["t", "s", "b", "l", "small", "nano", "lite2"]
)
def test_backbone_is_told_from_the_tensors(config: BiRefNetConfig) -> None:
    with torch.device("meta"):
        assert infer_config(BiRefNet(config).state_dict()) == config


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_every_form_of_a_checkpoint_loads(tmp_path: Path, prefix: str, suffix: str) -> None:
    tensors = {prefix + name: tensor.half() if tensor.is_floating_point() else tensor
               for name, tensor in filled(NANO).items()}  # fmt: skip
    path = tmp_path / f"nano{suffix}"
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    net = load_birefnet(path)
    assert not net.training
    assert next(net.parameters()).dtype == torch.float32
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, tensors[prefix + name].to(tensor.dtype), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda t: t.pop("decoder.conv_out1.0.bias"), "decoder.conv_out1.0.bias"),
        (lambda t: t.update(stranger=torch.zeros(1)), "stranger"),
        (lambda t: t.update({"decoder.conv_out1.0.bias": torch.zeros(2)}), "decoder.conv_out1.0.bias"),
        (lambda t: t.pop("squeeze_module.0.conv_in.weight"), "squeeze_module.0.conv_in.weight"),
        (lambda t: [t.pop(name) for name in list(t) if name.startswith("bb.layers.2")], "bb.layers.2"),
        (lambda t: t.clear(), "bb."),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(tmp_path: Path, spoil, complaint: str) -> None:  # type: ignore[no-untyped-def]
    tensors = filled(SMALL)
    spoil(tensors)
    save_file(tensors, tmp_path / "spoiled.safetensors")
    with pytest.raises(WeightsMismatch) as caught:
        load_birefnet(tmp_path / "spoiled.safetensors")
    assert complaint in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["text.safetensors", "text.pth", "empty.safetensors", "empty.pth"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("" if name.startswith("empty") else "not a checkpoint at all, only words")
    with pytest.raises(WeightsMismatch):
        load_birefnet(tmp_path / name)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    save_file(filled(SMALL), tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsMismatch):
        load_birefnet(tmp_path / "half.safetensors")


def test_a_missing_checkpoint_is_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing):
        load_birefnet(tmp_path / "nowhere.safetensors")


class Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("raise SystemExit('code from a checkpoint ran')",))


def test_no_code_from_a_checkpoint_runs(tmp_path: Path) -> None:
    torch.save({"weight": Malicious()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsMismatch):
        load_birefnet(tmp_path / "evil.pth")


@pytest.mark.parametrize("config", [NANO, SMALL], ids=["nano", "small"])
def test_the_network_compiles_without_a_graph_break(config: BiRefNetConfig) -> None:
    net = BiRefNet(config).eval()
    net.load_state_dict(filled(config))
    image = torch.from_numpy(fill.image("compile", (1, 3, 64, 64), 0))
    with torch.inference_mode():
        whole = torch.compile(net, fullgraph=True, backend="eager")
        torch.testing.assert_close(whole(image), net(image), atol=1e-5, rtol=0)


class _Roomy(torch.nn.Module):
    """A network on a device that has room for so many frames."""

    config = NANO

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room, self.sizes = room, list[int]()

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(batch))
        if len(batch) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return batch[:, :1]


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    frames = [Frame(torch.full((3, 64, 64), 20 * i, dtype=torch.uint8), i, i) for i in range(7)]

    def of(room: int) -> tuple[_Roomy, BiRefNetModel]:
        net = _Roomy(room)
        kind = {"name": "roomy", "device": torch.device("cpu"), "dtype": torch.float32, "size": (64, 64)}
        return net, BiRefNetModel(net, **kind)  # type: ignore[arg-type]

    net, model = of(2)
    alphas = model(frames)
    assert net.sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert all(torch.equal(alpha, one) for alpha, one in zip(alphas, of(9)[1](frames), strict=True))
    model(frames[:2])
    assert net.sizes[-2:] == [1, 1], "it is not tried again"
    with pytest.raises(OutOfMemory):
        of(0)[1](frames)
