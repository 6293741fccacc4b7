"""A small SAM 2 with random weights, in a folder laid out as on the hub."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

SIDE = 64
CONFIG = {
    "model_type": "sam2_video",
    "image_size": SIDE,
    "vision_config": {
        "model_type": "sam2_vision_model",
        "fpn_hidden_size": 128,
        "backbone_channel_list": [32, 24, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 8,
            "image_size": [SIDE, SIDE],
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [8, 16, 24, 32],
            "num_attention_heads_per_stage": [1, 1, 1, 1],
            "window_size_per_stage": [4, 4, 4, 4],
            "global_attention_blocks": [3],
            "window_positional_embedding_background_size": [4, 4],
        },
    },
    "prompt_encoder_config": {"hidden_size": 128, "image_size": SIDE, "mask_input_channels": 4},
    "mask_decoder_config": {"hidden_size": 128, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32},
    "memory_attention_hidden_size": 128,
    "memory_attention_num_layers": 1,
    "memory_attention_feed_forward_hidden_size": 32,
    "memory_attention_rope_feat_sizes": [4, 4],
    "memory_encoder_hidden_size": 128,
    "memory_encoder_output_channels": 64,  # transformers has no other, and only for wider networks
    "mask_downsampler_embed_dim": 128,
    "memory_fuser_num_layers": 1,
    "memory_fuser_embed_dim": 128,
    "memory_fuser_intermediate_dim": 32,
}


def make_folder(folder: Path, *, seed: int = 0) -> Path:
    """A folder with a configuration and a checkpoint of 1 MB, whose tensors are named as the released one's.

    Its subject is always in the picture, so that what the network sees of it depends on the picture.
    """
    from transformers import Sam2VideoConfig, Sam2VideoModel

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Sam2VideoModel(Sam2VideoConfig.from_dict(CONFIG))
        tensors = {name: torch.randn_like(value) * 0.2 for name, value in net.state_dict().items()}
    for name, value in tensors.items():
        if "output_hypernetworks_mlps" in name and "proj_out" in name:
            value *= 0.05  # masks that are neither all black nor all white
    tensors["mask_decoder.pred_obj_score_head.proj_out.bias"] += 20
    save_file(tensors, folder / "model.safetensors")
    return folder
