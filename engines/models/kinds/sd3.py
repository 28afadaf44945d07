"""Stable Diffusion 3 and 3.5."""

# ruff: noqa: ARG002 - every kind answers the same questions, not every one needs all that it is told

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engines.hostloop.settings import Condition
from engines.models.kinds.base import Config, DenoiserKind, Latent, Tensors, TextUse
from engines.models.kinds.blocks import Blocks
from engines.models.kinds.shift import dynamic_shift

if TYPE_CHECKING:
    import torch

    from engines.models.model import Model

T5_TOKENS = 256


class SD3(DenoiserKind):
    """The multimodal diffusion transformer (Esser et al., arXiv 2403.03206)."""

    classes = ("SD3Transformer2DModel",)
    title = "transformer"
    size = 1024
    steps, guidance = 28, 7.0
    blocks = Blocks(modulation="joint", joint=True)

    def objection(self, model: Model) -> str | None:
        clips = [name for name in model.text_parts if name in ("text_encoder", "text_encoder_2")]
        return None if len(clips) == 2 else "needs two CLIP encoders (text_encoder and text_encoder_2)"

    def texts(self, model: Model) -> tuple[TextUse, ...]:
        clips = tuple(TextUse(name, layer=-2, pooled=True) for name in ("text_encoder", "text_encoder_2"))
        if "text_encoder_3" not in model.text_parts:
            return clips
        return (*clips, TextUse("text_encoder_3", length=T5_TOKENS))

    def conditions(self, model: Model, latent: Latent) -> tuple[Condition, ...]:
        config = self.config(model)
        clips = (("text_encoder.embeddings", "text_encoder_2.embeddings"),)
        last = (("text_encoder_3.embeddings",),) if "text_encoder_3" in model.text_parts else ()
        shape = (model.token_length + T5_TOKENS, int(config["joint_attention_dim"]))
        pooled = (("text_encoder.pooled", "text_encoder_2.pooled"),)
        return (
            Condition("embeddings", shape, clips + last),
            Condition("pooled", (int(config["pooled_projection_dim"]),), pooled),
        )

    def scheduler(self, model: Model, latent: Latent) -> Config:
        patch = int(self.config(model)["patch_size"])
        tokens = (latent[-2] // patch) * (latent[-1] // patch)
        return dynamic_shift(model.scheduler_config, tokens, highest=1.16)

    def run(self, network: Any, given: Tensors, latent: Latent) -> torch.Tensor:
        found: torch.Tensor = network(
            hidden_states=given["sample"],
            timestep=given["timestep"],
            encoder_hidden_states=given["embeddings"],
            pooled_projections=given["pooled"],
            return_dict=False,
        )[0]
        return found
