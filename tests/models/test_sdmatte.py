"""SDMatte computes what the published network computes, takes its checkpoints and no others, and refines crops."""

from __future__ import annotations

import importlib.metadata
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from support.sdmatte_folder import PARITY, TEXT_ENCODER, UNET, VAE, fill, filled, make_folder, write_configs
from torch import Tensor

from streammatte.errors import ModelError, OutOfMemory, WeightsMismatch, WeightsMissing
from streammatte.frame import Frame
from streammatte.models.birefnet import load_model
from streammatte.models.device import memory_of
from streammatte.models.nets.sdmatte import PromptedAttention, SDMatte, load_sdmatte
from streammatte.models.nets.sdmatte_config import LITE_SDMATTE, SDMATTE, read_config
from streammatte.models.sdmatte import Crop, SDMatteRefiner, at_size, corners, crop_around, load_refiner

CONFIGS = {"unet": UNET, "vae": VAE, "text_encoder": TEXT_ENCODER}
CPU = torch.device("cpu")

pytestmark = pytest.mark.media


@pytest.fixture(scope="module")
def parity_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint that the small goldens were made with."""
    keys = json.loads((PARITY / "sdmatte_small.keys.json").read_text())
    path = tmp_path_factory.mktemp("parity") / "small.safetensors"
    save_file(filled({name: tuple(shape) for name, shape, _ in keys}), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("sdmatte"))


@pytest.fixture(scope="module")
def net(folder: Path) -> SDMatte:
    return load_sdmatte(folder)


def without_level(name: str) -> str:
    """As transformers 5 names it."""
    return name.replace("text_encoder.text_model.", "text_encoder.")


def box_mask(box: tuple[float, float, float, float], height: int, width: int) -> Tensor:
    x0, y0, x1, y1 = box
    mask = torch.full((1, 1, height, width), -1.0)
    mask[..., round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)] = 1
    return mask


def matte(
    net: SDMatte,
    side: int | tuple[int, int] = 64,
    box: tuple[float, float, float, float] = (0.25, 0.25, 0.75, 0.75),
    transparent: int = 1,
    mask: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    height, width = (side, side) if isinstance(side, int) else side
    image = torch.from_numpy(fill.image("sdmatte", (1, 3, height, width), seed))
    mask = box_mask(box, height, width) if mask is None else mask
    with torch.inference_mode():
        return net(image, mask, torch.tensor([box]), torch.tensor([transparent]))


# The network


@pytest.mark.parametrize("naming", [str, without_level], ids=["text_model", "without"])
def test_parity_with_the_published_network(parity_file: Path, tmp_path: Path, naming: object) -> None:
    assert callable(naming)
    path = tmp_path / "named.safetensors"
    save_file({naming(name): tensor for name, tensor in load_file(parity_file).items()}, path)
    net = load_sdmatte(path, PARITY / "sdmatte_small")
    for golden in "ab":
        expected = np.load(PARITY / f"sdmatte_small_{golden}.npz")
        box, side = tuple(expected["box"].tolist()), expected["alpha"].shape[-1]
        image = torch.from_numpy(fill.image(f"sdmatte-{golden}", (1, 3, side, side)))
        latents: list[Tensor] = []
        hook = net.unet.register_forward_hook(lambda module, given, out, kept=latents: kept.append(out))
        with torch.inference_mode():
            alpha = net(image, box_mask(box, side, side), torch.tensor([box]), torch.from_numpy(expected["is_trans"]))
        hook.remove()
        np.testing.assert_allclose(latents[0].numpy(), expected["latent"], atol=1e-4)
        assert np.abs(alpha.numpy() - expected["alpha"]).max() <= 1e-3
        assert expected["alpha"].std() > 0.1  # a constant would agree with anything


def test_the_names_of_the_small_network_are_the_released_ones() -> None:
    with torch.device("meta"):
        own = SDMatte(read_config(PARITY / "sdmatte_small")).state_dict()
    keys = json.loads((PARITY / "sdmatte_small.keys.json").read_text())
    assert {without_level(name): tuple(tensor.shape) for name, tensor in own.items()} == {
        without_level(name): tuple(shape) for name, shape, _ in keys
    }


def test_the_released_networks_are_of_the_published_size() -> None:
    """SDMatte's checkpoint has 1316 tensors, 5.19 GB in fp32; BK-SDM v2's U-Net 583 480 964 numbers."""
    with torch.device("meta"):
        full, lite = SDMatte(SDMATTE), SDMatte(LITE_SDMATTE)
    assert len(full.state_dict()) == 1316
    assert 5.18e9 < 4 * sum(tensor.numel() for tensor in full.state_dict().values()) < 5.19e9
    added = ("aux_conv_in", "point_embedding", "bbox_embedding")
    own = sum(tensor.numel() for name, tensor in lite.unet.named_parameters() if not name.startswith(added))
    assert own - 4 * 320 * 9 == 583_480_964  # four more channels come in


class PlainAttention(PromptedAttention):
    """By the book: the matrix of all scores, with the mask in every one of its rows."""

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, *, masks):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        out = torch.zeros(*hidden_states.shape[:2], attn.to_q.out_features)
        width = attn.to_q.out_features // attn.heads
        for head in range(attn.heads):
            own = slice(head * width, (head + 1) * width)
            query, key, value = (
                layer(x)[..., own].double()
                for layer, x in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
            )
            scores = query @ key.transpose(1, 2) / width**0.5
            if encoder_hidden_states is None:
                scores = scores + masks[context.shape[1]][:, 0].double()
            out[..., own] = (scores.softmax(-1) @ value).float()
        return attn.to_out[0](out)


@pytest.mark.parametrize("lite", [False, True], ids=["sdmatte", "lite"])
@pytest.mark.parametrize("side", [64, (64, 192)])
def test_parity_with_attention_by_the_book(tmp_path: Path, lite: bool, side: int | tuple[int, int]) -> None:
    net = load_sdmatte(make_folder(tmp_path, lite=lite, seed=3))
    quick = matte(net, side, seed=5)
    net.unet.set_attn_processor(PlainAttention())
    slow = matte(net, side, seed=5)
    assert (quick - slow).abs().max().item() <= 1e-4
    assert quick.std() > 1e-3


def test_a_batch_is_its_pictures(net: SDMatte) -> None:
    boxes = ((0.25, 0.25, 0.75, 0.75), (0.0, 0.5, 0.5, 1.0))
    image = torch.from_numpy(fill.image("sdmatte", (1, 3, 64, 64))).expand(2, -1, -1, -1)
    masks = torch.cat([box_mask(box, 64, 64) for box in boxes])
    with torch.inference_mode():
        both = net(image, masks, torch.tensor(boxes), torch.tensor([1, 0]))
    for alpha, box, transparent in zip(both, boxes, (1, 0), strict=True):
        torch.testing.assert_close(alpha[None], matte(net, box=box, transparent=transparent), atol=1e-5, rtol=0)


def test_every_part_of_the_prompt_matters(net: SDMatte) -> None:
    plain = matte(net)
    middle = box_mask((0.25, 0.25, 0.75, 0.75), 64, 64)
    for other in (
        matte(net, transparent=0),
        matte(net, box=(0.0, 0.25, 0.75, 0.75), mask=middle),
        matte(net, mask=box_mask((0.25, 0.25, 0.75, 0.5), 64, 64)),
        matte(net, seed=1),
    ):
        assert (plain - other).abs().max().item() > 1e-3


def test_an_empty_and_a_full_mask_give_a_matte(net: SDMatte) -> None:
    for value in (-1.0, 1.0):
        alpha = matte(net, mask=torch.full((1, 1, 64, 64), value))
        assert alpha.isfinite().all() and alpha.min() >= 0 and alpha.max() <= 1


def test_other_sides_than_multiples_of_64_are_refused(net: SDMatte) -> None:
    with pytest.raises(ValueError, match="multiples of 64"):
        matte(net, 96)


def test_the_text_encoder_is_let_go(net: SDMatte) -> None:
    assert net.text_encoder is None and net.empty_prompt.shape == (1, 77, 32)
    assert not any(name.startswith("text_encoder") for name in net.state_dict())
    assert not any(tensor.is_meta for tensor in (*net.parameters(), *net.buffers()))


@pytest.mark.parametrize(("dtype", "vae"), [(torch.float16, torch.float32), (torch.bfloat16, torch.bfloat16)])
def test_the_autoencoder_is_never_in_fp16(folder: Path, net: SDMatte, dtype: torch.dtype, vae: torch.dtype) -> None:
    half = load_sdmatte(folder).cast(dtype)
    assert half.unet.conv_in.weight.dtype == dtype and next(half.vae.parameters()).dtype == vae
    alpha = matte(half)
    assert alpha.dtype == torch.float32
    assert (alpha - matte(net)).abs().mean().item() <= 0.05


# Checkpoints


@pytest.mark.parametrize(
    ("part", "naming"),
    [
        ("text_encoder.text_model.encoder.layers.0.mlp.fc1.weight", str),
        ("text_encoder.text_model.final_layer_norm.bias", without_level),
        ("unet.aux_conv_in.weight", str),
        ("vae.quant_conv.bias", without_level),
    ],
)
def test_each_fault_of_a_checkpoint_names_the_tensor(folder: Path, tmp_path: Path, naming: object, part: str) -> None:
    assert callable(naming)
    tensors = {naming(name): tensor for name, tensor in load_file(folder / "SDMatte.safetensors").items()}
    path, key = tmp_path / "faulty.safetensors", naming(part)
    save_file({name: tensor for name, tensor in tensors.items() if name != key}, path)
    with pytest.raises(WeightsMismatch, match=part):
        load_sdmatte(path, folder)
    save_file({**tensors, key + "_more": torch.zeros(1)}, path)
    with pytest.raises(WeightsMismatch, match=f"{part}_more"):
        load_sdmatte(path, folder)
    save_file({**tensors, key: torch.zeros(3, *tensors[key].shape)}, path)
    with pytest.raises(WeightsMismatch, match=f"{part} .*3×"):
        load_sdmatte(path, folder)


def test_a_tensor_under_both_of_its_names_is_a_fault(folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / "SDMatte.safetensors")
    name = "text_encoder.text_model.final_layer_norm.bias"
    save_file({**tensors, without_level(name): torch.zeros(32)}, tmp_path / "twice.safetensors")
    with pytest.raises(WeightsMismatch, match=name):
        load_sdmatte(tmp_path / "twice.safetensors", folder)


@pytest.mark.parametrize(
    ("prefix", "form"),
    [("module.", "safetensors"), ("_orig_mod.", "pth"), ("module._orig_mod.", "training"), ("", "training")],
)
def test_every_form_of_a_checkpoint_loads(folder: Path, tmp_path: Path, net: SDMatte, prefix: str, form: str) -> None:
    tensors = {prefix + name: tensor.half() for name, tensor in load_file(folder / "SDMatte.safetensors").items()}
    path = tmp_path / ("it.safetensors" if form == "safetensors" else "it.pth")
    if form == "safetensors":
        save_file(tensors, path)
    else:
        torch.save({"model": tensors, "iteration": 7} if form == "training" else tensors, path)
    loaded = load_sdmatte(path, folder)
    assert not loaded.training and next(loaded.parameters()).dtype == torch.float32
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, tensors[prefix + name].float())
    assert (matte(loaded) - matte(net)).abs().max().item() < 0.05


class Settings:
    """A class that a training's file names, as OmegaConf's are in SDMatte's; to make one here tells on the reader."""

    made = 0

    def __init__(self) -> None:
        Settings.made += 1

    def __reduce__(self) -> tuple[type, tuple[()], dict[str, int]]:
        return Settings, (), {"steps": 7}


