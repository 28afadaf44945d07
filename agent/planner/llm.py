"""The planner that asks a language model: structures and code by language.

One question a generation.  What it proposes is checked like anybody's: legal
for the model and the device, complete, not tried before; what is refused is
told to it once.  In *hybrid* the numbers inside each structure are the
Gaussian process's (`agent.evolution.numbers`), and the built-in planner fills
places for which no plan could be had.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from agent.candidate import By, Origin, Proposal, Recipe, Step
from agent.errors import RecipeError
from agent.evolution.front import Judged, elites, measured
from agent.evolution.numbers import START, Tuner
from agent.evolution.space import key
from agent.llm import briefing
from agent.llm.briefing import Surroundings
from agent.llm.conversation import Conversation
from agent.llm.errors import LlmEnds, LlmError
from agent.llm.presets import Preset, kept
from agent.llm.prompts import prompt
from agent.llm.service import Tool
from agent.llm.tools import SCRIPT_TOOL, Plan, plans_tool, read_plans
from agent.planner.context import Context, Planner

ROUNDS: Final = 2
"""How often the model is asked for one generation: once, and once more with what was refused."""
_SLICE: Final = 256
"""Recipes of one structure that the Gaussian process chooses among."""
_LONGEST_WHY: Final = 600


def system_blocks(context: Context, surroundings: Surroundings, *, knowledge: bool = True) -> tuple[str, str]:
    """What stays the same through a run, for the service's cache: rules and knowledge, model and target."""
    from agent.knowledge import summary

    known = summary() if knowledge else "Nothing beyond the list of techniques."
    return prompt("system").fill(knowledge=known), briefing.task(context, surroundings, knowledge=knowledge)


def tools_for(context: Context) -> tuple[Tool, ...]:
    """The same tools in every question, for the cache begins with them."""
    return plans_tool([axis.technique for axis in context.space.axes]), SCRIPT_TOOL


