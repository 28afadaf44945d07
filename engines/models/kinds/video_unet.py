"""U-Nets that draw videos: ModelScope's, AnimateDiff's and Stable Video Diffusion's."""

# ruff: noqa: ARG002 - every kind answers the same questions, not every one needs all that it is told

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engines.hostloop.settings import Condition, Picture
from engines.models.kinds.base import DenoiserKind, Latent, Tensors, TextUse

if TYPE_CHECKING:
    import torch

    from engines.models.model import Model


class TextToVideo(DenoiserKind):
    """ModelScope (Wang et al., arXiv 2308.06571) and AnimateDiff (Guo et al., arXiv 2307.04725)."""

    classes = ("UNet3DConditionModel", "UNetMotionModel")
    title = "video U-Net"
    cacheable = True
    frames = 16
    guidance = 7.5

    def objection(self, model: Model) -> str | None:
        config = self.config(model)
        for key in ("addition_embed_type", "encoder_hid_dim_type", "time_cond_proj_dim"):
            if config.get(key) is not None:
                return f"needs more inputs than a prompt ({key} {config[key]})"
        if config["in_channels"] != config["out_channels"]:
            return f"is not a text-to-video one ({config['in_channels']} channels in)"
        return None

    def alignment(self, model: Model) -> int:
        return 1 << (len(self.config(model)["block_out_channels"]) - 1)

    def texts(self, model: Model) -> tuple[TextUse, ...]:
        return (TextUse(model.text_parts[0]),)

    def conditions(self, model: Model, latent: Latent) -> tuple[Condition, ...]:
        parts = ((f"{model.text_parts[0]}.embeddings",),)
        return (Condition("embeddings", (model.token_length, model.embedding_width), parts),)

    def run(self, network: Any, given: Tensors, latent: Latent) -> torch.Tensor:
        embeddings = given["embeddings"]
        if type(network).__name__ == "UNetMotionModel":  # the other one repeats them for each frame itself
            embeddings = embeddings.repeat_interleave(latent[1], dim=0)
        found: torch.Tensor = network(given["sample"], given["timestep"], embeddings, return_dict=False)[0]
        return found


class ImageToVideo(DenoiserKind):
    """Stable Video Diffusion (Blattmann et al., arXiv 2311.15127).

    Frames per second, motion and the noise on the picture are its pipeline's
    defaults; guidance rises from 1 at the first frame.
    """

    classes = ("UNetSpatioTemporalConditionModel",)
    title = "video U-Net"
    cacheable = True
    frames = 25
    steps, guidance = 25, 3.0
    RATE, MOTION, NOISE = 7, 127, 0.02

    def channels(self, model: Model) -> int:
        return int(self.config(model)["out_channels"])

    def alignment(self, model: Model) -> int:
        return 1 << (len(self.config(model)["block_out_channels"]) - 1)

    def texts(self, model: Model) -> tuple[TextUse, ...]:
        del model
        return ()

    def conditions(self, model: Model, latent: Latent) -> tuple[Condition, ...]:
        width = self.config(model)["cross_attention_dim"]
        width = int(width[0] if isinstance(width, list | tuple) else width)
        sizes = (float(self.RATE - 1), float(self.MOTION), self.NOISE)
        picture = (("picture_encoder.latent",),)
        return (
            Condition("embeddings", (1, width), (("image_encoder.embeddings",),), unguided="zeros"),
            Condition("time_ids", (3,), values=sizes),
            Condition("picture", (latent[0], *latent[-2:]), picture, unguided="zeros"),
        )

    def settings(self, model: Model, latent: Latent) -> dict[str, Any]:
        size = (latent[-2] * model.scale, latent[-1] * model.scale)
        encoders = ("image_encoder", "picture_encoder")
        return {
            "picture": Picture(size, encoders, noisy=("picture_encoder",), noise=self.NOISE),
            "first_guidance": 1.0,
        }

    def run(self, network: Any, given: Tensors, latent: Latent) -> torch.Tensor:
        import torch

        sample = given["sample"].transpose(1, 2)
        picture = given["picture"].unsqueeze(1).expand(-1, sample.shape[1], -1, -1, -1)
        found: torch.Tensor = network(
            torch.cat([sample, picture], dim=2),
            given["timestep"],
            encoder_hidden_states=given["embeddings"],
            added_time_ids=given["time_ids"],
            return_dict=False,
        )[0]
        return found.transpose(1, 2)