def test_a_training_s_other_objects_are_not_made(folder: Path, tmp_path: Path, net: SDMatte) -> None:
    tensors = load_file(folder / "SDMatte.safetensors")
    torch.save({"model": tensors, "trainer": {"settings": Settings(), "more": [Settings()]}}, tmp_path / "it.pth")
    before = Settings.made
    torch.testing.assert_close(matte(load_sdmatte(tmp_path / "it.pth", folder)), matte(net), atol=1e-5, rtol=0)
    assert Settings.made == before


def test_code_in_a_pickle_is_not_run(folder: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    torch.save({"model": {"unet.conv_in.weight": Evil()}}, tmp_path / "zip.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"model": Evil()}))
    for name in ("zip.pth", "plain.pth"):
        with pytest.raises(WeightsMismatch):
            load_sdmatte(tmp_path / name, folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.999])
def test_a_truncated_checkpoint(folder: Path, tmp_path: Path, suffix: str, share: float) -> None:
    whole = folder / "SDMatte.safetensors"
    if suffix == ".pth":
        whole = tmp_path / "whole.pth"
        torch.save({"model": load_file(folder / "SDMatte.safetensors")}, whole)
    content = whole.read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsMismatch, match=f"cut{suffix}") as caught:
        load_sdmatte(tmp_path / f"cut{suffix}", folder)
    assert caught.value.hint


