"""The closed loop on the arithmetic judge: order, repair, budget, pause, stop, going on."""

import random
from dataclasses import replace
from typing import Any

import pytest

from agent.candidate import Candidate, Interval, Proposal, Recipe, Verdict
from agent.coder import title
from agent.debugger import RuleDebugger
from agent.errors import BaselineError
from agent.evolution.space import key
from agent.loop import Listener, Outcome, Settings, evolve
from agent.planner.builtin import BuiltinPlanner
from agent.planner.structures import Fits, at_random


class Writer:
    def write(self, proposal: Proposal, context: Any) -> str:
        return f"# {title(proposal.recipe)}"

    def baseline(self, context: Any) -> str:
        return "# baseline"

    def title(self, recipe: Recipe) -> str:
        return title(recipe)


class RandomPlanner:
    """Legal recipes at random, none twice."""

    at_once = None

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def propose(self, context: Any, count: int) -> list[Proposal]:
        tried, found = context.tried(), []
        for recipe in at_random(context.space, self.random, Fits(context.check, context.space)):
            if key(recipe) not in tried:
                tried.add(key(recipe))
                found.append(Proposal(recipe, "Drawn at random.", "new"))
            if len(found) == count:
                break
        return found


class Notes(Listener):
    """Everything that was told, as words."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    def baseline_measured(self, verdict: Verdict, reference: tuple[float, float]) -> None:
        self.said.append(("baseline", reference))

    def generation_started(self, generation: int, planned: int) -> None:
        self.said.append(("generation", generation, planned))

    def proposed(self, candidate: Candidate, title: str) -> None:
        self.said.append(("proposed", candidate.id, title))

    def stage(self, name: str, stage: Any, message: str) -> None:
        self.said.append(("stage", name, stage))

    def judged(self, candidate: Candidate, verdict: Verdict) -> None:
        self.said.append(("judged", candidate.id, verdict.state))

    def front_updated(
        self, generation: int, ids: tuple[str, ...], knee: str | None, hypervolume: float
    ) -> None:
        self.said.append(("front", hypervolume))

    def progress(self, done: int, total: int, doing: str, seconds: tuple[float, float] | None) -> None:
        self.said.append(("progress", done, total))

    def paused(self) -> None:
        self.said.append(("paused",))

    def resumed(self) -> None:
        self.said.append(("resumed",))

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [words for words in self.said if words[0] == kind]


def run(world: Any, planner: Any, *, judge: Any = None, **rest: Any) -> Outcome:
    context = rest.pop("context", world.context)
    return evolve(context, judge or world.judge(), planner, Writer(), RuleDebugger(Writer()), **rest)


SHORT = Settings(generations=2, population=4)


def test_a_run_tells_everything_in_order(world: Any) -> None:
    notes = Notes()
    outcome = run(world, RandomPlanner(1), settings=SHORT, listener=notes)
    assert notes.said[0][0] == "baseline"
    assert notes.said[1][:2] == ("proposed", "c000")
    assert notes.said[2][:2] == ("judged", "c000")
    assert [words[1:] for words in notes.of("generation")] == [(1, 4), (2, 4)]
    assert [words[1] for words in notes.of("judged")] == [f"c{n:03}" for n in range(9)]
    assert notes.of("progress")[-1] == ("progress", 8, 8)
    volumes = [words[1] for words in notes.of("front")]
    assert volumes == sorted(volumes)
    assert outcome.ending == "done"
    assert outcome.hypervolume == volumes[-1]


def test_the_reference_point_is_fixed_when_the_run_starts(world: Any) -> None:
    notes = Notes()
    outcome = run(world, RandomPlanner(1), settings=SHORT, listener=notes)
    (said,) = notes.of("baseline")
    assert said[1] == outcome.reference
    assert outcome.reference[0] == pytest.approx(1.1 * outcome.history[0].seconds)
    assert outcome.reference[1] == 0.5


def test_a_failed_candidate_is_repaired_as_a_candidate_of_its_own(world: Any) -> None:
    judge = world.judge(broken={"bf16": Verdict("failed", "build", reason="This processor has no bf16.")})
    recipe = world.space.canonical((world.step("bf16"), world.step("engine", {"backend": "openvino"})))

    class One:
        at_once = None

        def propose(self, context: Any, count: int) -> list[Proposal]:
            return [] if context.planned(1) else [Proposal(recipe, "Try.", "seed")]

    outcome = run(world, One(), judge=judge, settings=SHORT)
    failed, mended = outcome.history[1:]
    assert failed.verdict.state == "failed"
    assert mended.candidate.proposal.parents == (failed.id,)
    assert mended.verdict.state == "passed"
    assert world.space.structure(mended.candidate.proposal.recipe) == ("engine/openvino",)


def test_what_was_given_up_early_is_neither_mended_nor_ranked(world: Any) -> None:
    hopeless = Verdict(
        "failed", "smoke", "Stopped early.", latency=Interval(0.01, 0.01, 0.01),
        loss=Interval(0.9, 0.8, 1.0), stopped=True,
    )  # fmt: skip
    judge = world.judge(broken={"bf16": hopeless})
    recipe = world.space.canonical((world.step("bf16"), world.step("engine", {"backend": "openvino"})))

    class One:
        at_once = None

        def propose(self, context: Any, count: int) -> list[Proposal]:
            return [] if context.planned(1) else [Proposal(recipe, "Try.", "seed")]

    outcome = run(world, One(), judge=judge, settings=SHORT)
    assert [one.verdict.stopped for one in outcome.history] == [False, True]
    assert outcome.history[1].id not in outcome.front
    assert not outcome.history[1].is_measured


def test_an_idea_is_mended_at_most_three_times(world: Any) -> None:
    judge = world.judge(broken={"engine": Verdict("failed", "build", reason="The engine cannot be built.")})
    recipe = world.space.canonical((world.step("student"), world.step("engine", {"backend": "openvino"})))

    class One:
        at_once = None

        def propose(self, context: Any, count: int) -> list[Proposal]:
            return [] if context.planned(1) else [Proposal(recipe, "Try.", "seed")]

    outcome = run(world, One(), judge=judge, settings=SHORT)
    assert len(outcome.history) == 1 + 1 + 3
    assert outcome.history[-1].verdict.state == "passed"


def test_repairs_do_not_count_as_the_generation_s_candidates(world: Any) -> None:
    judge = world.judge(broken={"bf16": Verdict("failed", "build", reason="This processor has no bf16.")})
    notes = Notes()
    outcome = run(world, RandomPlanner(2), judge=judge, settings=Settings(2, 7), listener=notes)
    assert any(one.verdict.state == "failed" for one in outcome.history)
    assert len(outcome.history) > 15
    assert notes.of("progress")[-1] == ("progress", 14, 14)


class Clock:
    """Time that the judge moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def slow(world: Any, clock: Clock, seconds: float) -> Any:
    class Slow(world.judge):  # type: ignore[misc]
        def judge(self, candidate: Candidate, on_stage: Any) -> Verdict:
            clock.now += seconds
            verdict: Verdict = super().judge(candidate, on_stage)
            return verdict

    return Slow()


