"""Small stand-ins for the metrics pack's networks: the same classes, random weights, at the pack's paths."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torchvision
import transformers

from engines.paths import bundled_model

IMAGE = {
    "do_resize": True, "size": {"shortest_edge": 28}, "do_center_crop": True,
    "crop_size": {"height": 28, "width": 28}, "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28],
    "do_convert_rgb": True, "resample": 3,
}  # fmt: skip


def alexnet(path: Path) -> Path:
    """The convolutions of AlexNet in torchvision's names."""
    torch.manual_seed(3)
    state = torchvision.models.alexnet(weights=None).state_dict()
    torch.save({name: value for name, value in state.items() if name.startswith("features.")}, path)
    return path


def clip(folder: Path) -> Path:
    """Both towers of CLIP, one narrow layer each, and a tokenizer."""
    torch.manual_seed(4)
    text = {
        "vocab_size": 800, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 32, "bos_token_id": 0, "eos_token_id": 1,
        "pad_token_id": 1,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 28, "patch_size": 7,
    }  # fmt: skip
    network = transformers.CLIPModel(
        transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    )
    network.save_pretrained(folder, safe_serialization=True)
    transformers.CLIPTokenizer.from_pretrained(str(bundled_model() / "tokenizer")).save_pretrained(folder)
    _settings(folder, "CLIPImageProcessor")
    return folder


def dino(folder: Path) -> Path:
    """DINOv2 of one narrow layer."""
    torch.manual_seed(5)
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=7, mlp_ratio=2
    )
    transformers.Dinov2Model(config).save_pretrained(folder, safe_serialization=True)
    _settings(folder, "BitImageProcessor")
    return folder


def _settings(folder: Path, kind: str) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps({**IMAGE, "image_processor_type": kind}))
