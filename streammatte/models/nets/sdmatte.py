"""SDMatte (Huang et al. 2025, arXiv 2508.00443): Stable Diffusion 2's networks, one step, from an image and a prompt.

A prompt is a mask of the object or a filled box around it, plus the box's corners. Names are those of the released
checkpoints; blocks come from diffusers and transformers. This module adds the prompt's tokens in the middle of the
U-Net, its mask in every self-attention, and the box in the time embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from streammatte.errors import ModelError, WeightsMismatch
from streammatte.models.nets.checkpoint import load_strictly, read_tensors, unfilled
from streammatte.models.nets.sdmatte_config import (
    ADDED,
    LITE_SDMATTE,
    PARTS,
    SDMATTE,
    SDMatteConfig,
    read_config,
)

MULTIPLE = 64  # of the input's sides: the U-Net's deepest grid is at this stride
HIDDEN = -10000.0  # added to the attention scores of tokens outside the prompt, as in training
EMPTY_PROMPT = (49406, 49407, *(0,) * 75)  # CLIP's begin and end, and Stable Diffusion 2's padding


class SDMatte(nn.Module):
    """SDMatte, SDMatte_plus and, with a tiny autoencoder, LiteSDMatte.

    Attributes:
        lite: Whether it is LiteSDMatte.
        empty_prompt: (1, 77, C), the text embedding of the empty prompt, after ``settle``.
    """

    empty_prompt: Tensor

    def __init__(self, config: SDMatteConfig) -> None:
        super().__init__()
        self.lite = config.lite
        self.text_encoder: nn.Module | None = CLIPTextModel(CLIPTextConfig(**_plain(config.text_encoder)))
        self.vae = (AutoencoderTiny if config.lite else AutoencoderKL)(**_plain(config.vae))
        self.unet = PromptedUNet(config.unet, latent_channels=self.vae.config["latent_channels"])
        self._scaling = float(self.vae.config["scaling_factor"])
        self.register_buffer("empty_prompt", None, persistent=False)

    @torch.no_grad()
    def settle(self) -> Self:
        """Compute the empty prompt's embedding and drop the text encoder, which takes 1.4 GB in fp32."""
        assert self.text_encoder is not None
        tokens = torch.tensor([EMPTY_PROMPT])
        # Positions are a buffer that no checkpoint holds, so they are passed.
        places = torch.arange(len(EMPTY_PROMPT))[None]
        self.empty_prompt = self.text_encoder(input_ids=tokens, position_ids=places)[0]
        self.text_encoder = None
        return self

    def cast(self, dtype: torch.dtype) -> Self:
        """Compute in ``dtype``, except the autoencoder in fp16: its activations overflow, so it stays in fp32."""
        self.to(dtype)
        if dtype == torch.float16 and not self.lite:
            self.vae.float()
        return self

    def forward(self, image: Tensor, mask: Tensor, box: Tensor, is_transparent: Tensor) -> Tensor:
        """Alpha, (B, 1, H, W) float32 in [0, 1].

        Args:
            image: (B, 3, H, W) in [-1, 1], sRGB. H and W are multiples of 64; the network was trained on squares, up to
                1024².
            mask: (B, 1, H, W), the prompt: 1 inside the mask or box, -1 outside.
            box: (B, 4), the prompt's x0, y0, x1, y1 as fractions of width and height.
            is_transparent: (B,), 1 for glass, veils and smoke, 0 for opaque objects.
        """
        if any(side % MULTIPLE for side in image.shape[-2:]):
            raise ValueError(f"sides of {tuple(image.shape[-2:])} are not multiples of {MULTIPLE}")
        dtype = self.unet.conv_in.weight.dtype
        inside = F.interpolate((mask + 1) / 2, scale_factor=1 / 8, mode="nearest")
        latents = [self.encode(picture).to(dtype) for picture in (image, mask.expand(-1, 3, -1, -1))]
        prompt = self.empty_prompt.expand(len(image), -1, -1)
        latent = self.unet(torch.cat(latents, dim=1), latents[1], prompt, inside, box, 1 - is_transparent)
        return ((self.decode(latent).mean(dim=1, keepdim=True).clamp(-1, 1) + 1) / 2).float()

    def encode(self, picture: Tensor) -> Tensor:
        """The latent's mean, (B, 4, H/8, W/8), scaled for the U-Net, from (B, 3, H, W) in [-1, 1]."""
        picture = picture.to(next(self.vae.parameters()).dtype)
        if self.lite:
            # Diffusers' encoder takes [-1, 1], but LiteSDMatte was trained with [0, 1].
            return self.vae.encoder((picture + 1) / 2) * self._scaling  # type: ignore[no-any-return]
        mean, _ = self.vae.quant_conv(self.vae.encoder(picture)).chunk(2, dim=1)
        return mean * self._scaling  # type: ignore[no-any-return]

    def decode(self, latent: Tensor) -> Tensor:
        """(B, 3, H, W), roughly in [-1, 1]; the inverse of ``encode``."""
        latent = latent.to(next(self.vae.parameters()).dtype) / self._scaling
        return self.vae.decoder(latent if self.lite else self.vae.post_quant_conv(latent))  # type: ignore[no-any-return]


