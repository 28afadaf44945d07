"""The built-in planner: what it tries first, what it never does, how it explains itself."""

from dataclasses import replace
from typing import Any

import pytest

from agent.candidate import Candidate, Interval, Proposal, Step, Verdict
from agent.evolution.front import Judged, reference_point
from agent.memory import Remembered
from agent.planner import avoided
from agent.planner.builtin import BuiltinPlanner, forecast
from agent.planner.context import prepare
from agent.planner.seeds import best_engine
from agent.planner.structures import Fits
from engines.backends import torch_ways
from engines.models.card import describe
from engines.models.load import open_model
from engines.workload import Workload

PLAYED: dict[int, Any] = {}


def played(world: Any, count: int) -> Any:
    """The context after `count` candidates of the built-in planner."""
    whole = PLAYED.setdefault(21, _play(world, 21)) if count else _play(world, 0)
    return replace(whole, generation=max(1, 1 + (count - 1) // 7), history=whole.history[: count + 1])


def _play(world: Any, count: int) -> Any:
    if count in PLAYED:
        return PLAYED[count]
    judge, planner = world.judge(), BuiltinPlanner()
    context = world.context
    base = Judged(Candidate("c000", 0, Proposal((), "", "baseline"), ""), judge.baseline())
    context = replace(context, history=(base,), reference=reference_point(base.verdict, 0.5))
    for index in range(count):
        context = replace(context, generation=1 + index // 7)
        (proposal,) = planner.propose(context, 1)
        candidate = Candidate(f"c{index + 1:03}", context.generation, proposal, "")
        verdict = judge.judge(candidate, lambda *_: None)
        context = replace(context, history=(*context.history, Judged(candidate, verdict)))
    return context


def test_the_first_proposals_need_no_engine(world: Any) -> None:
    (first, second, *_) = BuiltinPlanner(at_once=None).propose(played(world, 0), 7)
    assert [step.technique for step in first.recipe] == ["student"]
    assert [step.technique for step in second.recipe] == ["fewer-steps"]


def test_the_first_generation_measures_the_strong_techniques_alone_and_together(world: Any) -> None:
    proposals = BuiltinPlanner().propose(played(world, 0), 7)
    assert len(proposals) == 7
    alone = {proposal.recipe[0].technique for proposal in proposals if len(proposal.recipe) == 1}
    assert alone == {"fewer-steps", "student", "engine"}
    together = [
        {step.technique for step in proposal.recipe} for proposal in proposals if len(proposal.recipe) > 1
    ]
    assert any({"student", "engine", "tiny-decoder"} <= names for names in together)
    assert any({"scheduler", "fewer-steps", "engine"} <= names for names in together)
    assert any("guidance-cutoff" in names and not names & {"student", "fewer-steps"} for names in together)
    assert {proposal.origin for proposal in proposals} == {"seed"}


def test_every_proposal_is_legal_new_and_explained(world: Any) -> None:
    context = played(world, 21)
    recipes = [world.space.key(one.candidate.proposal.recipe) for one in context.history]
    assert len(set(recipes)) == len(recipes) == 22
    for one in context.history[1:]:
        assert not context.check(one.candidate.proposal.recipe)
        assert one.candidate.proposal.why.endswith(".")
        assert len(one.candidate.proposal.why) > 30


def test_a_later_generation_is_four_refined_with_parents_and_three_new(world: Any) -> None:
    context = played(world, 14)
    second = [one.candidate.proposal for one in context.planned(2)]
    origins = [proposal.origin for proposal in second]
    assert (origins.count("refined"), origins.count("new")) == (4, 3)
    known = {one.id for one in context.history}
    for proposal in second:
        assert bool(proposal.parents) == (proposal.origin == "refined")
        assert set(proposal.parents) <= known


def test_a_whole_generation_at_once_has_no_recipe_twice(world: Any) -> None:
    context = replace(played(world, 7), generation=2)
    proposals = BuiltinPlanner(at_once=None).propose(context, 7)
    assert len({world.space.key(proposal.recipe) for proposal in proposals}) == 7


def test_the_same_run_is_planned_the_same_way(world: Any) -> None:
    context = replace(played(world, 7), generation=2)
    assert BuiltinPlanner().propose(context, 2) == BuiltinPlanner().propose(context, 2)


def test_the_engine_that_the_baseline_runs_on_is_no_candidate(world: Any) -> None:
    """ONNX Runtime is DirectML's only engine, and what the baseline runs on there."""
    context = played(world, 0)

    def check(recipe: Any) -> list[str]:
        others = [step for step in recipe if step.parameters.get("backend", "onnxruntime") != "onnxruntime"]
        return ["not here"] if others else []

    fits = Fits(check, context.space)
    assert best_engine(context, forecast(context), fits) == "onnxruntime"
    assert best_engine(replace(context, device="directml"), forecast(context), fits) is None


def test_reasons_name_the_share_of_time_that_a_technique_goes_for(world: Any) -> None:
    proposals = BuiltinPlanner().propose(played(world, 0), 7)
    assert "87%" in proposals[0].why or "86%" in proposals[0].why
    assert any("decoder would take 60% of the time" in proposal.why for proposal in proposals)


def test_what_could_not_be_built_is_not_built_in_again(world: Any) -> None:
    broken = Verdict("failed", "build", reason="OpenVINO could not compile the denoiser.")
    context = played(world, 2)
    candidate = Candidate(
        "c003", 1, Proposal((world.space.step("engine", backend="openvino"),), "", "seed"), ""
    )
    context = replace(context, history=(*context.history, Judged(candidate, broken)))
    for proposal in BuiltinPlanner().propose(context, 4):
        assert "engine/openvino" not in world.space.structure(proposal.recipe)


def test_nothing_is_proposed_when_everything_was_tried(world: Any) -> None:
    context = replace(world.context, check=lambda recipe: ["no"], history=played(world, 0).history)
    assert BuiltinPlanner().propose(context, 3) == []


def test_a_good_recipe_of_an_earlier_run_is_among_the_seeds(world: Any) -> None:
    recipe = world.space.canonical(
        (Step("engine", {"backend": "openvino"}), Step("int8"), Step("prompt-cache"))
    )
    remembered = Remembered(recipe, "x", "adherence", "passed", 6.0, 0.01, 31.0)
    context = replace(played(world, 0), memory=(remembered,))
    proposals = BuiltinPlanner().propose(context, 7)
    assert any(proposal.recipe == recipe and "6.0x" in proposal.why for proposal in proposals)


def test_a_recipe_found_here_is_remembered_before_a_faster_one_from_another_processor(world: Any) -> None:
    kept = (Step("engine", {"backend": "openvino"}), Step("prompt-cache"))
    here = Remembered(
        world.space.canonical((*kept, Step("bf16"))), "x", "adherence", "passed", 4.0, 0.01, 31.0
    )
    faster = replace(here, recipe=world.space.canonical((*kept, Step("int8"))), speedup=8.0)
    there = replace(faster, elsewhere="from another processor: B")
    for memory, wanted, said in (
        ((there, here), here, "(on this processor)"),
        ((there,), there, "(from another processor: B)"),
    ):
        proposals = BuiltinPlanner().propose(replace(played(world, 0), memory=memory), 7)
        (why,) = (one.why for one in proposals if "An earlier run" in one.why)
        assert said in why
        assert any(one.recipe == wanted.recipe for one in proposals)


def test_what_an_earlier_run_could_not_build_of_this_model_here_is_not_tried_first_again(world: Any) -> None:
    alone = (world.space.step("engine", backend="openvino"),)
    broke = Remembered(
        alone, world.context.card.hash, "adherence", "failed", None, None, None, "It broke.", "build"
    )
    for one, again in (
        (broke, False),
        (replace(broke, elsewhere="from another processor: B"), True),
        (replace(broke, model="another"), True),
        (replace(broke, stage="gate"), True),
    ):
        proposals = BuiltinPlanner().propose(replace(played(world, 0), memory=(one,)), 7)
        assert any(proposal.recipe == alone for proposal in proposals) == again


def test_the_forecast_learns_from_verdicts(world: Any) -> None:
    before, after = forecast(played(world, 0)), forecast(played(world, 14))
    recipe = world.space.canonical(
        (Step("engine", {"backend": "openvino"}), Step("student", {"steps": 5}), Step("prompt-cache"))
    )
    stages, loss, _ = world.truth(recipe)
    seconds = sum(stages.values())
    assert abs(after.expect(recipe).seconds - seconds) < abs(before.expect(recipe).seconds - seconds)
    assert abs(after.expect(recipe).loss - loss) < 0.02


def test_what_costs_time_on_a_cpu_by_the_measured_table_is_not_hoped_to_save_it_there() -> None:
    context = bundled()
    for name, least in (("channels-last", 1.1), ("sequential-guidance", 1.2)):
        recipe = (context.space.step(name),)
        assert forecast(context).expect(recipe).seconds > least
        assert forecast(replace(context, device="cuda")).expect(recipe).seconds < 1.1


def bundled() -> Any:
    """The bundled model's own space and rules, its baseline measured."""
    card = describe(open_model("tiny-scenes"))
    context = prepare("tiny-scenes", card, "cpu", Workload())
    measured = Verdict(
        "passed", "gate", latency=Interval(1.0, 0.98, 1.02), speedup=Interval(1.0, 1.0, 1.0),
        stages={"encode": 0.02, "denoise": 0.83, "decode": 0.15}, loss=Interval(0.0, 0.0, 0.0), memory=100.0,
    )  # fmt: skip
    baseline = Judged(Candidate("c000", 0, Proposal((), "", "baseline"), ""), measured)
    return replace(context, history=(baseline,), reference=(1.1, 1.0))


def test_new_techniques_of_the_registry_do_not_crowd_out_the_first_proposals() -> None:
    context = bundled()
    proposals = BuiltinPlanner().propose(context, 7)
    assert {"student", "fewer-steps", "engine"} == {one.recipe[0].technique for one in proposals[:3]}
    late = {"threshold-cache", "attention-gate", "progressive-resolution", "pruning"}
    assert late <= {axis.technique for axis in context.space.axes}
    assert not late & {step.technique for one in proposals for step in one.recipe}


@pytest.mark.parametrize("able", [True, False])
def test_bf16_is_left_out_where_engines_would_compute_in_fp32_instead(
    able: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_ways, "has_bf16", lambda: able)
    context = bundled()
    assert (("bf16",) in avoided.idle(context)) is not able
    assert ("bf16: this processor has no instructions" in context.rules) is not able
    assert ("bf16",) not in avoided.idle(replace(context, notes=("with bf16",)))


IDLE = {"vae-tiling", "vae-slicing"}


def techniques(proposals: Any) -> list[set[str]]:
    return [{step.technique for step in one.recipe} for one in proposals]


def test_no_candidate_is_spent_on_what_saves_memory_alone() -> None:
    context = replace(bundled(), generation=2)
    assert {axis.technique for axis in context.space.axes} >= IDLE
    found = techniques(BuiltinPlanner(at_once=None).propose(context, 5))
    assert len(found) == 5
    assert not any(names & (IDLE | {"layerwise-casting"}) for names in found)
    # Nothing is known, nothing is ruled out: the benchmark without knowledge.
    blind = techniques(BuiltinPlanner(at_once=None, knowledge=False).propose(context, 24))
    assert any(names & (IDLE | {"layerwise-casting"}) for names in blind)


def test_where_memory_is_the_wish_what_saves_it_is_in_every_candidate() -> None:
    context = replace(bundled(), notes=("please save memory",))
    found = techniques(BuiltinPlanner(at_once=None).propose(context, 3))
    assert len(found) == 3
    assert all(names >= IDLE for names in found)


def test_what_saves_memory_alone_can_be_asked_for_by_name() -> None:
    context = replace(bundled(), notes=("only VAE tiling",))
    (first, *_) = techniques(BuiltinPlanner().propose(context, 1))
    assert first == {"vae-tiling"}
