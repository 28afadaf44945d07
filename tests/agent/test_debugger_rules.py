"""The rule debugger: the smallest change that answers what the evidence says."""

from dataclasses import replace
from typing import Any

import pytest

from agent.candidate import Candidate, Proposal, Recipe, Step, Verdict
from agent.debugger import RuleDebugger
from agent.evolution.front import Judged
from agent.evolution.space import Axis, Space

OPENVINO = Step("engine", {"backend": "openvino"})


class Writer:
    """A coder whose scripts are the recipe's text: the registry is not needed here."""

    def write(self, proposal: Proposal, context: Any) -> str:
        return repr(proposal.recipe)

    def baseline(self, context: Any) -> str:
        return ""

    def title(self, recipe: Recipe) -> str:
        return ""


def repaired(world: Any, recipe: Recipe, verdict: Verdict, *tried: Recipe) -> Any:
    candidate = Candidate("c001", 1, Proposal(world.space.canonical(recipe), "", "seed"), "")
    history = [Judged(candidate, verdict)]
    history += [
        Judged(Candidate(f"c{n:03}", 1, Proposal(world.space.canonical(other), "", "seed"), ""), verdict)
        for n, other in enumerate(tried, 2)
    ]
    return RuleDebugger(Writer()).repair(candidate, verdict, replace(world.context, history=tuple(history)))


@pytest.mark.parametrize(
    ("recipe", "reason", "stage", "left"),
    [
        ((OPENVINO, Step("bf16")), "This processor has no bfloat16.", "build", ("engine/openvino",)),
        ((OPENVINO, Step("int8")), "int8 is not supported here.", "build", ("engine/openvino", "bf16")),
        ((OPENVINO, Step("bf16")), "All pictures are black.", "gate", ("engine/openvino",)),
        ((OPENVINO,), "OpenVINO cannot read the denoiser.", "build", ("engine/onnxruntime",)),
        ((OPENVINO, Step("student")), "The build failed.", "build", ("student", "engine/onnxruntime")),
        ((Step("bf16"),), "The process ran out of memory.", "smoke", ("sequential-guidance", "bf16")),
        (
            (Step("student"),),
            "The memory limit of 2000 MiB was reached.",
            "smoke",
            ("student", "tiny-decoder"),
        ),
        (
            (OPENVINO, Step("token-merging")),
            "The denoiser with token merging cannot be captured.",
            "build",
            ("engine/openvino",),
        ),
    ],
)
def test_a_failure_is_answered_by_one_change(
    world: Any, recipe: Recipe, reason: str, stage: Any, left: tuple[str, ...]
) -> None:
    repair = repaired(world, recipe, Verdict("failed", stage, reason=reason))
    assert repair is not None
    assert world.space.structure(repair.recipe) == left
    assert repair.script == repr(repair.recipe)
    assert reason in repair.why


def test_numbers_that_leave_the_range_of_a_half_get_a_wider_precision(world: Any) -> None:
    """As on a GPU, whose plain precision is fp16: bf16 first, then fp32, then nothing is left."""

    def check(recipe: Recipe) -> list[str]:
        both = {"fp32", "bf16"} <= {step.technique for step in recipe}
        return ["Choose fp32 or bf16."] if both else world.context.check(recipe)

    space = Space((*world.space.axes, Axis("fp32", 79)))
    on_card = replace(world, space=space, context=replace(world.context, space=space, check=check))
    said = "2 of 4 pictures hold values that are not finite: numbers left the range of the precision."
    verdict = Verdict("failed", "smoke", reason=said)
    first = repaired(on_card, (), verdict)
    assert on_card.space.structure(first.recipe) == ("bf16",)
    assert "instead of fp16" in first.why
    second = repaired(on_card, (), verdict, first.recipe)
    assert on_card.space.structure(second.recipe) == ("fp32",)
    third = repaired(on_card, first.recipe, verdict)
    assert on_card.space.structure(third.recipe) == ("fp32",)
    assert repaired(on_card, second.recipe, verdict) is None


def test_a_repair_that_was_tried_before_gives_way_to_the_next(world: Any) -> None:
    verdict = Verdict("failed", "build", reason="OpenVINO cannot read the denoiser.")
    repair = repaired(world, (OPENVINO,), verdict, (Step("engine", {"backend": "onnxruntime"}),))
    assert world.space.structure(repair.recipe) == ("engine/compile",)


@pytest.mark.parametrize(
    ("recipe", "verdict"),
    [
        ((Step("student"),), Verdict("failed", "static", reason="The script has no function load.")),
        ((Step("student"),), Verdict("passed", "gate")),
        ((Step("student"),), Verdict("quarantined", "gate", reason="Below the floor.")),
        ((Step("bf16"),), Verdict("failed", "build", reason="This processor has no bf16.")),
    ],
)
def test_what_no_rule_can_mend_is_left_alone(world: Any, recipe: Recipe, verdict: Verdict) -> None:
    assert repaired(world, recipe, verdict) is None