class PromptedUNet(UNet2DConditionModel):
    """Stable Diffusion's U-Net with a visual prompt: its latent, tokens, mask and box."""

    def __init__(self, config: Mapping[str, Any], latent_channels: int) -> None:
        own = {name: value for name, value in _plain(config).items() if name not in ADDED}
        super().__init__(**{**own, "in_channels": 2 * latent_channels})
        width, tokens = self.time_embedding.linear_1.out_features, config["cross_attention_dim"]
        step, points, boxes = (config[name] for name in ADDED)
        self.aux_conv_in = nn.Conv2d(latent_channels, tokens, 3, padding=1)
        self.point_embedding = TimestepEmbedding(points, width)  # for point prompts; unused, but in the checkpoints
        self.bbox_time_proj = Timesteps(step, self.config["flip_sin_to_cos"], self.config["freq_shift"])
        self.bbox_embedding = TimestepEmbedding(boxes, width)
        self.set_attn_processor(PromptedAttention())  # type: ignore[arg-type]  # annotated with diffusers' own classes only

    def forward(  # a different signature with the same blocks
        self, latents: Tensor, prompt_latent: Tensor, text: Tensor, inside: Tensor, box: Tensor, opaque: Tensor
    ) -> Tensor:
        """The alpha's latent, (B, 4, h, w).

        Args:
            latents: (B, 8, h, w), the image's and the prompt's.
            prompt_latent: (B, 4, h, w), the source of the tokens that the mid block attends to.
            text: (B, 77, C), which the other blocks attend to.
            inside: (B, 1, h, w), 1 inside the prompt and 0 outside.
            box: (B, 4) in [0, 1].
            opaque: (B,), 1 for opaque objects; fed in place of the timestep.
        """
        dtype = latents.dtype
        time = self.time_embedding(self.time_proj(opaque.flatten()).to(dtype))
        corners = self.bbox_time_proj(box.flatten()).to(dtype).reshape(len(box), -1)
        time = time + self.bbox_embedding(corners)
        prompt = self.aux_conv_in(prompt_latent).flatten(2).transpose(1, 2)
        bias = (1 - inside.to(dtype)) * HIDDEN
        masks = {}
        height, width = latents.shape[-2:]
        for _ in self.down_blocks:
            at_size = F.interpolate(bias, (height, width), mode="nearest")
            masks[height * width] = at_size.flatten(2)[:, :, None]  # (B, 1, 1, tokens): the same for all heads, queries
            height, width = (height + 1) // 2, (width + 1) // 2

        x = self.conv_in(latents)
        skips = [x]
        for block in self.down_blocks:
            x, of_block = block(x, **_for(block, time, text, masks))
            skips += of_block
        if self.mid_block is not None:
            x = self.mid_block(x, **_for(self.mid_block, time, prompt, masks))
        for block in self.up_blocks:
            first = len(skips) - len(cast(nn.ModuleList, block.resnets))
            skips, of_block = skips[:first], tuple(skips[first:])
            x = block(x, res_hidden_states_tuple=of_block, **_for(block, time, text, masks))
        return self.conv_out(self.conv_act(self.conv_norm_out(x)))  # type: ignore[no-any-return]


