"""The agents of the benchmark: built-in, one answer of a language model, and the closed loop with one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

from agent.bench.score import judge_task
from agent.bench.tasks import Task
from agent.broken import is_broken
from agent.candidate import Candidate, Proposal, Recipe, Verdict
from agent.coder import ScriptWriter, class_name
from agent.debugger import RuleDebugger
from agent.errors import RecipeError
from agent.evaluate.static import examine
from agent.evolution.front import Judged
from agent.llm import briefing
from agent.llm.briefing import Surroundings
from agent.llm.coder import LlmCoder
from agent.llm.conversation import Conversation
from agent.llm.debugger import LlmDebugger
from agent.llm.errors import BudgetSpent, LlmEnds, LlmError
from agent.llm.presets import HYBRID, PAPER, Preset
from agent.llm.prompts import prompt
from agent.llm.tools import read_script
from agent.loop import Listener, Settings, evolve
from agent.planner.builtin import BuiltinPlanner
from agent.planner.context import Coder, Context, Debugger, Planner
from agent.planner.llm import LlmPlanner, system_blocks, tools_for
from agent.planner.paper import PaperPlanner
from agent.planner.wishes import Wishes, excluding
from agent.together import JudgeLike

Part = Literal["knowledge", "genetic", "debugger", "loop"]
PARTS: Final[tuple[Part, ...]] = ("knowledge", "genetic", "debugger", "loop")
"""What can be left out to see what it is worth; `loop`: all that follows the first script's writing."""
Control = Callable[[], Literal["go", "pause", "stop"]]
OnNotice = Callable[[Literal["info", "warning", "error"], str], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent handed in; `verdict` None: nothing."""

    script: str
    verdict: Verdict | None
    evaluations: int

    @property
    def recipe(self) -> Recipe | None:
        """What the script says of itself."""
        return examine(self.script).recipe if self.script else None


@dataclass(frozen=True, slots=True)
class World:
    """Where tasks are solved: what is known of the model and the device, and who judges."""

    context: Context
    judge: JudgeLike
    generations: int = 4
    population: int = 7
    control: Control = lambda: "go"
    notice: OnNotice = lambda _level, _text: None
    """Told what a search has to say beside its candidates."""
    operators: tuple[tuple[str, float], ...] = ()
    """Where the denoiser's time goes, for a language model (`agent.llm.operators`)."""
    worded: bool = True
    """Whether an agent is told its task in words too."""

    def of(self, task: Task) -> Context:
        """The context of one task: its bound as tolerance, its exclusions as rules, nothing tried yet."""
        context = replace(self.context, history=(), memory=(), notes=(task.text,) if self.worded else ())
        if task.loss is not None:
            context = replace(context, tolerance=task.loss)
        ruled_out = Wishes(without=frozenset(task.without))
        return replace(context, check=excluding(context.check, ruled_out, "The task"))


class Solver(Protocol):
    """One agent."""

    def solve(self, task: Task, world: World) -> Answer: ...


def _candidate(task: Task, script: str, number: int = 1, parents: tuple[str, ...] = ()) -> Candidate:
    """The recipe that is declared is what the script says, so that the judge holds it to that."""
    recipe = examine(script).recipe
    return Candidate(f"c{number:03}", 1, Proposal(recipe or (), task.text, "seed", parents), script)


def _judged(candidate: Candidate, world: World) -> Verdict:
    return world.judge.judge(candidate, lambda _stage, _message: None)


class _Watch(Listener):
    """Ends a search as soon as its task is fulfilled."""

    def __init__(self, task: Task, world: World) -> None:
        self._task, self._world = task, world
        self.met = False

    def judged(self, candidate: Candidate, verdict: Verdict) -> None:
        if candidate.proposal.origin != "baseline":
            recipe = examine(candidate.script).recipe
            self.met = self.met or not judge_task(self._task, verdict, recipe, None)[0]

    def notice(self, level: Literal["info", "warning", "error"], text: str) -> None:
        self._world.notice(level, f"{self._task.id}: {text}")

    def asked(self) -> Literal["go", "pause", "stop"]:
        return "stop" if self.met else self._world.control()


def _search(
    task: Task, world: World, planner: Planner, coder: Coder, debugger: Debugger | None, settings: Settings
) -> Answer:
    """Evolve until the task is fulfilled or the search is over; the answer that comes nearest.

    Raises:
        LlmEnds: it ended for want of the language model; that says nothing of the task.
    """
    watch = _Watch(task, world)
    outcome = evolve(
        world.of(task),
        world.judge,
        planner,
        coder,
        debugger,
        settings=settings,
        listener=watch,
        control=watch.asked,
    )
    if outcome.ending == "budget" and not watch.met:
        raise BudgetSpent(
            "The budget for the language model is used up in the middle of a task, which will be begun anew; "
            "run the same command again with a larger --llm-budget (it counts from the first task on)."
        )
    tried = [one for one in outcome.history if not one.is_baseline]

    def worth(one: Judged) -> tuple[bool, float]:
        failure, _, achieved = judge_task(task, one.verdict, examine(one.candidate.script).recipe, None)
        return not failure, achieved or 0.0

    best = max(tried, key=worth, default=None)
    if best is None:
        return Answer("", None, 0)
    return Answer(best.candidate.script, best.verdict, len(tried))


@dataclass
class BuiltIn:
    """The agent without a key: it reads a task's structured form and not its words."""

    without: frozenset[Part] = frozenset()
    preset: Preset = HYBRID

    def solve(self, task: Task, world: World) -> Answer:
        world = replace(world, worded=False)
        writer = ScriptWriter()
        once = "loop" in self.without
        debugger = None if once or "debugger" in self.without else RuleDebugger(writer)
        if task.level in ("L4", "L5"):
            generations = 1 if "genetic" in self.without else world.generations
            settings = Settings(1, 1) if once else Settings(generations, world.population)
            knowledge = "knowledge" not in self.without
            planner: Planner = BuiltinPlanner(knowledge=knowledge)
            if self.preset is PAPER:
                settings = replace(settings, replans=PAPER.replans)
                planner = PaperPlanner(knowledge=knowledge)
            return _search(task, world, planner, writer, debugger, settings)
        context = world.of(task)
        script = writer.write(Proposal(task.required, task.text, "seed"), context)
        return _mended(Answer(script, _judged(_candidate(task, script), world), 1), task, world, debugger, 3)


@dataclass
class Language:
    """A language model: `loops` False asks once and hands in what comes."""

    conversation: Conversation
    preset: Preset
    loops: bool
    surroundings: Surroundings
    without: frozenset[Part] = frozenset()

    def solve(self, task: Task, world: World) -> Answer:
        """Raises `LlmEnds` where the budget is spent, the key refused, or the user gave up."""
        knowledge = "knowledge" not in self.without
        talk, preset = self.conversation, self.preset
        around = replace(self.surroundings, operators=world.operators)
        debugger: Debugger | None = None
        if self.loops and "debugger" not in self.without:
            debugger = LlmDebugger(talk, preset, around, knowledge=knowledge)
        if self.loops and task.level in ("L4", "L5"):
            settings = Settings(
                1 if "genetic" in self.without else world.generations,
                world.population,
                repairs=preset.repairs,
                regenerations=preset.regenerations,
                replans=preset.replans,
            )
            planner = LlmPlanner(talk, preset, around, knowledge=knowledge)
            return _search(
                task, world, planner, LlmCoder(talk, preset, around, knowledge=knowledge), debugger, settings
            )
        try:
            script = self._ask(task, world.of(task), knowledge=knowledge)
        except LlmEnds:
            raise
        except LlmError:
            script = ""
        if not script:
            return Answer("", None, 0)
        first = Answer(script, _judged(_candidate(task, script), world), 1)
        return _mended(first, task, world, debugger, preset.repairs)

    def _ask(self, task: Task, context: Context, *, knowledge: bool) -> str:
        writer = ScriptWriter()
        example = Proposal(context.space.all_options[:1], "An example.", "seed")
        answer = self.conversation.ask(
            "code",
            system_blocks(context, self.surroundings, knowledge=knowledge),
            prompt("bench").fill(
                task=task.text,
                example=briefing.script(writer.write(example, context)),
                classes=", ".join(_class(axis.technique) for axis in context.space.axes),
            ),
            tools=tools_for(context),
            prompts=(prompt("system").title, prompt("bench").title),
            generation=1,
            candidate="c001",
        )
        found, _ = read_script(answer)
        return "" if found is None else found.script


def _class(technique: str) -> str:
    try:
        return f"{technique} is {class_name(technique)}"
    except RecipeError:
        return technique


def _mended(answer: Answer, task: Task, world: World, debugger: Debugger | None, most: int) -> Answer:
    """Up to `most` repairs of a script that is broken."""
    history: list[Judged] = []
    for number in range(2, most + 2):
        if debugger is None or answer.verdict is None:
            break
        parents = (history[-1].id,) if history else ()
        failed = _candidate(task, answer.script, number - 1, parents)
        if not is_broken(failed, answer.verdict):
            break
        history.append(Judged(failed, answer.verdict))
        context = replace(world.of(task), history=tuple(history), candidate=f"c{number:03}")
        repair = debugger.repair(failed, answer.verdict, context)
        if repair is None:
            break
        again = _candidate(task, repair.script, number, (failed.id,))
        answer = Answer(repair.script, _judged(again, world), answer.evaluations + 1)
    return answer