def test_another_network_s_checkpoint(folder: Path, tmp_path: Path) -> None:
    save_file({"bb.patch_embed.proj.weight": torch.zeros(3)}, tmp_path / "birefnet.safetensors")
    with pytest.raises(WeightsMismatch, match="SDMatte"):
        load_sdmatte(tmp_path / "birefnet.safetensors", folder)
    with pytest.raises(WeightsMissing, match=r"none\.safetensors"):
        load_sdmatte(tmp_path / "none.safetensors", folder)


# Configurations


@pytest.mark.parametrize("lite", [False, True], ids=["sdmatte", "lite"])
def test_a_folder_as_on_the_hub(tmp_path: Path, lite: bool) -> None:
    make_folder(tmp_path, lite=lite)
    by_folder = load_sdmatte(tmp_path)
    assert by_folder.lite == lite
    by_file = load_sdmatte(next(tmp_path.glob("*.safetensors")))
    assert torch.equal(matte(by_folder), matte(by_file))


@pytest.mark.parametrize("lacking", ["bbox_time_embed_dim", "point_embeddings_input_dim", "bbox_embeddings_input_dim"])
def test_a_configuration_without_what_sdmatte_adds(folder: Path, tmp_path: Path, lacking: str) -> None:
    unet = {name: value for name, value in UNET.items() if name != lacking}
    write_configs(tmp_path, {**CONFIGS, "unet": unet})
    with pytest.raises(ModelError, match=lacking) as caught:
        load_sdmatte(folder / "SDMatte.safetensors", tmp_path)
    assert caught.value.hint is not None and f'"{lacking}": ' in caught.value.hint


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_configuration_that_is_missing_or_damaged(folder: Path, tmp_path: Path, part: str) -> None:
    write_configs(tmp_path, {name: config for name, config in CONFIGS.items() if name != part})
    checkpoint = folder / "SDMatte.safetensors"
    with pytest.raises(ModelError, match=f"{part}/config.json"):
        load_sdmatte(checkpoint, tmp_path)
    (tmp_path / part).mkdir()
    for content in (b'{"unet": ', b"\xff\xfe", b"[1, 2]"):
        (tmp_path / part / "config.json").write_bytes(content)
        with pytest.raises(ModelError, match=f"{part}/config.json"):
            load_sdmatte(checkpoint, tmp_path)


