"""DiffBench: the generator, the targets, the scores and the agents, on the arithmetic judge."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.bench.forecast import Asking
from agent.bench.run import run
from agent.bench.score import Scored, by_difficulty, judge_task, rates
from agent.bench.solve import BuiltIn, Language, World
from agent.bench.targets import targets
from agent.bench.tasks import COUNTS, LEVELS, Task, generate, sample
from agent.bench.verdicts import KeptJudge, fingerprint, from_json, to_json
from agent.candidate import Candidate, Interval, Proposal, Recipe, Step, Verdict
from agent.coder import ScriptWriter
from agent.evaluate.static import differs
from agent.evolution.front import Judged
from agent.evolution.space import key
from agent.llm.briefing import Surroundings
from agent.llm.conversation import Conversation
from agent.llm.key import Secret
from agent.llm.presets import HYBRID
from agent.llm.service import Service
from agent.llm.spending import Budget, Rates, Spending
from agent.planner.structures import Fits, at_random
from tests.language_agent import plan
from tests.messages_service import MessagesService, Streamed

TOLERANCE = 0.02


@pytest.fixture
def found(world: Any) -> list[Judged]:
    """A search of sixty recipes drawn at random."""
    judge = world.judge()
    recipes: list[Recipe] = []
    for recipe in at_random(world.space, random.Random(4), Fits(world.context.check, world.space)):
        if recipe and key(recipe) not in {key(one) for one in recipes}:
            recipes.append(recipe)
        if len(recipes) == 60:
            break
    history = [Judged(Candidate("c000", 0, Proposal((), "", "baseline"), ""), judge.baseline())]
    for number, recipe in enumerate(recipes, 1):
        candidate = Candidate(f"c{number:03}", 1, Proposal(recipe, "", "seed"), "")
        history.append(Judged(candidate, judge.judge(candidate, lambda *_: None)))
    return history


def test_there_are_as_many_tasks_as_published_and_no_two_are_the_same(
    world: Any, found: list[Judged]
) -> None:
    tasks = generate(world.context, targets(found, TOLERANCE))
    assert Counter(one.level for one in tasks) == COUNTS
    assert len(tasks) == 604
    assert len({one.id for one in tasks}) == 604
    assert tasks == generate(world.context, targets(found, TOLERANCE))
    assert tasks != generate(world.context, targets(found, TOLERANCE), seed=1)
    for task in tasks:
        if task.required:
            assert world.context.check(task.required) == []
            assert world.space.canonical(task.required) == task.required
    assert {one.difficulty for one in tasks if one.level == "L4"} == {"easy", "medium", "hard"}


def test_without_targets_there_are_more_combinations_instead(world: Any) -> None:
    tasks = generate(world.context, [])
    assert Counter(one.level for one in tasks) == {"L1": 41, "L2": 116, "L3": 447}
    assert len({one.id for one in tasks}) == 604


def test_a_sample_keeps_the_levels_shares(world: Any, found: list[Judged]) -> None:
    tasks = generate(world.context, targets(found, TOLERANCE))
    drawn = sample(tasks, 60)
    assert len(drawn) == 60
    sizes = Counter(one.level for one in drawn)
    assert [sizes[level] for level in LEVELS] == [4, 12, 26, 9, 9]
    assert drawn == sample(tasks, 60)
    assert drawn != sample(tasks, 60, seed=1)
    assert sample(tasks, 9999) == tasks


def of_models(world: Any, found: list[Judged], *names: str) -> list[Task]:
    """Tasks of models that differ in their cards only; the last one was not searched."""
    tasks = []
    for name in names:
        card = replace(world.context.card, name=name, family=f"{name}-family")
        there = [] if name == names[-1] else targets(found, TOLERANCE)
        tasks += generate(replace(world.context, card=card), there)
    return tasks


def test_a_sample_of_any_size_is_spread_over_levels_and_models(world: Any, found: list[Judged]) -> None:
    tasks = of_models(world, found, "one", "two", "three")
    assert len({one.id for one in tasks}) == len(tasks) == 3 * 604
    for one in tasks[::97]:
        assert f"{one.model} ({one.model}-family)" in one.text
        assert f"-{one.model}-family-" in one.id
    for count in (1, 7, 15, 60, 301):
        drawn = sample(tasks, count)
        assert len({one.id for one in drawn}) == count
        by_model = Counter(one.model for one in drawn)
        # L4 and L5 are another model's: a model without targets has none of them.
        assert max(by_model[name] for name in ("one", "two")) - min(by_model["one"], by_model["two"]) <= 1
        for level in LEVELS:
            there = Counter(one.model for one in drawn if one.level == level)
            names = ("one", "two") if level in ("L4", "L5") else ("one", "two", "three")
            assert max(there[name] for name in names) - min(there[name] for name in names) <= 1
        share = count * Counter(one.level for one in tasks)["L3"] / len(tasks)
        assert abs(Counter(one.level for one in drawn)["L3"] - share) < 1
    assert sample(tasks, 60) != sample(tasks, 60, seed=1)
    assert sample(tasks, 9999) == tasks


def test_bounds_are_in_the_metric_that_the_model_has(world: Any, found: list[Judged]) -> None:
    fine = {one.loss for one in targets(found, TOLERANCE)}
    assert fine <= {0.01, 0.02, 0.03, 0.05, 0.08}
    there = targets(found, 0.1)
    assert {one.loss for one in there} <= {0.05, 0.1, 0.15, 0.25, 0.4}
    assert max(one.loss for one in there) > max(fine)
    aimed = [one for one in generate(replace(world.context, metric="haarpsi"), there) if one.level == "L4"]
    assert {one.metric for one in aimed} == {"haarpsi"}


def test_a_task_reads_as_a_sentence() -> None:
    plain = Task("L2", "Tiny", "unet", "cpu", (Step("fewer-steps", {"steps": 12}), Step("bf16")))
    assert plain.text == (
        "Write the inference script of Tiny (unet) on cpu sampled with fewer-steps(steps=12), accelerated "
        "with bf16."
    )
    aimed = Task("L4", "Tiny", "unet", "cpu", speedup=3.0, loss=0.02, metric="haarpsi", without=("int8",))
    assert aimed.text.endswith(
        "3.00 times as fast as the unchanged model, and a quality loss of at most 0.02 (haarpsi), without "
        "int8."
    )


def test_targets_are_what_the_search_reached_under_its_bounds(found: list[Judged]) -> None:
    there = targets(found, TOLERANCE)
    assert len(there) == 31
    by_name = {one.id: one for one in found}
    for target in there:
        best = by_name[target.found]
        assert best.loss <= target.loss
        assert best.verdict.speedup is not None
        assert best.verdict.speedup.value == pytest.approx(target.speedup, abs=1e-3)
        assert not {step.technique for step in best.candidate.proposal.recipe} & set(target.without)
    assert targets(found[:1], TOLERANCE) == []
    # Different candidates come first, each at its tightest bound.
    distinct = len({target.found for target in there})
    assert len({target.found for target in there[:distinct]}) == distinct


def verdict(speedup: float = 3.0, loss: float = 0.01, state: Any = "passed", stage: Any = "gate") -> Verdict:
    def around(value: float) -> Interval:
        return Interval(value, value, value)

    return Verdict(
        state, stage, "why", latency=around(1 / speedup), speedup=around(speedup), loss=around(loss)
    )


STUDENT: Recipe = (Step("student", {"steps": 4}),)
L2 = Task("L2", "Tiny", "unet", "cpu", STUDENT)
L4 = Task("L4", "Tiny", "unet", "cpu", speedup=4.0, loss=0.02, without=("int8",))
L5 = Task("L5", "Tiny", "unet", "cpu", seconds=0.25, loss=0.02)


@pytest.mark.parametrize(
    ("task", "given", "written", "reference", "failure", "achieved"),
    [
        (L2, verdict(), STUDENT, None, "", None),
        (L2, verdict(loss=0.2), STUDENT, 0.19, "", None),
        (L2, verdict(loss=0.3), STUDENT, 0.19, "absolute quality", None),
        (L2, verdict(), (Step("student", {"steps": 2}),), None, "key attribute", None),
        (L2, verdict(), None, None, "key attribute", None),
        (L2, verdict(state="failed", stage="build"), STUDENT, None, "compile", None),
        (L2, verdict(state="failed", stage="static"), None, None, "compile", None),
        (L2, verdict(state="failed", stage="gate"), STUDENT, None, "absolute quality", None),
        (L2, None, None, None, "no answer", None),
        (L4, verdict(speedup=4.0), STUDENT, None, "", 1.0),
        (L4, verdict(speedup=2.0), STUDENT, None, "relative speed", 0.5),
        (L4, verdict(speedup=9.0, loss=0.03), STUDENT, None, "relative quality", 0.0),
        (L4, verdict(speedup=9.0), (Step("int8"),), None, "key attribute", 0.0),
        (L4, None, None, None, "no answer", 0.0),
        (L5, verdict(speedup=4.0), STUDENT, None, "", 1.0),
        (L5, verdict(speedup=3.0), STUDENT, None, "relative speed", 0.75),
    ],
)
def test_each_failure_has_its_class(
    task: Task, given: Any, written: Any, reference: Any, failure: str, achieved: Any
) -> None:
    why, _, share = judge_task(task, given, written, reference)
    assert why == failure
    assert share == (pytest.approx(achieved) if achieved is not None else None)


def test_a_verdict_is_kept_and_the_same_script_is_judged_once(world: Any, tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"
    writer = ScriptWriter()
    proposal = Proposal(world.space.canonical(STUDENT), "One reason.", "seed")
    script = writer.write(proposal, world.context)
    other = writer.write(replace(proposal, why="Another reason."), world.context)
    assert script != other
    assert fingerprint(script) == fingerprint(other)
    judge = KeptJudge(world.judge(), file)
    first = judge.judge(Candidate("c001", 1, proposal, script), lambda *_: None)
    assert judge.judge(Candidate("c002", 1, proposal, other), lambda *_: None) == first
    assert judge.fresh == 1
    assert from_json(to_json(first)) == first
    file.write_text(file.read_text() + '{"script": "torn')
    again = KeptJudge(world.judge(seed=9), file)
    assert again.judge(Candidate("c001", 1, proposal, script), lambda *_: None) == first
    assert again.fresh == 0
    # A line that was cut short takes none of those that follow with it.
    plain = Candidate("c002", 1, replace(proposal, recipe=()), writer.baseline(world.context))
    again.judge(plain, lambda *_: None)
    reopened = KeptJudge(world.judge(seed=9), file)
    reopened.judge(plain, lambda *_: None)
    assert reopened.fresh == 0


def solved(world: Any, tasks: list[Task], solver: Any, **rest: Any) -> list[Any]:
    scored: list[Any] = []
    ended = run(tasks, solver, World(world.context, world.judge(**rest)), scored.append)
    assert ended == ""
    return scored


def test_the_built_in_agent_writes_what_is_asked_and_searches_for_what_is_aimed_at(
    world: Any, found: list[Judged]
) -> None:
    # The table's ranges are wider than the real techniques', which scripts are held to.
    everything = generate(world.context, targets(found, TOLERANCE))
    tasks = sample([one for one in everything if not differs(one.required, one.required)], 12)
    scored = solved(world, tasks, BuiltIn())
    rows = {row["level"]: row for row in rates(scored)}
    assert [(one.text, one.reason) for one in scored if one.level < "L4" and not one.passed] == []
    easy = [one for one in scored if one.difficulty == "easy"]
    assert easy
    assert all(one.passed for one in easy), [(one.text, one.reason) for one in easy]
    assert rows["all"]["tasks"] == 12
    # The search ends as soon as its task is fulfilled.
    assert min(one.evaluations for one in easy) < 28


def test_easy_and_hard_tasks_have_rates_of_their_own() -> None:
    def one(level: str, difficulty: str, achievement: float | None) -> Scored:
        return Scored(
            f"{level}-{difficulty}-{achievement}", level, difficulty, "", achievement in (None, 1.0), "", "",
            achievement, None, None, 3,
        )  # fmt: skip

    scored = [one("L2", "", None), one("L4", "easy", 1.0), one("L4", "hard", 0.5), one("L5", "hard", 1.0)]
    rows = {(row["difficulty"], row["level"]): row for row in by_difficulty(scored)}
    assert list(rows) == [("easy", "L4"), ("easy", "all"), ("hard", "L4"), ("hard", "L5"), ("hard", "all")]
    hard = rows["hard", "all"]
    assert (hard["tasks"], hard["passed"], hard["achievement_rate"]) == (2, 1, 0.75)
    assert by_difficulty(scored[:1]) == []


def test_a_search_by_a_language_model_is_told_where_the_denoisers_time_goes(world: Any) -> None:
    plans = {"plans": [plan(("student", {"steps": 4}))]}
    with MessagesService([Streamed([("propose_plans", plans)])]) as service:
        where = World(world.context, world.judge(), 1, 1, operators=(("aten::convolution", 0.61),))
        run([L4], language(service, loops=True), where, lambda _scored: None)
        asked = str(service.bodies[0]["messages"][0]["content"])
    assert "- aten::convolution: 61%" in asked


def test_without_its_genetic_part_the_search_is_one_generation(world: Any) -> None:
    unreachable = replace(L4, speedup=900.0)
    (one,) = solved(world, [unreachable], BuiltIn(frozenset({"genetic"})))
    assert one.evaluations == 7
    assert one.failure == "relative speed"
    assert 0 < one.achievement < 0.1


def test_without_the_loop_the_first_recipe_is_judged_once_and_never_repaired(world: Any) -> None:
    once = BuiltIn(frozenset({"loop"}))
    (one,) = solved(world, [replace(L4, speedup=900.0)], once)
    assert (one.evaluations, one.passed) == (1, False)
    broken = Verdict("failed", "build", "Out of memory.", "Traceback")
    (plain,) = solved(world, [L2], once, broken={"student": broken})
    assert (plain.evaluations, plain.failure) == (1, "compile")


def language(service: MessagesService, *, loops: bool, budget: Budget | None = None) -> Language:
    model = Service(service.url, Secret(""), "m", retries=0, first_wait=0.01)
    return Language(Conversation(model, Spending(None, budget or Budget())), HYBRID, loops, Surroundings())


def submitted(script: str) -> Streamed:
    return Streamed([("submit_script", {"change": "", "script": script})])


def test_one_shot_hands_in_what_comes_and_the_loop_repairs_it(world: Any) -> None:
    good = ScriptWriter().write(Proposal(world.space.canonical(STUDENT), "", "seed"), world.context)
    bad = good.replace("Student(steps=4)", "Student(steps=4), Int8()").replace(
        "import Student", "import Int8, Student"
    )
    broken = Verdict("failed", "build", "int8 cannot be built.", "Traceback")
    with MessagesService([submitted(bad)]) as service:
        (alone,) = solved(world, [L2], language(service, loops=False), broken={"int8": broken})
        prompt = service.bodies[0]["messages"][0]["content"]
    assert prompt.startswith(L2.text)
    assert (alone.passed, alone.failure, alone.evaluations) == (False, "key attribute", 1)
    with MessagesService([submitted(bad), submitted(good)]) as service:
        (looped,) = solved(world, [L2], language(service, loops=True), broken={"int8": broken})
    assert (looped.passed, looped.evaluations) == (True, 2)
    with MessagesService([Streamed([("text", "No.")], stop="refusal")]) as service:
        (refused,) = solved(world, [L2], language(service, loops=False))
    assert refused.failure == "no answer"


def test_a_task_in_which_the_budget_ends_is_not_scored(world: Any) -> None:
    unreachable = replace(L4, speedup=900.0)
    plans = {"plans": [plan(("student", {"steps": 4}))]}
    answer = Streamed([("propose_plans", plans)], usage={"input_tokens": 40_000})
    scored: list[Any] = []
    notices: list[str] = []
    with MessagesService([answer]) as service:
        solver = language(service, loops=True, budget=Budget(tokens=60_000))
        where = World(
            world.context, world.judge(), population=1, notice=lambda _level, text: notices.append(text)
        )
        ended = run([unreachable], solver, where, scored.append, spending=solver.conversation.spending)
        assert len(service.bodies) == 1
    assert "in the middle of a task" in ended
    assert scored == []
    assert any(text.startswith(f"{unreachable.id}: The budget") for text in notices)


def test_an_estimate_counts_one_call_for_one_answer_and_whole_searches_for_the_loop(world: Any) -> None:
    def asking(*, loops: bool, without: frozenset[Any] = frozenset()) -> Asking:
        return Asking(HYBRID, Surroundings(), loops, without, Rates(3.0, 15.0, 3.75, 0.3), 4, 7)

    tasks = [L2, L2, L2, L4, L5]
    once = asking(loops=False).estimate(tasks, world.context)
    assert once.calls == (5, 5)
    whole = asking(loops=True).estimate(tasks, world.context)
    # At least one answer for a plain task and one plan for a search.
    assert whole.calls[0] == 5
    assert whole.calls[1] > 5 * once.calls[1]
    assert once.usd is not None
    assert whole.usd is not None
    assert 0 < once.usd[0] < once.usd[1] < whole.usd[1]
    for part in ("genetic", "debugger"):
        less = asking(loops=True, without=frozenset({part})).estimate(tasks, world.context)
        assert less.calls[1] < whole.calls[1]
    aimed = asking(loops=True).estimate([L4, L5], world.context)
    plain = asking(loops=True).estimate([L2, L2, L2], world.context)
    assert (aimed + plain).tokens == whole.tokens
