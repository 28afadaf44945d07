"""Which kernel computes attention in eager torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from engines.backends.torch_ways import HERE
from engines.plan import Attention, Plan
from engines.techniques.base import Card, Parameter, Target, Technique, device_of, register

TITLES: Final[dict[Attention, str]] = {
    "flash": "FlashAttention",
    "efficient": "memory-efficient attention",
    "cudnn": "cuDNN's attention",
    "math": "attention written out as matrix products",
}


@register
@dataclass(frozen=True)
class AttentionBackend(Technique):
    """One of the kernels behind `torch.nn.functional.scaled_dot_product_attention`, for the denoiser."""

    kernel: Attention = "math"

    name = "attention-backend"
    title = "Attention kernel"
    summary = "Compute the denoiser's attention with one of torch's kernels rather than the one it picks."
    order = 68
    export = "kernel"
    parameters = (Parameter("kernel", "choice", "math", "The kernel.", choices=tuple(TITLES)),)

    def explain(self) -> str:
        return f"The denoiser's attention is computed by {TITLES[self.kernel]}, whatever torch would pick."

    def label(self) -> str:
        return f"{self.kernel} attention"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, ways=replace(plan.ways, attention=self.kernel))

    def applies(self, card: Card, target: Target) -> str | None:
        device = device_of(target)
        if self.kernel not in HERE.get(device, (self.kernel,)):
            return f"torch has no {TITLES[self.kernel]} on {device}; choose one of {', '.join(HERE[device])}."
        return super().applies(card, target)
