"""A tiny autoencoder decodes in place of the model's own."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Technique, register


@register
@dataclass(frozen=True)
class TinyDecoder(Technique):
    """TAESD: a small convolutional decoder trained for the same latents."""

    name = "tiny-decoder"
    title = "Tiny decoder"
    summary = "Decode with the tiny autoencoder that was trained for the same latents."
    order = 70
    export = "weights"

    def explain(self) -> str:
        return "The tiny autoencoder decodes the latent at a fraction of the work; fine detail may change."

    def label(self) -> str:
        return "tiny decoder"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, decoder="tiny")