@dataclass
class LlmPlanner:
    """Plans a whole generation at a time.  `fallback` None: places without a plan stay empty."""

    conversation: Conversation
    preset: Preset
    surroundings: Surroundings = field(default_factory=Surroundings)
    fallback: Planner | None = None
    knowledge: bool = True
    at_once: int | None = None

    def propose(self, context: Context, count: int) -> list[Proposal]:
        """At most `count` proposals.

        Raises:
            LlmEnds: the budget is spent, the key refused, or the user gave up.
        """
        turn = _Turn(self, context)
        fills = self.preset.fills
        tuned = min(self.preset.tuned, count // 3) if context.generation > 1 else 0
        try:
            turn.ask(count - tuned)
        except LlmEnds:
            if not turn.accepted:
                raise
        except LlmError as error:
            then = "left out" if self.fallback is None else "the built-in planner's"
            self.conversation.hearer.notice("warning", f"{error} What is missing is {then}.")
            fills = fills or not turn.accepted
        turn.numbers(tuned)
        if len(turn.accepted) < count and fills and self.fallback is not None:
            turn.fill(self.fallback, count)
        return turn.accepted[:count]


@dataclass
class _Turn:
    """One generation's planning."""

    planner: LlmPlanner
    context: Context
    accepted: list[Proposal] = field(default_factory=list)

    def __post_init__(self) -> None:
        context = self.context
        self.tried = context.tried()
        self.coded = {
            (context_key(context, one.candidate.proposal.recipe), one.candidate.proposal.code)
            for one in context.history
            if one.candidate.proposal.code
        }
        draw = random.Random(f"{context.seed}/{context.generation}/{len(context.history)}")
        self.parents: Sequence[Judged] = kept(
            context.history, context.reference, context.tolerance, self.planner.preset, draw
        )
        self.plain = tuple(one for one in context.history if not one.candidate.proposal.code)
        """Verdicts that say something of their recipe: code beyond a recipe is not the recipe's doing."""

    # -- language ---------------------------------------------------------------------------------

    def ask(self, wanted: int) -> None:
        refused: list[str] = []
        for _ in range(ROUNDS):
            missing = wanted - len(self.accepted)
            if missing <= 0:
                return
            plans, problems = self._question(missing, refused)
            refused = problems
            for number, plan in enumerate(plans, 1):
                if len(self.accepted) >= wanted:
                    break
                why_not = self._take(plan)
                if why_not:
                    refused.append(f"Plan {number} ({_short(plan)}) was refused: {why_not}")
        if len(self.accepted) < wanted and refused:
            self.planner.conversation.hearer.notice(
                "info",
                f"{len(self.accepted)} of {wanted} plans could be used; refused: "
                + " ".join(refused)[:_LONGEST_WHY],
            )

    def _question(self, missing: int, refused: Sequence[str]) -> tuple[list[Plan], list[str]]:
        context, planner = self.context, self.planner
        preset = planner.preset
        refined = max(0, missing - preset.new) if context.generation > 1 and self.parents else 0
        numbers = (
            "Choose structures; give each number your best guess: a Gaussian process fitted to all verdicts "
            "tunes the numbers inside your structures."
            if preset.numbers == "mathematics"
            else "Choose structures and numbers; nobody tunes them after you."
        )
        text = prompt("plan").fill(
            generation=str(context.generation),
            generations=str(max(preset.generations, context.generation)),
            count=str(missing),
            refined=str(refined),
            new=str(missing - refined),
            numbers=numbers,
            profile=briefing.profile(context, planner.surroundings),
            table=briefing.table(context),
            parents=self._parents_text(),
            memory=briefing.memory(context),
            wishes=briefing.wishes(context),
            refused=_refused_text(refused, self.accepted),
        )
        answer = planner.conversation.ask(
            "plan",
            system_blocks(context, planner.surroundings, knowledge=planner.knowledge),
            text,
            tools=tools_for(context),
            prompts=(prompt("system").title, prompt("plan").title),
            generation=context.generation,
        )
        return read_plans(answer)

    def _parents_text(self) -> str:
        """Recipes of the parents, and the scripts of those with code of their own."""
        coded = [one.id for one in self.parents if one.candidate.proposal.code]
        names = ", ".join(one.id for one in self.parents) or "None yet."
        return names if not coded else f"{names}\n\n{briefing.parents(self.context, coded)}"

    def _take(self, plan: Plan) -> str:
        """Accept a plan, or say why not."""
        context = self.context
        try:
            recipe = context.space.canonical(
                tuple(Step(step.technique, dict(step.parameters)) for step in plan.recipe)
            )
        except RecipeError as error:
            return str(error)
        if reasons := context.check(recipe):
            return " ".join(reasons)
        code = " ".join(plan.code.split())
        parents = tuple(
            name
            for name in dict.fromkeys(plan.parents)
            if (one := context.judged(name)) is not None and one.verdict.state == "passed"
        )
        if plan.kind != "new" and not parents:
            return "none of its parents is a candidate that passed."
        if code:
            if (key(recipe), code) in self.coded:
                return "the same code was tried before."
        else:
            recipe = self._settle(recipe)
            if not recipe:
                return "it is the unchanged model."
            if key(recipe) in self.tried:
                return "the same recipe was tried before or stands in this list."
        origin: Origin = "seed" if context.generation <= 1 else "new" if plan.kind == "new" else "refined"
        self._accept(recipe, _why(plan, context), origin, () if plan.kind == "new" else parents, code)
        return ""

    def _accept(
        self,
        recipe: Recipe,
        why: str,
        origin: Origin,
        parents: tuple[str, ...],
        code: str = "",
        by: By = "language",
    ) -> None:
        if code:
            self.coded.add((key(recipe), code))
        else:
            self.tried.add(key(recipe))
        self.accepted.append(Proposal(recipe, why, origin, parents, code, by))

    # -- mathematics ------------------------------------------------------------------------------

    def _settle(self, recipe: Recipe) -> Recipe:
        """In *hybrid*, the numbers that promise most inside the structure, once enough is measured."""
        if self.planner.preset.numbers != "mathematics" or len(measured(self.plain)) < START:
            return recipe
        pool = self._pool(recipe)
        return self._tuner().choose(pool) if pool else recipe

    def _pool(self, recipe: Recipe) -> list[Recipe]:
        context = self.context
        return [
            other
            for other in context.space.slice(recipe, _SLICE)
            if key(other) not in self.tried and not context.check(other)
        ]

    def _tuner(self) -> Tuner:
        context = self.context
        tuner = Tuner(
            context.space, self.plain, context.reference, context.tolerance, context.seed + context.generation
        )
        for one in self.accepted:
            if not one.code and one.recipe:
                tuner.wait_for(one.recipe)
        return tuner

    def numbers(self, count: int) -> None:
        """Of the elites' structures, the numbers from which the front should gain most."""
        if len(measured(self.plain)) < START:
            return
        there = elites(self.plain, self.context.reference)
        for parent in there[:count]:
            recipe = self.context.space.canonical(parent.candidate.proposal.recipe)
            pool = self._pool(recipe)
            if not pool:
                continue
            chosen = self._tuner().choose(pool)
            why = (
                f"Numbers of {parent.id} ({briefing.numbers(parent.verdict, self.context)}): from "
                f"{len(measured(self.plain))} verdicts the Gaussian process hopes for most here."
            )
            self._accept(chosen, why, "refined", (parent.id,), by="mathematics")

    def fill(self, fallback: Planner, count: int) -> None:
        """Places for which there is no plan, by another planner."""
        missing = count - len(self.accepted)
        found = fallback.propose(replace(self.context, history=self.plain), missing * 2)
        taken = 0
        for one in found:
            if len(self.accepted) >= count:
                break
            if key(one.recipe) not in self.tried:
                self._accept(one.recipe, one.why, one.origin, one.parents, by="built-in")
                taken += 1
        if taken:
            self.planner.conversation.hearer.notice(
                "info", f"{taken} of {count} candidates are the built-in planner's: no plan was had for them."
            )


def context_key(context: Context, recipe: Recipe) -> str:
    try:
        return context.space.key(recipe)
    except RecipeError:
        return key(recipe)


def _why(plan: Plan, context: Context) -> str:
    hopes = []
    if plan.speedup is not None and plan.speedup > 0:
        hopes.append(f"{plan.speedup:.3g}x")
    if plan.loss is not None:
        hopes.append(f"a loss of {context.loss_text(max(0.0, plan.loss))}")
    text = " ".join(plan.why.split())[:_LONGEST_WHY] or "No reason was given."
    return f"{text} Expected: {' at '.join(hopes)}." if hopes else text


def _short(plan: Plan) -> str:
    names = " + ".join(step.technique for step in plan.recipe)
    return " + ".join(filter(None, (names, "code" if plan.code else ""))) or "nothing"


def _refused_text(refused: Sequence[str], accepted: Sequence[Proposal]) -> str:
    if not refused:
        return ""
    kept = "; ".join(briefing.recipe_text(one.recipe) for one in accepted) or "none"
    problems = "\n".join(f"- {briefing.one_line(one)}" for one in refused)
    return f"# Your last answer\n\nAccepted: {kept}.\nNot usable:\n{problems}\n\nGive others in their place."