def test_a_configuration_of_another_network(folder: Path, tmp_path: Path) -> None:
    for unet in ({**UNET, "down_block_types": ["NoSuchBlock2D"] * 4}, {**UNET, "no_such_argument": 1}):
        write_configs(tmp_path, {**CONFIGS, "unet": unet})
        with pytest.raises(ModelError, match=r"SDMatte\.safetensors"):
            load_sdmatte(folder / "SDMatte.safetensors", tmp_path)
    write_configs(tmp_path, {**CONFIGS, "unet": {**UNET, "cross_attention_dim": 48}})
    with pytest.raises(WeightsMismatch, match="×"):
        load_sdmatte(folder / "SDMatte.safetensors", tmp_path)


def test_a_folder_with_no_or_several_checkpoints(folder: Path, tmp_path: Path) -> None:
    write_configs(tmp_path, CONFIGS)
    with pytest.raises(ModelError, match=str(tmp_path)):
        load_sdmatte(tmp_path)
    for name in ("SDMatte.safetensors", "SDMatte_plus.safetensors"):
        shutil.copy(folder / "SDMatte.safetensors", tmp_path / name)
    with pytest.raises(ModelError, match=r"SDMatte\.safetensors, SDMatte_plus\.safetensors"):
        load_sdmatte(tmp_path)
    load_sdmatte(tmp_path / "SDMatte_plus.safetensors")


