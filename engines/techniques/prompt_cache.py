"""Keep the embeddings of prompts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.plan import Plan
from engines.techniques.base import Technique, register


@register
@dataclass(frozen=True)
class PromptCache(Technique):
    """Encode a text once; the negative prompt is the one that always comes again."""

    name = "prompt-cache"
    title = "Prompt cache"
    summary = "Keep the embeddings of texts seen before, the negative prompt first of all."
    order = 80
    export = "host-loop"

    def explain(self) -> str:
        return "Texts that were encoded before, the negative prompt among them, are not encoded again."

    def label(self) -> str:
        return "prompt cache"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, loop=replace(plan.loop, prompt_cache=True))
