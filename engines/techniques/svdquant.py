"""Weights in 4 bits beside a low-rank branch that holds what 4 bits lose most of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from engines.backends.serves import SERVES
from engines.plan import Backend, Plan, Precision
from engines.techniques.base import (
    Card,
    Parameter,
    Target,
    Technique,
    device_of,
    precision_objection,
    register,
)

ENGINES: Final[tuple[Backend, ...]] = ("torch", "onnxruntime", "openvino", "mlx")
"""Those that are told which weights to leave as they are."""


@register
@dataclass(frozen=True)
class SVDQuant(Technique):
    """The weight side of SVDQuant (Li et al. 2024, arXiv 2411.05007).

    Activations stay in 16 or 32 bits, so it saves memory and seldom time; the
    kernels that multiply 4 bits by 4 bits (Nunchaku) are not part of it.
    """

    bits: int = 4
    rank: int = 32

    name = "svdquant"
    title = "SVDQuant, weights alone"
    summary = "Keep the denoiser's products in 4 bits beside a low-rank branch in full; compute as before."
    order = 107
    export = "weights"
    parameters = (
        Parameter("bits", "choice", 4, "Bits of each weight of the residual.", choices=(4, 8)),
        Parameter("rank", "choice", 32, "Rank of the branch that is not rounded.", choices=(16, 32, 64, 128)),
    )

    @property
    def precision(self) -> Precision:
        return "w4" if self.bits == 4 else "w8"

    def explain(self) -> str:
        return (
            f"A branch of rank {self.rank} stays in full beside each matrix product, and what is left of its "
            f"weights is kept in {self.bits} bits; activations are not rounded, so it saves memory."
        )

    def label(self) -> str:
        return f"SVDQuant {self.bits}, rank {self.rank}"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, precision=self.precision, denoiser=replace(plan.denoiser, low_rank=self.rank))

    def applies(self, card: Card, target: Target) -> str | None:
        if reason := super().applies(card, target):
            return reason
        from engines.backends import backend

        device = device_of(target)
        able = [name for name in SERVES.get(device, ()) if name in ENGINES]
        reasons = [backend(name).objection(self.precision, device) for name in able]
        if not able:
            reasons = ["its engine cannot be told which weights to leave as they are; use weight-bits"]
        if not all(reasons):
            return None
        return f"Weights of {self.bits} bits are not to be had on {device}: {'; '.join(reasons)}."

    def objection(self, plan: Plan) -> str | None:
        return super().objection(plan) or precision_objection(self.precision, plan)
