"""Where the layers of the first authors' transformers are in diffusers' ones, for LoRAs that name them so.

As diffusers' converters of whole checkpoints have it (`diffusers.loaders.single_file_utils`).  Its functions
for LoRAs are not used: they count on the blocks and widths of FLUX.1, know no SD 3, and leave out without a
word what they do not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Place:
    """The layers that one layer of the first authors' is, its rows shared out among them in order."""

    layers: tuple[str, ...]
    swapped: bool = False
    """Its first half of rows is the layer's second: shift and scale change places."""


_FLUX: Final = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "double_blocks.#.img_mod.lin": "transformer_blocks.#.norm1.linear",
    "double_blocks.#.txt_mod.lin": "transformer_blocks.#.norm1_context.linear",
    "double_blocks.#.img_attn.qkv": "transformer_blocks.#.attn.(to_q to_k to_v)",
    "double_blocks.#.txt_attn.qkv": "transformer_blocks.#.attn.(add_q_proj add_k_proj add_v_proj)",
    "double_blocks.#.img_attn.proj": "transformer_blocks.#.attn.to_out.0",
    "double_blocks.#.txt_attn.proj": "transformer_blocks.#.attn.to_add_out",
    "double_blocks.#.img_mlp.0": "transformer_blocks.#.ff.net.0.proj",
    "double_blocks.#.img_mlp.2": "transformer_blocks.#.ff.net.2",
    "double_blocks.#.txt_mlp.0": "transformer_blocks.#.ff_context.net.0.proj",
    "double_blocks.#.txt_mlp.2": "transformer_blocks.#.ff_context.net.2",
    "single_blocks.#.modulation.lin": "single_transformer_blocks.#.norm.linear",
    "single_blocks.#.linear1": "single_transformer_blocks.#.(attn.to_q attn.to_k attn.to_v proj_mlp)",
    "single_blocks.#.linear2": "single_transformer_blocks.#.proj_out",
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "~norm_out.linear",
    # XLabs' trainer put its layers into the attention's processors
    "double_blocks.#.processor.qkv_lora1": "transformer_blocks.#.attn.(to_q to_k to_v)",
    "double_blocks.#.processor.qkv_lora2": "transformer_blocks.#.attn.(add_q_proj add_k_proj add_v_proj)",
    "double_blocks.#.processor.proj_lora1": "transformer_blocks.#.attn.to_out.0",
    "double_blocks.#.processor.proj_lora2": "transformer_blocks.#.attn.to_add_out",
    "single_blocks.#.processor.qkv_lora": "single_transformer_blocks.#.attn.(to_q to_k to_v)",
    "single_blocks.#.processor.proj_lora": "single_transformer_blocks.#.proj_out",
}
_SD3: Final = {
    "x_embedder.proj": "pos_embed.proj",
    "t_embedder.mlp.0": "time_text_embed.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2",
    "y_embedder.mlp.0": "time_text_embed.text_embedder.linear_1",
    "y_embedder.mlp.2": "time_text_embed.text_embedder.linear_2",
    "joint_blocks.#.x_block.adaLN_modulation.1": "transformer_blocks.#.norm1.linear",
    "joint_blocks.#.context_block.adaLN_modulation.1": "transformer_blocks.#.norm1_context.linear",
    "joint_blocks.#.x_block.attn.qkv": "transformer_blocks.#.attn.(to_q to_k to_v)",
    "joint_blocks.#.context_block.attn.qkv": "transformer_blocks.#.attn.(add_q_proj add_k_proj add_v_proj)",
    "joint_blocks.#.x_block.attn.proj": "transformer_blocks.#.attn.to_out.0",
    "joint_blocks.#.context_block.attn.proj": "transformer_blocks.#.attn.to_add_out",
    "joint_blocks.#.x_block.attn2.qkv": "transformer_blocks.#.attn2.(to_q to_k to_v)",
    "joint_blocks.#.x_block.attn2.proj": "transformer_blocks.#.attn2.to_out.0",
    "joint_blocks.#.x_block.mlp.fc1": "transformer_blocks.#.ff.net.0.proj",
    "joint_blocks.#.x_block.mlp.fc2": "transformer_blocks.#.ff.net.2",
    "joint_blocks.#.context_block.mlp.fc1": "transformer_blocks.#.ff_context.net.0.proj",
    "joint_blocks.#.context_block.mlp.fc2": "transformer_blocks.#.ff_context.net.2",
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "~norm_out.linear",
}
_WAN: Final = {
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "head.head": "proj_out",
    **{
        f"blocks.#.{theirs}.{short}": f"blocks.#.{ours}.{long}"
        for theirs, ours in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for short, long in (
            ("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0"),
            ("k_img", "add_k_proj"), ("v_img", "add_v_proj"), ("norm_q", "norm_q"), ("norm_k", "norm_k"),
        )
    },
    "blocks.#.norm3": "blocks.#.norm2",
    "blocks.#.ffn.0": "blocks.#.ffn.net.0.proj",
    "blocks.#.ffn.2": "blocks.#.ffn.net.2",
}  # fmt: skip
_LTX: Final = {
    "patchify_proj": "proj_in",
    "adaln_single.linear": "time_embed.linear",
    "adaln_single.emb.timestep_embedder.linear_1": "time_embed.emb.timestep_embedder.linear_1",
    "adaln_single.emb.timestep_embedder.linear_2": "time_embed.emb.timestep_embedder.linear_2",
}
_TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    "FluxTransformer2DModel": _FLUX,
    "SD3Transformer2DModel": _SD3,
    "WanTransformer3DModel": _WAN,
    "LTXVideoTransformer3DModel": _LTX,
}
"""By diffusers' class: the first authors' layer to diffusers', `#` for a number, `a.(b c)` for several in
turn, `~` where halves change places."""
BLOCKS: Final[Mapping[str, str]] = {
    "double_blocks": "FLUX",
    "joint_blocks": "Stable Diffusion 3",
    "single_transformer_blocks": "FLUX",
    "down_blocks": "UNet",
    "input_blocks": "UNet",
    "middle_block": "UNet",
    "output_blocks": "UNet",
    "blocks_0_self_attn": "Wan",
    "blocks.0.self_attn": "Wan",
}
"""What a layer's name betrays of the model that a LoRA was made for, as a model's family or its denoiser is
called."""