class PromptedAttention:
    """Attention whose self-attention is restricted to tokens inside the prompt."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        masks: Mapping[int, Tensor],
    ) -> Tensor:
        """(B, N, C) → (B, N, C); ``masks`` maps a number of tokens N to a (B, 1, 1, N) bias on the scores.

        The bias keeps its single row, which torch's kernels broadcast: an N² matrix would have 16384 rows at 1024².
        """
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        mask = masks[context.shape[1]] if encoder_hidden_states is None else None
        query, key, value = (
            layer(x).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for layer, x in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
        )
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        for layer in attn.to_out:
            out = layer(out.transpose(1, 2).flatten(2) if out.ndim == 4 else out)
        return out


def load_sdmatte(checkpoint: str | PathLike[str], config: str | PathLike[str] | SDMatteConfig | None = None) -> SDMatte:
    """Load SDMatte on the CPU in fp32, in eval mode.

    Args:
        checkpoint: A file, or a folder laid out as on the hub: configurations in ``unet``, ``vae`` and
            ``text_encoder``, and the file beside them. Training checkpoints, with weights under ``model``, work too.
        config: A folder of configurations; by default the file's own folder or, if that has none, the released
            network's.

    Raises:
        WeightsMissing: There is no such file.
        WeightsMismatch: It is damaged, or not this network's; the message names the tensors.
        ModelError: A configuration is missing or is not SDMatte's.
    """
    path = Path(checkpoint)
    if config is None and path.is_dir():
        config = path
    path = checkpoint_in(path) if path.is_dir() else path
    if config is None and any((path.parent / part / "config.json").is_file() for part in PARTS):
        config = path.parent
    if config is not None and not isinstance(config, SDMatteConfig):
        config = read_config(config)
    tensors = _renamed(read_tensors(path, level="model"), path)
    if config is None:
        config = LITE_SDMATTE if any(name.startswith("vae.encoder.layers.") for name in tensors) else SDMATTE
    try:
        with unfilled():
            net = SDMatte(config)
    except (TypeError, ValueError, KeyError, RuntimeError) as exc:  # diffusers hardly checks its arguments
        raise ModelError(
            f"the configuration of {path} is not SDMatte's: {str(exc).splitlines()[0]}",
            hint="use the configurations from the checkpoint's own repository",
        ) from exc
    load_strictly(net, tensors, path, named=published_name)
    return net.eval().requires_grad_(False).settle()


def checkpoint_in(folder: Path) -> Path:
    """The checkpoint in a folder laid out as on the hub.

    Raises:
        ModelError: There is none, or more than one.
    """
    found = sorted(path for ending in ("*.safetensors", "*.pth") for path in folder.glob(ending))
    if len(found) != 1:
        names = ", ".join(path.name for path in found)
        raise ModelError(
            f"{folder} has {'no checkpoint' if not found else f'several checkpoints: {names}'}",
            hint="expected one .safetensors or .pth file beside unet, vae and text_encoder; or pass the file itself",
        )
    return found[0]


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without the libraries' own keys."""
    return {name: value for name, value in config.items() if not name.startswith("_")}


def _renamed(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    for name in tensors:
        if published_name(name) != name and published_name(name) in tensors:
            raise WeightsMismatch(
                f"{path} contains the same tensor twice: {name} and {published_name(name)}",
                hint="use the file as it was published",
            )
    return {published_name(name): tensor for name, tensor in tensors.items()}


def published_name(name: str) -> str:
    """The checkpoints' name for it: transformers 5 dropped one level of the text encoder's names."""
    own = name.removeprefix("text_encoder.")
    if own == name or own.startswith("text_model."):
        return name
    return f"text_encoder.text_model.{own}"


def _for(block: nn.Module, time: Tensor, context: Tensor, masks: Mapping[int, Tensor]) -> dict[str, Any]:
    """The arguments of a U-Net block: without attention it takes only the time."""
    if not getattr(block, "has_cross_attention", False):
        return {"temb": time}
    return {"temb": time, "encoder_hidden_states": context, "cross_attention_kwargs": {"masks": masks}}
