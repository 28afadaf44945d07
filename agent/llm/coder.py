"""The coder that asks a language model for scripts that do more than a recipe can say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from agent.candidate import Proposal, Recipe
from agent.coder import ScriptWriter
from agent.evolution.front import Judged
from agent.llm import briefing
from agent.llm.briefing import Surroundings
from agent.llm.conversation import Conversation
from agent.llm.errors import LlmBroken
from agent.llm.presets import Preset
from agent.llm.prompts import prompt
from agent.llm.tools import read_script
from agent.planner.context import Context
from agent.planner.llm import system_blocks, tools_for

ROUNDS: Final = 2
"""How often the model is asked for one script before the proposal is dropped."""


@dataclass
class LlmCoder:
    """Writes what the preset leaves to the model; a recipe alone by the fixed script otherwise."""

    conversation: Conversation
    preset: Preset
    surroundings: Surroundings = field(default_factory=Surroundings)
    plain: ScriptWriter = field(default_factory=ScriptWriter)
    knowledge: bool = True

    def title(self, recipe: Recipe) -> str:
        return self.plain.title(recipe)

    def baseline(self, context: Context) -> str:
        return self.plain.baseline(context)

    def write(self, proposal: Proposal, context: Context) -> str:
        """The script of a proposal.

        Raises:
            RecipeError: an unknown technique.
            LlmError: the service gave no usable script.
        """
        start = self.plain.write(proposal, context)
        if not proposal.code and self.preset.writes != "always":
            return start
        problem = ""
        for _ in range(ROUNDS):
            answer = self.conversation.ask(
                "code",
                system_blocks(context, self.surroundings, knowledge=self.knowledge),
                self._question(proposal, context, start, problem),
                tools=tools_for(context),
                prompts=(prompt("system").title, prompt("code").title),
                generation=context.generation,
                candidate=context.candidate,
            )
            found, problem = read_script(answer)
            if found is not None:
                return found.script if found.script.endswith("\n") else f"{found.script}\n"
        raise LlmBroken(f"The language model gave no script ({problem.rstrip('.')}).")

    def _question(self, proposal: Proposal, context: Context, start: str, problem: str) -> str:
        failed = attempts(context, proposal.parents)
        parents = [
            name
            for name in proposal.parents
            if (one := context.judged(name)) is not None and one.verdict.state == "passed"
        ]
        notes = briefing.repairs_text(failed, context) if failed else ""
        if problem:
            notes += f"\n\nYour last answer could not be used: {problem}"
        return prompt("code").fill(
            candidate=context.candidate or "the candidate",
            recipe=briefing.recipe_text(proposal.recipe),
            code=proposal.code or "nothing",
            why=briefing.one_line(proposal.why),
            start=briefing.script(start),
            parents=briefing.parents(context, parents),
            attempts=f"Earlier attempts at the same plan failed:\n\n{notes}" if failed else notes.strip(),
        )


def attempts(context: Context, names: tuple[str, ...]) -> list[Judged]:
    """The chain of candidates that did not pass and that ends with one of `names`, oldest first."""
    found: list[Judged] = []
    waiting = list(names)
    while waiting:
        one = context.judged(waiting.pop())
        if one is not None and one.verdict.state != "passed" and one not in found:
            found.append(one)
            waiting += one.candidate.proposal.parents
    return found[::-1]
