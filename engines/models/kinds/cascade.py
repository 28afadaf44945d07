"""Stable Cascade: a prior that draws a small latent, and a diffusion decoder that is told it."""

# ruff: noqa: ARG002 - every kind answers the same questions, not every one needs all that it is told

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from engines.hostloop.settings import Condition
from engines.models.kinds.base import DenoiserKind, DiffusionDecoderKind, Latent, Tensors, TextUse
from engines.models.kinds.blocks import PLAIN, Stages
from engines.plan import DenoiserStructure

if TYPE_CHECKING:
    import torch

    from engines.models.model import Model

TEXT: Final = "text_encoder"
PIXELS: Final = 42.67
"""For each position of the prior's latent, along one side (the pipelines' `resolution_multiple`)."""
FINER: Final = 10.67
"""Positions of the diffusion decoder's latent for each of the prior's (`latent_dim_scale`)."""
WHOLE: Final = 128
"""Pixels along one side that are a whole number of positions of both latents: 3 and 32."""


class CascadePrior(DenoiserKind):
    """Stage C (Pernias et al., Würstchen, arXiv 2306.00637): text to a latent of 24 x 24 for 1024 pixels."""

    classes = ("StableCascadeUNet",)
    title = "prior"
    size = 1024
    steps, guidance = 20, 4.0
    cacheable = True

    def objection(self, model: Model) -> str | None:
        config = self.config(model)
        for key in ("clip_text_in_channels", "clip_image_in_channels"):
            if config.get(key) is None:
                return f"is not told texts as a prior is ({key} is not set)"
        return None

    def alignment(self, model: Model) -> int:
        return WHOLE // model.scale

    def fits(self, model: Model, latent: Latent) -> bool:
        return True  # what halving cuts off is stretched back

    def latent(self, model: Model, side: int, frames: int) -> Latent:
        places = math.ceil(side * model.scale / PIXELS)
        return (self.channels(model), places, places)

    def texts(self, model: Model) -> tuple[TextUse, ...]:
        layers = int(model.layout.parts[TEXT].config["num_hidden_layers"])
        return (TextUse(TEXT, layer=layers, pooled=True, masked=True),)

    def conditions(self, model: Model, latent: Latent) -> tuple[Condition, ...]:
        width = int(self.config(model)["clip_text_in_channels"])
        parts = ((f"{TEXT}.embeddings",),)
        return (Condition("embeddings", (model.token_length, width), parts), _pooled(self.config(model)))

    def stages(self, model: Model, latent: Latent, wanted: DenoiserStructure = PLAIN) -> Stages | None:
        config = self.config(model)
        widths, halved = config["block_out_channels"], config.get("switch_level")
        if len(widths) < 2:
            return None
        state = (int(widths[0]), *latent[-2:])
        # of an odd side halving cuts off a row, which is stretched back only in the last level
        sides = [side // 2 * 2 if halved is None or halved[0] else side for side in latent[-2:]]
        return Stages({"state": state}, probe=state, feature=(state[0], *sides))

    def run(self, network: Any, given: Tensors, latent: Latent) -> torch.Tensor:
        pooled = given["pooled"].unsqueeze(1)
        # no picture is given as a prompt: its embedding is zeros, with guidance and without
        picture = pooled.new_zeros(pooled.shape[0], 1, int(network.config.clip_image_in_channels))
        _precise(network, given["sample"].dtype)
        found: torch.Tensor = network(
            given["sample"],
            given["timestep"] / 1000,
            clip_text_pooled=pooled,
            clip_text=given["embeddings"],
            clip_img=picture,
            return_dict=False,
        )[0]
        return found


class CascadeDecoder(DiffusionDecoderKind):
    """Stage B: the prior's latent to the latent of 256 x 256 that its vector-quantised decoder takes."""

    classes = ("StableCascadeUNet",)
    title = "diffusion decoder"

    def steps(self, steps: int) -> int:
        """Half of the prior's: its pipelines take 20 and 10."""
        return max(1, math.ceil(steps / 2))

    def latent(self, model: Model, latent: Latent) -> Latent:
        channels = int(model.layout.parts["diffusion_decoder"].config["in_channels"])
        return (channels, int(latent[-2] * FINER), int(latent[-1] * FINER))

    def conditions(self, model: Model, latent: Latent) -> tuple[Condition, ...]:
        config = model.layout.parts["diffusion_decoder"].config
        return (_pooled(config), Condition("latent", latent, (("denoiser.latent",),)))

    def run(self, network: Any, given: Tensors) -> torch.Tensor:
        _precise(network, given["sample"].dtype)
        found: torch.Tensor = network(
            given["sample"],
            given["timestep"] / 1000,
            clip_text_pooled=given["pooled"].unsqueeze(1),
            effnet=given["latent"],
            return_dict=False,
        )[0]
        return found


def _pooled(config: Any) -> Condition:
    width = int(config.get("clip_text_pooled_in_channels", 1280))
    return Condition("pooled", (width,), ((f"{TEXT}.pooled",),))


def _precise(network: Any, dtype: torch.dtype) -> None:
    """Embed times in float32, also where the weights are halved: ten thousandths of the way count."""
    plain = type(network).get_timestep_ratio_embedding

    def embedding(ratio: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = plain(network, ratio).to(dtype)
        return found

    network.get_timestep_ratio_embedding = embedding
