"""Whole or half floats on a device that computes in halves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from engines.backends.serves import SERVES
from engines.plan import Plan
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
class Precision(Technique):
    """Say what denoiser and decoder compute in, where the device's own choice is fp16."""

    format: Literal["fp32", "fp16"] = "fp32"

    name = "precision"
    title = "Precision"
    summary = "Compute the denoiser and the decoder in whole floats where the device would take halves."
    order = 99
    export = "weights"
    parameters = (
        Parameter("format", "choice", "fp32", "What numbers are computed in.", choices=("fp32", "fp16")),
    )

    def explain(self) -> str:
        if self.format == "fp16":
            return "Denoiser and decoder compute in fp16, as they do without saying so on this device."
        return "Denoiser and decoder compute in fp32: nothing overflows, in twice the memory and more time."

    def label(self) -> str:
        return self.format

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, precision=self.format)

    def applies(self, card: Card, target: Target) -> str | None:
        """Refused where no engine of the device has the format; the words are the plain engine's."""
        from engines.backends import backend

        if unmet := super().applies(card, target):
            return unmet
        device = device_of(target)
        reasons = [backend(engine).objection(self.format, device) for engine in SERVES[device]]
        return f"{self.format} is not to be had on {device}: {reasons[0]}." if all(reasons) else None

    def objection(self, plan: Plan) -> str | None:
        return super().objection(plan) or precision_objection(self.format, plan)
