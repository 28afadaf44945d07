"""Hunyuan-DiT."""

# ruff: noqa: ARG002 - every kind answers the same questions, not every one needs all that it is told

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engines.hostloop.settings import Condition
from engines.models.kinds.base import DenoiserKind, Latent, Tensors, TextUse
from engines.models.kinds.blocks import Blocks

if TYPE_CHECKING:
    import torch

    from engines.models.model import Model


class HunyuanDiT(DenoiserKind):
    """A diffusion transformer told in Chinese by BERT and mT5 (Li et al., arXiv 2405.08748)."""

    classes = ("HunyuanDiT2DModel",)
    title = "transformer"
    size = 1024
    steps, guidance = 50, 5.0
    blocks = Blocks(("blocks",), modulation="norm", skips=True, crossed=True)

    def objection(self, model: Model) -> str | None:
        if len(model.text_parts) < 2:
            return "needs a BERT and a T5 encoder (text_encoder and text_encoder_2)"
        return None

    def _lengths(self, model: Model) -> tuple[int, int]:
        config = self.config(model)
        return int(config.get("text_len", 77)), int(config.get("text_len_t5", 256))

    def texts(self, model: Model) -> tuple[TextUse, ...]:
        return tuple(
            TextUse(name, length=length, masked=True)
            for name, length in zip(("text_encoder", "text_encoder_2"), self._lengths(model), strict=True)
        )

    def conditions(self, model: Model, latent: Latent) -> tuple[Condition, ...]:
        config = self.config(model)
        first, second = self._lengths(model)
        found = [
            Condition(
                "embeddings", (first, int(config["cross_attention_dim"])), (("text_encoder.embeddings",),)
            ),
            Condition("mask", (first,), (("text_encoder.mask",),), dtype="int64"),
            Condition(
                "embeddings_2",
                (second, int(config["cross_attention_dim_t5"])),
                (("text_encoder_2.embeddings",),),
            ),
            Condition("mask_2", (second,), (("text_encoder_2.mask",),), dtype="int64"),
        ]
        if config.get("use_style_cond_and_image_meta_size", True):
            height, width = (float(side * model.scale) for side in latent[-2:])
            # The pipeline's original size is 1024 whatever is drawn.
            sizes = (1024.0, 1024.0, height, width, 0.0, 0.0)
            found += [
                Condition("time_ids", (6,), values=sizes),
                Condition("style", (), values=(0.0,), dtype="int64"),
            ]
        return tuple(found)

    def constants(self, network: Any, model: Model, latent: Latent) -> dict[str, torch.Tensor]:
        from diffusers.models.embeddings import get_2d_rotary_pos_embed

        patch = int(network.config.patch_size)
        rows, columns = latent[-2] // patch, latent[-1] // patch
        base = 512 // 8 // patch
        cosine, sine = get_2d_rotary_pos_embed(
            network.inner_dim // network.num_heads,
            _crop(rows, columns, base),
            (rows, columns),
            output_type="pt",
        )
        return {"rotary_cosine": cosine, "rotary_sine": sine}

    def run(self, network: Any, given: Tensors, latent: Latent) -> torch.Tensor:
        found: torch.Tensor = network(
            given["sample"],
            given["timestep"].to(given["sample"].dtype),
            encoder_hidden_states=given["embeddings"],
            text_embedding_mask=given["mask"],
            encoder_hidden_states_t5=given["embeddings_2"],
            text_embedding_mask_t5=given["mask_2"],
            image_meta_size=given.get("time_ids"),
            style=given.get("style"),
            image_rotary_emb=(given["rotary_cosine"], given["rotary_sine"]),
            return_dict=False,
        )[0]
        return found[:, : latent[0]]


def _crop(rows: int, columns: int, base: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The part of a base x base grid that has the picture's shape, as Hunyuan's pipeline cuts it."""
    if rows / columns > 1:
        height, width = base, round(base / rows * columns)
    else:
        height, width = round(base / columns * rows), base
    top, left = round((base - height) / 2.0), round((base - width) / 2.0)
    return (top, left), (top + height, left + width)
