"""Tiny models under the names of Stable Diffusion's first authors, as checkpoints in one file have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
EDGES = {
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2", "conv_norm_out": "out.0", "conv_out": "out.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip


def unet_name(name: str, layers: int, attention: list[bool]) -> str:
    """`attention`: which up blocks have attention."""
    stem, _, ending = name.rpartition(".")
    if stem in EDGES:
        return f"{EDGES[stem]}.{ending}"
    parts = name.split(".")
    if parts[0] == "mid_block":
        place = {
            "resnets.0": "middle_block.0",
            "attentions.0": "middle_block.1",
            "resnets.1": "middle_block.2",
        }
        return f"{place['.'.join(parts[1:3])]}.{_inner(parts[1], parts[3:])}"
    block, kind, index, rest = int(parts[1]), parts[2], int(parts[3]), parts[4:]
    if parts[0] == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * (layers + 1)}.0.op.{ending}"
        spot = 1 + block * (layers + 1) + index
        return f"input_blocks.{spot}.{0 if kind == 'resnets' else 1}.{_inner(kind, rest)}"
    if kind == "upsamplers":
        spot = block * (layers + 1) + layers
        return f"output_blocks.{spot}.{2 if attention[block] else 1}.conv.{ending}"
    spot = block * (layers + 1) + index
    return f"output_blocks.{spot}.{0 if kind == 'resnets' else 1}.{_inner(kind, rest)}"


def _inner(kind: str, rest: list[str]) -> str:
    if kind != "resnets":
        return ".".join(rest)
    return ".".join([RESNET[rest[0]], *rest[1:]])


def vae_name(name: str, levels: int) -> str:
    parts = name.split(".")
    if parts[0] in ("quant_conv", "post_quant_conv"):
        return name
    rest = parts[1:]
    if rest[0] == "conv_norm_out":
        return ".".join([parts[0], "norm_out", *rest[1:]])
    if rest[0] == "mid_block":
        place = {"resnets.0": "block_1", "attentions.0": "attn_1", "resnets.1": "block_2"}[
            ".".join(rest[1:3])
        ]
        return ".".join([parts[0], "mid", place, *_vae_inner(rest[3:])])
    if rest[0] in ("down_blocks", "up_blocks"):
        level = int(rest[1]) if rest[0] == "down_blocks" else levels - 1 - int(rest[1])
        side = "down" if rest[0] == "down_blocks" else "up"
        if rest[2] == "resnets":
            return ".".join([parts[0], side, str(level), "block", rest[3], *_vae_inner(rest[4:])])
        return ".".join([parts[0], side, str(level), f"{side}sample", *rest[4:]])
    return name


def _vae_inner(rest: list[str]) -> list[str]:
    names = {
        "conv_shortcut": "nin_shortcut", "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v",
    }  # fmt: skip
    if rest[0] == "to_out":
        return ["proj_out", rest[-1]]
    return [names.get(rest[0], rest[0]), *rest[1:]]


def _open_clip(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    outside = {
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "final_layer_norm.weight": "ln_final.weight", "final_layer_norm.bias": "ln_final.bias",
    }  # fmt: skip
    inner = {
        "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }  # fmt: skip
    for name, value in state.items():
        short = name.removeprefix("text_model.")
        if short == "text_projection.weight":
            found["text_projection"] = value.T.contiguous()
        elif short in outside:
            found[outside[short]] = value
        elif ".self_attn." in short and "out_proj" not in short:
            continue
        elif short.startswith("encoder.layers."):
            _, _, number, rest = short.split(".", 3)
            stem, _, ending = rest.rpartition(".")
            found[f"transformer.resblocks.{number}.{inner[stem]}.{ending}"] = value
    layers = {name.split(".")[-4] for name in state if ".self_attn.q_proj." in name}
    for number in layers:
        for ending in ("weight", "bias"):
            rows = [
                next(
                    v
                    for n, v in state.items()
                    if n.endswith(f"layers.{number}.self_attn.{one}_proj.{ending}")
                )
                for one in "qkv"
            ]
            found[f"transformer.resblocks.{number}.attn.in_proj_{ending}"] = torch.cat(rows)
    return found


def write_one_file(folder: Path, path: Path, said: dict[str, str] | None = None) -> dict[str, Any]:
    """Write a diffusers folder as one checkpoint; returns the settings that it needs to be opened."""
    first = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    found: dict[str, torch.Tensor] = {}
    settings: dict[str, Any] = {"index": json.loads((folder / "model_index.json").read_text())}
    for place in sorted(folder.iterdir()):
        if place.name.startswith("tokenizer"):
            settings[place.name] = {"folder": str(place)}
            continue
        config = next(iter(place.glob("*config.json")), None) if place.is_dir() else None
        if config is None:
            continue
        settings[place.name] = json.loads(config.read_text())
        if place.name == "scheduler":
            continue
        state = load_file(next(place.glob("*.safetensors")))
        wide = settings[place.name]
        if place.name == "unet":
            attention = ["CrossAttn" in one for one in wide["up_block_types"]]
            for name, value in state.items():
                found["model.diffusion_model." + unet_name(name, wide["layers_per_block"], attention)] = value
        elif place.name == "vae":
            for name, value in state.items():
                shaped = value
                if "attentions" in name and name.endswith("weight") and value.ndim == 2:
                    shaped = value[:, :, None, None]
                found["first_stage_model." + vae_name(name, len(wide["block_out_channels"]))] = shaped
        elif place.name == "text_encoder":
            if first.get("prediction_type") == "v_prediction":  # Stable Diffusion 2: OpenCLIP's text encoder
                for name, value in _open_clip(state).items():
                    found["cond_stage_model.model." + name] = value
                continue
            two = (folder / "text_encoder_2").is_dir()
            prefix = "conditioner.embedders.0.transformer." if two else "cond_stage_model.transformer."
            for name, value in state.items():
                found[prefix + "text_model." + name.removeprefix("text_model.")] = value
        else:
            for name, value in _open_clip(state).items():
                found["conditioner.embedders.1.model." + name] = value
    save_file({name: value.contiguous() for name, value in found.items()}, path, said)
    return settings