def test_the_budget_ends_the_run_before_it_is_overdrawn(world: Any) -> None:
    clock = Clock()
    outcome = run(
        world, RandomPlanner(1), judge=slow(world, clock, 10), settings=Settings(4, 7, budget=65), clock=clock
    )
    assert outcome.ending == "budget"
    assert len(outcome.history) == 1 + 6
    assert outcome.seconds == pytest.approx(60)


def test_seconds_spent_before_count_against_the_budget(world: Any) -> None:
    clock = Clock()
    settings = Settings(4, 7, budget=65)
    outcome = run(
        world, RandomPlanner(1), judge=slow(world, clock, 10), settings=settings, clock=clock, spent=40
    )
    assert len(outcome.history) == 1 + 2


def test_a_stop_ends_the_run_between_candidates(world: Any) -> None:
    notes = Notes()

    def control() -> Any:
        return "stop" if len(notes.of("judged")) >= 4 else "go"

    outcome = run(world, RandomPlanner(1), listener=notes, control=control)
    assert outcome.ending == "stopped"
    assert [one.id for one in outcome.history] == ["c000", "c001", "c002", "c003"]
    assert len(notes.of("proposed")) == len(notes.of("judged"))


def test_a_pause_waits_and_goes_on_and_costs_no_budget(world: Any) -> None:
    notes, clock = Notes(), Clock()
    looks: list[float] = []

    def control() -> Any:
        if len(notes.of("judged")) == 3 and len(looks) < 3:
            clock.now += 1000 if looks else 0
            looks.append(clock.now)
            return "pause"
        return "go"

    judge = slow(world, clock, 1)
    settings = Settings(1, 5, budget=60)
    outcome = run(
        world, RandomPlanner(1), judge=judge, settings=settings, listener=notes, control=control, clock=clock
    )
    assert outcome.ending == "done"
    assert [words[0] for words in notes.said if words[0] in ("paused", "resumed")] == ["paused", "resumed"]
    assert len(outcome.history) == 6


