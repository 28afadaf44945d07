"""Decode one picture at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Technique, register


@register
@dataclass(frozen=True)
class VaeSlicing(Technique):
    """The decoder is called once for each picture of a batch (diffusers)."""

    name = "vae-slicing"
    title = "VAE slicing"
    summary = "Decode the pictures of a batch one after the other, in the memory that one takes."
    order = 73
    export = "host-loop"

    def explain(self) -> str:
        return "Pictures drawn together are decoded one by one, which needs less memory at once."

    def label(self) -> str:
        return "decode singly"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, loop=replace(plan.loop, decode_singly=True))
