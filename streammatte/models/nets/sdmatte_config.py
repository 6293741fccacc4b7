"""SDMatte's configuration: three tables, as its repositories hold them in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from streammatte.errors import ModelError

PARTS = ("unet", "vae", "text_encoder")
# Keys that SDMatte adds to Stable Diffusion's U-Net: the width of the sinusoid for each coordinate of a box, and the
# widths of the embeddings of points and boxes.
ADDED = ("bbox_time_embed_dim", "point_embeddings_input_dim", "bbox_embeddings_input_dim")


@dataclass(frozen=True)
class SDMatteConfig:
    """The arguments of the three networks, named as in diffusers and transformers.

    Attributes:
        unet: For ``UNet2DConditionModel``, plus the three that SDMatte adds.
        vae: For ``AutoencoderKL``, or for ``AutoencoderTiny`` if ``lite``.
        text_encoder: For ``CLIPTextConfig``.
        lite: Whether it is LiteSDMatte.
    """

    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    text_encoder: Mapping[str, Any]
    lite: bool = False


def read_config(folder: str | PathLike[str]) -> SDMatteConfig:
    """Read ``unet``, ``vae`` and ``text_encoder``, each with its ``config.json``, from a folder laid out as on the hub.

    Raises:
        ModelError: A file is missing or not JSON, or the U-Net's lacks SDMatte's own keys.
    """
    unet, vae, text_encoder = (_read(Path(folder) / part / "config.json") for part in PARTS)
    lacking = [name for name in ADDED if not isinstance(unet.get(name), int)]
    if lacking:
        path = Path(folder) / "unet" / "config.json"
        raise ModelError(
            f"{path} is not SDMatte's: it lacks {', '.join(lacking)}",
            hint='SDMatte has "bbox_time_embed_dim": 320, "point_embeddings_input_dim": 1680, '
            '"bbox_embeddings_input_dim": 1280',
        )
    return SDMatteConfig(unet, vae, text_encoder, lite=vae.get("_class_name") == "AutoencoderTiny")


def _read(path: Path) -> dict[str, Any]:
    hint = "expected unet/config.json, vae/config.json and text_encoder/config.json, as in SDMatte's repository"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ModelError(f"cannot read {path}: {exc.strerror}", hint=hint) from exc
    except ValueError as exc:  # JSON and UTF-8 errors
        raise ModelError(f"{path} is not JSON: {exc}", hint=hint) from exc
    if not isinstance(value, dict):
        raise ModelError(f"{path} is not a JSON object", hint=hint)
    return value


# Stable Diffusion 2's networks with SDMatte's additions.
SDMATTE = SDMatteConfig(
    unet={
        "sample_size": 96,
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 2,
        "attention_head_dim": (5, 10, 20, 20),  # despite its name, the number of heads
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

# BK-SDM v2's base U-Net, with one layer less per block, and TAESD, which LiteSDMatte's authors say they started from.
# Not compared with the released checkpoint: no list of its tensors was available.
LITE_SDMATTE = SDMatteConfig(
    unet={**SDMATTE.unet, "layers_per_block": 1},
    vae={"latent_channels": 4, "scaling_factor": 1.0},
    text_encoder=SDMATTE.text_encoder,
    lite=True,
)