def places(kind: str, names: Iterable[str]) -> dict[str, Place]:
    """The first authors' layers of a denoiser by its class and its modules' names; empty where unknown."""
    known = set(names)
    numbers = sorted({part for name in known for part in name.split(".") if part.isdigit()}, key=int)
    found = {}
    for theirs, ours in _TABLES.get(kind, {}).items():
        for number in numbers if "#" in ours else [""]:
            place = _place(ours.replace("#", number))
            if set(place.layers) <= known:
                found[theirs.replace("#", number)] = place
    if kind == "SD3Transformer2DModel":
        last = max(int(name.split(".")[1]) for name in known if name.startswith("transformer_blocks."))
        name = f"joint_blocks.{last}.context_block.adaLN_modulation.1"
        # the last block only normalises its text, which diffusers does as at the end of the network
        found[name] = Place(found[name].layers, swapped=True)
    return found


def _place(text: str) -> Place:
    several = re.fullmatch(r"(.*\.)\((.*)\)", text)
    if several:
        return Place(tuple(several[1] + one for one in several[2].split()))
    return Place((text.removeprefix("~"),), swapped=text.startswith("~"))


def made_for(names: Iterable[str]) -> str:
    """The family that a LoRA's layers are of, as the end of a sentence; empty where they do not betray it."""
    return next((family for name in names for mark, family in BLOCKS.items() if mark in name), "")
