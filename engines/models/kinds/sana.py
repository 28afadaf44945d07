"""Sana."""

# ruff: noqa: ARG002 - every kind answers the same questions, not every one needs all that it is told

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from engines.hostloop.settings import Condition
from engines.models.kinds.base import Config, DenoiserKind, Latent, Tensors, TextUse
from engines.models.kinds.blocks import Blocks
from engines.models.kinds.shift import dynamic_shift

if TYPE_CHECKING:
    import torch

    from engines.models.model import Model

TOKENS = 300


class Sana(DenoiserKind):
    """A linear-attention transformer on deeply compressed latents (Xie et al., arXiv 2410.10629)."""

    classes = ("SanaTransformer2DModel",)
    title = "transformer"
    size = 1024
    steps, guidance = 20, 4.5
    blocks = Blocks(timestep="timestep", crossed=True)

    def objection(self, model: Model) -> str | None:
        if self.config(model).get("guidance_embeds"):
            return "has its guidance built in for continuous-time consistency (Sana Sprint)"
        return None

    def _instruction(self, model: Model) -> str:
        """What Sana's pipeline puts before every prompt; the text is diffusers' own default."""
        import diffusers

        kind = getattr(diffusers, model.layout.pipeline, None)
        if kind is None:
            return ""
        parameter = inspect.signature(kind.__call__).parameters.get("complex_human_instruction")
        lines = parameter.default if parameter is not None else None
        return "\n".join(lines) if isinstance(lines, list | tuple) else ""

    def texts(self, model: Model) -> tuple[TextUse, ...]:
        name = model.text_parts[0]
        prefix = self._instruction(model)
        length = TOKENS
        if prefix:
            words = model.tokenizers[model.tokenizer_name(name)].encode(prefix, add_special_tokens=False)
            length = len(words.ids) + 1 + TOKENS - 2
        keep = TOKENS if prefix else 0
        return (TextUse(name, length=length, masked=True, clean="lower", prefix=prefix, keep=keep),)

    def conditions(self, model: Model, latent: Latent) -> tuple[Condition, ...]:
        name = model.text_parts[0]
        width = int(self.config(model)["caption_channels"])
        return (
            Condition("embeddings", (TOKENS, width), ((f"{name}.embeddings",),)),
            Condition("mask", (TOKENS,), ((f"{name}.mask",),), dtype="int64"),
        )

    def scheduler(self, model: Model, latent: Latent) -> Config:
        return dynamic_shift(model.scheduler_config, latent[-2] * latent[-1])

    def run(self, network: Any, given: Tensors, latent: Latent) -> torch.Tensor:
        scale = float(network.config.timestep_scale)
        found: torch.Tensor = network(
            given["sample"],
            encoder_hidden_states=given["embeddings"],
            encoder_attention_mask=given["mask"],
            timestep=given["timestep"] if scale == 1.0 else given["timestep"] * scale,
            return_dict=False,
        )[0]
        return found[:, : latent[0]]