def test_a_run_goes_on_where_it_was_interrupted(world: Any) -> None:
    whole = run(world, BuiltinPlanner(), settings=Settings(2, 4))
    cut = replace(world.context, history=whole.history[:7])
    judge, notes = world.judge(), Notes()
    rest = run(world, BuiltinPlanner(), context=cut, judge=judge, settings=Settings(2, 4), listener=notes)
    assert [one.candidate for one in rest.history] == [one.candidate for one in whole.history]
    assert len(judge.asked) == 2
    assert [words[1] for words in notes.of("proposed")] == ["c007", "c008"]


def test_a_finished_run_that_is_continued_asks_the_judge_nothing(world: Any) -> None:
    whole = run(world, RandomPlanner(1), settings=SHORT)
    judge = world.judge()
    again = run(
        world,
        RandomPlanner(2),
        context=replace(world.context, history=whole.history),
        judge=judge,
        settings=SHORT,
    )
    assert judge.asked == []
    assert again.front == whole.front


def test_a_model_that_does_not_run_ends_with_a_sentence(world: Any) -> None:
    class Broken(world.judge):  # type: ignore[misc]
        def baseline(self) -> Verdict:
            return Verdict("failed", "smoke", reason="The model draws black pictures; download it again.")

    with pytest.raises(BaselineError, match="draws black pictures"):
        run(world, RandomPlanner(1), judge=Broken())


def test_the_outcome_names_winner_lossless_and_best_single(world: Any) -> None:
    outcome = run(world, BuiltinPlanner(), settings=Settings(3, 7))
    assert outcome.winner is not None
    assert outcome.lossless is not None
    assert outcome.best_single is not None
    best, near, single = (
        outcome.judged(name) for name in (outcome.winner, outcome.lossless, outcome.best_single)
    )
    assert best is not None
    assert near is not None
    assert single is not None
    assert best.loss <= 0.02
    assert near.verdict.metrics["psnr"].value >= 30
    assert near.verdict.speedup is not None
    assert near.verdict.speedup.value >= 2
    assert len(single.candidate.proposal.recipe) == 1
    assert best.seconds < 0.7 * single.seconds
    assert outcome.winner in outcome.to_certify
    assert outcome.winner in outcome.text


def test_the_built_in_planner_beats_random_at_28_evaluations(world: Any) -> None:
    """Hypervolume of the noise-free values; random: 8 seeds, planner: 3."""

    def volume(planner: Any, seed: int) -> float:
        context = replace(world.context, seed=seed)
        outcome = run(world, planner, context=context, judge=world.judge(seed=seed))
        assert len(outcome.history) == 29
        found: float = world.true_hypervolume(
            list(outcome.history), replace(context, reference=outcome.reference)
        )
        return found

    drawn = [volume(RandomPlanner(seed), seed) for seed in range(8)]
    planned = [volume(BuiltinPlanner(), seed) for seed in range(3)]
    assert min(planned) > max(drawn)
