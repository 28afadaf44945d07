"""Mending what rules can mend: the debugger that needs no key.

It reads why a candidate failed, takes the blame apart by what the evidence
names, and changes as little of the recipe as helps: another precision, another
engine, less memory at a time, or without the technique that could not be
captured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from agent.candidate import Candidate, Proposal, Recipe, Verdict
from agent.errors import RecipeError
from agent.evolution.space import key
from agent.planner.context import Coder, Context, Repair
from agent.planner.structures import make_room
from agent.planner.wishes import heeded
from agent.planner.words import engine_name, title_of

Change = tuple[Recipe, str]

_MEMORY: Final = re.compile(
    r"out of memory|MemoryError|bad_alloc|cannot allocate|memory limit|OOM|too much memory", re.IGNORECASE
)
_BF16: Final = re.compile(r"bf16|bfloat16", re.IGNORECASE)
_INT8: Final = re.compile(r"int8|quanti[sz]|calibrat|nncf", re.IGNORECASE)
_BLANK: Final = re.compile(r"\bnan\b|not finite|black|blank|solid colou?r|one colou?r", re.IGNORECASE)
_PRECISIONS: Final = frozenset({"bf16", "fp32", "int8", "fp8", "weight-bits", "svdquant"})
_CAPTURE: Final = re.compile(r"captur|torch\.export|export", re.IGNORECASE)
_SLOW: Final = re.compile(r"time limit|timed out|timeout|too long|did not finish", re.IGNORECASE)
_ENGINE_WORDS: Final = {
    "openvino": re.compile(r"openvino", re.IGNORECASE),
    "onnxruntime": re.compile(r"onnx", re.IGNORECASE),
    "compile": re.compile(r"inductor|dynamo|torch\.compile|cpp_builder|C\+\+ compiler", re.IGNORECASE),
}
_ENGINE_ORDER: Final = ("openvino", "onnxruntime", "compile", "torch")
_GRAPH: Final = (
    "feature-cache", "token-merging", "fused-qkv", "threshold-cache", "attention-gate", "feature-forecast",
    "teacache", "magcache", "dbcache", "progressive-resolution", "pruning", "svdquant", "channels-last",
    "student",
)  # fmt: skip
"""Techniques that change the captured graph or weights."""


class RuleDebugger:
    """Repairs by rules, one change at a time; None where no rule applies or its result was tried before."""

    def __init__(self, coder: Coder) -> None:
        self._coder = coder

    def repair(self, candidate: Candidate, verdict: Verdict, context: Context) -> Repair | None:
        if verdict.state != "failed" or verdict.stopped:  # a recipe is not broken by losing much
            return None
        try:
            recipe = context.space.canonical(candidate.proposal.recipe)
        except RecipeError:
            return None
        context, tried = heeded(context), context.tried()
        for changed, why in _changes(recipe, verdict, context):
            if changed and key(changed) not in tried and not context.check(changed):
                text = f"{candidate.id} failed: {_reason(verdict)} {why}"
                proposal = Proposal(changed, text, "refined", (candidate.id,))
                return Repair(changed, self._coder.write(proposal, context), text)
        return None


def _reason(verdict: Verdict) -> str:
    text = " ".join((verdict.reason or "it broke").split())
    return text if text.endswith(".") else f"{text}."


def _changes(recipe: Recipe, verdict: Verdict, context: Context) -> Iterator[Change]:
    """Changes in the order in which they are worth trying."""
    said = f"{verdict.reason}\n{verdict.evidence}"
    names = {step.technique for step in recipe}
    space = context.space

    def without(name: str) -> Recipe:
        return tuple(step for step in recipe if step.technique != name)

    def with_one(name: str, base: Recipe = recipe) -> Recipe | None:
        if not space.has(name):
            return None
        return make_room(space, base, space.step(name), lambda found: not context.check(found))

    if _MEMORY.search(said):
        if context.guided and not names & {"sequential-guidance", "student"}:
            smaller = with_one("sequential-guidance")
            if smaller is not None:
                yield (
                    smaller,
                    "The two halves of guidance now run one after the other, which needs half the memory.",
                )
        if "tiny-decoder" not in names:
            smaller = with_one("tiny-decoder")
            if smaller is not None:
                yield smaller, "The tiny decoder needs a fraction of the decoder's memory."
    if "int8" in names and (_INT8.search(said) or _BLANK.search(said)):
        lower = with_one("bf16", without("int8"))
        if lower is not None and not _BF16.search(said):
            yield lower, "It now runs in bf16 instead of int8."
        yield without("int8"), "It now runs without int8."
    if "bf16" in names and (_BF16.search(said) or _BLANK.search(said)):
        wide = with_one("fp32", without("bf16"))
        yield wide or without("bf16"), "It now runs in fp32 instead of bf16."
    if _BLANK.search(said) and space.has("fp32") and not names & _PRECISIONS:
        # The device's plain precision is a half, whose range ends at 65504.
        for wider, why in (("bf16", "bf16, whose range is that of fp32"), ("fp32", "fp32")):
            changed = with_one(wider)
            if changed is not None:
                yield changed, f"Denoiser and decoder now run in {why}, instead of fp16."
    for name in _GRAPH:
        if name in names and re.search(re.escape(name).replace(r"\-", "[-_ ]?"), said, re.IGNORECASE):
            yield without(name), f"It now runs without {title_of(name)}."
    yield from _other_engines(recipe, said, verdict, context)
    if _CAPTURE.search(said):
        for name in _GRAPH[:3]:
            if name in names:
                yield (
                    without(name),
                    f"It now runs without {title_of(name)}, which changes the captured graph.",
                )


def _other_engines(recipe: Recipe, said: str, verdict: Verdict, context: Context) -> Iterator[Change]:
    engine = next((step for step in recipe if step.technique == "engine"), None)
    if engine is None:
        return
    backend = str(engine.parameters.get("backend"))
    blamed = _ENGINE_WORDS.get(backend)
    named = blamed is not None and blamed.search(said) is not None
    if not (named or verdict.stage == "build" or _SLOW.search(said)):
        return
    rest = tuple(step for step in recipe if step.technique != "engine")
    for other in _ENGINE_ORDER[_ENGINE_ORDER.index(backend) + 1 if backend in _ENGINE_ORDER else 0 :]:
        try:
            changed = context.space.canonical((*rest, context.space.step("engine", backend=other)))
        except RecipeError:
            continue
        yield changed, f"It now runs on {engine_name(other)} instead of {engine_name(backend)}."
