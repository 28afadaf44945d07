"""Settings of a Stable Diffusion 3 or 3.5 checkpoint in one file, read off the shapes of its weights.

From the models' cards and configuration files: they differ in width, depth, the positions they know, whether
queries and keys are normalised and which blocks attend twice.  Such a file is whole where it holds both CLIP
encoders and the decoder.  One that holds T5 too wants its tokenizer, which is in no file and is not bundled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from engines.models.bundled_settings import SD15, SDXL, Settings
from engines.models.safetensors_file import Tensor

PREFIX: Final = "model.diffusion_model."
CLIPS: Final = ("text_encoders.clip_l.transformer.", "text_encoders.clip_g.transformer.")
T5: Final = "text_encoders.t5xxl.transformer."
HEAD: Final = 64
"""Channels of an attention head, in all of them."""
_VAE: Final = {
    **SD15["vae"],
    "sample_size": 1024,
    "latent_channels": 16,
    "scaling_factor": 1.5305,
    "shift_factor": 0.0609,
    "force_upcast": True,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
_CLIP: Final = {"architectures": ["CLIPTextModelWithProjection"]}
_INDEX: Final = {
    "_class_name": "StableDiffusion3Pipeline",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "text_encoder_3": [None, None],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "tokenizer_3": [None, None],
    "transformer": ["diffusers", "SD3Transformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def is_whole(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a file holds all that is needed to draw, under the first authors' names."""
    needed = (f"{PREFIX}joint_blocks.0.x_block.", "first_stage_model.decoder.", *CLIPS)
    there = all(any(name.startswith(one) for name in tensors) for one in needed)
    return there and not any(name.startswith(T5) for name in tensors)


def settings(tensors: Mapping[str, Tensor]) -> Settings:
    """Of a file that is whole."""
    return {
        "index": _INDEX,
        "transformer": _transformer({name.removeprefix(PREFIX): one for name, one in tensors.items()}),
        "vae": _VAE,
        "text_encoder": {**SD15["text_encoder"], **_CLIP},
        "text_encoder_2": SDXL["text_encoder_2"],
        "tokenizer": SD15["tokenizer"],
        "tokenizer_2": SDXL["tokenizer_2"],
        "scheduler": {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "shift": 3.0,
        },
    }


def _transformer(tensors: Mapping[str, Tensor]) -> Mapping[str, Any]:
    blocks = {int(name.split(".")[1]) for name in tensors if name.startswith("joint_blocks.")}
    twice = {int(name.split(".")[1]) for name in tensors if ".x_block.attn2." in name}
    width, text = tensors["context_embedder.weight"].shape
    _, channels, patch, _ = tensors["x_embedder.proj.weight"].shape
    return {
        "_class_name": "SD3Transformer2DModel",
        "sample_size": 128,
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": channels,
        "num_layers": len(blocks),
        "attention_head_dim": HEAD,
        "num_attention_heads": width // HEAD,
        "joint_attention_dim": text,
        "caption_projection_dim": width,
        "pooled_projection_dim": tensors["y_embedder.mlp.0.weight"].shape[1],
        "pos_embed_max_size": round(tensors["pos_embed"].shape[1] ** 0.5),
        "dual_attention_layers": sorted(twice),
        "qk_norm": "rms_norm" if any(".ln_q." in name for name in tensors) else None,
    }
