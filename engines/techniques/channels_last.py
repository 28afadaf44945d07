"""Memory layout with the channels innermost."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Technique, register


@register
@dataclass(frozen=True)
class ChannelsLast(Technique):
    """Keep pictures and weights as (batch, height, width, channels), which convolutions of torch prefer."""

    name = "channels-last"
    title = "Channels last"
    summary = "Lay out convolutions' data with the channels innermost."
    order = 95
    export = "kernel"

    def explain(self) -> str:
        return "Weights and activations of convolutions are laid out with their channels innermost."

    def label(self) -> str:
        return "channels last"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, channels_last=True)
