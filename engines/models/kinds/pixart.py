"""PixArt-alpha and PixArt-Sigma."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engines.hostloop.settings import Condition
from engines.models.kinds.base import DenoiserKind, Latent, Tensors, TextUse
from engines.models.kinds.blocks import Blocks

if TYPE_CHECKING:
    import torch

    from engines.models.model import Model


class PixArt(DenoiserKind):
    """A diffusion transformer with cross-attention (Chen et al., arXiv 2310.00426 and 2403.04692)."""

    classes = ("PixArtTransformer2DModel",)
    title = "transformer"
    steps, guidance = 20, 4.5
    blocks = Blocks(timestep="timestep", crossed=True)

    def texts(self, model: Model) -> tuple[TextUse, ...]:
        length = 120 if model.layout.pipeline == "PixArtAlphaPipeline" else 300
        return (TextUse(model.text_parts[0], length=length, masked=True, clean="lower"),)

    def _micro(self, model: Model) -> bool:
        """Whether the transformer is told size and shape of the picture."""
        config = self.config(model)
        wanted = config.get("use_additional_conditions")
        return bool(config.get("sample_size") == 128 if wanted is None else wanted)

    def conditions(self, model: Model, latent: Latent) -> tuple[Condition, ...]:
        (use,) = self.texts(model)
        assert use.length is not None
        width = model.text_kind(use.part).width(model.layout.parts[use.part].config)
        found = [
            Condition("embeddings", (use.length, width), ((f"{use.part}.embeddings",),)),
            Condition("mask", (use.length,), ((f"{use.part}.mask",),), dtype="int64"),
        ]
        if self._micro(model):
            height, wide = (float(side * model.scale) for side in latent[-2:])
            found += [
                Condition("resolution", (2,), values=(height, wide)),
                Condition("aspect_ratio", (1,), values=(height / wide,)),
            ]
        return tuple(found)

    def run(self, network: Any, given: Tensors, latent: Latent) -> torch.Tensor:
        found: torch.Tensor = network(
            given["sample"],
            encoder_hidden_states=given["embeddings"],
            timestep=given["timestep"],
            added_cond_kwargs={
                "resolution": given.get("resolution"),
                "aspect_ratio": given.get("aspect_ratio"),
            },
            encoder_attention_mask=given["mask"],
            return_dict=False,
        )[0]
        return found[:, : latent[0]]
