"""Weights in few bits, arithmetic in the device's own."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.backends.serves import SERVES
from engines.plan import Plan, Precision
from engines.techniques.base import (
    Card,
    Parameter,
    Target,
    Technique,
    device_of,
    precision_objection,
    register,
)


@register
@dataclass(frozen=True)
class WeightBits(Technique):
    """Groups with a scale each (MLX, ONNX Runtime, OpenVINO), int8 or palettes (Core ML), int8 (torch)."""

    bits: int = 8

    name = "weight-bits"
    title = "Weights in few bits"
    summary = "Keep the weights of denoiser and decoder in 8, 6 or 4 bits; compute as before."
    order = 106
    export = "weights"
    parameters = (Parameter("bits", "choice", 8, "Bits of each weight.", choices=(8, 6, 4)),)

    @property
    def precision(self) -> Precision:
        wanted: dict[int, Precision] = {8: "w8", 6: "w6", 4: "w4"}
        return wanted[self.bits]

    def explain(self) -> str:
        return f"Weights are kept in {self.bits} bits and widened when they are used, which saves memory."

    def label(self) -> str:
        return f"{self.bits}-bit weights"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, precision=self.precision)

    def applies(self, card: Card, target: Target) -> str | None:
        if reason := super().applies(card, target):
            return reason
        from engines.backends import backend

        device = device_of(target)
        reasons = [backend(name).objection(self.precision, device) for name in SERVES.get(device, ())]
        if not all(reasons):
            return None
        return f"Weights of {self.bits} bits are not to be had on {device}: {'; '.join(reasons)}."

    def objection(self, plan: Plan) -> str | None:
        return precision_objection(self.precision, plan)
