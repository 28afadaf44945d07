"""The debugger that asks a language model: evidence of a failure in, cause and repaired script out."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import Final

from agent.broken import is_broken
from agent.candidate import Candidate, Recipe, Verdict
from agent.coder import class_name
from agent.errors import RecipeError
from agent.evaluate.static import examine
from agent.llm import briefing
from agent.llm.briefing import Surroundings
from agent.llm.coder import attempts
from agent.llm.conversation import Conversation
from agent.llm.errors import LlmEnds, LlmError
from agent.llm.presets import Preset
from agent.llm.prompts import prompt
from agent.llm.tools import Submitted, read_script
from agent.planner.context import Context, Debugger, Repair
from agent.planner.llm import system_blocks, tools_for

ROUNDS: Final = 2
"""How often the model is asked for one repair."""


@dataclass
class LlmDebugger:
    """`fallback` repairs by rules where the service gives nothing of use; None: then there is no repair."""

    conversation: Conversation
    preset: Preset
    surroundings: Surroundings = field(default_factory=Surroundings)
    fallback: Debugger | None = None
    knowledge: bool = True

    def repair(self, candidate: Candidate, verdict: Verdict, context: Context) -> Repair | None:
        """None: it cannot be mended.

        Raises:
            LlmEnds: the budget is spent, the key refused, or the user gave up.
        """
        if not is_broken(candidate, verdict):
            return None
        before = attempts(context, candidate.proposal.parents)
        problem = ""
        try:
            for _ in range(ROUNDS):
                answer = self.conversation.ask(
                    "repair",
                    system_blocks(context, self.surroundings, knowledge=self.knowledge),
                    self._question(candidate, verdict, context, len(before), problem),
                    tools=tools_for(context),
                    prompts=(prompt("system").title, prompt("repair").title),
                    generation=context.generation,
                    candidate=context.candidate,
                )
                found, problem = read_script(answer)
                if found is not None and found.script.strip() == candidate.script.strip():
                    found, problem = None, "The script is the same as the one that failed."
                if found is not None:
                    return _repair(found, candidate, verdict, context)
        except LlmEnds:
            raise
        except LlmError as error:
            problem = str(error)
        return self._by_rules(candidate, verdict, context, problem)

    def _by_rules(
        self, candidate: Candidate, verdict: Verdict, context: Context, problem: str
    ) -> Repair | None:
        # The rules change recipes, and would lose what a script does beyond its recipe.
        able = self.fallback is not None and not candidate.proposal.code
        found = self.fallback.repair(candidate, verdict, context) if able and self.fallback else None
        then = "a rule repairs it instead" if found is not None else "it is left as it is"
        self.conversation.hearer.notice(
            "warning", f"No repair of {candidate.id} was had ({problem.rstrip('.')}); {then}."
        )
        return None if found is None else replace(found, by="rules")

    def _question(
        self, candidate: Candidate, verdict: Verdict, context: Context, done: int, problem: str
    ) -> str:
        earlier = briefing.repairs_text(attempts(context, candidate.proposal.parents), context)
        if problem:
            earlier += f"\n\nYour last answer could not be used: {problem}"
        return prompt("repair").fill(
            candidate=candidate.id,
            recipe=briefing.recipe_text(candidate.proposal.recipe),
            code=candidate.proposal.code or "nothing",
            stage=verdict.stage,
            reason=briefing.one_line(briefing.unprompted(verdict.reason, context)) or "none given",
            number=str(done % max(1, self.preset.repairs) + 1),
            most=str(self.preset.repairs),
            evidence=briefing.evidence(verdict, context),
            script=briefing.script(candidate.script),
            classes=", ".join(f"{axis.technique} is {_class(axis.technique)}" for axis in context.space.axes),
            attempts=earlier,
        )


def _class(technique: str) -> str:
    try:
        return class_name(technique)
    except RecipeError:
        return technique


def _repair(found: Submitted, candidate: Candidate, verdict: Verdict, context: Context) -> Repair:
    """The recipe is what the script says; one that the space does not know is left to the static stage."""
    recipe: Recipe = candidate.proposal.recipe
    written = examine(found.script).recipe
    if written is not None:
        with contextlib.suppress(RecipeError):
            recipe = context.space.canonical(written)
    script = found.script if found.script.endswith("\n") else f"{found.script}\n"
    cause = " ".join(found.cause.split()) or briefing.one_line(verdict.reason)
    change = " ".join(found.change.split())
    what = "failed" if verdict.state == "failed" else "is quarantined"
    why = f"{candidate.id} {what}: {cause.rstrip('.')}. {change}".strip()
    return Repair(recipe, script, why, candidate.proposal.code, "language")
