"""Small SDMatte networks with random weights, in folders laid out as on the hub."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

PARITY = Path(__file__).parent.parent / "data" / "parity"

UNET = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.8.0",
    "in_channels": 4,
    "sample_size": 96,
    "block_out_channels": [32, 32, 64, 64],
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": [1, 2, 2, 2],
    "cross_attention_dim": 32,
    "use_linear_projection": True,
    "bbox_time_embed_dim": 16,
    "point_embeddings_input_dim": 1680,
    "bbox_embeddings_input_dim": 64,
}
VAE = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [16, 16, 16, 32],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "latent_channels": 4,
    "sample_size": 768,
    "scaling_factor": 0.18215,
}
TINY_VAE = {
    "_class_name": "AutoencoderTiny",
    "encoder_block_out_channels": [8, 8, 8, 8],
    "decoder_block_out_channels": [8, 8, 8, 8],
    "num_encoder_blocks": [1, 1, 1, 1],
    "num_decoder_blocks": [1, 1, 1, 1],
    "latent_channels": 4,
    "scaling_factor": 1.0,
}
TEXT_ENCODER = {
    "model_type": "clip_text_model",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "projection_dim": 16,
    "hidden_act": "gelu",
    "vocab_size": 49408,
}


def make_folder(folder: Path, *, lite: bool = False, file: str | None = None, seed: int = 0) -> Path:
    """A folder with configurations and a checkpoint of 8 MB, whose names are the released one's.

    Args:
        folder: Where; made if it is not there.
        lite: LiteSDMatte instead of SDMatte.
        file: The checkpoint's name, ``SDMatte.safetensors`` by default; a ``.pth`` is a training's.
        seed: Of the weights, each of which depends on its name and this.

    Returns:
        The folder.
    """
    configs = {"unet": UNET, "vae": TINY_VAE if lite else VAE, "text_encoder": TEXT_ENCODER}
    write_configs(folder, configs)
    path = folder / (file or ("LiteSDMatte.safetensors" if lite else "SDMatte.safetensors"))
    tensors = random_tensors(folder, seed)
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({"model": tensors, "trainer": {"optimizer": {"step": torch.tensor(7)}}, "iteration": 7}, path)
    return folder


def write_configs(folder: Path, configs: Mapping[str, Mapping[str, Any]]) -> None:
    """One ``config.json`` in a folder of each name."""
    for part, config in configs.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / "config.json").write_text(json.dumps(config))


def random_tensors(folder: Path, seed: int = 0) -> dict[str, Tensor]:
    """A checkpoint for the configurations in ``folder``, in the released names, filled as the goldens' networks are."""
    from streammatte.models.nets.sdmatte import SDMatte, published_name
    from streammatte.models.nets.sdmatte_config import read_config

    with torch.device("meta"):
        shapes = {
            published_name(name): tuple(value.shape)
            for name, value in SDMatte(read_config(folder)).state_dict().items()
        }
    return filled(shapes, seed)


def filled(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """A tensor for every name, as ``fill.py`` has it."""
    return {name: torch.from_numpy(fill.tensor(name, shape, seed)) for name, shape in shapes.items()}


spec = importlib.util.spec_from_file_location("fill", PARITY / "fill.py")
assert spec and spec.loader
fill = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fill)