# The refiner


def clip_frame(height: int, width: int, dtype: torch.dtype = torch.uint8) -> Frame:
    rgb = torch.from_numpy(fill.image("frame", (1, 3, height, width))[0] / 2 + 0.5)
    if dtype == torch.uint8:
        rgb = (rgb * 255).round().to(torch.uint8)
    return Frame(rgb, pts=0, index=0)


def region_of(height: int, width: int, top: int, bottom: int, left: int, right: int) -> Tensor:
    region = torch.zeros(height, width, dtype=torch.bool)
    region[top:bottom, left:right] = True
    return region


@pytest.fixture(scope="module")
def refiner(folder: Path) -> SDMatteRefiner:
    return load_refiner(folder, device="cpu", precision="fp32", size=64)


@pytest.mark.parametrize(
    ("region", "crop"),
    [
        ((0, 200, 0, 300), Crop(0, 200, 0, 300)),  # all of it: squashed
        ((80, 120, 100, 180), Crop(40, 160, 80, 200)),  # a quarter more on each side of the longer one
        ((0, 40, 0, 80), Crop(0, 120, 0, 120)),  # at a corner: moved
        ((160, 200, 220, 300), Crop(80, 200, 180, 300)),
        ((100, 101, 150, 151), Crop(68, 132, 118, 182)),  # one pixel
        ((199, 200, 299, 300), Crop(136, 200, 236, 300)),
        ((90, 110, 10, 290), Crop(0, 200, 0, 300)),  # wider than the frame is high
    ],
)
def test_the_crop(region: tuple[int, int, int, int], crop: Crop) -> None:
    found = crop_around(region_of(200, 300, *region))
    assert found == crop
    top, bottom, left, right = region
    assert found.top <= top and bottom <= found.bottom and found.left <= left and right <= found.right


def test_an_empty_region_is_a_fault() -> None:
    with pytest.raises(ValueError, match="empty"):
        crop_around(torch.zeros(4, 4, dtype=torch.bool))


def test_a_crop_of_the_network_s_own_size_is_given_to_it_as_it_is(refiner: SDMatteRefiner, net: SDMatte) -> None:
    frame, region = clip_frame(100, 120), region_of(100, 120, 40, 60, 50, 80)
    region[41, 55] = False  # not a box: the mask itself is the prompt
    crop = crop_around(region)
    assert (crop.bottom - crop.top, crop.right - crop.left) == (64, 64)
    rows, columns = crop.rows_columns
    mask = region[rows, columns].float()[None, None] * 2 - 1
    top, left = 40 - crop.top, 50 - crop.left
    box = torch.tensor([[left, top, left + 30, top + 20]]) / 64
    with torch.inference_mode():
        expected = net(frame.as_float()[None, :, rows, columns] * 2 - 1, mask, box, torch.ones(1))
    alpha = refiner(frame, region)
    assert alpha.dtype == torch.float32 and alpha.shape == region.shape
    torch.testing.assert_close(alpha[rows, columns], expected[0, 0], atol=1e-5, rtol=0)
    outside = torch.ones_like(region)
    outside[rows, columns] = False
    assert not alpha[outside].any()


@pytest.mark.parametrize("region", [(0, 70, 0, 90), (0, 1, 0, 1), (69, 70, 89, 90), (30, 31, 0, 90)])
def test_any_region_of_any_frame_gives_a_matte(refiner: SDMatteRefiner, region: tuple[int, int, int, int]) -> None:
    for frame in (clip_frame(70, 90), clip_frame(70, 90, torch.float32)):
        alpha = refiner(frame, region_of(70, 90, *region))
        assert alpha.shape == (70, 90) and alpha.isfinite().all()
        assert alpha.min() >= 0 and alpha.max() <= 1
        top, bottom, left, right = region
        assert alpha[top:bottom, left:right].any()


