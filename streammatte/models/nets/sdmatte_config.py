"""What an SDMatte network is built from: three tables, as its repositories hold them in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from streammatte.errors import ModelError

PARTS = ("unet", "vae", "text_encoder")
# What SDMatte adds to Stable Diffusion's U-Net: the sinusoid's width for each number of a box, and the widths of the
# embeddings of points and boxes.
ADDED = ("bbox_time_embed_dim", "point_embeddings_input_dim", "bbox_embeddings_input_dim")


@dataclass(frozen=True)
class SDMatteConfig:
    """The arguments of the three networks, in the words of diffusers and transformers.

    Attributes:
        unet: Of ``UNet2DConditionModel``, and the three that SDMatte adds.
        vae: Of ``AutoencoderKL``, or of ``AutoencoderTiny`` where ``lite``.
        text_encoder: Of ``CLIPTextConfig``.
        lite: Whether it is LiteSDMatte.
    """

    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    text_encoder: Mapping[str, Any]
    lite: bool = False


def read_config(folder: str | PathLike[str]) -> SDMatteConfig:
    """Read ``unet``, ``vae`` and ``text_encoder``, each with its ``config.json``, from a folder laid out as on the hub.

    Raises:
        ModelError: A file is missing, is not JSON, or the U-Net's lacks what SDMatte adds to it.
    """
    unet, vae, text_encoder = (_read(Path(folder) / part / "config.json") for part in PARTS)
    lacking = [name for name in ADDED if not isinstance(unet.get(name), int)]
    if lacking:
        path = Path(folder) / "unet" / "config.json"
        raise ModelError(
            f"{path} is Stable Diffusion's, not SDMatte's: it lacks {', '.join(lacking)}",
            hint='SDMatte has "bbox_time_embed_dim": 320, "point_embeddings_input_dim": 1680, '
            '"bbox_embeddings_input_dim": 1280',
        )
    return SDMatteConfig(unet, vae, text_encoder, lite=vae.get("_class_name") == "AutoencoderTiny")


def _read(path: Path) -> dict[str, Any]:
    hint = "a folder has unet/config.json, vae/config.json and text_encoder/config.json, as SDMatte's on the hub"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ModelError(f"the configuration {path} cannot be read: {exc.strerror}", hint=hint) from exc
    except ValueError as exc:  # of JSON as of UTF-8
        raise ModelError(f"the configuration {path} is not JSON: {exc}", hint=hint) from exc
    if not isinstance(value, dict):
        raise ModelError(f"the configuration {path} is not a table", hint=hint)
    return value


# Stable Diffusion 2's networks, with what SDMatte adds.
SDMATTE = SDMatteConfig(
    unet={
        "sample_size": 96,
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 2,
        "attention_head_dim": (5, 10, 20, 20),  # the number of heads, in spite of its name
        "cross_attention_dim": 1024,
        "use_linear_projection": True,
        "bbox_time_embed_dim": 320,
        "point_embeddings_input_dim": 1680,
        "bbox_embeddings_input_dim": 1280,
    },
    vae={
        "sample_size": 768,
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "scaling_factor": 0.18215,
    },
    text_encoder={
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 23,
        "projection_dim": 512,
        "hidden_act": "gelu",
    },
)

# BK-SDM v2's base U-Net, which has one layer less in each block, and TAESD: what LiteSDMatte's authors name as its
# beginnings. Of its own checkpoint no list of tensors was at hand to compare with.
LITE_SDMATTE = SDMatteConfig(
    unet={**SDMATTE.unet, "layers_per_block": 1},
    vae={"latent_channels": 4, "scaling_factor": 1.0},
    text_encoder=SDMATTE.text_encoder,
    lite=True,
)
