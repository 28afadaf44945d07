"""FLUX.1."""

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

T5_TOKENS = 512


class Flux(DenoiserKind):
    """A transformer of double and single streams on 2x2 patches, guidance distilled into it.

    Packing into patches and the positions belong to the graph; timesteps come
    as the scheduler counts them, 1000 to 0.
    """

    classes = ("FluxTransformer2DModel",)
    title = "transformer"
    size = 1024
    steps, guidance = 28, 3.5
    embedded_guidance = True
    blocks = Blocks(
        ("transformer_blocks", "single_transformer_blocks"), ("num_layers", "num_single_layers"),
        modulation="joint", joint=True,
    )  # fmt: skip

    def objection(self, model: Model) -> str | None:
        config = self.config(model)
        if int(config.get("out_channels") or config["in_channels"]) != int(config["in_channels"]):
            return f"is not a text-to-image one ({config['in_channels']} channels in)"
        if len(model.text_parts) < 2:
            return "needs a CLIP and a T5 encoder (text_encoder and text_encoder_2)"
        return None

    def channels(self, model: Model) -> int:
        return int(self.config(model)["in_channels"]) // 4

    def alignment(self, model: Model) -> int:
        del model
        return 2

    def texts(self, model: Model) -> tuple[TextUse, ...]:
        # schnell, without guidance, was trained on shorter texts, but its pipeline makes as many tokens.
        return (
            TextUse("text_encoder", embeddings=False, pooled=True),
            TextUse("text_encoder_2", length=T5_TOKENS),
        )

    def conditions(self, model: Model, latent: Latent) -> tuple[Condition, ...]:
        config = self.config(model)
        shape = (T5_TOKENS, int(config["joint_attention_dim"]))
        found = [
            Condition("embeddings", shape, (("text_encoder_2.embeddings",),)),
            Condition("pooled", (int(config["pooled_projection_dim"]),), (("text_encoder.pooled",),)),
        ]
        if config.get("guidance_embeds"):
            found.append(Condition("guidance", (), (("guidance",),)))
        return tuple(found)

    def scheduler(self, model: Model, latent: Latent) -> Config:
        tokens = (latent[-2] // 2) * (latent[-1] // 2)
        return {"linear_sigmas": True, **dynamic_shift(model.scheduler_config, tokens)}

    def settings(self, model: Model, latent: Latent) -> dict[str, Any]:
        return {"embedded_guidance": True}

    def constants(self, network: Any, model: Model, latent: Latent) -> dict[str, torch.Tensor]:
        import torch

        rows, columns = latent[-2] // 2, latent[-1] // 2
        ids = torch.zeros(rows, columns, 3)
        ids[..., 1] += torch.arange(rows)[:, None]
        ids[..., 2] += torch.arange(columns)[None]
        return {"image_ids": ids.reshape(-1, 3), "text_ids": torch.zeros(T5_TOKENS, 3)}

    def run(self, network: Any, given: Tensors, latent: Latent) -> torch.Tensor:
        channels, height, width = latent
        sample = given["sample"]
        packed = sample.reshape(-1, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
        found: torch.Tensor = network(
            hidden_states=packed.reshape(-1, (height // 2) * (width // 2), channels * 4),
            timestep=given["timestep"] / 1000,
            guidance=given.get("guidance"),
            pooled_projections=given["pooled"],
            encoder_hidden_states=given["embeddings"],
            txt_ids=given["text_ids"],
            img_ids=given["image_ids"],
            return_dict=False,
        )[0]
        found = found.reshape(-1, height // 2, width // 2, channels, 2, 2).permute(0, 3, 1, 4, 2, 5)
        return found.reshape(-1, channels, height, width)
