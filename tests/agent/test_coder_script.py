"""Scripts: what the coder writes parses, stands alone and says where it comes from."""

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.candidate import Candidate, Proposal, Recipe, Step, Verdict
from agent.coder import ScriptWriter, title
from agent.errors import RecipeError
from agent.evolution.front import Judged
from agent.planner.context import prepare
from engines.models.card import describe
from engines.models.load import open_model
from engines.workload import Workload

OPENVINO = Step("engine", {"backend": "openvino"})


@pytest.fixture(scope="module")
def context() -> Any:
    return prepare("tiny-scenes", describe(open_model("tiny-scenes")), "cpu", Workload())


def imports(script: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(script)):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).split(".")[0])
    return found


@pytest.mark.parametrize(
    ("recipe", "label"),
    [
        ((), "baseline"),
        ((Step("fewer-steps", {"steps": 12}),), "12 steps"),
        (
            (
                Step("fewer-steps", {"steps": 12}),
                Step("scheduler", {"name": "dpm++2m"}),
                OPENVINO,
                Step("bf16"),
            ),
            "DPM++ 2M 12 + OpenVINO bf16",
        ),
        (
            (Step("student", {"steps": 2}), Step("tiny-decoder"), OPENVINO),
            "student 2 + OpenVINO + tiny decoder",
        ),
        (
            (Step("guidance-cutoff", {"until": 0.6}), Step("feature-cache", {"interval": 3})),
            "guidance to 60% + cache 3",
        ),
        ((Step("warp-drive", {"factor": 9}),), "warp drive 9"),
    ],
)
def test_a_title_is_short_and_says_what_is_done(recipe: Recipe, label: str) -> None:
    assert title(recipe) == label


def test_every_technique_has_a_script_that_parses_and_imports_only_what_it_may(context: Any) -> None:
    coder = ScriptWriter()
    for option in context.space.all_options:
        script = coder.write(Proposal((option,), 'A "why" with \\ and """quotes""".', "seed"), context)
        assert imports(script) == {"engines"}
        names = {node.name for node in ast.parse(script).body if isinstance(node, ast.FunctionDef)}
        assert names == {"load", "generate"}


def test_the_recipe_in_the_script_is_the_recipe_proposed(context: Any) -> None:
    from engines.techniques import to_step

    recipe = context.space.canonical((OPENVINO, Step("student", {"steps": 3}), Step("tiny-decoder")))
    script = ScriptWriter().write(Proposal(recipe, "Why not.", "seed"), context)
    found: dict[str, Any] = {}
    exec(compile(script, "c001.py", "exec"), found)
    there = [to_step(value) for value in found["RECIPE"]]
    assert [(one.technique, dict(one.parameters)) for one in there] == [
        (one.technique, dict(one.parameters)) for one in recipe
    ]


def test_the_same_proposal_gives_the_same_file(context: Any) -> None:
    proposal = Proposal((Step("bf16"), OPENVINO), "Once.", "seed")
    assert ScriptWriter().write(proposal, context) == ScriptWriter().write(proposal, context)


def test_the_docstring_tells_title_lineage_and_reason(context: Any) -> None:
    parent = Judged(Candidate("c004", 1, Proposal((OPENVINO,), "", "seed"), ""), Verdict("passed", "gate"))
    there = replace(context, history=(parent,), generation=2)
    proposal = Proposal(
        (OPENVINO, Step("tiny-decoder")), "The decoder takes 31 % of the time.", "refined", ("c004",)
    )
    text = ast.get_docstring(ast.parse(ScriptWriter().write(proposal, there)))
    assert text is not None
    assert text.startswith("OpenVINO + tiny decoder\n")
    assert "Generation 2, from c004 (OpenVINO)." in text
    assert "31 %" in text


def test_an_unknown_technique_is_refused(context: Any) -> None:
    with pytest.raises(RecipeError, match="no technique 'warp-drive'"):
        ScriptWriter().write(Proposal((Step("warp-drive"),), "", "seed"), context)


def test_the_baseline_uses_diffusers_and_no_technique(context: Any) -> None:
    script = ScriptWriter().baseline(context)
    assert imports(script) == {"time", "types", "numpy", "torch", "diffusers", "engines"}
    assert "engines.techniques" not in script
    assert "latent_noise" in script


@pytest.mark.parametrize(
    ("device", "says", "uses"),
    [
        ("cuda", "torch eager in a half, diffusers' own pipeline", "engines.models.reference"),
        ("mlx", "torch eager in a half on mps", "engines.models.reference"),
        ("directml", "onnxruntime fp16", "engines.pipeline"),
        ("intel-gpu", "openvino fp16", "engines.pipeline"),
    ],
)
def test_each_device_has_a_baseline_that_runs_there(context: Any, device: str, says: str, uses: str) -> None:
    script = ScriptWriter().baseline(replace(context, device=device))
    assert says in " ".join(script.split())
    assert f"from {uses} import" in script


@pytest.mark.slow
def test_the_baseline_script_makes_a_picture(context: Any, tmp_path: Path) -> None:
    script, picture = tmp_path / "c000.py", tmp_path / "x.png"
    script.write_text(ScriptWriter().baseline(context), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "engines.harness",
        str(script),
        "--workload",
        '{"steps": 2}',
        "--out",
        str(picture),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    assert picture.stat().st_size > 100
