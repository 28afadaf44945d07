"""A whole model with random weights, small enough to be captured in a moment."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from engines.paths import bundled_model

LATENT = (4, 8, 8)


def write_small_model(folder: Path) -> Path:
    """A StableDiffusionPipeline folder with `student_lora` and `tiny_vae`; 16 px, 8x8 latents."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(16, 32), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 2, up_block_types=("CrossAttnUpBlock2D",) * 2,
        cross_attention_dim=16, attention_head_dim=2, norm_num_groups=8,
    )  # fmt: skip
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=800, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 16), latent_channels=4, norm_num_groups=4, sample_size=16, scaling_factor=0.5,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    tiny = AutoencoderTiny(
        latent_channels=4, encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1),
    )  # fmt: skip
    for name, module in (("unet", unet), ("text_encoder", text), ("vae", vae), ("tiny_vae", tiny)):
        module.save_pretrained(folder / name)
    DDIMScheduler(prediction_type="v_prediction", clip_sample=False, steps_offset=1).save_pretrained(
        folder / "scheduler"
    )
    shutil.copytree(bundled_model() / "tokenizer", folder / "tokenizer")
    lora = {}
    for name, layer in unet.named_modules():
        if isinstance(layer, torch.nn.Linear) and "attn1" in name:
            lora[f"unet.{name}.lora_A.weight"] = torch.randn(2, layer.in_features)
            lora[f"unet.{name}.lora_B.weight"] = torch.randn(layer.out_features, 2)
        elif isinstance(layer, torch.nn.Conv2d) and name.endswith("resnets.0.conv1"):
            lora[f"unet.{name}.lora_A.weight"] = torch.randn(2, layer.in_channels, 3, 3)
            lora[f"unet.{name}.lora_B.weight"] = torch.randn(layer.out_channels, 2, 1, 1)
    (folder / "student_lora").mkdir()
    save_file(lora, folder / "student_lora" / "pytorch_lora_weights.safetensors")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    facts = {"name": "Small", "licence": "CC0-1.0", "steps": 4, "guidance": 3.0}
    (folder / "pareto.json").write_text(json.dumps(facts))
    return folder