def test_what_lies_outside_of_the_crop_does_not_matter(refiner: SDMatteRefiner) -> None:
    frame, region = clip_frame(200, 300), region_of(200, 300, 20, 60, 30, 70)
    rows, columns = crop_around(region).rows_columns
    changed = torch.zeros_like(frame.rgb)
    changed[:, rows, columns] = frame.rgb[:, rows, columns]
    assert torch.equal(refiner(frame, region), refiner(Frame(changed, 0, 0), region))


def test_a_large_crop_loses_no_pixel_of_its_region(refiner: SDMatteRefiner) -> None:
    """Of 1000 pixels of a row 64 are left; a thin wire must stay part of the prompt."""
    region = region_of(1000, 1000, 0, 1000, 501, 502)
    region[700, 3] = True
    prompt = at_size(region, 64)
    assert prompt.any(dim=1).all() and prompt[44, 0] == 1 and set(prompt.unique().tolist()) == {0.0, 1.0}
    x0, y0, x1, y1 = corners(prompt)[0].tolist()
    assert (x0, y0, y1) == (0, 0, 1) and 501 / 1000 - 1 / 64 <= x1 <= 502 / 1000 + 1 / 64


def test_a_box_in_a_squashed_crop_is_where_it_is_in_the_crop() -> None:
    prompt = at_size(region_of(128, 256, 32, 64, 64, 192), 64)
    assert corners(prompt).tolist() == [[0.25, 0.25, 0.75, 0.5]]
    assert (
        F.interpolate(prompt[None, None], (128, 256), mode="nearest")[0, 0]
        .bool()
        .equal(region_of(128, 256, 32, 64, 64, 192))
    )


def test_the_refiner_s_size_is_a_multiple_of_64(folder: Path) -> None:
    for size in (0, 100, 4096):
        with pytest.raises(ModelError, match="64"):
            load_refiner(folder, device="cpu", precision="fp32", size=size)
    with pytest.raises(ModelError, match="fp8"):
        load_refiner(folder, device="cpu", precision="fp8")


def test_too_little_memory_is_one_line_with_what_helps() -> None:
    for error in (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("not enough memory: 5 bytes")):
        with pytest.raises(OutOfMemory, match="cpu") as caught, memory_of(CPU, "what helps"):
            raise error
        assert caught.value.hint == "what helps"
    with pytest.raises(RuntimeError, match="another fault"), memory_of(CPU, ""):
        raise RuntimeError("another fault")


# Names


def test_names_are_for_what_they_are_for() -> None:
    with pytest.raises(ModelError, match="sdmatte-plus") as caught:
        load_model("sdmatte-plus", device="cpu", offline=True)
    assert caught.value.hint is not None and "--sdmatte sdmatte-plus" in caught.value.hint
    with pytest.raises(ModelError, match="birefnet-lite") as caught:
        load_refiner("birefnet-lite", device="cpu", offline=True)
    assert caught.value.hint is not None and "sdmatte-lite" in caught.value.hint
    with pytest.raises(ModelError, match="sdmate") as caught:
        load_refiner("sdmate", device="cpu", offline=True)
    assert caught.value.hint is not None and "sdmatte" in caught.value.hint


def test_weights_that_are_not_here_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsMissing, match=r"sdmatte .*--offline") as caught:
        load_refiner("sdmatte", device="cpu", offline=True)
    assert caught.value.hint is not None
    assert "1038lab/SDMatte" in caught.value.hint and "--sdmatte FILE" in caught.value.hint


def test_importing_the_network_warns_of_nothing_and_waits_until_it_is_used() -> None:
    code = (
        "import sys, streammatte.models\n"
        "assert not {'diffusers', 'transformers'} & set(sys.modules)\n"
        "import streammatte.models.nets.sdmatte\n"
        "assert 'torchvision' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_versions_are_among_those_that_were_tried() -> None:
    assert importlib.metadata.version("diffusers").startswith("0.42.")
    assert importlib.metadata.version("transformers").startswith("5.")
