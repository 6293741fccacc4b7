"""SAM 2 for video, as transformers has it (Ravi et al. 2024, "SAM 2: Segment Anything in Images and Videos")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from streammatte.errors import ModelError, WeightsMismatch
from streammatte.models.nets.checkpoint import load_strictly, read_tensors

FIRST = "vision_encoder.backbone.patch_embed.projection.weight"
BLOCK = "vision_encoder.backbone.blocks."
# One random projection of coordinates, which two modules share. Some versions of transformers save it once.
SHARED = "shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding"

# The released image encoders by their width and number of blocks, in the words of ``Sam2HieraDetConfig``, whose
# defaults are the smallest one's. All else is the same in each.
RELEASED: Mapping[tuple[int, int], Mapping[str, Any]] = {
    (96, 12): {},
    (96, 16): {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    (112, 24): {
        "hidden_size": 112,
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 3, 16, 3],
        "global_attention_blocks": [12, 16, 20],
        "window_positional_embedding_background_size": [14, 14],
    },
    (144, 48): {
        "hidden_size": 144,
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 6, 36, 4],
        "global_attention_blocks": [23, 33, 43],
        "window_size_per_stage": [8, 4, 16, 8],
    },
}


def load_sam2(checkpoint: str | PathLike[str]) -> nn.Module:
    """Load SAM 2 for video, transformers' ``Sam2VideoModel``, on the CPU in fp32, in eval mode.

    Args:
        checkpoint: A ``.safetensors`` file, or a folder laid out as on the hub. A ``config.json`` beside the file
            counts; without one, the file must be of a released size of SAM 2.1.

    Raises:
        WeightsMissing: There is no such file.
        WeightsMismatch: It is damaged, or another network's; the message names the tensors.
        ModelError: The configuration is missing, or is not SAM 2's.
    """
    path = Path(checkpoint)
    if path.is_dir():
        path /= "model.safetensors"
    if path.suffix != ".safetensors":
        raise ModelError(f"{path} is not a .safetensors file", hint="pass model.safetensors of a SAM 2.1 on the hub")
    tensors = read_tensors(path)
    for name, other in (SHARED, SHARED[::-1]):
        if name not in tensors and other in tensors:
            tensors[name] = tensors[other]
    beside = path.with_name("config.json")
    config = _read(beside) if beside.is_file() else _released(tensors, path)

    from transformers import Sam2VideoConfig, Sam2VideoModel

    try:
        net = Sam2VideoModel(Sam2VideoConfig.from_dict(config))
    except Exception as exc:  # transformers raises whatever its validation and torch do
        raise ModelError(
            f"the configuration of {path} is not SAM 2's: {str(exc).splitlines()[0]}",
            hint="use the config.json from the checkpoint's own repository",
        ) from exc
    load_strictly(net, tensors, path)
    whole: nn.Module = net
    return whole.eval().requires_grad_(False)


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ModelError(f"cannot read {path}: {exc}", hint="use the one from the checkpoint's repository") from exc
    if not isinstance(config, dict) or config.get("model_type") != "sam2_video":
        raise ModelError(f"{path} is not SAM 2's for video", hint='expected "model_type": "sam2_video"')
    return config


def _released(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    blocks = {name.removeprefix(BLOCK).split(".")[0] for name in tensors if name.startswith(BLOCK)}
    size = (len(tensors[FIRST]) if FIRST in tensors else 0, len(blocks))
    if size not in RELEASED:
        raise WeightsMismatch(
            f"{path} is not a SAM 2.1 checkpoint for video, as transformers names its tensors",
            hint="`streammatte models` lists the checkpoints that fit; other sizes need their config.json beside them",
        )
    return configuration(size)


def configuration(size: tuple[int, int]) -> dict[str, Any]:
    """The configuration of SAM 2.1 for video, by a size in ``RELEASED``."""
    backbone = {"model_type": "sam2_hiera_det_model", **RELEASED[size]}
    widths = RELEASED[size].get("embed_dim_per_stage", [96, 192, 384, 768])
    vision = {"model_type": "sam2_vision_model", "backbone_config": backbone, "backbone_channel_list": widths[::-1]}
    return {"model_type": "sam2_video", "vision_config": vision}
