"""Remove the inner channels that matter least."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.models.inside import channels_going, groups_going
from engines.plan import Plan
from engines.techniques.base import Card, Parameter, Target, Technique, denoiser_of, register


@register
@dataclass(frozen=True)
class Pruning(Technique):
    """Structured pruning by magnitude, without training after it.

    In residual blocks whole norm groups between their two convolutions, in
    feed-forwards single channels: nothing outside a block changes its shape.
    The share is part of the graph, so a few choices instead of a range.
    """

    share: float = 0.125

    name = "pruning"
    title = "Structured pruning"
    summary = "Remove the inner channels of residual blocks and feed-forwards that weigh least."
    order = 12
    export = "weights"
    parameters = (
        Parameter(
            "share", "choice", 0.125, "Share of the inner channels that goes.", choices=(0.0625, 0.125, 0.25)
        ),
    )

    def explain(self) -> str:
        return (
            f"{self.share:.0%} of the channels inside residual blocks and feed-forwards, those with the "
            "smallest weights, are removed; nothing is trained afterwards."
        )

    def label(self) -> str:
        return f"pruned {self.share:.1%}"

    def applies(self, card: Card, target: Target) -> str | None:
        found = denoiser_of(card)
        if reason := super().applies(card, target):
            return reason
        if found is None or not (found.groups or found.inner):
            return None
        if groups_going(found.groups, self.share) or channels_going(found.inner, self.share):
            return None
        return (
            f"The denoiser is too narrow for {self.share:.1%}: its feed-forwards have {found.inner} inner "
            "channels, which go by eight; choose a larger share or leave pruning out."
        )

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, denoiser=replace(plan.denoiser, pruned=self.share))
