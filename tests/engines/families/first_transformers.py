"""Tiny transformers under the names of their first authors: diffusers' converters, reversed."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import save_file

from engines.models.lora_layers import places
from engines.models.model import Model

Tensors = dict[str, torch.Tensor]
OTHERS: dict[str, dict[str, str]] = {
    "FluxTransformer2DModel": {
        f"{theirs}.{norm}_norm.scale": f"{ours}{norm[0]}.weight"
        for norm in ("query", "key")
        for theirs, ours in (
            ("double_blocks.#.img_attn.norm", "transformer_blocks.#.attn.norm_"),
            ("double_blocks.#.txt_attn.norm", "transformer_blocks.#.attn.norm_added_"),
            ("single_blocks.#.norm", "single_transformer_blocks.#.attn.norm_"),
        )
    },
    "SD3Transformer2DModel": {
        "pos_embed": "pos_embed.pos_embed",
        **{
            f"joint_blocks.#.{theirs}.ln_{one}.weight": f"transformer_blocks.#.{ours}{one}.weight"
            for one in "qk"
            for theirs, ours in (
                ("x_block.attn", "attn.norm_"),
                ("context_block.attn", "attn.norm_added_"),
                ("x_block.attn2", "attn2.norm_"),
            )
        },
    },
    "WanTransformer3DModel": {
        "blocks.#.modulation": "blocks.#.scale_shift_table",
        "head.modulation": "scale_shift_table",
    },
    "LTXVideoTransformer3DModel": {
        f"transformer_blocks.#.{place}.{one}_norm.weight": f"transformer_blocks.#.{place}.norm_{one}.weight"
        for place in ("attn1", "attn2")
        for one in "qk"
    },
}
"""Weights that are in no layer which a LoRA changes."""
SANA = {
    "x_embedder.proj": "patch_embed.proj", "t_embedder.mlp.0": "time_embed.emb.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "time_embed.emb.timestep_embedder.linear_2", "t_block.1": "time_embed.linear",
    "y_embedder.y_proj.fc1": "caption_projection.linear_1",
    "y_embedder.y_proj.fc2": "caption_projection.linear_2",
    "attention_y_norm": "caption_norm", "blocks.#.attn.qkv": "transformer_blocks.#.attn1.(to_q to_k to_v)",
    "blocks.#.attn.proj": "transformer_blocks.#.attn1.to_out.0",
    "blocks.#.cross_attn.q_linear": "transformer_blocks.#.attn2.to_q",
    "blocks.#.cross_attn.kv_linear": "transformer_blocks.#.attn2.(to_k to_v)",
    "blocks.#.cross_attn.proj": "transformer_blocks.#.attn2.to_out.0",
    "blocks.#.mlp.inverted_conv.conv": "transformer_blocks.#.ff.conv_inverted",
    "blocks.#.mlp.depth_conv.conv": "transformer_blocks.#.ff.conv_depth",
    "blocks.#.mlp.point_conv.conv": "transformer_blocks.#.ff.conv_point",
    "final_layer.linear": "proj_out",
}  # fmt: skip


def first_named(model: Model) -> Tensors:
    """A model's denoiser as its first authors saved it."""
    return renamed(model.part(model.layout.denoiser))


def renamed(module: torch.nn.Module) -> Tensors:
    kind = type(module).__name__
    state = {name: value.detach() for name, value in module.state_dict().items()}
    found: Tensors = {}
    for theirs, place in places(kind, [name for name, _ in module.named_modules()]).items():
        if ".processor." in theirs:
            continue
        for ending in ("weight", "bias"):
            rows = [state.pop(f"{one}.{ending}") for one in place.layers if f"{one}.{ending}" in state]
            if rows:
                whole = torch.cat(rows)
                found[f"{theirs}.{ending}"] = whole.roll(len(whole) // 2, 0) if place.swapped else whole
    if kind == "SanaTransformer2DModel":
        found |= _sana(state)
    for theirs, ours in OTHERS.get(kind, {}).items():
        pattern = re.escape(ours).replace(r"\#", r"(\d+)")
        for name in list(state):
            match = re.fullmatch(pattern, name)
            if match:
                found[theirs.replace("#", match[1]) if match.groups() else theirs] = state.pop(name)
    return found | state


def _sana(state: Tensors) -> Tensors:
    found = {"pos_embed": torch.zeros(1), "y_embedder.y_embedding": torch.zeros(1)}
    for number in ("0", "1", "2", "3"):
        for theirs, text in SANA.items():
            head, _, several = text.replace("#", number).partition("(")
            ours = [head + one for one in several.removesuffix(")").split()] or [head]
            for ending in ("weight", "bias"):
                rows = [state.pop(f"{one}.{ending}") for one in ours if f"{one}.{ending}" in state]
                if rows:
                    found[f"{theirs.replace('#', number)}.{ending}"] = torch.cat(rows)
        if f"transformer_blocks.{number}.scale_shift_table" in state:
            found[f"blocks.{number}.scale_shift_table"] = state.pop(
                f"transformer_blocks.{number}.scale_shift_table"
            )
    found["final_layer.scale_shift_table"] = state.pop("scale_shift_table")
    return found


def save(state: Tensors, path: Path, prefix: str = "") -> Path:
    save_file({prefix + name: value.contiguous().clone() for name, value in state.items()}, str(path))
    return path
