"""Transformers that draw videos: LTX-Video and Wan."""

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

LTX_TOKENS = 128
WAN_TOKENS = 512
RATE = 25
"""Frames per second that LTX-Video's positions are made for, its pipeline's default."""


class Ltx(DenoiserKind):
    """LTX-Video (HaCohen et al., arXiv 2501.00103); packing and positions belong to the graph."""

    classes = ("LTXVideoTransformer3DModel",)
    title = "video transformer"
    frames = 161
    steps, guidance = 50, 3.0
    blocks = Blocks()

    def texts(self, model: Model) -> tuple[TextUse, ...]:
        return (TextUse(model.text_parts[0], length=LTX_TOKENS),)

    def conditions(self, model: Model, latent: Latent) -> tuple[Condition, ...]:
        name = model.text_parts[0]
        width = int(self.config(model)["caption_channels"])
        return (
            Condition("embeddings", (LTX_TOKENS, width), ((f"{name}.embeddings",),)),
            Condition("mask", (LTX_TOKENS,), ((f"{name}.mask",),), dtype="int64"),
        )

    def scheduler(self, model: Model, latent: Latent) -> Config:
        tokens = latent[1] * latent[2] * latent[3]
        return {"linear_sigmas": True, **dynamic_shift(model.scheduler_config, tokens)}

    def channels(self, model: Model) -> int:
        config = self.config(model)
        patch = int(config.get("patch_size", 1)) ** 2 * int(config.get("patch_size_t", 1))
        return int(config["in_channels"]) // patch

    def constants(self, network: Any, model: Model, latent: Latent) -> dict[str, torch.Tensor]:
        import torch

        ratio = model.decoder_kind.frames(model.layout.parts["vae"].config, 2) - 1
        return {"steps": torch.tensor([ratio / RATE, float(model.scale), float(model.scale)])}

    def run(self, network: Any, given: Tensors, latent: Latent) -> torch.Tensor:
        channels, frames, height, width = latent
        patch, time = int(network.config.patch_size), int(network.config.patch_size_t)
        rows, columns, moments = height // patch, width // patch, frames // time
        packed = given["sample"].reshape(-1, channels, moments, time, rows, patch, columns, patch)
        packed = packed.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4, 7).flatten(1, 3)
        steps = given["steps"]
        found: torch.Tensor = network(
            hidden_states=packed,
            encoder_hidden_states=given["embeddings"],
            timestep=given["timestep"],
            encoder_attention_mask=given["mask"],
            num_frames=frames,
            height=height,
            width=width,
            rope_interpolation_scale=(steps[0], steps[1], steps[2]),
            return_dict=False,
        )[0]
        found = found.reshape(-1, moments, rows, columns, channels, time, patch, patch)
        return found.permute(0, 4, 1, 5, 2, 6, 3, 7).flatten(6, 7).flatten(4, 5).flatten(2, 3)


class Wan(DenoiserKind):
    """Wan 2.1 text-to-video (arXiv 2503.20314)."""

    classes = ("WanTransformer3DModel",)
    title = "video transformer"
    size = 480
    frames = 81
    steps, guidance = 50, 5.0
    blocks = Blocks(("blocks",))

    def objection(self, model: Model) -> str | None:
        if self.config(model).get("image_dim") is not None:
            return "also takes a picture's embedding (image_dim)"
        if model.layout.index.get("boundary_ratio") is not None or model.layout.index.get("expand_timesteps"):
            return "is one of two for different noise levels (Wan 2.2)"
        return None

    def _patch(self, model: Model) -> tuple[int, int]:
        """Frames and pixels of the latent in one token, along time and one side."""
        found = self.config(model).get("patch_size") or (1, 2, 2)
        return int(found[0]), int(found[1])

    def alignment(self, model: Model) -> int:
        return self._patch(model)[1]

    def patches(self, model: Model, latent: Latent) -> int:
        moments, side = self._patch(model)
        return (latent[1] // moments) * (latent[2] // side) * (latent[3] // side)

    def texts(self, model: Model) -> tuple[TextUse, ...]:
        use = TextUse(model.text_parts[0], length=WAN_TOKENS, masked=True, blank=True, clean="spaces")
        return (use,)

    def conditions(self, model: Model, latent: Latent) -> tuple[Condition, ...]:
        parts = ((f"{model.text_parts[0]}.embeddings",),)
        return (Condition("embeddings", (WAN_TOKENS, int(self.config(model)["text_dim"])), parts),)

    def run(self, network: Any, given: Tensors, latent: Latent) -> torch.Tensor:
        found: torch.Tensor = network(
            hidden_states=given["sample"],
            timestep=given["timestep"],
            encoder_hidden_states=given["embeddings"],
            return_dict=False,
        )[0]
        return found
