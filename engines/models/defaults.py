"""Steps and guidance where a model says nothing: its pipeline's in diffusers, or a distilled model's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from engines.models.model import Model


@dataclass(frozen=True, slots=True)
class Defaults:
    """How a model is meant to be run."""

    steps: int
    guidance: float


PIPELINES: Final = {
    "StableDiffusionPipeline": Defaults(50, 7.5),
    "StableDiffusionXLPipeline": Defaults(50, 5.0),
    "LatentConsistencyModelPipeline": Defaults(4, 8.5),
    "StableDiffusionUpscalePipeline": Defaults(75, 9.0),
    "TextToVideoSDPipeline": Defaults(50, 9.0),
    "AnimateDiffPipeline": Defaults(50, 7.5),
}
_FEW: Final = re.compile(r"turbo|lightning|hyper|schnell|lcm|dmd", re.IGNORECASE)


def of(model: Model) -> Defaults:
    """The defaults of a model: distilled ones by their saved scheduler, their guidance or their name."""
    kind = model.denoiser_kind
    usual = PIPELINES.get(model.layout.pipeline, Defaults(kind.steps, kind.guidance))
    scheduler = model.scheduler_config
    saved = scheduler.get("_class_name")
    named = bool(_FEW.search(Path(model.source).name))
    if kind.embedded_guidance:
        # FLUX: guidance is an input of dev and absent from schnell
        return usual if model.denoiser.config.get("guidance_embeds") else Defaults(4, 0.0)
    if saved == "LCMScheduler":
        embedded = model.denoiser.config.get("time_cond_proj_dim") is not None
        return Defaults(4, usual.guidance if embedded else 1.0)
    if saved == "EulerAncestralDiscreteScheduler" and scheduler.get("timestep_spacing") == "trailing":
        return Defaults(1, 0.0)
    trailing = scheduler.get("timestep_spacing") == "trailing" and not scheduler.get("rescale_betas_zero_snr")
    if named or (saved == "EulerDiscreteScheduler" and trailing):
        return Defaults(4, 0.0)
    return usual
