"""The static stage: what can be said of a script without running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.candidate import Interval, Step
from agent.errors import JudgeError
from agent.evaluate.claims import read_claim
from agent.evaluate.prompts import Prompts
from agent.evaluate.static import differs, examine

GOOD = """
from engines.pipeline import build, plan
from engines.techniques import FewerSteps, Scheduler

RECIPE = (
    FewerSteps(steps=12),
    Scheduler(name="unipc"),
)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
"""
RECIPE = (Step("fewer-steps", {"steps": 12}), Step("scheduler", {"name": "unipc"}))


def test_a_good_script_passes_and_its_recipe_is_read() -> None:
    found = examine(GOOD)
    assert found.problem == ""
    assert found.recipe == RECIPE
    assert differs(RECIPE, found.recipe) == ""


def test_names_that_only_look_like_modules_are_no_objection() -> None:
    """An array has a `ctypes`, and anything of the script's own may be called `os` or `sys`."""
    drawn = "pipeline.generate(prompts, seeds).images"
    body = f"images = {drawn}\n    pipeline.os = images.ctypes.data\n    return seeds.sys or images"
    assert examine(GOOD.replace(f"return {drawn}", body)).problem == ""


@pytest.mark.parametrize("path", sorted((Path(__file__).parent / "cheats" / "honest").glob("*.py")))
def test_no_honest_script_is_refused_unread(path: Path) -> None:
    assert examine(path.read_text(encoding="utf-8")).problem == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("def load", "def lode"), "no function load"),
        (("(pipeline, prompts, seeds)", "(pipeline)"), "must take pipeline, prompts, seeds"),
        (("RECIPE = (", "RECIPE = (("), "does not parse"),
        (("from engines.pipeline", "import studio\nfrom engines.pipeline"), "imports studio"),
        (("from engines.pipeline", "import agent.loop\nfrom engines.pipeline"), "imports agent.loop"),
        (("from engines.pipeline", "import subprocess\nfrom engines.pipeline"), "imports subprocess"),
        (("from engines.pipeline", "import ctypes\nfrom engines.pipeline"), "imports ctypes"),
        (("RECIPE = (", "open('reference.png')\nRECIPE = ("), "uses open"),
        (("RECIPE = (", "eval('1')\nRECIPE = ("), "uses eval"),
        (("def load", "import torch\ntorch.os.system('true')\n\ndef load"), "reaches torch.os (line"),
        (("def load", "import torch.utils as u\nu.data.sys.exit()\n\ndef load"), "reaches u.data.sys"),
        (("from engines.pipeline", "from pathlib import os as o\nfrom engines.pipeline"), "reaches os"),
        (("RECIPE = (", "().__class__.__subclasses__()\nRECIPE = ("), "uses __subclasses__"),
    ],
)
def test_what_a_script_may_not_is_named_in_one_sentence(change: tuple[str, str], said: str) -> None:
    found = examine(GOOD.replace(*change))
    assert said in found.problem
    assert found.problem.endswith(".")
    assert "\n" not in found.problem


def test_a_kernel_of_the_script_s_own_may_be_written() -> None:
    kernel = (
        "import triton\nimport triton.language as tl\n@triton.jit\ndef add(a, b): ...\nfrom engines.pipeline"
    )
    assert examine(GOOD.replace("from engines.pipeline", kernel)).problem == ""


@pytest.mark.parametrize(
    "declared",
    [
        (Step("fewer-steps", {"steps": 25}), RECIPE[1]),
        RECIPE[:1],
        (*RECIPE, Step("prompt-cache", {})),
    ],
)
def test_a_script_that_does_something_else_than_its_recipe_is_caught(declared: tuple[Step, ...]) -> None:
    assert "does not carry out its recipe" in differs(declared, RECIPE)


def test_defaults_that_are_written_out_are_no_difference() -> None:
    assert differs((Step("scheduler", {}),), (Step("scheduler", {"name": "dpm++2m"}),)) == ""


def test_a_computed_recipe_is_not_guessed() -> None:
    assert examine(GOOD.replace("FewerSteps(steps=12)", "FewerSteps(steps=6 * 2)")).recipe is None


def test_gate_clock_and_sealed_prompts_never_overlap() -> None:
    prompts = Prompts()
    gate, timed, sealed = prompts.gate(16), prompts.fresh(50), prompts.fresh(200, sealed=True)
    assert len({*gate.prompts, *timed.prompts, *sealed.prompts}) == 266
    assert len({*gate.seeds, *timed.seeds, *sealed.seeds}) == 266
    assert gate == Prompts().gate(16)
    assert timed != Prompts().fresh(50)


def test_the_user_s_own_prompts_are_used_with_seeds_that_differ() -> None:
    prompts = Prompts(("a castle", "a lake"))
    gate, timed = prompts.gate(3), prompts.fresh(3)
    assert gate.prompts == ("a castle", "a lake", "a castle")
    assert set(timed.prompts) == {"a castle", "a lake"}
    assert not set(gate.seeds) & set(timed.seeds)


def test_claims_are_read_and_held_to_their_one_sided_bound() -> None:
    two_points = read_claim("adherence loss under 2 points")
    assert two_points.bound == pytest.approx(0.02)
    assert two_points.prompts(64) == 200
    assert read_claim("adherence loss under 1 point").prompts(64) == 1200
    assert two_points.holds(Interval(0.01, 0.0, 0.019))
    assert not two_points.holds(Interval(0.01, 0.0, 0.021))
    clear = read_claim("PSNR of 30 dB or more")
    assert clear.holds(Interval(31, 30.2, 32))
    assert not clear.holds(Interval(31, 29.9, 32))
    assert read_claim("HaarPSI loss under 0.1").metric == "haarpsi"
    assert read_claim("LPIPS under 0.1").bound == 0.1


def test_a_claim_that_nobody_can_certify_is_refused() -> None:
    with pytest.raises(JudgeError, match="cannot be certified"):
        read_claim("it is beautiful")
